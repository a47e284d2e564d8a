/* SPDX-License-Identifier: MIT */
/*
 * restore.c: a message becomes a socket, or two of them.
 *
 *   open   connected streams in pairs: socketpair(2), or connect(2) and accept(2) where an end
 *          has a name; an end whose peer is gone gets one that is closed again; queues are
 *          filled from the other end.  All others one by one, bound, listening.
 *   wire   datagram sockets are connected by name; connections that nobody has
 *          accepted yet are made, when all those that were are.
 *
 * Options and shutdown come last, when nothing is sent any more.
 */
#include "unix.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

struct priv {
	uint32_t index;
};

static struct usk *usk_of(struct cr_session *s, struct cr_file *f)
{
	const struct priv *p = s->core->file_priv(f);

	return &unix_state(s)->socks.v[p->index];
}

struct usk *unix_find(struct cr_session *s, uint32_t ino)
{
	struct unix_state *st = unix_state(s);
	int is_new;
	uint32_t id = ino ? s->core->id(s, "unix-ino", &ino, sizeof(ino), &is_new) : 0;

	/* asking for one that does not exist has made an id beyond those of all sockets */
	return id && id <= st->socks.n ? &st->socks.v[id - 1] : NULL;
}

/* ---- load ---- */

static int read_peers(struct cr_session *s)
{
	struct unix_state *st = unix_state(s);
	struct cr_reader *r;
	const void *data;
	size_t len;
	int err = s->core->img_open(s, &unix_img_peers, CR_IMG_NO_ID, &r);

	if (err < 0)
		return err == -ENOENT ? 0 : err;
	while ((err = s->core->img_next(r, &data, &len)) > 0) {
		UnixPeerEntry *e = common_load(s, &unix_peer_entry__descriptor, data, len);

		err = e ? name_check(s, &e->name) : -EPROTO;
		if (err < 0)
			break;
		*vec_push(&st->peers) = e;
	}
	s->core->img_close(r);
	return err;
}

static int read_moved(struct cr_session *s)
{
	struct unix_state *st = unix_state(s);
	struct cr_reader *r;
	const void *data;
	size_t len;
	int err = s->core->img_open(s, &unix_img_moved, CR_IMG_NO_ID, &r);

	if (err < 0)
		return err == -ENOENT ? 0 : err;
	while ((err = s->core->img_next(r, &data, &len)) > 0) {
		UnixMovedEntry *e = common_load(s, &unix_moved_entry__descriptor, data, len);

		if (!e || e->path[0] != '/' || !e->path[1]) {
			err = e ? cr_fail(s, EPROTO, "x-unix-moved.img: the path %s of a socket is not absolute",
					  common_quote(s, e->path)) : -EPROTO;
			break;
		}
		*vec_push(&st->moved) = e;
	}
	s->core->img_close(r);
	return err;
}

int unix_stage(struct cr_session *s)
{
	int err = queue_load(s);

	if (!err)
		err = creds_load(s);
	if (!err)
		err = sock_extra_load(s, &unix_img_extra, &unix_state(s)->extra);
	if (!err)
		err = read_moved(s);
	return err ? err : read_peers(s);
}

static int check_entry(struct cr_session *s, const UnixSkEntry *e)
{
	if (e->type != SOCK_STREAM && e->type != SOCK_DGRAM && e->type != SOCK_SEQPACKET)
		return cr_fail(s, EPROTO, "the image has a unix socket of type %u", e->type);
	if (e->state == SK_LISTEN && (!e->name.len || e->type == SOCK_DGRAM))
		return cr_fail(s, EPROTO, "the image has a listening unix socket without a name");
	if (!e->ino)
		return cr_fail(s, EPROTO, "the image has a unix socket without a number");
	return name_check(s, &e->name);
}

int unix_load(struct cr_session *s, struct cr_file *f, const void *data, size_t len)
{
	UnixSkEntry *e = common_load(s, &unix_sk_entry__descriptor, data, len);
	struct unix_state *st = unix_state(s);
	struct priv *p = s->core->file_priv(f);
	int is_new, err = e ? check_entry(s, e) : -EPROTO;
	struct usk *u;

	if (err < 0)
		return err;
	p->index = s->core->id(s, "unix-ino", &e->ino, sizeof(e->ino), &is_new) - 1;
	if (!is_new || p->index != st->socks.n)
		return cr_fail(s, EPROTO, "the image has two unix sockets with the number %u", e->ino);
	u = vec_push(&st->socks);
	u->f = f;
	u->e = e;
	return queue_of(s, u);
}

int unix_key(struct cr_session *s, struct cr_file *f, char *buf, size_t size)
{
	snprintf(buf, size, "socket:[%" PRIu32 "]", usk_of(s, f)->e->ino);
	return 0;
}

int unix_check_image(struct cr_session *s, struct cr_file *f)
{
	return name_can_bind(s, usk_of(s, f)->e);
}

/* ---- who belongs to whom ---- */

static UnixPeerEntry *outside_peer(struct cr_session *s, const struct usk *u)
{
	struct unix_state *st = unix_state(s);

	for (size_t i = 0; i < st->peers.n; i++)
		if (st->peers.v[i]->id == s->core->file_id(u->f))
			return st->peers.v[i];
	return NULL;
}

static int make_partners(struct cr_session *s, struct usk *x, struct usk *y)
{
	struct unix_state *st = unix_state(s);
	uint32_t ix = x - st->socks.v + 1, iy = y - st->socks.v + 1;

	if (x->e->type != y->e->type || x == y || (x->partner && x->partner != iy) || (y->partner && y->partner != ix))
		return cr_fail(s, EPROTO, "the image connects the unix sockets %u and %u, which cannot be", x->e->ino, y->e->ino);
	x->partner = iy;
	y->partner = ix;
	/* both come into being at once, and with each what is in its queue */
	if (!CR_HAS(s->core, file_use))
		return 0;
	return s->core->file_use(s, x->f, y->f);
}

static int link_stream(struct cr_session *s, struct usk *x)
{
	struct usk *y = unix_find(s, x->e->peer);

	if (!y && x->e->state == SK_ESTABLISHED)
		x->connect = outside_peer(s, x) != NULL;
	if (!y || x->e->state != SK_ESTABLISHED || (y->e->uflags & SK_EXTERN))
		return 0;
	if (y->e->state == SK_LISTEN && y->e->type == x->e->type) {
		x->connect = 1;
		return 0;
	}
	if (y->e->peer != x->e->ino || y->e->state != SK_ESTABLISHED)
		return cr_fail(s, EPROTO, "the image connects the unix socket %u to %u, which is not connected to it", x->e->ino,
			       y->e->ino);
	return make_partners(s, x, y);
}

static int link_dgram(struct cr_session *s, struct usk *x)
{
	struct usk *y = unix_find(s, x->e->peer);

	if (!y) {
		x->connect = outside_peer(s, x) != NULL;
		return 0;
	}
	/* without a name there is only one way to get a peer */
	if (!(y->e->uflags & SK_EXTERN) && (!y->e->name.len || (!x->e->name.len && y->e->peer == x->e->ino)))
		return make_partners(s, x, y);
	x->connect = 1;
	return 0;
}

static int link_all(struct cr_session *s)
{
	struct unix_state *st = unix_state(s);
	int err = 0;

	for (size_t i = 0; i < st->socks.n && !st->linked && !err; i++) {
		struct usk *u = &st->socks.v[i];

		err = u->e->type == SOCK_DGRAM ? link_dgram(s, u) : link_stream(s, u);
	}
	st->linked = 1;
	return err;
}

/* ---- the last steps ---- */

int unix_finish_now(struct cr_session *s, const struct usk *u, int fd)
{
	static const struct sock_extra *const lists[] = { sock_extra_common, unix_extra, NULL };
	const UnixSkEntry *e = u->e;
	int err = 0;

	if (e->has_shutdown && e->shutdown >= SK_SHUTDOWN__READ && e->shutdown <= SK_SHUTDOWN__BOTH &&
	    shutdown(fd, (int)e->shutdown - 1) && errno != ENOTCONN)
		err = cr_fail(s, errno, "shutting down a unix socket: %s", strerror(errno));
	if (!err)
		err = sock_buffers_restore(s, fd, e->opts);
	if (!err)
		err = sock_opts_restore(s, fd, e->opts);
	if (!err)
		err = sock_extra_restore(s, unix_state(s)->extra, u->f, fd, lists);
	if (!err)
		err = sock_lock_restore(s, unix_state(s)->extra, u->f, fd);
	return err ? err : common_set_flags(s, fd, e->flags);
}

int unix_finish(struct cr_session *s, const struct usk *u, int fd)
{
	struct unix_state *st = unix_state(s);
	const struct usk *partner = u->partner ? &st->socks.v[u->partner - 1] : NULL;

	if (!queue_is_late(s, u) && !(partner && queue_is_late(s, partner)))
		return unix_finish_now(s, u, fd);
	*vec_push(&st->unfinished) = u;
	return 0;
}

/* ---- single sockets ---- */

int unix_make(struct cr_session *s, const struct usk *u)
{
	int fd = socket(AF_UNIX, u->e->type | SOCK_CLOEXEC, 0);

	return fd < 0 ? cr_fail(s, errno, "making a unix socket: %s", strerror(errno)) : fd;
}

/* What a datagram socket with a name has received comes from a socket made for that. */
static int fill_by_name(struct cr_session *s, const struct usk *u, int fd)
{
	_cleanup_fd_ int wfd = -1;
	int err;

	if (!u->nqueue)
		return 0;
	if (u->e->type != SOCK_DGRAM)
		return cr_fail(s, EPROTO, "the image has packets for the unix socket %u, which is not connected", u->e->ino);
	wfd = unix_make(s, u);
	err = wfd < 0 ? wfd : name_connect(s, wfd, fd, u->e);
	if (wfd >= 0 && err < 0)
		return cr_fail(s, -err, "connecting to the restored socket %s: %s",
			       unix_name_text(s, u->e->name.data, u->e->name.len), strerror(-err));
	return err ? err : queue_fill(s, u, wfd, fd);
}

struct listen_args {
	int fd, backlog;
};

static int call_listen(void *arg)
{
	const struct listen_args *a = arg;

	return listen(a->fd, a->backlog) ? -errno : 0;
}

static int restore_listen(struct cr_session *s, const struct usk *u, int fd)
{
	struct listen_args a = { fd, MIN_OF(u->e->backlog, (uint32_t)INT_MAX) };
	int err = creds_call(s, creds_of(s, u->f), call_listen, &a);

	return err < 0 ? cr_fail(s, -err, "listening on a unix socket: %s", strerror(-err)) : 0;
}

static int set_up_single(struct cr_session *s, const struct usk *u, int fd)
{
	int err = name_bind(s, fd, u->e);

	if (!err)
		err = fill_by_name(s, u, fd);
	if (!err && u->e->state == SK_LISTEN)
		err = restore_listen(s, u, fd);
	return err || u->connect ? err : unix_finish(s, u, fd);
}

static int open_single(struct cr_session *s, const struct usk *u, int *ret_fd)
{
	_cleanup_fd_ int fd = unix_make(s, u);
	int err = fd < 0 ? fd : set_up_single(s, u, fd);

	if (err < 0)
		return err;
	*ret_fd = fd;
	fd = -1;
	return CR_OK;
}

int unix_open(struct cr_session *s, struct cr_file *f, int *ret_fd)
{
	struct usk *u = usk_of(s, f);
	int err = link_all(s);

	if (err < 0)
		return err;
	if (u->partner)
		return pair_open(s, u, &unix_state(s)->socks.v[u->partner - 1], ret_fd);
	if (!queue_ready(s, u))
		return CR_AGAIN;
	/* a datagram socket with a name is ESTABLISHED also when others have connected to it */
	if (u->e->state == SK_ESTABLISHED && !u->connect && (u->e->type != SOCK_DGRAM || !u->e->name.len || u->e->peer))
		return pair_open_widow(s, u, ret_fd);
	return open_single(s, u, ret_fd);
}

/* ---- wire ---- */

static int connect_peer(struct cr_session *s, const struct usk *u, int fd)
{
	const struct usk *y = unix_find(s, u->e->peer);
	const UnixPeerEntry *p = y ? NULL : outside_peer(s, u);
	const ProtobufCBinaryData *name = y ? &y->e->name : &p->name;
	int target = y ? s->core->file_fd(y->f) : -1, flags = fcntl(fd, F_GETFL), err;

	fcntl(fd, F_SETFL, flags | O_NONBLOCK); /* a full backlog would wait for ever */
	err = target >= 0 ? name_connect(s, fd, target, y->e) : name_connect_to(fd, name, y ? y->e->name_dir : NULL);
	fcntl(fd, F_SETFL, flags);
	if (err == -ECONNREFUSED || err == -ENOENT)
		return cr_fail(s, -err, "the socket %s, to which a restored one was connected, is not there: start the program "
			       "that has it", unix_name_text(s, name->data, name->len));
	if (err < 0)
		return cr_fail(s, -err, "connecting a socket to %s: %s",
			       unix_name_text(s, name->data, name->len), strerror(-err));
	return 0;
}

int unix_wire(struct cr_session *s, struct cr_file *f)
{
	const struct usk *u = usk_of(s, f);
	int fd = s->core->file_fd(f), err = 0;

	if (u->connect && unix_state(s)->linked)
		err = connect_peer(s, u, fd);
	if (!err && u->connect)
		err = unix_finish(s, u, fd);
	return err ? err : common_fown_restore(s, f, u->e->fown);
}
