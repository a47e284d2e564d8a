/* SPDX-License-Identifier: MIT */
/*
 * The table of phases.  All hooks run in the engine process E, in its own namespaces, and none inside a task;
 * the warden and the restored tasks run no plugin code at all, but for undo() in a child of the warden.
 */
#include "phase.h"

#include <errno.h>
#include <unistd.h>

#include "fault.h"
#include "signals.h"

#define BIT(x) (1u << (x))
#define DUMP BIT(CR_MODE_DUMP)
#define CHECK BIT(CR_MODE_CHECK)
#define RESTORE BIT(CR_MODE_RESTORE)
#define ANY_MODE (BIT(0) | DUMP | CHECK | RESTORE)

#define RUNNING BIT(TREE_RUNNING)
#define FROZEN BIT(TREE_FROZEN)
#define ABSENT BIT(TREE_ABSENT)
#define PARKED BIT(TREE_PARKED)
#define ANY_TIME (RUNNING | FROZEN | ABSENT | PARKED)

_Static_assert(HOOKS <= 32, "a set of hooks is 32 bits");

static const struct {
	const char *name;
	uint32_t modes;
	uint32_t tree; /* what may be going on with the tasks */
} hooks[HOOKS] = {
	[HOOK_NONE] = { "", ANY_MODE, ANY_TIME },
	[HOOK_OTHER] = { "a hook", ANY_MODE, ANY_TIME },
	[HOOK_PROBE] = { "probe", ANY_MODE, ANY_TIME },
	[HOOK_MATCH] = { "match", DUMP | CHECK, RUNNING | FROZEN },
	[HOOK_PREPARE] = { "prepare", DUMP | CHECK, RUNNING },
	[HOOK_LOOK] = { "look", DUMP | CHECK, RUNNING | FROZEN },
	[HOOK_FILE_CHECK] = { "check of a file", DUMP | CHECK, RUNNING | FROZEN },
	[HOOK_VMA_CHECK] = { "check of a mapping", DUMP | CHECK, RUNNING | FROZEN },
	[HOOK_STATE_CHECK] = { "check of a task", DUMP | CHECK, RUNNING | FROZEN },
	[HOOK_CHECK] = { "check", DUMP | CHECK, RUNNING | FROZEN },
	[HOOK_COLLECT] = { "collect", DUMP, FROZEN },
	[HOOK_FILE_DUMP] = { "dump of a file", DUMP, FROZEN },
	[HOOK_VMA_DUMP] = { "dump of a mapping", DUMP, FROZEN },
	[HOOK_STATE_DUMP] = { "dump of a task", DUMP, FROZEN },
	[HOOK_DUMP_LATE] = { "dump_late", DUMP, FROZEN },
	[HOOK_STAGE] = { "stage", RESTORE, ABSENT },
	[HOOK_FILE_LOAD] = { "load of a file", RESTORE, ABSENT },
	[HOOK_VMA_LOAD] = { "load of a mapping", RESTORE, ABSENT },
	[HOOK_STATE_LOAD] = { "load of a task", RESTORE, ABSENT },
	[HOOK_FILE_KEY] = { "inherit_key of a file", RESTORE, ABSENT },
	[HOOK_PROVIDE] = { "provide", RESTORE, ABSENT },
	[HOOK_FILE_CHECK_IMAGE] = { "check_image of a file", RESTORE, ABSENT },
	[HOOK_FILE_OPEN] = { "open of a file", RESTORE, ABSENT },
	[HOOK_FILE_WIRE] = { "wire of a file", RESTORE, ABSENT },
	[HOOK_OPENED] = { "opened", RESTORE, ABSENT },
	[HOOK_VMA_PLAN] = { "plan of a mapping", RESTORE, ABSENT },
	[HOOK_STATE_PLAN] = { "plan of a task", RESTORE, ABSENT },
	[HOOK_FILE_OPEN_LATE] = { "open_late of a file", RESTORE, ABSENT },
	[HOOK_RESTORED] = { "restored", RESTORE, PARKED },
	[HOOK_RESUME] = { "resume", RESTORE, PARKED },
	[HOOK_DONE] = { "done", ANY_MODE, ANY_TIME },
};

#define CHECKS (BIT(HOOK_FILE_CHECK) | BIT(HOOK_VMA_CHECK) | BIT(HOOK_STATE_CHECK) | BIT(HOOK_CHECK))
#define DUMPS (BIT(HOOK_FILE_DUMP) | BIT(HOOK_VMA_DUMP) | BIT(HOOK_STATE_DUMP) | BIT(HOOK_DUMP_LATE))
#define LOADS (BIT(HOOK_STAGE) | BIT(HOOK_FILE_LOAD) | BIT(HOOK_VMA_LOAD) | BIT(HOOK_STATE_LOAD))
#define OPENS \
	(BIT(HOOK_PROVIDE) | BIT(HOOK_FILE_CHECK_IMAGE) | BIT(HOOK_FILE_OPEN) | BIT(HOOK_FILE_WIRE) | BIT(HOOK_OPENED) | \
	 BIT(HOOK_VMA_PLAN) | BIT(HOOK_STATE_PLAN))

/* Which hooks may use a service. */
static const uint32_t services[SERVICES] = {
	[SVC_REFUSE] = BIT(HOOK_LOOK) | CHECKS | BIT(HOOK_COLLECT) | DUMPS,
	[SVC_IMG_WRITE] = DUMPS,
	[SVC_IMG_READ] = LOADS | OPENS | BIT(HOOK_RESTORED),
	[SVC_FILE_MESSAGE] = BIT(HOOK_FILE_DUMP),
	[SVC_FILE_FOWN] = BIT(HOOK_FILE_CHECK) | BIT(HOOK_COLLECT) | DUMPS,
	[SVC_FILE_SET_FOWN] = BIT(HOOK_FILE_OPEN) | BIT(HOOK_FILE_WIRE) | BIT(HOOK_OPENED),
	[SVC_FILE_COLLECT] = CHECKS | BIT(HOOK_COLLECT) | BIT(HOOK_FILE_DUMP),
	[SVC_FILE_NEED] = BIT(HOOK_FILE_LOAD),
	[SVC_FILE_USE] = BIT(HOOK_FILE_LOAD) | BIT(HOOK_FILE_OPEN),
	[SVC_FILE_OPENED] = BIT(HOOK_FILE_OPEN),
	[SVC_TASK_READ] = CHECKS | BIT(HOOK_COLLECT) | DUMPS,
	[SVC_PLAN] = BIT(HOOK_FILE_WIRE) | BIT(HOOK_OPENED) | BIT(HOOK_VMA_PLAN) | BIT(HOOK_STATE_PLAN),
	[SVC_UNDO] = BIT(HOOK_FILE_CHECK) | BIT(HOOK_COLLECT) | DUMPS,
	[SVC_VMA_MESSAGE] = BIT(HOOK_VMA_DUMP),
	[SVC_VMA_STORED] = BIT(HOOK_VMA_PLAN),
	[SVC_FILE_OWN] = BIT(HOOK_FILE_LOAD),
	[SVC_HIGH_FD] = OPENS,
	[SVC_LOST] = ~(BIT(HOOK_MATCH) | BIT(HOOK_PROBE)),
};

/* Services with an effect outside of the engine: what must go on with the tasks; 0: anything. */
static const uint32_t service_tree[SERVICES] = { [SVC_UNDO] = FROZEN };

/* A mistake in code, not in what the user asked for. Returns -errnum. */
static int mistake(struct session *s, int err)
{
#ifdef STASIS_DEBUG
	fprintf(stderr, "stasis: assertion failed: %s\n", s->err.text ? s->err.text : "phases");
	abort();
#endif
	(void)s;
	return err;
}

static const char *tree_names[] = { [TREE_RUNNING] = "running", [TREE_FROZEN] = "frozen", [TREE_ABSENT] = "not there yet",
				    [TREE_PARKED] = "being finished" };

const char *hook_name(unsigned hook)
{
	return hook < HOOKS ? hooks[hook].name : "?";
}

int hook_enter(struct session *s, struct plugin *p, enum hook hook, struct hook_state *ret_before)
{
	ret_before->hook = s->hook;
	ret_before->plugin = plugin_enter(s, p);
	s->hook = hook;
	if (!(hooks[hook].modes & BIT(s->mode)) || !(hooks[hook].tree & BIT(s->tree_is)))
		return mistake(s, fail(s, EPROTO, "hook %s was called while the tasks are %s (mode %u)", hooks[hook].name,
				       tree_names[s->tree_is], s->mode));
	if (hook == HOOK_DONE)
		return 0;
	if (fault_on) {
		int err = fault_point("hook %s of %s", hooks[hook].name, p ? p->name : "core");

		if (err)
			return err;
	}
	return hook == HOOK_PROBE ? 0 : signals_check(s);
}

void hook_leave(struct session *s, const struct hook_state *before)
{
	plugin_leave(s, before->plugin);
	s->hook = before->hook;
}

int service_misused(struct session *s, enum service service, const char *name)
{
	bool in_time = !service_tree[service] || service_tree[service] & BIT(s->tree_is);

	if (s->hook <= HOOK_OTHER || (in_time && services[service] & BIT(s->hook)))
		return 0;
	return mistake(s, fail(s, EPERM, "plugin %s called %s() in its hook %s, where that service is not allowed: it needs "
			       "another version of the plugin", s->plugin ? s->plugin : "?", name, hooks[s->hook].name));
}
