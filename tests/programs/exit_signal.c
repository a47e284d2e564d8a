/* SPDX-License-Identifier: MIT */
/* Children made by clone(2) with another exit signal than SIGCHLD, or none: alive and as a zombie. */
#include "prog.h"

#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>

static volatile int usr1, chld;

static void on_sig(int sig)
{
	if (sig == SIGUSR1)
		usr1++;
	else
		chld++;
}

static pid_t make(int sig, int at_once)
{
	pid_t pid = syscall(SYS_clone, sig, NULL, NULL, NULL, 0);

	CHECK(pid >= 0);
	if (pid == 0) {
		if (!at_once)
			prog_wait_go();
		_exit(at_once ? 5 : 6);
	}
	if (at_once)
		prog_wait_state(pid, pid, 'Z');
	return pid;
}

static void reap(pid_t pid, int code)
{
	int st;

	CHECK(waitpid(pid, &st, 0) < 0 && errno == ECHILD);
	CHECK(waitpid(pid, &st, __WCLONE) == pid && WIFEXITED(st) && WEXITSTATUS(st) == code);
}

int main(int argc, char **argv)
{
	pid_t live_usr1, live_none, dead_usr1, dead_none;

	prog_init(argc, argv);
	signal(SIGUSR1, on_sig);
	signal(SIGCHLD, on_sig);
	live_usr1 = make(SIGUSR1, 0);
	live_none = make(0, 0);
	dead_usr1 = make(SIGUSR1, 1);
	dead_none = make(0, 1);
	CHECK(usr1 == 1 && chld == 0);
	prog_ready();
	reap(dead_usr1, 5);
	reap(dead_none, 5);
	prog_wait_state(live_usr1, live_usr1, 'Z');
	prog_wait_state(live_none, live_none, 'Z');
	CHECK(usr1 == 2 && chld == 0);
	reap(live_usr1, 6);
	reap(live_none, 6);
	prog_ok();
}
