/* SPDX-License-Identifier: MIT */
/*
 * state.c: what a task is beyond memory and files, at dump: registers, signals,
 * timers, credentials, limits, scheduling.  From /proc and ordinary calls where the
 * kernel tells them from outside, from W for what only a tracer may read, by
 * injected calls for the rest.  The result are the messages of core-*.img.
 */
#include "tree_priv.h"

#include "arch/x86_64/cpu.h"
#include "attrs.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mem.h"

#define LDT_LOOK 16 /* bytes: whether there is anything */

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
	policy_thread_call(c);
}

static void process_calls(struct call_list *c, const timer_list *timers)
{
	call_add(c, SYS_brk, 0, 0, 0, 0, 0);
	call_add(c, SYS_modify_ldt, 0, 0, LDT_LOOK, 0, 0);
	call_wants_out(c, 1, LDT_LOOK);
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

/* What wait(2) would tell it about its children, without taking it. */
static void news_calls(struct call_list *c, const struct task *t)
{
	for (const struct task *k = t->child; k; k = k->sibling) {
		if (k->life == TASK_ZOMBIE)
			continue;
		call_add(c, SYS_waitid, P_PID, task_vpid(k), 0, WSTOPPED | WCONTINUED | WNOHANG | WNOWAIT | __WALL, 0);
		call_wants_out(c, 2, sizeof(siginfo_t));
	}
}

static void news_answers(struct task *t, const struct inject_call *answers)
{
	for (struct task *k = t->child; k; k = k->sibling) {
		siginfo_t si = { 0 };

		if (k->life == TASK_ZOMBIE)
			continue;
		if (answers->ret == 0)
			memcpy(&si, answers->out, sizeof(si));
		if (si.si_pid == task_vpid(k))
			k->news = si.si_code;
		answers++;
	}
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
static void fill_answers(const struct call_list *c, const struct proc_status *st, ThreadCoreEntry *tc, uint64_t *ret_clear_tid)
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

static bool is_leader(const struct thread *th)
{
	return th == th->task->threads.v[0];
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

/* Registers that make the call again, and how long it has still to wait. */
static void note_limit(struct session *s, struct thread *th, const struct proc_status *st)
{
	StasisThread *x = th->extra;
	struct arch_limit l;
	uint64_t was[6], args[6], left = waits_left(s, th, st);

	arch_call_args(&th->regs.gp, was);
	x->interrupted = arch_rewrite_restart(&th->regs.gp);
	if (!x->interrupted || !left || !arch_time_limit(th->regs.gp.rax, was, &l))
		return;
	/* sleeps that can be interrupted find the time left where the kernel has put it */
	arch_call_args(&th->regs.gp, args);
	x->has_wait_left = args[l.arg] == was[l.arg];
	x->wait_left = left;
}

/*
 * The call that the freeze has interrupted. A signal that came meanwhile and has a handler would have interrupted it
 * as well; the handler runs as soon as the thread goes on.
 */
static void settle_call(struct session *s, struct thread *th, const struct proc_status *st, const struct thread_state *ts,
			const struct call_list *c)
{
	uint64_t pending = st->sigpnd | st->shdpnd;
	int sig;

	for (uint32_t i = 0; i < ts->nsig_private + ts->nsig_shared; i++)
		if (ts->sig[i].si_signo > 0 && ts->sig[i].si_signo <= NSIG_KERNEL)
			pending |= 1ull << (ts->sig[i].si_signo - 1);
	sig = __builtin_ffsll(pending & ~th->sigmask & st->sigcgt);
	if (sig)
		arch_interrupt_call(&th->regs.gp, has_sa_restart(th, c, sig));
	else
		note_limit(s, th, st);
	th->extra->has_interrupted = th->extra->interrupted != 0;
}

static int fill_thread(struct session *s, struct thread *th, const struct thread_state *ts, const struct call_list *c)
{
	char names[256];
	ThreadCoreEntry *tc = NEW(ThreadCoreEntry, thread_core_entry__init);
	const struct proc_status *st = is_leader(th) ? &th->task->status : th->status;
	void *head = NULL;
	size_t len = 0;
	uint64_t clear_tid;
	int err;

	th->core->thread_core = tc;
	fill_answers(c, st, tc, &clear_tid);
	tc->comm = xstrdup(st->comm);
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
		policy_thread_answer(th->extra, c);
	if (err == 0)
		err = seccomp_collect(s, th, st->seccomp);
	if (err < 0)
		return err;
	settle_call(s, th, st, ts, c);
	err = arch_regs_to_image(&th->regs, clear_tid, th->core);
	if (err == -EOPNOTSUPP)
		return fail(s, EOPNOTSUPP, "thread %d has something in registers that images have no place for: %s; dump it when "
			    "it has released them (TILERELEASE)", thread_tid(th),
			    cpu_component_names(arch_regs_unstorable(&th->regs), names, sizeof(names)));
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
	if (c->v[C_LDT].ret > 0)
		refuse(s, NULL, "it has a local descriptor table (modify_ldt), which is for 16- and 32-bit code");
	t->dumpable = c->v[C_DUMPABLE].ret >= 0 ? c->v[C_DUMPABLE].ret : 1;
	return s->err.errnum ? -s->err.errnum : 0;
}

/* ---- asking ---- */

/* What is asked of a thread. */
struct question {
	struct thread *th;
	struct call_list calls;
	timer_list timers; /* of a leader; */
	uint64_t hole;	   /* for the calls about its memory, */
	size_t memory;	   /* which are these, */
	size_t news;	   /* about its children, */
	size_t policies;   /* and about the policies of its mappings, these and those behind */
};

/*
 * Threads that are asked together: W needs one request for them all.  There are two such sets, one for each of W's boards:
 * W has always one to go on with, while E takes the answers of the other, makes its next questions, or does something else.
 */
#define QUESTIONS 64
#define QUESTION_CALLS 3000
struct questions {
	struct question q[QUESTIONS];
	struct thread_look look[QUESTIONS];
	size_t n, ncalls;
	unsigned board;
};

/* The whole tree is being asked. */
struct asking {
	struct questions sets[LOOK_BOARDS];
	unsigned oldest;   /* the set that W answers next, */
	unsigned under_way; /* of so many */
	struct task *task; /* of its threads those from `thread` on are asked next; NULL: all have been */
	size_t thread;
};

static int memory_question(struct session *s, struct question *q)
{
	struct inject_call calls[MEM_PROBE_CALLS];
	int err = mem_find_hole(s, q->th->task, &q->hole);

	q->memory = q->calls.n;
	if (err == 0)
		call_append(&q->calls, calls, mem_probe_calls(q->hole, calls));
	q->news = q->calls.n;
	news_calls(&q->calls, q->th->task);
	q->policies = q->calls.n;
	return err ? err : policy_calls(s, q->th->task, &q->calls);
}

static int put_question(struct session *s, struct questions *all, struct thread *th)
{
	struct question *q = &all->q[all->n++];
	int err = 0;

	q->th = th;
	q->calls.n = q->calls.scratch = 0;
	q->timers.n = 0;
	thread_calls(&q->calls);
	if (is_leader(th)) {
		err = timers_read(s, th->task, &q->timers);
		process_calls(&q->calls, &q->timers);
		err = err ? err : memory_question(s, q);
	}
	all->ncalls += q->calls.n;
	return err;
}

/* The answers as a list: as they lie there, but for those that did not fit into one request. */
static int answers_of(struct session *s, struct question *q, const struct thread_look *l, struct call_list *ret)
{
	struct call_list rest = { .v = q->calls.v + l->n, .n = q->calls.n - l->n };

	*ret = (struct call_list){ .v = (struct inject_call *)l->answers, .n = l->n };
	if (!rest.n)
		return 0;
	memcpy(q->calls.v, l->answers, l->n * sizeof(*l->answers));
	*ret = q->calls;
	return calls_run(s, q->th, &rest);
}

static int take_answer(struct session *s, struct question *q, const struct thread_look *l)
{
	struct thread *th = q->th;
	struct mem_facts facts;
	struct call_list c;
	int err;

	at_object(s, "pid %d tid %d", task_pid(th->task), thread_tid(th));
	th->core = NEW(CoreEntry, core_entry__init);
	th->core->mtype = CORE_ENTRY__MARCH__X86_64;
	err = answers_of(s, q, l, &c);
	if (err == 0)
		err = fill_thread(s, th, l->state, &c);
	if (err == 0 && is_leader(th))
		err = fill_process(s, th->task, l->state, &c, &q->timers);
	if (err == 0 && is_leader(th)) {
		mem_probe_answers(c.v + q->memory, q->hole, &facts);
		th->task->lock_all = facts.lock_all;
		th->task->pkeys = facts.pkeys;
		news_answers(th->task, c.v + q->news);
		err = policy_answers(s, th->task, c.v + q->policies);
	}
	return err;
}

static int begin_asking(struct session *s, struct questions *all)
{
	for (size_t i = 0; i < all->n; i++) {
		struct question *q = &all->q[i];

		all->look[i] = (struct thread_look){ .tgid = task_pid(q->th->task), .tid = thread_tid(q->th),
						     .caught = q->th->task->status.sigcgt, .calls = q->calls.v,
						     .n = MIN_OF(q->calls.n, (size_t)THREAD_LOOK_CALLS) };
	}
	return all->n ? warden_look_begin(s, all->board, all->look, all->n) : 0;
}

/* What did not fit into the first request is asked now. */
static int take_answers(struct session *s, struct questions *all)
{
	int err = 0;

	for (size_t i = 0, done = 0; i < all->n && err == 0; i += done) {
		if (i)
			err = warden_look_begin(s, all->board, all->look + i, all->n - i);
		if (err == 0)
			err = warden_look_end(s, all->board, all->look + i, &done);
		for (size_t k = i; k < i + done && err == 0; k++)
			err = take_answer(s, &all->q[k], &all->look[k]);
	}
	all->n = all->ncalls = 0;
	return err;
}

/* Whose it is: its parent sees that. */
static void zombie_ids(struct task *t)
{
	t->extra = NEW(StasisTask, stasis_task__init);
	t->extra->n_zombie_ids = ZOMBIE_IDS;
	t->extra->zombie_ids = xcalloc(ZOMBIE_IDS, sizeof(uint32_t));
	memcpy(t->extra->zombie_ids, t->status.uid, sizeof(t->status.uid));
	memcpy(t->extra->zombie_ids + 4, t->status.gid, sizeof(t->status.gid));
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
	zombie_ids(t);
	*vec_push(&t->threads) = th;
}

/* The next thread that can be asked, NULL: there is none any more. */
static struct thread *next_thread(struct asking *a)
{
	for (; a->task; a->task = a->task->next, a->thread = 0) {
		if (a->task->life == TASK_ZOMBIE)
			collect_zombie(a->task);
		else if (a->thread < a->task->threads.n)
			return a->task->threads.v[a->thread++];
	}
	return NULL;
}

/* Fills the sets that are free. */
static int ask_on(struct session *s, struct asking *a)
{
	int err = 0;

	while (a->under_way < LOOK_BOARDS && a->task && err == 0) {
		struct questions *all = &a->sets[(a->oldest + a->under_way) % LOOK_BOARDS];
		struct thread *th = NULL;

		while (err == 0 && all->n < QUESTIONS && all->ncalls < QUESTION_CALLS && (th = next_thread(a)))
			err = put_question(s, all, th);
		if (err == 0 && all->n)
			err = begin_asking(s, all);
		a->under_way += err == 0 && all->n;
	}
	return err;
}

int tree_ask_begin(struct session *s)
{
	struct asking *a = xcalloc(1, sizeof(*a));

	s->tree->asking = a;
	a->task = s->tree->all;
	for (unsigned i = 0; i < LOOK_BOARDS; i++)
		a->sets[i].board = i;
	return ask_on(s, a);
}

static int take_oldest(struct session *s, struct asking *a)
{
	int err = take_answers(s, &a->sets[a->oldest]);

	at_object(s, NULL);
	a->oldest = (a->oldest + 1) % LOOK_BOARDS;
	a->under_way--;
	return err ? err : ask_on(s, a);
}

int tree_ask_on(struct session *s)
{
	struct asking *a = s->tree->asking;
	int err = 0;

	while (a && err == 0 && a->under_way && warden_look_ready(s, a->oldest))
		err = take_oldest(s, a);
	return err;
}

static bool has_answered(const struct task *t)
{
	for (size_t i = 0; i < t->threads.n; i++)
		if (!t->threads.v[i]->core)
			return false;
	return true;
}

int tree_ask_until(struct session *s, struct task *t)
{
	struct asking *a = s->tree->asking;
	int err = 0;

	while (a && err == 0 && a->under_way && !has_answered(t))
		err = take_oldest(s, a);
	return err;
}

int tree_ask_end(struct session *s)
{
	struct asking *a = s->tree->asking;
	int err = 0;

	while (a && err == 0 && a->under_way)
		err = take_oldest(s, a);
	FOR_EACH_TASK(t, s->tree)
		if (a && err == 0 && t->life != TASK_ZOMBIE)
			err = timers_find_owners(s, t);
	tree_ask_free(s->tree);
	return err;
}

void tree_ask_free(struct tree *tree)
{
	struct asking *a = tree->asking;

	for (size_t i = 0; a && i < LOOK_BOARDS * QUESTIONS; i++) {
		struct question *q = &a->sets[i / QUESTIONS].q[i % QUESTIONS];

		vec_free(&q->calls);
		vec_free(&q->timers);
	}
	free(a);
	tree->asking = NULL;
}

void tree_mem_facts(const struct task *t, struct mem_facts *ret)
{
	ret->brk = t->brk;
	ret->dumpable = t->dumpable;
	ret->thp_disabled = t->status.thp_enabled == 0;
	ret->lock_all = t->lock_all;
	ret->pkeys = t->pkeys;
}
