/* SPDX-License-Identifier: MIT */
/* A daemon by double fork below a subreaper: its session's leader is gone, its parent is the subreaper. */
#include "prog.h"

#include <signal.h>
#include <sys/prctl.h>

static pid_t *ids; /* daemon's pid, sid, pgid, child's pid */
static int *up;

static void child(void *arg)
{
	prog_count(up);
	prog_wait_go();
	CHECK(getsid(0) == ids[1] && getpgid(0) == ids[2]);
}

static void daemon_main(void)
{
	pid_t c;

	while (getppid() != ids[4])
		prog_nap(5);
	ids[0] = getpid();
	ids[1] = getsid(0);
	ids[2] = getpgid(0);
	c = prog_child(child, NULL);
	ids[3] = c;
	prog_count(up);
	prog_wait_go();
	CHECK(getpid() == ids[0] && getppid() == ids[4]);
	CHECK(getsid(0) == ids[1] && getpgid(0) == ids[2]);
	CHECK(ids[1] != ids[0]);
	prog_reap(c);
	prog_child_ok();
}

int main(int argc, char **argv)
{
	pid_t first;
	int sub = 0;

	prog_init(argc, argv);
	ids = prog_shared(4096);
	up = prog_shared(4096);
	CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
	ids[4] = getpid();
	first = fork();
	CHECK(first >= 0);
	if (first == 0) {
		CHECK(setsid() == getpid());
		if (fork() == 0)
			daemon_main();
		_exit(PROG_CHILD_OK);
	}
	prog_reap(first);
	prog_wait_count(up, 2);
	CHECK(ids[1] == first);
	prog_ready();
	CHECK(prctl(PR_GET_CHILD_SUBREAPER, &sub) == 0 && sub == 1);
	CHECK(kill(first, 0) < 0 && errno == ESRCH);
	prog_reap(ids[0]);
	CHECK(waitpid(-1, NULL, 0) < 0 && errno == ECHILD);
	prog_ok();
}
