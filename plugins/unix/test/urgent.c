/* SPDX-License-Identifier: MIT */
/* Out-of-band bytes in streams (MSG_OOB, Linux 5.15): in front, in the middle, behind the last one, inline, already read. */
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "prog.h"

#ifndef SIOCATMARK
#define SIOCATMARK 0x8905
#endif

static void pair(int sv[2])
{
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, sv) == 0);
}

static void put(const int sv[2], const char *text, int flags)
{
	CHECK(send(sv[1], text, strlen(text), flags) == (ssize_t)strlen(text));
}

static void expect(const int sv[2], const char *text)
{
	char buf[64] = "";
	ssize_t n = recv(sv[0], buf, sizeof(buf) - 1, MSG_DONTWAIT);

	if (n != (ssize_t)strlen(text) || strcmp(buf, text))
		prog_fail("read \"%s\" (%zd), not \"%s\"", buf, n, text);
}

static void urgent(const int sv[2], char want)
{
	char c = 0;

	CHECK(recv(sv[0], &c, 1, MSG_OOB | MSG_DONTWAIT) == 1 && c == want);
}

static int at_mark(const int sv[2])
{
	int v = -1;

	CHECK(ioctl(sv[0], SIOCATMARK, &v) == 0);
	return v;
}

int main(int argc, char **argv)
{
	int front[2], middle[2], back[2], inln[2], done[2], again[2], alone[2], one = 1;

	prog_init(argc, argv);
	pair(front), pair(middle), pair(back), pair(inln), pair(done), pair(again), pair(alone);
	if (send(front[1], "!", 1, MSG_OOB) < 0)
		prog_skip("the kernel has no urgent data on unix sockets");
	put(front, "behind", 0);
	put(middle, "before!", MSG_OOB), put(middle, "behind", 0);
	put(back, "before!", MSG_OOB);
	CHECK(setsockopt(inln[0], SOL_SOCKET, SO_OOBINLINE, &one, sizeof(one)) == 0);
	put(inln, "before!", MSG_OOB), put(inln, "behind", 0);
	put(done, "before!", MSG_OOB), put(done, "behind", 0);
	urgent(done, '!');
	put(again, "first!", MSG_OOB), put(again, "!second!", MSG_OOB);
	put(alone, "!", MSG_OOB);

	prog_ready();

	CHECK(at_mark(front) == 1 && at_mark(middle) == 0 && at_mark(alone) == 1);
	urgent(front, '!');
	expect(front, "behind");
	expect(middle, "before");
	CHECK(at_mark(middle) == 1);
	urgent(middle, '!');
	expect(middle, "behind");
	urgent(back, '!');
	expect(back, "before");
	expect(inln, "before");
	CHECK(at_mark(inln) == 1);
	expect(inln, "!behind");
	{
		char buf[64] = "";
		ssize_t n = 0, k;

		/* where it was may still be a border */
		while ((k = recv(done[0], buf + n, sizeof(buf) - 1 - n, MSG_DONTWAIT)) > 0)
			n += k;
		CHECK(!strcmp(buf, "beforebehind"));
	}
	expect(again, "first!!second");
	urgent(again, '!');
	urgent(alone, '!');
	CHECK(recv(alone[0], &one, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN);
	prog_ok();
}
