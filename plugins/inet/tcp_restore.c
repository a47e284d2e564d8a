/* SPDX-License-Identifier: MIT */
/*
 * tcp_restore.c: an image becomes a connection.
 *
 * The order is the kernel's: sequence numbers before connect(2), what the sides agreed on right after it, before
 * the first byte.  Options of the program come first of all, since routes and windows depend on some.
 */
#include "tcp.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "util.h"

/* ---- load ---- */

static int check_stream(struct cr_session *s, const struct tcp_stream *t, uint64_t left)
{
	const TcpStreamEntry *e = t->e;

	if ((uint64_t)e->inq_len + e->outq_len > left || e->unsq_len > e->outq_len || e->snd_wscale > 14 ||
	    e->rcv_wscale > 14 || !e->mss_clamp || e->mss_clamp > 65535)
		return cr_fail(s, EPROTO,
			       "the image of a TCP connection is broken: queues of %u and %u bytes (%u unsent), %ju in the "
			       "file, scales %u and %u, segments of %u bytes",
			       e->inq_len, e->outq_len, e->unsq_len, (uintmax_t)left, e->snd_wscale, e->rcv_wscale,
			       e->mss_clamp);
	return 0;
}

static int read_stream(struct cr_session *s, struct cr_reader *r, struct tcp_stream *t)
{
	const void *data;
	size_t len;
	int err = s->core->img_next(r, &data, &len);

	if (err <= 0)
		return err < 0 ? err : cr_fail(s, EPROTO, "the image of a TCP connection is empty");
	t->e = common_load(s, &tcp_stream_entry__descriptor, data, len);
	if (!t->e)
		return -EPROTO;
	err = check_stream(s, t, s->core->img_left(r));
	if (err < 0)
		return err;
	t->inq = s->core->alloc(s, t->e->inq_len + 1ul);
	t->outq = s->core->alloc(s, t->e->outq_len + 1ul);
	err = s->core->img_extra(r, t->inq, t->e->inq_len);
	if (!err)
		err = s->core->img_extra(r, t->outq, t->e->outq_len);
	return err < 0 ? cr_fail(s, EPROTO, "the queues in the image of a TCP connection are cut off") : 0;
}

int tcp_load(struct cr_session *s, struct cr_file *f)
{
	struct inet_priv *p = s->core->file_priv(f);
	struct tcp_stream *t = s->core->alloc(s, sizeof(*t));
	struct cr_reader *r;
	int err = s->core->img_open(s, &inet_img_stream, p->e->ino, &r);

	if (err < 0)
		return err == -ENOENT
			       ? cr_fail(s, ENOENT, "tcp-stream-%x.img is missing from the images directory", p->e->ino)
			       : err;
	err = read_stream(s, r, t);
	s->core->img_close(r);
	if (!err)
		p->stream = t;
	return err;
}

/* ---- open ---- */

int tcp_set_seq(int fd, int queue, uint32_t seq)
{
	int err = tcp_queue(fd, queue);

	return err < 0 ? err : setsockopt(fd, SOL_TCP, TCP_QUEUE_SEQ, &seq, sizeof(seq)) ? -errno : 0;
}

/* Where both queues begin; a FIN is not yet there. */
static int set_seqs(int fd, const InetSkEntry *e, const TcpStreamEntry *t)
{
	int err = tcp_set_seq(fd, TCP_SEND_Q, t->outq_seq - t->outq_len - tcp_sent_fin(e->state));

	if (!err)
		err = tcp_set_seq(fd, TCP_RECV_Q, t->inq_seq - t->inq_len - tcp_got_fin(e->state));
	return err;
}

static int connect_failed(struct cr_session *s, const struct tcp_stream *t, int errnum)
{
	const char *src = inet_addr_text(s, &t->src), *dst = inet_addr_text(s, &t->dst);

	switch (errnum) {
	case EADDRNOTAVAIL:
	case EADDRINUSE: {
		uint32_t state;
		const char *holder = proc_net_connection(s, &t->src, &t->dst, &state);

		return cr_fail(s, EADDRINUSE,
			       "the TCP connection %s -> %s exists already%s%s: end the program that has it, or drop "
			       "the connection with --tcp-close",
			       src, dst, holder[0] ? ", held by " : "", holder);
	}
	case ENETUNREACH:
	case EHOSTUNREACH:
		return cr_fail(s, errnum,
			       "TCP connection %s -> %s: there is no route to that address from here: set up the network, "
			       "give another address with --map-ip, or drop the connection with --tcp-close",
			       src, dst);
	}
	return cr_fail(s, errnum, "connecting the TCP socket %s -> %s in repair mode: %s", src, dst, strerror(errnum));
}

static int set_agreed(int fd, const TcpStreamEntry *t)
{
	struct tcp_repair_opt o[4];
	size_t n = 0;

	o[n++] = (struct tcp_repair_opt){ TCPOPT_MAXSEG, t->mss_clamp };
	if (t->opt_mask & TCPI_OPT_WSCALE)
		o[n++] = (struct tcp_repair_opt){ TCPOPT_WINDOW, t->snd_wscale | t->rcv_wscale << 16 };
	if (t->opt_mask & TCPI_OPT_SACK)
		o[n++] = (struct tcp_repair_opt){ TCPOPT_SACK_PERMITTED, 0 };
	if (t->opt_mask & TCPI_OPT_TIMESTAMPS)
		o[n++] = (struct tcp_repair_opt){ TCPOPT_TIMESTAMP, 0 };
	if (setsockopt(fd, SOL_TCP, TCP_REPAIR_OPTIONS, o, n * sizeof(o[0])))
		return -errno;
	if (t->opt_mask & TCPI_OPT_TIMESTAMPS && t->has_timestamp &&
	    setsockopt(fd, SOL_TCP, TCP_TIMESTAMP, &t->timestamp, sizeof(t->timestamp)))
		return -errno;
	return 0;
}

/* Older images have these here. */
static int set_old_options(struct cr_session *s, int fd, const InetSkEntry *e, const TcpStreamEntry *t)
{
	int err = 0;

	if (t->has_nodelay && t->nodelay && !(e->tcp_opts && e->tcp_opts->has_nodelay))
		err = sock_set_int(s, fd, SOL_TCP, TCP_NODELAY, 1, "TCP_NODELAY");
	if (!err && t->has_cork && t->cork && !(e->tcp_opts && e->tcp_opts->has_cork))
		err = sock_set_int(s, fd, SOL_TCP, TCP_CORK, 1, "TCP_CORK");
	return err;
}

/*
 * The size of segments follows what the other side agreed to only when it is known at connect(2); then as if the program
 * had asked for no more, which the kernel takes up to 32767.  It is computed anew when IP options are set, also those of
 * IPv6 sockets.
 */
#define MAXSEG_MAX 32767
static void set_maxseg(int fd, int mss)
{
	setsockopt(fd, SOL_TCP, TCP_MAXSEG, &mss, sizeof(mss));
}

void tcp_compute_mss(int fd)
{
	uint8_t options[40];
	socklen_t len = sizeof(options);

	if (!getsockopt(fd, SOL_IP, IP_OPTIONS, options, &len))
		setsockopt(fd, SOL_IP, IP_OPTIONS, options, len);
}

static void set_large_maxseg(int fd, const TcpStreamEntry *t)
{
	set_maxseg(fd, 0);
	if (t->mss_clamp > MAXSEG_MAX)
		tcp_compute_mss(fd);
}

static int begin_repair(struct cr_session *s, int fd, const struct tcp_stream *t)
{
	int err = tcp_repair(fd, TCP_REPAIR_ON);

	return err < 0 ? cr_fail(s, -err,
				 "TCP connection %s -> %s: repair mode (TCP_REPAIR) %s; --tcp-close drops the connection "
				 "instead",
				 inet_addr_text(s, &t->src), inet_addr_text(s, &t->dst),
				 err == -EPERM ? "needs CAP_NET_ADMIN" : strerror(-err)) : 0;
}

static int make_connection(struct cr_session *s, int fd, const InetSkEntry *e, const struct tcp_stream *t)
{
	int err = begin_repair(s, fd, t);

	if (err < 0)
		return err;
	err = set_seqs(fd, e, t->e);
	if (err < 0)
		return cr_fail(s, -err, "setting sequence numbers of a TCP connection: %s", strerror(-err));
	err = inet_bind(s, fd, e);
	if (err < 0)
		return err;
	set_maxseg(fd, MIN_OF(t->e->mss_clamp, (uint32_t)MAXSEG_MAX));
	if (connect(fd, &t->dst.any, inet_addr_len(&t->dst)))
		return connect_failed(s, t, errno);
	err = set_agreed(fd, t->e);
	set_large_maxseg(fd, t->e);
	return err < 0 ? cr_fail(s, -err, "setting what both sides of a TCP connection agreed on: %s", strerror(-err)) : 0;
}

static int make_addrs(struct cr_session *s, const InetSkEntry *e, struct tcp_stream *t)
{
	int err = inet_make_addr(s, e, INET_LOCAL, &t->src);

	return err ? err : inet_make_addr(s, e, INET_PEER, &t->dst);
}

int tcp_open(struct cr_session *s, struct cr_file *f, int fd)
{
	struct inet_priv *p = s->core->file_priv(f);
	struct tcp_stream *t = p->stream;
	const InetSkEntry *e = p->e;
	int err = make_addrs(s, e, t);

	if (!err)
		err = set_old_options(s, fd, e, t->e);
	if (!err)
		err = sock_opts_restore(s, fd, e->opts);
	if (!err)
		err = make_connection(s, fd, e, t);
	p->opened = !err;
	return err;
}

/* ---- check --images ---- */

/* A datagram socket finds the same way as the connection, and sends nothing to find it. */
static int check_route(struct cr_session *s, const InetSkEntry *e, const struct tcp_stream *t)
{
	_cleanup_fd_ int fd = socket(e->family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	union addr from = t->src;
	int err = inet_bind_device(s, fd, e->opts->so_bound_dev);

	if (err < 0)
		return err;
	from.any.sa_family == AF_INET6 ? (void)(from.in6.sin6_port = 0) : (void)(from.in.sin_port = 0);
	if (e->opts->has_so_mark)
		setsockopt(fd, SOL_SOCKET, SO_MARK, &e->opts->so_mark, sizeof(e->opts->so_mark));
	if (bind(fd, &from.any, inet_addr_len(&from)) || !connect(fd, &t->dst.any, inet_addr_len(&t->dst)))
		return 0;
	return errno == ENETUNREACH || errno == EHOSTUNREACH ? connect_failed(s, t, errno) : 0;
}

/* connect(2) itself would begin to answer the other side. */
int tcp_check_image(struct cr_session *s, struct cr_file *f, int fd)
{
	const struct inet_priv *p = s->core->file_priv(f);
	struct tcp_stream *t = p->stream;
	uint32_t state = p->e->state, there;
	int err = make_addrs(s, p->e, t);

	if (!err)
		err = begin_repair(s, fd, t);
	if (!err)
		err = inet_bind(s, fd, p->e);
	if (err < 0)
		return err;
	if (proc_net_connection(s, &t->src, &t->dst, &there)[0] && there != TCP_ST_TIME_WAIT)
		return connect_failed(s, t, EADDRINUSE);
	if (tcp_got_fin(state) || state == TCP_ST_FIN_WAIT2)
		tcp_may_forge(s, &t->dst, &t->src);
	return check_route(s, p->e, t);
}

/* ---- queues ---- */

int tcp_wire(struct cr_session *s, struct cr_file *f)
{
	struct inet_priv *p = s->core->file_priv(f);

	/* not ours when a descriptor of the caller is in its place */
	return p->stream && p->opened ? tcp_fill(s, s->core->file_fd(f), p->e, p->stream) : 0;
}

/* ---- the end ---- */

/* Bytes that wait for a sign of life of the other side need not; a corked socket keeps the rest of a segment. */
static void push(int fd, const InetSkEntry *e, const TcpStreamEntry *t)
{
	int nodelay = sock_get_int(fd, SOL_TCP, TCP_NODELAY), one = 1;

	if (!t->unsq_len || (e->tcp_opts && e->tcp_opts->cork))
		return;
	setsockopt(fd, SOL_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, SOL_TCP, TCP_NODELAY, &nodelay, sizeof(nodelay));
}

static int end_repair(struct cr_session *s, int fd, const InetSkEntry *e, const struct tcp_stream *t)
{
	int reuse = e->opts->has_reuseaddr && e->opts->reuseaddr, err = tcp_repair(fd, TCP_REPAIR_OFF);

	if (err < 0)
		return cr_fail(s, -err, "TCP connection %s -> %s: ending repair mode: %s", inet_addr_text(s, &t->src),
			       inet_addr_text(s, &t->dst), strerror(-err));
	push(fd, e, t->e);
	return sock_set_int(s, fd, SOL_SOCKET, SO_REUSEADDR, reuse, "SO_REUSEADDR");
}

/* Whoever waits for it learns the outcome from the socket, as before. */
static int connect_again(struct cr_session *s, int fd, const InetSkEntry *e)
{
	int flags = fcntl(fd, F_GETFL), err;
	union addr dst;

	err = inet_make_addr(s, e, INET_PEER, &dst);
	if (err < 0 || flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK))
		return err < 0 ? err : cr_fail(s, errno, "flags of a socket: %s", strerror(errno));
	if (connect(fd, &dst.any, inet_addr_len(&dst)) && errno != EINPROGRESS)
		cr_lost(s, NULL, "connecting a TCP socket to %s, which the dump interrupted, fails: %s", inet_addr_text(s, &dst),
			strerror(errno));
	if (fcntl(fd, F_SETFL, flags))
		return cr_fail(s, errno, "flags of a socket: %s", strerror(errno));
	return 0;
}

int tcp_restored(struct cr_session *s)
{
	int err = 0;

	for (struct cr_file *f = NULL; !err && (f = s->core->file_next(s, f));) {
		struct inet_priv *p = inet_is_ours(s, f) ? s->core->file_priv(f) : NULL;

		if (!p || !p->opened || s->core->file_fd(f) < 0)
			continue;
		err = p->stream ? end_repair(s, s->core->file_fd(f), p->e, p->stream)
				: connect_again(s, s->core->file_fd(f), p->e);
	}
	return err;
}
