/* SPDX-License-Identifier: MIT */
/* Listening TCP sockets of both families with options; bound and fresh ones; connections to them afterwards. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "prog.h"

static int get(int fd, int level, int name)
{
	int v = -1;
	socklen_t len = sizeof(v);

	CHECK(getsockopt(fd, level, name, &v, &len) == 0);
	return v;
}

static void set(int fd, int level, int name, int v)
{
	CHECK(setsockopt(fd, level, name, &v, sizeof(v)) == 0);
}

static int port_of(int fd)
{
	struct sockaddr_in6 a;
	socklen_t len = sizeof(a);

	CHECK(getsockname(fd, (struct sockaddr *)&a, &len) == 0);
	return ntohs(a.sin6_port);
}

static void talk(int fd, int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int c = socket(AF_INET, SOCK_STREAM, 0), s;
	char buf[8];

	CHECK(connect(c, (struct sockaddr *)&a, sizeof(a)) == 0 && (s = accept(fd, NULL, NULL)) >= 0);
	CHECK(send(c, "hello", 5, 0) == 5 && recv(s, buf, sizeof(buf), 0) == 5);
	CHECK(close(c) == 0 && close(s) == 0);
}

int main(int argc, char **argv)
{
	struct sockaddr_in a4 = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_ANY_INIT };
	int l4, l6, r1, r2, bound, fresh, p4, p6, pr, pb, queue = 0;
	char cc[16] = "";
	socklen_t len = sizeof(cc);

	prog_init(argc, argv);
	l4 = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	set(l4, SOL_SOCKET, SO_KEEPALIVE, 1);
	set(l4, SOL_TCP, TCP_KEEPIDLE, 99);
	set(l4, SOL_TCP, TCP_NODELAY, 1);
	set(l4, SOL_TCP, TCP_USER_TIMEOUT, 12345);
	set(l4, SOL_TCP, TCP_DEFER_ACCEPT, 1);
	set(l4, SOL_IP, IP_TTL, 33);
	set(l4, SOL_SOCKET, SO_RCVBUF, 40000);
	CHECK(setsockopt(l4, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 5 }, sizeof(struct linger)) == 0);
	CHECK(bind(l4, (struct sockaddr *)&a4, sizeof(a4)) == 0 && listen(l4, 17) == 0);
	p4 = port_of(l4);
	l6 = socket(AF_INET6, SOCK_STREAM, 0);
	set(l6, SOL_IPV6, IPV6_V6ONLY, 0);
	set(l6, SOL_SOCKET, SO_REUSEADDR, 1);
	CHECK(bind(l6, (struct sockaddr *)&a6, sizeof(a6)) == 0 && listen(l6, 5) == 0);
	p6 = port_of(l6);
	/* two of one port */
	r1 = socket(AF_INET, SOCK_STREAM, 0);
	r2 = socket(AF_INET, SOCK_STREAM, 0);
	set(r1, SOL_SOCKET, SO_REUSEPORT, 1);
	set(r2, SOL_SOCKET, SO_REUSEPORT, 1);
	CHECK(bind(r1, (struct sockaddr *)&a4, sizeof(a4)) == 0 && listen(r1, 1) == 0);
	a4.sin_port = htons(pr = port_of(r1));
	CHECK(bind(r2, (struct sockaddr *)&a4, sizeof(a4)) == 0 && listen(r2, 1) == 0);
	a4.sin_port = 0;
	bound = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(bind(bound, (struct sockaddr *)&a4, sizeof(a4)) == 0);
	pb = port_of(bound);
	fresh = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(setsockopt(fresh, SOL_TCP, TCP_CONGESTION, "reno", 4) == 0);
	prog_ready();

	CHECK(port_of(l4) == p4 && port_of(l6) == p6 && port_of(r1) == pr && port_of(r2) == pr && port_of(bound) == pb);
	CHECK(port_of(fresh) == 0 && get(l4, SOL_SOCKET, SO_ACCEPTCONN) == 1 && get(bound, SOL_SOCKET, SO_ACCEPTCONN) == 0);
	CHECK(fcntl(l4, F_GETFL) & O_NONBLOCK && fcntl(fresh, F_GETFD) == FD_CLOEXEC);
	CHECK(get(l4, SOL_SOCKET, SO_KEEPALIVE) == 1 && get(l4, SOL_TCP, TCP_KEEPIDLE) == 99);
	CHECK(get(l4, SOL_TCP, TCP_NODELAY) == 1 && get(l4, SOL_TCP, TCP_USER_TIMEOUT) == 12345);
	CHECK(get(l4, SOL_TCP, TCP_DEFER_ACCEPT) == 1 && get(l4, SOL_IP, IP_TTL) == 33);
	CHECK(get(l4, SOL_SOCKET, SO_RCVBUF) == 80000 && get(l4, SOL_SOCKET, SO_REUSEADDR) == 0);
	CHECK(get(l6, SOL_SOCKET, SO_REUSEADDR) == 1 && get(l6, SOL_IPV6, IPV6_V6ONLY) == 0);
	CHECK(get(r1, SOL_SOCKET, SO_REUSEPORT) == 1 && get(r2, SOL_SOCKET, SO_REUSEPORT) == 1);
	CHECK(getsockopt(fresh, SOL_TCP, TCP_CONGESTION, cc, &len) == 0 && !strcmp(cc, "reno"));
	CHECK(getsockopt(l4, SOL_TCP, TCP_INFO, &(struct tcp_info){ 0 }, &(socklen_t){ sizeof(struct tcp_info) }) == 0);
	(void)queue;
	CHECK(fcntl(l4, F_SETFL, 0) == 0);
	set(l4, SOL_TCP, TCP_DEFER_ACCEPT, 0);
	talk(l4, p4);
	talk(l6, p6);
	CHECK(listen(bound, 1) == 0);
	talk(bound, pb);
	prog_ok();
}
