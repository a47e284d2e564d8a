/* SPDX-License-Identifier: MIT */
/* What is given up with --policy KIND=close: numbers stay taken, sockets and pipes find that the other side has closed. */
#include <poll.h>
#include <signal.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/socket.h>

#include "prog.h"

static int ready_on(int ep)
{
	struct epoll_event ev;

	return epoll_wait(ep, &ev, 1, 0) == 1 ? (int)ev.data.u32 : -1;
}

static void watch(int ep, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u32 = fd };

	CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) == 0);
}

static int listener(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(fd, 5) == 0);
	return fd;
}

int main(int argc, char **argv)
{
	int ev, p[2], sv[2], ls, file, ep, ep2, spare;
	char c;

	prog_init(argc, argv);
	signal(SIGPIPE, SIG_IGN);
	ev = eventfd(7, EFD_NONBLOCK);
	CHECK(ev >= 0 && pipe(p) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, sv) == 0);
	CHECK(write(p[1], "x", 1) == 1 && write(sv[0], "y", 1) == 1);
	ls = listener();
	CHECK(chdir(prog_dir) == 0);
	file = open("given-up.log", O_RDWR | O_CREAT | O_APPEND, 0600);
	CHECK(file >= 0 && write(file, "old", 3) == 3 && flock(file, LOCK_EX) == 0);
	ep = epoll_create1(0);
	ep2 = epoll_create1(0);
	watch(ep, ev);
	watch(ep, sv[1]);
	watch(ep2, ev);
	CHECK(ready_on(ep2) == ev);
	prog_ready();

	CHECK(ready_on(ep2) == -1);   /* /dev/null cannot be watched */
	CHECK(ready_on(ep) == sv[1]); /* hung up */
	CHECK(read(ev, &c, 1) == 0);
	CHECK(read(p[0], &c, 1) == 0);
	CHECK(write(p[1], "x", 1) == -1 && errno == EPIPE);
	CHECK(read(sv[0], &c, 1) == 0 && read(sv[1], &c, 1) == 0);
	CHECK(send(sv[0], "x", 1, 0) == -1 && errno == EPIPE);
	CHECK(accept(ls, NULL, NULL) == -1 && errno == EAGAIN);
	CHECK(write(file, "new", 3) == 3);
	spare = open("given-up.log", O_RDONLY);
	CHECK(spare > ep2 && lseek(spare, 0, SEEK_END) == 3);
	CHECK(flock(spare, LOCK_EX | LOCK_NB) == 0); /* nobody has it */
	prog_ok();
}
