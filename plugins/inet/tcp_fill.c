/* SPDX-License-Identifier: MIT */
/*
 * tcp_fill.c: queues of a connection, and who has shut it down.
 *
 * Bytes written in repair mode count as received, or as sent and not acknowledged.  Those that were never sent must be
 * written without repair mode; that nothing of them goes out now, the window of the other side is zero as long.  So is
 * it for a FIN behind them.
 */
#include "tcp.h"

#include <errno.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "lock.h"
#include "util.h"

#define OPT_SO_BUF_LOCK 72 /* Linux 5.14 */
#define CHUNK 65536u
#define WAIT_MS 2000

/*
 * snd_wnd: bytes that the other side takes; fin: a FIN of it has not been restored yet. 0 or -errno.
 *
 * A segment is at most half the largest window ever: a larger one, in a queue that ends with it, would wait until a timer
 * has run out although the window is open.
 */
static int set_window(int fd, const TcpStreamEntry *e, uint32_t snd_wnd, int fin)
{
	struct tcp_repair_window w = { .snd_wl1 = e->snd_wl1,
				       .snd_wnd = snd_wnd,
				       .max_window = MAX_OF(e->max_window, snd_wnd),
				       .rcv_wnd = e->rcv_wnd,
				       .rcv_wup = e->rcv_wup };

	if (!e->has_snd_wl1 || !e->has_snd_wnd || !e->has_max_window || !e->has_rcv_wnd || !e->has_rcv_wup)
		return 0;
	if (w.rcv_wup == e->inq_seq)
		w.rcv_wup -= fin;
	if (setsockopt(fd, SOL_TCP, TCP_REPAIR_WINDOW, &w, sizeof(w)))
		return -errno;
	tcp_compute_mss(fd);
	return 0;
}

static int failed(struct cr_session *s, const struct tcp_stream *t, int err, const char *what)
{
	return cr_fail(s, -err, "TCP connection %s -> %s: %s: %s", inet_addr_text(s, &t->src), inet_addr_text(s, &t->dst),
		       what, strerror(-err));
}

/* 0 or -errno; smaller pieces where large ones find no memory. */
static int write_bytes(int fd, const uint8_t *p, size_t len)
{
	size_t chunk = CHUNK;

	while (len) {
		ssize_t n = send(fd, p, MIN_OF(len, chunk), MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0) {
			p += n;
			len -= n;
		} else if (n < 0 && errno == ENOMEM && chunk > 1024) {
			chunk /= 2;
		} else {
			return n < 0 ? -errno : -EIO;
		}
	}
	return 0;
}

int tcp_write_queue(int fd, int queue, const uint8_t *p, size_t len)
{
	int err = tcp_queue(fd, queue);

	if (!err)
		err = write_bytes(fd, p, len);
	return err;
}

/*
 * Room for all there is, whatever the program has allowed; set back by sock_buffers_restore().  The larger option needs
 * CAP_NET_ADMIN in the first user namespace; without it a buffer that is not locked grows by itself for what is received.
 */
static void make_room(int fd)
{
	int max = INT32_MAX / 2, unlocked = 0;

	if (!setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &max, sizeof(max)) &&
	    !setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &max, sizeof(max)))
		return;
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &max, sizeof(max));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &max, sizeof(max));
	setsockopt(fd, SOL_SOCKET, OPT_SO_BUF_LOCK, &unlocked, sizeof(unlocked));
}

/* Bytes that were never sent, and a FIN behind them. */
static int write_unsent(int fd, const TcpStreamEntry *e, const uint8_t *p, uint32_t state)
{
	int fin = state == TCP_ST_CLOSING, err = set_window(fd, e, 0, fin);

	if (!err)
		err = tcp_repair(fd, TCP_REPAIR_OFF_NO_WP);
	if (!err)
		err = write_bytes(fd, p, e->unsq_len);
	if (!err && tcp_sent_fin(state) && shutdown(fd, SHUT_WR))
		err = -errno;
	if (tcp_repair(fd, TCP_REPAIR_ON) && !err)
		err = -errno;
	return err ? err : set_window(fd, e, e->snd_wnd, fin);
}

/* ---- the other side's word ---- */

static int wait_state(int fd, int want_fin, int want_acked)
{
	for (int ms = 0; ms < WAIT_MS; ms++) {
		uint32_t state = tcp_state(fd);

		if ((!want_fin || tcp_got_fin(state) || state == SK_CLOSE) &&
		    (!want_acked || state == TCP_ST_FIN_WAIT2 || state == SK_CLOSE))
			return 0;
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	return -ETIMEDOUT;
}

static int no_answer(struct cr_session *s, const struct tcp_stream *t)
{
	return cr_fail(s, ETIMEDOUT,
		       "the TCP connection %s -> %s was half closed: the packet that restores that did not reach it; "
		       "let packets with the mark %#x pass the firewall on the device lo",
		       inet_addr_text(s, &t->src), inet_addr_text(s, &t->dst), LOCK_MARK);
}

/* The FIN of the other side, or that it has seen ours. */
static int hear(struct cr_session *s, int fd, const InetSkEntry *sk, const struct tcp_stream *t)
{
	const TcpStreamEntry *e = t->e;
	int fin = tcp_got_fin(sk->state), acked = sk->state == TCP_ST_FIN_WAIT2, err;
	uint32_t una = e->outq_seq - e->outq_len - (tcp_sent_fin(sk->state) && !acked);

	if (!fin && !acked)
		return 0;
	err = tcp_forge(s, &t->dst, &t->src, e->inq_seq - fin, una, TCP_FLAG_ACK | (fin ? TCP_FLAG_FIN : 0),
			e->snd_wnd >> e->snd_wscale);
	if (err < 0)
		return err;
	return wait_state(fd, fin, acked) ? no_answer(s, t) : 0;
}

/* ---- queues ---- */

static int fill_send_queue(int fd, const InetSkEntry *sk, const struct tcp_stream *t)
{
	const TcpStreamEntry *e = t->e;
	size_t sent = e->outq_len - e->unsq_len;
	int err = tcp_write_queue(fd, TCP_SEND_Q, t->outq, sent);

	if (!err && e->unsq_len)
		err = write_unsent(fd, e, t->outq + sent, sk->state);
	else if (!err && tcp_sent_fin(sk->state) && shutdown(fd, SHUT_WR)) /* a FIN that counts as sent */
		err = -errno;
	tcp_queue(fd, TCP_NO_Q);
	return err;
}

static int fill_queues(struct cr_session *s, int fd, const InetSkEntry *sk, const struct tcp_stream *t)
{
	/* who was first to send his FIN is what makes these two different */
	int first = sk->state == TCP_ST_CLOSE_WAIT || sk->state == TCP_ST_LAST_ACK;
	int err = tcp_write_queue(fd, TCP_RECV_Q, t->inq, t->e->inq_len);

	if (!err && first)
		err = hear(s, fd, sk, t);
	if (!err)
		err = fill_send_queue(fd, sk, t);
	if (!err && !first)
		err = hear(s, fd, sk, t);
	return err;
}

static void compare(struct cr_session *s, int fd, const struct tcp_stream *t)
{
	int in = 0, unsent = 0;

	if (ioctl(fd, SIOCINQ, &in) || ioctl(fd, SIOCOUTQNSD, &unsent))
		return;
	cr_debug(s, "TCP connection %s -> %s: received %d of %u, unsent %d of %u, state %u", inet_addr_text(s, &t->src),
		 inet_addr_text(s, &t->dst), in, t->e->inq_len, unsent, t->e->unsq_len, tcp_state(fd));
}

int tcp_fill(struct cr_session *s, int fd, const InetSkEntry *e, struct tcp_stream *t)
{
	int err;

	if (t->e->inq_len || t->e->outq_len)
		make_room(fd);
	err = fill_queues(s, fd, e, t);
	if (err == -EAGAIN || err == -ENOMEM)
		return cr_fail(
			s, -err,
			"TCP connection %s -> %s: no room for its queues of %u and %u bytes: raise the sysctls "
			"net.core.rmem_max and net.core.wmem_max, or run with CAP_NET_ADMIN in the first user namespace",
			inet_addr_text(s, &t->src), inet_addr_text(s, &t->dst), t->e->inq_len, t->e->outq_len);
	if (err < 0)
		return failed(s, t, err, "filling its queues");
	if (e->has_shutdown && e->shutdown == SK_SHUTDOWN__READ && shutdown(fd, SHUT_RD))
		return failed(s, t, -errno, "shutting it down for reading");
	err = set_window(fd, t->e, t->e->snd_wnd, 0);
	if (err < 0)
		cr_info(s, "TCP connection %s -> %s: its window could not be set: %s", inet_addr_text(s, &t->src),
			inet_addr_text(s, &t->dst), strerror(-err));
	compare(s, fd, t);
	return sock_buffers_restore(s, fd, e->opts);
}
