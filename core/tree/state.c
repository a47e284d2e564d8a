/* SPDX-License-Identifier: MIT */
/*
 * state.c: what a task is beyond memory and files, at dump: registers, signals,
 * timers, credentials, limits, scheduling.  From /proc and ordinary calls where the
 * kernel tells them from outside, from W for what only a tracer may read, by
 * injected calls for the rest.  The result are the messages of core-*.img.
 */
#include "tree_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mem.h"

/* In the order of the positions C_*. */
static void thread_calls(struct call_list *c)
{
	call_add(c, SYS_sigaltstack, 0, 0, 0, 0, 0);
	call_wants_out(c, 1, sizeof(stack_t));
	call_add(c, SYS_prctl, PR_GET_TID_ADDRESS, 0, 0, 0, 0);
	call_wants_out(c, 1, 8);
	call_add(c, SYS_prctl, PR_GET_SECUREBITS, 0, 0, 0, 0);
	call_add(c, SYS_prctl, PR_GET_PDEATHSIG, 0, 0, 0, 0);
	call_wants_out(c, 1, 4);
	attrs_thread_calls(c);
}

static void process_calls(struct call_list *c, const timer_list *timers)
{
	call_add(c, SYS_brk, 0, 0, 0, 0, 0);
	call_add(c, SYS_prctl, PR_GET_DUMPABLE, 0, 0, 0, 0);
	call_add(c, SYS_prctl, PR_GET_CHILD_SUBREAPER, 0, 0, 0, 0);
	call_wants_out(c, 1, 4);
	attrs_process_calls(c);
	timers_itimer_calls(c);
	for (int sig = 1; sig <= NSIG_KERNEL; sig++) {
		call_add(c, SYS_rt_sigaction, sig, 0, 0, 8, 0);
		call_wants_out(c, 2, sizeof(struct kernel_sigaction));
	}
	timers_posix_calls(c, timers);
}

static SignalQueueEntry *queue_message(const siginfo_t *sig, size_t n)
{
	SignalQueueEntry *q = NEW(SignalQueueEntry, signal_queue_entry__init);

	q->n_signals = n;
	q->signals = xcalloc(n, sizeof(*q->signals));
	for (size_t i = 0; i < n; i++) {
		SiginfoEntry *e = NEW(SiginfoEntry, siginfo_entry__init);

		e->siginfo.len = sizeof(siginfo_t);
		e->siginfo.data = xcalloc(1, sizeof(siginfo_t));
		memcpy(e->siginfo.data, &sig[i], sizeof(siginfo_t));
		q->signals[i] = e;
	}
	return q;
}

static void split_caps(uint64_t caps, size_t *ret_n, uint32_t **ret)
{
	*ret_n = 2;
	*ret = xcalloc(2, sizeof(uint32_t));
	(*ret)[0] = (uint32_t)caps;
	(*ret)[1] = (uint32_t)(caps >> 32);
}

static CredsEntry *creds_message(const struct proc_status *st, uint32_t secbits)
{
	CredsEntry *c = NEW(CredsEntry, creds_entry__init);

	c->uid = st->uid[0];
	c->euid = st->uid[1];
	c->suid = st->uid[2];
	c->fsuid = st->uid[3];
	c->gid = st->gid[0];
	c->egid = st->gid[1];
	c->sgid = st->gid[2];
	c->fsgid = st->gid[3];
	split_caps(st->cap_inh, &c->n_cap_inh, &c->cap_inh);
	split_caps(st->cap_prm, &c->n_cap_prm, &c->cap_prm);
	split_caps(st->cap_eff, &c->n_cap_eff, &c->cap_eff);
	split_caps(st->cap_bnd, &c->n_cap_bnd, &c->cap_bnd);
	split_caps(st->cap_amb, &c->n_cap_amb, &c->cap_amb);
	c->secbits = secbits;
	c->n_groups = st->groups.n;
	c->groups = xcalloc(st->groups.n, sizeof(uint32_t));
	if (st->groups.n)
		memcpy(c->groups, st->groups.v, st->groups.n * sizeof(uint32_t));
	if (st->no_new_privs) {
		c->has_no_new_privs = 1;
		c->no_new_privs = st->no_new_privs;
	}
	return c;
}

/* From the answers of thread_calls(). */
static void fill_answers(const struct call_list *c, struct proc_status *st, ThreadCoreEntry *tc, uint64_t *ret_clear_tid)
{
	stack_t sas = { 0 };
	uint32_t sig = 0;

	memcpy(&sas, c->v[C_SAS].out, sizeof(sas));
	tc->sas = NEW(ThreadSasEntry, thread_sas_entry__init);
	tc->sas->ss_sp = (uintptr_t)sas.ss_sp;
	tc->sas->ss_size = sas.ss_size;
	tc->sas->ss_flags = sas.ss_flags;
	memcpy(ret_clear_tid, c->v[C_TID].out, 8);
	if (c->v[C_TID].ret < 0)
		*ret_clear_tid = 0;
	memcpy(&sig, c->v[C_PDEATH].out, 4);
	if (c->v[C_PDEATH].ret == 0 && sig) {
		tc->has_pdeath_sig = 1;
		tc->pdeath_sig = sig;
	}
	tc->creds = creds_message(st, c->v[C_SECBITS].ret > 0 ? c->v[C_SECBITS].ret : 0);
}

static bool has_sa_restart(const struct thread *th, const struct call_list *c, int sig)
{
	const TaskCoreEntry *tc = th->task->threads.v[0]->core->tc;
	struct kernel_sigaction ka = { 0 };

	if (!tc) { /* it is the leader: the answers are its */
		memcpy(&ka, c->v[C_SIGACT + sig - 1].out, sizeof(ka));
		return ka.flags & SA_RESTART;
	}
	return tc->sigactions[sig - 1 - (sig > SIGKILL) - (sig > SIGSTOP)]->flags & SA_RESTART;
}

/*
 * The call that the freeze has interrupted. A signal that came meanwhile and has a handler would have interrupted it
 * as well; the handler runs as soon as the thread goes on.
 */
static void settle_call(struct thread *th, const struct proc_status *st, const struct call_list *c)
{
	uint64_t handled = (st->sigpnd | st->shdpnd) & ~th->sigmask & st->sigcgt;
	int sig = __builtin_ffsll(handled);

	if (sig)
		arch_interrupt_call(&th->regs.gp, has_sa_restart(th, c, sig));
	else
		arch_rewrite_restart(&th->regs.gp);
}

static int fill_thread(struct session *s, struct thread *th, const struct thread_state *ts, const struct call_list *c)
{
	ThreadCoreEntry *tc = NEW(ThreadCoreEntry, thread_core_entry__init);
	struct proc_status st = { 0 };
	void *head = NULL;
	size_t len = 0;
	uint64_t clear_tid;
	int err = proc_read_status(task_pid(th->task), thread_tid(th), &st);

	th->core->thread_core = tc;
	if (err < 0)
		return fail(s, -err, "cannot read the status of thread %d", thread_tid(th));
	fill_answers(c, &st, tc, &clear_tid);
	tc->comm = xstrdup(st.comm);
	if (syscall(SYS_get_robust_list, thread_tid(th), &head, &len) == 0) {
		tc->futex_rla = (uintptr_t)head;
		tc->futex_rla_len = len;
	}
	tc->has_blk_sigset = 1;
	tc->blk_sigset = ts->sigmask;
	tc->signals_p = queue_message(ts->sig, ts->nsig_private);
	if (ts->rseq_ptr) {
		tc->rseq_entry = NEW(RseqEntry, rseq_entry__init);
		tc->rseq_entry->rseq_abi_pointer = ts->rseq_ptr;
		tc->rseq_entry->rseq_abi_size = ts->rseq_len;
		tc->rseq_entry->signature = ts->rseq_sig;
	}
	tc->has_cg_set = 1;
	tc->cg_set = 1;
	th->regs = ts->regs;
	th->sigmask = ts->sigmask;
	err = attrs_sched(s, th, tc);
	if (err == 0)
		err = attrs_thread(s, th, ts, c);
	if (err == 0)
		err = seccomp_collect(s, th, st.seccomp);
	settle_call(th, &st, c);
	proc_status_free(&st);
	if (err < 0)
		return err;
	err = arch_regs_to_image(&th->regs, clear_tid, th->core);
	return err < 0 ? fail(s, -err, "cannot encode the registers of thread %d", thread_tid(th)) : 0;
}

static TaskRlimitsEntry *rlimits_message(struct session *s, struct task *t)
{
	TaskRlimitsEntry *e = NEW(TaskRlimitsEntry, task_rlimits_entry__init);
	struct proc_limits lim;
	int err = proc_read_limits(task_pid(t), &lim);

	if (err < 0) {
		fail(s, -err, "cannot read the limits of pid %d", task_pid(t));
		return e;
	}
	e->n_rlimits = PROC_NLIMITS;
	e->rlimits = xcalloc(PROC_NLIMITS, sizeof(*e->rlimits));
	for (int i = 0; i < PROC_NLIMITS; i++) {
		RlimitEntry *r = NEW(RlimitEntry, rlimit_entry__init);

		r->cur = lim.cur[i];
		r->max = lim.max[i];
		e->rlimits[i] = r;
	}
	return e;
}

static void sigactions_message(TaskCoreEntry *tc, const struct call_list *c)
{
	tc->n_sigactions = 0;
	tc->sigactions = xcalloc(NSIG_KERNEL, sizeof(*tc->sigactions));
	for (int sig = 1; sig <= NSIG_KERNEL; sig++) {
		struct kernel_sigaction ka = { 0 };
		SaEntry *e;

		if (sig == SIGKILL || sig == SIGSTOP)
			continue;
		memcpy(&ka, c->v[C_SIGACT + sig - 1].out, sizeof(ka));
		e = NEW(SaEntry, sa_entry__init);
		e->sigaction = ka.handler;
		e->flags = ka.flags;
		e->restorer = ka.restorer;
		e->mask = ka.mask;
		e->has_compat_sigaction = 1;
		tc->sigactions[tc->n_sigactions++] = e;
	}
}

static int fill_process(struct session *s, struct task *t, const struct thread_state *ts, const struct call_list *c,
			const timer_list *timers)
{
	TaskCoreEntry *tc = NEW(TaskCoreEntry, task_core_entry__init);
	uint32_t flag;

	t->threads.v[0]->core->tc = tc;
	if (ts->group_stop) {
		t->life = TASK_STOPPED;
		t->stop_signo = ts->stop_signo;
		tc->has_stop_signo = 1;
		tc->stop_signo = ts->stop_signo;
	}
	tc->task_state = t->life == TASK_STOPPED ? 3 : 1;
	tc->personality = task_number(task_pid(t), "personality", 16, 0);
	tc->flags = t->stat.flags;
	tc->blk_sigset = ts->sigmask;
	tc->comm = xstrdup(t->stat.comm);
	tc->timers = timers_message(t, c, timers);
	tc->rlimits = rlimits_message(s, t);
	tc->signals_s = queue_message(ts->sig + ts->nsig_private, ts->nsig_shared);
	tc->has_loginuid = 1;
	tc->loginuid = task_number(task_pid(t), "loginuid", 10, UINT32_MAX);
	tc->has_oom_score_adj = 1;
	tc->oom_score_adj = task_number(task_pid(t), "oom_score_adj", 10, 0);
	sigactions_message(tc, c);
	memcpy(&flag, c->v[C_SUBREAPER].out, 4);
	tc->has_child_subreaper = 1;
	tc->child_subreaper = c->v[C_SUBREAPER].ret == 0 && flag;
	attrs_process(t, c, tc);
	t->brk = c->v[C_BRK].ret;
	t->dumpable = c->v[C_DUMPABLE].ret >= 0 ? c->v[C_DUMPABLE].ret : 1;
	return s->err.errnum ? -s->err.errnum : 0;
}

static int collect_thread(struct session *s, struct thread *th, bool leader, struct thread_state *ts, struct call_list *c)
{
	timer_list timers = { 0 };
	int err;

	at_object(s, "pid %d tid %d", task_pid(th->task), thread_tid(th));
	th->core = NEW(CoreEntry, core_entry__init);
	th->core->mtype = CORE_ENTRY__MARCH__X86_64;
	err = warden_thread_state(s, thread_tid(th), ts);
	c->n = c->scratch = 0;
	thread_calls(c);
	if (err == 0 && leader) {
		err = timers_read(s, th->task, &timers);
		if (err == 0)
			process_calls(c, &timers);
	}
	if (err == 0)
		err = calls_run(s, th, c);
	if (err == 0)
		err = fill_thread(s, th, ts, c);
	if (err == 0 && leader)
		err = fill_process(s, th->task, ts, c, &timers);
	vec_free(&timers);
	return err;
}

/* A zombie has no threads to ask; its core image holds the exit status only. */
static void collect_zombie(struct task *t)
{
	struct thread *th = xcalloc(1, sizeof(*th));
	TaskCoreEntry *tc = NEW(TaskCoreEntry, task_core_entry__init);

	th->task = t;
	th->tid = t->pid;
	th->core = NEW(CoreEntry, core_entry__init);
	th->core->mtype = CORE_ENTRY__MARCH__X86_64;
	th->core->tc = tc;
	tc->task_state = 2;
	tc->exit_code = t->exit_code;
	tc->comm = xstrdup(t->stat.comm);
	*vec_push(&t->threads) = th;
}

int tree_collect_state(struct session *s)
{
	_cleanup_free_ struct thread_state *ts = xcalloc(1, sizeof(*ts));
	struct call_list c = { 0 };
	int err = 0;

	FOR_EACH_TASK(t, s->tree) {
		if (t->life == TASK_ZOMBIE) {
			collect_zombie(t);
			continue;
		}
		for (size_t i = 0; i < t->threads.n && err == 0; i++)
			err = collect_thread(s, t->threads.v[i], i == 0, ts, &c);
		if (err < 0)
			break;
	}
	vec_free(&c);
	at_object(s, NULL);
	return err;
}

void tree_mem_facts(const struct task *t, struct mem_facts *ret)
{
	ret->brk = t->brk;
	ret->dumpable = t->dumpable;
	ret->thp_disabled = t->status.thp_enabled == 0;
}
