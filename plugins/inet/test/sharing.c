/* SPDX-License-Identifier: MIT */
/*
 * Sockets that share a port: groups with SO_REUSEPORT of TCP and UDP, which others of the same user may join; with
 * SO_REUSEADDR; of IPv4 and IPv6; connections of a listener, and those that clients made from one port.  UDP sockets that
 * were shut down at one end.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "prog.h"

static struct sockaddr_in name_of(int fd)
{
	struct sockaddr_in a = { 0 };
	socklen_t len = sizeof(a);

	CHECK(getsockname(fd, (struct sockaddr *)&a, &len) == 0);
	return a;
}

/* At the port of other, -1: any. */
static int made(int type, int option, int other)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, type, 0), one = 1;

	CHECK(fd >= 0 && (!option || setsockopt(fd, SOL_SOCKET, option, &one, sizeof(one)) == 0));
	if (other >= 0)
		a.sin_port = name_of(other).sin_port;
	CHECK(bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
	return fd;
}

static void join(int fd, int to)
{
	struct sockaddr_in a = name_of(to);

	CHECK(connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
}

static void same_port(int a, int b)
{
	CHECK(name_of(a).sin_port && name_of(a).sin_port == name_of(b).sin_port);
}

static void passes(int from, int to)
{
	char b = 0;

	CHECK(send(from, "x", 1, MSG_NOSIGNAL) == 1 && recv(to, &b, 1, 0) == 1 && b == 'x');
}

int main(int argc, char **argv)
{
	int tcp[3], udp[3], pair[2], l[2], c[2], s[2], listener, client, server, six, no_send[2], no_recv[2], one = 1;
	struct sockaddr_in6 any = { .sin6_family = AF_INET6 };
	char b;

	prog_init(argc, argv);
	for (int i = 0; i < 3; i++) {
		tcp[i] = made(SOCK_STREAM, SO_REUSEPORT, i ? tcp[0] : -1);
		CHECK(listen(tcp[i], 5) == 0);
		udp[i] = made(SOCK_DGRAM, SO_REUSEPORT, i ? udp[0] : -1);
	}
	for (int i = 0; i < 2; i++)
		pair[i] = made(SOCK_STREAM, SO_REUSEADDR, i ? pair[0] : -1);
	listener = made(SOCK_STREAM, SO_REUSEADDR, -1);
	six = socket(AF_INET6, SOCK_STREAM, 0);
	any.sin6_port = name_of(listener).sin_port;
	CHECK(setsockopt(six, SOL_IPV6, IPV6_V6ONLY, &one, sizeof(one)) == 0);
	CHECK(bind(six, (struct sockaddr *)&any, sizeof(any)) == 0 && listen(six, 5) == 0 && listen(listener, 5) == 0);
	client = socket(AF_INET, SOCK_STREAM, 0);
	join(client, listener);
	server = accept(listener, NULL, NULL);
	for (int i = 0; i < 2; i++) {
		l[i] = made(SOCK_STREAM, 0, -1);
		CHECK(listen(l[i], 5) == 0);
		c[i] = made(SOCK_STREAM, SO_REUSEADDR, i ? c[0] : -1);
		join(c[i], l[i]);
		s[i] = accept(l[i], NULL, NULL);
	}
	for (int i = 0; i < 2; i++) {
		no_send[i] = made(SOCK_DGRAM, 0, -1);
		no_recv[i] = made(SOCK_DGRAM, 0, -1);
	}
	for (int i = 0; i < 2; i++) {
		join(no_send[i], no_send[!i]);
		join(no_recv[i], no_recv[!i]);
	}
	CHECK(shutdown(no_send[0], SHUT_WR) == 0 && shutdown(no_recv[0], SHUT_RD) == 0);

	prog_ready();

	for (int i = 1; i < 3; i++) {
		same_port(tcp[0], tcp[i]);
		same_port(udp[0], udp[i]);
	}
	close(made(SOCK_STREAM, SO_REUSEPORT, tcp[0]));
	close(made(SOCK_DGRAM, SO_REUSEPORT, udp[0]));
	same_port(pair[0], pair[1]);
	same_port(c[0], c[1]);
	for (int i = 0; i < 2; i++)
		passes(c[i], s[i]);
	passes(client, server);
	same_port(listener, server);
	client = socket(AF_INET6, SOCK_STREAM, 0);
	any.sin6_addr = in6addr_loopback;
	if (connect(client, (struct sockaddr *)&any, sizeof(any)) == 0) /* a machine without IPv6 */
		CHECK(accept(six, NULL, NULL) >= 0);
	client = socket(AF_INET, SOCK_STREAM, 0);
	join(client, listener);
	CHECK(accept(listener, NULL, NULL) >= 0);
	CHECK(send(no_send[0], "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE);
	passes(no_send[1], no_send[0]);
	CHECK(recv(no_recv[0], &b, 1, 0) == 0);
	passes(no_recv[0], no_recv[1]);
	prog_ok();
}
