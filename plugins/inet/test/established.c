/* SPDX-License-Identifier: MIT */
/*
 * Connections inside the tree, of IPv4, IPv6 and mixed: quiet ones, with bytes that were not read, with buffers that are
 * full both ways, of a child, shut down for reading; a listener on the same port goes on.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include "prog.h"

union addr {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

struct pair {
	int end[2];	  /* the accepted one is the second */
	size_t queued[2]; /* bytes written there and not read at the other end */
	unsigned char first[2];
	union addr name[2];
};

static int listener(int family, union addr *ret)
{
	int fd = socket(family, SOCK_STREAM, 0), off = 0;
	socklen_t len = sizeof(*ret);

	memset(ret, 0, sizeof(*ret));
	ret->any.sa_family = family;
	if (family == AF_INET)
		ret->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		CHECK(setsockopt(fd, SOL_IPV6, IPV6_V6ONLY, &off, sizeof(off)) == 0);
	CHECK(fd >= 0 && bind(fd, &ret->any, len) == 0 && listen(fd, 5) == 0);
	CHECK(getsockname(fd, &ret->any, &len) == 0);
	if (family == AF_INET6)
		ret->in6.sin6_addr = in6addr_loopback;
	return fd;
}

static union addr name_of(int fd)
{
	union addr a;
	socklen_t len = sizeof(a);

	memset(&a, 0, sizeof(a));
	CHECK(getsockname(fd, &a.any, &len) == 0);
	return a;
}

static void make(int l, const union addr *to, struct pair *p)
{
	memset(p, 0, sizeof(*p));
	p->end[0] = socket(to->any.sa_family, SOCK_STREAM, 0);
	CHECK(connect(p->end[0], &to->any, sizeof(*to)) == 0 && (p->end[1] = accept(l, NULL, NULL)) >= 0);
	p->name[0] = name_of(p->end[0]);
	p->name[1] = name_of(p->end[1]);
}

/* Bytes whose value tells their place. */
static void send_some(struct pair *p, int from, size_t max)
{
	unsigned char buf[5000];

	while (max) {
		size_t n = max < sizeof(buf) ? max : sizeof(buf);
		ssize_t sent;

		for (size_t i = 0; i < n; i++)
			buf[i] = (p->queued[from] + i) * 7 + (p->queued[from] + i) / 251;
		sent = send(p->end[from], buf, n, MSG_DONTWAIT);
		if (sent < 0) {
			CHECK(errno == EAGAIN);
			return;
		}
		p->queued[from] += sent;
		max -= sent;
	}
}

static void read_all(struct pair *p, int from)
{
	unsigned char buf[9000];

	for (size_t have = 0; have < p->queued[from];) {
		ssize_t n = recv(p->end[!from], buf, sizeof(buf), 0);

		CHECK(n > 0);
		for (ssize_t i = 0; i < n; i++, have++)
			if (buf[i] != (unsigned char)(have * 7 + have / 251))
				prog_fail("byte %zu of %zu is %d", have, p->queued[from], buf[i]);
	}
	p->queued[from] = 0;
	CHECK(recv(p->end[!from], buf, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN);
}

static void talk(struct pair *p)
{
	for (int i = 0; i < 2; i++) {
		union addr now = name_of(p->end[i]);

		CHECK(!memcmp(&now, &p->name[i], sizeof(now)));
	}
	for (int i = 0; i < 20; i++) {
		send_some(p, i & 1, 3000);
		read_all(p, i & 1);
	}
}

/* Small buffers, so that they are full soon. */
static void fill(struct pair *p)
{
	int size = 60000;

	for (int i = 0; i < 2; i++) {
		CHECK(setsockopt(p->end[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) == 0);
		CHECK(setsockopt(p->end[i], SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)) == 0);
	}
	for (int i = 0; i < 2; i++)
		send_some(p, i, SIZE_MAX);
	CHECK(p->queued[0] > 60000 && p->queued[1] > 60000);
}

static void child(void *arg)
{
	struct pair *p = arg;
	char b;

	CHECK(close(p->end[0]) == 0 && recv(p->end[1], &b, 1, 0) == 1 && b == '!' && send(p->end[1], "?", 1, 0) == 1);
	CHECK(recv(p->end[1], &b, 1, 0) == 0);
}

int main(int argc, char **argv)
{
	static struct pair quiet[3], unread, full, big, theirs, deaf;
	union addr a4, a6, mapped;
	int l4, l6;
	pid_t pid;
	char b;

	prog_init(argc, argv);
	l4 = listener(AF_INET, &a4);
	l6 = listener(AF_INET6, &a6);
	mapped = a6;
	mapped.any.sa_family = AF_INET;
	mapped.in = (struct sockaddr_in){ .sin_family = AF_INET,
					  .sin_port = a6.in6.sin6_port,
					  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	make(l4, &a4, &quiet[0]);
	make(l6, &a6, &quiet[1]);
	make(l6, &mapped, &quiet[2]); /* of IPv4 at one end, of IPv6 at the other */
	make(l4, &a4, &unread);
	send_some(&unread, 0, 10000);
	send_some(&unread, 1, 1);
	make(l6, &a6, &full);
	fill(&full);
	make(l4, &a4, &big);
	send_some(&big, 0, 8000000);
	make(l4, &a4, &theirs);
	make(l4, &a4, &deaf);
	CHECK(shutdown(deaf.end[0], SHUT_RD) == 0);
	pid = prog_child(child, &theirs);
	CHECK(close(theirs.end[1]) == 0);
	prog_ready();

	for (int i = 0; i < 3; i++)
		talk(&quiet[i]);
	read_all(&unread, 0);
	read_all(&unread, 1);
	talk(&unread);
	read_all(&full, 1);
	read_all(&full, 0);
	talk(&full);
	read_all(&big, 0);
	talk(&big);
	CHECK(send(theirs.end[0], "!", 1, 0) == 1 && recv(theirs.end[0], &b, 1, 0) == 1 && b == '?');
	CHECK(close(theirs.end[0]) == 0);
	prog_reap(pid);
	CHECK(poll(&(struct pollfd){ .fd = deaf.end[0], .events = POLLRDHUP }, 1, 0) == 1 &&
	      recv(deaf.end[0], &b, 1, 0) == 0);
	CHECK(send(deaf.end[0], "x", 1, 0) == 1 && recv(deaf.end[1], &b, 1, 0) == 1);
	make(l4, &a4, &quiet[0]);
	make(l6, &mapped, &quiet[2]);
	talk(&quiet[0]);
	talk(&quiet[2]);
	prog_ok();
}
