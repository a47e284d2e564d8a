/* SPDX-License-Identifier: MIT */
/* forge.c: datagrams, and segments of TCP, with the sender's address. See dgram.h. */
#include "dgram.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <string.h>

#include "util.h"

#define OPT_IPV6_HDRINCL 36

static uint64_t sum(const void *data, size_t len, uint64_t start)
{
	const uint8_t *p = data;

	for (size_t i = 0; i + 1 < len; i += 2)
		start += (uint32_t)p[i] << 8 | p[i + 1];
	return len & 1 ? start + ((uint32_t)p[len - 1] << 8) : start;
}

/* Over addresses, protocol, length and all of the datagram, also for UDP-Lite. */
static uint16_t checksum(const struct dgram *d, const void *udp, size_t len)
{
	uint64_t n = sum(d->src, d->addr_len, 0);

	n = sum(d->dst, d->addr_len, n) + d->proto + len;
	n = sum(udp, len, n);
	while (n >> 16)
		n = (n & 0xffff) + (n >> 16);
	return (uint16_t)~n ? htons(~n) : 0xffff;
}

static size_t put_udp(const struct dgram *d, uint8_t *to)
{
	struct udphdr h = { .source = htons(d->sport), .dest = htons(d->dport) };
	size_t len = sizeof(h) + d->len;

	/* UDP-Lite has the number of bytes with a checksum there, 0: all */
	h.len = d->proto == IPPROTO_UDPLITE ? 0 : htons(len);
	memcpy(to, &h, sizeof(h));
	if (d->len)
		memcpy(to + sizeof(h), d->data, d->len);
	h.check = checksum(d, to, len);
	memcpy(to, &h, sizeof(h));
	return len;
}

/* The header is part of data. */
static size_t put_tcp(const struct dgram *d, uint8_t *to)
{
	uint16_t check;

	memcpy(to, d->data, d->len);
	check = checksum(d, to, d->len);
	memcpy(to + offsetof(struct tcphdr, check), &check, sizeof(check));
	return d->len;
}

static size_t put_payload(const struct dgram *d, uint8_t *to)
{
	return d->proto == IPPROTO_TCP ? put_tcp(d, to) : put_udp(d, to);
}

/* Length and checksum of an IPv4 header are the kernel's business. */
static size_t put_v4(const struct dgram *d, uint8_t *to)
{
	struct iphdr ip = { .version = 4, .ihl = 5, .ttl = d->ttl, .tos = d->tos, .protocol = d->proto };

	memcpy(&ip.saddr, d->src, 4);
	memcpy(&ip.daddr, d->dst, 4);
	memcpy(to, &ip, sizeof(ip));
	return sizeof(ip) + put_payload(d, to + sizeof(ip));
}

static size_t put_v6(const struct dgram *d, uint8_t *to)
{
	struct ip6_hdr ip = { .ip6_flow = htonl(6u << 28 | (uint32_t)d->tos << 20), .ip6_nxt = d->proto, .ip6_hlim = d->ttl };
	size_t len = put_payload(d, to + sizeof(ip));

	ip.ip6_plen = htons(len);
	memcpy(&ip.ip6_src, d->src, 16);
	memcpy(&ip.ip6_dst, d->dst, 16);
	memcpy(to, &ip, sizeof(ip));
	return sizeof(ip) + len;
}

int forge_open(int family)
{
	_cleanup_fd_ int fd = socket(family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	int one = 1, size = 1 << 20, ret = fd;

	if (fd < 0 || setsockopt(fd, family == AF_INET ? SOL_IP : SOL_IPV6, family == AF_INET ? IP_HDRINCL : OPT_IPV6_HDRINCL,
				 &one, sizeof(one)))
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	fd = -1;
	return ret;
}

int forge_send(int raw, const struct dgram *d)
{
	_cleanup_free_ uint8_t *packet = NULL;
	union addr to;
	size_t len;

	if ((d->proto == IPPROTO_TCP && d->len < sizeof(struct tcphdr)) ||
	    d->len > 65535 - sizeof(struct iphdr) - sizeof(struct udphdr))
		return -EMSGSIZE;
	packet = xcalloc(1, sizeof(struct ip6_hdr) + sizeof(struct udphdr) + d->len);
	memset(&to, 0, sizeof(to));
	if (d->addr_len == 4) {
		to.in.sin_family = AF_INET;
		memcpy(&to.in.sin_addr, d->dst, 4);
		len = put_v4(d, packet);
	} else {
		to.in6.sin6_family = AF_INET6;
		to.in6.sin6_scope_id = d->scope;
		memcpy(&to.in6.sin6_addr, d->dst, 16);
		len = put_v6(d, packet);
	}
	return sendto(raw, packet, len, 0, &to.any, inet_addr_len(&to)) < 0 ? -errno : 0;
}
