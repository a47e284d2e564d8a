/* SPDX-License-Identifier: MIT */
/*
 * phase.h: which hook runs when and where, and what it may ask for: one table of hooks, one of services.
 *
 * Every call of a hook is bracketed by hook_enter() and hook_leave(); every service asks service_misused() first.
 * A hook in the wrong phase is a mistake of the core, a service in the wrong hook one of the plugin: a build with
 * assertions (DEBUG=1, or with sanitizers) aborts, any other says so and fails.
 */
#ifndef CORE_PHASE_H
#define CORE_PHASE_H

#include "plugin.h"

/* In the order in which a dump, then a restore, calls them. */
enum hook {
	HOOK_NONE = 0, /* the core itself */
	HOOK_OTHER,    /* plugin_enter(): a hook that no rule is about */
	HOOK_PROBE,    /* cr_feature.probe */
	HOOK_MATCH,    /* cr_plugin.match */
	HOOK_PREPARE,
	HOOK_LOOK,
	HOOK_FILE_CHECK,
	HOOK_VMA_CHECK,
	HOOK_STATE_CHECK, /* cr_task_state.check */
	HOOK_CHECK,
	HOOK_COLLECT,
	HOOK_FILE_DUMP,
	HOOK_VMA_DUMP,
	HOOK_STATE_DUMP,
	HOOK_DUMP_LATE,
	HOOK_STAGE,
	HOOK_FILE_LOAD,
	HOOK_VMA_LOAD,
	HOOK_STATE_LOAD,
	HOOK_FILE_KEY, /* cr_file_kind.inherit_key */
	HOOK_PROVIDE,
	HOOK_FILE_CHECK_IMAGE,
	HOOK_FILE_OPEN,
	HOOK_FILE_WIRE,
	HOOK_OPENED,
	HOOK_VMA_PLAN,
	HOOK_STATE_PLAN,
	HOOK_FILE_OPEN_LATE,
	HOOK_RESTORED,
	HOOK_RESUME,
	HOOK_DONE,
	HOOKS,
};

/* Services that are not allowed everywhere. */
enum service {
	SVC_REFUSE = 0,
	SVC_IMG_WRITE, /* img_append, img_raw, img_raw_fd, shmem_dump */
	SVC_IMG_READ,  /* img_open, shmem_fill */
	SVC_FILE_MESSAGE,
	SVC_FILE_FOWN,
	SVC_FILE_SET_FOWN,
	SVC_FILE_COLLECT,
	SVC_FILE_NEED,
	SVC_FILE_USE,
	SVC_FILE_OPENED,
	SVC_TASK_READ,
	SVC_PLAN, /* plan_data, plan_syscall, plan_call, plan_write */
	SVC_UNDO,
	SVC_VMA_MESSAGE,
	SVC_VMA_STORED,
	SVC_FILE_OWN, /* file_set_own */
	SVC_HIGH_FD,
	SVC_LOST,
	SERVICES,
};

/* The hook of p begins: as plugin_enter(), with *ret_before for hook_leave(). 0, or -errno recorded: do not call it. */
struct hook_state {
	struct plugin *plugin;
	uint8_t hook;
};
int hook_enter(struct session *s, struct plugin *p, enum hook hook, struct hook_state *ret_before);
void hook_leave(struct session *s, const struct hook_state *before);
/*
 * Calls a hook that returns an int:  err = HOOK(s, f->plugin, HOOK_FILE_OPEN, f->kind->open(&s->pub, cr_file_of(f), &fd));
 */
#define HOOK(s, p, hook, call) \
	__extension__({ \
		struct hook_state hook_before_; \
		int hook_err_ = hook_enter((s), (p), (hook), &hook_before_); \
		if (!hook_err_) \
			hook_err_ = (call); \
		hook_leave((s), &hook_before_); \
		hook_err_; \
	})

/* "open of a file" */
const char *hook_name(unsigned hook);
/* 0, or -EPERM recorded: the hook that runs may not use this service. name: as the plugin calls it, "file_need". */
int service_misused(struct session *s, enum service service, const char *name);

#endif
