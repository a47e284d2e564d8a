/* SPDX-License-Identifier: MIT */
/* MPTCP sockets that listen, are bound, are new; one with a connection, which is dropped (--tcp-close). */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "prog.h"

#define PROTO_MPTCP 262

static struct sockaddr_in name_of(int fd)
{
	struct sockaddr_in a = { 0 };
	socklen_t len = sizeof(a);

	CHECK(getsockname(fd, (struct sockaddr *)&a, &len) == 0);
	return a;
}

static int get(int fd, int level, int name)
{
	int v = -1;
	socklen_t len = sizeof(v);

	CHECK(getsockopt(fd, level, name, &v, &len) == 0);
	return v;
}

int main(int argc, char **argv)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) }, n1, n2;
	int l, bound, fresh, c, s, one = 1;
	char b;

	prog_init(argc, argv);
	l = socket(AF_INET, SOCK_STREAM, PROTO_MPTCP);
	if (l < 0)
		prog_skip("no MPTCP here: %s", strerror(errno));
	CHECK(setsockopt(l, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one)) == 0);
	CHECK(bind(l, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(l, 3) == 0);
	n1 = name_of(l);
	bound = socket(AF_INET, SOCK_STREAM, PROTO_MPTCP);
	CHECK(bound >= 0 && bind(bound, (struct sockaddr *)&a, sizeof(a)) == 0);
	n2 = name_of(bound);
	fresh = socket(AF_INET, SOCK_STREAM, PROTO_MPTCP);
	c = socket(AF_INET, SOCK_STREAM, PROTO_MPTCP);
	CHECK(connect(c, (struct sockaddr *)&n1, sizeof(n1)) == 0 && (s = accept(l, NULL, NULL)) >= 0);
	prog_ready();

	if (send(c, "x", 1, MSG_NOSIGNAL) == 1) /* the dump left it running */
		prog_ok();
	CHECK(name_of(l).sin_port == n1.sin_port && name_of(bound).sin_port == n2.sin_port);
	CHECK(get(l, SOL_SOCKET, SO_PROTOCOL) == PROTO_MPTCP && get(l, SOL_SOCKET, SO_KEEPALIVE) == 1);
	CHECK(get(fresh, SOL_SOCKET, SO_PROTOCOL) == PROTO_MPTCP && name_of(fresh).sin_port == 0);
	CHECK(recv(s, &b, 1, MSG_DONTWAIT) < 0 && errno == ENOTCONN);
	CHECK(connect(fresh, (struct sockaddr *)&n1, sizeof(n1)) == 0 && (s = accept(l, NULL, NULL)) >= 0);
	CHECK(send(fresh, "y", 1, 0) == 1 && recv(s, &b, 1, 0) == 1 && b == 'y');
	prog_ok();
}
