/* SPDX-License-Identifier: MIT */
/*
 * Frozen copies of processes, so that their memory can be written while they run.
 *
 * A held thread forks: the child has the same memory, copy on write, and never runs
 * an instruction of the program.  Nobody notices it:
 *  - it has exit signal 0, so that its parent gets no signal, and wait(2) does not see
 *    it unless asked for such children (__WALL);
 *  - it is traced from its birth, and killed when W dies (EXITKILL).  Were W killed before
 *    that is said, the child would exit by itself, and its parent, on its way back, reap it: both are in errand.c's code;
 *  - it has closed its descriptors, or pipes would have a writer too many, and has a session of its
 *    own, out of the reach of signals for process groups;
 *  - when memory is short it is the first to be killed.
 * In the end it is killed, and as nobody else waits for it, a thread of its parent is
 * held once more for the call that removes the zombie.  When W is killed while the tree runs the zombie stays, until the
 * parent ends or `stasis recover` is run.
 */
#include "inject.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"

#define CHILD_TIMEOUT_US 5000000
#define HOLD_TIMEOUT_US 500000

/* ---- making one ---- */

/* Its first stop. */
static int await_child(pid_t pid)
{
	uint64_t deadline = now_us() + CHILD_TIMEOUT_US;
	int status, err;

	err = tracee_wait(pid, &status, deadline);
	if (!err && !WIFSTOPPED(status))
		err = -ESRCH;
	if (!err)
		err = pt(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
	return err;
}

/* Calls in the copy, which has w's registers. What fails is done without. */
static void detach_from_world(const struct window *parent, pid_t pid)
{
	const uint64_t all[6] = { 0, UINT32_MAX, 0 }, none[6] = { 0 };
	struct tracee t = { .tid = pid, .tgid = pid, .state = TR_HELD };
	struct window w = { .t = &t, .saved = parent->saved, .ip = parent->ip };
	char path[40];
	int64_t ret;
	int err;

	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", pid);
	write_file(AT_FDCWD, path, "1000");
	err = window_call(&w, SYS_close_range, all, &ret);
	if (!err)
		err = window_call(&w, SYS_setsid, none, &ret);
	if (err)
		log_warn("warden: the copy %d keeps descriptors of its parent: %s", pid, strerror(-err));
}

/* In a window that is open; *ret is a copy also after an error, when its pid is not 0. */
static int make_copy(struct server *sv, struct window *w, struct copy *ret)
{
	int err = errand_fork(sv, w);

	if (w->born && !w->inner)
		kill(w->born, SIGKILL); /* nobody can tell which child of its parent it is */
	if (!w->born || !w->inner)
		return err ? err : -ECHILD;
	*ret = (struct copy){ .of = w->t->tgid, .pid = w->born, .inner = w->inner };
	*vec_push(&sv->copies) = *ret;
	journal_note(sv, "copy: pid %d (%d) of %d", ret->pid, ret->inner, ret->of);
	if (!err)
		err = await_child(ret->pid);
	if (!err)
		detach_from_world(w, ret->pid);
	return err;
}

/* Between waits_begin() and waits_end(). */
static int copy_of(struct server *sv, struct tracee *t, struct copy *ret)
{
	struct window w = { .ip = sv->space.syscall_ip, .caught = t->caught };
	int err = window_take(sv, t, NULL, &w), err2;

	if (err)
		return window_report(sv, t, err);
	err = make_copy(sv, &w, ret);
	err2 = window_close(sv, &w);
	if (w.lent)
		sv->space.changed = false; /* it will come back through that code */
	if (err2)
		return window_report(sv, t, err2);
	return err == -EOPNOTSUPP ? wd_fail(sv, err, "no code of ours can be placed in it") : err;
}

int wd_copy(struct server *sv, pid_t tgid, pid_t *ret_pid)
{
	struct tracee *t = tracee_find(sv, tgid);
	struct copy made = { 0 };
	int err;

	if (!t || t->state != TR_HELD)
		return wd_fail(sv, -ESRCH, "its first thread is not held");
	/* a frozen cgroup of version 1 would keep the copy from its first stop, any from being reaped */
	if (sv->fz.dirfd >= 0 && (!sv->fz.v2 || sv->fz.was_frozen))
		return wd_fail(sv, -EBUSY, "it is in a freezer cgroup");
	err = know_space(sv, tgid);
	if (err)
		return err;
	err = learn_caught(t);
	if (err)
		return window_report(sv, t, err);
	waits_begin(WAITS_SECOND);
	err = copy_of(sv, t, &made);
	waits_end();
	errand_forget(sv);
	*ret_pid = made.pid;
	return err;
}

/* ---- its end ---- */

/* The thread, which is held, makes the call. */
static int reap_by(struct server *sv, const struct copy *c, struct tracee *t)
{
	struct inject_call call = { .nr = SYS_wait4, .args = { c->inner, 0, __WALL | WNOHANG, 0 } };
	int err = wd_inject(sv, c->of, t->tid, &call, 1);

	if (err)
		return err;
	return call.ret < 0 && call.ret != -ECHILD ? (int)call.ret : 0;
}

/* A thread of the parent, held for this when it is not held anyway. */
static int reap_through(struct server *sv, const struct copy *c, pid_t tid)
{
	struct tracee *t = tracee_find(sv, tid);
	int err;

	if (t)
		return t->state == TR_HELD ? reap_by(sv, c, t) : -EBUSY;
	err = pt(PTRACE_SEIZE, tid, 0, PTRACE_O_TRACESYSGOOD);
	if (err)
		return err;
	t = tracee_add(sv, c->of, tid);
	pt(PTRACE_INTERRUPT, tid, 0, 0);
	err = tracee_hold(sv, t, now_us() + HOLD_TIMEOUT_US);
	sv->space.tgid = 0; /* it has been running */
	if (!err)
		err = reap_by(sv, c, t);
	tracees_detach(sv);
	return err;
}

static void end_copy(struct server *sv, const struct copy *c)
{
	int_list tids = { 0 };
	int status, err = -ESRCH;

	while (tracee_wait(c->pid, &status, now_us() + CHILD_TIMEOUT_US) == 0 && WIFSTOPPED(status))
		;
	proc_list_threads(c->of, &tids);
	for (size_t i = 0; i < tids.n && err; i++)
		err = reap_through(sv, c, tids.v[i]);
	vec_free(&tids);
	/* it may have ended: then init takes care of it */
	if (err && kill(c->of, 0) == 0)
		log_warn("warden: pid %d keeps a zombie (pid %d) until its end: %s", c->of, c->pid, strerror(-err));
}

void copies_end(struct server *sv)
{
	for (size_t i = 0; i < sv->copies.n; i++)
		kill(sv->copies.v[i].pid, SIGKILL);
	for (size_t i = 0; i < sv->copies.n; i++)
		end_copy(sv, &sv->copies.v[i]);
	vec_free(&sv->copies);
}

void copy_recover(const char *note, FILE *out)
{
	struct server *sv = xcalloc(1, sizeof(*sv));
	struct proc_stat st = { 0 };
	struct copy c = { 0 };
	sigset_t set, old;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, &old);
	sched_getaffinity(0, sizeof(sv->cpus), &sv->cpus);
	if (sscanf(note, "pid %d (%d) of %d", &c.pid, &c.inner, &c.of) == 3 && proc_read_stat(c.pid, 0, &st) == 0 &&
	    st.state == 'Z' && st.ppid == c.of) {
		end_copy(sv, &c);
		fprintf(out, "  %s\n", note);
	}
	leave_cpu(sv);
	sigprocmask(SIG_SETMASK, &old, NULL);
	vec_free(&sv->space.rw);
	free(sv);
}
