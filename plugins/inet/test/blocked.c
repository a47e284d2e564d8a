/* SPDX-License-Identifier: MIT */
/*
 * Threads that wait at sockets of the Internet: for a connection, for a datagram (recvfrom,
 * recvmsg), for bytes of a TCP connection and for room to send in one; with SO_RCVTIMEO, too.
 */
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "blocked.h"

static int listener, listener6, udp, udp6, in[2], out[2], timed[2];

static struct sockaddr_in6 name_of(int fd)
{
	struct sockaddr_in6 a = { 0 };
	socklen_t len = sizeof(a);

	CHECK(getsockname(fd, (struct sockaddr *)&a, &len) == 0);
	return a;
}

static int sock(int family, int type)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	int fd = socket(family, type, 0);

	CHECK(fd >= 0);
	CHECK(bind(fd, family == AF_INET ? (void *)&a : (void *)&a6, family == AF_INET ? sizeof(a) : sizeof(a6)) == 0);
	if (type == SOCK_STREAM)
		CHECK(listen(fd, 5) == 0);
	return fd;
}

static int connected(int to, int type)
{
	struct sockaddr_in6 a = name_of(to);
	int fd = socket(a.sin6_family, type, 0);

	CHECK(fd >= 0 && connect(fd, (void *)&a, a.sin6_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(a)) == 0);
	return fd;
}

static void pair(int *ret)
{
	int l = sock(AF_INET, SOCK_STREAM);

	ret[1] = connected(l, SOCK_STREAM);
	ret[0] = accept(l, NULL, NULL);
	CHECK(ret[0] >= 0 && close(l) == 0);
}

static int takes(int l)
{
	char c = 0;
	int fd = accept(l, NULL, NULL);

	return fd >= 0 && read(fd, &c, 1) == 1 && c == 'c' ? close(fd) : -1;
}

static void calls_it(int l)
{
	int fd = connected(l, SOCK_STREAM);

	CHECK(write(fd, "c", 1) == 1 && close(fd) == 0);
}

static int do_accept(void) { return takes(listener); }
static void free_accept(void) { calls_it(listener); }
static int do_accept6(void) { return takes(listener6); }
static void free_accept6(void) { calls_it(listener6); }

static void says(int to, const char *text)
{
	int fd = connected(to, SOCK_DGRAM);

	CHECK(send(fd, text, strlen(text), 0) == (ssize_t)strlen(text) && close(fd) == 0);
}

static int do_recvfrom(void)
{
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	char buf[10] = "";

	return recvfrom(udp, buf, sizeof(buf), 0, (void *)&from, &len) == 4 && !strcmp(buf, "from") &&
	       from.sin_addr.s_addr == htonl(INADDR_LOOPBACK) && len == sizeof(from) ? 0 : -1;
}

static void free_recvfrom(void) { says(udp, "from"); }

static int do_recvmsg(void)
{
	char buf[10] = "";
	struct iovec iov = { buf, sizeof(buf) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	return recvmsg(udp6, &m, 0) == 3 && !strcmp(buf, "msg") ? 0 : -1;
}

static void free_recvmsg(void) { says(udp6, "msg"); }

static int do_in(void)
{
	char buf[6] = "";

	return recv(in[0], buf, 5, MSG_WAITALL) == 5 && !strcmp(buf, "hello") ? 0 : -1;
}

static void free_in(void)
{
	CHECK(send(in[1], "hel", 3, 0) == 3);
	prog_nap(20);
	CHECK(send(in[1], "lo", 2, 0) == 2);
}

static int do_timed(void)
{
	char c = 0;
	ssize_t n;

	do {
		n = recv(timed[0], &c, 1, 0);
	} while (n < 0 && blocked_again());
	return n == 1 && c == 't' ? 0 : -1;
}

static void free_timed(void) { CHECK(send(timed[1], "t", 1, 0) == 1); }
static int do_out(void) { return send(out[1], "S", 1, 0) == 1 ? 0 : -1; }

static void free_out(void)
{
	char buf[65536];
	ssize_t n;

	do {
		n = recv(out[0], buf, sizeof(buf), 0);
		CHECK(n > 0);
	} while (buf[n - 1] != 'S');
}

static void setup_out(void)
{
	static const char zeros[65536];
	int quiet = 0;

	/* what is on its way is taken in the end */
	while (quiet < 5) {
		if (send(out[1], zeros, sizeof(zeros), MSG_DONTWAIT) > 0) {
			quiet = 0;
			continue;
		}
		CHECK(errno == EAGAIN);
		quiet++;
		prog_nap(20);
	}
}

static const struct blocked calls[] = {
	BLOCKED("accept", accept),	 BLOCKED("accept by IPv6", accept6),
	BLOCKED("recvfrom", recvfrom), BLOCKED("recvmsg", recvmsg),
	BLOCKED("recv of all", in),	 BLOCKED("recv with a time limit", timed),
	{ "send", do_out, free_out, setup_out, 1 },
};

int main(int argc, char **argv)
{
	static const struct timeval minutes = { 600, 0 };

	prog_init(argc, argv);
	listener = sock(AF_INET, SOCK_STREAM);
	listener6 = sock(AF_INET6, SOCK_STREAM);
	udp = sock(AF_INET, SOCK_DGRAM);
	udp6 = sock(AF_INET6, SOCK_DGRAM);
	pair(in);
	pair(out);
	pair(timed);
	CHECK(setsockopt(timed[0], SOL_SOCKET, SO_RCVTIMEO, &minutes, sizeof(minutes)) == 0);
	blocked_run(calls, sizeof(calls) / sizeof(calls[0]));
	prog_ok();
}
