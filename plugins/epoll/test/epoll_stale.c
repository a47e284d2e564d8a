/* SPDX-License-Identifier: MIT */
/*
 * Entries whose number is closed, or is another file's by now, while the file lives under another
 * number; entries whose file only another process has; more than a thousand entries at once.
 */
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "prog.h"

#define MANY 1200 /* beyond what is asked for one by one */

static void add(int ep, int fd, uint64_t data)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = data };

	CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) == 0);
}

/* The one event that there is. */
static uint64_t event(int ep)
{
	struct epoll_event ev[8];

	CHECK(epoll_wait(ep, ev, 8, 5000) == 1);
	return ev[0].data.u64;
}

static void put(int fd)
{
	uint64_t one = 1;

	CHECK(write(fd, &one, sizeof(one)) == sizeof(one));
}

static void take(int fd)
{
	uint64_t v;

	CHECK(read(fd, &v, sizeof(v)) == sizeof(v));
}

int main(int argc, char **argv)
{
	int ep, closed, reused, other, childs, many[MANY], status;
	struct rlimit files;
	struct epoll_event ev;
	pid_t child;

	prog_init(argc, argv);
	CHECK(getrlimit(RLIMIT_NOFILE, &files) == 0);
	files.rlim_cur = files.rlim_max;
	CHECK(setrlimit(RLIMIT_NOFILE, &files) == 0);
	if (files.rlim_max < 2 * MANY)
		prog_skip("only %lu descriptors are allowed", (unsigned long)files.rlim_max);
	ep = epoll_create1(0);
	closed = eventfd(0, 0);
	reused = eventfd(0, 0);
	other = eventfd(0, 0);
	childs = eventfd(0, 0);
	CHECK(ep >= 0 && closed >= 0 && reused >= 0 && other >= 0 && childs >= 0);
	CHECK(dup2(closed, 2000) == 2000 && dup2(reused, 2001) == 2001);
	add(ep, 2000, 1);
	add(ep, 2001, 2);
	CHECK(close(2000) == 0 && dup2(other, 2001) == 2001);
	add(ep, childs, 3);
	for (int i = 0; i < MANY; i++) {
		many[i] = eventfd(0, 0);
		CHECK(many[i] >= 0);
		add(ep, many[i], 1000 + i);
	}
	child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		prog_wait_go();
		put(childs);
		while (!prog_has("childs"))
			prog_nap(10);
		_exit(0);
	}
	CHECK(close(childs) == 0);
	prog_ready();

	CHECK(event(ep) == 3);
	prog_write("childs", "1");
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	CHECK(epoll_wait(ep, &ev, 1, 0) == 0); /* its last holder took the entry along */
	CHECK(fcntl(2000, F_GETFD) < 0);
	put(2001);
	CHECK(epoll_wait(ep, &ev, 1, 0) == 0);
	put(closed);
	CHECK(event(ep) == 1);
	take(closed);
	put(reused);
	CHECK(event(ep) == 2);
	take(reused);
	for (int i = 0; i < MANY; i++) {
		put(many[i]);
		CHECK(event(ep) == 1000u + i);
		CHECK(epoll_ctl(ep, EPOLL_CTL_DEL, many[i], NULL) == 0);
	}
	prog_ok();
}
