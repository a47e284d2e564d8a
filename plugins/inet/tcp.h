/* SPDX-License-Identifier: MIT */
/*
 * tcp.h: TCP connections.
 *
 *   tcp_dump.c     a connection becomes an image
 *   tcp_restore.c  an image becomes a connection
 *   tcp_fill.c     its queues, and who has shut it down
 *   tcp_forge.c    packets that say what the other side said long ago
 *   tcp_closed.c   connections that have ended, and what the program has not seen of them
 *   proc_net.c     /proc/net/tcp: what a socket does not tell about itself, and who holds an address
 *
 * All of it rests on TCP_REPAIR: a socket in repair mode tells and takes its sequence numbers, queues and
 * window, connects without a packet, and vanishes without one when it is closed.
 *
 * dump       While the tree is frozen and the lock keeps packets away, a socket gets into repair mode and stays in
 *            it: if the tree is killed, the connection must not be closed towards the other side.  If it runs on,
 *            for whatever reason, repair mode ends before it does: at the end of the dump, by the warden if this
 *            process died.
 * restore    open() makes the connection, in repair mode.  wire(), when the sockets of all connections are there,
 *            fills its queues.  At last, when nothing can fail any more, repair mode ends.
 */
#ifndef PLUGINS_INET_TCP_H
#define PLUGINS_INET_TCP_H

#include <netinet/tcp.h>

#include "inet.h"

/* States beside those of inet.h. */
enum {
	TCP_ST_SYN_SENT = 2,
	TCP_ST_SYN_RECV = 3,
	TCP_ST_FIN_WAIT1 = 4,
	TCP_ST_FIN_WAIT2 = 5,
	TCP_ST_TIME_WAIT = 6,
	TCP_ST_CLOSE_WAIT = 8,
	TCP_ST_LAST_ACK = 9,
	TCP_ST_CLOSING = 11
};

/* Both sides know of the connection: only repair mode can keep it. */
static inline int tcp_is_connected(uint32_t state)
{
	return state == SK_ESTABLISHED || (state >= TCP_ST_FIN_WAIT1 && state <= TCP_ST_FIN_WAIT2) ||
	       (state >= TCP_ST_CLOSE_WAIT && state <= TCP_ST_LAST_ACK) || state == TCP_ST_CLOSING;
}
/* The other side has sent its FIN. */
static inline int tcp_got_fin(uint32_t state)
{
	return state == TCP_ST_CLOSE_WAIT || state == TCP_ST_LAST_ACK || state == TCP_ST_CLOSING;
}
/* This side has. */
static inline int tcp_sent_fin(uint32_t state)
{
	return state == TCP_ST_FIN_WAIT1 || state == TCP_ST_FIN_WAIT2 || state == TCP_ST_CLOSING ||
	       state == TCP_ST_LAST_ACK;
}

/* A connection as its image has it; memory of the session. */
struct tcp_stream {
	const TcpStreamEntry *e;
	uint8_t *inq, *outq;
	union addr src, dst;
	int filled; /* with queues */
};

extern const struct cr_img_type inet_img_stream, inet_img_closed;

/* ---- dump ---- */

/* check(): what keeps the connection k from being dumped; not CLOSE, not LISTEN.  0 or what refuse() gives. */
int tcp_check(struct cr_session *s, int fd, const struct facts *k);
/*
 * dump(): puts the socket, connected, into repair mode and writes the image; its options are known by then.
 * 0 or -errno recorded.
 */
int tcp_dump(struct cr_session *s, struct cr_file *f, int fd, const struct facts *k, uint64_t ino);
/* dump_late(): ends repair mode if the tree is to live.  0 or -errno recorded. */
int tcp_dump_late(struct cr_session *s);

/*
 * dump() of an unconnected socket: is it one whose connection has ended?  Then tcp_closed_dump() sees to it, and k
 * changes.
 */
void tcp_closed_mark(struct cr_session *s, struct cr_file *f, int fd, struct facts *k);
/* dump_late(): images of those.  0 or -errno recorded. */
int tcp_closed_dump(struct cr_session *s);

/* ---- restore ---- */

/* load() of an unconnected socket, and open() of one that has ended, bind(2) included.  0 or -errno recorded. */
int tcp_closed_load(struct cr_session *s, struct cr_file *f);
int tcp_closed_open(struct cr_session *s, struct cr_file *f, int fd);
/* The first part of it: fd is in repair mode and bound. */
int tcp_closed_bind(struct cr_session *s, struct cr_file *f, int fd);

/* load(): reads and checks the image of a connected socket.  0 or -errno recorded. */
int tcp_load(struct cr_session *s, struct cr_file *f);
/* open(): fd becomes the connection, with its options.  0 or -errno recorded. */
int tcp_open(struct cr_session *s, struct cr_file *f, int fd);
/* check --images: is there something that would keep tcp_open() from succeeding?  fd is closed afterwards. */
int tcp_check_image(struct cr_session *s, struct cr_file *f, int fd);
/* wire(): queues and state.  0 or -errno recorded. */
int tcp_wire(struct cr_session *s, struct cr_file *f);
/* The tasks are about to run, and packets may pass again: ends repair mode, begins what SYN_SENT sockets had begun. */
int tcp_restored(struct cr_session *s);
/*
 * done(): after a failure.  dump: ends repair mode where the warden could not; restore: what was restored must not be
 * closed towards the other side.
 */
void tcp_done(struct cr_session *s, int error);

/* Repair mode: TCP_REPAIR_ON, TCP_REPAIR_OFF, which sends a window probe, or TCP_REPAIR_OFF_NO_WP. 0 or -errno. */
int tcp_repair(int fd, int value);
/* The queue that the next calls are about: enum, see tcp(7).  0 or -errno. */
enum { TCP_NO_Q = 0, TCP_RECV_Q, TCP_SEND_Q };
int tcp_queue(int fd, int queue);
/* Where the queue begins; before connect(2).  0 or -errno. */
int tcp_set_seq(int fd, int queue, uint32_t seq);
/* In repair mode: bytes that were received, or sent.  0 or -errno. */
int tcp_write_queue(int fd, int queue, const uint8_t *p, size_t len);
/* Connected: how large segments are is computed anew, from what was agreed on and the largest window. */
void tcp_compute_mss(int fd);
/* State as TCP_INFO tells it; 0 where it does not. */
uint32_t tcp_state(int fd);

/* Fills queues and shuts down what was shut down.  In and out: repair mode.  0 or -errno recorded. */
int tcp_fill(struct cr_session *s, int fd, const InetSkEntry *e, struct tcp_stream *t);

/*
 * Sends a packet without data, as if from the other side (from) to a socket of this machine (to); seq and ack in host
 * order, window as it is in the packet, flags: TCP_FLAG_*.  It has LOCK_MARK.  0 or -errno recorded.
 */
enum { TCP_FLAG_FIN = 1, TCP_FLAG_RST = 4, TCP_FLAG_ACK = 16 };
int tcp_forge(struct cr_session *s, const union addr *from, const union addr *to, uint32_t seq, uint32_t ack,
	      uint32_t flags, uint32_t window);
/* Would it be allowed?  0 or -errno recorded. */
int tcp_may_forge(struct cr_session *s, const union addr *from, const union addr *to);

/* ---- /proc/net/tcp ---- */

/*
 * The other side of a TCP socket of this network namespace that does not tell it (SYN_SENT).  0, or -ENOENT and *ret as
 * it was.
 */
int proc_net_peer(int family, uint64_t ino, union addr *ret);
/* Does somebody listen on the port of that address, for that address or all? */
int proc_net_listens(const union addr *a);
/* Inode number of the socket that has the connection from src to dst; 0: none. */
uint64_t proc_net_ino(const union addr *src, const union addr *dst);
/* How many connections to a listening socket are half open: the client may believe in them (TCP_DEFER_ACCEPT). */
uint32_t proc_net_half_open(const union addr *listener);
/*
 * Who has a socket of that protocol (TCP, UDP, UDP-Lite) bound to the address (an address of zeros is in the way of every
 * other): "pid 12 (nginx)", "a socket that no process has", or "".  Memory of the session.
 */
const char *proc_net_holder(struct cr_session *s, int proto, const union addr *a);
/* Who has the TCP connection from src to dst, in which state; as proc_net_holder(). */
const char *proc_net_connection(struct cr_session *s, const union addr *src, const union addr *dst, uint32_t *ret_state);

#endif
