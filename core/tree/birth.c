/* SPDX-License-Identifier: MIT */
#include "birth.h"

#include <errno.h>

#include "core.pb-c.h"

static int impossible(struct session *s, struct task *t, const char *why)
{
	at_object(s, "pid %d", task_vpid(t));
	if (s->mode == CR_MODE_RESTORE)
		return fail(s, EOPNOTSUPP, "cannot be created: %s", why);
	refuse(s, NULL, "cannot be restored: %s", why);
	return 0;
}

static bool leads(const struct task *t)
{
	return t->vsid == task_vpid(t);
}

/* The session t was in when it was born; -1: the one outside the tree. */
static pid_t birth_session(const struct task *t)
{
	if (!leads(t))
		return t->vsid;
	return t->parent ? t->parent->vsid : -1;
}

static bool below(const struct task *t, const struct task *ancestor)
{
	for (; t; t = t->parent)
		if (t == ancestor)
			return true;
	return false;
}

/* The reaper of an orphan below t's leader must be t's parent: nothing between may be a subreaper. */
static bool falls_to(const struct task *leader, const struct task *reaper)
{
	for (const struct task *t = leader; t && t != reaper; t = t->parent) {
		const CoreEntry *c = t->threads.n ? t->threads.v[0]->core : NULL;

		if (c && c->tc && c->tc->has_child_subreaper && c->tc->child_subreaper)
			return false;
	}
	return true;
}

static struct task *memory_of(struct task *creator)
{
	while (creator && creator->life == TASK_ZOMBIE)
		creator = creator->mem_from;
	return creator;
}

static int choose(struct session *s, struct task *t)
{
	struct task *p = t->parent, *leader;

	t->creator = p;
	t->birth = BIRTH_OWN;
	if (!p || leads(t) || t->vsid == p->vsid)
		return 0;
	if (leads(p) && t->vsid == birth_session(p)) {
		t->birth = BIRTH_BEFORE;
		return 0;
	}
	/* the tree's own outside session, kept by --shell-job, below a task that left it */
	leader = tree_by_vpid(s->tree, t->vsid);
	if (leader && leads(leader) && leader->parent == p) {
		t->birth = BIRTH_SIBLING;
		t->creator = leader;
		return 0;
	}
	if (!leader) {
		if (t->vsid <= 0 || t->vsid == s->tree->root->vsid)
			return impossible(s, t, "it is in the session outside the tree, its parent is not");
		t->birth = BIRTH_HELPER;
		return 0;
	}
	if (leads(leader) && leader != t && below(leader, p) && falls_to(leader, p)) {
		t->birth = BIRTH_ORPHAN;
		t->creator = leader;
		return 0;
	}
	return impossible(s, t, "its session leader is not related to its parent");
}

/* CLONE_FILES and CLONE_FS come from the creator or from nobody. */
static int check_sharing(struct session *s, struct task *t)
{
	if (!t->ids || t->life == TASK_ZOMBIE)
		return 0;
	FOR_EACH_TASK(o, s->tree) {
		bool from_creator = t->birth != BIRTH_HELPER && t->birth != BIRTH_ORPHAN && t->creator && t->creator->ids;

		if (o == t)
			break;
		if (!o->ids)
			continue;
		if (o->ids->files_id == t->ids->files_id && !(from_creator && t->creator->ids->files_id == t->ids->files_id))
			return impossible(s, t, "it shares its descriptor table with a task that did not create it");
		if (o->ids->fs_id == t->ids->fs_id && !(from_creator && t->creator->ids->fs_id == t->ids->fs_id))
			return impossible(s, t, "it shares its working directory with a task that did not create it");
	}
	return 0;
}

/* A helper stands in for one dead leader below one parent only: there is one such pid. */
static int check_helpers(struct session *s, struct task *t)
{
	if (t->birth != BIRTH_HELPER)
		return 0;
	FOR_EACH_TASK(o, s->tree) {
		if (o == t)
			break;
		if (o->birth == BIRTH_HELPER && o->vsid == t->vsid && o->parent != t->parent)
			return impossible(s, t, "its session's leader has gone, and members have different parents");
	}
	return 0;
}

int tree_births(struct session *s)
{
	int err = 0;

	FOR_EACH_TASK(t, s->tree) {
		err = choose(s, t);
		if (err == 0)
			err = check_helpers(s, t);
		if (err < 0)
			break;
	}
	FOR_EACH_TASK(t, s->tree) {
		t->mem_from = memory_of(t->creator);
		if (err == 0)
			err = check_sharing(s, t);
	}
	at_object(s, NULL);
	return err;
}
