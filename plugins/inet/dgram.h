/* SPDX-License-Identifier: MIT */
/*
 * dgram.h: what UDP, UDP-Lite and other sockets without connections have beyond addresses and options.
 *
 *   queue.c       datagrams that were received and not read, data that waits for more (UDP_CORK)
 *   forge.c       datagrams with the sender's address
 *   membership.c  multicast groups
 *
 * A queue is restored by sending every datagram anew, with the address of its sender, through a raw socket and the
 * loopback device, where spoofed addresses are not looked for.  For that the socket gets a port of its own for a
 * while, before it has its options, device and address: so nobody else sees those datagrams.  What is lost on the
 * way, and what cannot be sent so, is counted and reported.
 */
#ifndef PLUGINS_INET_DGRAM_H
#define PLUGINS_INET_DGRAM_H

#include "inet-dgram.pb-c.h"
#include "inet.h"
#include "util.h"

/* A datagram to be forged; ports in host order. */
struct dgram {
	int proto; /* IPPROTO_UDP, IPPROTO_UDPLITE; IPPROTO_TCP: data begins with a header that lacks only its checksum */
	size_t addr_len; /* 4 or 16 */
	uint8_t src[16], dst[16];
	uint32_t scope; /* of dst, where it is an address of a link */
	uint16_t sport, dport;
	uint8_t ttl, tos;
	const void *data;
	size_t len;
};

/* A raw socket for forge_send(), or -errno: -EPERM: it needs CAP_NET_RAW. */
int forge_open(int family);
/* 0 or -errno; whether it arrives is another matter. */
int forge_send(int raw, const struct dgram *d);

extern const struct cr_img_type inet_img_dgrams, inet_img_members;
extern const struct cr_option inet_option_cork;

/* Restore: datagrams and groups of the images; memory of the session. */
struct dgram_state {
	VEC(InetDgramEntry *) dgrams;
	VEC(InetMemberEntry *) members;
};
static inline struct dgram_state *dgram_state(struct cr_session *s)
{
	struct inet_state *st = inet_state(s);

	if (!st->dgram)
		st->dgram = s->core->alloc(s, sizeof(*st->dgram));
	return st->dgram;
}

/* All return 0 or -errno recorded. prepare(), stage(): */
int dgram_options(struct cr_session *s);
/* dump(), before options are read: the queue. */
int inet_queue_dump(struct cr_session *s, struct cr_file *f, int fd, const struct facts *k);
/* dump_late(): tells what has come since. */
void queue_dump_late(struct cr_session *s);
/* dump(): groups. */
int members_dump(struct cr_session *s, struct cr_file *f, int fd, const struct facts *k);
/* stage() */
int dgram_load(struct cr_session *s);
/* open(), with a socket that was just made. */
int queue_restore(struct cr_session *s, struct cr_file *f, int fd, const InetSkEntry *e);
/* open(), any time. */
int members_restore(struct cr_session *s, struct cr_file *f, int fd);
void dgram_done(struct cr_session *s);

#endif
