/* SPDX-License-Identifier: MIT */
/*
 * state.c: what a task is beyond memory and files, as operations, from the
 * messages that core/tree/state.c filled.
 *
 * Of the process (by its leader): signal actions, limits, timers, queued signals.
 * Of each thread: scheduling, name, alternate stack, futex list, rseq, queued
 * signals, credentials.  Registers and the signal mask are W's, at the very end:
 * until then every signal stays blocked.
 */
#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "mem.h"
#include "own.h"
#include "restore_priv.h"

#include "core.pb-c.h"

struct kernel_sigaction {
	uint64_t handler, flags, restorer, mask;
};

static void plan_sigactions(struct task *t, const TaskCoreEntry *tc, struct plan *p)
{
	size_t i = 0;

	plan_origin(p->set, "pid %d: signal actions", task_vpid(t));
	for (int sig = 1; sig <= 64 && i < tc->n_sigactions; sig++) {
		struct kernel_sigaction ka;
		const SaEntry *e;

		if (sig == SIGKILL || sig == SIGSTOP)
			continue;
		e = tc->sigactions[i++];
		ka = (struct kernel_sigaction){ e->sigaction, e->flags, e->restorer, e->mask };
		plan_sys(p, BLOB_ZERO, SYS_rt_sigaction, sig, (uintptr_t)plan_put(p, &ka, sizeof(ka)), 0, 8);
	}
}

/* Limits that differ from those the task inherits; hard ones can only be lowered without CAP_SYS_RESOURCE. */
static void plan_limits(struct session *s, struct task *t, const TaskCoreEntry *tc, struct plan *p)
{
	const TaskRlimitsEntry *r = tc->rlimits;

	plan_origin(p->set, "pid %d: limits", task_vpid(t));
	for (size_t i = 0; r && i < r->n_rlimits && i < RLIM_NLIMITS; i++) {
		struct rlimit own = restore_own(s)->limit[i];
		uint64_t want[2] = { r->rlimits[i]->cur, r->rlimits[i]->max };

		if (!restore_own(s)->has_limit[i] || (own.rlim_cur == want[0] && own.rlim_max == want[1]))
			continue;
		if (i == RLIMIT_SIGPENDING) { /* lowered in the end: what is queued may be more */
			want[1] = MAX_OF(want[1], own.rlim_max);
			want[0] = want[1];
		}
		if (want[1] > own.rlim_max && prctl(PR_CAPBSET_READ, CAP_SYS_RESOURCE) != 1) {
			lost(s, "pid %d: limit %zu was %lu, here at most %lu is allowed", task_vpid(t), i,
				 (unsigned long)want[1], (unsigned long)own.rlim_max);
			want[1] = own.rlim_max;
			want[0] = MIN_OF(want[0], want[1]);
		}
		plan_sys(p, BLOB_ZERO, SYS_prlimit64, 0, i, (uintptr_t)plan_put(p, want, sizeof(want)), 0);
	}
}

/* The one that plan_limits() has left: when all signals are queued. */
static void plan_pending_limit(struct session *s, struct task *t, struct plan *p)
{
	const TaskRlimitsEntry *r = t->threads.v[0]->core->tc->rlimits;
	struct rlimit own = restore_own(s)->limit[RLIMIT_SIGPENDING];
	uint64_t want[2];

	if (!r || r->n_rlimits <= RLIMIT_SIGPENDING || !restore_own(s)->has_limit[RLIMIT_SIGPENDING])
		return;
	want[0] = r->rlimits[RLIMIT_SIGPENDING]->cur;
	want[1] = r->rlimits[RLIMIT_SIGPENDING]->max;
	if (want[1] > own.rlim_max && prctl(PR_CAPBSET_READ, CAP_SYS_RESOURCE) != 1) {
		want[1] = own.rlim_max;
		want[0] = MIN_OF(want[0], want[1]);
	}
	plan_origin(p->set, "pid %d: limit of queued signals", task_vpid(t));
	if (own.rlim_cur != want[0] || own.rlim_max != want[1])
		plan_sys(p, BLOB_ZERO, SYS_prlimit64, 0, RLIMIT_SIGPENDING, (uintptr_t)plan_put(p, want, sizeof(want)), 0);
}

/* A task may queue any siginfo to itself. tid 0: to the process. */
static int plan_signals(struct session *s, pid_t pid, pid_t tid, const SignalQueueEntry *q, struct plan *p)
{
	plan_origin(p->set, "pid %d tid %d: queued signals", pid, tid);
	for (size_t i = 0; q && i < q->n_signals; i++) {
		siginfo_t si = { 0 };
		void *at;

		if (!q->signals[i]->siginfo.len)
			continue; /* restore_settle_timers() */
		if (q->signals[i]->siginfo.len > sizeof(si))
			return fail(s, EPROTO, "pid %d: a queued signal of %zu bytes", pid, q->signals[i]->siginfo.len);
		memcpy(&si, q->signals[i]->siginfo.data, q->signals[i]->siginfo.len);
		if (si.si_signo < 1 || si.si_signo > 64)
			return fail(s, EPROTO, "pid %d: a queued signal number %d", pid, si.si_signo);
		at = plan_put(p, &si, sizeof(si));
		if (tid)
			plan_sys(p, BLOB_ZERO, SYS_rt_tgsigqueueinfo, pid, tid, si.si_signo, (uintptr_t)at);
		else
			plan_sys(p, BLOB_ZERO, SYS_rt_sigqueueinfo, pid, si.si_signo, (uintptr_t)at);
	}
	return 0;
}

int restore_plan_process_state(struct session *s, struct task *t, struct plan *p)
{
	const TaskCoreEntry *tc = t->threads.v[0]->core->tc;
	int err;

	plan_sigactions(t, tc, p);
	plan_limits(s, t, tc, p);
	plan_origin(p->set, "pid %d: process", task_vpid(t));
	if (tc->personality != restore_own(s)->personality)
		plan_sys(p, BLOB_NONNEG, SYS_personality, tc->personality);
	plan_sys(p, BLOB_ZERO, SYS_prctl, PR_SET_CHILD_SUBREAPER, tc->has_child_subreaper && tc->child_subreaper);
	err = restore_plan_process_attrs(s, t, p);
	mem_plan_late(t, p);
	if (err == 0)
		err = restore_plan_timers(s, t, tc, p);
	return err < 0 ? err : plan_signals(s, task_vpid(t), 0, tc->signals_s, p);
}

static void plan_user_areas(struct thread *th, const ThreadCoreEntry *tc, struct plan *p)
{
	const ThreadSasEntry *sas = tc->sas;
	stack_t st = { .ss_flags = SS_DISABLE }; /* said as well: a fork inherits its parent's, the root the engine's */

	plan_origin(p->set, "pid %d tid %d: thread areas", task_vpid(th->task), thread_vtid(th));
	plan_sys(p, BLOB_ANY, SYS_set_tid_address, th->core->thread_info->clear_tid_addr);
	if (tc->futex_rla_len)
		plan_sys(p, BLOB_ZERO, SYS_set_robust_list, tc->futex_rla, tc->futex_rla_len);
	if (sas && !(sas->ss_flags & SS_DISABLE)) {
		st.ss_sp = (void *)(uintptr_t)sas->ss_sp;
		st.ss_size = sas->ss_size;
		st.ss_flags = sas->ss_flags & ~SS_ONSTACK;
	}
	plan_sys(p, BLOB_ZERO, SYS_sigaltstack, (uintptr_t)plan_put(p, &st, sizeof(st)), 0);
	if (tc->rseq_entry && tc->rseq_entry->rseq_abi_pointer)
		plan_sys(p, BLOB_ZERO, SYS_rseq, tc->rseq_entry->rseq_abi_pointer, tc->rseq_entry->rseq_abi_size, 0,
			 tc->rseq_entry->signature);
}

int restore_plan_thread_state(struct session *s, struct thread *th, struct plan *p)
{
	const ThreadCoreEntry *tc = th->core->thread_core;
	const char *comm = tc->comm ? tc->comm : th->core->tc ? th->core->tc->comm : "";
	char name[16] = { 0 };
	int err;

	err = restore_plan_sched(s, th, p);
	if (err < 0)
		return err;
	restore_plan_seccomp(s, th, p);
	restore_plan_thread_attrs(s, th, p);
	plan_user_areas(th, tc, p);
	strncpy(name, comm, sizeof(name) - 1);
	plan_sys(p, BLOB_ZERO, SYS_prctl, PR_SET_NAME, (uintptr_t)plan_put(p, name, sizeof(name)));
	err = plan_signals(s, task_vpid(th->task), thread_vtid(th), tc->signals_p, p);
	if (err == 0)
		err = restore_plan_creds(s, th, p);
	if (err < 0)
		return err;
	/* a change of credentials clears both, and dumpable also that of another thread */
	if (th->task->threads.n > 1) {
		plan_barrier(p, STAGE_CREDS);
		s->restore->expected[STAGE_CREDS]++;
	}
	if (th == th->task->threads.v[0])
		err = restore_plan_queued(s, th->task, p, CR_STAGE_OWN);
	if (err < 0)
		return err;
	if (tc->has_pdeath_sig && tc->pdeath_sig)
		plan_sys(p, BLOB_ZERO, SYS_prctl, PR_SET_PDEATHSIG, tc->pdeath_sig);
	if (th == th->task->threads.v[0]) {
		int dumpable = mem_dumpable(th->task);

		plan_pending_limit(s, th->task, p);
		if (dumpable == 0 || dumpable == 1)
			plan_sys(p, BLOB_ZERO, SYS_prctl, PR_SET_DUMPABLE, dumpable);
	}
	return 0;
}
