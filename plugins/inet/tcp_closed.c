/* SPDX-License-Identifier: MIT */
/*
 * tcp_closed.c: TCP sockets whose connection has ended, and that still have something to say: bytes that were received,
 * the end, an error (the other side has reset the connection).
 *
 * The kernel tells the error only to somebody who takes it away.  So it is asked for at the very end of a dump, and only
 * if the tree is killed; else it counts as what it most probably is, ECONNRESET.
 *
 * At restore a connection to nobody is made in repair mode, gets the bytes, and ends in the same way: its other side,
 * played by tcp_forge(), closes or resets it.
 */
#include "tcp.h"

#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "inet-closed.pb-c.h"
#include "util.h"

const struct cr_img_type inet_img_closed = { sizeof(inet_img_closed), "x-inet-closed", 0x58494e43, CR_IMG_HEX_ID };

/* Only a socket that was connected once is shut down and closed. */
static int has_ended(int fd, int *ret_error)
{
	struct pollfd p = { .fd = fd, .events = POLLRDHUP };

	if (poll(&p, 1, 0) <= 0)
		return 0;
	*ret_error = (p.revents & POLLERR) != 0;
	return (p.revents & (POLLRDHUP | POLLERR)) != 0;
}

/* The port that it tells is no longer its own: somebody else may have it, a listener for instance. */
static void forget_port(union addr *a)
{
	if (a->any.sa_family == AF_INET)
		a->in.sin_port = 0;
	else
		a->in6.sin6_port = 0;
}

void tcp_closed_mark(struct cr_session *s, struct cr_file *f, int fd, struct facts *k)
{
	struct inet_priv *p = s->core->file_priv(f);
	int close = s->core->option_flag(s, "tcp-close"), unread = 0, error = 0;

	if (!has_ended(fd, &error))
		return;
	forget_port(&k->src);
	p->ended = k->proto == IPPROTO_TCP && !close && s->core->option_flag(s, "tcp-established");
	if (!p->ended && !close && !ioctl(fd, SIOCINQ, &unread) && (unread || error))
		cr_lost(s, NULL,
			"a TCP socket whose connection has ended has %d bytes that were not read%s: only --tcp-established "
			"keeps "
			"them",
			unread, error ? " and an error" : "");
}

static int stays(struct cr_session *s)
{
	return s->core->option_flag(s, "leave-running") || s->core->option_flag(s, "leave-stopped");
}

static int dump_ended(struct cr_session *s, int fd, uint64_t ino)
{
	InetClosedEntry e = INET_CLOSED_ENTRY__INIT;
	_cleanup_free_ char *data = NULL;
	int unread = 0, error = 0, err;

	if (ioctl(fd, SIOCINQ, &unread) || unread < 0)
		unread = 0;
	data = xcalloc(1, unread + 1ul);
	if (unread)
		unread = recv(fd, data, unread, MSG_PEEK | MSG_DONTWAIT);
	if (unread < 0)
		return cr_fail(s, errno, "reading what a closed TCP connection has received: %s", strerror(errno));
	e.len = unread;
	has_ended(fd, &error);
	if (error) {
		e.has_error = 1;
		e.error = stays(s) ? ECONNRESET : (uint32_t)sock_get_int(fd, SOL_SOCKET, SO_ERROR);
	}
	err = common_append(s, &inet_img_closed, ino, &e.base);
	return err || !unread ? err : s->core->img_raw(s, &inet_img_closed, ino, data, unread);
}

int tcp_closed_dump(struct cr_session *s)
{
	int err = 0;

	for (struct cr_file *f = NULL; !err && (f = s->core->file_next(s, f));) {
		const struct inet_priv *p = inet_is_ours(s, f) ? s->core->file_priv(f) : NULL;

		if (p && p->ended && s->core->file_fd(f) >= 0)
			err = dump_ended(s, s->core->file_fd(f), s->core->file_info(f)->st.st_ino);
	}
	return err;
}

/* ---- restore ---- */

struct tcp_ended {
	uint32_t len, error;
	uint8_t *data;
};

int tcp_closed_load(struct cr_session *s, struct cr_file *f)
{
	struct inet_priv *p = s->core->file_priv(f);
	struct tcp_ended *t = s->core->alloc(s, sizeof(*t));
	InetClosedEntry *e;
	struct cr_reader *r;
	const void *data;
	size_t len;
	int err = s->core->img_open(s, &inet_img_closed, p->e->ino, &r);

	if (err < 0)
		return err == -ENOENT ? 0 : err;
	err = s->core->img_next(r, &data, &len);
	e = err > 0 ? common_load(s, &inet_closed_entry__descriptor, data, len) : NULL;
	if (!e || e->len > s->core->img_left(r)) {
		s->core->img_close(r);
		return cr_fail(s, EPROTO, "the image of a closed TCP connection is broken");
	}
	t->len = e->len;
	t->error = e->error;
	t->data = s->core->alloc(s, t->len + 1ul);
	err = s->core->img_extra(r, t->data, t->len);
	s->core->img_close(r);
	if (err >= 0 && !s->core->option_flag(s, "tcp-close"))
		p->closed = t;
	return err < 0 ? err : 0;
}

/* Nobody there will answer. */
static void choose_peer(const union addr *src, uint32_t id, union addr *ret)
{
	uint16_t port = htons(1024 + id % 60000);

	*ret = *src;
	if (src->any.sa_family == AF_INET) {
		if (!ret->in.sin_addr.s_addr)
			ret->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		ret->in.sin_port = port;
	} else {
		if (IN6_IS_ADDR_UNSPECIFIED(&ret->in6.sin6_addr))
			ret->in6.sin6_addr = in6addr_loopback;
		ret->in6.sin6_port = port;
	}
}

#define FIRST_SEQ 0x10000000u

/* A connection to nobody, which has received the bytes. 0 or -errno. */
static int connect_to_nobody(int fd, const union addr *dst, const struct tcp_ended *t)
{
	int err = tcp_set_seq(fd, TCP_SEND_Q, FIRST_SEQ);

	if (!err)
		err = tcp_set_seq(fd, TCP_RECV_Q, FIRST_SEQ);
	if (!err && connect(fd, &dst->any, inet_addr_len(dst)))
		err = -errno;
	return err ? err : tcp_write_queue(fd, TCP_RECV_Q, t->data, t->len);
}

static int end_it(struct cr_session *s, int fd, const union addr *src, const union addr *dst, const struct tcp_ended *t)
{
	uint32_t seq = FIRST_SEQ + t->len;
	int err = 0;

	if (!t->error) {
		/* both sides close; ours first, so that the other one's FIN is the end */
		tcp_queue(fd, TCP_SEND_Q);
		if (shutdown(fd, SHUT_WR))
			return cr_fail(s, errno, "shutting down a TCP socket: %s", strerror(errno));
		err = tcp_forge(s, dst, src, seq, FIRST_SEQ + 1, TCP_FLAG_FIN | TCP_FLAG_ACK, 0xffff);
	} else if (t->error == EPIPE) {
		err = tcp_forge(s, dst, src, seq++, FIRST_SEQ, TCP_FLAG_FIN | TCP_FLAG_ACK, 0xffff);
	}
	if (!err && t->error)
		err = tcp_forge(s, dst, src, seq, FIRST_SEQ, TCP_FLAG_RST | TCP_FLAG_ACK, 0);
	for (int i = 0; !err && i < 2000 && tcp_state(fd) != SK_CLOSE; i++)
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	if (!err && tcp_state(fd) != SK_CLOSE)
		cr_lost(s, NULL, "a TCP socket whose connection had ended: the packet that restores that did not reach it");
	return err;
}

int tcp_closed_bind(struct cr_session *s, struct cr_file *f, int fd)
{
	const struct inet_priv *p = s->core->file_priv(f);
	int err = tcp_repair(fd, TCP_REPAIR_ON);

	if (err < 0)
		return cr_fail(
			s, -err,
			"a TCP socket whose connection has ended needs repair mode (TCP_REPAIR), which %s; --tcp-close "
			"makes an unconnected socket of it",
			err == -EPERM ? "needs CAP_NET_ADMIN" : "this kernel lacks");
	return inet_bind(s, fd, p->e);
}

int tcp_closed_open(struct cr_session *s, struct cr_file *f, int fd)
{
	const struct inet_priv *p = s->core->file_priv(f);
	union addr src, dst;
	socklen_t len = sizeof(src);
	int err = tcp_closed_bind(s, f, fd);

	if (!err)
		err = inet_make_addr(s, p->e, INET_LOCAL, &src);
	if (err < 0)
		return err;
	choose_peer(&src, s->core->file_id(f), &dst);
	err = connect_to_nobody(fd, &dst, p->closed);
	if (err < 0)
		return cr_fail(s, -err,
			       "a TCP socket whose connection has ended: making one to %s: %s; --tcp-close makes an "
			       "unconnected socket of it",
			       inet_addr_text(s, &dst), strerror(-err));
	memset(&src, 0, sizeof(src));
	if (getsockname(fd, &src.any, &len))
		return cr_fail(s, errno, "the address of a TCP socket: %s", strerror(errno));
	err = end_it(s, fd, &src, &dst, p->closed);
	tcp_repair(fd, TCP_REPAIR_OFF_NO_WP);
	return err;
}
