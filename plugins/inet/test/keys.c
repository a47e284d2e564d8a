/* SPDX-License-Identifier: MIT */
/* Packets that are signed with MD5 (TCP_MD5SIG): a listener with keys for two networks, a connection with bytes in its queue. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "prog.h"

static int set_key(int fd, const char *ip, const char *key)
{
	struct tcp_md5sig m = { .tcpm_flags = TCP_MD5SIG_FLAG_PREFIX, .tcpm_prefixlen = 24, .tcpm_keylen = strlen(key) };
	struct sockaddr_in a = { .sin_family = AF_INET };

	inet_pton(AF_INET, ip, &a.sin_addr);
	memcpy(&m.tcpm_addr, &a, sizeof(a));
	memcpy(m.tcpm_key, key, m.tcpm_keylen);
	return setsockopt(fd, SOL_TCP, TCP_MD5SIG_EXT, &m, sizeof(m));
}

/* Connects from ip, with a key unless NULL: the socket, or -1. */
static int join(int l, const char *ip, const char *key)
{
	struct sockaddr_in to, from = { .sin_family = AF_INET };
	struct timeval tv = { .tv_usec = 300000 };
	socklen_t len = sizeof(to);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	inet_pton(AF_INET, ip, &from.sin_addr);
	CHECK(getsockname(l, (struct sockaddr *)&to, &len) == 0 && bind(fd, (struct sockaddr *)&from, sizeof(from)) == 0);
	CHECK(!key || set_key(fd, "127.0.0.0", key) == 0);
	CHECK(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)) == 0);
	return connect(fd, (struct sockaddr *)&to, len) ? -1 : fd;
}

int main(int argc, char **argv)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int l = socket(AF_INET, SOCK_STREAM, 0), c, s, n;
	char buf[32] = "";

	prog_init(argc, argv);
	CHECK(bind(l, (struct sockaddr *)&a, sizeof(a)) == 0);
	if (set_key(l, "127.0.0.0", "first secret") || set_key(l, "127.0.7.0", "second"))
		prog_skip("the kernel has no TCP_MD5SIG");
	CHECK(listen(l, 5) == 0);
	c = join(l, "127.0.0.5", "first secret");
	CHECK(c >= 0 && (s = accept(l, NULL, NULL)) >= 0 && send(c, "before", 6, 0) == 6);

	prog_ready();

	CHECK(recv(s, buf, sizeof(buf), 0) == 6 && !memcmp(buf, "before", 6));
	CHECK(send(c, "after", 5, 0) == 5 && recv(s, buf, sizeof(buf), 0) == 5 && !memcmp(buf, "after", 5));
	CHECK(join(l, "127.0.0.6", NULL) < 0 && join(l, "127.0.7.6", "first secret") < 0);
	CHECK((n = join(l, "127.0.0.6", "first secret")) >= 0);
	CHECK((n = join(l, "127.0.7.6", "second")) >= 0);
	prog_ok();
}
