/* SPDX-License-Identifier: MIT */
/*
 * tcp_dump.c: a connection becomes an image.
 *
 * Numbers of the image: inq_seq is what comes next from the other side, outq_seq what this side will send next, both
 * as the kernel counts them, with a FIN as one more byte.  The queues follow as raw bytes, without a FIN; of outq_len
 * bytes the last unsq_len were never sent.
 */
#include "tcp.h"

#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "util.h"

/* A queue longer than this is a mistake of somebody. */
#define QUEUE_MAX (1u << 30)

const struct cr_img_type inet_img_stream = { sizeof(inet_img_stream), "tcp-stream", 0x51465506, CR_IMG_HEX_ID };

int tcp_repair(int fd, int value)
{
	return setsockopt(fd, SOL_TCP, TCP_REPAIR, &value, sizeof(value)) ? -errno : 0;
}

int tcp_queue(int fd, int queue)
{
	return setsockopt(fd, SOL_TCP, TCP_REPAIR_QUEUE, &queue, sizeof(queue)) ? -errno : 0;
}

uint32_t tcp_state(int fd)
{
	struct tcp_info ti = { 0 };
	socklen_t len = sizeof(ti);

	return getsockopt(fd, SOL_TCP, TCP_INFO, &ti, &len) ? 0 : ti.tcpi_state;
}

/* ---- check ---- */

/* A socket that nobody uses tells whether repair mode is allowed here. */
static int may_repair(void)
{
	_cleanup_fd_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : tcp_repair(fd, TCP_REPAIR_ON);
}

static int has_urgent(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLPRI };

	return poll(&p, 1, 0) > 0 && p.revents & POLLPRI;
}

static int check_kept(struct cr_session *s, int fd, const struct facts *k)
{
	const char *src = inet_addr_text(s, &k->src), *dst = inet_addr_text(s, &k->dst);
	char ulp[32] = "";
	socklen_t len = sizeof(ulp) - 1;
	int err = may_repair();

	if (err < 0)
		return cr_refuse(s,
				 err == -EPERM ? "run with CAP_NET_ADMIN, or drop the connection with --tcp-close"
					       : "--tcp-close, which drops the connection",
				 "TCP connection %s -> %s: repair mode (TCP_REPAIR) is %s", src, dst,
				 err == -EPERM ? "not allowed without CAP_NET_ADMIN" : strerror(-err));
	if (!getsockopt(fd, SOL_TCP, TCP_ULP, ulp, &len) && ulp[0])
		return cr_refuse(s, "--tcp-close, which drops the connection",
				 "TCP connection %s -> %s: the kernel does \"%s\" on "
				 "it (TCP_ULP), and does not tell its keys",
				 src, dst, common_quote(s, ulp));
	if (has_urgent(fd))
		return cr_refuse(s, "let the program read it first, or drop the connection with --tcp-close",
				 "TCP connection %s -> %s: urgent data that was not read", src, dst);
	return 0;
}

int tcp_check(struct cr_session *s, int fd, const struct facts *k)
{
	const char *name = inet_proto_name(k->type, k->proto), *src = inet_addr_text(s, &k->src);
	const char *dst = inet_addr_text(s, &k->dst);

	if (s->core->option_flag(s, "tcp-close"))
		return 0;
	if (!tcp_is_connected(k->state)) {
		if (s->core->option_flag(s, "skip-in-flight"))
			return 0;
		return cr_refuse(s, "--skip-in-flight, which begins it anew at restore, or --tcp-close, which drops it",
				 "the %s socket %s is being connected to %s", name, src, dst);
	}
	if (k->proto != IPPROTO_TCP)
		return cr_refuse(s, "--tcp-close, which drops the connection, or close it first",
				 "%s connection %s -> %s: the kernel has no repair mode for this protocol", name, src, dst);
	if (!s->core->option_flag(s, "tcp-established"))
		return cr_refuse(s, "--tcp-established, which keeps the connection, or --tcp-close, which drops it",
				 "connected %s socket %s -> %s", name, src, dst);
	return check_kept(s, fd, k);
}

/* ---- reading a connection in repair mode ---- */

/* Everything that changes when packets arrive. */
struct counts {
	uint32_t inq_seq, outq_seq;
	int inq, outq, unsent;
};

static int get_seq(int fd, int queue, uint32_t *ret)
{
	socklen_t len = sizeof(*ret);
	int err = tcp_queue(fd, queue);

	return err < 0 ? err : getsockopt(fd, SOL_TCP, TCP_QUEUE_SEQ, ret, &len) ? -errno : 0;
}

static int get_counts(int fd, struct counts *ret)
{
	int err = get_seq(fd, TCP_RECV_Q, &ret->inq_seq);

	if (!err)
		err = get_seq(fd, TCP_SEND_Q, &ret->outq_seq);
	if (!err &&
	    (ioctl(fd, SIOCINQ, &ret->inq) || ioctl(fd, SIOCOUTQ, &ret->outq) || ioctl(fd, SIOCOUTQNSD, &ret->unsent)))
		err = -errno;
	if (!err && (ret->inq < 0 || ret->outq < 0 || ret->unsent < 0 || (uint32_t)ret->inq > QUEUE_MAX ||
		     (uint32_t)ret->outq > QUEUE_MAX))
		err = -EOVERFLOW;
	return err;
}

/* A FIN that is still on its way counts as a byte. */
static int without_fin(uint32_t state, int n)
{
	return n > 0 && tcp_sent_fin(state) && state != TCP_ST_FIN_WAIT2 ? n - 1 : n;
}

/* A copy of len bytes of a queue; *ret is malloced, NULL for none. */
static int peek(int fd, int queue, size_t len, uint8_t **ret)
{
	ssize_t n;
	int err = tcp_queue(fd, queue);

	*ret = NULL;
	if (err < 0 || !len)
		return err;
	*ret = xcalloc(1, len);
	n = recv(fd, *ret, len, MSG_PEEK | MSG_DONTWAIT);
	if (n == (ssize_t)len)
		return 0;
	err = n < 0 ? -errno : -EAGAIN; /* fewer than it said: something has changed */
	free(*ret);
	*ret = NULL;
	return err;
}

struct copy {
	TcpStreamEntry e;
	uint32_t state;
	uint8_t *inq, *outq;
};

static void copy_free(struct copy *c)
{
	free(c->inq);
	free(c->outq);
	c->inq = c->outq = NULL;
}

/* 0, -EAGAIN: something has changed meanwhile, or -errno. */
static int read_queues(int fd, struct copy *c)
{
	struct counts before, after;
	int err;

	c->state = tcp_state(fd);
	err = get_counts(fd, &before);
	if (err < 0)
		return err;
	c->e.inq_seq = before.inq_seq;
	c->e.inq_len = before.inq;
	c->e.outq_seq = before.outq_seq;
	c->e.outq_len = without_fin(c->state, before.outq);
	c->e.unsq_len = without_fin(c->state, before.unsent);
	c->e.has_unsq_len = 1;
	err = peek(fd, TCP_RECV_Q, c->e.inq_len, &c->inq);
	if (!err)
		err = peek(fd, TCP_SEND_Q, c->e.outq_len, &c->outq);
	if (!err)
		err = get_counts(fd, &after);
	if (!err && (memcmp(&before, &after, sizeof(before)) || tcp_state(fd) != c->state))
		err = -EAGAIN;
	if (err)
		copy_free(c);
	return err;
}

static int read_window(int fd, TcpStreamEntry *e)
{
	struct tcp_repair_window w;
	socklen_t len = sizeof(w);

	if (getsockopt(fd, SOL_TCP, TCP_REPAIR_WINDOW, &w, &len))
		return errno == ENOPROTOOPT ? 0 : -errno; /* Linux 4.8 */
	e->has_snd_wl1 = e->has_snd_wnd = e->has_max_window = e->has_rcv_wnd = e->has_rcv_wup = 1;
	e->snd_wl1 = w.snd_wl1;
	e->snd_wnd = w.snd_wnd;
	e->max_window = w.max_window;
	e->rcv_wnd = w.rcv_wnd;
	e->rcv_wup = w.rcv_wup;
	return 0;
}

/* What both sides agreed on at the beginning. */
static int read_options(int fd, TcpStreamEntry *e)
{
	struct tcp_info ti = { 0 };
	socklen_t len = sizeof(ti), mss_len = sizeof(e->mss_clamp), stamp_len = sizeof(e->timestamp);

	if (getsockopt(fd, SOL_TCP, TCP_INFO, &ti, &len) || getsockopt(fd, SOL_TCP, TCP_MAXSEG, &e->mss_clamp, &mss_len))
		return -errno;
	e->opt_mask = ti.tcpi_options & (TCPI_OPT_TIMESTAMPS | TCPI_OPT_SACK | TCPI_OPT_WSCALE);
	if (e->opt_mask & TCPI_OPT_WSCALE) {
		e->snd_wscale = ti.tcpi_snd_wscale;
		e->rcv_wscale = ti.tcpi_rcv_wscale;
		e->has_rcv_wscale = 1;
	}
	if (!(e->opt_mask & TCPI_OPT_TIMESTAMPS))
		return 0;
	e->has_timestamp = 1;
	return getsockopt(fd, SOL_TCP, TCP_TIMESTAMP, &e->timestamp, &stamp_len) ? -errno : 0;
}

static int read_all(int fd, struct copy *c)
{
	int err = -EAGAIN;

	/* packets that were under way when the lock closed are still let in */
	for (int i = 0; i < 50 && err == -EAGAIN; i++) {
		if (i)
			usleep(1000);
		err = read_queues(fd, c);
	}
	if (!err)
		err = read_window(fd, &c->e);
	if (!err)
		err = read_options(fd, &c->e);
	/* else what acknowledgements let it send would only seem to be sent */
	tcp_queue(fd, TCP_NO_Q);
	return err;
}

/* ---- dump ---- */

/*
 * The way back is with the warden first.  Repair mode forgets SO_REUSEADDR, and a position for peeking would move
 * while the queue is read.
 */
static int enter(struct cr_session *s, struct inet_priv *p, int fd)
{
	int reuse = sock_get_int(fd, SOL_SOCKET, SO_REUSEADDR), off = -1, none = -1;
	socklen_t len = sizeof(off);
	char text[100];
	size_t n;
	int err;

	n = snprintf(text, sizeof(text), "%d %d %d %d %d %d", SOL_TCP, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP, SOL_SOCKET,
		     SO_REUSEADDR, reuse != 0);
	if (!getsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &off, &len) && off >= 0)
		snprintf(text + n, sizeof(text) - n, " %d %d %d", SOL_SOCKET, SO_PEEK_OFF, off);
	err = s->core->undo(s, CR_UNDO_SOCKOPT, fd, text, 1);
	if (err < 0)
		return err;
	if (off >= 0 && setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &none, sizeof(none)))
		return cr_fail(s, errno, "setting SO_PEEK_OFF of a socket: %s", strerror(errno));
	p->reuse = reuse != 0;
	p->peek_off = off;
	err = tcp_repair(fd, TCP_REPAIR_ON);
	if (err == -EPERM)
		return cr_fail(s, EPERM,
			       "repair mode (TCP_REPAIR) needs CAP_NET_ADMIN; --tcp-close drops the connection instead");
	if (err < 0)
		return cr_fail(s, -err, "repair mode (TCP_REPAIR): %s", strerror(-err));
	p->repaired = 1;
	return 0;
}

static int write_image(struct cr_session *s, uint64_t ino, const struct copy *c)
{
	int err = common_append(s, &inet_img_stream, ino, &c->e.base);

	if (!err && c->e.inq_len)
		err = s->core->img_raw(s, &inet_img_stream, ino, c->inq, c->e.inq_len);
	if (!err && c->e.outq_len)
		err = s->core->img_raw(s, &inet_img_stream, ino, c->outq, c->e.outq_len);
	return err;
}

int tcp_dump(struct cr_session *s, struct cr_file *f, int fd, const struct facts *k, uint64_t ino)
{
	struct copy c = { .e = TCP_STREAM_ENTRY__INIT };
	int err = enter(s, s->core->file_priv(f), fd);

	if (err < 0)
		return err;
	err = read_all(fd, &c);
	if (err == -EAGAIN)
		return cr_fail(s, EAGAIN,
			       "TCP connection %s -> %s: packets keep arriving; lock the network (--network-lock), then "
			       "dump again",
			       inet_addr_text(s, &k->src), inet_addr_text(s, &k->dst));
	if (err < 0)
		err = cr_fail(s, -err, "reading the TCP connection %s -> %s: %s", inet_addr_text(s, &k->src),
			      inet_addr_text(s, &k->dst), strerror(-err));
	else
		err = write_image(s, ino, &c);
	copy_free(&c);
	return err;
}

/* ---- end ---- */

static void leave(struct inet_priv *p, int fd)
{
	if (!p->repaired || fd < 0)
		return;
	p->repaired = 0;
	tcp_repair(fd, TCP_REPAIR_OFF_NO_WP);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &p->reuse, sizeof(p->reuse));
	if (p->peek_off >= 0)
		setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &p->peek_off, sizeof(p->peek_off));
}

static void leave_all(struct cr_session *s)
{
	for (struct cr_file *f = NULL; (f = s->core->file_next(s, f));)
		if (inet_is_ours(s, f))
			leave(s->core->file_priv(f), s->core->file_fd(f));
}

int tcp_dump_late(struct cr_session *s)
{
	if (s->core->option_flag(s, "leave-running") || s->core->option_flag(s, "leave-stopped"))
		leave_all(s);
	return 0;
}

void tcp_done(struct cr_session *s, int error)
{
	if (!error || s->core->mode(s) == CR_MODE_CHECK)
		return;
	if (s->core->mode(s) == CR_MODE_DUMP) {
		leave_all(s);
		return;
	}
	/* what was restored vanishes without a word when it is closed */
	for (struct cr_file *f = NULL; (f = s->core->file_next(s, f));) {
		struct inet_priv *p = inet_is_ours(s, f) ? s->core->file_priv(f) : NULL;

		if (p && p->stream && s->core->file_fd(f) >= 0)
			tcp_repair(s->core->file_fd(f), TCP_REPAIR_ON);
	}
}
