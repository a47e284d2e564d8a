/* SPDX-License-Identifier: MIT */
/* A hundred children of one parent, each with memory of its own. */
#include "prog.h"

#define CHILDREN 100

static int *up;
static int mine;

static void child(void *arg)
{
	mine = (int)(long)arg;
	prog_count(up);
	while (!prog_has("go"))
		prog_nap(150);
	CHECK(mine == (int)(long)arg);
}

int main(int argc, char **argv)
{
	pid_t pid[CHILDREN];

	prog_init(argc, argv);
	up = prog_shared(4096);
	for (long i = 0; i < CHILDREN; i++)
		pid[i] = prog_child(child, (void *)(i * 3 + 1));
	prog_wait_count(up, CHILDREN);
	prog_ready();
	CHECK(mine == 0);
	for (int i = 0; i < CHILDREN; i++)
		prog_reap(pid[i]);
	CHECK(waitpid(-1, NULL, 0) < 0 && errno == ECHILD);
	prog_ok();
}
