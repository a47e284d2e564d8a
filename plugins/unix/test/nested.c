/* SPDX-License-Identifier: MIT */
/*
 * Sockets in the queues of sockets: nested three deep, one in its own queue, two in the queues of each other, of which one
 * is nowhere else; a half shut down one, whose queue comes back before that.
 */
#include <sys/socket.h>

#include "prog.h"

static void give(int sock, const char *text, int fd)
{
	union {
		struct cmsghdr c;
		char room[CMSG_SPACE(sizeof(int))];
	} u = { 0 };
	struct iovec iov = { (void *)text, strlen(text) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &u, .msg_controllen = sizeof(u) };

	u.c.cmsg_level = SOL_SOCKET;
	u.c.cmsg_type = SCM_RIGHTS;
	u.c.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&u.c), &fd, sizeof(int));
	CHECK(sendmsg(sock, &m, 0) == (ssize_t)strlen(text));
}

static int take(int sock, const char *text)
{
	union {
		struct cmsghdr c;
		char room[CMSG_SPACE(sizeof(int))];
	} u = { 0 };
	char buf[64];
	struct iovec iov = { buf, sizeof(buf) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &u, .msg_controllen = sizeof(u) };
	int fd = -1;

	CHECK(recvmsg(sock, &m, 0) == (ssize_t)strlen(text) && !memcmp(buf, text, strlen(text)));
	CHECK(m.msg_controllen && u.c.cmsg_type == SCM_RIGHTS && u.c.cmsg_len == CMSG_LEN(sizeof(int)));
	memcpy(&fd, CMSG_DATA(&u.c), sizeof(int));
	CHECK(fd >= 0);
	return fd;
}

static void expect(int fd, const char *text)
{
	char buf[64];

	CHECK(recv(fd, buf, sizeof(buf), MSG_DONTWAIT) == (ssize_t)strlen(text) && !memcmp(buf, text, strlen(text)));
}

/* A file in a socket in a socket in a socket. */
static int nest(int type)
{
	int outer[2], middle[2], inner[2], p[2];

	CHECK(!socketpair(AF_UNIX, type, 0, outer) && !socketpair(AF_UNIX, type, 0, middle));
	CHECK(!socketpair(AF_UNIX, type, 0, inner) && !pipe(p) && write(p[1], "pearl", 5) == 5);
	give(inner[0], "pipe", p[0]);
	give(middle[0], "inner", inner[1]);
	give(outer[0], "middle", middle[1]);
	CHECK(!close(p[0]) && !close(p[1]) && !close(inner[0]) && !close(inner[1]) && !close(middle[0]) && !close(middle[1]));
	CHECK(!close(outer[0]));
	return outer[1];
}

static void unpack(int outer)
{
	int middle = take(outer, "middle"), inner = take(middle, "inner"), p = take(inner, "pipe");
	char buf[8];

	CHECK(read(p, buf, sizeof(buf)) == 5 && !memcmp(buf, "pearl", 5) && read(p, buf, 1) == 0);
	CHECK(!close(middle) && !close(inner) && !close(p));
}

int main(int argc, char **argv)
{
	static const int types[3] = { SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET };
	int nested[3], self[3][2], ring[2][2], shut[2], fd, size = 0, was = 0, first, second;
	socklen_t len = sizeof(int);
	char c;

	prog_init(argc, argv);
	for (int i = 0; i < 3; i++) {
		nested[i] = nest(types[i]);
		CHECK(!socketpair(AF_UNIX, types[i], 0, self[i]));
		give(self[i][0], "self", self[i][1]);
		CHECK(send(self[i][0], "more", 4, 0) == 4);
	}
	for (int i = 0; i < 2; i++)
		CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, ring[i]));
	give(ring[0][0], "second", ring[1][1]);
	give(ring[1][0], "first", ring[0][1]);
	CHECK(!close(ring[1][1]));
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, shut));
	give(shut[0], "tail", ring[0][0]);
	CHECK(!shutdown(shut[0], SHUT_WR));
	CHECK(!getsockopt(shut[0], SOL_SOCKET, SO_SNDBUF, &was, &len));
	prog_ready();

	for (int i = 0; i < 3; i++)
		unpack(nested[i]);
	fd = take(shut[1], "tail");
	CHECK(recv(shut[1], &c, 1, 0) == 0 && send(shut[1], "still", 5, 0) == 5);
	expect(shut[0], "still");
	CHECK(send(shut[0], "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE);
	CHECK(!getsockopt(shut[0], SOL_SOCKET, SO_SNDBUF, &size, &len) && size == was);
	/* the same description as ring[0][0] */
	CHECK(send(fd, "!", 1, 0) == 1);
	second = take(ring[0][1], "second");
	expect(ring[0][1], "!");
	first = take(second, "first");
	CHECK(send(ring[0][0], "a", 1, 0) == 1 && send(ring[1][0], "b", 1, 0) == 1);
	expect(first, "a");
	expect(second, "b");
	for (int i = 0; i < 3; i++) {
		fd = take(self[i][1], "self");
		expect(fd, "more");
		CHECK(send(self[i][0], "on", 2, MSG_NOSIGNAL) == 2);
		expect(fd, "on");
		CHECK(send(fd, "back", 4, MSG_NOSIGNAL) == 4);
		expect(self[i][0], "back");
	}
	prog_ok();
}
