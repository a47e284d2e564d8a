/* SPDX-License-Identifier: MIT */
/*
 * ring.h: rings of packet sockets (PACKET_RX_RING, PACKET_TX_RING).
 *
 *   ring.c   where the kernel is in a ring, and bringing it there again
 *   txring.c the same of rings for sending
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

/* ---- txring.c ---- */

/* A ring for sending, in the memory of the engine; version: TPACKET_V1, … */
struct tx_view {
	uint8_t *mem;
	uint32_t version, block_size, block_nr, frame_size, frame_nr;
};
/* check(): what can be seen without touching it.  0 or what refuse() gives. */
int tx_check(struct cr_session *s, const struct tx_view *v, int has_loss);
/* dump(): which frame is next; bytes: of all rings of fd, off: where this one begins.  0, or refused or recorded. */
int tx_find(struct cr_session *s, int fd, const struct tx_view *v, uint64_t bytes, uint64_t off, uint32_t *ret);
/* The plugin's undo(): of what tx_find() does. */
int tx_undo(int fd, const char *text);
/* open(): a new ring goes on at head.  0 or -errno recorded. */
int tx_advance(struct cr_session *s, int fd, const struct tx_view *v, uint32_t head);

#endif
