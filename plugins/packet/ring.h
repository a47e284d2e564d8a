/* SPDX-License-Identifier: MIT */
/*
 * ring.h: rings of packet sockets (PACKET_RX_RING, PACKET_TX_RING).
 *
 *   ring.c   where the kernel is in a ring, and bringing it there again
 *   map.c    the mappings of the tree's tasks
 */
#ifndef PLUGINS_PACKET_RING_H
#define PLUGINS_PACKET_RING_H

#include "common.h"
#include "packet-sock.pb-c.h"
#include "packet.h"

extern const struct cr_img_type packet_img_ring;
extern const struct cr_vma_kind *const packet_vmas[];

/* Bytes of both rings, as they are mapped; 0: none. */
uint64_t ring_bytes(const PacketRing *rx, const PacketRing *tx);
/* The message for a ring that the kernel tells of; NULL: none.  Memory of the session. */
PacketRing *ring_encode(struct cr_session *s, const struct packet_ring_facts *k);

/* check(): what keeps the rings of fd from being dumped.  0 or what refuse() gives. */
int ring_check(struct cr_session *s, int fd, const struct packet_facts *k);
/* dump(): memory and position of the rings of fd.  0 or -errno recorded. */
int ring_dump(struct cr_session *s, struct cr_file *f, int fd, const PacketSockEntry *e);
/* load() */
int ring_load_check(struct cr_session *s, const PacketSockEntry *e);
/* open(): fd, which has its PACKET_VERSION and no filter, and is not bound, gets its rings.  0 or -errno recorded. */
int ring_restore(struct cr_session *s, struct cr_file *f, int fd, const PacketSockEntry *e);

#endif
