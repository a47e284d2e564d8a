/* SPDX-License-Identifier: MIT */
/*
 * run.c: from finished plans to a running tree.
 *
 * E creates the root, which waits at its first barrier until W has seized it;
 * every descendant is seized at birth.  E releases one stage after the other
 * until all threads are parked, lets plugins do what needs the whole tree, and W
 * writes the registers.  Until W's release everything dies with E.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fd/files_priv.h"
#include "fault.h"
#include "image.h"
#include "mem.h"
#include "options.h"
#include "plugin.h"
#include "progress.h"
#include "restore_priv.h"
#include "signals.h"
#include "warden.h"

#include "core.pb-c.h"
#include "stasis.pb-c.h"

#define POLL_NS 50000000
#define HANG_US 60000000 /* one operation may read a gigabyte from a slow disk */

static long futex(uint32_t *addr, int op, uint32_t val, const struct timespec *ts)
{
	return syscall(SYS_futex, addr, op, val, ts, NULL, 0);
}

static int report_failure(struct session *s)
{
	struct blob_shared *sh = s->restore->arena.shared;
	char text[512];

	if (__atomic_load_n(&sh->failed, __ATOMIC_ACQUIRE)) {
		plan_explain_failure(s->restore->plans, text, sizeof(text));
		if (sh->fail_errno == EEXIST)
			restore_note_held(s);
		return fail(s, sh->fail_errno > 0 ? sh->fail_errno : EPROTO, "%s", text);
	}
	if (sh->dead_tid)
		return fail(s, ECHILD, "task %u died while it was being restored (%s %d)", sh->dead_tid,
			    WIFSIGNALED(sh->dead_status) ? "signal" : "exit status",
			    WIFSIGNALED(sh->dead_status) ? WTERMSIG(sh->dead_status) : WEXITSTATUS(sh->dead_status));
	return fail(s, ECANCELED, "the restore was aborted");
}

/* Changes whenever any thread has executed an operation: nothing for a minute means that they hang. */
static uint64_t progress_mark(struct session *s)
{
	const struct plan_set *ps = s->restore->plans;
	uint64_t sum = 0;

	for (size_t i = 0; i < ps->plans.n; i++)
		sum += __atomic_load_n(&ps->plans.v[i]->thread->pc, __ATOMIC_RELAXED);
	return sum;
}

/* Until *count has reached want. */
static int wait_count(struct session *s, uint32_t *count, uint32_t want, const char *what)
{
	struct blob_shared *sh = s->restore->arena.shared;
	uint64_t limit = now_us() + HANG_US, mark = progress_mark(s);
	struct progress p;
	int err = 0;

	progress_start(&p, what, want);
	for (;;) {
		uint32_t event = __atomic_load_n(&sh->event, __ATOMIC_ACQUIRE);
		const struct timespec ts = { 0, POLL_NS };
		uint32_t now;

		mem_fill_asked(s);
		now = __atomic_load_n(count, __ATOMIC_ACQUIRE);
		if (__atomic_load_n(&sh->abort, __ATOMIC_ACQUIRE) || sh->failed || sh->dead_tid) {
			err = report_failure(s);
			break;
		}
		if (now >= want)
			break;
		err = signals_check(s);
		if (err == 0)
			err = warden_check(s);
		if (err < 0)
			break;
		if (now_us() > limit && mark != progress_mark(s)) {
			mark = progress_mark(s);
			limit = now_us() + HANG_US;
		} else if (now_us() > limit) {
			err = fail(s, ETIMEDOUT, "%s: %u of %u, and no progress for a minute", what, now, want);
			break;
		}
		progress_step(&p, now);
		futex(&sh->event, FUTEX_WAIT, event, &ts);
	}
	progress_end(&p);
	return err;
}

static int pass_stage(struct session *s, uint32_t stage, const char *what)
{
	struct blob_shared *sh = s->restore->arena.shared;
	int err = wait_count(s, &sh->arrived[stage], s->restore->expected[stage], what);

	if (err < 0)
		return err;
	log_debug("stage %u of %u: %s", stage, BLOB_STAGES, what);
	__atomic_store_n(&sh->released, stage, __ATOMIC_RELEASE);
	futex(&sh->released, FUTEX_WAKE, INT32_MAX, NULL);
	return 0;
}

/*
 * Nobody waits for a detached root: it is an orphan from birth, made by a process that ends at once.  Were it
 * E's child, a parent-death signal would reach it when E exits.  As clone3.
 */
static long clone_orphan(struct clone_args *args, void (*entry)(void *), void *arg)
{
	pid_t pid = FAULTS("fork of the root's creator") ? -1 : fork();
	int status;

	if (pid < 0)
		return -errno;
	if (pid == 0) {
		long r = arch_clone3_enter(args, sizeof(*args), entry, arg);

		_exit(r < 0 ? (int)-r : 0);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	if (!WIFEXITED(status))
		return -ECHILD;
	return WEXITSTATUS(status) ? -WEXITSTATUS(status) : *(const pid_t *)(uintptr_t)args->set_tid;
}

/* The root is E's child; an orphan when detached; with --restore-sibling E's sister. */
static int create_root(struct session *s)
{
	struct restore *r = s->restore;
	struct plan *p = s->tree->root->threads.v[0]->plan;
	pid_t tid = task_vpid(s->tree->root);
	bool sibling = opt_flag(s->opts, "restore-sibling");
	struct clone_args args = {
		.flags = sibling ? CLONE_PARENT : 0,
		.exit_signal = sibling ? 0 : SIGCHLD,
		.stack = p->thread->stack,
		.stack_size = BLOB_STACK,
		.set_tid = (uintptr_t)&tid,
		.set_tid_size = 1,
	};
	void (*entry)(void *) = (void (*)(void *))(uintptr_t)r->arena.code;
	sigset_t all, old;
	long pid;

	pid = FAULT("clone of the root");
	if (pid < 0)
		return fail(s, -pid, "cannot create pid %d: %s", tid, strerror(-pid));
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	/*
	 * The kernel gives a number back a moment after its last process, or the last one of its session, has been reaped
	 * (Linux 6.15: free_pids()): nobody has it any more, and it cannot be had yet.
	 */
	for (uint64_t deadline = now_us() + PID_WAIT_US;;) {
		if (opt_flag(s->opts, "restore-detached") && !sibling && !s->served)
			pid = clone_orphan(&args, entry, p->thread);
		else
			pid = arch_clone3_enter(&args, sizeof(args), entry, p->thread);
		if (pid != -EEXIST || now_us() > deadline)
			break;
		nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
	}
	sigprocmask(SIG_SETMASK, &old, NULL);
	if (pid == -EEXIST)
		return restore_pid_held(s, tid);
	if (pid == -EINVAL)
		return restore_pid_beyond(s, tid);
	if (pid < 0)
		return fail(s, -pid, "cannot create pid %d: %s%s", tid, strerror(-pid),
			    pid == -EPERM ? " (choosing pids needs CAP_CHECKPOINT_RESTORE; without it: in a user and pid "
					  "namespace of one's own, unshare -Urpf --mount-proc)" : "");
	r->root = pid;
	return 0;
}

static int adopt_root(struct session *s)
{
	int err = warden_expect_exit(s, s->restore->exits.v, s->restore->exits.n);

	return err < 0 ? err : warden_adopt(s, s->restore->root);
}

/* Signals of descriptions go to tasks, which exist only now. */
static int set_owners(struct session *s)
{
	for (size_t i = 0; i < s->files->all.n; i++) {
		struct file *f = s->files->all.v[i];
		struct f_owner_ex ex = { f->set_fown.pid_type, f->set_fown.pid };

		if (!f->has_fown || f->fd < 0)
			continue;
		file_at(s, f);
		if (f->set_fown.signum && fcntl(f->fd, F_SETSIG, f->set_fown.signum) < 0)
			return fail(s, errno, "F_SETSIG %u: %s", f->set_fown.signum, strerror(errno));
		if (f->set_fown.pid && fcntl(f->fd, F_SETOWN_EX, &ex) < 0)
			lost(s, "file %u: its signals went to %u, which is not there", f->id, f->set_fown.pid);
	}
	at_object(s, NULL);
	return 0;
}

static long own_oom_score(void)
{
	struct buf b = { 0 };
	long n = 0;

	if (read_file(AT_FDCWD, "/proc/self/oom_score_adj", &b) == 0 && b.len)
		n = strtol(b.p, NULL, 10);
	buf_free(&b);
	return n;
}

static void set_oom_scores(struct session *s)
{
	long own = own_oom_score();

	FOR_EACH_TASK(t, s->tree) {
		const TaskCoreEntry *tc = t->threads.v[0]->core->tc;
		char path[64], text[16];
		int err;

		if (t->life == TASK_ZOMBIE || !tc->has_oom_score_adj || tc->oom_score_adj == own)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", task_vpid(t));
		snprintf(text, sizeof(text), "%d", tc->oom_score_adj);
		err = write_file(AT_FDCWD, path, text);
		if (err < 0)
			lost(s, "%s: %s: %s", path, text, strerror(-err));
	}
}

/* What W does that a call waits no longer than it has still to. f->regs: as in the image, the call about to be made. */
static void final_wait(const struct thread *th, struct warden_final *f)
{
	const StasisThread *x = th->extra;
	long nr = f->regs.gp.rax;
	struct arch_limit l;
	uint64_t args[6];

	f->late_arg = -1;
	arch_call_args(&f->regs.gp, args);
	if (!x || !x->has_wait_left || !arch_time_limit(nr, args, &l))
		return;
	f->left = (struct timespec){ x->wait_left / 1000000000, x->wait_left % 1000000000 };
	if (l.ms)
		arch_set_arg(&f->regs.gp, l.arg, MIN_OF((x->wait_left + 999999) / 1000000, (uint64_t)INT32_MAX));
	else
		f->late_arg = l.arg;
}

static bool has_sigchld(const TaskCoreEntry *tc)
{
	const SignalQueueEntry *q = tc->signals_s;

	for (size_t i = 0; q && i < q->n_signals; i++) {
		siginfo_t si = { 0 };

		memcpy(&si, q->signals[i]->siginfo.data, MIN_OF(q->signals[i]->siginfo.len, sizeof(si)));
		if (si.si_signo == SIGCHLD)
			return true;
	}
	return false;
}

static int final_table(struct session *s, struct warden_final **ret, size_t *ret_n)
{
	struct restore *r = s->restore;
	struct warden_final *tab = arena_alloc(&r->arena, r->nthreads * sizeof(*tab), 64);
	size_t n = 0;

	FOR_EACH_TASK(t, s->tree) {
		if (t->life == TASK_ZOMBIE)
			continue;
		for (size_t i = 0; i < t->threads.n; i++) {
			struct thread *th = t->threads.v[i];
			struct warden_final *f = &tab[n++];
			int err;

			f->tgid = task_vpid(t);
			f->tid = thread_vtid(th);
			f->leader = i == 0;
			f->sigmask = th->sigmask;
			f->unmap_addr = r->arena.base;
			f->unmap_len = r->arena.size;
			/* only what is used of the area, so that the table stays sparse */
			f->regs.gp = th->regs.gp;
			f->regs.gp.orig_rax = -1ul; /* not in a call: nothing to restart, but for: */
			final_wait(th, f);
			if (th->extra && th->extra->has_interrupted &&
			    !arch_resume_call(&f->regs.gp, th->extra->interrupted))
				return fail(s, EPROTO, "x-stasis-tasks.img: thread %d was interrupted in an unknown way (%u)",
					    f->tid, th->extra->interrupted);
			memcpy(f->regs.tls, th->regs.tls, sizeof(f->regs.tls));
			f->regs.xsave_len = th->regs.xsave_len;
			memcpy(f->regs.xsave, th->regs.xsave, th->regs.xsave_len);
			restore_final_attrs(th, f);
			if (i)
				continue;
			f->parent = t->parent ? task_vpid(t->parent) : 0;
			f->news = t->news;
			f->has_sigchld = has_sigchld(th->core->tc);
			f->take.set = 1ull << (SIGCHLD - 1);
			if (t->life == TASK_STOPPED)
				f->stop_signo = t->stop_signo ? t->stop_signo : SIGSTOP;
			err = mem_syscall_ip(s, t, &f->syscall_ip);
			if (err < 0)
				return err;
		}
	}
	*ret = tab;
	*ret_n = n;
	return 0;
}

static int write_pidfile(struct session *s)
{
	const char *path = opt_str(s->opts, "pidfile");
	_cleanup_fd_ int fd = -1;
	char text[16];
	int n, err;

	if (!path)
		return 0;
	fd = FAULTS("pid file") ? -1 : openat(images_workdirfd(s), path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	n = snprintf(text, sizeof(text), "%d", s->restore->root);
	err = fd < 0 ? -errno : write_full(fd, text, n);
	return err < 0 ? fail(s, -err, "--pidfile %s: %s", path, strerror(-err)) : 0;
}

static int run_stages(struct session *s)
{
	uint64_t t0 = now_us();
	int err = pass_stage(s, STAGE_BIRTH, "creating the root");

	s->phase = "fork";
	if (err == 0)
		err = pass_stage(s, STAGE_FORKED, "creating tasks and their memory");
	s->stats.forking_time = now_us() - t0;
	if (err == 0)
		err = restore_open_late(s);
	if (err == 0)
		err = pass_stage(s, STAGE_GROUPS, "making process groups");
	if (err == 0)
		err = pass_stage(s, STAGE_JOINED, "joining process groups");
	s->phase = "wire";
	if (err == 0)
		err = restore_send_late(s);
	if (err == 0)
		err = pass_stage(s, STAGE_FILLED, "filling descriptor tables");
	if (err == 0)
		err = pass_stage(s, STAGE_WIRED, "closing the engine's descriptors");
	s->phase = "state";
	if (err == 0)
		err = pass_stage(s, STAGE_CREDS, "changing credentials");
	if (err == 0)
		err = wait_count(s, &s->restore->arena.shared->parked, s->restore->nthreads, "restoring threads");
	return err;
}

int restore_run(struct session *s)
{
	struct warden_final *tab = NULL;
	size_t n = 0;
	int err;

	s->phase = "birth";
	log_debug("phase: birth");
	memcpy(s->restore->arena.shared->expected, s->restore->expected, sizeof(s->restore->expected));
	s->restore->arena.shared->expected_parked = s->restore->nthreads;
	err = restore_wait_pids(s);
	if (err == 0)
		err = warden_arena(s, &s->restore->arena);
	if (err == 0)
		__atomic_store_n(s->restore->tracer, warden_pid(s), __ATOMIC_RELEASE);
	if (err == 0)
		err = create_root(s);
	if (err == 0)
		err = adopt_root(s);
	if (err == 0)
		err = run_stages(s);
	s->phase = "late";
	log_debug("phase: late");
	if (err == 0)
		s->tree_is = TREE_PARKED;
	if (err == 0)
		err = set_owners(s);
	if (err == 0)
		set_oom_scores(s);
	if (err == 0)
		restore_late_attrs(s);
	if (err == 0)
		err = BROADCAST(s, restored);
	if (err == 0)
		err = final_table(s, &tab, &n);
	log_debug("phase: finalize");
	if (err == 0)
		err = warden_finalize(s, tab, n, opt_flag(s->opts, "leave-stopped"));
	if (err == 0)
		err = write_pidfile(s);
	return err;
}
