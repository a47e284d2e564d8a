/* SPDX-License-Identifier: MIT */
/*
 * unread.c: messages that the program has not read. See netlink.h.
 *
 * What the kernel has sent cannot be sent again: a message from a process has that one's port as its sender, and the
 * kernel's is 0.  But netlink is allowed to lose messages: the next read then gives ENOBUFS, and the program asks for
 * everything again, see netlink(7).  So unread messages are dropped, and the restored socket is brought into just that
 * state: its buffer is made as small as possible, it joins a group for a moment that nobody else listens to, and messages
 * of type NLMSG_NOOP, which are to be ignored, are sent to that group until there was no room for one.
 */
#include "netlink.h"

#include <errno.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "x-netlink-lost.pb-c.h"

#define MESSAGES_MAX 64

const struct cr_img_type netlink_img_lost = { sizeof(netlink_img_lost), "x-netlink-lost", 0x584e4c4c, 0 };

/* ---- dump ---- */

int unread_prepare(struct cr_session *s)
{
	const char *what = s->core->option(s, "netlink-unread");

	if (!what || !strcmp(what, "drop") || !strcmp(what, "fail"))
		return 0;
	return cr_fail(s, EINVAL, "--netlink-unread %s: expected drop or fail", common_quote(s, what));
}

static int has_unread(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) > 0 && p.revents & (POLLIN | POLLERR);
}

int unread_check(struct cr_session *s, int fd)
{
	const char *what = s->core->option(s, "netlink-unread");

	if (!what || strcmp(what, "fail") || !has_unread(fd))
		return 0;
	return cr_refuse(s, "let the program read them and dump again, or drop them with --netlink-unread drop",
			 "netlink socket with messages of the kernel that were not read yet");
}

int unread_dump(struct cr_session *s, struct cr_file *f, int fd)
{
	NetlinkLostEntry e = NETLINK_LOST_ENTRY__INIT;

	if (!has_unread(fd))
		return 0;
	netlink_state(s)->lost++;
	cr_info(s, "netlink socket: its unread messages are dropped");
	e.id = s->core->file_id(f);
	return common_append(s, &netlink_img_lost, CR_IMG_NO_ID, &e.base);
}

int unread_summary(struct cr_session *s)
{
	uint32_t n = netlink_state(s)->lost;

	if (n)
		cr_lost(s, NULL, "%" PRIu32 " netlink socket%s had unread messages, which are lost: the restored program is "
			"told so by "
			"ENOBUFS", n, n == 1 ? "" : "s");
	return 0;
}

/* ---- restore ---- */

int unread_load(struct cr_session *s)
{
	struct netlink_state *st = netlink_state(s);
	NetlinkLostEntry *e;
	struct cr_reader *r;
	int ret = s->core->img_open(s, &netlink_img_lost, CR_IMG_NO_ID, &r);

	if (ret < 0)
		return ret == -ENOENT ? 0 : ret;
	while ((ret = common_next(s, r, &netlink_lost_entry__descriptor, (void **)&e)) > 0) {
		*vec_push(&st->lost_ids) = e->id;
		common_free_msg(e);
	}
	s->core->img_close(r);
	return ret;
}

int unread_is_lost(struct cr_session *s, struct cr_file *f)
{
	struct netlink_state *st = netlink_state(s);

	for (size_t i = 0; i < st->lost_ids.n; i++)
		if (st->lost_ids.v[i] == s->core->file_id(f))
			return 1;
	return 0;
}

/* The highest of the first 32 groups of the protocol that nobody listens to; 0: none, or unknown. */
static int free_group(unsigned int protocol)
{
	FILE *f = fopen("/proc/net/netlink", "re");
	unsigned int used = 0, proto, port, groups;
	char line[256];
	int known = 0;

	while (f && fgets(line, sizeof(line), f)) {
		known = 1;
		if (sscanf(line, "%*s %u %u %x", &proto, &port, &groups) == 3 && proto == protocol)
			used |= groups;
	}
	if (f)
		fclose(f);
	return !known || !~used ? 0 : 32 - __builtin_clz(~used);
}

static int has_error(int fd)
{
	struct pollfd p = { .fd = fd };

	return poll(&p, 1, 0) > 0 && p.revents & POLLERR;
}

/* Sends to the group, until fd has missed one; 1 when it has. */
static int overflow(int fd, unsigned int protocol, int group)
{
	_cleanup_fd_ int out = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
	struct nlmsghdr h = { .nlmsg_len = sizeof(h), .nlmsg_type = NLMSG_NOOP };
	struct sockaddr_nl a = { .nl_family = AF_NETLINK };
	socklen_t len = sizeof(a);

	if (out < 0 || bind(out, (struct sockaddr *)&a, sizeof(a)) || getsockname(out, (struct sockaddr *)&a, &len))
		return 0;
	/* a message to a group goes to one port, too: its own, or it would be the kernel's */
	a.nl_groups = 1u << (group - 1);
	for (int i = 0; i < MESSAGES_MAX && !has_error(fd); i++) {
		char sink[64];

		if (sendto(out, &h, sizeof(h), MSG_DONTWAIT, (struct sockaddr *)&a, sizeof(a)) < 0)
			break;
		while (recv(out, sink, sizeof(sink), MSG_DONTWAIT) > 0)
			;
	}
	return has_error(fd);
}

void unread_tell(struct cr_session *s, int fd, unsigned int protocol)
{
	int group = free_group(protocol), least = 0, told = 0, size = sock_get_int(fd, SOL_SOCKET, SO_RCVBUF) / 2;

	if (sock_get_int(fd, SOL_NETLINK, NETLINK_NO_ENOBUFS))
		return; /* the program does not want to know */
	if (group && !setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group))) {
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &least, sizeof(least));
		told = overflow(fd, protocol, group);
		setsockopt(fd, SOL_NETLINK, NETLINK_DROP_MEMBERSHIP, &group, sizeof(group));
		if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)))
			setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	}
	if (!told)
		cr_lost(s, NULL, "a netlink socket of protocol %u has lost messages, and the program cannot be told so (needs "
			"CAP_NET_ADMIN)", protocol);
}
