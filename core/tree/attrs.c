/* SPDX-License-Identifier: MIT */
/*
 * attrs.c: attributes of threads and processes at dump: scheduling, and the many
 * switches of prctl(2) and its like.  The well-known format has room for few of
 * them; the rest goes to x-stasis-tasks.img, where a field that is absent means the
 * kernel's default.
 */
#include "tree_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "attrs.h"

void attrs_thread_calls(struct call_list *c)
{
	call_add(c, SYS_prctl, PR_GET_TIMERSLACK, 0, 0, 0, 0);
	call_add(c, SYS_prctl, PR_GET_TSC, 0, 0, 0, 0);
	call_wants_out(c, 1, 4);
	call_add(c, SYS_arch_prctl, ATTR_GET_CPUID, 0, 0, 0, 0);
	for (int i = 0; i < ATTR_SPECULATIONS; i++)
		call_add(c, SYS_prctl, PR_GET_SPECULATION_CTRL, i, 0, 0, 0);
}

void attrs_process_calls(struct call_list *c)
{
	call_add(c, SYS_prctl, PR_GET_THP_DISABLE, 0, 0, 0, 0);
	call_add(c, SYS_prctl, ATTR_GET_MDWE, 0, 0, 0, 0);
	call_add(c, SYS_prctl, ATTR_GET_MEMORY_MERGE, 0, 0, 0, 0);
	call_add(c, SYS_membarrier, ATTR_MEMBARRIER_GET, 0, 0, 0, 0);
}

/* ---- scheduling ---- */

/* Only what differs from a thread that nobody has touched. */
static void fill_attr(const struct sched_attr_kernel *a, StasisThread *x)
{
	struct sched_attr_kernel own = { 0 };

	if (a->flags) {
		x->has_sched_flags = 1;
		x->sched_flags = a->flags;
	}
	attr_sched_get(0, &own);
	/* of an ordinary thread this is the length of its slices; E stands for the machine's default */
	if (a->policy == ATTR_SCHED_DEADLINE || a->runtime != own.runtime) {
		x->has_sched_runtime = a->runtime != 0;
		x->sched_runtime = a->runtime;
	}
	if (a->policy == ATTR_SCHED_DEADLINE) {
		x->has_sched_deadline = x->has_sched_period = 1;
		x->sched_deadline = a->deadline;
		x->sched_period = a->period;
	}
	if (a->util_min != own.util_min || a->util_max != own.util_max) {
		x->has_util_min = x->has_util_max = 1;
		x->util_min = a->util_min;
		x->util_max = a->util_max;
	}
}

static int fill_affinity(struct session *s, pid_t tid, StasisThread *x)
{
	struct cpu_mask mask;
	int err = attr_affinity_get(tid, &mask);

	if (err < 0)
		return fail(s, -err, "cannot read the CPU affinity of thread %d: %s", tid, strerror(-err));
	if (attr_affinity_is_all(&mask))
		return 0;
	x->has_cpus = 1;
	x->cpus.len = mask.len;
	x->cpus.data = xcalloc(1, mask.len);
	memcpy(x->cpus.data, mask.bits, mask.len);
	return 0;
}

/* The task's message, made when the first of its threads comes. */
static StasisTask *task_extra(struct task *t)
{
	if (!t->extra) {
		t->extra = NEW(StasisTask, stasis_task__init);
		t->extra->pid = task_vpid(t);
		t->extra->threads = xcalloc(t->threads.n, sizeof(*t->extra->threads));
	}
	return t->extra;
}

static StasisThread *thread_extra(struct thread *th)
{
	StasisTask *task = task_extra(th->task);

	th->extra = NEW(StasisThread, stasis_thread__init);
	th->extra->tid = thread_vtid(th);
	task->threads[task->n_threads++] = th->extra;
	return th->extra;
}

int attrs_sched(struct session *s, struct thread *th, ThreadCoreEntry *tc)
{
	StasisThread *x = thread_extra(th);
	struct sched_attr_kernel a;
	pid_t tid = thread_tid(th);
	int err = attr_sched_get(tid, &a);

	if (err < 0)
		return fail(s, -err, "cannot read the scheduling of thread %d: %s", tid, strerror(-err));
	tc->has_sched_policy = 1;
	tc->sched_policy = a.policy;
	if (tc->sched_policy == SCHED_FIFO || tc->sched_policy == SCHED_RR) {
		tc->has_sched_prio = 1;
		tc->sched_prio = a.priority;
	}
	errno = 0;
	tc->sched_nice = getpriority(PRIO_PROCESS, tid);
	if (errno)
		return fail(s, errno, "cannot read the priority of thread %d: %s", tid, strerror(errno));
	tc->has_sched_nice = 1;
	fill_attr(&a, x);
	x->ioprio = syscall(SYS_ioprio_get, ATTR_IOPRIO_THREAD, tid);
	x->has_ioprio = (int32_t)x->ioprio > 0 && x->ioprio >> ATTR_IOPRIO_CLASS_SHIFT;
	return fill_affinity(s, tid, x);
}

/* ---- switches ---- */

static void fill_speculation(StasisThread *x, const struct call_list *c)
{
	bool any = false;

	for (int i = 0; i < ATTR_SPECULATIONS; i++)
		any |= c->v[C_SPEC + i].ret > 0 && c->v[C_SPEC + i].ret & PR_SPEC_PRCTL;
	if (!any)
		return; /* this machine gives no choice */
	x->n_speculation = ATTR_SPECULATIONS;
	x->speculation = xcalloc(ATTR_SPECULATIONS, sizeof(*x->speculation));
	for (int i = 0; i < ATTR_SPECULATIONS; i++)
		x->speculation[i] = MAX_OF(c->v[C_SPEC + i].ret, 0);
}

int attrs_thread(struct session *s, struct thread *th, const struct thread_state *ts, const struct call_list *c)
{
	StasisThread *x = th->extra;
	uint32_t tsc = 0;

	/* 0: a real-time thread, which has none */
	x->has_timer_slack = c->v[C_SLACK].ret > 0 && c->v[C_SLACK].ret != ATTR_TIMER_SLACK;
	x->timer_slack = MAX_OF(c->v[C_SLACK].ret, 0);
	/* PR_GET_IO_FLUSHER would need a privilege that the thread may lack */
	x->has_io_flusher = x->io_flusher = (th->kflags & ATTR_PF_IO_FLUSHER) == ATTR_PF_IO_FLUSHER;
	memcpy(&tsc, c->v[C_TSC].out, sizeof(tsc));
	x->has_no_tsc = x->no_tsc = c->v[C_TSC].ret == 0 && tsc == PR_TSC_SIGSEGV;
	x->has_no_cpuid = x->no_cpuid = c->v[C_CPUID].ret == 0;
	fill_speculation(x, c);
	if (ts->dispatch.mode) {
		x->dispatch = NEW(StasisDispatch, stasis_dispatch__init);
		x->dispatch->mode = ts->dispatch.mode;
		x->dispatch->selector = ts->dispatch.selector;
		x->dispatch->offset = ts->dispatch.offset;
		x->dispatch->len = ts->dispatch.len;
	}
	return 0;
}

/* "/autogroup-12 nice 5" */
static void fill_autogroup(struct task *t, StasisTask *x)
{
	struct buf b = { 0 };
	char path[64];
	const char *p;

	snprintf(path, sizeof(path), "/proc/%d/autogroup", task_pid(t));
	if (read_file(AT_FDCWD, path, &b) == 0 && (p = strstr(b.p, " nice "))) {
		x->autogroup_nice = atoi(p + 6);
		x->has_autogroup_nice = x->autogroup_nice != 0;
	}
	buf_free(&b);
}

void attrs_process(struct task *t, const struct call_list *c, TaskCoreEntry *tc)
{
	StasisTask *x = task_extra(t);

	x->thp_disabled = MAX_OF(c->v[C_THP].ret, 0);
	x->has_thp_disabled = x->thp_disabled != 0;
	x->mdwe = MAX_OF(c->v[C_MDWE].ret, 0);
	x->has_mdwe = x->mdwe != 0;
	x->has_memory_merge = x->memory_merge = c->v[C_KSM].ret == 1;
	x->has_coredump_filter = 1;
	x->coredump_filter = task_number(task_pid(t), "coredump_filter", 16, ATTR_COREDUMP_FILTER);
	fill_autogroup(t, x);
	if (c->v[C_MEMBARRIER].ret > 0) {
		tc->has_membarrier_registration_mask = 1;
		tc->membarrier_registration_mask = c->v[C_MEMBARRIER].ret;
	}
}
