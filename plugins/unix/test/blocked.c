/* SPDX-License-Identifier: MIT */
/*
 * Threads that wait at UNIX sockets: for a connection, for room in the queue of a listener, for
 * bytes and messages, for room to send; with SO_RCVTIMEO and SO_SNDTIMEO, too, which the kernel
 * ends with EINTR at any stop unless the call is made again.
 */
#include "blocked.h"

#include <stddef.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>

static int l_accept, l_accept4, l_connect, l_timed, nwaiting, ntimed;
static int rd[2], rcv[2], msg[2], mmsg[2], dgram[2], wr[2], snd[2], timed_r[2], timed_w[2], peeked[2];

static struct sockaddr_un address(const char *name, socklen_t *ret_len)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	/* in the working directory, which is the test's own: a path may be too long */
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", name);
	*ret_len = offsetof(struct sockaddr_un, sun_path) + strlen(name) + 1;
	return a;
}

static int listener(const char *name, int backlog)
{
	socklen_t len;
	struct sockaddr_un a = address(name, &len);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	CHECK(fd >= 0 && bind(fd, (void *)&a, len) == 0 && listen(fd, backlog) == 0);
	return fd;
}

static int connected(const char *name, int flags)
{
	socklen_t len;
	struct sockaddr_un a = address(name, &len);
	int fd = socket(AF_UNIX, SOCK_STREAM | flags, 0);

	CHECK(fd >= 0);
	if (connect(fd, (void *)&a, len) == 0)
		return fd;
	close(fd);
	return -1;
}

/* Fills what can be sent; returns how much that was. */
static size_t fill(int fd)
{
	static const char zeros[4096];
	size_t all = 0;
	ssize_t n;

	while ((n = send(fd, zeros, sizeof(zeros), MSG_DONTWAIT)) > 0)
		all += n;
	CHECK(errno == EAGAIN);
	return all;
}

/* Reads until the byte that the blocked thread has sent. */
static void drain(int fd)
{
	char buf[4096];
	ssize_t n;

	do {
		n = read(fd, buf, sizeof(buf));
		CHECK(n > 0);
	} while (buf[n - 1] != 'S');
}

static int take(int fd)
{
	char c = 0;

	return fd >= 0 && write(fd, "a", 1) == 1 && read(fd, &c, 1) == 1 && c == 'c' ? close(fd) : -1;
}

static void talk(const char *name)
{
	int fd = connected(name, 0);
	char c = 0;

	CHECK(fd >= 0 && write(fd, "c", 1) == 1 && read(fd, &c, 1) == 1 && c == 'a' && close(fd) == 0);
}

static int do_accept(void) { return take(accept(l_accept, NULL, NULL)); }
static void free_accept(void) { talk("accept"); }

static int do_accept4(void)
{
	struct sockaddr_un a;
	socklen_t len = sizeof(a);
	int fd = accept4(l_accept4, (void *)&a, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0 || fcntl(fd, F_GETFD) != FD_CLOEXEC || !(fcntl(fd, F_GETFL) & O_NONBLOCK) || len != 2)
		return -1;
	CHECK(fcntl(fd, F_SETFL, 0) == 0);
	return take(fd);
}

static void free_accept4(void) { talk("accept4"); }

/* Fills the queue of a listener; returns how many wait in it. */
static int crowd(const char *name)
{
	int n = 0;

	while (connected(name, SOCK_NONBLOCK) >= 0)
		n++;
	CHECK(errno == EAGAIN && n > 0);
	return n;
}

static void let_in(int l, int n)
{
	while (n--) {
		int fd = accept(l, NULL, NULL);

		CHECK(fd >= 0 && write(fd, "l", 1) == 1 && close(fd) == 0);
	}
}

static void setup_connect(void) { nwaiting = crowd("connect"); }

static int do_connect(void)
{
	int fd = connected("connect", 0);
	char c = 0;

	return fd >= 0 && read(fd, &c, 1) == 1 && c == 'l' ? close(fd) : -1;
}

static void free_connect(void) { let_in(l_connect, nwaiting + 1); }

static int timed_c;

static void setup_timed_connect(void)
{
	static const struct timeval minutes = { 600, 0 };

	ntimed = crowd("timed");
	timed_c = socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK(timed_c >= 0 && setsockopt(timed_c, SOL_SOCKET, SO_SNDTIMEO, &minutes, sizeof(minutes)) == 0);
}

static int do_timed_connect(void)
{
	socklen_t len;
	struct sockaddr_un a = address("timed", &len);
	char c = 0;
	int r;

	do {
		r = connect(timed_c, (void *)&a, len);
	} while (r < 0 && blocked_again());
	return r == 0 && read(timed_c, &c, 1) == 1 && c == 'l' ? close(timed_c) : -1;
}

static void free_timed_connect(void) { let_in(l_timed, ntimed + 1); }

static int one(ssize_t n, char c, char want)
{
	return n == 1 && c == want ? 0 : -1;
}

static int do_read(void)
{
	char c = 0;
	ssize_t n = read(rd[0], &c, 1);

	return one(n, c, 'r');
}

static void free_read(void) { CHECK(write(rd[1], "r", 1) == 1); }

static int do_recv(void)
{
	char b[6] = "";

	/* the whole of it, which comes in two parts */
	return recv(rcv[0], b, 5, MSG_WAITALL) == 5 && !strcmp(b, "hello") ? 0 : -1;
}

static void free_recv(void)
{
	CHECK(send(rcv[1], "hel", 3, 0) == 3);
	prog_nap(20);
	CHECK(send(rcv[1], "lo", 2, 0) == 2);
}

/* With a descriptor. */
static int do_recvmsg(void)
{
	char c = 0, control[CMSG_SPACE(sizeof(int))] = "";
	struct iovec iov = { &c, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	struct cmsghdr *h;
	int fd = -1;

	if (recvmsg(msg[0], &m, MSG_CMSG_CLOEXEC) != 1 || c != 'm' || !(h = CMSG_FIRSTHDR(&m)))
		return -1;
	memcpy(&fd, CMSG_DATA(h), sizeof(fd));
	return fcntl(fd, F_GETFD) == FD_CLOEXEC ? close(fd) : -1;
}

static void free_recvmsg(void)
{
	char control[CMSG_SPACE(sizeof(int))] = "";
	struct iovec iov = { "m", 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);

	*h = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int)) };
	memcpy(CMSG_DATA(h), &rd[0], sizeof(int));
	CHECK(sendmsg(msg[1], &m, 0) == 1);
}

static int do_recvmmsg(void)
{
	char a = 0, b = 0;
	struct iovec iov[2] = { { &a, 1 }, { &b, 1 } };
	struct mmsghdr m[2] = { { .msg_hdr = { .msg_iov = &iov[0], .msg_iovlen = 1 } },
				{ .msg_hdr = { .msg_iov = &iov[1], .msg_iovlen = 1 } } };

	return recvmmsg(mmsg[0], m, 2, 0, NULL) == 2 && a == '1' && b == '2' ? 0 : -1;
}

static void free_recvmmsg(void)
{
	CHECK(send(mmsg[1], "1", 1, 0) == 1);
	prog_nap(20);
	CHECK(send(mmsg[1], "2", 1, 0) == 1);
}

static int do_peek(void)
{
	char a = 0, b = 0;

	return recv(peeked[0], &a, 1, MSG_PEEK) == 1 && recv(peeked[0], &b, 1, 0) == 1 && a == 'p' && b == 'p' ? 0 : -1;
}

static void free_peek(void) { CHECK(send(peeked[1], "p", 1, 0) == 1); }

static int do_write(void) { return write(wr[1], "S", 1) == 1 ? 0 : -1; }
static void free_write(void) { drain(wr[0]); }
static int do_send(void) { return send(snd[1], "S", 1, MSG_NOSIGNAL) == 1 ? 0 : -1; }
static void free_send(void) { drain(snd[0]); }
static int do_sendto(void) { return sendto(dgram[1], "S", 1, 0, NULL, 0) == 1 ? 0 : -1; }
static void free_sendto(void) { drain(dgram[0]); }

static int do_timed_recv(void)
{
	char c = 0;
	ssize_t n;

	do {
		n = recv(timed_r[0], &c, 1, 0);
	} while (n < 0 && blocked_again());
	return one(n, c, 't');
}

static void free_timed_recv(void) { CHECK(send(timed_r[1], "t", 1, 0) == 1); }

static int do_timed_send(void)
{
	ssize_t n;

	do {
		n = send(timed_w[1], "S", 1, 0);
	} while (n < 0 && blocked_again());
	return one(n, 0, 0);
}

static void free_timed_send(void) { drain(timed_w[0]); }

static const struct blocked calls[] = {
	BLOCKED("accept", accept), BLOCKED("accept4", accept4),
	{ "connect", do_connect, free_connect, setup_connect, 0 },
	{ "connect with a time limit", do_timed_connect, free_timed_connect, setup_timed_connect, 0 }, BLOCKED("read", read),
	BLOCKED("recv of all", recv), BLOCKED("recvmsg", recvmsg),
	BLOCKED("recvmmsg", recvmmsg), BLOCKED("recv, only to look", peek),
	BLOCKED_ROOM("write", write), BLOCKED_ROOM("send", send),
	BLOCKED_ROOM("sendto", sendto), BLOCKED("recv with a time limit", timed_recv),
	BLOCKED_ROOM("send with a time limit", timed_send),
};

int main(int argc, char **argv)
{
	static const struct timeval minutes = { 600, 0 };
	static int *const streams[] = { rd, rcv, msg, wr, snd, timed_r, timed_w, peeked };

	prog_init(argc, argv);
	CHECK(chdir(prog_dir) == 0);
	l_accept = listener("accept", 5);
	l_accept4 = listener("accept4", 5);
	l_connect = listener("connect", 1);
	l_timed = listener("timed", 1);
	for (size_t i = 0; i < sizeof(streams) / sizeof(streams[0]); i++)
		CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, streams[i]) == 0);
	CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, mmsg) == 0 && socketpair(AF_UNIX, SOCK_DGRAM, 0, dgram) == 0);
	CHECK(fill(wr[1]) > 0 && fill(snd[1]) > 0 && fill(timed_w[1]) > 0 && fill(dgram[1]) > 0);
	CHECK(setsockopt(timed_r[0], SOL_SOCKET, SO_RCVTIMEO, &minutes, sizeof(minutes)) == 0);
	CHECK(setsockopt(timed_w[1], SOL_SOCKET, SO_SNDTIMEO, &minutes, sizeof(minutes)) == 0);
	blocked_run(calls, sizeof(calls) / sizeof(calls[0]));
	prog_ok();
}
