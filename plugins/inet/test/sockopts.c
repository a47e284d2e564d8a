/* SPDX-License-Identifier: MIT */
/*
 * Options of sockets without connections: those that decide what an address may be, filters, locked ones too, devices, marks,
 * headers, every number that IP, IPv6 and UDP keep. Raw and ping sockets where they are allowed.
 */
#include <arpa/inet.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "prog.h"

struct opt {
	int level, name, value;
};

static const struct opt common[] = {
	{ SOL_SOCKET, SO_TIMESTAMPNS, 1 }, { SOL_SOCKET, SO_TIMESTAMPING, 0x58 }, { SOL_SOCKET, SO_RXQ_OVFL, 1 },
	{ SOL_SOCKET, SO_SELECT_ERR_QUEUE, 1 }, { SOL_SOCKET, SO_PRIORITY, 5 }, { SOL_SOCKET, SO_DONTROUTE, 1 },
	{ SOL_SOCKET, SO_NO_CHECK, 1 }, { SOL_SOCKET, SO_BROADCAST, 1 }, { SOL_SOCKET, SO_RCVLOWAT, 7 },
	{ SOL_SOCKET, SO_REUSEADDR, 1 }, { SOL_SOCKET, SO_REUSEPORT, 1 }, { SOL_SOCKET, SO_ZEROCOPY, 1 },
};
static const struct opt four[] = {
	{ SOL_IP, IP_TTL, 77 }, { SOL_IP, IP_TOS, 0x28 }, { SOL_IP, IP_PKTINFO, 1 }, { SOL_IP, IP_RECVTTL, 1 },
	{ SOL_IP, IP_RECVTOS, 1 }, { SOL_IP, IP_RECVOPTS, 1 }, { SOL_IP, IP_RETOPTS, 1 }, { SOL_IP, IP_RECVERR, 1 },
	{ SOL_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE }, { SOL_IP, IP_FREEBIND, 1 }, { SOL_IP, IP_MULTICAST_TTL, 9 },
	{ SOL_IP, IP_MULTICAST_LOOP, 0 }, { SOL_IP, IP_MULTICAST_ALL, 0 }, { SOL_IP, IP_MINTTL, 3 },
	{ SOL_IP, IP_RECVORIGDSTADDR, 1 },
	{ SOL_IP, IP_PASSSEC, 1 }, { SOL_IP, IP_RECVFRAGSIZE, 1 }, { SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1 },
	{ SOL_UDP, UDP_CORK, 1 }, { SOL_UDP, 103 /* UDP_SEGMENT */, 500 }, { SOL_UDP, 104 /* UDP_GRO */, 1 },
};
static const struct opt six[] = {
	{ SOL_IPV6, IPV6_V6ONLY, 1 }, { SOL_IPV6, IPV6_UNICAST_HOPS, 44 }, { SOL_IPV6, IPV6_MULTICAST_HOPS, 6 },
	{ SOL_IPV6, IPV6_MULTICAST_LOOP, 0 }, { SOL_IPV6, IPV6_MULTICAST_ALL, 0 }, { SOL_IPV6, IPV6_RECVPKTINFO, 1 },
	{ SOL_IPV6, IPV6_RECVHOPLIMIT, 1 }, { SOL_IPV6, IPV6_RECVTCLASS, 1 }, { SOL_IPV6, IPV6_TCLASS, 0x30 },
	{ SOL_IPV6, IPV6_RECVRTHDR, 1 }, { SOL_IPV6, IPV6_RECVHOPOPTS, 1 }, { SOL_IPV6, IPV6_RECVDSTOPTS, 1 },
	{ SOL_IPV6, IPV6_RECVPATHMTU, 1 }, { SOL_IPV6, IPV6_RECVERR, 1 }, { SOL_IPV6, IPV6_DONTFRAG, 1 },
	{ SOL_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DO }, { SOL_IPV6, IPV6_AUTOFLOWLABEL, 0 },
	{ SOL_IPV6, IPV6_MINHOPCOUNT, 2 },
	{ SOL_IPV6, IPV6_FREEBIND, 1 }, { SOL_IPV6, 74 /* IPV6_RECVORIGDSTADDR */, 1 },
	{ SOL_IPV6, 77 /* IPV6_RECVFRAGSIZE */, 1 },
	{ SOL_IPV6, 72 /* IPV6_ADDR_PREFERENCES */, 0x1 }, { SOL_UDP, UDP_NO_CHECK6_TX, 1 }, { SOL_UDP, UDP_NO_CHECK6_RX, 1 },
	{ SOL_IP, IP_TTL, 78 }, { SOL_IP, IP_TOS, 0x20 },
};
static int had[3][32];

#define N(a) (int)(sizeof(a) / sizeof((a)[0]))

static int get(int fd, int level, int name)
{
	int v = 0;
	socklen_t len = sizeof(v);

	return getsockopt(fd, level, name, &v, &len) ? -1 : v;
}

/* What this kernel, or this user, may not set is left out. */
static void set_all(int fd, const struct opt *o, int n, int *seen)
{
	for (int i = 0; i < n; i++)
		seen[i] = !setsockopt(fd, o[i].level, o[i].name, &o[i].value, sizeof(int)) ? get(fd, o[i].level, o[i].name) : -2;
}

static void check_all(int fd, const struct opt *o, int n, const int *seen)
{
	for (int i = 0; i < n; i++)
		if (seen[i] != -2 && get(fd, o[i].level, o[i].name) != seen[i])
			prog_fail("option %d of level %d was %d and is %d", o[i].name, o[i].level, seen[i],
				  get(fd, o[i].level, o[i].name));
}

static int make(int family, const char *ip, int port)
{
	struct sockaddr_in6 a = { .sin6_family = family, .sin6_port = htons(port) };
	struct sockaddr_in *a4 = (struct sockaddr_in *)&a;
	int fd = socket(family, SOCK_DGRAM, 0);

	CHECK(fd >= 0);
	if (ip) {
		CHECK(setsockopt(fd, family == AF_INET ? SOL_IP : SOL_IPV6, family == AF_INET ? IP_FREEBIND : IPV6_FREEBIND,
				 &(int){ 1 }, sizeof(int)) == 0);
		inet_pton(family, ip, family == AF_INET ? (void *)&a4->sin_addr : &a.sin6_addr);
		CHECK(bind(fd, (struct sockaddr *)&a, family == AF_INET ? sizeof(*a4) : sizeof(a)) == 0);
	}
	return fd;
}

static void same_name(int fd, struct sockaddr_in6 *want, int store, int (*fn)(int, struct sockaddr *, socklen_t *))
{
	struct sockaddr_in6 now = { 0 };
	socklen_t len = sizeof(now);

	CHECK(fn(fd, (struct sockaddr *)&now, &len) == 0);
	if (store)
		*want = now;
	else
		CHECK(!memcmp(&now, want, sizeof(now)));
}

int main(int argc, char **argv)
{
	struct sock_filter code[] = { BPF_STMT(BPF_RET | BPF_K, 0xffff) };
	struct sock_fprog prog = { 1, code };
	struct sockaddr_in bcast = { .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(0x7fffffff) };
	struct sockaddr_in6 far_name, bcast_peer, trans_name;
	unsigned char options[4] = { 7, 3, 4, 0 }, now[64]; /* record route, without room */
	int a = socket(AF_INET, SOCK_DGRAM, 0), b = socket(AF_INET6, SOCK_DGRAM, 0), far = make(AF_INET, "192.0.2.77", 0);
	int dev = make(AF_INET, NULL, 0), locked = make(AF_INET, NULL, 0), trans = make(AF_INET, NULL, 0), marked, raw, cast;
	int one = 1;
	struct sockaddr_in away = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0xc0000207) };
	int has_dev, has_trans, has_options, has_mark, gone;
	char name[16];
	struct stat st;
	socklen_t len;

	prog_init(argc, argv);
	set_all(a, four, N(four), had[1]); /* IP_TOS changes SO_PRIORITY */
	set_all(a, common, N(common), had[0]);
	set_all(b, six, N(six), had[2]);
	has_options = setsockopt(a, SOL_IP, IP_OPTIONS, options, sizeof(options)) == 0;
	same_name(far, &far_name, 1, getsockname);
	cast = make(AF_INET, NULL, 0);
	CHECK(setsockopt(cast, SOL_SOCKET, SO_BROADCAST, &one, sizeof(one)) == 0);
	CHECK(connect(cast, (struct sockaddr *)&bcast, sizeof(bcast)) == 0);
	same_name(cast, &bcast_peer, 1, getpeername);
	has_dev = setsockopt(dev, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3) == 0;
	CHECK(setsockopt(locked, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)) == 0);
	CHECK(setsockopt(locked, SOL_SOCKET, SO_LOCK_FILTER, &one, sizeof(one)) == 0);
	has_trans = setsockopt(trans, SOL_IP, IP_TRANSPARENT, &one, sizeof(one)) == 0;
	if (has_trans) {
		CHECK(bind(trans, (struct sockaddr *)&away, sizeof(away)) == 0);
		same_name(trans, &trans_name, 1, getsockname);
	}
	marked = make(AF_INET6, "2001:db8::7", 0);
	has_mark = setsockopt(marked, SOL_SOCKET, SO_MARK, &(int){ 99 }, sizeof(int)) == 0;
	raw = socket(AF_INET6, SOCK_RAW, 58);
	gone = raw >= 0 && setsockopt(raw, SOL_IPV6, IPV6_MULTICAST_HOPS, &(int){ 3 }, sizeof(int));
	CHECK(fstat(a, &st) == 0 && st.st_uid == getuid() && st.st_gid == getgid());
	prog_ready();

	CHECK(fstat(a, &st) == 0 && st.st_uid == getuid() && st.st_gid == getgid());
	check_all(a, common, N(common), had[0]);
	check_all(a, four, N(four), had[1]);
	check_all(b, six, N(six), had[2]);
	len = sizeof(now);
	CHECK(!has_options || (getsockopt(a, SOL_IP, IP_OPTIONS, now, &len) == 0 && len == sizeof(options) &&
			       !memcmp(now, options, 3)));
	same_name(far, &far_name, 0, getsockname);
	same_name(cast, &bcast_peer, 0, getpeername);
	len = sizeof(name);
	CHECK(!has_dev || (getsockopt(dev, SOL_SOCKET, SO_BINDTODEVICE, name, &len) == 0 && !strcmp(name, "lo")));
	len = 0;
	CHECK(getsockopt(locked, SOL_SOCKET, SO_GET_FILTER, NULL, &len) == 0 && len == 1);
	CHECK(setsockopt(locked, SOL_SOCKET, SO_DETACH_FILTER, &one, sizeof(one)) < 0 && errno == EPERM);
	if (has_trans)
		same_name(trans, &trans_name, 0, getsockname);
	CHECK(!has_trans || get(trans, SOL_IP, IP_TRANSPARENT) == 1);
	CHECK(get(marked, SOL_SOCKET, SO_MARK) == (has_mark ? 99 : 0));
	CHECK(raw < 0 || gone || get(raw, SOL_IPV6, IPV6_MULTICAST_HOPS) == 3);
	prog_ok();
}
