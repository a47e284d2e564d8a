/* SPDX-License-Identifier: MIT */
/* options.c: options of IP, IPv6, TCP, UDP and raw sockets. See inet.h and sock.h. */
#include "inet.h"

#include <errno.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <netinet/udp.h>
#include <string.h>
#include <unistd.h>

#include "tcp.h"
#include "util.h"

/* Numbers that older headers lack. */
#define OPT_IPV6_FREEBIND 78
#define OPT_IP_LOCAL_PORT_RANGE 51
#define OPT_ICMPV6_FILTER 1
#define OPT_UDP_GRO 104
#define OPT_UDP_SEGMENT 103
#define OPT_IP_RECVERR_RFC4884 26
#define OPT_IPV6_ROUTER_ALERT_ISOLATE 30
#define OPT_IPV6_RECVERR_RFC4884 31
#define OPT_IPV6_RECVORIGDSTADDR 74
#define OPT_IPV6_UNICAST_IF 76
#define OPT_IPV6_RECVFRAGSIZE 77
#define OPT_IPV6_FLOWINFO 11
#define OPT_IPV6_FLOWINFO_SEND 33
#define OPT_TCP_TX_DELAY 37
#define OPT_TCP_RTO_MAX_MS 44
#define OPT_TCP_RTO_MIN_US 45
#define OPT_TCP_DELACK_MAX_US 46
#define UDPLITE_SEND_COVERAGE 10
#define UDPLITE_RECV_COVERAGE 11

const struct cr_img_type inet_img_extra = { sizeof(inet_img_extra), "x-inet-options", 0x58494e4f, 0 };

/* Not of TCP, which keeps the numbers of the other side here. */
static const struct sock_extra extra_multicast[] = {
	{ SOL_IP, IP_MULTICAST_TTL, 4 },
	{ SOL_IP, IP_MULTICAST_LOOP, 4 },
	{ SOL_IP, IP_MULTICAST_IF, 4 },
	{ SOL_IP, IP_MULTICAST_ALL, 4 },
	{ SOL_IP, IP_OPTIONS, 40 },
	{ SOL_IP, IP_UNICAST_IF, 4 },
	{ SOL_IPV6, IPV6_MULTICAST_HOPS, 4 },
	{ SOL_IPV6, IPV6_MULTICAST_LOOP, 4 },
	{ SOL_IPV6, IPV6_MULTICAST_IF, 4 },
	{ SOL_IPV6, IPV6_MULTICAST_ALL, 4 },
	{ 0, 0, 0 },
};
static const struct sock_extra extra_ip[] = {
	{ SOL_IP, IP_MTU_DISCOVER, 4 },
	{ SOL_IP, IP_RECVERR, 4 },
	{ SOL_IP, IP_RECVTTL, 4 },
	{ SOL_IP, IP_RECVTOS, 4 },
	{ SOL_IP, IP_RECVOPTS, 4 },
	{ SOL_IP, IP_RETOPTS, 4 },
	{ SOL_IP, IP_RECVORIGDSTADDR, 4 },
	{ SOL_IP, IP_MINTTL, 4 },
	{ SOL_IP, IP_TRANSPARENT, 4 },
	{ SOL_IP, IP_BIND_ADDRESS_NO_PORT, 4 },
	{ SOL_IP, IP_CHECKSUM, 4 },
	{ SOL_IP, IP_PASSSEC, 4 },
	{ SOL_IP, IP_RECVFRAGSIZE, 4 },
	{ SOL_IP, OPT_IP_RECVERR_RFC4884, 4 },
	{ SOL_IP, OPT_IP_LOCAL_PORT_RANGE, 4 },
	{ 0, 0, 0 },
};
static const struct sock_extra extra_ip6[] = {
	{ SOL_IPV6, IPV6_UNICAST_HOPS, 4 },
	{ SOL_IPV6, IPV6_MTU_DISCOVER, 4 },
	{ SOL_IPV6, IPV6_RECVERR, 4 },
	{ SOL_IPV6, IPV6_RECVHOPLIMIT, 4 },
	{ SOL_IPV6, IPV6_RECVTCLASS, 4 },
	{ SOL_IPV6, IPV6_TCLASS, 4 },
	{ SOL_IPV6, IPV6_DONTFRAG, 4 },
	{ SOL_IPV6, IPV6_TRANSPARENT, 4 },
	{ SOL_IPV6, IPV6_MINHOPCOUNT, 4 },
	{ SOL_IPV6, IPV6_AUTOFLOWLABEL, 4 },
	{ SOL_IPV6, IPV6_ADDR_PREFERENCES, 4 },
	{ SOL_IPV6, IPV6_RECVRTHDR, 4 },
	{ SOL_IPV6, IPV6_RECVHOPOPTS, 4 },
	{ SOL_IPV6, IPV6_RECVDSTOPTS, 4 },
	{ SOL_IPV6, IPV6_RECVPATHMTU, 4 },
	{ SOL_IPV6, IPV6_2292PKTINFO, 4 },
	{ SOL_IPV6, IPV6_2292HOPOPTS, 4 },
	{ SOL_IPV6, IPV6_2292DSTOPTS, 4 },
	{ SOL_IPV6, IPV6_2292RTHDR, 4 },
	{ SOL_IPV6, IPV6_2292HOPLIMIT, 4 },
	{ SOL_IPV6, OPT_IPV6_FLOWINFO, 4 },
	{ SOL_IPV6, OPT_IPV6_FLOWINFO_SEND, 4 },
	{ SOL_IPV6, OPT_IPV6_ROUTER_ALERT_ISOLATE, 4 },
	{ SOL_IPV6, OPT_IPV6_RECVERR_RFC4884, 4 },
	{ SOL_IPV6, OPT_IPV6_RECVORIGDSTADDR, 4 },
	{ SOL_IPV6, OPT_IPV6_UNICAST_IF, 4 },
	{ SOL_IPV6, OPT_IPV6_RECVFRAGSIZE, 4 },
	/* headers that every packet gets */
	{ SOL_IPV6, IPV6_HOPOPTS, 256 },
	{ SOL_IPV6, IPV6_RTHDRDSTOPTS, 256 },
	{ SOL_IPV6, IPV6_RTHDR, 256 },
	{ SOL_IPV6, IPV6_DSTOPTS, 256 },
	/* for addresses of IPv4 */
	{ SOL_IP, IP_TOS, 4 },
	{ SOL_IP, IP_TTL, 4 },
	{ 0, 0, 0 },
};
static const struct sock_extra extra_tcp[] = {
	{ SOL_TCP, TCP_CONGESTION, 0 },
	{ SOL_TCP, TCP_USER_TIMEOUT, 4 },
	{ SOL_TCP, TCP_SYNCNT, 4 },
	{ SOL_TCP, TCP_LINGER2, 4 },
	{ SOL_TCP, TCP_DEFER_ACCEPT, 4 },
	{ SOL_TCP, TCP_FASTOPEN, 4 },
	{ SOL_TCP, TCP_FASTOPEN_NO_COOKIE, 4 },
	{ SOL_TCP, TCP_NOTSENT_LOWAT, 4 },
	{ SOL_TCP, TCP_THIN_LINEAR_TIMEOUTS, 4 },
	{ SOL_TCP, TCP_SAVE_SYN, 4 },
	{ SOL_TCP, TCP_INQ, 4 },
	{ SOL_TCP, TCP_WINDOW_CLAMP, 4 },
	{ SOL_TCP, OPT_TCP_TX_DELAY, 4 },
	{ SOL_TCP, OPT_TCP_RTO_MAX_MS, 4 },
	{ SOL_TCP, OPT_TCP_RTO_MIN_US, 4 },
	{ SOL_TCP, OPT_TCP_DELACK_MAX_US, 4 },
	{ SOL_SOCKET, SO_PEEK_OFF, 4 },
	{ 0, 0, 0 },
};
/* of a connection it means nothing any more, and would put off the connect(2) in repair mode */
static const struct sock_extra extra_unconnected[] = {
	{ SOL_TCP, TCP_FASTOPEN_CONNECT, 4 },
	{ 0, 0, 0 },
};
static const struct sock_extra extra_connected[] = {
	{ SOL_TCP, TCP_QUICKACK, 4 },
	{ 0, 0, 0 },
};
/* of a connection it tells what is in use, not what was set */
static const struct sock_extra extra_mss[] = {
	{ SOL_TCP, TCP_MAXSEG, 4 },
	{ 0, 0, 0 },
};
static const struct sock_extra extra_udp[] = {
	{ SOL_UDP, OPT_UDP_SEGMENT, 4 },
	{ SOL_UDP, OPT_UDP_GRO, 4 },
	{ SOL_SOCKET, SO_PEEK_OFF, 4 },
	{ SOL_UDP, UDP_ENCAP, 4 },
	{ SOL_UDP, UDP_NO_CHECK6_TX, 4 },
	{ SOL_UDP, UDP_NO_CHECK6_RX, 4 },
	{ IPPROTO_UDPLITE, UDPLITE_SEND_COVERAGE, 4 },
	{ IPPROTO_UDPLITE, UDPLITE_RECV_COVERAGE, 4 },
	{ 0, 0, 0 },
};
static const struct sock_extra extra_raw6[] = {
	{ SOL_IPV6, IPV6_CHECKSUM, 4 },
	{ SOL_RAW, IPV6_CHECKSUM, 4 },
	{ 0, 0, 0 },
};

#define MAX_LISTS 8

static void choose_lists(int family, int type, int proto, uint32_t state, const struct sock_extra *ret[MAX_LISTS])
{
	size_t n = 0;

	ret[n++] = sock_extra_common;
	ret[n++] = extra_ip; /* sockets of IPv6 have these too */
	if (family == AF_INET6)
		ret[n++] = extra_ip6;
	if (type != SOCK_STREAM)
		ret[n++] = extra_multicast;
	if (inet_is_tcp(type, proto) && state == SK_LISTEN)
		ret[n++] = extra_mss;
	if (inet_is_tcp(type, proto)) {
		ret[n++] = extra_tcp;
		ret[n++] = tcp_is_connected(state) ? extra_connected : extra_unconnected;
	} else if (type == SOCK_DGRAM) {
		ret[n++] = extra_udp;
	} else if (type == SOCK_RAW && family == AF_INET6) {
		ret[n++] = extra_raw6;
	}
	ret[n] = NULL;
}

static int dump_extra(struct cr_session *s, struct cr_file *f, int fd, const struct facts *k)
{
	_cleanup_fd_ int fresh = socket(k->family, k->type | SOCK_CLOEXEC, k->proto);
	const struct sock_extra *lists[MAX_LISTS];
	struct sock_extra all[128] = { 0 };
	size_t n = 0;

	if (fresh < 0)
		return cr_fail(s, errno, "making a socket like it to compare with: %s", strerror(errno));
	choose_lists(k->family, k->type, k->proto, k->state, lists);
	for (size_t i = 0; lists[i]; i++)
		for (const struct sock_extra *o = lists[i]; (o->level || o->name) && n + 1 < ARRAY_SIZE(all); o++)
			all[n++] = *o;
	return sock_extra_dump(s, &inet_img_extra, f, fd, fresh, all);
}

/* ---- dump ---- */

#define GET(e, field, level, name) ((e)->field = sock_get_int(fd, level, name), (e)->has_##field = (e)->field != 0)

static void dump_raw(struct cr_session *s, int fd, const struct facts *k, IpOptsEntry *ip)
{
	IpOptsRawEntry *raw = s->core->alloc(s, sizeof(*raw));
	int v4 = k->family == AF_INET;
	socklen_t len = v4 ? 4 : 32;
	uint32_t *filter = s->core->alloc(s, len);

	ip_opts_raw_entry__init(raw);
	GET(raw, hdrincl, v4 ? SOL_IP : SOL_IPV6, v4 ? IP_HDRINCL : IPV6_HDRINCL);
	if (v4)
		GET(raw, nodefrag, SOL_IP, IP_NODEFRAG);
	if (!getsockopt(fd, v4 ? SOL_RAW : SOL_ICMPV6, v4 ? ICMP_FILTER : OPT_ICMPV6_FILTER, filter, &len)) {
		raw->icmpv_filter = filter;
		raw->n_icmpv_filter = len / 4;
	}
	ip->raw = raw;
}

static void dump_ip(struct cr_session *s, int fd, const struct facts *k, InetSkEntry *e)
{
	IpOptsEntry *ip = s->core->alloc(s, sizeof(*ip));

	ip_opts_entry__init(ip);
	if (k->family == AF_INET) {
		GET(ip, freebind, SOL_IP, IP_FREEBIND);
		GET(ip, pktinfo, SOL_IP, IP_PKTINFO);
		GET(ip, tos, SOL_IP, IP_TOS);
		GET(ip, ttl, SOL_IP, IP_TTL);
	} else {
		GET(ip, freebind, SOL_IPV6, OPT_IPV6_FREEBIND);
		GET(ip, pktinfo, SOL_IPV6, IPV6_RECVPKTINFO);
		e->has_v6only = 1;
		e->v6only = sock_get_int(fd, SOL_IPV6, IPV6_V6ONLY);
	}
	if (k->type == SOCK_RAW)
		dump_raw(s, fd, k, ip);
	e->ip_opts = ip;
}

static void dump_tcp(struct cr_session *s, int fd, const struct facts *k, InetSkEntry *e)
{
	TcpOptsEntry *tcp = s->core->alloc(s, sizeof(*tcp));

	tcp_opts_entry__init(tcp);
	if (inet_is_tcp(k->type, k->proto)) {
		GET(tcp, cork, SOL_TCP, TCP_CORK);
		GET(tcp, nodelay, SOL_TCP, TCP_NODELAY);
		GET(tcp, keepcnt, SOL_TCP, TCP_KEEPCNT);
		GET(tcp, keepidle, SOL_TCP, TCP_KEEPIDLE);
		GET(tcp, keepintvl, SOL_TCP, TCP_KEEPINTVL);
	} else if (k->proto == IPPROTO_UDP) {
		GET(tcp, cork, SOL_UDP, UDP_CORK);
	}
	e->tcp_opts = tcp;
}

int inet_opts_dump(struct cr_session *s, struct cr_file *f, int fd, const struct facts *k, InetSkEntry *e)
{
	dump_ip(s, fd, k, e);
	dump_tcp(s, fd, k, e);
	return dump_extra(s, f, fd, k);
}

/* ---- restore ---- */

static int set(struct cr_session *s, int fd, int has, int value, int level, int name, const char *what)
{
	if (!has || sock_get_int(fd, level, name) == value)
		return 0;
	return sock_set_int(s, fd, level, name, value, what);
}

static int restore_raw(struct cr_session *s, int fd, int v4, const IpOptsRawEntry *raw)
{
	int err = set(s, fd, raw->has_hdrincl, raw->hdrincl, v4 ? SOL_IP : SOL_IPV6, v4 ? IP_HDRINCL : IPV6_HDRINCL,
		      "IP_HDRINCL");

	if (!err && v4)
		err = set(s, fd, raw->has_nodefrag, raw->nodefrag, SOL_IP, IP_NODEFRAG, "IP_NODEFRAG");
	if (err || !raw->n_icmpv_filter)
		return err;
	if (raw->n_icmpv_filter != (v4 ? 1 : 8))
		return cr_fail(s, EPROTO, "the image has an ICMP filter of %zu words", raw->n_icmpv_filter);
	if (setsockopt(fd, v4 ? SOL_RAW : SOL_ICMPV6, v4 ? ICMP_FILTER : OPT_ICMPV6_FILTER, raw->icmpv_filter,
		       raw->n_icmpv_filter * 4))
		return cr_fail(s, errno, "setting the ICMP filter of a raw socket: %s", strerror(errno));
	return 0;
}

static int restore_ip(struct cr_session *s, int fd, const InetSkEntry *e)
{
	const IpOptsEntry *ip = e->ip_opts;
	int v4 = e->family == AF_INET, err = 0;

	if (!v4)
		err = set(s, fd, e->has_v6only, e->v6only, SOL_IPV6, IPV6_V6ONLY, "IPV6_V6ONLY");
	if (err || !ip)
		return err;
	err = set(s, fd, ip->has_freebind, ip->freebind, v4 ? SOL_IP : SOL_IPV6, v4 ? IP_FREEBIND : OPT_IPV6_FREEBIND,
		  "IP_FREEBIND");
	if (!err)
		err = set(s, fd, ip->has_pktinfo, ip->pktinfo, v4 ? SOL_IP : SOL_IPV6,
			  v4 ? IP_PKTINFO : IPV6_RECVPKTINFO, "IP_PKTINFO");
	if (!err && v4)
		err = set(s, fd, ip->has_tos, ip->tos, SOL_IP, IP_TOS, "IP_TOS");
	if (!err && v4)
		err = set(s, fd, ip->has_ttl, ip->ttl, SOL_IP, IP_TTL, "IP_TTL");
	if (!err && ip->raw)
		err = restore_raw(s, fd, v4, ip->raw);
	return err;
}

static int restore_tcp(struct cr_session *s, int fd, const InetSkEntry *e)
{
	const SkOptsEntry *o = e->opts;
	const TcpOptsEntry *t = e->tcp_opts;
	int tcp = inet_is_tcp(e->type, e->proto), err = 0;

	if (!tcp)
		return t ? set(s, fd, t->has_cork && e->proto == IPPROTO_UDP, t->cork, SOL_UDP, UDP_CORK, "UDP_CORK") : 0;
	/* where older images have them */
	err = set(s, fd, o->has_tcp_keepcnt, o->tcp_keepcnt, SOL_TCP, TCP_KEEPCNT, "TCP_KEEPCNT");
	if (!err)
		err = set(s, fd, o->has_tcp_keepidle, o->tcp_keepidle, SOL_TCP, TCP_KEEPIDLE, "TCP_KEEPIDLE");
	if (!err)
		err = set(s, fd, o->has_tcp_keepintvl, o->tcp_keepintvl, SOL_TCP, TCP_KEEPINTVL, "TCP_KEEPINTVL");
	if (err || !t)
		return err;
	err = set(s, fd, t->has_keepcnt, t->keepcnt, SOL_TCP, TCP_KEEPCNT, "TCP_KEEPCNT");
	if (!err)
		err = set(s, fd, t->has_keepidle, t->keepidle, SOL_TCP, TCP_KEEPIDLE, "TCP_KEEPIDLE");
	if (!err)
		err = set(s, fd, t->has_keepintvl, t->keepintvl, SOL_TCP, TCP_KEEPINTVL, "TCP_KEEPINTVL");
	if (!err)
		err = set(s, fd, t->has_nodelay, t->nodelay, SOL_TCP, TCP_NODELAY, "TCP_NODELAY");
	if (!err)
		err = set(s, fd, t->has_cork, t->cork, SOL_TCP, TCP_CORK, "TCP_CORK");
	return err;
}

int inet_opts_restore(struct cr_session *s, struct cr_file *f, int fd, const InetSkEntry *e)
{
	const struct sock_extra *lists[MAX_LISTS];
	int err = restore_ip(s, fd, e);

	if (!err)
		err = restore_tcp(s, fd, e);
	choose_lists(e->family, e->type, e->proto, e->state, lists);
	return err ? err : sock_extra_restore(s, inet_state(s)->extra, f, fd, lists);
}
