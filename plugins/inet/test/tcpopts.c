/* SPDX-License-Identifier: MIT */
/* Options of a connection, at both its ends: what the program has set, and what both sides agreed on. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "prog.h"

#define OPT_SO_BUF_LOCK 72

static const struct opt {
	int level, name, value, want; /* want: as it is read, 0: value */
} opts[] = {
	{ SOL_TCP, TCP_NODELAY, 1, 0 },
	{ SOL_TCP, TCP_CORK, 1, 0 },
	{ SOL_SOCKET, SO_KEEPALIVE, 1, 0 },
	{ SOL_TCP, TCP_KEEPIDLE, 77, 0 },
	{ SOL_TCP, TCP_KEEPINTVL, 11, 0 },
	{ SOL_TCP, TCP_KEEPCNT, 3, 0 },
	{ SOL_TCP, TCP_USER_TIMEOUT, 54321, 0 },
	{ SOL_TCP, 44 /* TCP_RTO_MAX_MS */, 5000, 0 },
	{ SOL_TCP, TCP_LINGER2, 7, 0 },
	{ SOL_TCP, TCP_SYNCNT, 4, 0 },
	{ SOL_TCP, TCP_NOTSENT_LOWAT, 12345, 0 },
	{ SOL_TCP, TCP_INQ, 1, 0 },
	{ SOL_TCP, TCP_QUICKACK, 0, -1 },
	{ SOL_TCP, TCP_WINDOW_CLAMP, 40000, 0 },
	{ SOL_SOCKET, SO_RCVBUF, 50000, 100000 },
	{ SOL_SOCKET, SO_SNDBUF, 70000, 140000 },
	{ SOL_SOCKET, SO_RCVLOWAT, 3, 0 },
	{ SOL_SOCKET, SO_OOBINLINE, 1, 0 },
	{ SOL_SOCKET, SO_MAX_PACING_RATE, 1000000, 0 },
	{ SOL_IP, IP_TTL, 44, 0 },
	{ SOL_IP, IP_TOS, 0x10, 0 },
	{ SOL_SOCKET, SO_PRIORITY, 3, 0 },
	{ SOL_SOCKET, SO_REUSEADDR, 1, 0 },
};
#define N (sizeof(opts) / sizeof(opts[0]))

static int get(int fd, int level, int name)
{
	int v = -1;
	socklen_t len = sizeof(v);

	CHECK(getsockopt(fd, level, name, &v, &len) == 0);
	return v;
}

static void set_all(int fd)
{
	CHECK(setsockopt(fd, SOL_TCP, TCP_CONGESTION, "reno", 4) == 0);
	CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 9 }, sizeof(struct linger)) == 0);
	CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){ 5, 0 }, sizeof(struct timeval)) == 0);
	for (size_t i = 0; i < N; i++)
		CHECK(setsockopt(fd, opts[i].level, opts[i].name, &opts[i].value, sizeof(int)) == 0);
}

static void check_all(int fd)
{
	char cc[16] = "";
	socklen_t len = sizeof(cc), llen = sizeof(struct linger), tlen = sizeof(struct timeval);
	struct linger lg;
	struct timeval tv;

	for (size_t i = 0; i < N; i++) {
		int want = opts[i].want < 0 ? 0 : opts[i].want ? opts[i].want : opts[i].value;

		if (get(fd, opts[i].level, opts[i].name) != want)
			prog_fail("option %d of level %d is %d, not %d", opts[i].name, opts[i].level,
				  get(fd, opts[i].level, opts[i].name), want);
	}
	CHECK(getsockopt(fd, SOL_TCP, TCP_CONGESTION, cc, &len) == 0 && !strcmp(cc, "reno"));
	CHECK(getsockopt(fd, SOL_SOCKET, SO_LINGER, &lg, &llen) == 0 && lg.l_onoff == 1 && lg.l_linger == 9);
	CHECK(getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, &tlen) == 0 && tv.tv_sec == 5 && tv.tv_usec == 0);
	CHECK(get(fd, SOL_SOCKET, OPT_SO_BUF_LOCK) == 3);
}

static struct tcp_info info(int fd)
{
	struct tcp_info ti = { 0 };
	socklen_t len = sizeof(ti);

	CHECK(getsockopt(fd, SOL_TCP, TCP_INFO, &ti, &len) == 0);
	return ti;
}

static void same_info(const struct tcp_info *a, const struct tcp_info *b)
{
	CHECK(a->tcpi_state == b->tcpi_state && a->tcpi_options == b->tcpi_options &&
	      a->tcpi_snd_wscale == b->tcpi_snd_wscale);
	CHECK(a->tcpi_rcv_wscale == b->tcpi_rcv_wscale);
	if (a->tcpi_snd_mss != b->tcpi_snd_mss)
		prog_fail("segments of %u bytes, not of %u", b->tcpi_snd_mss, a->tcpi_snd_mss);
}

int main(int argc, char **argv)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int l = socket(AF_INET, SOCK_STREAM, 0), c = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), s, plain, other,
	    auto_rcv, auto_snd;
	struct tcp_info ic, is;
	char b[4];

	prog_init(argc, argv);
	CHECK(bind(l, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(l, 5) == 0);
	CHECK(getsockname(l, (struct sockaddr *)&a, &len) == 0);
	CHECK(setsockopt(c, SOL_TCP, TCP_MAXSEG, &(int){ 1000 }, sizeof(int)) == 0);
	CHECK(connect(c, (struct sockaddr *)&a, sizeof(a)) == 0 || errno == EINPROGRESS);
	CHECK((s = accept(l, NULL, NULL)) >= 0);
	set_all(c);
	set_all(s);
	plain = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(connect(plain, (struct sockaddr *)&a, sizeof(a)) == 0);
	CHECK((other = accept(l, NULL, NULL)) >= 0);
	auto_rcv = get(plain, SOL_SOCKET, SO_RCVBUF);
	auto_snd = get(plain, SOL_SOCKET, SO_SNDBUF);
	ic = info(c);
	is = info(s);
	check_all(c);
	prog_ready();

	check_all(c);
	check_all(s);
	ic.tcpi_options &= 7;
	is.tcpi_options &= 7;
	struct tcp_info nc = info(c), ns = info(s);
	nc.tcpi_options &= 7;
	ns.tcpi_options &= 7;
	same_info(&ic, &nc);
	same_info(&is, &ns);
	CHECK(get(plain, SOL_SOCKET, SO_RCVBUF) == auto_rcv && get(plain, SOL_SOCKET, SO_SNDBUF) == auto_snd);
	CHECK(get(plain, SOL_SOCKET, OPT_SO_BUF_LOCK) == 0 && get(plain, SOL_SOCKET, SO_REUSEADDR) == 0);
	CHECK(get(l, SOL_SOCKET, SO_REUSEADDR) == 0 && get(plain, SOL_TCP, TCP_NODELAY) == 0);
	CHECK(fcntl(c, F_GETFL) & O_NONBLOCK && !(fcntl(s, F_GETFL) & O_NONBLOCK));
	CHECK(close(other) == 0 && recv(plain, b, 1, 0) == 0);
	CHECK(send(s, "abc", 3, 0) == 3 && setsockopt(s, SOL_TCP, TCP_CORK, &(int){ 0 }, sizeof(int)) == 0);
	for (int i = 0; i < 1000 && recv(c, b, 3, MSG_PEEK) < 3; i++)
		prog_nap(5);
	CHECK(recv(c, b, 3, 0) == 3 && !memcmp(b, "abc", 3));
	prog_ok();
}
