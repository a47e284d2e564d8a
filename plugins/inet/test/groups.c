/* SPDX-License-Identifier: MIT */
/* Multicast groups of both families: joined, with sources, without some; options that belong to them. */
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "prog.h"

static struct sockaddr_storage addr(const char *ip)
{
	struct sockaddr_storage ss = { .ss_family = strchr(ip, ':') ? AF_INET6 : AF_INET };

	CHECK(inet_pton(ss.ss_family, ip, ss.ss_family == AF_INET ? (void *)&((struct sockaddr_in *)&ss)->sin_addr :
			(void *)&((struct sockaddr_in6 *)&ss)->sin6_addr) == 1);
	return ss;
}

static int level_of(const char *ip)
{
	return strchr(ip, ':') ? SOL_IPV6 : SOL_IP;
}

static void join(int fd, const char *group)
{
	struct group_req gr = { .gr_interface = if_nametoindex("lo"), .gr_group = addr(group) };

	CHECK(setsockopt(fd, level_of(group), MCAST_JOIN_GROUP, &gr, sizeof(gr)) == 0);
}

static void with(int fd, int name, const char *group, const char *source)
{
	struct group_source_req gsr = { .gsr_interface = if_nametoindex("lo"), .gsr_group = addr(group),
					.gsr_source = addr(source) };

	CHECK(setsockopt(fd, level_of(group), name, &gsr, sizeof(gsr)) == 0);
}

static void expect(int fd, const char *group, uint32_t mode, int n, const char *source)
{
	union {
		struct group_filter gf;
		char room[GROUP_FILTER_SIZE(8)];
	} u = { .gf = { .gf_interface = if_nametoindex("lo"), .gf_group = addr(group), .gf_numsrc = 8 } };
	struct sockaddr_storage want;
	socklen_t len = sizeof(u);
	int v6 = level_of(group) == SOL_IPV6;

	if (getsockopt(fd, level_of(group), MCAST_MSFILTER, &u, &len))
		prog_fail("%s is not joined: %s", group, strerror(errno));
	CHECK(u.gf.gf_fmode == mode && (int)u.gf.gf_numsrc == n);
	if (!source)
		return;
	want = addr(source);
	CHECK(!memcmp((char *)&u.gf.gf_slist[0] + (v6 ? 8 : 4), (char *)&want + (v6 ? 8 : 4), v6 ? 16 : 4));
}

static int is_member(int fd, const char *group)
{
	struct group_filter gf = { .gf_interface = if_nametoindex("lo"), .gf_group = addr(group) };
	socklen_t len = sizeof(gf);

	return getsockopt(fd, level_of(group), MCAST_MSFILTER, &gf, &len) == 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_in a = { .sin_family = AF_INET }, to;
	struct ip_mreqn lo = { .imr_ifindex = if_nametoindex("lo"), .imr_address.s_addr = htonl(INADDR_LOOPBACK) };
	int four = socket(AF_INET, SOCK_DGRAM, 0), six = socket(AF_INET6, SOCK_DGRAM, 0), other = socket(AF_INET, SOCK_DGRAM, 0);
	int sender = socket(AF_INET, SOCK_DGRAM, 0), zero = 0, v = -1;
	socklen_t len = sizeof(a);
	char buf[16];

	prog_init(argc, argv);
	CHECK(bind(four, (struct sockaddr *)&a, sizeof(a)) == 0 && getsockname(four, (struct sockaddr *)&a, &len) == 0);
	CHECK(setsockopt(four, SOL_IP, IP_MULTICAST_ALL, &zero, sizeof(zero)) == 0);
	CHECK(setsockopt(other, SOL_IP, IP_MULTICAST_IF, &lo, sizeof(lo)) == 0);
	CHECK(setsockopt(sender, SOL_IP, IP_MULTICAST_IF, &lo, sizeof(lo)) == 0);
	join(four, "239.1.2.3");
	join(four, "239.1.2.4");
	with(four, MCAST_BLOCK_SOURCE, "239.1.2.4", "10.1.1.1");
	with(four, MCAST_JOIN_SOURCE_GROUP, "232.1.2.3", "10.2.2.2");
	with(four, MCAST_JOIN_SOURCE_GROUP, "232.1.2.3", "10.2.2.3");
	join(other, "239.9.9.9");
	if (six >= 0) {
		join(six, "ff15::1");
		with(six, MCAST_JOIN_SOURCE_GROUP, "ff35::2", "fd00::1");
		join(six, "239.7.7.7");
	}
	prog_ready();

	expect(four, "239.1.2.3", MCAST_EXCLUDE, 0, NULL);
	expect(four, "239.1.2.4", MCAST_EXCLUDE, 1, "10.1.1.1");
	expect(four, "232.1.2.3", MCAST_INCLUDE, 2, NULL);
	expect(other, "239.9.9.9", MCAST_EXCLUDE, 0, NULL);
	CHECK(!is_member(four, "239.9.9.9") && !is_member(other, "239.1.2.3"));
	len = sizeof(v);
	CHECK(getsockopt(four, SOL_IP, IP_MULTICAST_ALL, &v, &len) == 0 && v == 0);
	len = sizeof(v);
	CHECK(getsockopt(other, SOL_IP, IP_MULTICAST_IF, &v, &len) == 0 && v == (int)htonl(INADDR_LOOPBACK));
	if (six >= 0) {
		expect(six, "ff15::1", MCAST_EXCLUDE, 0, NULL);
		expect(six, "ff35::2", MCAST_INCLUDE, 1, "fd00::1");
		expect(six, "239.7.7.7", MCAST_EXCLUDE, 0, NULL);
	}
	to = a;
	inet_pton(AF_INET, "239.1.2.3", &to.sin_addr);
	CHECK(sendto(sender, "hello", 5, 0, (struct sockaddr *)&to, sizeof(to)) == 5);
	CHECK(recv(four, buf, sizeof(buf), 0) == 5);
	inet_pton(AF_INET, "239.9.9.9", &to.sin_addr);
	CHECK(sendto(sender, "hello", 5, 0, (struct sockaddr *)&to, sizeof(to)) == 5);
	CHECK(recv(four, buf, sizeof(buf), MSG_DONTWAIT) < 0 && errno == EAGAIN);
	prog_ok();
}
