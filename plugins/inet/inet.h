/* SPDX-License-Identifier: MIT */
/*
 * inet.h: what the files of the plugin "inet" share.
 *
 *   inet.c      the plugin table, claims, what cannot be dumped
 *   facts.c     addresses and states of a socket, and how they are printed
 *   options.c   options of the protocols, at dump and restore
 *   dump.c      a socket becomes a message
 *   restore.c   a message becomes a socket
 *   map_ip.c    --map-ip
 *   diag.c      what only sock_diag(7) tells (diag.h)
 *   keys.c      keys for signing packets
 *   tcp*.c      TCP connections (tcp.h)
 *   lock*.c     the network lock (lock.h)
 */
#ifndef PLUGINS_INET_H
#define PLUGINS_INET_H

#include <netinet/in.h>

#include "common.h"
#include "sk-inet.pb-c.h"
#include "sock.h"

/* States as the kernel numbers them; datagram sockets have the first two. */
enum { SK_ESTABLISHED = 1, SK_CLOSE = 7, SK_LISTEN = 10 };

#define PROTO_MPTCP 262 /* IPPROTO_MPTCP, Linux 5.6 */

union addr {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

/* What getsockname(2) and its like tell. */
struct facts {
	int family, type, proto;
	union addr src, dst; /* all zero where there is none */
	uint32_t state;
	uint32_t backlog; /* of a listening socket */
	uint32_t waiting; /* connections that it has not accepted */
};

struct inet_state {
	struct sock_extra_image *extra; /* restore */
	struct lock_state *lock; /* lock.c */
	struct dgram_state *dgram; /* dgram.h */
	struct inet_map *maps; /* map_ip.c */
	size_t nmaps;
	int shared_told; /* dump: about programs for SO_REUSEPORT */
};
static inline struct inet_state *inet_state(struct cr_session *s)
{
	return s->core->plugin_priv(s, sizeof(struct inet_state));
}

extern const struct cr_img_type inet_img_extra, inet_img_lock;
extern const struct cr_option inet_option_lock;

/* TCP or MPTCP. */
int inet_is_tcp(int type, int proto);
/* 0 or -errno, not recorded. */
int inet_facts(int fd, struct facts *ret);
/* "TCP", "UDP", …; the number where it has no name.  Static memory, changed by the next call. */
const char *inet_proto_name(int type, int proto);
/* "127.0.0.1:80", "[::1]:80"; memory of the session. */
const char *inet_addr_text(struct cr_session *s, const union addr *a);
socklen_t inet_addr_len(const union addr *a);
/* Is the file object, of any plugin, a socket of this one? */
int inet_is_ours(struct cr_session *s, const struct cr_file *f);

/* stage(): reads --map-ip.  0 or -errno recorded. */
int inet_map_stage(struct cr_session *s);
/* The address that the user wants in the place of a. */
void inet_map(struct cr_session *s, union addr *a);

/*
 * dump: options beside those of SOL_SOCKET into e; memory of the session.  0 or -errno recorded.
 * restore: before bind(2).  0 or -errno recorded.
 */
int inet_opts_dump(struct cr_session *s, struct cr_file *f, int fd, const struct facts *k, InetSkEntry *e);
int inet_opts_restore(struct cr_session *s, struct cr_file *f, int fd, const InetSkEntry *e);

/* restore: an address of the image as it shall be here.  0 or -errno recorded. */
enum inet_end { INET_LOCAL, INET_PEER };
int inet_make_addr(struct cr_session *s, const InetSkEntry *e, enum inet_end end, union addr *ret);
/* restore: bind(2) as the image says.  0 or -errno recorded. */
int inet_bind(struct cr_session *s, int fd, const InetSkEntry *e);

/* restore: SO_BINDTODEVICE; NULL: nothing.  0 or -errno recorded. */
int inet_bind_device(struct cr_session *s, int fd, const char *name);

/* ---- reconnect.c ---- */

/* check(), dump(): is the socket to be connected to the same server again? */
int inet_reconnects(struct cr_session *s, struct cr_file *f, const struct facts *k);
/* check() of a connected socket that is not, though the user has said so.  0 or what refuse() gives. */
int inet_check_reconnect(struct cr_session *s, struct cr_file *f, const struct facts *k);
/* dump(): then k becomes what the image shall have. */
void inet_to_reconnect(struct cr_session *s, struct cr_file *f, struct facts *k);
/* Is it one of those? */
int inet_is_reconnect(const InetSkEntry *e);
/* restored(): connects all of them.  0 or -errno recorded. */
int inet_reconnect_all(struct cr_session *s);

/* The hooks. */
int inet_dump(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info);
int inet_load(struct cr_session *s, struct cr_file *f, const void *data, size_t len);
int inet_open(struct cr_session *s, struct cr_file *f, int *ret_fd);
int inet_wire(struct cr_session *s, struct cr_file *f);
int inet_check_image(struct cr_session *s, struct cr_file *f);
int inet_key(struct cr_session *s, struct cr_file *f, char *buf, size_t size);

struct inet_priv {
	InetSkEntry *e; /* memory of the session */
	int locked;	/* dump: its connection is in the network lock */
	int uncorked;	/* dump: data that it held back was looked after */
	uint32_t queued; /* dump: bytes in the queue that were seen */
	int repaired;	/* dump: in repair mode, by us */
	int reuse, peek_off; /* dump: SO_REUSEADDR and SO_PEEK_OFF as they were before that */
	struct tcp_stream *stream; /* restore: its connection */
	int ended;	/* dump: the connection has ended, and the program may not have seen it */
	struct tcp_ended *closed; /* restore: such a socket */
	int opened;	/* restore: a connection that open() has made or begun */
};

#endif
