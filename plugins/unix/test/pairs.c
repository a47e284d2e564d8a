/* SPDX-License-Identifier: MIT */
/* Socket pairs of every type: unread data in both directions, half shut down, options, shared by a child. */
#include <sys/socket.h>
#include <sys/time.h>

#include "prog.h"

static const int types[] = { SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET };
static int sv[3][2], shut[2], gone[3], big[2];
static char block[150000], got[150000];

static void expect(int fd, const char *text)
{
	char buf[64];

	CHECK(recv(fd, buf, sizeof(buf), 0) == (ssize_t)strlen(text));
	CHECK(!memcmp(buf, text, strlen(text)));
}

static void setup(void)
{
	struct timeval tv = { 7, 500000 };
	int v = 1, size = 50000, temp[2];

	for (int i = 0; i < 3; i++) {
		CHECK(socketpair(AF_UNIX, types[i] | SOCK_CLOEXEC, 0, sv[i]) == 0);
		CHECK(send(sv[i][0], "one", 3, 0) == 3 && send(sv[i][0], "second", 6, 0) == 6);
		CHECK(send(sv[i][1], "back", 4, 0) == 4);
		CHECK(socketpair(AF_UNIX, types[i], 0, temp) == 0);
		CHECK(send(temp[1], "last", 4, 0) == 4 && close(temp[1]) == 0);
		gone[i] = temp[0];
	}
	CHECK(send(sv[1][0], "", 0, 0) == 0 && send(sv[1][0], "end", 3, 0) == 3);
	CHECK(fcntl(sv[0][0], F_SETFL, O_NONBLOCK) == 0);
	CHECK(setsockopt(sv[0][1], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) == 0);
	CHECK(setsockopt(sv[2][1], SOL_SOCKET, SO_PASSCRED, &v, sizeof(v)) == 0);
	CHECK(setsockopt(sv[2][0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) == 0);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, shut) == 0 && send(shut[0], "tail", 4, 0) == 4);
	CHECK(shutdown(shut[0], SHUT_WR) == 0);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, big) == 0);
	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = i * 7 + i / 1000;
	CHECK(send(big[0], block, sizeof(block), 0) == (ssize_t)sizeof(block));
}

static void expect_owner(int fd, pid_t pid)
{
	struct ucred c = { 0 };
	socklen_t len = sizeof(c);

	CHECK(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &len) == 0);
	CHECK(c.pid == pid && c.uid == getuid() && c.gid == getgid());
}

static void child(void *arg)
{
	prog_wait_go();
	CHECK(recv(big[1], got, sizeof(got), MSG_WAITALL) == (ssize_t)sizeof(got));
	CHECK(!memcmp(block, got, sizeof(got)));
	CHECK(send(big[1], "read", 4, 0) == 4);
}

int main(int argc, char **argv)
{
	struct timeval tv;
	socklen_t len = sizeof(tv);
	char buf[64];
	int v = 0;
	pid_t pid;

	prog_init(argc, argv);
	setup();
	pid = prog_child(child, NULL);
	prog_ready();

	for (int i = 0; i < 3; i++) {
		expect_owner(sv[i][0], getpid());
		expect_owner(sv[i][1], getpid());
		expect_owner(gone[i], getpid());
	}
	expect(sv[0][1], "onesecond");
	expect(sv[1][1], "one");
	expect(sv[1][1], "second");
	CHECK(recv(sv[1][1], buf, sizeof(buf), 0) == 0);
	expect(sv[1][1], "end");
	expect(sv[2][1], "one");
	expect(sv[2][1], "second");
	for (int i = 0; i < 3; i++) {
		expect(sv[i][0], "back");
		CHECK(recv(sv[i][0], buf, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN);
		CHECK(send(sv[i][1], "more", 4, 0) == 4);
		expect(sv[i][0], "more");
		CHECK(fcntl(sv[i][0], F_GETFD) == FD_CLOEXEC);
		expect(gone[i], "last");
		CHECK(send(gone[i], "x", 1, MSG_NOSIGNAL) < 0);
		CHECK(errno == (types[i] == SOCK_DGRAM ? ECONNREFUSED : EPIPE));
	}
	CHECK(fcntl(sv[0][0], F_GETFL) & O_NONBLOCK && !(fcntl(sv[0][1], F_GETFL) & O_NONBLOCK));
	CHECK(getsockopt(sv[0][1], SOL_SOCKET, SO_RCVTIMEO, &tv, &len) == 0 && tv.tv_sec == 7 && tv.tv_usec == 500000);
	len = sizeof(v);
	CHECK(getsockopt(sv[2][1], SOL_SOCKET, SO_PASSCRED, &v, &len) == 0 && v == 1);
	CHECK(getsockopt(sv[2][0], SOL_SOCKET, SO_SNDBUF, &v, &len) == 0 && v == 100000);
	CHECK(recv(gone[0], buf, 1, 0) == 0);
	expect(shut[1], "tail");
	CHECK(recv(shut[1], buf, 1, 0) == 0 && send(shut[1], "still", 5, 0) == 5);
	expect(shut[0], "still");
	CHECK(send(shut[0], "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE);
	expect(big[0], "read");
	prog_reap(pid);
	prog_ok();
}
