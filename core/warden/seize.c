/* SPDX-License-Identifier: MIT */
/*
 * Seizing one thread, and why that was refused.
 *
 * The kernel makes a tracer wait while the process executes another program.  An exec with several threads waits in turn
 * until all others are dead and reaped, and one of them may be a tracee of ours by then, which only we can reap: while
 * threads are seized, a timer's handler does it.  The handler also ends a wait that takes too long (the call by itself
 * is taken up again after every signal).
 */
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fault.h"

#define REAP_EVERY_US 20000
#define EPERM_TRIES 3

/* What the handler needs. */
static struct {
	struct server *sv;
	sigjmp_buf out;
	uint64_t deadline;
	uint64_t reaped; /* when the handler last ended, in us */
	pid_t pid;	 /* the process that is being seized */
	volatile sig_atomic_t armed; /* a call is under way that `out` leaves */
} wait_for;

/* An exec waits for threads of its own process.  Stops are left for others; a wait for any tracee would take them. */
static void reap_dead(struct server *sv, pid_t pid)
{
	FOR_EACH_TRACEE(t, sv) {
		siginfo_t si = { 0 };

		if (t->tgid != pid)
			continue;
		if (waitid(P_PID, t->tid, &si, WEXITED | WNOHANG | WNOWAIT | __WALL) == 0 && si.si_pid &&
		    si.si_code != CLD_TRAPPED && si.si_code != CLD_STOPPED)
			waitid(P_PID, t->tid, &si, WEXITED | WNOHANG | __WALL);
	}
}

/*
 * Only while the call lasts: then nobody else works on the table.  The kernel begins the call anew after every signal, so
 * however long the look at thousands of threads takes, the call gets as much time in between.
 */
static void on_timer(int sig)
{
	int saved = errno;

	(void)sig;
	if (!wait_for.armed)
		return;
	if (now_us() - wait_for.reaped >= REAP_EVERY_US) {
		reap_dead(wait_for.sv, wait_for.pid);
		wait_for.reaped = now_us();
	}
	errno = saved;
	if (now_us() >= wait_for.deadline)
		siglongjmp(wait_for.out, 1);
}

void seizes_begin(struct server *sv, uint64_t deadline)
{
	wait_for.sv = sv;
	wait_for.deadline = deadline;
	/* left by a jump, the handler must not leave the signal blocked */
	alarms_begin(REAP_EVERY_US, on_timer, SA_RESTART | SA_NODEFER);
}

/* PTRACE_SEIZE; -ETIMEDOUT when the deadline has passed in it. */
static int attach(pid_t pid, pid_t tid)
{
	int err = FAULT("ptrace SEIZE %#x of %d", PTRACE_SEIZE, tid);

	if (err)
		return err;
	if (sigsetjmp(wait_for.out, 0)) {
		wait_for.armed = 0;
		return -ETIMEDOUT;
	}
	wait_for.pid = pid;
	wait_for.armed = 1;
	err = ptrace(PTRACE_SEIZE, tid, NULL, PTRACE_O_TRACESYSGOOD) < 0 ? -errno : 0;
	wait_for.armed = 0;
	return err;
}

const char *yama_hint(void)
{
	_cleanup_buf_ struct buf b = { 0 };
	int scope = read_file(AT_FDCWD, "/proc/sys/kernel/yama/ptrace_scope", &b) == 0 && b.len ? atoi(b.p) : 0;

	switch (scope) {
	case 1:
		return " (kernel.yama.ptrace_scope is 1: only ancestors may trace; anybody else needs CAP_SYS_PTRACE: run "
		"stasis as "
		       "root, or set it to 0)";
	case 2:
		return " (kernel.yama.ptrace_scope is 2: tracing needs CAP_SYS_PTRACE: run stasis as root, or set it to 0)";
	case 3:
		return " (kernel.yama.ptrace_scope is 3: nobody may trace until this machine is booted again)";
	}
	return "";
}

/* What the kernel has looked at, see ptrace(2), as far as it can be seen. */
static const char *why_not(const struct proc_status *st, pid_t pid)
{
	char path[32];
	struct stat file;

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	for (int i = 0; i < 3; i++)
		if (st->uid[i] != getuid() || st->gid[i] != getgid())
			return "it is another user's, or setuid or setgid; that needs CAP_SYS_PTRACE (run stasis as root)";
	if (stat(path, &file) == 0 && file.st_uid != st->uid[1])
		return "it is not dumpable (PR_SET_DUMPABLE, or its program may not be read or had more rights); that needs "
		       "CAP_SYS_PTRACE (run stasis as root)";
	if (st->cap_prm)
		return "it has capabilities that stasis lacks; that needs CAP_SYS_PTRACE (run stasis as root)";
	return *yama_hint() ? "the Yama security module does not allow it" :
			      "a security module does not allow it; CAP_SYS_PTRACE may be needed (run stasis as root)";
}

/* Why PTRACE_SEIZE was refused. 1: the thread is ours already; 0: nothing to trace; -errno: recorded. */
static int explain_refusal(struct server *sv, pid_t pid, pid_t tid, int err)
{
	struct proc_status st = { 0 }, by = { 0 };
	int ret = 0;

	if (err == -ESRCH || proc_read_status(pid, tid, &st) < 0)
		goto out;
	if (st.state == 'Z' || st.state == 'X')
		goto out;
	if (st.tracer == getpid()) {
		ret = 1;
	} else if (st.tracer) {
		proc_read_status(st.tracer, 0, &by);
		ret = wd_fail(sv, -EBUSY, "pid %d (%s) is traced by pid %d (%s); end that program first", tid, st.comm,
			      st.tracer, by.comm[0] ? by.comm : "outside this pid namespace");
	} else {
		ret = wd_fail(sv, err, "pid %d (%s) must not be traced: %s%s", tid, st.comm, why_not(&st, pid), yama_hint());
	}
out:
	proc_status_free(&by);
	proc_status_free(&st);
	return ret;
}

/*
 * EPERM may also mean that it was dying.  A thread that executes a program takes over the number of its leader, which has
 * died: then there is somebody again.
 */
static int attach_surely(pid_t pid, pid_t tid)
{
	struct proc_stat st = { 0 };
	int err = attach(pid, tid);

	for (int i = 0; i < EPERM_TRIES && err == -EPERM; i++) {
		if (proc_read_stat(pid, tid, &st) < 0 || st.state == 'Z' || st.state == 'X')
			return -ESRCH;
		err = attach(pid, tid);
	}
	return err;
}

int tracee_seize(struct server *sv, pid_t pid, pid_t tid)
{
	int err = attach_surely(pid, tid);

	if (sv->fz.seizes)
		__atomic_add_fetch(sv->fz.seizes, 1, __ATOMIC_RELAXED);
	if (err == -ETIMEDOUT)
		return wd_fail(sv, err, "pid %d (thread %d) could not be stopped in time: it executes another program and has "
			       "not finished that; see --timeout", pid, tid);
	err = err ? explain_refusal(sv, pid, tid, err) : 1;
	if (err != 1)
		return err;
	pt_sure(PTRACE_INTERRUPT, tid, 0, 0);
	tracee_add(sv, pid, tid);
	return 1;
}
