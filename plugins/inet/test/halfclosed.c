/* SPDX-License-Identifier: MIT */
/*
 * Connections in every state of closing: shut down at one end, at both, with bytes not read, with a FIN that waits behind
 * others.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

#include "prog.h"

enum { FIN_WAIT1 = 4, FIN_WAIT2 = 5, CLOSED = 7, CLOSE_WAIT = 8, LAST_ACK = 9, CLOSING = 11 };

static int l;
static struct sockaddr_in6 to = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };

struct pair {
	int a, b;
	size_t from_a, from_b; /* bytes under way */
};

/*
 * small: with buffers that are soon full.  They are set before the connection exists: a window that shrinks later makes
 * the kernel drop what is sent into it, and then try ever more seldom.
 */
static struct pair make(int small)
{
	struct pair p = { 0 };
	int size = 30000;

	p.a = socket(AF_INET6, SOCK_STREAM, 0);
	for (int i = 0; small && i < 2; i++) {
		CHECK(setsockopt(i ? p.a : l, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) == 0);
		CHECK(setsockopt(i ? p.a : l, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)) == 0);
	}
	CHECK(connect(p.a, (struct sockaddr *)&to, sizeof(to)) == 0 && (p.b = accept(l, NULL, NULL)) >= 0);
	return p;
}

static size_t fill(int fd, size_t max)
{
	size_t n = 0;
	unsigned char c;

	while (n < max) {
		c = n % 253;
		if (send(fd, &c, 1, MSG_DONTWAIT | MSG_NOSIGNAL) != 1)
			break;
		n++;
	}
	return n;
}

static void drain(int fd, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char c;

		CHECK(recv(fd, &c, 1, 0) == 1 && c == i % 253);
	}
}

static void at_end(int fd)
{
	char c;

	CHECK(recv(fd, &c, 1, 0) == 0);
}

static int state(int fd)
{
	struct tcp_info ti = { 0 };
	socklen_t len = sizeof(ti);

	CHECK(getsockopt(fd, SOL_TCP, TCP_INFO, &ti, &len) == 0);
	return ti.tcpi_state;
}

static void until(int fd, int want)
{
	for (int i = 0; i < 1000 && state(fd) != want; i++)
		prog_nap(10);
	if (state(fd) != want)
		prog_fail("state %d, not %d", state(fd), want);
}

static void is(int fd, int want, const char *which)
{
	if (state(fd) != want)
		prog_fail("%s is in state %d, not %d", which, state(fd), want);
}

static int events(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP };

	CHECK(poll(&p, 1, 0) >= 0);
	return p.revents;
}

int main(int argc, char **argv)
{
	struct pair one, unread, behind, last, closing;
	socklen_t len = sizeof(to);
	int ev[4];

	prog_init(argc, argv);
	signal(SIGPIPE, SIG_IGN);
	l = socket(AF_INET6, SOCK_STREAM, 0);
	CHECK(bind(l, (struct sockaddr *)&to, sizeof(to)) == 0 && listen(l, 5) == 0);
	CHECK(getsockname(l, (struct sockaddr *)&to, &len) == 0);
	one = make(0);
	CHECK(shutdown(one.a, SHUT_WR) == 0);
	unread = make(0);
	unread.from_a = fill(unread.a, 5000);
	unread.from_b = fill(unread.b, 700);
	CHECK(shutdown(unread.a, SHUT_WR) == 0);
	behind = make(1);
	behind.from_a = fill(behind.a, SIZE_MAX);
	CHECK(shutdown(behind.a, SHUT_WR) == 0);
	last = make(1);
	CHECK(shutdown(last.a, SHUT_WR) == 0);
	last.from_b = fill(last.b, SIZE_MAX);
	until(last.b, CLOSE_WAIT);
	CHECK(shutdown(last.b, SHUT_WR) == 0);
	closing = make(1);
	closing.from_a = fill(closing.a, SIZE_MAX);
	closing.from_b = fill(closing.b, SIZE_MAX);
	CHECK(shutdown(closing.a, SHUT_WR) == 0 && shutdown(closing.b, SHUT_WR) == 0);
	drain(closing.a, closing.from_b);
	at_end(closing.a);
	until(one.a, FIN_WAIT2);
	until(one.b, CLOSE_WAIT);
	until(unread.a, FIN_WAIT2);
	until(unread.b, CLOSE_WAIT);
	until(behind.a, FIN_WAIT1);
	until(last.b, LAST_ACK);
	until(closing.a, CLOSING);
	ev[0] = events(one.a);
	ev[1] = events(one.b);
	ev[2] = events(unread.b);
	ev[3] = events(last.a);
	prog_ready();

	is(one.a, FIN_WAIT2, "one.a");
	is(one.b, CLOSE_WAIT, "one.b");
	is(unread.a, FIN_WAIT2, "unread.a");
	is(unread.b, CLOSE_WAIT, "unread.b");
	is(behind.a, FIN_WAIT1, "behind.a");
	is(last.b, LAST_ACK, "last.b");
	is(closing.a, CLOSING, "closing.a");
	CHECK(ev[0] == events(one.a) && ev[1] == events(one.b) && ev[2] == events(unread.b) && ev[3] == events(last.a));
	at_end(one.b);
	CHECK(send(one.a, "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE);
	one.from_b = fill(one.b, 1000);
	drain(one.a, one.from_b);
	CHECK(close(one.b) == 0);
	at_end(one.a);
	drain(unread.b, unread.from_a);
	at_end(unread.b);
	drain(unread.a, unread.from_b);
	CHECK(shutdown(unread.b, SHUT_WR) == 0);
	at_end(unread.a);
	until(unread.b, CLOSED);
	drain(behind.b, behind.from_a);
	at_end(behind.b);
	until(behind.a, FIN_WAIT2);
	CHECK(send(behind.b, "y", 1, 0) == 1 && recv(behind.a, &(char){ 0 }, 1, 0) == 1);
	drain(last.a, last.from_b);
	at_end(last.a);
	until(last.b, CLOSED);
	drain(closing.b, closing.from_a);
	at_end(closing.b);
	until(closing.a, CLOSED);
	prog_ok();
}
