/* SPDX-License-Identifier: MIT */
/* Packet sockets: bound to a device, promiscuous, in a fanout group, with a filter; afterwards they see what they saw before. */
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdint.h>
#include <sys/socket.h>

#include "prog.h"

static int lo;

static int made(int type, int protocol, int bound)
{
	struct sockaddr_ll a = { .sll_family = AF_PACKET, .sll_protocol = htons(bound), .sll_ifindex = lo };
	int fd = socket(AF_PACKET, type, protocol);

	if (fd < 0 && (errno == EPERM || errno == EAFNOSUPPORT))
		prog_skip("no packet sockets: %s", strerror(errno));
	CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
	return fd;
}

static int get(int fd, int level, int name)
{
	int v = -1;
	socklen_t len = sizeof(v);

	CHECK(getsockopt(fd, level, name, &v, &len) == 0);
	return v;
}

/* How many have made the loopback device promiscuous. */
static int promiscuity(void)
{
	struct {
		struct nlmsghdr h;
		struct ifinfomsg i;
	} q = { { sizeof(q), RTM_GETLINK, NLM_F_REQUEST, 1, 0 }, { .ifi_index = lo } };
	union {
		struct nlmsghdr h;
		char room[32768];
	} u;
	int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE), n = -1;
	ssize_t len;

	CHECK(fd >= 0 && send(fd, &q, sizeof(q), 0) == sizeof(q) && recv(fd, &u, sizeof(u), 0) > 0);
	close(fd);
	CHECK(u.h.nlmsg_type == RTM_NEWLINK);
	len = IFLA_PAYLOAD(&u.h);
	for (struct rtattr *a = IFLA_RTA(NLMSG_DATA(&u.h)); RTA_OK(a, len); a = RTA_NEXT(a, len))
		if (a->rta_type == IFLA_PROMISCUITY)
			memcpy(&n, RTA_DATA(a), sizeof(n));
	return n;
}

/* A datagram through the loopback device. */
static void talk(const char *text)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&a, len) == 0 && getsockname(fd, (struct sockaddr *)&a, &len) == 0);
	CHECK(sendto(fd, text, strlen(text), 0, (struct sockaddr *)&a, len) == (ssize_t)strlen(text));
	close(fd);
}

/* The next frame, which ends in text. */
static void expect(int fd, const char *text)
{
	struct sockaddr_ll a;
	socklen_t len = sizeof(a);
	char buf[2000];
	ssize_t n = recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&a, &len);

	CHECK(n > (ssize_t)strlen(text) && !memcmp(buf + n - strlen(text), text, strlen(text)));
	CHECK(a.sll_ifindex == lo && a.sll_protocol == htons(ETH_P_IP));
}

int main(int argc, char **argv)
{
	struct sock_filter nothing[] = { BPF_STMT(BPF_RET | BPF_K, 0) };
	struct sock_fprog filter = { 1, nothing };
	struct packet_mreq promisc = { .mr_type = PACKET_MR_PROMISC };
	int raw, cooked, deaf, one = 1, group = 77 | PACKET_FANOUT_LB << 16, was;
	struct sockaddr_ll a, b;
	socklen_t len = sizeof(a);
	char c;

	prog_init(argc, argv);
	lo = if_nametoindex("lo");
	/* first, or others would see it */
	deaf = made(SOCK_RAW, 0, ETH_P_ALL);
	CHECK(setsockopt(deaf, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) == 0);
	raw = made(SOCK_RAW, 0, ETH_P_IP);
	cooked = made(SOCK_DGRAM, htons(ETH_P_IP), ETH_P_IP);
	promisc.mr_ifindex = lo;
	CHECK(setsockopt(raw, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promisc, sizeof(promisc)) == 0);
	CHECK(setsockopt(raw, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promisc, sizeof(promisc)) == 0);
	CHECK(setsockopt(raw, SOL_PACKET, PACKET_AUXDATA, &one, sizeof(one)) == 0);
	CHECK(setsockopt(raw, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) == 0);
	CHECK(setsockopt(cooked, SOL_PACKET, PACKET_FANOUT, &group, sizeof(group)) == 0);
	CHECK(fcntl(cooked, F_SETFL, O_NONBLOCK) == 0);
	CHECK(getsockname(raw, (struct sockaddr *)&a, &len) == 0);
	talk("before");
	expect(raw, "before");
	expect(cooked, "before");
	was = promiscuity();
	CHECK(was >= 1);
	prog_ready();

	CHECK(getsockname(raw, (struct sockaddr *)&b, &len) == 0 && !memcmp(&a, &b, sizeof(a)));
	CHECK(get(raw, SOL_PACKET, PACKET_AUXDATA) == 1 && get(raw, SOL_PACKET, PACKET_IGNORE_OUTGOING) == 1);
	CHECK(get(cooked, SOL_PACKET, PACKET_FANOUT) == group && promiscuity() == was);
	while (recv(cooked, &c, 1, 0) >= 0)
		; /* the copy that went out */
	CHECK(errno == EAGAIN && fcntl(cooked, F_SETFL, 0) == 0);
	talk("afterwards");
	expect(raw, "afterwards");
	expect(cooked, "afterwards");
	CHECK(recv(deaf, &c, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN);
	CHECK(setsockopt(raw, SOL_PACKET, PACKET_DROP_MEMBERSHIP, &promisc, sizeof(promisc)) == 0 && promiscuity() == was);
	CHECK(setsockopt(raw, SOL_PACKET, PACKET_DROP_MEMBERSHIP, &promisc, sizeof(promisc)) == 0 && promiscuity() == was - 1);
	prog_ok();
}
