/* SPDX-License-Identifier: MIT */
/*
 * Tasks that share one descriptor table (CLONE_FILES) without being threads, and one that has a copy: what the
 * sharer opens and closes the parent sees, what the copy does nobody else sees.
 */
#include "prog.h"

#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>

static int *step;

static int is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

int main(int argc, char **argv)
{
	pid_t sharer, copy;
	int fd;

	prog_init(argc, argv);
	step = prog_shared(4096);
	fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0 && dup2(fd, 100) == 100 && dup2(fd, 101) == 101);
	sharer = syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, 0);
	CHECK(sharer >= 0);
	if (sharer == 0) {
		prog_wait_go();
		prog_wait_count(step, 1);
		CHECK(is_open(100) && is_open(101));
		close(100);
		CHECK(dup2(fd, 102) == 102);
		prog_count(step);
		prog_child_ok();
	}
	copy = fork();
	CHECK(copy >= 0);
	if (copy == 0) {
		prog_wait_go();
		prog_wait_count(step, 3);
		CHECK(is_open(100) && is_open(101) && !is_open(102));
		close(101);
		prog_child_ok();
	}
	prog_ready();
	CHECK(is_open(100) && is_open(101) && !is_open(102));
	CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC && fcntl(100, F_GETFD) == 0);
	prog_count(step);
	prog_wait_count(step, 2);
	CHECK(!is_open(100) && is_open(101) && is_open(102));
	prog_reap(sharer);
	prog_count(step);
	prog_reap(copy);
	CHECK(is_open(101) && is_open(102));
	prog_ok();
}
