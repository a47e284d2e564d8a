/* SPDX-License-Identifier: MIT */
/*
 * The end of a restore: all threads are parked in the blob; stop them, remove the
 * arena, give them their registers, let them go.  Until wd_release() any failure
 * kills the tree.
 */
#include "inject.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define HOLD_TIMEOUT_US 10000000
#define LEFT_ROOM 64 /* bytes for a struct timespec, and then some */

static int gone_missing(struct server *sv, pid_t tid, int err, const char *what)
{
	return wd_fail(sv, err, "restored tid %d: %s: %s", tid, what,
		       err == -ESRCH ? "it was killed" : err == -EINVAL ? "the kernel refuses the values in the image" :
		       strerror(-err));
}

/* Marks who is in the table; everybody else must be one that is expected to exit. */
static int match_table(struct server *sv, const struct warden_final *table, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct tracee *t = tracee_find(sv, table[i].tid);

		if (!t || t->listed)
			return wd_fail(sv, -ESRCH, "tid %d is not among the restored tasks, or twice in the plan", table[i].tid);
		t->listed = true;
		t->tgid = table[i].tgid;
	}
	FOR_EACH_TRACEE(t, sv) {
		if (!t->listed && !t->expected)
			return wd_fail(sv, -EINVAL, "task %d is not part of the plan", t->tid);
	}
	return 0;
}

static int hold_all(struct server *sv)
{
	uint64_t deadline = now_us() + HOLD_TIMEOUT_US;
	int err = 0;

	FOR_EACH_TRACEE(t, sv)
		if (t->listed)
			pt_sure(PTRACE_INTERRUPT, t->tid, 0, 0);
	waits_begin(WAITS_SECOND);
	FOR_EACH_TRACEE(t, sv) {
		if (t->listed && !err) {
			err = tracee_hold_soon(sv, t, deadline);
			if (err)
				gone_missing(sv, t->tid, err, "it cannot be stopped");
		}
	}
	waits_end();
	return err;
}

/* Nothing of the process may run any more when its blob goes. */
static int unmap_arena(struct server *sv, const struct warden_final *f)
{
	uint64_t all = ~0ull, args[6] = { f->unmap_addr, f->unmap_len };
	struct tracee *t = tracee_find(sv, f->tid);
	int64_t result = 0;
	int err;

	if (!t)
		return gone_missing(sv, f->tid, -ESRCH, "munmap");
	err = pt(PTRACE_SETSIGMASK, f->tid, sizeof(all), (uintptr_t)&all);
	if (!err)
		err = inject_one(sv, t, f->syscall_ip, SYS_munmap, args, &result);
	return err || result ? gone_missing(sv, f->tid, err ? err : (int)result, "the restorer cannot be unmapped") : 0;
}

/* The time that a call has still to wait goes below the stack, like the frame of a signal that might come. */
static void put_left(struct server *sv, const struct warden_final *f, struct user_regs_struct *gp)
{
	uint64_t at = (arch_sp(gp) - ARCH_REDZONE - LEFT_ROOM) & ~15ull;
	struct timespec left = f->left;

	if (f->late_arg >= 0 && move_memory(sv, f->tgid, true, at, &left, sizeof(left)) == 0)
		arch_set_arg(gp, f->late_arg, at);
}

static int set_thread(struct server *sv, const struct warden_final *f)
{
	struct user_regs_struct gp = f->regs.gp;
	int err = arch_set_regs(f->tid, &f->regs);

	put_left(sv, f, &gp);
	if (!err)
		err = arch_set_gp(f->tid, &gp);

	if (!err)
		err = pt(PTRACE_SETSIGMASK, f->tid, sizeof(f->sigmask), (uintptr_t)&f->sigmask);
	if (err)
		return gone_missing(sv, f->tid, err, "its registers cannot be set");
	if (f->dispatch.mode) /* no call of the engine comes after this */
		err = dispatch_set(f->tid, &f->dispatch);
	return err ? gone_missing(sv, f->tid, err, "its system call user dispatch cannot be set") : 0;
}

/* ---- job control ---- */

/* The other threads take part in the stop: only then it is complete, and the parent is told. */
static int join_stop(struct server *sv, const struct warden_final *leader, const struct warden_final *table, size_t n)
{
	for (const struct warden_final *f = table; f < table + n; f++) {
		struct tracee *t = tracee_find(sv, f->tid);
		int err;

		if (f->leader || f->tgid != leader->tgid)
			continue;
		err = t ? pt_sure(PTRACE_CONT, f->tid, 0, 0) : -ESRCH;
		if (!err) {
			t->state = TR_RUNNING;
			err = tracee_hold(sv, t, now_us() + HOLD_TIMEOUT_US);
		}
		if (err)
			return err;
	}
	return 0;
}

/* SIGCONT goes to its process, but is not delivered. */
static int go_on(struct server *sv, struct tracee *t)
{
	uint64_t deadline = now_us() + HOLD_TIMEOUT_US, most = ~(1ull << (SIGCONT - 1)), all = ~0ull;
	int status, sig = 0, err = pt(PTRACE_SETSIGMASK, t->tid, sizeof(most), (uintptr_t)&most);

	if (!err && syscall(SYS_tgkill, t->tgid, t->tid, SIGCONT) < 0)
		err = -errno;
	for (bool seen = false; !seen && !err; seen = !err && stop_kind_of(status, &sig) == STOP_SIGNAL && sig == SIGCONT) {
		err = pt(PTRACE_CONT, t->tid, 0, 0);
		if (!err)
			err = tracee_wait(t->tid, &status, deadline);
		if (!err && stop_kind_of(status, &sig) == STOP_DEAD)
			err = -ESRCH;
	}
	if (!err)
		err = pt(PTRACE_SETSIGMASK, t->tid, sizeof(all), (uintptr_t)&all);
	if (err)
		return err;
	t->state = TR_RUNNING;
	pt_sure(PTRACE_INTERRUPT, t->tid, 0, 0);
	pt_sure(PTRACE_CONT, t->tid, 0, 0);
	return tracee_hold(sv, t, deadline);
}

static int stop_signal(const struct warden_final *f, bool stop_all)
{
	return f->stop_signo ? (int)f->stop_signo : stop_all || f->news == CLD_CONTINUED ? SIGSTOP : 0;
}

/* Into the state that it is to have. */
static int stop_process(struct server *sv, const struct warden_final *f, const struct warden_final *table, size_t n,
			bool stop_all)
{
	struct tracee *t = tracee_find(sv, f->tid);
	int signo = stop_signal(f, stop_all), err = t ? 0 : -ESRCH;

	if (!err)
		err = tracee_group_stop(sv, t, signo);
	if (!err)
		err = join_stop(sv, f, table, n);
	if (!err && !f->stop_signo && !stop_all)
		err = go_on(sv, t);
	return err ? gone_missing(sv, f->tid, err, "it cannot be put into its stopped state") : 0;
}

/* What the stops of its children have told a parent, and it knew already: taken away, also their SIGCHLD. */
static int hush(struct server *sv, const struct warden_final *f, const struct warden_final *table, size_t n, bool stop_all)
{
	uint64_t take[6] = { (uintptr_t)&f->take.set, 0, (uintptr_t)&f->take.zero, sizeof(f->take.set) }, all = ~0ull;
	struct tracee *t = tracee_find(sv, f->tid);
	int err = t ? pt(PTRACE_SETSIGMASK, f->tid, sizeof(all), (uintptr_t)&all) : -ESRCH;
	bool any = false;
	int64_t result;

	for (size_t i = 0; i < n && !err; i++) {
		uint64_t args[6] = { P_PID, table[i].tid, 0, WSTOPPED | WNOHANG | __WALL };

		if (!table[i].leader || table[i].parent != f->tid || !stop_signal(&table[i], stop_all))
			continue;
		any = true;
		if (!table[i].news)
			err = inject_one(sv, t, f->syscall_ip, SYS_waitid, args, &result);
	}
	if (any && !err && !f->has_sigchld)
		err = inject_one(sv, t, f->syscall_ip, SYS_rt_sigtimedwait, take, &result);
	return err ? gone_missing(sv, f->tid, err, "it cannot be kept from hearing of its stopped children") : 0;
}

/* As long as all are in the blob. */
static int stop_processes(struct server *sv, const struct warden_final *table, size_t n, bool stop_all)
{
	bool any = false;
	int err = 0;

	for (size_t i = 0; i < n && !err; i++)
		if (table[i].leader && stop_signal(&table[i], stop_all)) {
			err = stop_process(sv, &table[i], table, n, stop_all);
			any = true;
		}
	for (size_t i = 0; i < n && any && !err; i++)
		if (table[i].leader)
			err = hush(sv, &table[i], table, n, stop_all);
	return err;
}

int wd_finalize(struct server *sv, uint64_t table, size_t n, bool stop_all)
{
	const struct warden_final *f = (const struct warden_final *)(uintptr_t)table;
	int err;

	if (!sv->adopting || table < sv->base || table % _Alignof(struct warden_final) || table - sv->base > sv->size ||
	    n > (sv->size - (table - sv->base)) / sizeof(*f))
		return wd_fail(sv, -EINVAL, "the table of final states lies outside the arena");
	adopt_pump(sv);
	err = match_table(sv, f, n);
	if (!err)
		err = hold_all(sv);
	waits_begin(WAITS_SECOND);
	if (!err)
		err = stop_processes(sv, f, n, stop_all);
	for (size_t i = 0; i < n && !err; i++)
		if (f[i].leader && f[i].unmap_len)
			err = unmap_arena(sv, &f[i]);
	waits_end();
	for (size_t i = 0; i < n && !err; i++)
		err = set_thread(sv, &f[i]);
	return err;
}

int wd_release(struct server *sv)
{
	int first = 0;

	FOR_EACH_TRACEE(t, sv) {
		int err = t->state == TR_HELD ? pt(PTRACE_SETOPTIONS, t->tid, 0, PTRACE_O_TRACESYSGOOD) : 0;

		if (t->listed && (err || t->state != TR_HELD) && !first)
			first = gone_missing(sv, t->tid, err ? err : -ESRCH, "it cannot be let go");
	}
	if (first)
		return first; /* still all or nothing */
	sv->finished = true;
	sv->adopting = false;
	journal_note(sv, "committed");
	journal_replay(sv, WARDEN_RUN);
	tracees_detach(sv);
	journal_close(sv);
	return 0;
}
