/* SPDX-License-Identifier: MIT */
/*
 * tasks.c: the plans of all tasks, threads and helpers.
 *
 * The order of a task's operations:
 *   memory; children of the session before setsid; setsid; other children
 *   -- FORKED -- leaders of groups -- GROUPS -- members of groups -- JOINED --
 *   wait for helpers and zombies; descriptors; what plugins queued -- WIRED --
 *   threads; state; PARK
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attrs.h"
#include "birth.h"
#include "mem.h"
#include "restore_priv.h"

#include "core.pb-c.h"
#include "stasis.pb-c.h"

#define THREAD_FLAGS (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM)

#define SPARE_TRIES 1000

#define TRACER_SLOT 0 /* nothing else is in a slot so early */

static void barrier(struct session *s, struct plan *p, enum restore_stage stage)
{
	plan_barrier(p, stage);
	s->restore->expected[stage]++;
}

static void expect_exit(struct session *s, pid_t pid)
{
	*vec_push(&s->restore->exits) = pid;
}

static bool is_planned(struct session *s, pid_t pid)
{
	for (size_t i = 0; i < s->restore->exits.n; i++)
		if (s->restore->exits.v[i] == pid)
			return true;
	FOR_EACH_TASK(t, s->tree) {
		if (t->vsid == pid || t->vpgid == pid)
			return true;
		for (size_t i = 0; i < t->threads.n; i++)
			if (thread_vtid(t->threads.v[i]) == pid)
				return true;
	}
	return false;
}

/*
 * A pid that neither the images nor a living process use: that of a child of E which has just ended.  The kernel hands
 * out numbers in turn, so nobody else gets it for a while, not even another restore that looks for one.
 */
static pid_t spare_pid(struct session *s)
{
	for (int tries = 0; tries < SPARE_TRIES; tries++) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(0);
		if (pid < 0)
			return 0;
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		if (!is_planned(s, pid))
			return pid;
	}
	return 0;
}

/* Flags that share descriptor table and directories with the creator, where the images say so. */
static uint64_t share_flags(const struct task *t)
{
	const struct task *c = t->creator;
	uint64_t flags = 0;

	if (!c || !c->ids || !t->ids || t->birth == BIRTH_HELPER || t->birth == BIRTH_ORPHAN)
		return 0;
	if (c->ids->files_id == t->ids->files_id)
		flags |= CLONE_FILES;
	if (c->ids->fs_id == t->ids->fs_id)
		flags |= CLONE_FS;
	return flags;
}

static struct plan *task_plan(struct task *t)
{
	return t->threads.v[0]->plan;
}

/* p executes the clone of t; sibling: with CLONE_PARENT. */
static void fork_task(struct plan *p, struct task *t, bool sibling)
{
	pid_t tid = task_vpid(t);

	plan_origin(p->set, "pid %d: birth", tid);
	plan_fork(p, task_plan(t), share_flags(t) | (sibling ? CLONE_PARENT : 0), sibling ? 0 : t->exit_signal, &tid, 1);
}

/* Stands in for a session leader that has gone. */
static int plan_session_helper(struct session *s, struct plan *p, struct task *parent, pid_t sid)
{
	struct plan *h = plan_new(s->restore->plans, "helper %d (session)", sid);

	plan_origin(p->set, "helper %d: leads the session whose leader has gone", sid);
	plan_fork(p, h, 0, SIGCHLD, &sid, 1);
	expect_exit(s, sid);
	plan_sys(h, BLOB_NONNEG, SYS_setsid, 0);
	for (struct task *t = parent->child; t; t = t->sibling)
		if (t->birth == BIRTH_HELPER && t->vsid == sid)
			fork_task(h, t, true);
	barrier(s, h, STAGE_FORKED);
	barrier(s, h, STAGE_GROUPS);
	barrier(s, h, STAGE_JOINED);
	plan_op(h, BLOB_EXIT, 0, 0, 0);
	return 0;
}

/* Forks t and exits, so that t falls to its reaper. */
static int plan_go_between(struct session *s, struct plan *p, struct task *t)
{
	pid_t pid = spare_pid(s);
	struct plan *h;

	if (!pid)
		return fail(s, EAGAIN, "no free pid for a go-between");
	h = plan_new(s->restore->plans, "go-between %d for pid %d", pid, task_vpid(t));
	plan_origin(p->set, "go-between %d: makes pid %d an orphan", pid, task_vpid(t));
	plan_fork(p, h, 0, SIGCHLD, &pid, 1);
	expect_exit(s, pid);
	fork_task(h, t, false);
	plan_op(h, BLOB_EXIT, 0, 0, 0);
	plan_origin(p->set, "go-between %d: reaped", pid);
	plan_sys(p, BLOB_NONNEG, SYS_wait4, pid, 0, __WALL, 0);
	return 0;
}

/* The group of t has lost its leader: t is the first living member that looks. */
static bool leads_lost_group(struct session *s, const struct task *t)
{
	if (t->vpgid <= 0 || t->life == TASK_ZOMBIE || tree_by_vpid(s->tree, t->vpgid))
		return false;
	if (t->vpgid == s->tree->root->vpgid && s->tree->root->vpgid != task_vpid(s->tree->root))
		return false; /* the group outside the tree, with --shell-job */
	FOR_EACH_TASK(o, s->tree) {
		/* a session helper of that pid leads the group too */
		if (o->birth == BIRTH_HELPER && o->vsid == t->vpgid)
			return false;
	}
	FOR_EACH_TASK(o, s->tree) {
		if (o == t)
			return true;
		if (o->vpgid == t->vpgid && o->life != TASK_ZOMBIE)
			return false;
	}
	return true;
}

static void plan_group_helper(struct session *s, struct plan *p, pid_t pgid)
{
	struct plan *h = plan_new(s->restore->plans, "helper %d (group)", pgid);

	plan_origin(p->set, "helper %d: leads the group whose leader has gone", pgid);
	plan_fork(p, h, 0, SIGCHLD, &pgid, 1);
	expect_exit(s, pgid);
	barrier(s, h, STAGE_FORKED);
	plan_sys(h, BLOB_ZERO, SYS_setpgid, 0, 0);
	barrier(s, h, STAGE_GROUPS);
	barrier(s, h, STAGE_JOINED);
	plan_op(h, BLOB_EXIT, 0, 0, 0);
}

static bool leads_session(const struct task *t)
{
	return t->vsid == task_vpid(t);
}

/* t forks what it creates and becomes session leader in between. */
static int plan_births(struct session *s, struct task *t, struct plan *p)
{
	int err = 0;

	for (struct task *c = t->child; c; c = c->sibling)
		if (c->birth == BIRTH_BEFORE)
			fork_task(p, c, false);
	plan_origin(p->set, "pid %d: session", task_vpid(t));
	if (leads_session(t))
		plan_sys(p, BLOB_EXPECT, SYS_setsid, 0)->expect = task_vpid(t);
	for (struct task *c = t->child; c && err == 0; c = c->sibling) {
		bool first = true;

		if (c->birth == BIRTH_OWN)
			fork_task(p, c, false);
		if (c->birth != BIRTH_HELPER)
			continue;
		for (struct task *o = t->child; o != c; o = o->sibling)
			first &= !(o->birth == BIRTH_HELPER && o->vsid == c->vsid);
		if (first)
			err = plan_session_helper(s, p, t, c->vsid);
	}
	FOR_EACH_TASK(o, s->tree) {
		if (err == 0 && o->creator == t && o->birth == BIRTH_SIBLING)
			fork_task(p, o, true);
		if (err == 0 && o->creator == t && o->birth == BIRTH_ORPHAN)
			err = plan_go_between(s, p, o);
	}
	if (leads_lost_group(s, t))
		plan_group_helper(s, p, t->vpgid);
	return err;
}

static void plan_group(struct session *s, struct task *t, struct plan *p)
{
	const struct task *root = s->tree->root;
	bool outside = t->vpgid == root->vpgid && root->vpgid != task_vpid(root) && !tree_by_vpid(s->tree, t->vpgid);

	plan_origin(p->set, "pid %d: process group", task_vpid(t));
	barrier(s, p, STAGE_FORKED);
	if (t->vpgid == task_vpid(t) && !leads_session(t))
		plan_sys(p, BLOB_ZERO, SYS_setpgid, 0, 0);
	barrier(s, p, STAGE_GROUPS);
	if (t->vpgid != task_vpid(t) && !leads_session(t)) {
		/* with --shell-job the caller's group takes the place of the one outside */
		plan_sys(p, BLOB_ZERO, SYS_setpgid, 0, outside ? getpgrp() : t->vpgid);
	}
	barrier(s, p, STAGE_JOINED);
}

static bool creates_helpers(struct session *s, const struct task *t, pid_t pid)
{
	for (const struct task *c = t->child; c; c = c->sibling)
		if (c->birth == BIRTH_HELPER && c->vsid == pid)
			return true;
	return leads_lost_group(s, t) && t->vpgid == pid;
}

/* Takes away one pending signal sig, which a helper or zombie has sent and the task has not seen before. */
static void plan_drain(struct task *t, struct plan *p, int sig)
{
	const struct timespec zero = { 0 };
	uint64_t set;

	if (sig < 1 || sig > 64)
		return;
	set = 1ull << (sig - 1);
	plan_origin(p->set, "pid %d: the signal of a helper or zombie", task_vpid(t));
	plan_sys(p, BLOB_ANY, SYS_rt_sigtimedwait, (uintptr_t)plan_put(p, &set, sizeof(set)), 0,
		 (uintptr_t)plan_put(p, &zero, sizeof(zero)), 8);
}

/* Helpers are reaped; zombie children are waited for and left; then the signals of both are taken away. */
static void plan_reap(struct session *s, struct task *t, struct plan *p)
{
	bool helpers = false;

	for (size_t i = 0; i < s->restore->exits.n; i++) {
		pid_t pid = s->restore->exits.v[i];

		if (!creates_helpers(s, t, pid))
			continue;
		plan_origin(p->set, "pid %d: reaps helper %d", task_vpid(t), pid);
		plan_sys(p, BLOB_EXPECT, SYS_wait4, pid, 0, __WALL, 0)->expect = pid;
		helpers = true;
	}
	for (struct task *c = t->child; c; c = c->sibling)
		if (c->life == TASK_ZOMBIE) {
			plan_origin(p->set, "pid %d: zombie child %d", task_vpid(t), task_vpid(c));
			plan_sys(p, BLOB_ZERO, SYS_waitid, P_PID, task_vpid(c), 0, WEXITED | WNOWAIT | __WALL, 0);
			plan_drain(t, p, c->exit_signal);
		}
	FOR_EACH_TASK(o, s->tree)
		helpers |= o->creator == t && o->birth == BIRTH_ORPHAN;
	if (helpers)
		plan_drain(t, p, SIGCHLD);
}

/* Its name and whose it is, as others see it. */
static void plan_zombie_looks(struct task *t, struct plan *p)
{
	const TaskCoreEntry *tc = t->threads.v[0]->core->tc;
	const uint32_t *id = t->extra && t->extra->n_zombie_ids == ZOMBIE_IDS ? t->extra->zombie_ids : NULL;
	char name[16] = { 0 };

	if (tc->comm) {
		strncpy(name, tc->comm, sizeof(name) - 1);
		plan_sys(p, BLOB_ANY, SYS_prctl, PR_SET_NAME, (uintptr_t)plan_put(p, name, sizeof(name)));
	}
	if (!id)
		return;
	if (id[4] != getgid() || id[5] != getegid() || id[6] != getegid())
		plan_sys(p, BLOB_ANY, SYS_setresgid, id[4], id[5], id[6]);
	if (id[0] != getuid() || id[1] != geteuid() || id[2] != geteuid())
		plan_sys(p, BLOB_ANY, SYS_setresuid, id[0], id[1], id[2]);
}

static void plan_zombie_end(struct task *t, struct plan *p)
{
	int status = t->exit_code;

	plan_origin(p->set, "pid %d: zombie", task_vpid(t));
	plan_zombie_looks(t, p);
	if (WIFSIGNALED(status)) {
		struct { uint64_t cur, max; } none = { 0, 0 };

		/* no second core file */
		plan_sys(p, BLOB_ANY, SYS_prlimit64, 0, 4 /* RLIMIT_CORE */, (uintptr_t)plan_put(p, &none, sizeof(none)), 0);
		plan_op(p, BLOB_KILL, WTERMSIG(status), 0, 0);
	} else {
		plan_op(p, BLOB_EXIT, WEXITSTATUS(status), 0, 0);
	}
}

static int plan_threads(struct session *s, struct task *t, struct plan *p)
{
	restore_plan_seccomp_together(s, t, p);
	for (size_t i = 1; i < t->threads.n; i++) {
		struct thread *th = t->threads.v[i];
		pid_t tid = thread_vtid(th);
		int err;

		plan_origin(p->set, "pid %d tid %d: birth", task_vpid(t), tid);
		plan_fork(p, th->plan, THREAD_FLAGS, 0, &tid, 1);
		err = restore_plan_thread_state(s, th, th->plan);
		if (err < 0)
			return err;
		plan_op(th->plan, BLOB_PARK, 0, 0, 0);
		s->restore->nthreads++;
	}
	return 0;
}

/* A task that other orphans must fall to is their reaper meanwhile. */
static bool adopts(struct session *s, const struct task *t)
{
	FOR_EACH_TASK(o, s->tree)
		if (o->birth == BIRTH_ORPHAN && o->parent == t)
			return true;
	return false;
}

/*
 * Where Yama restricts tracing to ancestors (kernel.yama.ptrace_scope 1) W, which is none, has to be allowed by the root. It
 * inherits nothing of that, and once it is traced it needs it no more.
 */
static void plan_root_birth(struct session *s, struct plan *p)
{
	const uint64_t later = 0;

	s->restore->tracer = plan_put(p, &later, sizeof(later));
	plan_op(p, BLOB_LOAD, (uintptr_t)s->restore->tracer, 0, 0)->slot = TRACER_SLOT;
	plan_sys(p, BLOB_ANY, SYS_prctl, PR_SET_PTRACER, TRACER_SLOT)->slotmask = 1u << 1;
	barrier(s, p, STAGE_BIRTH);
	plan_sys(p, BLOB_ANY, SYS_prctl, PR_SET_PTRACER, 0);
}

static int plan_task(struct session *s, struct task *t)
{
	struct plan *p = task_plan(t);
	int err = 0;

	if (!t->parent) {
		plan_origin(p->set, "pid %d: birth", task_vpid(t));
		plan_root_birth(s, p);
	}
	if (t->life != TASK_ZOMBIE) {
		restore_settle_timers(t);
		restore_plan_loginuid(s, t, p);
		err = mem_plan(s, t, p);
	}
	if (err == 0 && adopts(s, t))
		plan_sys(p, BLOB_ZERO, SYS_prctl, PR_SET_CHILD_SUBREAPER, 1);
	if (err == 0)
		err = plan_births(s, t, p);
	if (err < 0)
		return err;
	plan_group(s, t, p);
	if (t->life == TASK_ZOMBIE) {
		expect_exit(s, task_vpid(t));
		plan_zombie_end(t, p);
		return 0;
	}
	plan_reap(s, t, p);
	err = restore_plan_files(s, t, p);
	if (err < 0)
		return err;
	barrier(s, p, STAGE_FILLED);
	restore_plan_close(s, t, p);
	barrier(s, p, STAGE_WIRED);
	err = restore_plan_queued(s, t, p, CR_STAGE_LATE);
	if (err == 0)
		err = plan_threads(s, t, p);
	if (err == 0)
		err = restore_plan_process_state(s, t, p);
	if (err == 0)
		err = restore_plan_thread_state(s, t->threads.v[0], p);
	plan_op(p, BLOB_PARK, 0, 0, 0);
	s->restore->nthreads++;
	return err;
}

int restore_plan_tasks(struct session *s)
{
	int err = tree_births(s);

	if (err == 0)
		err = restore_check_seccomp(s);
	if (err < 0)
		return err;
	FOR_EACH_TASK(t, s->tree)
		for (size_t i = 0; i < t->threads.n; i++) {
			pid_t tid = thread_vtid(t->threads.v[i]);

			t->threads.v[i]->plan = i ? plan_new(s->restore->plans, "pid %d tid %d", task_vpid(t), tid) :
						    plan_new(s->restore->plans, "pid %d", tid);
		}
	FOR_EACH_TASK(t, s->tree) {
		at_object(s, "pid %d", task_vpid(t));
		err = plan_task(s, t);
		if (err < 0)
			break;
	}
	at_object(s, NULL);
	return err;
}
