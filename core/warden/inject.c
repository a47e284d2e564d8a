/* SPDX-License-Identifier: MIT */
/*
 * System calls made by a frozen thread on our behalf: whole lists by code of ours (errand.c), and where that cannot be
 * done, step by step.
 *
 * Then the thread is sent through a syscall instruction that it has anyway (in its vDSO),
 * from one system call stop to the next.  No code is written.  In both cases nothing is single
 * stepped (a trap would reset an ignored SIGTRAP), and all signals are blocked
 * meanwhile.  In the end it is held on its way back to user mode, by an interrupt or by its own last stop; there it gets
 * its registers back, with the result of the call that the freeze had interrupted, so that the kernel restarts
 * that one with its restart block intact.
 *
 * What is needed to put everything back lies in W, which finishes the batch also
 * when E dies meanwhile.  W and the thread run on one CPU: a switch is then 20 times
 * cheaper than a wakeup across CPUs.
 */
#include "inject.h"

#include <errno.h>
#include <string.h>

#include "fault.h"

#define USER_DISPATCH 2 /* si_code of SIGSYS: SYS_USER_DISPATCH */

/* ---- one thread ---- */

bool is_dispatched(pid_t tid)
{
	siginfo_t si;

	return ptrace(PTRACE_GETSIGINFO, tid, 0, &si) == 0 && si.si_code == USER_DISPATCH;
}

/* Runs until the next system call stop; ret, when asked for: that stop, which must be the exit of the call. */
static int run_to_stop(struct window *w, struct __ptrace_syscall_info *ret)
{
	uint64_t deadline = now_us() + CALL_TIMEOUT_US;
	struct tracee *t = w->t;
	int sig = 0;

	for (int i = 0; i < STOPS_MAX; i++) {
		int status, err = pt(PTRACE_SYSCALL, t->tid, 0, sig);

		if (!err)
			err = tracee_wait_soon(t->tid, &status, deadline);
		if (err)
			return err;
		switch (stop_kind_of(status, &sig)) {
		case STOP_DEAD:
			return -ESRCH;
		case STOP_SYSCALL:
			if (!ret)
				return 0;
			if (FAULTS("ptrace GET_SYSCALL_INFO of %d", t->tid) ||
			    ptrace(PTRACE_GET_SYSCALL_INFO, t->tid, sizeof(*ret), ret) < 0)
				return -errno;
			if (ret->op == PTRACE_SYSCALL_INFO_EXIT)
				return 0;
			break;
		case STOP_EVENT: /* job control, or an interrupt that was late */
			t->stop_signo = sig;
			sig = 0;
			break;
		default: /* SIGSTOP: passed on, it becomes a job control stop */
			if (sig == SIGSYS && is_dispatched(t->tid))
				return -ENOSYS;
			break;
		}
	}
	return -EIO;
}

int window_call(struct window *w, long nr, const uint64_t args[6], int64_t *ret)
{
	struct user_regs_struct gp = w->saved;
	struct __ptrace_syscall_info info = { 0 };
	int err;

	arch_call_setup(&gp, w->ip, nr, args);
	err = arch_set_gp(w->t->tid, &gp);
	if (!err)
		err = run_to_stop(w, NULL);
	if (!err)
		err = run_to_stop(w, &info);
	if (!err)
		*ret = info.exit.rval;
	return err;
}

/* Filters must not see our calls; only a privileged tracer may suspend them. */
static int suspend_seccomp(struct server *sv, struct tracee *t)
{
	struct proc_status st = { 0 };
	int err = pt(PTRACE_SETOPTIONS, t->tid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_SUSPEND_SECCOMP);

	if (!err || err == -ESRCH)
		return err;
	err = proc_read_status(t->tgid, t->tid, &st);
	if (!err && st.seccomp)
		err = wd_fail(sv, -EPERM, "tid %d has system call filters; suspending them needs CAP_SYS_ADMIN outside of any "
			      "container", t->tid);
	proc_status_free(&st);
	return err;
}

static void pin(struct server *sv, int cpu)
{
	cpu_set_t set;

	if (cpu < 0 || cpu >= CPU_SETSIZE || (sv->pinned && sv->cpu == cpu))
		return;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	/* not allowed: just slower */
	sv->pinned = sched_setaffinity(0, sizeof(set), &set) == 0;
	sv->cpu = cpu;
}

/* W stays on one CPU until another request comes, where the threads come to it: moving costs more than a call. */
static void stay(struct server *sv, const struct window *w)
{
	int cpu = sv->pinned ? sv->cpu : sched_getcpu();

	if (!w->has_cpus || cpu < 0)
		return;
	if (!CPU_ISSET(cpu, &w->cpus))
		for (cpu = 0; cpu < CPU_SETSIZE && !CPU_ISSET(cpu, &w->cpus);)
			cpu++;
	pin(sv, cpu);
}

/*
 * Woken, the thread would be sent to an idle CPU, and every stop would wake one CPU from another; where this is not allowed
 * it is just slower.
 */
void window_narrow(struct server *sv, struct window *w)
{
	cpu_set_t one;

	if (!sv->pinned || !w->has_cpus || CPU_COUNT(&w->cpus) < 2)
		return;
	CPU_ZERO(&one);
	CPU_SET(sv->cpu, &one);
	w->narrowed = sched_setaffinity(w->t->tid, sizeof(one), &one) == 0;
}

/* As before.  A set of all CPUs there may ever be, where that comes to the same: most threads never had another. */
static void widen(struct window *w)
{
	cpu_set_t all, now;

	if (!w->narrowed)
		return;
	memset(&all, 0xff, sizeof(all));
	if (sched_setaffinity(w->t->tid, sizeof(all), &all) < 0 ||
	    sched_getaffinity(w->t->tid, sizeof(now), &now) < 0 || !CPU_EQUAL(&now, &w->cpus))
		sched_setaffinity(w->t->tid, sizeof(w->cpus), &w->cpus);
}

int window_take(struct server *sv, struct tracee *t, const struct thread_state *seen, struct window *w)
{
	int err;

	w->t = t;
	w->scratch = 0;
	w->inner = 0;
	w->narrowed = w->lent = w->foreign = w->at_own_stop = false;
	err = arch_get_gp(t->tid, &w->saved);
	if (!err && seen) {
		w->sigmask = seen->sigmask;
		w->dispatch = seen->dispatch;
	} else if (!err) {
		err = pt(PTRACE_GETSIGMASK, t->tid, sizeof(w->sigmask), (uintptr_t)&w->sigmask);
		if (!err)
			err = dispatch_get(t->tid, &w->dispatch);
	}
	if (!err)
		err = suspend_seccomp(sv, t);
	if (err)
		return err;
	if (w->dispatch.mode)
		err = dispatch_set(t->tid, &(struct syscall_dispatch){ 0 });
	if (err)
		return err;
	/* the call would make the kernel forget that the sequence was interrupted */
	rseq_abort(sv, t->tgid, seen ? seen->rseq_ptr : rseq_area(t->tid), &w->saved);
	w->has_cpus = sched_getaffinity(t->tid, sizeof(w->cpus), &w->cpus) == 0;
	stay(sv, w);
	return 0;
}

/* For calls step by step. */
static int shield(struct server *sv, struct window *w)
{
	uint64_t all = ~0ull;
	int err;

	window_narrow(sv, w);
	/* were it blocked, the kernel would take the task's handler away */
	if (dispatch_untold)
		all &= ~(1ull << (SIGSYS - 1));
	err = pt(PTRACE_SETSIGMASK, w->t->tid, sizeof(all), (uintptr_t)&all);
	if (err)
		widen(w);
	return err;
}

/* Into the kind of stop from which it came. */
static int hold_again(struct server *sv, struct window *w)
{
	uint64_t all = ~0ull;
	pid_t tid = w->t->tid;

	/* blocked, a signal that is passed on waits again */
	if (w->foreign && (pt(PTRACE_SETSIGMASK, tid, sizeof(all), (uintptr_t)&all) ||
			   pt(PTRACE_SETSIGINFO, tid, 0, (uintptr_t)&w->info)))
		w->foreign = false;
	w->t->state = TR_RUNNING;
	pt_sure(PTRACE_INTERRUPT, tid, 0, 0);
	pt_sure(PTRACE_CONT, tid, 0, w->foreign ? w->signo : 0);
	return tracee_hold_soon(sv, w->t, now_us() + CALL_TIMEOUT_US);
}

/*
 * The stop for its own signal is as good as that for an interrupt: both lie on the thread's way back to user mode, before it
 * looks whether the call is to be restarted.  Should W die, the thread gets that signal, which must then mean nothing.
 */
static bool is_held(const struct window *w)
{
	return w->at_own_stop && !w->foreign && !w->t->stop_signo && !((w->caught | w->sigmask) >> (w->signo - 1) & 1);
}

int window_close(struct server *sv, struct window *w)
{
	pid_t tid = w->t->tid;
	int err = 0, err2;

	widen(w);
	if (w->lent && !is_held(w))
		err = hold_again(sv, w);
	/* the registers last: until then the way back of an errand leads here too */
	err2 = pt_sure(PTRACE_SETSIGMASK, tid, sizeof(w->sigmask), (uintptr_t)&w->sigmask);
	if (!err || (err != -ESRCH && w->t->state == TR_HELD))
		err = set_gp_sure(tid, &w->saved);
	if (!err)
		w->lent = false;
	err = err ? err : err2;
	if (w->dispatch.mode) {
		err2 = dispatch_set(tid, &w->dispatch);
		err = err ? err : err2;
	}
	err2 = pt(PTRACE_SETOPTIONS, tid, 0, PTRACE_O_TRACESYSGOOD);
	return err ? err : err2;
}

int window_report(struct server *sv, struct tracee *t, int err)
{
	if (err == -ESRCH) {
		tracee_gone(sv, t);
		return wd_fail(sv, err, "tid %d was killed while it was frozen", t->tid);
	}
	if (err == -EOPNOTSUPP)
		return wd_fail(sv, err, "tid %d runs 32-bit code", t->tid);
	if (err == -ENOSYS)
		return wd_fail(sv, -EOPNOTSUPP, "tid %d uses system call user dispatch, which this kernel does not show to "
			       "others (Linux 6.4 does)", t->tid);
	return err ? wd_fail(sv, err, "tid %d: injected call failed: %s", t->tid, strerror(-err)) : 0;
}

/* ---- batches ---- */

static bool inside(uint32_t off, uint32_t len, uint32_t room)
{
	return len <= WARDEN_SCRATCH && off <= WARDEN_SCRATCH - len && len <= room;
}

/* -EINVAL, or 1 when scratch space is needed, or 0. */
static int check_calls(const struct inject_call *calls, size_t n)
{
	int scratch = 0;

	for (size_t i = 0; i < n; i++) {
		const struct inject_call *c = &calls[i];

		if (!inside(c->in_off, c->in_len, sizeof(c->in)) || !inside(c->out_off, c->out_len, sizeof(c->out)))
			return -EINVAL;
		for (int a = 0; a < 6; a++)
			if (c->ptrmask >> a & 1 && c->args[a] >= WARDEN_SCRATCH)
				return -EINVAL;
		scratch |= c->ptrmask || c->in_len || c->out_len;
	}
	return scratch;
}

/* Nothing that one call leaves in the scratch area is overwritten by a later one. */
static bool outputs_stay(const struct inject_call *calls, size_t n)
{
	uint32_t end = 0;

	for (size_t i = 0; i < n; i++) {
		if (calls[i].in_len || (calls[i].out_len && calls[i].out_off < end))
			return false;
		end = calls[i].out_len ? calls[i].out_off + calls[i].out_len : end;
	}
	return true;
}

/* Copies the results of all calls out at once. */
static int take_outputs(struct server *sv, struct window *w, struct inject_call *calls, size_t n)
{
	uint8_t all[WARDEN_SCRATCH];
	uint32_t end = 0;
	int err;

	for (size_t i = 0; i < n; i++)
		end = calls[i].out_len ? calls[i].out_off + calls[i].out_len : end;
	err = end ? move_memory(sv, w->t->tgid, false, w->scratch, all, end) : 0;
	for (size_t i = 0; i < n && !err; i++)
		memcpy(calls[i].out, all + calls[i].out_off, calls[i].out_len);
	return err;
}

static int one_of_batch(struct server *sv, struct window *w, struct inject_call *c, bool out)
{
	pid_t pid = w->t->tgid;
	uint64_t args[6];
	int err = 0;

	for (int a = 0; a < 6; a++)
		args[a] = c->args[a] + (c->ptrmask >> a & 1 ? w->scratch : 0);
	if (c->in_len)
		err = move_memory(sv, pid, true, w->scratch + c->in_off, c->in, c->in_len);
	if (!err)
		err = window_call(w, c->nr, args, &c->ret);
	if (!err && out && c->out_len)
		err = move_memory(sv, pid, false, w->scratch + c->out_off, c->out, c->out_len);
	return err;
}

void leave_cpu(struct server *sv)
{
	if (sv->pinned)
		sched_setaffinity(0, sizeof(sv->cpus), &sv->cpus);
	sv->pinned = false;
}

/* All calls, each from one stop to the next. */
static int by_steps(struct server *sv, struct window *w, struct inject_call *calls, size_t n, bool scratch)
{
	bool stay_there = outputs_stay(calls, n);
	int err = know_space(sv, w->t->tgid), err2;

	w->ip = sv->space.syscall_ip;
	if (!err)
		err = shield(sv, w);
	if (!err && scratch)
		err = take_scratch(sv, w);
	for (size_t i = 0; i < n && !err; i++) {
		w->lent = true;
		err = one_of_batch(sv, w, &calls[i], !stay_there);
	}
	if (!err && stay_there)
		err = take_outputs(sv, w, calls, n);
	err2 = give_scratch_back(sv, w);
	return err ? err : err2;
}

/* Between waits_begin() and waits_end(); t->caught is known; seen: or NULL. 0 or -errno, recorded. */
static int inject(struct server *sv, struct tracee *t, const struct thread_state *seen, struct inject_call *calls, size_t n)
{
	int err, err2, scratch = check_calls(calls, n);
	struct window w;

	if (scratch < 0)
		return wd_fail(sv, scratch, "an injected call for tid %d has arguments outside the scratch area", t->tid);
	w.caught = t->caught;
	err = window_take(sv, t, seen, &w);
	if (err)
		return window_report(sv, t, err);
	err = errand_calls(sv, &w, calls, n);
	if (err == -EOPNOTSUPP)
		err = by_steps(sv, &w, calls, n, scratch);
	err2 = window_close(sv, &w);
	if (w.lent)
		sv->space.changed = false; /* it will come back through that code */
	return window_report(sv, t, err ? err : err2);
}

int learn_caught(struct tracee *t)
{
	struct proc_status st = { 0 };
	int err = t->told ? 0 : proc_read_status(t->tgid, t->tid, &st);

	if (!t->told && !err) {
		t->caught = st.sigcgt;
		t->told = true;
	}
	proc_status_free(&st);
	return err == -ENOENT ? -ESRCH : err;
}

int wd_inject(struct server *sv, pid_t tgid, pid_t tid, struct inject_call *calls, size_t n)
{
	struct tracee *t = tracee_find(sv, tid);
	int err;

	if (!t || t->state != TR_HELD || t->tgid != tgid)
		return wd_fail(sv, -ESRCH, "tid %d is not part of the frozen tree", tid);
	err = learn_caught(t);
	if (err)
		return window_report(sv, t, err);
	waits_begin(WAITS_SECOND);
	err = inject(sv, t, NULL, calls, n);
	waits_end();
	errand_forget(sv);
	return err;
}

/* Everything about one thread; at: where its state goes in the board, is moved behind it. */
static int look(struct server *sv, struct wd_look *l, uint8_t *board, size_t *at)
{
	struct thread_state *st = (struct thread_state *)(board + *at);
	struct tracee *t = tracee_find(sv, l->tid);
	int err;

	if (!t || t->tgid != l->tgid)
		return wd_fail(sv, -ESRCH, "tid %d is not part of the frozen tree", l->tid);
	space_of(sv, l->tgid);
	err = wd_thread_state(sv, l->tid, st);
	t->caught = l->caught;
	t->told = true;
	if (!err && l->ncalls)
		err = inject(sv, t, st, (struct inject_call *)(board + l->calls), l->ncalls);
	l->state = *at;
	*at += (offsetof(struct thread_state, sig) + (st->nsig_private + st->nsig_shared) * sizeof(st->sig[0]) + 63) & ~63ul;
	return err;
}

int wd_look(struct server *sv, struct wd_look *looks, size_t n)
{
	uint8_t *board = (uint8_t *)looks;
	size_t at = n * sizeof(*looks);
	int err = 0;

	for (size_t i = 0; i < n; i++)
		at = MAX_OF(at, looks[i].calls + looks[i].ncalls * sizeof(struct inject_call));
	at = (at + 63) & ~63ul;
	waits_begin(WAITS_SECOND);
	for (size_t i = 0; i < n && !err && WD_BOARD_BYTES - at >= sizeof(struct thread_state); i++) {
		if (i && looks[i].tgid != looks[i - 1].tgid)
			errand_forget(sv);
		err = look(sv, &looks[i], board, &at);
	}
	waits_end();
	errand_forget(sv);
	return err;
}

int inject_one(struct server *sv, struct tracee *t, uint64_t syscall_ip, long nr, const uint64_t args[6],
	       int64_t *ret_result)
{
	struct window w = { .ip = syscall_ip };
	struct proc_stat st;
	int err, err2;

	w.t = t;
	err = arch_get_gp(t->tid, &w.saved);
	if (err)
		return err;
	if (proc_read_stat(t->tgid, t->tid, &st) == 0)
		pin(sv, st.processor);
	err = window_call(&w, nr, args, ret_result);
	t->state = TR_RUNNING;
	pt_sure(PTRACE_INTERRUPT, t->tid, 0, 0);
	pt_sure(PTRACE_CONT, t->tid, 0, 0);
	err2 = tracee_hold_soon(sv, t, now_us() + CALL_TIMEOUT_US);
	return err ? err : err2;
}
