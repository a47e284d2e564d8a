/* SPDX-License-Identifier: MIT */
#include "states.h"

#include <errno.h>
#include <string.h>

#include "log.h"
#include "phase.h"
#include "tree.h"

typedef int (*state_fn)(struct cr_session *s, struct cr_task *t);

/* One hook of one state, which lies at that offset in struct cr_task_state. */
static int call(struct session *s, struct plugin *p, const struct cr_task_state *st, struct task *t, enum hook hook,
		size_t offset)
{
	struct plugin *before;
	state_fn fn;
	int err;

	memcpy(&fn, (const char *)st + offset, sizeof(fn));
	if (!fn)
		return 0;
	err = HOOK(s, p, hook, fn(&s->pub, cr_task_of(t)));
	if (err == -EOPNOTSUPP && s->blockers.n && !s->err.errnum)
		return 0; /* reported with all the others */
	before = plugin_enter(s, p);
	if (err < 0 && !s->err.errnum)
		fail(s, -err, "%s of plugin %s (%s) failed without a reason", hook_name(hook), p->name, st->name);
	plugin_leave(s, before);
	return err < 0 ? err : 0;
}

static int call_all(struct session *s, struct task *t, enum hook hook, size_t offset)
{
	struct plugin *p;
	int err = 0;

	for (size_t i = 0; !err && (p = plugins_nth(s->plugins, i)); i++)
		for (size_t k = 0; !err && p->def->task_states && p->def->task_states[k]; k++)
			err = call(s, p, p->def->task_states[k], t, hook, offset);
	return err;
}

static int for_tasks(struct session *s, const char *phase, enum hook hook, size_t offset)
{
	const char *old_phase = s->phase;
	int err = 0;

	s->phase = phase;
	FOR_EACH_TASK(t, s->tree) {
		if (t->life == TASK_ZOMBIE)
			continue;
		at_object(s, "pid %d", s->mode == CR_MODE_RESTORE ? task_vpid(t) : task_pid(t));
		err = call_all(s, t, hook, offset);
		if (err)
			break;
	}
	at_object(s, NULL);
	s->phase = old_phase;
	return err;
}

int task_states_check(struct session *s)
{
	return for_tasks(s, "check", HOOK_STATE_CHECK, offsetof(struct cr_task_state, check));
}

int task_states_dump(struct session *s)
{
	return for_tasks(s, "dump", HOOK_STATE_DUMP, offsetof(struct cr_task_state, dump));
}

int task_states_load(struct session *s)
{
	return for_tasks(s, "load", HOOK_STATE_LOAD, offsetof(struct cr_task_state, load));
}

int task_states_plan(struct session *s)
{
	return for_tasks(s, "plan", HOOK_STATE_PLAN, offsetof(struct cr_task_state, plan));
}
