/* SPDX-License-Identifier: MIT */
/* Datagrams that were received and not read: senders, targets, order, sizes, for each family and UDP-Lite; data held back. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include "prog.h"

#define BIG 60000

union name {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

static char big[BIG], room[70000];

static void set(int fd, int level, int name, int v)
{
	CHECK(setsockopt(fd, level, name, &v, sizeof(v)) == 0);
}

static int get(int fd, int level, int name)
{
	int v = -99;
	socklen_t len = sizeof(v);

	CHECK(getsockopt(fd, level, name, &v, &len) == 0);
	return v;
}

static socklen_t len_of(const union name *n)
{
	return n->any.sa_family == AF_INET ? sizeof(n->in) : sizeof(n->in6);
}

static union name name_of(int fd)
{
	union name n;
	socklen_t len = sizeof(n);

	memset(&n, 0, sizeof(n));
	CHECK(getsockname(fd, &n.any, &len) == 0);
	return n;
}

/* A bound socket. */
static int make(const char *ip, int proto)
{
	union name n;
	int fd;

	memset(&n, 0, sizeof(n));
	n.any.sa_family = strchr(ip, ':') ? AF_INET6 : AF_INET;
	CHECK(inet_pton(n.any.sa_family, ip, n.any.sa_family == AF_INET ? (void *)&n.in.sin_addr : &n.in6.sin6_addr) == 1);
	fd = socket(n.any.sa_family, SOCK_DGRAM, proto);
	return fd < 0 || bind(fd, &n.any, len_of(&n)) ? -1 : fd;
}

static void send_to(int from, int to, const void *data, size_t len)
{
	union name n = name_of(to);

	CHECK(sendto(from, data, len, 0, &n.any, len_of(&n)) == (ssize_t)len);
}

static void expect(int fd, const union name *from, const void *data, size_t len)
{
	union name n;
	socklen_t nlen = sizeof(n);
	ssize_t got;

	memset(&n, 0, sizeof(n));
	got = recvfrom(fd, room, sizeof(room), MSG_DONTWAIT, &n.any, &nlen);
	if (got != (ssize_t)len || memcmp(room, data, len))
		prog_fail("a datagram of %zd bytes instead of %zu (%s)", got, len, got < 0 ? strerror(errno) : "");
	CHECK(n.any.sa_family == from->any.sa_family && !memcmp(&n, from, len_of(from)));
}

/* The address that it was sent to, ttl and tos. */
static void expect_told(int fd, const char *to, int ttl, int tos)
{
	char control[256], text[64];
	struct iovec iov = { room, sizeof(room) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	int seen = 0;

	CHECK(recvmsg(fd, &m, MSG_DONTWAIT) == 4);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		if (c->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo *p = (struct in_pktinfo *)CMSG_DATA(c);

			CHECK(!strcmp(inet_ntop(AF_INET, &p->ipi_addr, text, sizeof(text)), to));
			seen |= 1;
		} else if (c->cmsg_type == IP_TTL) {
			CHECK(*(int *)CMSG_DATA(c) == ttl);
			seen |= 2;
		} else if (c->cmsg_type == IP_TOS) {
			CHECK(*(unsigned char *)CMSG_DATA(c) == tos);
			seen |= 4;
		}
	}
	CHECK(seen == 7);
}

static void expect_none(int fd)
{
	CHECK(recv(fd, room, sizeof(room), MSG_DONTWAIT) < 0 && errno == EAGAIN);
}

int main(int argc, char **argv)
{
	int plain = make("127.0.0.1", 0), a = make("127.0.0.1", 0), b = make("127.0.0.2", 0), any = make("0.0.0.0", 0);
	int six = make("::1", 0), six_a = make("::1", 0), dual = make("::", 0), lite = make("127.0.0.1", IPPROTO_UDPLITE);
	int lite_a = make("127.0.0.1", IPPROTO_UDPLITE), conn = make("127.0.0.1", 0), cork = make("127.0.0.1", 0);
	union name na, nb, n6, nl, nm, n;
	size_t total = 0;

	prog_init(argc, argv);
	for (int i = 0; i < BIG; i++)
		big[i] = i * 7 >> 3;
	CHECK(plain >= 0 && a >= 0 && b >= 0 && any >= 0 && conn >= 0 && cork >= 0);
	na = name_of(a);
	nb = name_of(b);
	set(plain, SOL_SOCKET, SO_PEEK_OFF, 3);
	send_to(a, plain, "first", 5);
	send_to(b, plain, "", 0);
	send_to(b, plain, "", 0);
	send_to(a, plain, big, BIG);
	send_to(b, plain, "odd", 3);
	/* what a datagram was sent to */
	set(any, SOL_IP, IP_PKTINFO, 1);
	set(any, SOL_IP, IP_RECVTTL, 1);
	set(any, SOL_IP, IP_RECVTOS, 1);
	set(b, SOL_IP, IP_TTL, 33);
	set(b, SOL_IP, IP_TOS, 0x10);
	n = name_of(any);
	inet_pton(AF_INET, "127.0.0.77", &n.in.sin_addr);
	CHECK(sendto(b, "told", 4, 0, &n.any, len_of(&n)) == 4);
	/* one that is connected takes only datagrams of its other side */
	send_to(b, conn, "before", 6);
	CHECK(connect(conn, &na.any, len_of(&na)) == 0);
	send_to(a, conn, "peer", 4);
	if (six >= 0 && six_a >= 0 && dual >= 0) {
		n6 = name_of(six_a);
		send_to(six_a, six, "six", 3);
		n = name_of(dual);
		n.in6.sin6_addr = in6addr_loopback;
		CHECK(sendto(six_a, "dual6", 5, 0, &n.any, len_of(&n)) == 5);
		nm.in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = n.in6.sin6_port,
					      .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
		CHECK(sendto(a, "dual4", 5, 0, &nm.any, sizeof(nm.in)) == 5);
	}
	if (lite >= 0 && lite_a >= 0) {
		nl = name_of(lite_a);
		send_to(lite_a, lite, "lite", 4);
	}
	/* held back: may be lost, must not get in the way */
	CHECK(connect(cork, &na.any, len_of(&na)) == 0);
	CHECK(send(cork, "more", 4, MSG_MORE) == 4);
	prog_ready();

	CHECK(get(plain, SOL_SOCKET, SO_PEEK_OFF) == 3 && get(plain, SOL_IP, IP_PKTINFO) == 0);
	CHECK(get(plain, SOL_IP, IP_RECVTTL) == 0 && get(plain, SOL_IP, IP_RECVTOS) == 0);
	set(plain, SOL_SOCKET, SO_PEEK_OFF, -1);
	expect(plain, &na, "first", 5);
	expect(plain, &nb, "", 0);
	expect(plain, &nb, "", 0);
	expect(plain, &na, big, BIG);
	expect(plain, &nb, "odd", 3);
	expect_none(plain);
	expect_told(any, "127.0.0.77", 33, 0x10);
	expect_none(any);
	expect(conn, &nb, "before", 6);
	expect(conn, &na, "peer", 4);
	expect_none(conn);
	if (six >= 0 && six_a >= 0 && dual >= 0) {
		expect(six, &n6, "six", 3);
		expect_none(six);
		expect(dual, &n6, "dual6", 5);
		memset(&nm, 0, sizeof(nm));
		nm.in6.sin6_family = AF_INET6;
		nm.in6.sin6_port = na.in.sin_port;
		inet_pton(AF_INET6, "::ffff:127.0.0.1", &nm.in6.sin6_addr);
		expect(dual, &nm, "dual4", 5);
		expect_none(dual);
	}
	if (lite >= 0 && lite_a >= 0)
		expect(lite, &nl, "lite", 4);
	/* and it goes on */
	send_to(a, plain, "next", 4);
	expect(plain, &na, "next", 4);
	send_to(b, any, "goes", 4);
	total = recv(any, room, sizeof(room), 0);
	CHECK(total == 4);
	expect_none(a);
	prog_ok();
}
