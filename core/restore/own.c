/* SPDX-License-Identifier: MIT */
/* own.c: what E itself is, which every task begins with. */
#include "own.h"

#include <stdlib.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "restore_priv.h"

static void read_own(struct own *o)
{
	struct proc_stat st;

	o->status_err = proc_read_status(getpid(), 0, &o->status);
	o->secbits = prctl(PR_GET_SECUREBITS, 0, 0, 0, 0);
	for (int i = 0; i < RLIM_NLIMITS; i++)
		o->has_limit[i] = getrlimit((__rlimit_resource_t)i, &o->limit[i]) == 0;
	o->personality = (uint32_t)personality(0xffffffff);
	o->nice = getpriority(PRIO_PROCESS, 0);
	o->has_sched = attr_sched_get(0, &o->sched) == 0;
	o->cpus_err = attr_affinity_get(0, &o->cpus);
	o->ioprio = (uint32_t)syscall(SYS_ioprio_get, ATTR_IOPRIO_THREAD, 0);
	o->timer_slack = (unsigned long)prctl(PR_GET_TIMERSLACK);
	o->memory_merge = prctl(ATTR_GET_MEMORY_MERGE, 0, 0, 0, 0) == 1;
	o->has_flags = proc_read_stat(getpid(), 0, &st) == 0;
	o->flags = o->has_flags ? st.flags : 0;
	o->loginuid = restore_number_in("/proc/self/loginuid", 10, -1);
	policy_own(&o->policy);
}

const struct own *restore_own(struct session *s)
{
	if (!s->restore->own) {
		s->restore->own = xcalloc(1, sizeof(*s->restore->own));
		read_own(s->restore->own);
	}
	return s->restore->own;
}

void restore_own_free(struct own *o)
{
	if (o)
		proc_status_free(&o->status);
	free(o);
}
