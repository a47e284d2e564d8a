/* SPDX-License-Identifier: MIT */
/* Connections that have ended before the dump: closed by both sides with bytes not read, reset by the other side. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include "prog.h"

static int l;
static struct sockaddr_in6 to;

static void make(int *ret_c, int *ret_s)
{
	*ret_c = socket(to.sin6_family, SOCK_STREAM, 0);
	CHECK(connect(*ret_c, (struct sockaddr *)&to, sizeof(to)) == 0 && (*ret_s = accept(l, NULL, NULL)) >= 0);
}

static void reset(int fd)
{
	CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger)) == 0 &&
	      close(fd) == 0);
}

static void until_closed(int fd)
{
	for (int i = 0; i < 1000; i++) {
		struct tcp_info ti = { 0 };
		socklen_t len = sizeof(ti);

		CHECK(getsockopt(fd, SOL_TCP, TCP_INFO, &ti, &len) == 0);
		if (ti.tcpi_state == 7)
			return;
		prog_nap(10);
	}
	prog_fail("it does not get closed");
}

static int events(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP };

	CHECK(poll(&p, 1, 0) >= 0);
	return p.revents;
}

static void run(int family, int fds[4], int ev[4])
{
	struct sockaddr_in *four = (struct sockaddr_in *)&to;
	socklen_t len = sizeof(to);
	int s;
	char b;

	memset(&to, 0, sizeof(to));
	to.sin6_family = family;
	if (family == AF_INET)
		four->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		to.sin6_addr = in6addr_loopback;
	l = socket(family, SOCK_STREAM, 0);
	CHECK(setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int)) == 0);
	CHECK(bind(l, (struct sockaddr *)&to, sizeof(to)) == 0 && listen(l, 5) == 0);
	CHECK(getsockname(l, (struct sockaddr *)&to, &len) == 0);
	make(&fds[0], &s); /* both have closed, the second one last */
	CHECK(shutdown(fds[0], SHUT_WR) == 0 && send(s, "unread", 6, 0) == 6 && recv(s, &b, 1, 0) == 0 && close(s) == 0);
	until_closed(fds[0]);
	make(&fds[1], &s); /* reset, with bytes that were not read */
	CHECK(send(s, "last", 4, 0) == 4);
	reset(s);
	until_closed(fds[1]);
	make(&fds[2], &s); /* the end, then reset; the error has been seen */
	reset(s);
	until_closed(fds[2]);
	CHECK(recv(fds[2], &b, 1, 0) < 0 && errno == ECONNRESET);
	fds[3] = socket(family, SOCK_STREAM, 0); /* never connected */
	CHECK(close(l) == 0);
	for (int i = 0; i < 4; i++)
		ev[i] = events(fds[i]);
}

static void check(int fds[4], const int ev[4])
{
	char b[10];
	int v = -1;
	socklen_t len = sizeof(v);

	for (int i = 0; i < 4; i++)
		if (events(fds[i]) != ev[i])
			prog_fail("socket %d: events %#x, not %#x", i, events(fds[i]), ev[i]);
	CHECK(recv(fds[0], b, 10, 0) == 6 && !memcmp(b, "unread", 6) && recv(fds[0], b, 10, 0) == 0);
	CHECK(getsockopt(fds[0], SOL_SOCKET, SO_ERROR, &v, &len) == 0 && v == 0);
	/* the kernel lets bytes wait behind an error */
	CHECK(recv(fds[1], b, 10, 0) == 4 && !memcmp(b, "last", 4));
	CHECK(recv(fds[1], b, 10, 0) < 0 && errno == ECONNRESET);
	CHECK(recv(fds[2], b, 10, 0) == 0 && send(fds[2], "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE);
	CHECK(recv(fds[3], b, 10, 0) < 0 && errno == ENOTCONN);
}

int main(int argc, char **argv)
{
	int four[4], six[4], ev4[4], ev6[4];

	prog_init(argc, argv);
	run(AF_INET, four, ev4);
	run(AF_INET6, six, ev6);
	prog_ready();

	check(four, ev4);
	check(six, ev6);
	prog_ok();
}
