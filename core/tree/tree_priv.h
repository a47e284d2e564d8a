/* SPDX-License-Identifier: MIT */
/*
 * tree_priv.h: inside of the collection of task state at dump: the batch of injected
 * calls of a thread, and the parts that fill messages from their answers.  Only
 * files of core/tree include it.
 */
#ifndef CORE_TREE_PRIV_H
#define CORE_TREE_PRIV_H

#include "tree.h"
#include "warden.h"

#include "core.pb-c.h"
#include "stasis.pb-c.h"

#define NSIG_KERNEL 64

/* A new, initialised message. */
#define NEW(type, init) ({ type *m_ = xcalloc(1, sizeof(type)); init(m_); m_; })

/* struct sigaction as the kernel has it on 64-bit machines */
struct kernel_sigaction {
	uint64_t handler, flags, restorer, mask;
};

/* ---- calls.c ---- */

struct call_list {
	struct inject_call *v;
	size_t n, cap;
	uint32_t scratch; /* bytes of the scratch area in use */
};

/* Positions of the answers: what every thread is asked, then what the leader is asked for its process. */
enum {
	C_SAS, C_TID, C_SECBITS, C_PDEATH, C_SLACK, C_TSC, C_CPUID, C_SPEC, C_SPEC_LAST = C_SPEC + 2, C_POLICY,
	C_BRK, C_LDT, C_DUMPABLE, C_SUBREAPER, C_THP, C_MDWE, C_KSM, C_MEMBARRIER,
	C_ITIMER, C_SIGACT = C_ITIMER + 3, C_PTIMER = C_SIGACT + NSIG_KERNEL,
};
void call_add(struct call_list *c, long nr, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4);
/*
 * The last call's argument arg (0..5) points to len bytes of the scratch area, which come back in out.  Each call has
 * bytes of its own as long as there are some, so that all can be fetched at once.
 */
void call_wants_out(struct call_list *c, int arg, uint32_t len);
/* Adds calls that others have made up, with bytes of the scratch area of their own. */
void call_append(struct call_list *c, const struct inject_call *calls, size_t n);
/* Makes all calls in th, in batches that fit. 0 or -errno, recorded. */
int calls_run(struct session *s, struct thread *th, struct call_list *c);

/* ---- proc text ---- */

/* The number in /proc/PID/name, fallback when there is none. */
long task_number(pid_t pid, const char *name, int base, long fallback);

/* ---- timers.c ---- */

/* The POSIX timers of t, without their times. 0 or -errno, recorded. */
int timers_read(struct session *s, struct task *t, timer_list *ret);
/* Calls C_ITIMER.. and C_PTIMER... */
void timers_itimer_calls(struct call_list *c);
void timers_posix_calls(struct call_list *c, const timer_list *timers);
TaskTimersEntry *timers_message(struct task *t, const struct call_list *c, const timer_list *timers);

/* Of which thread a timer counts the CPU time, when all of t has been asked. 0 or -errno, recorded. */
int timers_find_owners(struct session *s, struct task *t);

/* ---- attrs.c ---- */

/* Calls C_SLACK..C_SPEC_LAST, and C_THP..C_MEMBARRIER of the leader. */
void attrs_thread_calls(struct call_list *c);
void attrs_process_calls(struct call_list *c);
/* Scheduling: what the well-known format has goes to tc, the rest to th->extra. */
int attrs_sched(struct session *s, struct thread *th, ThreadCoreEntry *tc);
/* th->extra (made by attrs_sched) from the answers and from W's look at the thread. */
int attrs_thread(struct session *s, struct thread *th, const struct thread_state *ts, const struct call_list *c);
/* t->extra from the answers; the membarrier registrations go to tc. */
void attrs_process(struct task *t, const struct call_list *c, TaskCoreEntry *tc);

/* ---- policy.c ---- */

/* Call C_POLICY. */
void policy_thread_call(struct call_list *c);
void policy_thread_answer(StasisThread *x, const struct call_list *c);
/*
 * Adds calls, as many as it makes t->policies long, about every mapping of t. 0 or -errno, recorded.  policy_answers():
 * their answers; what has no policy of its own is taken out of the list.
 */
int policy_calls(struct session *s, struct task *t, struct call_list *c);
int policy_answers(struct session *s, struct task *t, const struct inject_call *answers);

/* ---- waits.c ---- */

/*
 * ns that the call which the freeze has interrupted has still to wait, from the registers as they were; the whole time where
 * nothing better is known.  0: it has no limit. st: as it was read when the tree stood still.
 */
uint64_t waits_left(struct session *s, struct thread *th, const struct proc_status *st);

/* ---- seccomp.c ---- */

/* Mode (of /proc/PID/status) and filters of a thread; the filters go to the table of the tree. 0 or -errno, recorded. */
int seccomp_collect(struct session *s, struct thread *th, uint32_t mode);
/* seccomp.img, and what the core images say of it: read and checked. After all core images. */
int seccomp_load(struct session *s);

#endif
