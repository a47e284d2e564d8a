/* SPDX-License-Identifier: MIT */
/* UDP sockets bound and connected, a multicast one with its options, UDP-Lite, ping and raw sockets if allowed. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <sys/socket.h>

#include "prog.h"

static int get(int fd, int level, int name)
{
	int v = -1;
	socklen_t len = sizeof(v);

	CHECK(getsockopt(fd, level, name, &v, &len) == 0);
	return v;
}

static void set(int fd, int level, int name, int v)
{
	CHECK(setsockopt(fd, level, name, &v, sizeof(v)) == 0);
}

static struct sockaddr_in6 name_of(int fd, int peer)
{
	struct sockaddr_in6 a = { 0 };
	socklen_t len = sizeof(a);

	CHECK((peer ? getpeername(fd, (struct sockaddr *)&a, &len) : getsockname(fd, (struct sockaddr *)&a, &len)) == 0);
	return a;
}

static int same(struct sockaddr_in6 a, struct sockaddr_in6 b)
{
	return !memcmp(&a, &b, sizeof(a));
}

int main(int argc, char **argv)
{
	struct sockaddr_in a4 = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	struct sockaddr_in6 ns, nc, nl, n6 = { 0 };
	int server, client, lite, six, multi, raw, ping, has6;
	char buf[16];

	prog_init(argc, argv);
	server = socket(AF_INET, SOCK_DGRAM, 0);
	CHECK(bind(server, (struct sockaddr *)&a4, sizeof(a4)) == 0);
	ns = name_of(server, 0);
	client = socket(AF_INET, SOCK_DGRAM, 0);
	CHECK(connect(client, (struct sockaddr *)&ns, sizeof(a4)) == 0);
	nc = name_of(client, 0);
	set(client, SOL_SOCKET, SO_BROADCAST, 1);
	set(client, SOL_SOCKET, SO_TIMESTAMP, 1);
	set(client, SOL_IP, IP_PKTINFO, 1);
	set(client, SOL_IP, IP_TOS, 0x10);
	lite = socket(AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE);
	if (lite >= 0) {
		CHECK(bind(lite, (struct sockaddr *)&a4, sizeof(a4)) == 0);
		nl = name_of(lite, 0);
	}
	six = socket(AF_INET6, SOCK_DGRAM, 0);
	set(six, SOL_IPV6, IPV6_V6ONLY, 1);
	set(six, SOL_IPV6, IPV6_RECVPKTINFO, 1);
	set(six, SOL_IPV6, IPV6_UNICAST_HOPS, 9);
	has6 = bind(six, (struct sockaddr *)&a6, sizeof(a6)) == 0;
	if (has6)
		n6 = name_of(six, 0);
	multi = socket(AF_INET, SOCK_DGRAM, 0);
	set(multi, SOL_SOCKET, SO_REUSEADDR, 1);
	set(multi, SOL_IP, IP_MULTICAST_TTL, 5);
	set(multi, SOL_IP, IP_MULTICAST_LOOP, 0);
	raw = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
	if (raw >= 0) {
		set(raw, SOL_IP, IP_HDRINCL, 1);
		set(raw, SOL_RAW, 1 /* ICMP_FILTER */, 0xff);
	}
	ping = socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
	prog_ready();

	CHECK(same(name_of(server, 0), ns) && same(name_of(client, 0), nc) && same(name_of(client, 1), ns));
	CHECK(send(client, "datagram", 8, 0) == 8 && recv(server, buf, sizeof(buf), 0) == 8);
	CHECK(sendto(server, "answer", 6, 0, (struct sockaddr *)&nc, sizeof(a4)) == 6 && recv(client, buf, 16, 0) == 6);
	CHECK(get(client, SOL_SOCKET, SO_BROADCAST) == 1 && get(client, SOL_SOCKET, SO_TIMESTAMP) == 1);
	CHECK(get(client, SOL_IP, IP_PKTINFO) == 1 && get(client, SOL_IP, IP_TOS) == 0x10);
	CHECK(lite < 0 || (same(name_of(lite, 0), nl) && get(lite, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_UDPLITE));
	CHECK(!has6 || same(name_of(six, 0), n6));
	CHECK(get(six, SOL_IPV6, IPV6_V6ONLY) == 1 && get(six, SOL_IPV6, IPV6_RECVPKTINFO) == 1);
	CHECK(get(six, SOL_IPV6, IPV6_UNICAST_HOPS) == 9);
	CHECK(get(multi, SOL_IP, IP_MULTICAST_TTL) == 5 && get(multi, SOL_IP, IP_MULTICAST_LOOP) == 0);
	CHECK(get(multi, SOL_SOCKET, SO_REUSEADDR) == 1 && getpeername(multi, (struct sockaddr *)buf, &(socklen_t){ 16 }) < 0);
	CHECK(raw < 0 || (get(raw, SOL_IP, IP_HDRINCL) == 1 && get(raw, SOL_RAW, 1) == 0xff));
	CHECK(ping < 0 || get(ping, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_ICMP);
	prog_ok();
}
