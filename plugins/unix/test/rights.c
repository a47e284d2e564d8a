/* SPDX-License-Identifier: MIT */
/* Descriptors on their way through a socket: a file, a pipe end, a socket that nobody else has. */
#include <sys/socket.h>

#include "prog.h"

static void give(int sock, const char *text, const int *fds, int n)
{
	union {
		struct cmsghdr c;
		char room[CMSG_SPACE(4 * sizeof(int))];
	} u = { 0 };
	struct iovec iov = { (void *)text, strlen(text) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &u, .msg_controllen = CMSG_SPACE(n * sizeof(int)) };

	u.c.cmsg_level = SOL_SOCKET;
	u.c.cmsg_type = SCM_RIGHTS;
	u.c.cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(&u.c), fds, n * sizeof(int));
	CHECK(sendmsg(sock, &m, 0) == (ssize_t)strlen(text));
}

static void take(int sock, const char *text, int *fds, int n)
{
	union {
		struct cmsghdr c;
		char room[CMSG_SPACE(4 * sizeof(int))];
	} u = { 0 };
	char buf[64];
	struct iovec iov = { buf, sizeof(buf) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &u, .msg_controllen = sizeof(u) };

	CHECK(recvmsg(sock, &m, 0) == (ssize_t)strlen(text) && !memcmp(buf, text, strlen(text)));
	if (!n) {
		CHECK(m.msg_controllen == 0);
		return;
	}
	CHECK(u.c.cmsg_type == SCM_RIGHTS && u.c.cmsg_len == CMSG_LEN(n * sizeof(int)));
	memcpy(fds, CMSG_DATA(&u.c), n * sizeof(int));
}

int main(int argc, char **argv)
{
	int sv[2][2], p[2], q[2], fds[3], got[3], file;
	char buf[16];

	prog_init(argc, argv);
	CHECK(chdir(prog_dir) == 0);
	for (int i = 0; i < 2; i++)
		CHECK(socketpair(AF_UNIX, i ? SOCK_DGRAM : SOCK_STREAM, 0, sv[i]) == 0);
	CHECK(pipe(p) == 0 && write(p[1], "pipe", 4) == 4);
	file = open("file", O_RDWR | O_CREAT, 0600);
	CHECK(file >= 0 && write(file, "contents", 8) == 8 && lseek(file, 3, SEEK_SET) == 3);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, q) == 0 && write(q[1], "inner", 5) == 5);
	for (int i = 0; i < 2; i++) {
		CHECK(send(sv[i][0], "plain", 5, 0) == 5);
		fds[0] = file, fds[1] = p[0], fds[2] = q[0];
		give(sv[i][0], "three", fds, 3);
		CHECK(send(sv[i][0], "after", 5, 0) == 5);
	}
	CHECK(close(file) == 0 && close(p[0]) == 0 && close(q[0]) == 0);
	prog_ready();

	/* a read of a stream goes on to the bytes that have descriptors with them, and ends there */
	take(sv[0][1], "plainthree", got, 3);
	take(sv[0][1], "after", NULL, 0);
	CHECK(read(got[0], buf, sizeof(buf)) == 5 && !memcmp(buf, "tents", 5));
	CHECK(read(got[1], buf, sizeof(buf)) == 4 && !memcmp(buf, "pipe", 4));
	CHECK(read(got[2], buf, sizeof(buf)) == 5 && !memcmp(buf, "inner", 5));
	CHECK(write(got[2], "x", 1) == 1 && read(q[1], buf, 1) == 1);
	take(sv[1][1], "plain", NULL, 0);
	take(sv[1][1], "three", fds, 3);
	take(sv[1][1], "after", NULL, 0);
	/* the same description */
	CHECK(lseek(fds[0], 1, SEEK_SET) == 1 && lseek(got[0], 0, SEEK_CUR) == 1);
	prog_ok();
}
