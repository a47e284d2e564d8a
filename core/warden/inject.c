/* SPDX-License-Identifier: MIT */
/*
 * System calls made by a frozen thread on our behalf.
 *
 * The thread is sent through a syscall instruction that it has anyway (in its vDSO),
 * from one system call stop to the next.  No code is written, nothing is single
 * stepped (a trap would reset an ignored SIGTRAP), and all signals are blocked
 * meanwhile.  In the end an interrupt catches it on its way back to user mode, in
 * the same kind of stop it came from; there it gets its registers back, with the
 * result of the call that the freeze had interrupted, so that the kernel restarts
 * that one with its restart block intact.
 *
 * What is needed to put everything back lies in W, which finishes the batch also
 * when E dies meanwhile.  W runs on the thread's CPU: a switch is then 20 times
 * cheaper than a wakeup across CPUs.
 */
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>

#define CALL_TIMEOUT_US 10000000
#define USER_DISPATCH 2 /* si_code of SIGSYS: SYS_USER_DISPATCH */
#define STOPS_MAX 64 /* unrelated stops that one call bears */

/* A thread on loan. */
struct window {
	struct tracee *t;
	struct user_regs_struct saved;
	uint64_t sigmask;
	struct syscall_dispatch dispatch; /* off meanwhile: it would turn our calls into SIGSYS */
	uint64_t ip; /* of a syscall instruction */
	uint64_t scratch;
	bool narrowed;	 /* to one CPU; */
	cpu_set_t cpus;	 /* where it may run otherwise */
	uint8_t memory[WARDEN_SCRATCH]; /* what lay there */
};

/* ---- address space ---- */

static int move_memory(pid_t pid, bool write, uint64_t addr, void *buf, size_t len)
{
	struct iovec here = { buf, len }, there = { (void *)(uintptr_t)addr, len };
	ssize_t n = write ? process_vm_writev(pid, &here, 1, &there, 1, 0) :
			    process_vm_readv(pid, &here, 1, &there, 1, 0);

	return n == (ssize_t)len ? 0 : n < 0 ? -errno : -EFAULT;
}

int wd_read(struct server *sv, pid_t tgid, uint64_t addr, size_t len)
{
	_cleanup_fd_ int fd = -1;
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/mem", tgid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : pread_full(fd, sv->box, len, addr);
}

/* Looks for a syscall instruction in one mapping. */
static uint64_t search_code(pid_t pid, const struct proc_vma *v)
{
	enum { CHUNK = 65536 };
	_cleanup_free_ uint8_t *code = xcalloc(1, CHUNK);

	for (uint64_t at = v->start; at < v->end; at += CHUNK) {
		size_t len = MIN_OF((uint64_t)CHUNK, v->end - at);
		ssize_t off;

		if (move_memory(pid, false, at, code, len))
			return 0;
		off = arch_find_syscall(code, len);
		if (off >= 0)
			return at + off;
	}
	return 0;
}

/* Private, readable, writable, and no special mapping of the kernel. */
static bool is_plain_memory(const struct proc_vma *v)
{
	if ((v->prot & (PROT_READ | PROT_WRITE)) != (PROT_READ | PROT_WRITE) || v->flags & MAP_SHARED)
		return false;
	return v->path[0] != '[' || strcmp(v->path, "[stack]") == 0 || strcmp(v->path, "[heap]") == 0 ||
	       strncmp(v->path, "[anon:", 6) == 0;
}

static void learn_space(struct space *sp, pid_t pid, const vma_list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		if (strcmp(l->v[i].path, "[vdso]") == 0)
			sp->syscall_ip = search_code(pid, &l->v[i]);
		if (is_plain_memory(&l->v[i]))
			*vec_push(&sp->rw) = (struct mem_range){ l->v[i].start, l->v[i].end };
	}
	for (size_t i = 0; i < l->n && !sp->syscall_ip; i++)
		if ((l->v[i].prot & (PROT_READ | PROT_EXEC)) == (PROT_READ | PROT_EXEC) && l->v[i].path[0] != '[')
			sp->syscall_ip = search_code(pid, &l->v[i]);
}

/* A frozen address space does not change: read once a process. */
static int know_space(struct server *sv, pid_t tgid)
{
	_cleanup_buf_ struct buf b = { 0 };
	struct space *sp = &sv->space;
	vma_list l = { 0 };
	char path[40];
	int err;

	if (sp->tgid == tgid)
		return 0;
	sp->tgid = 0;
	sp->rw.n = 0;
	sp->syscall_ip = 0;
	snprintf(path, sizeof(path), "/proc/%d/maps", tgid);
	err = read_file(AT_FDCWD, path, &b);
	if (!err)
		err = proc_parse_maps(b.p, b.len, &l);
	if (!err && !l.n)
		err = -ESRCH; /* the memory of a dead process is gone at once */
	if (!err)
		learn_space(sp, tgid, &l);
	proc_vmas_free(&l);
	if (err == -ENOENT || err == -ESRCH)
		return wd_fail(sv, -ESRCH, "pid %d was killed while it was frozen", tgid);
	if (err)
		return wd_fail(sv, err, "%s: %s", path, strerror(-err));
	if (!sp->syscall_ip)
		return wd_fail(sv, -ENOEXEC, "pid %d has no system call instruction mapped, not even a vDSO", tgid);
	sp->tgid = tgid;
	return 0;
}

static bool in_ranges(const struct space *sp, uint64_t start, uint64_t len)
{
	for (size_t i = 0; i < sp->rw.n; i++) {
		if (start < sp->rw.v[i].start || start >= sp->rw.v[i].end)
			continue;
		if (len <= sp->rw.v[i].end - start)
			return true;
		len -= sp->rw.v[i].end - start; /* goes on in the next mapping? */
		start = sp->rw.v[i].end;
	}
	return false;
}

/* Room for arguments: below the stack, else anywhere; its contents are kept in w. */
static int take_scratch(struct server *sv, struct window *w)
{
	const struct space *sp = &sv->space;
	uint64_t at = (arch_sp(&w->saved) - ARCH_REDZONE - WARDEN_SCRATCH) & ~63ul;

	w->scratch = at;
	if (in_ranges(sp, at, WARDEN_SCRATCH) &&
	    move_memory(w->t->tgid, false, at, w->memory, WARDEN_SCRATCH) == 0)
		return 0;
	for (size_t i = 0; i < sp->rw.n; i++) {
		w->scratch = sp->rw.v[i].start;
		if (sp->rw.v[i].end - sp->rw.v[i].start >= WARDEN_SCRATCH &&
		    move_memory(w->t->tgid, false, w->scratch, w->memory, WARDEN_SCRATCH) == 0)
			return 0;
	}
	w->scratch = 0;
	return wd_fail(sv, -ENOMEM, "pid %d has no writable memory to call from", w->t->tgid);
}

static int give_scratch_back(struct server *sv, struct window *w)
{
	int err;

	if (!w->scratch)
		return 0;
	err = move_memory(w->t->tgid, true, w->scratch, w->memory, WARDEN_SCRATCH);
	if (err && err != -ESRCH)
		return wd_fail(sv, err, "pid %d: memory at %#jx cannot be written back: %s", w->t->tgid,
			       (uintmax_t)w->scratch, strerror(-err));
	return err;
}

/* ---- one thread ---- */

/* Our call became a signal (system call user dispatch), and was not made. */
static bool is_dispatched(pid_t tid)
{
	siginfo_t si;

	return ptrace(PTRACE_GETSIGINFO, tid, 0, &si) == 0 && si.si_code == USER_DISPATCH;
}

/* Runs until the next system call stop; ret, when asked for: that stop, which must be the exit of the call. */
static int run_to_stop(struct tracee *t, struct __ptrace_syscall_info *ret)
{
	uint64_t deadline = now_us() + CALL_TIMEOUT_US;
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
			if (ptrace(PTRACE_GET_SYSCALL_INFO, t->tid, sizeof(*ret), ret) < 0)
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

static int call(struct window *w, long nr, const uint64_t args[6], int64_t *ret)
{
	struct user_regs_struct gp = w->saved;
	struct __ptrace_syscall_info info = { 0 };
	int err;

	arch_call_setup(&gp, w->ip, nr, args);
	err = arch_set_gp(w->t->tid, &gp);
	if (!err)
		err = run_to_stop(w->t, NULL);
	if (!err)
		err = run_to_stop(w->t, &info);
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
		err = wd_fail(sv, -EPERM, "tid %d has system call filters, which only root may suspend", t->tid);
	proc_status_free(&st);
	return err;
}

/* W stays there until another request comes: moving costs more than a call. */
static void follow_cpu(struct server *sv, struct tracee *t)
{
	struct proc_stat st = { .processor = -1 };
	cpu_set_t set;

	if (proc_read_stat(t->tgid, t->tid, &st) < 0 || st.processor < 0 || st.processor >= CPU_SETSIZE)
		return;
	if (sv->pinned && sv->cpu == st.processor)
		return;
	CPU_ZERO(&set);
	CPU_SET(st.processor, &set);
	/* not allowed: just slower */
	sv->pinned = sched_setaffinity(0, sizeof(set), &set) == 0;
	sv->cpu = st.processor;
}

/*
 * Woken, the thread would be sent to an idle CPU, and every stop would wake one CPU from another.  So it is kept on W's
 * for the duration; where that is not allowed it is just slower.
 */
static void narrow(struct server *sv, struct window *w)
{
	cpu_set_t one;

	w->narrowed = false;
	if (!sv->pinned || sched_getaffinity(w->t->tid, sizeof(w->cpus), &w->cpus) < 0 || CPU_COUNT(&w->cpus) < 2)
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

static int open_window(struct server *sv, struct tracee *t, struct window *w)
{
	uint64_t all = ~0ull;
	int err;

	w->t = t;
	w->scratch = 0;
	w->narrowed = false;
	err = arch_get_gp(t->tid, &w->saved);
	if (!err)
		err = pt(PTRACE_GETSIGMASK, t->tid, sizeof(w->sigmask), (uintptr_t)&w->sigmask);
	if (!err)
		err = suspend_seccomp(sv, t);
	if (err)
		return err;
	err = dispatch_get(t->tid, &w->dispatch);
	if (!err && w->dispatch.mode)
		err = dispatch_set(t->tid, &(struct syscall_dispatch){ 0 });
	if (err)
		return err;
	/* the call would make the kernel forget that the sequence was interrupted */
	rseq_abort(t->tgid, t->tid, &w->saved);
	follow_cpu(sv, t);
	narrow(sv, w);
	/* were it blocked, the kernel would take the task's handler away */
	if (dispatch_untold)
		all &= ~(1ull << (SIGSYS - 1));
	err = pt(PTRACE_SETSIGMASK, t->tid, sizeof(all), (uintptr_t)&all);
	if (err)
		widen(w);
	return err;
}

/* Back into the stop from which it came, and everything as it was. */
static int close_window(struct server *sv, struct window *w, bool ran)
{
	pid_t tid = w->t->tid;
	int err = 0, err2;

	widen(w);
	if (ran) {
		w->t->state = TR_RUNNING;
		pt(PTRACE_INTERRUPT, tid, 0, 0);
		pt(PTRACE_CONT, tid, 0, 0);
		err = tracee_hold(sv, w->t, now_us() + CALL_TIMEOUT_US);
	}
	if (!err)
		err = arch_set_gp(tid, &w->saved);
	err2 = pt(PTRACE_SETSIGMASK, tid, sizeof(w->sigmask), (uintptr_t)&w->sigmask);
	err = err ? err : err2;
	if (w->dispatch.mode) {
		err2 = dispatch_set(tid, &w->dispatch);
		err = err ? err : err2;
	}
	err2 = pt(PTRACE_SETOPTIONS, tid, 0, PTRACE_O_TRACESYSGOOD);
	return err ? err : err2;
}

static int report(struct server *sv, struct tracee *t, int err)
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
static int take_outputs(struct window *w, struct inject_call *calls, size_t n)
{
	uint8_t all[WARDEN_SCRATCH];
	uint32_t end = 0;
	int err;

	for (size_t i = 0; i < n; i++)
		end = calls[i].out_len ? calls[i].out_off + calls[i].out_len : end;
	err = end ? move_memory(w->t->tgid, false, w->scratch, all, end) : 0;
	for (size_t i = 0; i < n && !err; i++)
		memcpy(calls[i].out, all + calls[i].out_off, calls[i].out_len);
	return err;
}

static int one_of_batch(struct window *w, struct inject_call *c, bool out)
{
	pid_t pid = w->t->tgid;
	uint64_t args[6];
	int err = 0;

	for (int a = 0; a < 6; a++)
		args[a] = c->args[a] + (c->ptrmask >> a & 1 ? w->scratch : 0);
	if (c->in_len)
		err = move_memory(pid, true, w->scratch + c->in_off, c->in, c->in_len);
	if (!err)
		err = call(w, c->nr, args, &c->ret);
	if (!err && out && c->out_len)
		err = move_memory(pid, false, w->scratch + c->out_off, c->out, c->out_len);
	return err;
}

void leave_cpu(struct server *sv)
{
	if (sv->pinned)
		sched_setaffinity(0, sizeof(sv->cpus), &sv->cpus);
	sv->pinned = false;
}

int wd_inject(struct server *sv, pid_t tgid, pid_t tid, struct inject_call *calls, size_t n)
{
	struct tracee *t = tracee_find(sv, tid);
	struct window w;
	int err, err2, scratch = check_calls(calls, n);
	bool ran = false, stay = outputs_stay(calls, n);

	if (scratch < 0)
		return wd_fail(sv, scratch, "an injected call for tid %d has arguments outside the scratch area", tid);
	if (!t || t->state != TR_HELD || t->tgid != tgid)
		return wd_fail(sv, -ESRCH, "tid %d is not part of the frozen tree", tid);
	err = know_space(sv, tgid);
	if (err)
		return err;
	w.ip = sv->space.syscall_ip;
	err = open_window(sv, t, &w);
	if (err)
		return report(sv, t, err);
	if (scratch)
		err = take_scratch(sv, &w);
	waits_begin();
	for (size_t i = 0; i < n && !err; i++) {
		ran = true;
		err = one_of_batch(&w, &calls[i], !stay);
	}
	waits_end();
	if (!err && stay)
		err = take_outputs(&w, calls, n);
	err2 = give_scratch_back(sv, &w);
	err = err ? err : err2;
	err2 = close_window(sv, &w, ran);
	return report(sv, t, err ? err : err2);
}

int inject_one(struct server *sv, struct tracee *t, uint64_t syscall_ip, long nr, const uint64_t args[6],
	       int64_t *ret_result)
{
	struct window w = { .ip = syscall_ip };
	int err, err2;

	w.t = t;
	err = arch_get_gp(t->tid, &w.saved);
	if (err)
		return err;
	follow_cpu(sv, t);
	waits_begin();
	err = call(&w, nr, args, ret_result);
	waits_end();
	t->state = TR_RUNNING;
	pt(PTRACE_INTERRUPT, t->tid, 0, 0);
	pt(PTRACE_CONT, t->tid, 0, 0);
	err2 = tracee_hold(sv, t, now_us() + CALL_TIMEOUT_US);
	return err ? err : err2;
}
