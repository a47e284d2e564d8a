/* SPDX-License-Identifier: MIT */
/* Interest lists: data, edge-triggered, one-shot, exclusive and nested entries, and that the keys still work.
 */
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "prog.h"

#define BIG 0x1122334455667788ull

static void add(int ep, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event ev = { .events = events, .data.u64 = data };

	CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) == 0);
}

/* Number of events; *ret_data of the first. */
static int events(int ep, uint64_t *ret_data)
{
	struct epoll_event ev[8];
	int n = epoll_wait(ep, ev, 8, 0);

	CHECK(n >= 0);
	if (n)
		*ret_data = ev[0].data.u64;
	return n;
}

static void add_one(int fd)
{
	uint64_t one = 1;

	CHECK(write(fd, &one, sizeof(one)) == sizeof(one));
}

int main(int argc, char **argv)
{
	int p[2], hung[2], level, edge, once, excl, ep, outer, side;
	struct epoll_event ev = { .events = EPOLLIN };
	uint64_t data = 0;

	prog_init(argc, argv);
	CHECK(pipe(p) == 0 && pipe(hung) == 0 && close(hung[1]) == 0);
	level = eventfd(0, 0);
	edge = eventfd(0, 0);
	once = eventfd(1, 0);
	excl = eventfd(0, 0);
	ep = epoll_create1(EPOLL_CLOEXEC);
	outer = epoll_create1(0);
	side = epoll_create1(0);
	CHECK(level >= 0 && edge >= 0 && once >= 0 && excl >= 0 && ep >= 0 && outer >= 0 && side >= 0);
	add(ep, p[0], EPOLLIN, BIG);
	add(ep, level, EPOLLIN, 2);
	add(ep, edge, EPOLLIN | EPOLLET, 3);
	add(ep, excl, EPOLLIN | EPOLLEXCLUSIVE, 4);
	add(outer, ep, EPOLLIN, 5);
	add(side, once, EPOLLIN | EPOLLONESHOT, 6);
	add(side, hung[0], EPOLLIN | EPOLLONESHOT, 7);
	CHECK(events(side, &data) == 2 && events(side, &data) == 0);
	prog_ready();

	CHECK(fcntl(ep, F_GETFD) == FD_CLOEXEC && fcntl(outer, F_GETFD) == 0);
	CHECK(events(ep, &data) == 0 && events(outer, &data) == 0);
	CHECK(events(side, &data) == 0); /* both were reported once and are disarmed */
	CHECK(write(p[1], "x", 1) == 1);
	CHECK(events(outer, &data) == 1 && data == 5);
	CHECK(events(ep, &data) == 1 && data == BIG);
	CHECK(epoll_ctl(ep, EPOLL_CTL_DEL, p[0], NULL) == 0 && events(ep, &data) == 0);
	add_one(edge);
	CHECK(events(ep, &data) == 1 && data == 3 && events(ep, &data) == 0);
	add_one(level);
	CHECK(events(ep, &data) == 1 && data == 2 && events(ep, &data) == 1);
	CHECK(epoll_ctl(ep, EPOLL_CTL_DEL, level, NULL) == 0);
	add_one(excl);
	CHECK(events(ep, &data) == 1 && data == 4);
	ev.data.u64 = 8;
	CHECK(epoll_ctl(side, EPOLL_CTL_MOD, once, &ev) == 0 && events(side, &data) == 1 && data == 8);
	CHECK(epoll_ctl(side, EPOLL_CTL_ADD, hung[0], &ev) < 0 && errno == EEXIST);
	prog_ok();
}
