/* SPDX-License-Identifier: MIT */
/* --tcp-close: connections are dropped, their listening socket goes on; --skip-in-flight: one that nobody accepted, too. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "prog.h"

int main(int argc, char **argv)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int l = socket(AF_INET, SOCK_STREAM, 0), c = socket(AF_INET, SOCK_STREAM, 0), s, w = socket(AF_INET, SOCK_STREAM, 0);
	char b;

	prog_init(argc, argv);
	CHECK(bind(l, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(l, 5) == 0);
	CHECK(getsockname(l, (struct sockaddr *)&a, &len) == 0);
	CHECK(connect(c, (struct sockaddr *)&a, sizeof(a)) == 0 && (s = accept(l, NULL, NULL)) >= 0);
	CHECK(connect(w, (struct sockaddr *)&a, sizeof(a)) == 0);
	prog_ready();

	if (send(c, "x", 1, MSG_NOSIGNAL) == 1) /* not restored: the dump left it running */
		prog_ok();
	CHECK(recv(s, &b, 1, MSG_DONTWAIT) < 0 && errno == ENOTCONN);
	CHECK(close(c) == 0 && close(s) == 0 && (c = socket(AF_INET, SOCK_STREAM, 0)) >= 0);
	CHECK(fcntl(l, F_SETFL, O_NONBLOCK) == 0 && accept(l, NULL, NULL) < 0 && errno == EAGAIN);
	CHECK(connect(c, (struct sockaddr *)&a, sizeof(a)) == 0 && (s = accept(l, NULL, NULL)) >= 0);
	CHECK(send(c, "y", 1, 0) == 1 && recv(s, &b, 1, 0) == 1);
	prog_ok();
}
