/* SPDX-License-Identifier: MIT */
/*
 * queue.c: what is in a receive queue, without taking it out.
 *
 * All queues are read before anything is dumped: a descriptor in a queue may be the other
 * end of a connection.  SO_PEEK_OFF makes peeking go on where the last peek has ended; the socket gets its
 * own value back.  A read of a stream ends behind a piece that has descriptors with it,
 * but not in front of one, and where that begins cannot be seen: so such a piece goes
 * back together with the bytes in front of it, as one read would bring them.  A descriptor
 * in a queue becomes a file object.
 *
 * At restore a queue that has sockets in it, which may have that very queue's socket in theirs, or descriptors that are
 * made late, is filled when everything is open; shutdown and options of both ends come after that.
 */
#include "unix.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define MAX_RIGHTS 253	  /* SCM_MAX_FD */
#define TYPE_SCM_PIDFD 4  /* SCM_PIDFD, Linux 6.5 */
#define ROOM_MIN (1024 * 1024)
#define ROOM_MAX (1024 * 1024 * 1024)

const struct cr_img_type unix_img_queues = { sizeof(unix_img_queues), "sk-queues", 0x56264026, 0 };

union control {
	struct cmsghdr align;
	char room[CMSG_SPACE(MAX_RIGHTS * sizeof(int)) + 1024];
};

/* ---- dump ---- */

struct peek {
	struct cr_session *s;
	struct cr_file *f;
	struct cr_task *t;
	char *room;
	size_t size;
	uint32_t rights[MAX_RIGHTS];
	size_t nrights;
};

static int take_rights(struct peek *p, const struct cmsghdr *c)
{
	size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	int fds[MAX_RIGHTS], err = 0;

	n = MIN_OF(n, (size_t)MAX_RIGHTS);
	memcpy(fds, CMSG_DATA(c), n * sizeof(int));
	for (size_t i = 0; i < n; i++) {
		struct cr_file *file;

		if (!err && p->nrights < MAX_RIGHTS)
			err = p->s->core->file_collect(p->s, p->t, fds[i], &file);
		if (!err && p->nrights < MAX_RIGHTS)
			p->rights[p->nrights++] = p->s->core->file_id(file);
		close(fds[i]);
	}
	return err;
}

static int take_control(struct peek *p, struct msghdr *m)
{
	int err = 0, fd;

	p->nrights = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level != SOL_SOCKET)
			continue;
		if (c->cmsg_type == SCM_RIGHTS) {
			int e = take_rights(p, c);

			err = err ? err : e;
		} else if (c->cmsg_type == TYPE_SCM_PIDFD && c->cmsg_len >= CMSG_LEN(sizeof(int))) {
			memcpy(&fd, CMSG_DATA(c), sizeof(fd));
			close(fd);
		}
	}
	return err;
}

static void keep(struct peek *p, size_t len)
{
	struct peeked *k = vec_push(&unix_state(p->s)->peeked);

	k->id_for = p->s->core->file_id(p->f);
	k->len = len;
	k->data = xcalloc(1, len + 1);
	memcpy(k->data, p->room, len);
	k->nrights = p->nrights;
	k->rights = xcalloc(p->nrights + 1, sizeof(*k->rights));
	memcpy(k->rights, p->rights, p->nrights * sizeof(*k->rights));
}

/* One packet. 1, 0 at the end, -errno recorded. */
static int peek_one(struct peek *p, int lfd, const struct sk_fact *k)
{
	struct iovec iov = { p->room, p->size };
	union control control;
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(lfd, &m, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	int err;

	if (n < 0 && (errno == EAGAIN || errno == ECONNRESET))
		return 0;
	if (n < 0)
		return cr_fail(p->s, errno, "reading the queue of the socket: %s", strerror(errno));
	err = take_control(p, &m);
	if (err < 0)
		return err;
	if (n == 0 && (k->type == SOCK_STREAM || (k->shutdown & 1)))
		return 0;
	if (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
		return cr_fail(p->s, EMSGSIZE, "a packet in the queue of the socket is larger than %zu bytes", p->size);
	keep(p, n);
	return 1;
}

static int peek_all(struct peek *p, int lfd, const struct sk_fact *k)
{
	int old = -1, zero = 0, ret;
	socklen_t len = sizeof(old);

	if (getsockopt(lfd, SOL_SOCKET, SO_PEEK_OFF, &old, &len) ||
	    setsockopt(lfd, SOL_SOCKET, SO_PEEK_OFF, &zero, sizeof(zero)))
		return cr_fail(p->s, errno, "SO_PEEK_OFF: %s", strerror(errno));
	while ((ret = peek_one(p, lfd, k)) > 0)
		;
	if (setsockopt(lfd, SOL_SOCKET, SO_PEEK_OFF, &old, sizeof(old)) && !ret)
		ret = cr_fail(p->s, errno, "SO_PEEK_OFF: %s", strerror(errno));
	return ret;
}

static int peek_queue(struct cr_session *s, struct cr_file *f, int lfd, const struct sk_fact *k, struct cr_task *t)
{
	struct pollfd poll_in = { .fd = lfd, .events = POLLIN };
	struct peek p = { .s = s, .f = f, .t = t };
	uint32_t id = s->core->file_id(f);
	int is_new, ret;

	/* a packet of no bytes is shown only once */
	s->core->id(s, "unix-queue-read", &id, sizeof(id), &is_new);
	/* a listening socket has connections in it; most queues are empty */
	if (!is_new || k->state == SK_LISTEN || poll(&poll_in, 1, 0) <= 0 || !(poll_in.revents & POLLIN))
		return 0;
	p.size = MIN_OF(MAX_OF((size_t)k->rqueue + 1, (size_t)ROOM_MIN), (size_t)ROOM_MAX);
	p.room = xcalloc(1, p.size);
	ret = peek_all(&p, lfd, k);
	free(p.room);
	return ret;
}

int queue_collect(struct cr_session *s)
{
	struct unix_state *st = unix_state(s);
	int err = 0;

	if (st->collected)
		return 0;
	st->collected = 1;
	/* what is found goes to the end, and has its turn */
	for (struct cr_file *f = s->core->file_next(s, NULL); f && !err; f = s->core->file_next(s, f)) {
		const struct cr_file_info *info = s->core->file_info(f);
		const struct sk_fact *k = NULL;

		if (S_ISSOCK(info->st.st_mode) && info->sock_domain == AF_UNIX && s->core->file_fd(f) >= 0)
			k = diag_find(s, info->st.st_ino);
		if (k)
			err = peek_queue(s, f, s->core->file_fd(f), k, info->task);
	}
	return err;
}

static int write_packet(struct cr_session *s, const struct peeked *k)
{
	SkPacketEntry e = SK_PACKET_ENTRY__INIT;
	ScmEntry scm = SCM_ENTRY__INIT, *list[] = { &scm };
	int err;

	e.id_for = k->id_for;
	e.length = k->len;
	if (k->nrights) {
		scm.type = SCM_RIGHTS;
		scm.rights = k->rights;
		scm.n_rights = k->nrights;
		e.scm = list;
		e.n_scm = 1;
	}
	err = common_append(s, &unix_img_queues, CR_IMG_NO_ID, &e.base);
	return err || !k->len ? err : s->core->img_raw(s, &unix_img_queues, CR_IMG_NO_ID, k->data, k->len);
}

int queue_dump(struct cr_session *s, struct cr_file *f, int lfd, const struct sk_fact *k, struct cr_task *t)
{
	struct unix_state *st = unix_state(s);
	int err = peek_queue(s, f, lfd, k, t); /* not yet read: another plugin has found the socket since */

	for (size_t i = 0; i < st->peeked.n && !err; i++)
		if (st->peeked.v[i].id_for == s->core->file_id(f))
			err = write_packet(s, &st->peeked.v[i]);
	return err;
}

/* ---- restore ---- */

static int by_id(const void *a, const void *b)
{
	const struct packet *x = a, *y = b;

	if (x->id_for != y->id_for)
		return x->id_for < y->id_for ? -1 : 1;
	return (x->seq > y->seq) - (x->seq < y->seq);
}

static int read_packets(struct cr_session *s, struct cr_reader *r)
{
	struct unix_state *st = unix_state(s);
	const void *data;
	size_t len;
	int ret;

	while ((ret = s->core->img_next(r, &data, &len)) > 0) {
		SkPacketEntry *e = common_load(s, &sk_packet_entry__descriptor, data, len);
		struct packet *p;

		if (!e)
			return -EPROTO;
		if (e->length > s->core->img_left(r))
			return cr_fail(s, EPROTO, "sk-queues.img: a packet of %u bytes for file %u is not all there", e->length,
				       e->id_for);
		p = vec_push(&st->packets);
		*p = (struct packet){ e->id_for, e->length, st->packets.n, xcalloc(1, e->length + 1ul), e };
		ret = s->core->img_extra(r, p->data, e->length);
		if (ret < 0)
			return ret;
	}
	return ret;
}

int queue_load(struct cr_session *s)
{
	struct unix_state *st = unix_state(s);
	struct cr_reader *r;
	int err = s->core->img_open(s, &unix_img_queues, CR_IMG_NO_ID, &r);

	if (err < 0)
		return err == -ENOENT ? 0 : err;
	err = read_packets(s, r);
	s->core->img_close(r);
	if (st->packets.n)
		qsort(st->packets.v, st->packets.n, sizeof(*st->packets.v), by_id);
	return err;
}

/* It may have u in its own queue, or be u: then neither can wait for the other. */
static int is_unix(struct cr_session *s, const struct cr_file *f)
{
	return CR_HAS(s->core, file_use) && !strcmp(s->core->file_kind(f), "unix");
}

static int need_rights(struct cr_session *s, const struct usk *u, const struct packet *p)
{
	size_t n = 0;

	for (size_t i = 0; i < p->e->n_scm; i++) {
		const ScmEntry *scm = p->e->scm[i];

		if (scm->type != SCM_RIGHTS || (n += scm->n_rights) > MAX_RIGHTS)
			return cr_fail(s, EPROTO, "sk-queues.img: a packet for file %u has control data of type %u, %zu files",
				       p->id_for, scm->type, scm->n_rights);
		for (size_t j = 0; j < scm->n_rights; j++) {
			struct cr_file *dep = s->core->file_by_id(s, scm->rights[j]);
			int err;

			if (!dep)
				return cr_fail(s, EPROTO, "sk-queues.img: a packet has file %u in it, which does not exist",
					       scm->rights[j]);
			err = is_unix(s, dep) ? s->core->file_use(s, u->f, dep) : s->core->file_need(s, u->f, dep);
			if (err < 0)
				return err;
		}
	}
	return 0;
}

int queue_of(struct cr_session *s, struct usk *u)
{
	struct unix_state *st = unix_state(s);
	uint32_t id = s->core->file_id(u->f);
	size_t lo = 0, hi = st->packets.n;
	int err = 0;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (st->packets.v[mid].id_for < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	u->queue = st->packets.v + lo;
	for (u->nqueue = 0; lo + u->nqueue < st->packets.n && u->queue[u->nqueue].id_for == id && !err; u->nqueue++)
		err = need_rights(s, u, &u->queue[u->nqueue]);
	return err;
}

/* A unix socket, or a descriptor of a process or the like, which is made when the tree exists. */
static int is_late(struct cr_session *s, const struct cr_file *f)
{
	return is_unix(s, f) || (CR_HAS(s->core, file_is_late) && s->core->file_is_late(f));
}

int queue_ready(struct cr_session *s, const struct usk *u)
{
	for (size_t i = 0; i < u->nqueue; i++)
		for (size_t j = 0; j < u->queue[i].e->n_scm; j++)
			for (size_t k = 0; k < u->queue[i].e->scm[j]->n_rights; k++) {
				const struct cr_file *f = s->core->file_by_id(s, u->queue[i].e->scm[j]->rights[k]);

				if (s->core->file_fd(f) < 0 && !is_late(s, f))
					return 0;
			}
	return 1;
}

/* Room for all of it at once, whatever the sender has had. */
static void enlarge(const struct usk *u, int wfd)
{
	uint64_t want = 4096;
	int now = sock_get_int(wfd, SOL_SOCKET, SO_SNDBUF), v;

	for (size_t i = 0; i < u->nqueue; i++)
		want += u->queue[i].len + 4096;
	v = MIN_OF(want, (uint64_t)INT_MAX / 2);
	if (now / 2 >= v)
		return;
	if (setsockopt(wfd, SOL_SOCKET, SO_SNDBUFFORCE, &v, sizeof(v)))
		setsockopt(wfd, SOL_SOCKET, SO_SNDBUF, &v, sizeof(v));
}

static size_t put_rights(struct cr_session *s, const struct packet *p, union control *control)
{
	struct cmsghdr *c = &control->align;
	int fds[MAX_RIGHTS];
	size_t n = 0;

	for (size_t i = 0; i < p->e->n_scm; i++)
		for (size_t j = 0; j < p->e->scm[i]->n_rights; j++)
			fds[n++] = s->core->file_fd(s->core->file_by_id(s, p->e->scm[i]->rights[j]));
	if (!n)
		return 0;
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	return CMSG_SPACE(n * sizeof(int));
}

static int send_packet(struct cr_session *s, const struct packet *p, int wfd, int stream)
{
	union control control = { 0 };
	struct iovec iov = { p->data, p->len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	m.msg_controllen = put_rights(s, p, &control);
	m.msg_control = m.msg_controllen ? &control : NULL;
	do {
		n = sendmsg(wfd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0)
			return -errno;
		iov.iov_base = (char *)iov.iov_base + n;
		iov.iov_len -= n;
		m.msg_control = NULL;
		m.msg_controllen = 0;
	} while (stream && iov.iov_len);
	return 0;
}

int queue_is_late(struct cr_session *s, const struct usk *u)
{
	for (size_t i = 0; i < u->nqueue; i++)
		for (size_t j = 0; j < u->queue[i].e->n_scm; j++)
			for (size_t k = 0; k < u->queue[i].e->scm[j]->n_rights; k++)
				if (is_late(s, s->core->file_by_id(s, u->queue[i].e->scm[j]->rights[k])))
					return 1;
	return 0;
}

/* Keeps the sending end until the tree exists. */
static int postpone(struct cr_session *s, const struct usk *u, int wfd)
{
	int fd = fcntl(wfd, F_DUPFD_CLOEXEC, 3);

	if (fd < 0)
		return cr_fail(s, errno, "duplicating a descriptor: %s", strerror(errno));
	*vec_push(&unix_state(s)->postponed) = (struct sk_postponed){ u, fd };
	return 0;
}

static int fill(struct cr_session *s, const struct usk *u, int wfd)
{
	if (u->nqueue)
		enlarge(u, wfd);
	for (size_t i = 0; i < u->nqueue; i++) {
		int err = send_packet(s, &u->queue[i], wfd, u->e->type == SOCK_STREAM);

		if (err == -EAGAIN || err == -EMSGSIZE)
			return cr_fail(s, ENOBUFS, "the %zu packets that were in the queue of a socket do not fit: restore with "
				       "CAP_NET_ADMIN, or raise the sysctls net.core.wmem_max and net.unix.max_dgram_qlen",
				       u->nqueue);
		if (err < 0)
			return cr_fail(s, -err, "filling the queue of a socket: %s", strerror(-err));
	}
	return 0;
}

int queue_fill(struct cr_session *s, const struct usk *u, int wfd)
{
	return queue_is_late(s, u) ? postpone(s, u, wfd) : fill(s, u, wfd);
}

int queue_fill_late(struct cr_session *s)
{
	struct unix_state *st = unix_state(s);
	int err = 0;

	for (size_t i = 0; i < st->postponed.n; i++) {
		struct sk_postponed *p = &st->postponed.v[i];

		err = err ? err : fill(s, p->u, p->wfd);
		close(p->wfd);
	}
	vec_free(&st->postponed);
	for (size_t i = 0; i < st->unfinished.n && !err; i++)
		err = unix_finish_now(s, st->unfinished.v[i], s->core->file_fd(st->unfinished.v[i]->f));
	vec_free(&st->unfinished);
	return err;
}
