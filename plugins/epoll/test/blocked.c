/* SPDX-License-Identifier: MIT */
/*
 * Threads in epoll_wait, epoll_pwait and epoll_pwait2, one of them at a set within a set: each
 * comes back with its event.
 */
#include <signal.h>
#include <sys/epoll.h>
#include <sys/syscall.h>

#include "blocked.h"

enum { WAIT, PWAIT, PWAIT2, INNER, OUTER, N };
static int ep[N], p[N][2];

static void add(int set, int fd, unsigned value)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = value };

	CHECK(epoll_ctl(set, EPOLL_CTL_ADD, fd, &ev) == 0);
}

static int right(int n, const struct epoll_event *ev, unsigned value)
{
	return n == 1 && ev->events == EPOLLIN && ev->data.u64 == value ? 0 : -1;
}

static int do_wait(void)
{
	struct epoll_event ev[4];
	int n = epoll_wait(ep[WAIT], ev, 4, -1);

	return right(n, ev, 11);
}

static int do_pwait(void)
{
	struct epoll_event ev[4];
	sigset_t set;
	int n;

	sigfillset(&set);
	n = epoll_pwait(ep[PWAIT], ev, 4, -1, &set);
	return right(n, ev, 12);
}

static int do_pwait2(void)
{
	struct epoll_event ev[4];
	int n = syscall(441, ep[PWAIT2], ev, 4, NULL, NULL, 8);

	return right(n, ev, 13);
}

static int do_outer(void)
{
	struct epoll_event ev[4];
	int n = epoll_wait(ep[OUTER], ev, 4, -1);

	if (right(n, ev, 15) < 0)
		return -1;
	n = epoll_wait(ep[INNER], ev, 4, 0);
	return right(n, ev, 14);
}

static void put(int fd) { CHECK(write(fd, "x", 1) == 1); }
static void free_wait(void) { put(p[WAIT][1]); }
static void free_pwait(void) { put(p[PWAIT][1]); }
static void free_pwait2(void) { put(p[PWAIT2][1]); }
static void free_outer(void) { put(p[INNER][1]); }

static const struct blocked calls[] = {
	BLOCKED("epoll_wait", wait),	BLOCKED("epoll_pwait", pwait),	 BLOCKED("epoll_pwait2", pwait2),
	BLOCKED("a set in a set", outer),
};

int main(int argc, char **argv)
{
	prog_init(argc, argv);
	for (int i = 0; i < N; i++) {
		ep[i] = epoll_create1(0);
		CHECK(ep[i] >= 0 && pipe(p[i]) == 0);
	}
	for (int i = 0; i < OUTER; i++)
		add(ep[i], p[i][0], 11 + i);
	add(ep[OUTER], ep[INNER], 15);
	if (syscall(441, ep[PWAIT2], &(struct epoll_event){ 0 }, 1, &(struct timespec){ 0, 0 }, NULL, 8) < 0)
		prog_skip("this kernel has no epoll_pwait2 (Linux 5.11): %s", strerror(errno));
	blocked_run(calls, sizeof(calls) / sizeof(calls[0]));
	prog_ok();
}
