/* SPDX-License-Identifier: MIT */
/*
 * packet.h: what the files of the plugin "packet" share.
 *
 *   packet.c   the plugin table; a socket becomes a message, and back
 *   ring.c, map.c  rings (ring.h)
 *   diag.c     facts about a socket, from the kernel's sock_diag
 */
#ifndef PLUGINS_PACKET_H
#define PLUGINS_PACKET_H

#include <stddef.h>
#include <stdint.h>

#define PACKET_MEMBERS_MAX 256

struct packet_member {
	uint32_t index, count;
	uint16_t type, len;
	uint8_t addr[32];
};

struct packet_ring_facts { /* block_nr 0: none */
	uint32_t block_size, block_nr, frame_size, frame_nr, retire_tmo, sizeof_priv, features;
};

struct packet_facts {
	uint16_t protocol; /* host byte order */
	uint32_t ifindex, version, reserve, copy_thresh, timestamp, flags; /* flags: PDI_* */
	int fanout; /* it is in a group */
	struct packet_ring_facts rx, tx;
	struct packet_member members[PACKET_MEMBERS_MAX];
	size_t nmembers, too_many;
};

/* Asks the kernel for the socket with that inode number.  0, -ENOENT: not there; -errno. */
int packet_facts(uint32_t ino, struct packet_facts *ret);

#endif
