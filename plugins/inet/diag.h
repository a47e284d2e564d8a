/* SPDX-License-Identifier: MIT */
/* diag.h: what only sock_diag(7) tells (diag.c), and keys for MD5 (keys.c). */
#ifndef PLUGINS_INET_DIAG_H
#define PLUGINS_INET_DIAG_H

#include "inet.h"

struct diag_key {
	uint8_t addr[16], key[80];
	size_t addr_len, key_len; /* bytes */
	uint32_t prefix;	  /* bits of addr that count */
};
struct diag_facts {
	uint32_t shutdown; /* 1: for receiving, 2: for sending */
	struct diag_key *keys; /* memory of the session; only for CAP_NET_ADMIN */
	size_t nkeys;
};

/* 0, -ENOENT: the kernel does not list it (not bound, not connected), or other -errno; not recorded. */
int inet_diag_facts(struct cr_session *s, int fd, const struct facts *k, struct diag_facts *ret);

extern const struct cr_img_type inet_img_keys;

/* check() of a TCP socket: keys that cannot be kept.  0 or what refuse() gives. */
int keys_check(struct cr_session *s, int fd, const struct facts *k);
/* dump() of a TCP socket.  0 or -errno recorded. */
int keys_dump(struct cr_session *s, struct cr_file *f, int fd, const struct facts *k);
/* open(), before it is connected.  0 or -errno recorded. */
int keys_restore(struct cr_session *s, struct cr_file *f, int fd, const InetSkEntry *e);

#endif
