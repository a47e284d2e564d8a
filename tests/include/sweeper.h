/* SPDX-License-Identifier: MIT */
/*
 * sweeper.h: takes away what a test leaves outside of its directory (queues, semaphores), also when
 * it fails or is killed.
 *
 * sweep_after(fn) makes a process that is not part of the tree and calls fn as soon as there is a
 * result, or the directory is gone. It holds no descriptor; what fn needs to know must be there
 * before, or lie in memory of prog_shared().
 */
#ifndef TESTS_SWEEPER_H
#define TESTS_SWEEPER_H

#include "prog.h"

static inline void sweep_after(void (*fn)(void))
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		if (fork())
			_exit(0);
		setsid();
		if (chdir("/") < 0)
			_exit(1);
		for (int fd = 0; fd < 100; fd++)
			close(fd);
		while (access(prog_dir, F_OK) == 0 && !prog_has("result"))
			prog_nap(10);
		fn();
		_exit(0);
	}
	CHECK(waitpid(pid, NULL, 0) == pid);
}

#endif
