/* SPDX-License-Identifier: MIT */
/* Datagram sockets with names: several clients of one, packets of them unread, one connected to itself's peer. */
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "prog.h"

static struct sockaddr_un addr(const char *name)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	strcpy(a.sun_path, name);
	return a;
}

static int bound(const char *name)
{
	struct sockaddr_un a = addr(name);
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
	return fd;
}

static void join(int fd, const char *name)
{
	struct sockaddr_un a = addr(name);

	CHECK(connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
}

static void expect(int fd, const char *text)
{
	char buf[64];

	CHECK(recv(fd, buf, sizeof(buf), MSG_DONTWAIT) == (ssize_t)strlen(text));
	CHECK(!memcmp(buf, text, strlen(text)));
}

int main(int argc, char **argv)
{
	int server, c1, c2, x, y, lone, autob, un;
	struct sockaddr_un a, b;
	char path[4200];
	socklen_t la = sizeof(a), lb = sizeof(b);

	prog_init(argc, argv);
	CHECK(chdir(prog_dir) == 0);
	server = bound("server");
	c1 = socket(AF_UNIX, SOCK_DGRAM, 0);
	c2 = bound("client");
	join(c1, "server");
	join(c2, "server");
	CHECK(send(c1, "from 1", 6, 0) == 6 && send(c2, "from 2", 6, 0) == 6 && send(c1, "", 0, 0) == 0);
	/* connected to each other */
	x = bound("x");
	y = bound("y");
	join(x, "y");
	join(y, "x");
	CHECK(send(x, "to y", 4, 0) == 4 && send(y, "to x", 4, 0) == 4);
	lone = socket(AF_UNIX, SOCK_DGRAM, 0);
	autob = socket(AF_UNIX, SOCK_DGRAM, 0);
	CHECK(bind(autob, (struct sockaddr *)&(struct sockaddr_un){ .sun_family = AF_UNIX }, sizeof(sa_family_t)) == 0);
	CHECK(getsockname(autob, (struct sockaddr *)&a, &la) == 0);
	CHECK(strlen(prog_dir) + 4 < sizeof(a.sun_path));
	strcat(strcpy(path, prog_dir), "/un");
	un = bound(path);
	join(lone, path);
	CHECK(send(lone, "hidden", 6, 0) == 6 && unlink("un") == 0);
	prog_ready();

	expect(server, "from 1");
	expect(server, "from 2");
	expect(server, "");
	expect(x, "to x");
	expect(y, "to y");
	CHECK(send(c1, "again", 5, 0) == 5);
	expect(server, "again");
	CHECK(send(c2, "again", 5, 0) == 5);
	CHECK(recvfrom(server, (char[8]){ 0 }, 8, 0, (struct sockaddr *)&b, &lb) == 5 && !strcmp(b.sun_path, "client"));
	CHECK(send(x, "1", 1, 0) == 1 && send(y, "2", 1, 0) == 1);
	expect(x, "2");
	expect(y, "1");
	lb = sizeof(b);
	CHECK(getsockname(autob, (struct sockaddr *)&b, &lb) == 0 && la == lb && !memcmp(&a, &b, la));
	expect(un, "hidden");
	CHECK(send(lone, "found", 5, 0) == 5);
	expect(un, "found");
	CHECK(access("un", F_OK) < 0);
	prog_ok();
}
