/* SPDX-License-Identifier: MIT */
/*
 * Threads that wait for locks that a child holds: flock, F_SETLKW and F_OFD_SETLKW; each gets its
 * own when the child lets go, not before.
 */
#include <sys/file.h>

#include "blocked.h"

#ifndef F_OFD_SETLKW
#define F_OFD_SETLKW 38
#endif
enum { FLOCK, POSIX, OFD, N };
static const char *const names[N] = { "flock", "posix", "ofd" };
static int *step; /* shared: [0] the child is ready, [1…] it shall let go */

static int open_lock(int n)
{
	int fd = open(names[n], O_RDWR | O_CREAT, 0600);

	CHECK(fd >= 0);
	return fd;
}

static int lock(int n, int fd, int type)
{
	struct flock l = { .l_type = type, .l_start = 10, .l_len = 20 };

	if (n == FLOCK)
		return flock(fd, type == F_UNLCK ? LOCK_UN : LOCK_EX);
	return fcntl(fd, n == POSIX ? F_SETLKW : F_OFD_SETLKW, &l);
}

static void holder(void *arg)
{
	int fd[N];

	for (int n = 0; n < N; n++) {
		fd[n] = open_lock(n);
		CHECK(lock(n, fd[n], F_WRLCK) == 0);
	}
	prog_count(step);
	for (int n = 0; n < N; n++) {
		while (!__atomic_load_n(&step[1 + n], __ATOMIC_SEQ_CST))
			prog_nap(10);
		CHECK(lock(n, fd[n], F_UNLCK) == 0);
	}
}

static int get(int n)
{
	int fd = open_lock(n);

	return lock(n, fd, F_WRLCK) < 0 ? -1 : lock(n, fd, F_UNLCK);
}

static int do_flock(void) { return get(FLOCK); }
static int do_posix(void) { return get(POSIX); }
static int do_ofd(void) { return get(OFD); }
static void free_flock(void) { prog_count(&step[1 + FLOCK]); }
static void free_posix(void) { prog_count(&step[1 + POSIX]); }
static void free_ofd(void) { prog_count(&step[1 + OFD]); }

static const struct blocked calls[] = { BLOCKED("flock", flock), BLOCKED("F_SETLKW", posix), BLOCKED("F_OFD_SETLKW", ofd) };

int main(int argc, char **argv)
{
	pid_t pid;

	prog_init(argc, argv);
	CHECK(chdir(prog_dir) == 0);
	step = prog_shared(4096);
	pid = prog_child(holder, NULL);
	prog_wait_count(step, 1);
	blocked_run(calls, sizeof(calls) / sizeof(calls[0]));
	prog_reap(pid);
	prog_ok();
}
