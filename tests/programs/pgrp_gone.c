/* SPDX-License-Identifier: MIT */
/* A process group whose leader has exited and was reaped: its members still have that group. */
#include "prog.h"

#include <signal.h>

static int *up;
static pid_t *group;

static void member(void *arg)
{
	prog_count(up);
	prog_wait_go();
	CHECK(getpgid(0) == *group);
	CHECK(getsid(0) == getpgid(getppid()));
}

int main(int argc, char **argv)
{
	pid_t leader, pid[2];

	prog_init(argc, argv);
	up = prog_shared(4096);
	group = prog_shared(4096);
	leader = fork();
	CHECK(leader >= 0);
	if (leader == 0) {
		CHECK(setpgid(0, 0) == 0);
		prog_count(up);
		prog_wait_count(up, 3);
		_exit(PROG_CHILD_OK);
	}
	*group = leader;
	prog_wait_count(up, 1);
	for (int i = 0; i < 2; i++) {
		pid[i] = fork();
		CHECK(pid[i] >= 0);
		if (pid[i] == 0) {
			CHECK(setpgid(0, leader) == 0);
			member(NULL);
			prog_child_ok();
		}
	}
	prog_reap(leader);
	CHECK(kill(-leader, 0) == 0);
	prog_ready();
	CHECK(kill(-leader, 0) == 0);
	CHECK(kill(leader, 0) < 0 && errno == ESRCH);
	for (int i = 0; i < 2; i++)
		CHECK(getpgid(pid[i]) == leader);
	prog_reap(pid[0]);
	prog_reap(pid[1]);
	CHECK(kill(-leader, 0) < 0 && errno == ESRCH);
	prog_ok();
}
