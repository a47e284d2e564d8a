/* SPDX-License-Identifier: MIT */
/*
 * Connections to a process outside of the tree, of every type, that are given up (--unix-peer close) or replaced
 * (--inherit-fd, with the harness tests/e2e/unix_outside.sh).  The inode numbers are in the file "inodes".
 */
#include <stdint.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "prog.h"

static int in[3], named;

static void outside(int out[4])
{
	prog_wait_go();
	for (int i = 0; i < 4; i++)
		close(out[i]);
	_exit(0);
}

static void bind_to(int fd, const char *name)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", name);
	CHECK(bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
}

static void tell(void)
{
	char text[200] = "";
	struct stat st;

	for (int i = 0; i < 4; i++) {
		CHECK(fstat(i < 3 ? in[i] : named, &st) == 0);
		sprintf(text + strlen(text), "%ju ", (uintmax_t)st.st_ino);
	}
	prog_write("inodes", strcat(text, "\n"));
}

int main(int argc, char **argv)
{
	static const int types[3] = { SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET };
	int out[4], sv[2];
	char buf[16];

	prog_init(argc, argv);
	CHECK(chdir(prog_dir) == 0);
	for (int i = 0; i < 4; i++) {
		CHECK(socketpair(AF_UNIX, i < 3 ? types[i] : SOCK_DGRAM, 0, sv) == 0);
		out[i] = sv[1];
		*(i < 3 ? &in[i] : &named) = sv[0];
		CHECK(send(sv[1], "last", 4, 0) == 4);
	}
	bind_to(named, "named");
	if (fork() == 0) {
		for (int i = 0; i < 4; i++)
			close(i < 3 ? in[i] : named);
		if (fork() == 0 && setsid() > 0)
			outside(out);
		_exit(0);
	}
	wait(NULL);
	for (int i = 0; i < 4; i++)
		close(out[i]);
	tell();
	prog_ready();

	if (prog_has("replaced")) {
		/* a stream, a datagram socket: the new peer is the harness */
		CHECK(send(in[0], "hello\n", 6, MSG_NOSIGNAL) == 6 && send(in[1], "hello\n", 6, MSG_NOSIGNAL) == 6);
		CHECK(recv(in[0], buf, sizeof(buf), 0) == 4 && !memcmp(buf, "back", 4));
		prog_ok();
	}
	for (int i = 0; i < 4; i++) {
		int fd = i < 3 ? in[i] : named, dgram = i % 2;

		CHECK(recv(fd, buf, sizeof(buf), 0) == 4 && !memcmp(buf, "last", 4));
		CHECK(dgram ? recv(fd, buf, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN : recv(fd, buf, 1, 0) == 0);
		CHECK(send(fd, "x", 1, MSG_NOSIGNAL) < 0);
		/* of one with a name, the second dump cannot tell that there was a peer */
		CHECK(errno == (dgram ? ECONNREFUSED : EPIPE) || (i == 3 && errno == ENOTCONN));
	}
	CHECK(access("named", F_OK) == 0);
	prog_ok();
}
