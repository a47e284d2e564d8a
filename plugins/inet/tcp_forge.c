/* SPDX-License-Identifier: MIT */
/*
 * tcp_forge.c: packets that say what the other side said long ago.
 *
 * Repair mode makes a connection with both directions open and nothing else.  That the other side has sent its FIN, or
 * has acknowledged ours, the kernel believes only of a packet.  So one is made here and sent to the socket through
 * the loopback device, where the network's filters for spoofed addresses are not asked (forge.c).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "dgram.h"
#include "lock.h"
#include "tcp.h"

/* IPv4 too when it is written as an address of IPv6. */
static int is_v4(const union addr *a)
{
	return a->any.sa_family == AF_INET || IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr);
}

static void put_addr(uint8_t *to, const union addr *a)
{
	if (a->any.sa_family == AF_INET)
		memcpy(to, &a->in.sin_addr, 4);
	else
		memcpy(to, a->in6.sin6_addr.s6_addr + (is_v4(a) ? 12 : 0), is_v4(a) ? 4 : 16);
}

static uint16_t port_of(const union addr *a)
{
	return a->any.sa_family == AF_INET ? a->in.sin_port : a->in6.sin6_port;
}

static int send_segment(const union addr *from, const union addr *to, const struct tcphdr *tcp)
{
	struct dgram d = {
		.proto = IPPROTO_TCP, .addr_len = is_v4(to) ? 4 : 16, .ttl = 64, .data = tcp, .len = sizeof(*tcp)
	};
	_cleanup_fd_ int fd = forge_open(is_v4(to) ? AF_INET : AF_INET6);
	int mark = LOCK_MARK;

	if (fd < 0)
		return fd;
	put_addr(d.src, from);
	put_addr(d.dst, to);
	d.scope = is_v4(to) ? 0 : to->in6.sin6_scope_id;
	return setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) ? -errno : forge_send(fd, &d);
}

static int cannot_forge(struct cr_session *s, const union addr *from, const union addr *to, int err)
{
	if (err == -EPERM)
		return cr_fail(s, EPERM,
			       "the TCP connection %s -> %s was half closed: restoring that needs CAP_NET_RAW (or a "
			       "firewall rejects packets with the mark %#x)",
			       inet_addr_text(s, to), inet_addr_text(s, from), LOCK_MARK);
	return cr_fail(s, -err, "sending a packet to the restored TCP connection %s -> %s: %s", inet_addr_text(s, to),
		       inet_addr_text(s, from), strerror(-err));
}

int tcp_may_forge(struct cr_session *s, const union addr *from, const union addr *to)
{
	_cleanup_fd_ int fd = forge_open(is_v4(to) ? AF_INET : AF_INET6);

	return fd < 0 ? cannot_forge(s, from, to, fd) : 0;
}

int tcp_forge(struct cr_session *s, const union addr *from, const union addr *to, uint32_t seq, uint32_t ack,
	      uint32_t flags, uint32_t window)
{
	struct tcphdr tcp;
	int err;

	memset(&tcp, 0, sizeof(tcp));
	tcp.source = port_of(from);
	tcp.dest = port_of(to);
	tcp.seq = htonl(seq);
	tcp.ack_seq = htonl(ack);
	tcp.doff = sizeof(tcp) / 4;
	tcp.fin = (flags & TCP_FLAG_FIN) != 0;
	tcp.ack = (flags & TCP_FLAG_ACK) != 0;
	tcp.rst = (flags & TCP_FLAG_RST) != 0;
	tcp.window = htons(MIN_OF(window, 65535u));
	err = send_segment(from, to, &tcp);
	return err < 0 ? cannot_forge(s, from, to, err) : 0;
}
