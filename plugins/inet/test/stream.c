/* SPDX-License-Identifier: MIT */
/*
 * Connections to a process that is not dumped, and that goes on sending and receiving all the time: pseudo-random bytes
 * both ways, which each side checks.  Not one may be lost, repeated or in another place.  Some connections are quick,
 * at some one side is slow to read, so that queues are full.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/socket.h>

#include "prog.h"

#define CONNS 6
#define PIECE 20000

static struct conn {
	int fd, slow, ended;
	uint64_t sent, got;
} conns[CONNS];

/* Byte at a position of a stream. */
static unsigned char byte_at(int stream, uint64_t pos)
{
	uint64_t z = (pos / 8 + 1) * 0x9e3779b97f4a7c15u + stream * 0x1234567u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return (z ^ z >> 31) >> pos % 8 * 8;
}

static void send_some(struct conn *c, int stream, const char *who)
{
	unsigned char buf[PIECE];
	ssize_t n;

	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = byte_at(stream, c->sent + i);
	n = send(c->fd, buf, sizeof(buf), MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n > 0)
		c->sent += n;
	else if (errno != EAGAIN)
		prog_fail("%s, connection %d, after %ju bytes: send: %s", who, stream / 2, (uintmax_t)c->sent,
			  strerror(errno));
}

/* 0: the end. */
static int receive_some(struct conn *c, int stream, size_t max, const char *who)
{
	unsigned char buf[PIECE];
	ssize_t n = recv(c->fd, buf, max, MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		return 1;
	if (n < 0)
		prog_fail("%s, connection %d, after %ju bytes: recv: %s", who, stream / 2, (uintmax_t)c->got,
			  strerror(errno));
	for (ssize_t i = 0; i < n; i++, c->got++)
		if (buf[i] != byte_at(stream, c->got))
			prog_fail("%s, connection %d: byte %ju is wrong", who, stream / 2, (uintmax_t)c->got);
	return n > 0;
}

/* One turn of a side. side 0: dumped, streams 0, 2, ... are from it to the other. Connections that are open. */
static int turn(int side, int stop)
{
	const char *who = side ? "outside" : "dumped";
	int open = 0;

	for (int i = 0; i < CONNS; i++) {
		struct conn *c = &conns[i];
		int mine = 2 * i + side, theirs = 2 * i + !side;

		if (c->ended)
			continue;
		open++;
		if (!stop)
			send_some(c, mine, who);
		if (!receive_some(c, theirs, c->slow && !stop ? 1000 : PIECE, who))
			c->ended = 1;
	}
	return open;
}

static void wait_some(void)
{
	struct timespec ts = { .tv_nsec = 2000000 };

	nanosleep(&ts, NULL);
}

/* Until the end of all streams from the other side, each of which is answered by the end of ours. */
static void outside(int l4, int l6)
{
	char text[400] = "";

	for (int i = 0; i < CONNS; i++) {
		conns[i].fd = accept(i % 2 ? l6 : l4, NULL, NULL);
		CHECK(conns[i].fd >= 0);
		conns[i].slow = i / 2 == 2;
	}
	close(l4);
	close(l6);
	while (turn(1, 0))
		wait_some();
	for (int i = 0; i < CONNS; i++)
		sprintf(text + strlen(text), "%ju %ju\n", (uintmax_t)conns[i].sent, (uintmax_t)conns[i].got);
	prog_write("counts", text);
	for (int i = 0; i < CONNS; i++)
		CHECK(shutdown(conns[i].fd, SHUT_WR) == 0);
	/* not the first to close: what is on its way shall arrive */
	for (int i = 0; i < CONNS; i++) {
		struct pollfd p = { .fd = conns[i].fd };

		poll(&p, 1, 10000);
	}
	_exit(0);
}

static int listener(int family, struct sockaddr_in6 *ret)
{
	struct sockaddr_in *four = (struct sockaddr_in *)ret;
	int fd = socket(family, SOCK_STREAM, 0);
	socklen_t len = sizeof(*ret);

	memset(ret, 0, sizeof(*ret));
	ret->sin6_family = family;
	if (family == AF_INET)
		four->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		ret->sin6_addr = in6addr_loopback;
	CHECK(fd >= 0 && bind(fd, (struct sockaddr *)ret, sizeof(*ret)) == 0 && listen(fd, CONNS) == 0);
	CHECK(getsockname(fd, (struct sockaddr *)ret, &len) == 0);
	return fd;
}

static void compare(void)
{
	char path[4200];
	FILE *f;

	while (!prog_has("counts"))
		turn(0, 1);
	while (turn(0, 1))
		wait_some();
	snprintf(path, sizeof(path), "%s/counts", prog_dir);
	f = fopen(path, "r");
	for (int i = 0; i < CONNS; i++) {
		uintmax_t sent, got;

		CHECK(f && fscanf(f, "%ju %ju", &sent, &got) == 2);
		if (sent != conns[i].got || got != conns[i].sent)
			prog_fail("connection %d: sent %ju, there arrived %ju; they sent %ju, here arrived %ju", i,
				  (uintmax_t)conns[i].sent, got, sent, (uintmax_t)conns[i].got);
		CHECK(got > PIECE && sent > PIECE);
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in6 a4, a6;
	int l4, l6;

	prog_init(argc, argv);
	signal(SIGPIPE, SIG_IGN);
	l4 = listener(AF_INET, &a4);
	l6 = listener(AF_INET6, &a6);
	/* twice: what has no parent here is not part of the tree */
	if (fork() == 0) {
		if (fork() == 0 && setsid() > 0)
			outside(l4, l6);
		_exit(0);
	}
	wait(NULL);
	close(l4);
	close(l6);
	for (int i = 0; i < CONNS; i++) {
		conns[i].fd = socket(i % 2 ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
		CHECK(connect(conns[i].fd, (struct sockaddr *)(i % 2 ? &a6 : &a4), sizeof(a6)) == 0);
		conns[i].slow = i / 2 == 1;
	}
	prog_write("ready", "1");
	while (!prog_has("go")) {
		turn(0, 0);
		wait_some();
	}
	for (int i = 0; i < CONNS; i++)
		CHECK(shutdown(conns[i].fd, SHUT_WR) == 0);
	compare();
	prog_ok();
}
