/* SPDX-License-Identifier: MIT */
/* own.h: what E itself is; only what differs from that has to be set in a task. For core/restore only. */
#ifndef CORE_RESTORE_OWN_H
#define CORE_RESTORE_OWN_H

#include <sys/resource.h>

#include "restore.h"
#include "tree/attrs.h"
#include "tree/policy.h"

struct own {
	struct proc_status status;
	int status_err; /* 0, or why it cannot be read */
	int secbits;
	struct rlimit limit[RLIM_NLIMITS];
	bool has_limit[RLIM_NLIMITS];
	uint32_t personality;
	int nice;
	bool has_sched;
	struct sched_attr_kernel sched;
	int cpus_err; /* 0, or why they cannot be read */
	struct cpu_mask cpus;
	uint32_t ioprio;
	unsigned long timer_slack; /* ns */
	bool memory_merge;
	bool has_flags;
	uint64_t flags; /* PF_* */
	long loginuid;	/* -1: none */
	struct policy_args policy;
};

/* Read at the first call: while plans are made nothing of it changes. */
const struct own *restore_own(struct session *s);
void restore_own_free(struct own *o);

#endif
