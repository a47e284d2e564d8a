/* SPDX-License-Identifier: MIT */
/* Messages that were not read are lost at the restore, and the program is told so, once: ENOBUFS, then it asks again. */
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "prog.h"

static int made(void)
{
	struct sockaddr_nl a = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
	return fd;
}

static void ask(int fd)
{
	struct {
		struct nlmsghdr h;
		struct rtgenmsg g;
	} q = { { sizeof(q), RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, 1, 0 }, { AF_UNSPEC } };

	CHECK(send(fd, &q, sizeof(q), 0) == sizeof(q));
}

/* Type of the next message that is not to be ignored; 0: none. */
static int next(int fd)
{
	union {
		struct nlmsghdr h;
		char room[32768];
	} u;
	ssize_t n;

	while ((n = recv(fd, &u, sizeof(u), MSG_DONTWAIT)) > 0) {
		CHECK(n >= (ssize_t)sizeof(u.h) && NLMSG_OK(&u.h, n));
		if (u.h.nlmsg_type != NLMSG_NOOP)
			return u.h.nlmsg_type;
	}
	CHECK(n < 0 && errno == EAGAIN);
	return 0;
}

int main(int argc, char **argv)
{
	int told, quiet, one = 1, size = 0, was = 0;
	socklen_t len = sizeof(int);
	char c;

	prog_init(argc, argv);
	told = made();
	quiet = made();
	CHECK(setsockopt(quiet, SOL_NETLINK, NETLINK_NO_ENOBUFS, &one, sizeof(one)) == 0);
	CHECK(getsockopt(told, SOL_SOCKET, SO_RCVBUF, &was, &len) == 0);
	ask(told);
	ask(quiet);
	prog_ready();

	CHECK(recv(told, &c, 1, MSG_DONTWAIT) < 0 && errno == ENOBUFS);
	CHECK(next(told) == 0 && next(quiet) == 0);
	CHECK(getsockopt(told, SOL_SOCKET, SO_RCVBUF, &size, &len) == 0 && size == was);
	ask(told);
	ask(quiet);
	CHECK(next(told) == RTM_NEWLINK && next(quiet) == RTM_NEWLINK);
	prog_ok();
}
