/* SPDX-License-Identifier: MIT */
/* Twenty generations, one child each: every task keeps its pid, its parent and its child. */
#include "prog.h"

#define DEPTH 20

static pid_t *pids;
static int *up;

static void generation(int n)
{
	pid_t child = 0;

	pids[n] = getpid();
	if (n + 1 < DEPTH) {
		child = fork();
		CHECK(child >= 0);
		if (child == 0) {
			generation(n + 1);
			prog_child_ok();
		}
	}
	prog_count(up);
	if (n == 0) {
		prog_wait_count(up, DEPTH);
		prog_ready();
	} else {
		prog_wait_go();
	}
	CHECK(getpid() == pids[n]);
	CHECK(n == 0 || getppid() == pids[n - 1]);
	if (child) {
		CHECK(child == pids[n + 1]);
		prog_reap(child);
	}
}

int main(int argc, char **argv)
{
	prog_init(argc, argv);
	pids = prog_shared(4096);
	up = prog_shared(4096);
	generation(0);
	prog_ok();
}
