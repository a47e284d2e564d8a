/* SPDX-License-Identifier: MIT */
/* Counters of eventfds, semaphores, flags, sharing by dup(2) and by fork(2). */
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/wait.h>

#include "prog.h"

static void put(int fd, uint64_t v)
{
	CHECK(write(fd, &v, sizeof(v)) == sizeof(v));
}

static uint64_t get(int fd)
{
	uint64_t v = 0;

	CHECK(read(fd, &v, sizeof(v)) == sizeof(v));
	return v;
}

int main(int argc, char **argv)
{
	int plain, sem, full, zero, shared, twin, status;
	uint64_t one = 1;
	pid_t child;

	prog_init(argc, argv);
	plain = eventfd(7, 0);
	sem = eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK);
	full = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	zero = eventfd(0, EFD_NONBLOCK);
	shared = eventfd(0, 0);
	CHECK(plain >= 0 && sem >= 0 && full >= 0 && zero >= 0 && shared >= 0);
	put(full, 0xfffffffffffffffeull);
	twin = dup(plain);
	child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		prog_wait_go();
		put(shared, 5);
		_exit(0);
	}
	prog_ready();

	CHECK(get(shared) == 5);
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	CHECK(fcntl(plain, F_GETFL) == O_RDWR && fcntl(sem, F_GETFL) == (O_RDWR | O_NONBLOCK));
	CHECK(fcntl(full, F_GETFD) == FD_CLOEXEC && fcntl(plain, F_GETFD) == 0);
	put(twin, 1);
	CHECK(get(plain) == 8);
	CHECK(get(sem) == 1 && get(sem) == 1);
	CHECK(read(sem, &one, sizeof(one)) < 0 && errno == EAGAIN);
	one = 1;
	CHECK(write(full, &one, sizeof(one)) < 0 && errno == EAGAIN);
	CHECK(get(full) == 0xfffffffffffffffeull);
	CHECK(read(zero, &one, sizeof(one)) < 0 && errno == EAGAIN);
	prog_ok();
}
