/* SPDX-License-Identifier: MIT */
/* Descriptors of a thread that is not the first one: two numbers of one, close-on-exec, in an epoll; they tell its end. */
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/syscall.h>

#include "prog.h"

#define PIDFD_THREAD_ O_EXCL

static pid_t tid;
static int stop;

static void *body(void *arg)
{
	__atomic_store_n(&tid, gettid(), __ATOMIC_SEQ_CST);
	while (!__atomic_load_n(&stop, __ATOMIC_SEQ_CST))
		prog_nap(5);
	return NULL;
}

static int ended(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, ms) == 1 && (p.revents & POLLIN);
}

int main(int argc, char **argv)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u32 = 5 };
	int fd, copy, nonblock, ep;
	pthread_t t;

	prog_init(argc, argv);
	CHECK(pthread_create(&t, NULL, body, NULL) == 0);
	while (!__atomic_load_n(&tid, __ATOMIC_SEQ_CST))
		prog_nap(5);
	fd = syscall(SYS_pidfd_open, tid, PIDFD_THREAD_);
	if (fd < 0 && errno == EINVAL)
		prog_skip("the kernel has no PIDFD_THREAD (6.9)");
	copy = fcntl(fd, F_DUPFD, 40);
	nonblock = syscall(SYS_pidfd_open, tid, PIDFD_THREAD_ | O_NONBLOCK);
	ep = epoll_create1(EPOLL_CLOEXEC);
	CHECK(fd >= 0 && copy >= 40 && nonblock >= 0 && ep >= 0 && !epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
	CHECK(!ended(fd, 0));
	prog_ready();

	CHECK(!ended(fd, 0) && !ended(copy, 0) && !ended(nonblock, 0));
	CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC && fcntl(copy, F_GETFD) == 0);
	CHECK((fcntl(nonblock, F_GETFL) & O_NONBLOCK) && !(fcntl(fd, F_GETFL) & O_NONBLOCK));
	CHECK(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0) == 0);
	CHECK(epoll_wait(ep, &ev, 1, 0) == 0);
	__atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
	CHECK(ended(fd, 5000) && ended(copy, 5000) && ended(nonblock, 5000));
	CHECK(epoll_wait(ep, &ev, 1, 5000) == 1 && ev.data.u32 == 5);
	prog_ok();
}
