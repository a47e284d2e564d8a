/* SPDX-License-Identifier: MIT */
/* facts.c: addresses and states. See inet.h. */
#include "inet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "tcp.h"
#include "util.h"

int inet_is_tcp(int type, int proto)
{
	return type == SOCK_STREAM && (proto == IPPROTO_TCP || proto == PROTO_MPTCP);
}

static int tcp_facts(int fd, struct facts *k)
{
	struct tcp_info ti = { 0 };
	socklen_t len = sizeof(ti);
	struct stat st;

	if (getsockopt(fd, SOL_TCP, TCP_INFO, &ti, &len))
		return -errno;
	k->state = ti.tcpi_state;
	if (k->state == TCP_ST_SYN_SENT && !fstat(fd, &st))
		proc_net_peer(k->family, st.st_ino, &k->dst); /* getpeername(2) does not tell it yet */
	if (k->state == SK_LISTEN) { /* where these fields have another meaning */
		k->waiting = ti.tcpi_unacked;
		k->backlog = ti.tcpi_sacked;
	}
	return 0;
}

int inet_facts(int fd, struct facts *ret)
{
	socklen_t len = sizeof(ret->src);
	union addr none;

	memset(ret, 0, sizeof(*ret));
	ret->family = sock_get_int(fd, SOL_SOCKET, SO_DOMAIN);
	ret->type = sock_get_int(fd, SOL_SOCKET, SO_TYPE);
	ret->proto = sock_get_int(fd, SOL_SOCKET, SO_PROTOCOL);
	if (getsockname(fd, &ret->src.any, &len))
		return -errno;
	len = sizeof(ret->dst);
	if (getpeername(fd, &ret->dst.any, &len)) {
		memset(&ret->dst, 0, sizeof(ret->dst));
		ret->dst.any.sa_family = ret->family;
	}
	if (inet_is_tcp(ret->type, ret->proto))
		return tcp_facts(fd, ret);
	/* not connected: no port, or for protocols without ports no address */
	memset(&none, 0, sizeof(none)); /* all of it: an initializer need not set what lies past the first member */
	none.any.sa_family = ret->family;
	/* NOLINTNEXTLINE(bugprone-suspicious-memory-comparison): both are zeroed, holes too */
	ret->state = memcmp(&ret->dst, &none, sizeof(none)) ? SK_ESTABLISHED : SK_CLOSE;
	return 0;
}

const char *inet_proto_name(int type, int proto)
{
	static char text[32];

	switch (proto) {
	case IPPROTO_TCP:
		return "TCP";
	case PROTO_MPTCP:
		return "MPTCP";
	case IPPROTO_UDP:
		return "UDP";
	case IPPROTO_UDPLITE:
		return "UDP-Lite";
	case IPPROTO_SCTP:
		return "SCTP";
	case IPPROTO_DCCP:
		return "DCCP";
	}
	if (type == SOCK_DGRAM && (proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6))
		return "ping";
	snprintf(text, sizeof(text), "%s protocol %d", type == SOCK_RAW ? "raw" : "IP", proto);
	return text;
}

const char *inet_addr_text(struct cr_session *s, const union addr *a)
{
	char ip[INET6_ADDRSTRLEN] = "?", dev[IF_NAMESIZE] = "";
	size_t room = sizeof(ip) + sizeof(dev) + 16;
	char *text = s->core->alloc(s, room);

	if (a->any.sa_family == AF_INET6) {
		inet_ntop(AF_INET6, &a->in6.sin6_addr, ip, sizeof(ip));
		if (a->in6.sin6_scope_id && !if_indextoname(a->in6.sin6_scope_id, dev))
			snprintf(dev, sizeof(dev), "%u", a->in6.sin6_scope_id);
		snprintf(text, room, "[%s%s%s]:%u", ip, dev[0] ? "%" : "", dev, ntohs(a->in6.sin6_port));
	} else {
		inet_ntop(AF_INET, &a->in.sin_addr, ip, sizeof(ip));
		snprintf(text, room, "%s:%u", ip, ntohs(a->in.sin_port));
	}
	return text;
}

socklen_t inet_addr_len(const union addr *a)
{
	return a->any.sa_family == AF_INET6 ? sizeof(a->in6) : sizeof(a->in);
}
