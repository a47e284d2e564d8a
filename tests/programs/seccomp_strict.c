/* SPDX-License-Identifier: MIT */
/* Strict seccomp: read, write and exit work, anything else kills. */
#include "prog.h"

#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static int to[2], from[2];

static pid_t strict(int bad)
{
	pid_t pid = fork();
	char c;

	CHECK(pid >= 0);
	if (pid)
		return pid;
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT))
		_exit(3);
	write(from[1], "u", 1);
	if (read(to[0], &c, 1) == 1 && bad)
		syscall(SYS_getpid);
	write(from[1], "d", 1);
	syscall(SYS_exit, 7);
	return 0;
}

int main(int argc, char **argv)
{
	char c[2];
	pid_t good, bad;
	int st;

	prog_init(argc, argv);
	if (!prog_all_ids())
		prog_skip("seccomp cannot be suspended in a user namespace");
	CHECK(pipe(to) == 0 && pipe(from) == 0);
	good = strict(0);
	bad = strict(1);
	CHECK(read(from[0], &c[0], 1) == 1 && read(from[0], &c[1], 1) == 1);
	prog_ready();
	CHECK(prog_status(good, good, "Seccomp", 10) == 1);
	CHECK(prog_status(bad, bad, "Seccomp", 10) == 1);
	CHECK(write(to[1], "gg", 2) == 2);
	CHECK(waitpid(good, &st, 0) == good && WIFEXITED(st) && WEXITSTATUS(st) == 7);
	CHECK(waitpid(bad, &st, 0) == bad && WIFSIGNALED(st) && WTERMSIG(st) == SIGKILL);
	CHECK(read(from[0], c, 1) == 1 && c[0] == 'd');
	prog_ok();
}
