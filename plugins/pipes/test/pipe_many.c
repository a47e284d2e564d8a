/* SPDX-License-Identifier: MIT */
/*
 * pipe_many.c: so many pipes that a user without privileges gets only small ones: each keeps its byte, and, when this user may
 * have that, its size.  Which ones are small depends on what else the user has.
 */
#include "prog.h"

#include <sys/resource.h>

#define PIPES 1200 /* fs.pipe-user-pages-soft is 1024 pipes of the usual size */

int main(int argc, char **argv)
{
	static int fd[PIPES][2], size[PIPES];
	struct rlimit rl;
	unsigned char c;

	prog_init(argc, argv);
	CHECK(getrlimit(RLIMIT_NOFILE, &rl) == 0);
	rl.rlim_cur = rl.rlim_max;
	CHECK(setrlimit(RLIMIT_NOFILE, &rl) == 0);
	if (rl.rlim_max < 4 * PIPES)
		prog_skip("only %lu descriptors are allowed", (unsigned long)rl.rlim_max);
	for (int i = 0; i < PIPES; i++) {
		c = i;
		CHECK(pipe(fd[i]) == 0 && write(fd[i][1], &c, 1) == 1);
		size[i] = fcntl(fd[i][0], F_GETPIPE_SZ);
	}
	prog_ready();
	for (int i = 0; i < PIPES; i++) {
		if (fcntl(fd[i][0], F_GETPIPE_SZ) != size[i] && size[PIPES - 1] == size[0])
			prog_fail("pipe %d is %d bytes large, not %d", i, fcntl(fd[i][0], F_GETPIPE_SZ), size[i]);
		CHECK(read(fd[i][0], &c, 1) == 1 && c == (i & 255));
		c = i;
		CHECK(write(fd[i][1], &c, 1) == 1 && read(fd[i][0], &c, 1) == 1);
	}
	prog_ok();
}
