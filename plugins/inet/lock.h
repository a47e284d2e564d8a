/* SPDX-License-Identifier: MIT */
/*
 * lock.h: the network lock: packets of connections that are being dumped, or are to be restored, are dropped.
 *
 *   lock.c      which connections, when, and what the image says of it
 *   lock_nft.c  rules by libnftables
 *   lock_ipt.c  rules by iptables-restore(8)
 *   lock_ns.c   network namespaces: entering one, finding one again
 *
 * There are two kinds of locks.  A HOLD is an nftables table of the kind "owner": it vanishes with the netlink
 * socket that made it, so that nothing is left whoever is killed.  A LASTING lock stays until it is removed.
 *
 *   dump      a hold, before the first connection is touched; --leave-running: it goes at the end.  Otherwise the
 *             lasting lock takes its place just before the commit, with an undo record for an engine that dies there.
 *             iptables and kernels without owners (before 5.12): the lasting lock right away, with an undo record.
 *   restore   a hold from before the first connection is opened, for a machine without the lasting lock, until
 *             everything has succeeded; then both go.  After a failure the lasting lock is still there.
 */
#ifndef PLUGINS_INET_LOCK_H
#define PLUGINS_INET_LOCK_H

#include <netinet/in.h>

#include "cr-plugin.h"
#include "util.h"

enum lock_method { LOCK_NFTABLES = 1, LOCK_IPTABLES, LOCK_SKIP };

/* One connection, as packets have it: one that comes in, from src to dst. Addresses of IPv4 take 4 bytes. */
struct lock_conn {
	uint32_t family; /* AF_INET, AF_INET6; of the packets */
	uint8_t src[16], dst[16];
	uint16_t sport, dport;
};
typedef VEC(struct lock_conn) lock_conns;

/* Packets with this mark pass the lock: the engine's own (tcp_forge.c). */
#define LOCK_MARK 0xc114

/* "stasis-" and 16 hexadecimal digits */
#define LOCK_NAME 24

/* ---- for the hooks of the plugin; each returns 0 or -errno recorded ---- */

/* prepare(), stage(): is the option --network-lock understood? */
int lock_options(struct cr_session *s);
/*
 * dump() of a connected TCP socket, before it is changed in any way (TCP_REPAIR): locks every connection among the
 * files known by now that is not locked yet.
 */
int lock_dump(struct cr_session *s);
/* dump_late(), when no socket is in repair mode any more or the tree is about to die. */
int lock_seal(struct cr_session *s);
/* stage(): reads the image. */
int lock_load(struct cr_session *s);
/* open() of a connected TCP socket, before it is made; only the first call does something. */
int lock_hold(struct cr_session *s);
/* resume(): everything has succeeded, tasks are about to run. */
int lock_resume(struct cr_session *s);
/* done() */
void lock_done(struct cr_session *s);
/* undo(); not recorded */
int lock_undo(int fd, const char *text);

/* ---- nftables ---- */

struct nft_ctx;
/*
 * A table inet <name> that drops the connections, in namespace ns (lock_ns_run()). ret_owner: a hold, which lasts
 * until lock_nft_release(); NULL: a lasting one, which replaces one of that name.  why: room for a message.
 * 0 or -errno: -EOPNOTSUPP: the kernel has no nftables, or no owners.
 */
int lock_nft_add(int ns, const char *name, const lock_conns *conns, struct nft_ctx **ret_owner, char *why, size_t room);
void lock_nft_release(struct nft_ctx *owner); /* NULL is fine */
/* No such table is fine. */
int lock_nft_remove(int ns, const char *name, char *why, size_t room);

/* ---- iptables ---- */

/* A lasting lock, which replaces one of that name. 0 or -errno: -EOPNOTSUPP: neither the programs nor the kernel have it. */
int lock_ipt_add(int ns, const char *name, const lock_conns *conns, char *why, size_t room);
int lock_ipt_remove(int ns, const char *name, char *why, size_t room);

/* ---- namespaces ---- */

/* The network namespace of a socket: descriptor or -errno. */
int lock_ns_of(int sock);
/* Its number, 0 when it cannot be told. */
uint64_t lock_ns_ino(int ns);
/* The namespace with that number, among those of all processes and of all mounts: descriptor, -ENOENT. */
int lock_ns_find(uint64_t ino);
/* Runs fn(arg) inside ns, in a thread of its own unless it is the caller's namespace. What fn returns, or -errno. */
int lock_ns_run(int ns, int (*fn)(void *arg), void *arg);

#endif
