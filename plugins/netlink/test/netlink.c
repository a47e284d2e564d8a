/* SPDX-License-Identifier: MIT */
/* Netlink sockets: port number, groups below and above 32, options; a request is answered afterwards. */
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdint.h>
#include <sys/socket.h>

#include "prog.h"

static int made(int protocol, uint32_t groups)
{
	struct sockaddr_nl a = { .nl_family = AF_NETLINK, .nl_groups = groups };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);

	CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
	return fd;
}

static struct sockaddr_nl name_of(int fd)
{
	struct sockaddr_nl a;
	socklen_t len = sizeof(a);

	CHECK(getsockname(fd, (struct sockaddr *)&a, &len) == 0);
	return a;
}

static void ask(int fd)
{
	struct {
		struct nlmsghdr h;
		struct rtgenmsg g;
	} q = { { sizeof(q), RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, 1, 0 }, { AF_UNSPEC } };
	char buf[16384];

	CHECK(send(fd, &q, sizeof(q), 0) == sizeof(q) && recv(fd, buf, sizeof(buf), 0) > (ssize_t)sizeof(struct nlmsghdr));
}

int main(int argc, char **argv)
{
	int route, event, fresh, one = 1, others[3];
	static const int protocols[3] = { NETLINK_AUDIT, NETLINK_NETFILTER, NETLINK_GENERIC };
	unsigned int group = 36 /* RTNLGRP_NEXTHOP and later */;
	struct sockaddr_nl a, b;
	uint32_t words[8] = { 0 };
	socklen_t len = sizeof(one);

	prog_init(argc, argv);
	/* groups that stay silent */
	route = made(NETLINK_ROUTE, 1u << (RTNLGRP_TC - 1));
	CHECK(setsockopt(route, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) == 0);
	CHECK(setsockopt(route, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof(one)) == 0);
	event = made(NETLINK_KOBJECT_UEVENT, 0);
	CHECK(setsockopt(event, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)) == 0);
	fresh = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, NETLINK_ROUTE);
	CHECK(fresh >= 0);
	a = name_of(route);
	/* as dbus-daemon and tools of netfilter have them; no kernel need have all */
	others[0] = socket(AF_NETLINK, SOCK_RAW, NETLINK_AUDIT);
	others[1] = socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
	others[2] = socket(AF_NETLINK, SOCK_RAW, NETLINK_GENERIC);
	prog_ready();

	for (int i = 0; i < 3; i++) {
		int protocol = -1;

		len = sizeof(protocol);
		CHECK(others[i] < 0 || getsockopt(others[i], SOL_SOCKET, SO_PROTOCOL, &protocol, &len) == 0);
		CHECK(others[i] < 0 || protocol == protocols[i]);
	}
	b = name_of(route);
	CHECK(a.nl_pid && !memcmp(&a, &b, sizeof(a)));
	CHECK(name_of(event).nl_pid && name_of(fresh).nl_pid == 0 && fcntl(fresh, F_GETFL) & O_NONBLOCK);
	one = 0;
	CHECK(getsockopt(route, SOL_NETLINK, NETLINK_EXT_ACK, &one, &len) == 0 && one == 1);
	one = 0;
	CHECK(getsockopt(event, SOL_SOCKET, SO_PASSCRED, &one, &len) == 0 && one == 1);
	len = sizeof(words);
	CHECK(getsockopt(route, SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, words, &len) == 0);
	CHECK(words[0] == 1u << (RTNLGRP_TC - 1) && words[1] == 1u << (group - 33));
	CHECK(fcntl(route, F_GETFD) == FD_CLOEXEC && fcntl(fresh, F_SETFL, 0) == 0);
	ask(route);
	ask(fresh);
	prog_ok();
}
