/* SPDX-License-Identifier: MIT */
/* The execution domain's flags; a child has others. */
#include "prog.h"

#include <sys/personality.h>

static int *up;

static void child(void *arg)
{
	CHECK(personality(ADDR_NO_RANDOMIZE | ADDR_COMPAT_LAYOUT) >= 0);
	prog_count(up);
	prog_wait_go();
	CHECK(personality(0xffffffff) == (ADDR_NO_RANDOMIZE | ADDR_COMPAT_LAYOUT));
}

int main(int argc, char **argv)
{
	pid_t pid;

	prog_init(argc, argv);
	up = prog_shared(4096);
	CHECK(personality(UNAME26) >= 0);
	pid = prog_child(child, NULL);
	prog_wait_count(up, 1);
	prog_ready();
	CHECK(personality(0xffffffff) == UNAME26);
	prog_reap(pid);
	prog_ok();
}
