/* SPDX-License-Identifier: MIT */
/*
 * --tcp-close: the server's end of a connection is closed first when the program is killed, and stays for a minute as TIME_WAIT.
 * Its port must be had by the restored listener all the same, which never asked for SO_REUSEADDR.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "prog.h"

int main(int argc, char **argv)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int l = socket(AF_INET, SOCK_STREAM, 0), c = socket(AF_INET, SOCK_STREAM, 0), s, old = -1;
	socklen_t len = sizeof(a), olen = sizeof(old);

	prog_init(argc, argv);
	CHECK(bind(l, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(l, 5) == 0);
	CHECK(getsockname(l, (struct sockaddr *)&a, &len) == 0);
	CHECK(connect(c, (struct sockaddr *)&a, sizeof(a)) == 0 && (s = accept(l, NULL, NULL)) >= 0);
	/* descriptors are closed from the lowest on */
	CHECK(dup2(c, 50) == 50 && close(c) == 0);
	c = 50;
	prog_ready();

	CHECK(getsockopt(s, SOL_SOCKET, SO_REUSEADDR, &old, &olen) == 0 && old == 0);
	CHECK(getsockopt(l, SOL_SOCKET, SO_REUSEADDR, &old, &olen) == 0 && old == 0);
	if (send(c, "x", 1, MSG_NOSIGNAL) == 1) /* not restored: the dump left it running */
		prog_ok();
	CHECK(close(c) == 0 && close(s) == 0 && (c = socket(AF_INET, SOCK_STREAM, 0)) >= 0);
	CHECK(connect(c, (struct sockaddr *)&a, sizeof(a)) == 0 && (s = accept(l, NULL, NULL)) >= 0);
	CHECK(send(c, "y", 1, 0) == 1);
	prog_ok();
}
