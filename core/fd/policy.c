/* SPDX-License-Identifier: MIT */
/*
 * policy.c: --policy RESOURCE=ACTION, what the user wants to become of some objects.
 *
 * RESOURCE is a kind of files, a plugin (all kinds of it), "all" or "unknown" (what nobody claims); KIND[KEY]
 * and fd[PID:N] name single objects.  What says most about an object counts, of several the last.  Which actions a kind
 * carries out itself it declares; any descriptor can be refused, and be handed to a kind that takes it over, so that the
 * program finds it closed or the caller of the restore passes it in.  Of state that has no descriptor it can be said that
 * none of it may be lost: RESOURCE "lost".
 */
#include "files_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <string.h>

#include "options.h"
#include "phase.h"

struct rule {
	const char *text; /* as given */
	char *kind, *key; /* key NULL: all of that kind */
	uint32_t action;
	bool by_number; /* fd[PID:N] */
	pid_t pid;
	int fd;
};

struct policies {
	VEC(struct rule) rules;
};

static const char *const action_names[] = {
	[CR_POLICY_RESTORE] = "restore", [CR_POLICY_FAIL] = "fail",	  [CR_POLICY_CLOSE] = "close",
	[CR_POLICY_EXTERNAL] = "external", [CR_POLICY_RECONNECT] = "reconnect",
};

/* ---- what a kind can do ---- */

static struct plugin *taker(struct session *s, uint32_t action, const struct cr_file_kind **ret_kind)
{
	struct plugin *p;

	for (size_t i = 0; (p = plugins_nth(s->plugins, i)); i++)
		for (size_t k = 0; p->def->files && p->def->files[k]; k++)
			if (p->def->files[k]->takes == action) {
				*ret_kind = p->def->files[k];
				return p;
			}
	return NULL;
}

static bool does_itself(const struct cr_file_kind *k, uint32_t action)
{
	uint32_t can = k && k->policies ? k->policies : 1u << CR_POLICY_RESTORE;

	return k && can & (1u << action);
}

static bool is_general(uint32_t action)
{
	return action == CR_POLICY_FAIL || action == CR_POLICY_CLOSE || action == CR_POLICY_EXTERNAL;
}

static uint32_t usual(const struct cr_file_kind *k)
{
	if (k->takes)
		return k->takes;
	if (k->policy)
		return k->policy;
	return does_itself(k, CR_POLICY_RESTORE) ? CR_POLICY_RESTORE : CR_POLICY_FAIL;
}

void policy_actions(const struct cr_file_kind *k, struct buf *out)
{
	uint32_t first = usual(k);

	buf_printf(out, "%s", action_names[first]);
	for (uint32_t a = CR_POLICY_RESTORE; a < ARRAY_SIZE(action_names); a++)
		if (a != first && (does_itself(k, a) || is_general(a)))
			buf_printf(out, "|%s", action_names[a]);
}

/* ---- rules ---- */

void policies_free(struct policies *ps)
{
	for (size_t i = 0; ps && i < ps->rules.n; i++) {
		free(ps->rules.v[i].kind);
		free(ps->rules.v[i].key);
	}
	if (ps)
		vec_free(&ps->rules);
	free(ps);
}

static int parse_action(const char *text, uint32_t *ret)
{
	for (uint32_t a = CR_POLICY_RESTORE; a < ARRAY_SIZE(action_names); a++)
		if (!strcmp(action_names[a], text)) {
			*ret = a;
			return 0;
		}
	return -EINVAL;
}

static int parse_number(struct session *s, struct rule *r)
{
	char *end = NULL;

	r->by_number = !strcmp(r->kind, "fd");
	if (!r->by_number)
		return 0;
	if (r->key)
		r->pid = strtol(r->key, &end, 10);
	if (end && end != r->key && *end == ':') {
		const char *number = end + 1;

		r->fd = strtol(number, &end, 10);
		if (end != number && !*end && r->pid > 0 && r->fd >= 0)
			return 0;
	}
	return fail(s, EINVAL, "--policy %s: expected fd[PID:NUMBER]", r->text);
}

static int parse_rule(struct session *s, const char *text, struct rule *r)
{
	const char *eq = strrchr(text, '='), *open = strchr(text, '[');

	*r = (struct rule){ .text = text };
	if (!eq || eq == text || parse_action(eq + 1, &r->action) < 0)
		return fail(s, EINVAL, "--policy %s: expected RESOURCE=ACTION, where ACTION is restore, fail, close, external or "
				       "reconnect", text);
	if (open && (open == text || open > eq || eq[-1] != ']'))
		return fail(s, EINVAL, "--policy %s: expected KIND[KEY]=ACTION", text);
	r->kind = xasprintf("%.*s", (int)((open ? open : eq) - text), text);
	if (open)
		r->key = xasprintf("%.*s", (int)(eq - 1 - open - 1), open + 1);
	return parse_number(s, r);
}

static int check_action(struct session *s, const struct rule *r, const struct cr_file_kind *k)
{
	_cleanup_buf_ struct buf can = { 0 };
	const struct cr_file_kind *by;

	if (k && does_itself(k, r->action))
		return 0;
	if (r->action == CR_POLICY_FAIL)
		return 0;
	if (is_general(r->action)) {
		if (taker(s, r->action, &by))
			return 0;
		return fail(s, ENOENT, "--policy %s: no loaded plugin does that: load %s", r->text,
			    r->action == CR_POLICY_CLOSE ? "the plugin closed" : "the plugin inherit");
	}
	if (!k)
		return fail(s, EINVAL, "--policy %s: what no plugin knows can only fail, close or be external", r->text);
	policy_actions(k, &can);
	return fail(s, EINVAL, "--policy %s: files of kind %s cannot %s, only %s", r->text, k->name, action_names[r->action],
		    can.p);
}

/* The kinds that a rule is about exist and can do it. */
static int check_rule(struct session *s, const struct rule *r)
{
	struct plugin *p;
	bool known = false;
	int err = 0;

	if (r->by_number && !is_general(r->action))
		return 0; /* its kind is known when it is met */
	if (!strcmp(r->kind, "all") && r->action == CR_POLICY_RECONNECT)
		return fail(s, EINVAL, "--policy %s: only some kinds can reconnect: name them ('stasis plugins')", r->text);
	if (!strcmp(r->kind, "all") && r->action == CR_POLICY_RESTORE)
		return 0;
	if (!strcmp(r->kind, "unknown") || r->by_number || !strcmp(r->kind, "all"))
		return check_action(s, r, NULL);
	for (size_t i = 0; (p = plugins_nth(s->plugins, i)) && err == 0; i++)
		for (size_t k = 0; p->def->files && p->def->files[k] && err == 0; k++) {
			if (strcmp(p->def->files[k]->name, r->kind) && strcmp(p->name, r->kind))
				continue;
			known = true;
			err = check_action(s, r, p->def->files[k]);
		}
	if (!err && !known)
		return fail(s, EINVAL, "--policy %s: no loaded plugin has files of kind %s ('stasis plugins' lists all)", r->text,
			    r->kind);
	return err;
}

/* lost=fail, lost[PLUGIN]=fail: not about objects, but about what is lost of them and of all else. */
static int ban_losses(struct session *s, const struct rule *r)
{
	if (r->action != CR_POLICY_FAIL)
		return fail(s, EINVAL, "--policy %s: what would be lost can only fail", r->text);
	if (r->key && strcmp(r->key, "core") && !plugins_find(s->plugins, r->key))
		return fail(s, EINVAL, "--policy %s: expected the name of a plugin that is loaded, or core", r->text);
	*vec_push(&s->loss_bans) = xstrdup(r->key ? r->key : "");
	return 0;
}

int policies_read(struct session *s)
{
	const char *item;
	int err = 0;

	for (size_t i = 0; err == 0 && (item = opt_item(s->opts, "policy", i)); i++) {
		struct rule r;

		if (!s->policies)
			s->policies = xcalloc(1, sizeof(*s->policies));
		err = parse_rule(s, item, &r);
		*vec_push(&s->policies->rules) = r;
		if (err == 0)
			err = strcmp(r.kind, "lost") ? check_rule(s, &r) : ban_losses(s, &r);
	}
	return err;
}

/* ---- which rule is about an object ---- */

int file_key(struct session *s, const struct file *f, char *buf, size_t size)
{
	const char *kind = f->was ? f->was : f->kind ? f->kind->name : "unknown";
	int n, err = -ENOENT;

	if (s->mode == CR_MODE_RESTORE) {
		if (f->kind->inherit_key)
			err = HOOK(s, f->plugin, HOOK_FILE_KEY,
				   f->kind->inherit_key(&s->pub, cr_file_of((struct file *)f), buf, size));
		if (err != -ENOENT)
			return err;
		n = snprintf(buf, size, "%s[%u]", kind, f->id);
	} else if (f->info.mnt_id >= 0 && (!f->was || f->link[0] == '/')) {
		n = snprintf(buf, size, "file[%x:%llx]", f->info.mnt_id, (unsigned long long)f->info.st.st_ino);
	} else if (!strncmp(f->link, "pipe:[", 6) || !strncmp(f->link, "socket:[", 8)) {
		n = snprintf(buf, size, "%s", f->link);
	} else {
		n = snprintf(buf, size, "%s[%u]", kind, f->id);
	}
	return n >= 0 && (size_t)n < size ? 0 : -ENOENT;
}

/* key is what stands in the brackets of name ("pipe:[12]"), or a pattern for a path. */
static bool name_matches(const char *name, const char *key)
{
	const char *in = strchr(name, '[');
	size_t n = strlen(key);

	if (key[0] == '/')
		return !fnmatch(key + 1, name + (name[0] == '/'), 0);
	return in && !strncasecmp(in + 1, key, n) && !strcmp(in + 1 + n, "]");
}

static bool key_matches(struct session *s, const struct file *f, const char *key)
{
	char name[4200];

	if (s->mode != CR_MODE_RESTORE) {
		if (name_matches(f->link, key))
			return true;
		snprintf(name, sizeof(name), "[%x:%llx]", f->info.mnt_id, (unsigned long long)f->info.st.st_ino);
		if (f->info.mnt_id >= 0 && name_matches(name, key))
			return true;
		snprintf(name, sizeof(name), "[%llu]", (unsigned long long)f->info.st.st_ino);
		return S_ISSOCK(f->info.st.st_mode) && name_matches(name, key);
	}
	return file_key(s, f, name, sizeof(name)) == 0 && name_matches(name, key);
}

static bool number_matches(struct session *s, const struct file *f, const struct rule *r)
{
	for (size_t i = 0; i < f->slots.n; i++) {
		const struct task *t = f->slots.v[i].table->owner;

		if (f->slots.v[i].fd == r->fd && (s->mode == CR_MODE_RESTORE ? task_vpid(t) : task_pid(t)) == r->pid)
			return true;
	}
	return false;
}

/* How much r says about f; 0: nothing. */
static unsigned weight(struct session *s, const struct file *f, const struct rule *r)
{
	unsigned w;

	if (r->by_number)
		return number_matches(s, f, r) ? 16 : 0;
	if (f->kind && !strcmp(r->kind, f->kind->name))
		w = 3;
	else if (f->kind && !strcmp(r->kind, f->plugin->name))
		w = 2;
	else if (!f->kind && !strcmp(r->kind, "unknown"))
		w = 3;
	else if (!strcmp(r->kind, "all"))
		w = 1;
	else
		return 0;
	if (!r->key)
		return w;
	return key_matches(s, f, r->key) ? w + 8 : 0;
}

static const struct rule *rule_for(struct session *s, const struct file *f)
{
	const struct rule *best = NULL;
	unsigned most = 1;

	for (size_t i = 0; s->policies && i < s->policies->rules.n; i++) {
		unsigned w = weight(s, f, &s->policies->rules.v[i]);

		if (w >= most) {
			best = &s->policies->rules.v[i];
			most = w;
		}
	}
	return best;
}

/* ---- what it means ---- */

uint32_t file_policy(const struct file *f)
{
	if (f->kind && f->kind->takes)
		return f->kind->takes;
	if (f->policy)
		return f->policy;
	return f->kind ? usual(f->kind) : CR_POLICY_FAIL;
}

bool file_is_taken(const struct file *f)
{
	return (f->policy == CR_POLICY_CLOSE || f->policy == CR_POLICY_EXTERNAL) && !f->kind->takes &&
	       !does_itself(f->kind, f->policy);
}

const char *file_kind_name(struct session *s, const struct file *f)
{
	const struct cr_file_kind *by;

	if (!f->kind)
		return "";
	return s->mode == CR_MODE_RESTORE && file_is_taken(f) && taker(s, f->policy, &by) ? by->name : f->kind->name;
}

static int decide(struct session *s, struct file *f, const struct rule *r)
{
	/* what somebody else has taken already, by --external */
	if (!r || (f->kind && f->kind->takes))
		return 0;
	if (!is_general(r->action) && f->kind && !does_itself(f->kind, r->action)) {
		if (r->action == CR_POLICY_RESTORE)
			return 0; /* its own check says why not */
		return fail(s, EINVAL, "--policy %s: files of kind %s cannot %s", r->text, f->kind->name,
			    action_names[r->action]);
	}
	f->policy = r->action;
	return 0;
}

int policy_apply_dump(struct session *s, struct file *f)
{
	const struct rule *r = rule_for(s, f);
	const struct cr_file_kind *by = NULL;
	struct plugin *p;
	int err;

	/* descriptors alone: a task cannot do without its mappings and directories */
	if (!r || (f->info.source != CR_SRC_FD && f->info.source != CR_SRC_PLUGIN))
		return 0;
	err = decide(s, f, r);
	if (err < 0 || !f->policy)
		return err;
	if (f->policy == CR_POLICY_FAIL) {
		refuse(s, "another --policy", "--policy %s: %s must not be dumped", r->text, f->link);
		return 0;
	}
	if (!is_general(f->policy) || (f->kind && does_itself(f->kind, f->policy)))
		return 0;
	p = taker(s, f->policy, &by);
	f->was = f->kind ? f->kind->name : "unknown";
	f->plugin = p;
	f->kind = by;
	log_info("%s: %s (--policy %s)", s->object, action_names[f->policy], r->text);
	if (f->policy == CR_POLICY_CLOSE && s->mode == CR_MODE_DUMP)
		lost(s, "closed, as --policy %s says", r->text);
	return 0;
}

int policy_apply_restore(struct session *s, struct file *f)
{
	const struct rule *r;
	int err;

	if (!s->policies || f->fixed)
		return 0;
	r = rule_for(s, f);
	err = decide(s, f, r);
	if (err < 0)
		return err;
	if (f->policy == CR_POLICY_FAIL)
		return fail(s, EPERM, "--policy %s: it must not be restored", r->text);
	if (f->policy == CR_POLICY_CLOSE && !does_itself(f->kind, f->policy))
		lost(s, "closed, as --policy %s says", r->text);
	return 0;
}
