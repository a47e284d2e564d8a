/* SPDX-License-Identifier: MIT */
/*
 * Unix sockets between two processes of the tree that send and receive all the time: pseudo-random bytes both ways, which
 * each side checks.  Not one may be lost, repeated or in another place, nor may a packet change its size.  Streams by
 * socketpair(2) and by name, packets of odd sizes; at some one side is slow to read, so that queues are full.
 * tests/e2e/unix_stream.sh takes it through many rounds.
 */
#include <signal.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "prog.h"

#define CONNS 8
#define PIECE 20000

struct conn {
	int fd, type, slow, ended;
	uint64_t sent, got;
	uint32_t out, in; /* packets */
};

static struct conn conns[2][CONNS]; /* of the parent, of the child */

/* Byte at a position of a stream. */
static unsigned char byte_at(int stream, uint64_t pos)
{
	uint64_t z = (pos / 8 + 1) * 0x9e3779b97f4a7c15u + stream * 0x1234567u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return (z ^ z >> 31) >> pos % 8 * 8;
}

/* Bytes of the n-th piece of a stream. */
static size_t piece(int stream, uint32_t n)
{
	return 1 + (n * 2654435761u + stream * 977u) % 7919;
}

static void send_some(struct conn *c, int stream, int max)
{
	unsigned char buf[PIECE];
	ssize_t n = 1;

	for (int i = 0; i < max && n > 0; i++) {
		size_t len = piece(stream, c->out);

		for (size_t j = 0; j < len; j++)
			buf[j] = byte_at(stream, c->sent + j);
		n = send(c->fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN)
			prog_fail("stream %d, after %ju bytes: send: %s", stream, (uintmax_t)c->sent, strerror(errno));
		if (n > 0 && c->type != SOCK_STREAM && (size_t)n != len)
			prog_fail("stream %d: a packet of %zu bytes went as %zd", stream, len, n);
		if (n > 0)
			c->out++, c->sent += n;
	}
}

/* 0: the end. */
static int receive_some(struct conn *c, int stream, size_t max)
{
	unsigned char buf[PIECE];
	ssize_t n = recv(c->fd, buf, c->type == SOCK_STREAM ? max : sizeof(buf), MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		return 1;
	if (n < 0)
		prog_fail("stream %d, after %ju bytes: recv: %s", stream, (uintmax_t)c->got, strerror(errno));
	if (n > 0 && c->type != SOCK_STREAM && (size_t)n != piece(stream, c->in))
		prog_fail("stream %d: packet %u has %zd bytes", stream, c->in, n);
	for (ssize_t i = 0; i < n; i++, c->got++)
		if (buf[i] != byte_at(stream, c->got))
			prog_fail("stream %d: byte %ju is wrong", stream, (uintmax_t)c->got);
	c->in++;
	return n > 0;
}

/* One turn of a side; the streams 0, 2, ... are from the parent to the child. Connections that are open. */
static int turn(int side, int stop)
{
	int open = 0;

	for (int i = 0; i < CONNS; i++) {
		struct conn *c = &conns[side][i];

		if (c->ended)
			continue;
		open++;
		if (!stop)
			send_some(c, 2 * i + side, 2);
		/* an end that has stopped empties its queue, so that the other one gets rid of all */
		for (int n = c->slow && !stop ? 1 : 3; n > 0 && !c->ended; n--)
			c->ended = !receive_some(c, 2 * i + !side, c->slow && !stop ? 1000 : PIECE);
	}
	return open;
}

/* Datagram sockets know no end: an empty packet is it. */
static void say_end(int side)
{
	for (int i = 0; i < CONNS; i++) {
		struct conn *c = &conns[side][i];

		if (c->type != SOCK_DGRAM) {
			CHECK(shutdown(c->fd, SHUT_WR) == 0);
			continue;
		}
		while (send(c->fd, "", 0, MSG_DONTWAIT) < 0) {
			CHECK(errno == EAGAIN);
			turn(side, 1);
			prog_nap(1);
		}
	}
}

/* Both sides: until told to stop, then until the other one has said all. */
static void work(int side)
{
	while (!prog_has("go")) {
		turn(side, 0);
		prog_nap(2);
	}
	say_end(side);
	while (turn(side, 1))
		prog_nap(1);
}

static void child(void *arg)
{
	struct conn *result = arg;

	for (int i = 0; i < CONNS; i++)
		close(conns[0][i].fd);
	work(1);
	memcpy(result, conns[1], sizeof(conns[1]));
}

/* A connection by name; the listening socket stays. */
static void connect_by_name(int n, int sv[2], int type)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int l = socket(AF_UNIX, type, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "sock%d", n);
	CHECK(l >= 0 && bind(l, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(l, 1) == 0);
	sv[0] = socket(AF_UNIX, type, 0);
	CHECK(sv[0] >= 0 && connect(sv[0], (struct sockaddr *)&a, sizeof(a)) == 0);
	sv[1] = accept(l, NULL, NULL);
	CHECK(sv[1] >= 0);
}

int main(int argc, char **argv)
{
	static const int types[4] = { SOCK_STREAM, SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM };
	struct conn *theirs;
	uintmax_t total = 0;
	char text[64];
	pid_t pid;

	prog_init(argc, argv);
	CHECK(chdir(prog_dir) == 0);
	signal(SIGPIPE, SIG_IGN);
	for (int i = 0; i < CONNS; i++) {
		int type = types[i % 4], sv[2];

		if (i % 4 == 1)
			connect_by_name(i, sv, type);
		else
			CHECK(socketpair(AF_UNIX, type, 0, sv) == 0);
		for (int side = 0; side < 2; side++)
			conns[side][i] = (struct conn){ .fd = sv[side], .type = type, .slow = i >= 4 && (i % 2 == side) };
	}
	theirs = prog_shared(sizeof(conns[1]));
	pid = prog_child(child, theirs);
	for (int i = 0; i < CONNS; i++)
		close(conns[1][i].fd);
	prog_write("ready", "1");
	work(0);
	prog_reap(pid);
	for (int i = 0; i < CONNS; i++) {
		const struct conn *x = &conns[0][i], *y = &theirs[i];

		if (x->sent != y->got || y->sent != x->got || !x->sent || !y->sent)
			prog_fail("connection %d: sent %ju, there arrived %ju; they sent %ju, here arrived %ju", i,
				  (uintmax_t)x->sent, (uintmax_t)y->got, (uintmax_t)y->sent, (uintmax_t)x->got);
		total += x->sent + y->sent;
	}
	snprintf(text, sizeof(text), "%ju\n", total);
	prog_write("counts", text);
	prog_ok();
}
