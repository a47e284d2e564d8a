/* SPDX-License-Identifier: MIT */
/*
 * queue.c: restore: packets go back into the queues that they were in (peek.c).
 *
 * A queue that has sockets in it, which may have that very queue's socket in theirs, or descriptors that are
 * made late, is filled when everything is open; shutdown and options of both ends come after that.
 */
#include "unix.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

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
		*p = (struct packet){ e->id_for, e->length, st->packets.n, xcalloc(1, e->length + 1ul), e, NULL, 0 };
		ret = s->core->img_extra(r, p->data, e->length);
		if (ret < 0)
			return ret;
	}
	return ret;
}

/* The first packet for that file among the first n, or where it would be. */
static size_t first_of(const struct unix_state *st, size_t n, uint32_t id)
{
	size_t lo = 0, hi = n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (st->packets.v[mid].id_for < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static int check_more(struct cr_session *s, const UnixPacketEntry *e)
{
	if ((e->has_urgent && e->urgent.len != 1) || (e->has_name && !e->name.len) || e->pid > INT32_MAX)
		return cr_fail(s, EPROTO, "x-unix-packets.img: a packet for file %u is broken", e->id_for);
	return e->has_name ? name_check(s, &e->name) : 0;
}

/* Ties it to its packet; an urgent byte behind the last one becomes a packet of its own, of those beyond sorted. */
static int tie(struct cr_session *s, const UnixPacketEntry *e, size_t sorted)
{
	static const SkPacketEntry nothing = SK_PACKET_ENTRY__INIT;
	struct unix_state *st = unix_state(s);
	size_t at = first_of(st, sorted, e->id_for) + (size_t)e->index;

	if (at < sorted && st->packets.v[at].id_for == e->id_for)
		st->packets.v[at].more = e;
	else if (e->has_urgent)
		*vec_push(&st->packets) = (struct packet){ e->id_for, 0, UINT32_MAX, NULL, &nothing, e, 1 };
	else
		return cr_fail(s, EPROTO, "x-unix-packets.img: file %u has no packet %u", e->id_for, e->index);
	return 0;
}

static int read_more(struct cr_session *s)
{
	struct unix_state *st = unix_state(s);
	VEC(UnixPacketEntry *) list = { 0 };
	size_t sorted = st->packets.n, len;
	struct cr_reader *r;
	const void *data;
	int err = s->core->img_open(s, &unix_img_packets, CR_IMG_NO_ID, &r);

	if (err < 0)
		return err == -ENOENT ? 0 : err;
	while ((err = s->core->img_next(r, &data, &len)) > 0) {
		UnixPacketEntry *e = common_load(s, &unix_packet_entry__descriptor, data, len);

		err = e ? check_more(s, e) : -EPROTO;
		if (err < 0)
			break;
		*vec_push(&list) = e;
	}
	s->core->img_close(r);
	for (size_t i = 0; i < list.n && err >= 0; i++)
		err = tie(s, list.v[i], sorted);
	vec_free(&list);
	return MIN_OF(err, 0);
}

static void sort_packets(struct unix_state *st)
{
	if (st->packets.n)
		qsort(st->packets.v, st->packets.n, sizeof(*st->packets.v), by_id);
}

int queue_load(struct cr_session *s)
{
	struct unix_state *st = unix_state(s);
	struct cr_reader *r;
	int err = s->core->img_open(s, &unix_img_queues, CR_IMG_NO_ID, &r);

	if (err < 0 && err != -ENOENT)
		return err;
	if (!err) {
		err = read_packets(s, r);
		s->core->img_close(r);
	}
	sort_packets(st);
	if (!err || err == -ENOENT)
		err = read_more(s);
	sort_packets(st);
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
	size_t first = first_of(st, st->packets.n, id);
	int err = 0;

	u->queue = st->packets.v + first;
	for (u->nqueue = 0; first + u->nqueue < st->packets.n && u->queue[u->nqueue].id_for == id && !err; u->nqueue++)
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

/* Its sender is a socket of the tree, which has to be there. */
static int has_late_sender(struct cr_session *s, const struct packet *p)
{
	return p->more && p->more->has_name && !p->more->name.data[0] && sender_in_tree(s, &p->more->name);
}

int queue_is_late(struct cr_session *s, const struct usk *u)
{
	for (size_t i = 0; i < u->nqueue; i++)
		if (has_late_sender(s, &u->queue[i]))
			return 1;
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

static int fill(struct cr_session *s, const struct usk *u, int wfd, int target, int late)
{
	int err = sender_fill(s, u, wfd, target, late);

	if (err == -EAGAIN || err == -EMSGSIZE)
		return cr_fail(s, ENOBUFS, "the %zu packets that were in the queue of a socket do not fit: restore with "
			       "CAP_NET_ADMIN, or raise the sysctls net.core.wmem_max and net.unix.max_dgram_qlen", u->nqueue);
	return err < 0 ? cr_fail(s, -err, "filling the queue of a socket: %s", strerror(-err)) : 0;
}

int queue_fill(struct cr_session *s, const struct usk *u, int wfd, int target)
{
	return queue_is_late(s, u) ? postpone(s, u, wfd) : fill(s, u, wfd, target, 0);
}

int queue_fill_late(struct cr_session *s)
{
	struct unix_state *st = unix_state(s);
	int err = 0;

	for (size_t i = 0; i < st->postponed.n; i++) {
		struct sk_postponed *p = &st->postponed.v[i];

		err = err ? err : fill(s, p->u, p->wfd, s->core->file_fd(p->u->f), 1);
		close(p->wfd);
	}
	vec_free(&st->postponed);
	for (size_t i = 0; i < st->unfinished.n && !err; i++)
		err = unix_finish_now(s, st->unfinished.v[i], s->core->file_fd(st->unfinished.v[i]->f));
	vec_free(&st->unfinished);
	return err;
}
