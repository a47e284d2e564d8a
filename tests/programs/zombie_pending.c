/* SPDX-License-Identifier: MIT */
/* A zombie whose SIGCHLD is still pending, blocked: one siginfo, with the child's facts, comes out of it. */
#include "prog.h"

#include <signal.h>

int main(int argc, char **argv)
{
	struct timespec none = { 0, 0 };
	siginfo_t si;
	sigset_t set;
	pid_t pid;
	int st;

	prog_init(argc, argv);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0)
		_exit(9);
	prog_wait_state(pid, pid, 'Z');
	prog_ready();
	CHECK(sigtimedwait(&set, &si, &none) == SIGCHLD);
	CHECK(si.si_pid == pid && si.si_code == CLD_EXITED && si.si_status == 9 && si.si_uid == getuid());
	CHECK(sigtimedwait(&set, &si, &none) < 0 && errno == EAGAIN);
	CHECK(waitpid(pid, &st, 0) == pid && WIFEXITED(st) && WEXITSTATUS(st) == 9);
	prog_ok();
}
