/* SPDX-License-Identifier: MIT */
/* Probes: sockets and links.  What would touch a link happens in a network namespace of a child. */
#include "probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/inet_diag.h>
#include <linux/net_namespace.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util.h"

/* Numbers that older headers lack; all are the kernel's ABI. */
#define CMD_SIOCGSKNS 0x894C
#define CMD_SIOCUNIXFILE 0x89E0 /* SIOCPROTOPRIVATE */
#define CMD_TUNGETFEATURES _IOR('T', 207, unsigned int)
#define OPT_SO_BUF_LOCK 72
#define OPT_IPV6_FREEBIND 78
#define ATTR_TARGET_NETNSID 46 /* IFLA_TARGET_NETNSID, Linux 4.15 */
#define ATTR_NEW_IFINDEX 49    /* IFLA_NEW_IFINDEX, Linux 5.13 */
#define DIAG_REQ_RAW_PROTOCOL 255 /* IPPROTO_RAW */

/* ---- netlink: one request, one answer ---- */

struct nl_request {
	struct nlmsghdr h;
	char body[128];
};

static void *nl_put(struct nl_request *r, const void *data, size_t len)
{
	void *at = (char *)r + NLMSG_ALIGN(r->h.nlmsg_len);

	memcpy(at, data, len);
	r->h.nlmsg_len = NLMSG_ALIGN(r->h.nlmsg_len) + len;
	return at;
}

static void nl_put_u32(struct nl_request *r, uint16_t type, uint32_t v)
{
	struct {
		struct rtattr a;
		uint32_t v;
	} attr = { .a = { .rta_len = RTA_LENGTH(sizeof(v)), .rta_type = type }, .v = v };

	nl_put(r, &attr, sizeof(attr));
}

/* Error number of the answer (0: a message or an acknowledgment came), or -1 when there was none. */
static int nl_ask(int protocol, struct nl_request *r)
{
	_cleanup_fd_ int sk = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
	struct timeval limit = { .tv_sec = 3 };
	union {
		struct nlmsghdr h;
		char room[8192];
	} answer;
	ssize_t n;

	if (sk < 0)
		return -1;
	setsockopt(sk, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (send(sk, r, r->h.nlmsg_len, 0) < 0)
		return -1;
	n = recv(sk, &answer, sizeof(answer), 0);
	if (n < (ssize_t)sizeof(answer.h))
		return -1;
	if (answer.h.nlmsg_type == NLMSG_ERROR && (size_t)n >= NLMSG_LENGTH(sizeof(struct nlmsgerr)))
		return -((struct nlmsgerr *)NLMSG_DATA(&answer.h))->error;
	return 0;
}

static struct nl_request nl_request(uint16_t type, uint16_t flags)
{
	struct nl_request r = { .h = { .nlmsg_len = NLMSG_HDRLEN, .nlmsg_type = type,
				       .nlmsg_flags = NLM_F_REQUEST | flags, .nlmsg_seq = 1 } };

	return r;
}

PROBE(net_diag_raw)
{
	struct nl_request r = nl_request(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP);
	struct inet_diag_req_v2 q = { .sdiag_family = AF_INET, .sdiag_protocol = DIAG_REQ_RAW_PROTOCOL,
				      .idiag_states = ~0u };

	q.pad = DIAG_REQ_RAW_PROTOCOL; /* sdiag_raw_protocol */
	nl_put(&r, &q, sizeof(q));
	*ret_value = nl_ask(NETLINK_SOCK_DIAG, &r) == 0;
	return 0;
}

PROBE(nsid)
{
	_cleanup_fd_ int ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	struct nl_request r = nl_request(RTM_GETNSID, 0);
	struct rtgenmsg g = { .rtgen_family = AF_UNSPEC };

	nl_put(&r, &g, sizeof(g));
	nl_put_u32(&r, NETNSA_FD, ns);
	*ret_value = ns >= 0 && nl_ask(NETLINK_ROUTE, &r) == 0;
	return 0;
}

/* A namespace id that does not exist is an error only for a kernel that knows the attribute. */
PROBE(link_nsid)
{
	struct nl_request r = nl_request(RTM_GETLINK, 0);
	struct ifinfomsg m = { .ifi_family = AF_UNSPEC, .ifi_index = 1 };

	nl_put(&r, &m, sizeof(m));
	nl_put_u32(&r, ATTR_TARGET_NETNSID, 0x7ffffff0);
	*ret_value = nl_ask(NETLINK_ROUTE, &r) > 0;
	return 0;
}

/* Index 0 is out of range for a kernel that knows the attribute; others ignore it and change nothing. */
static bool newifindex_known(void)
{
	struct nl_request r = nl_request(RTM_SETLINK, NLM_F_ACK);
	struct ifinfomsg m = { .ifi_family = AF_UNSPEC, .ifi_index = 1 };

	if (unshare(CLONE_NEWNET))
		return false;
	nl_put(&r, &m, sizeof(m));
	nl_put_u32(&r, ATTR_NEW_IFINDEX, 0);
	return nl_ask(NETLINK_ROUTE, &r) > 0;
}

PROBE(newifindex)
{
	*ret_value = probe_in_child(newifindex_known);
	return 0;
}

PROBE(nftables)
{
	struct nl_request r = nl_request(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN, 0);
	struct nfgenmsg g = { .nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0 };

	nl_put(&r, &g, sizeof(g));
	*ret_value = nl_ask(NETLINK_NETFILTER, &r) == 0;
	return 0;
}

PROBE(ipt_legacy)
{
	*ret_value = access("/proc/self/net/ip_tables_names", R_OK) == 0;
	return 0;
}

/* ---- sockets ---- */

PROBE(tun)
{
	_cleanup_fd_ int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	unsigned int features;

	*ret_value = fd >= 0 && ioctl(fd, CMD_TUNGETFEATURES, &features) == 0;
	return 0;
}

static bool has_net_ns(int fd)
{
	int ns = fd >= 0 ? ioctl(fd, CMD_SIOCGSKNS) : -1;

	if (ns >= 0)
		close(ns);
	return ns >= 0;
}

PROBE(tun_ns)
{
	_cleanup_fd_ int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	*ret_value = has_net_ns(fd);
	return 0;
}

PROBE(sk_ns)
{
	_cleanup_fd_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	*ret_value = has_net_ns(fd);
	return 0;
}

/* An unbound socket has no file: ENOENT from a kernel that knows the question. */
PROBE(sk_unix_file)
{
	_cleanup_fd_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	*ret_value = fd >= 0 && ioctl(fd, CMD_SIOCUNIXFILE) < 0 && errno == ENOENT;
	return 0;
}

PROBE(sockopt_buf_lock)
{
	_cleanup_fd_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int v;
	socklen_t len = sizeof(v);

	*ret_value = fd >= 0 && getsockopt(fd, SOL_SOCKET, OPT_SO_BUF_LOCK, &v, &len) == 0;
	return 0;
}

PROBE(ipv6_freebind)
{
	_cleanup_fd_ int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int v;
	socklen_t len = sizeof(v);

	*ret_value = fd >= 0 && getsockopt(fd, SOL_IPV6, OPT_IPV6_FREEBIND, &v, &len) == 0;
	return 0;
}

static bool loopback_up(void)
{
	_cleanup_fd_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq req = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };

	return fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &req) == 0;
}

/* Repair mode on a connection that one side has shut down; old kernels want it fully established. */
static bool repairs_half_closed(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int one = 1, listener, client;

	if (unshare(CLONE_NEWNET) || !loopback_up())
		return false;
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0 || client < 0 || bind(listener, (struct sockaddr *)&a, sizeof(a)) || listen(listener, 1) ||
	    getsockname(listener, (struct sockaddr *)&a, &len) || connect(client, (struct sockaddr *)&a, sizeof(a)) ||
	    shutdown(client, SHUT_WR))
		return false;
	return setsockopt(client, SOL_TCP, TCP_REPAIR, &one, sizeof(one)) == 0;
}

PROBE(tcp_half_closed)
{
	*ret_value = probe_in_child(repairs_half_closed);
	return 0;
}
