/* SPDX-License-Identifier: MIT */
/*
 * pair.c: restore: connected sockets, both ends at once.
 *
 * Two ends without names come from socketpair(2).  An end with a name was accepted: the other one
 * connects to the restored listening socket of that name, or to one made for that.  The queue
 * of an end is filled through the other.
 */
#include "unix.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* ---- the calls that SO_PEERCRED shows ---- */

struct pair_args {
	int type;
	int slot[2]; /* numbers for the ends */
};

static int call_socketpair(void *arg)
{
	const struct pair_args *p = arg;
	int sv[2], err = 0;

	if (socketpair(AF_UNIX, p->type | SOCK_CLOEXEC, 0, sv))
		return -errno;
	for (int i = 0; i < 2; i++) {
		if (dup3(sv[i], p->slot[i], O_CLOEXEC) < 0)
			err = -errno;
		close(sv[i]);
	}
	return err;
}

static int make_pair(struct cr_session *s, struct usk *const u[2], int sv[2])
{
	const struct sk_cred *c = creds_of(s, u[0]->f);
	struct pair_args a = { .type = u[0]->e->type };
	int err;

	for (int i = 0; i < 2; i++) {
		a.slot[i] = sv[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
		if (sv[i] < 0)
			return cr_fail(s, errno, "/dev/null: %s", strerror(errno));
	}
	err = creds_call(s, c ? c : creds_of(s, u[1]->f), call_socketpair, &a);
	return err < 0 ? cr_fail(s, -err, "socketpair: %s", strerror(-err)) : 0;
}

struct connect_args {
	struct cr_session *s;
	int fd, target;
	const UnixSkEntry *e;
};

static int call_connect(void *arg)
{
	const struct connect_args *c = arg;

	return name_connect(c->s, c->fd, c->target, c->e);
}

/* ---- streams ---- */

/* The listening socket that accepted u, by its name. NULL: none, or not of this restore. */
static struct usk *listener_of(struct cr_session *s, const struct usk *u)
{
	struct unix_state *st = unix_state(s);
	struct cr_task *t;
	int fd;

	for (size_t i = 0; u->e->name.len && i < st->socks.n; i++) {
		struct usk *l = &st->socks.v[i];

		if (l->e->state == SK_LISTEN && l->e->type == u->e->type && l->e->name.len == u->e->name.len &&
		    !memcmp(l->e->name.data, u->e->name.data, u->e->name.len) && !s->core->file_slot(s, l->f, 0, &t, &fd))
			return l;
	}
	return NULL;
}

/* CR_OK with the accepted end, CR_AGAIN or -errno. */
static int accept_pair(struct cr_session *s, int client, const struct usk *other, const struct usk *server, int *ret_fd)
{
	const struct usk *l = listener_of(s, server);
	int lfd = l ? s->core->file_fd(l->f) : -1, err, fd, flags;
	struct connect_args c = { s, client, lfd, l ? l->e : NULL };

	if (!l)
		return name_accept_hidden(s, client, creds_of(s, server->f), server->e, creds_of(s, other->f), ret_fd);
	if (lfd < 0)
		return CR_AGAIN;
	err = creds_call(s, creds_of(s, server->f), call_connect, &c);
	if (err < 0)
		return cr_fail(s, -err, "connecting to the restored socket %s: %s",
			       unix_name_text(s, l->e->name.data, l->e->name.len), strerror(-err));
	/* never wait, whatever a program outside does to the listening socket */
	flags = fcntl(lfd, F_GETFL);
	fcntl(lfd, F_SETFL, flags | O_NONBLOCK);
	fd = accept4(lfd, NULL, NULL, SOCK_CLOEXEC);
	err = errno;
	fcntl(lfd, F_SETFL, flags);
	if (fd < 0)
		return cr_fail(s, err, "accepting the connection to the restored socket %s: %s",
			       unix_name_text(s, l->e->name.data, l->e->name.len), strerror(err));
	*ret_fd = fd;
	return CR_OK;
}

/* Which of two ends was accepted? The one that has the name of a listening socket, or of none that exists. */
static int is_server(struct cr_session *s, const struct usk *u, const struct usk *other)
{
	if (!u->e->name.len || !other->e->name.len)
		return u->e->name.len != 0;
	if (listener_of(s, u))
		return 1;
	return !listener_of(s, other) && u->e->has_deleted && u->e->deleted;
}

static int connect_streams(struct cr_session *s, struct usk *u[2], int sv[2])
{
	int server = is_server(s, u[0], u[1]) ? 0 : 1, client = !server, err;

	if (!u[server]->e->name.len)
		return make_pair(s, u, sv);
	if (listener_of(s, u[server]) && s->core->file_fd(listener_of(s, u[server])->f) < 0)
		return CR_AGAIN;
	sv[client] = unix_make(s, u[client]);
	if (sv[client] < 0)
		return sv[client];
	err = name_bind(s, sv[client], u[client]->e);
	return err ? err : accept_pair(s, sv[client], u[client], u[server], &sv[server]);
}

/* ---- datagrams ---- */

/* An end that has another peer than its partner, or none, lets go of it. */
static int let_go(struct cr_session *s, struct usk *u, int fd, int partner)
{
	const struct sockaddr none = { .sa_family = AF_UNSPEC };

	if (connect(fd, &none, sizeof(none)))
		return cr_fail(s, errno, "disconnecting a unix socket: %s", strerror(errno));
	u->connect = u->e->peer && unix_find(s, u->e->peer);
	sock_get_int(partner, SOL_SOCKET, SO_ERROR); /* it was told: takes that back */
	return 0;
}

static int pair_dgrams(struct cr_session *s, struct usk *u[2], int sv[2])
{
	int err = make_pair(s, u, sv);

	for (int i = 0; i < 2 && !err; i++)
		err = name_bind(s, sv[i], u[i]->e);
	for (int i = 0; i < 2 && !err; i++) {
		if (u[i]->e->peer == u[!i]->e->ino)
			continue;
		/* once it has let go it cannot be filled from here, and then what it has would be lost */
		err = queue_fill(s, u[!i], sv[i], sv[!i]);
		u[!i]->nqueue = 0;
		if (!err)
			err = let_go(s, u[i], sv[i], sv[!i]);
	}
	return err;
}

/* ---- both ---- */

static int build_pair(struct cr_session *s, struct usk *u[2], int sv[2])
{
	int err = u[0]->e->type == SOCK_DGRAM ? pair_dgrams(s, u, sv) : connect_streams(s, u, sv);

	for (int i = 0; i < 2 && !err; i++)
		err = queue_fill(s, u[i], sv[!i], sv[i]);
	for (int i = 0; i < 2 && !err; i++)
		err = u[i]->connect ? 0 : unix_finish(s, u[i], sv[i]);
	return err;
}

int pair_open(struct cr_session *s, struct usk *x, struct usk *y, int *ret_fd)
{
	struct usk *u[2] = { x, y };
	int sv[2] = { -1, -1 }, err;

	if (s->core->file_fd(y->f) >= 0)
		return cr_fail(s, EINVAL, "the unix socket %u cannot be connected to %u, which was passed in from outside: pass "
			       "both ends", x->e->ino, y->e->ino);
	if (!queue_ready(s, x) || !queue_ready(s, y))
		return CR_AGAIN;
	err = build_pair(s, u, sv);
	if (!err) {
		err = s->core->file_opened(s, y->f, sv[1]);
		sv[1] = -1;
	}
	if (!err) {
		*ret_fd = sv[0];
		return CR_OK;
	}
	for (int i = 0; i < 2; i++)
		if (sv[i] >= 0)
			close(sv[i]);
	return err;
}

/* An end whose peer is gone. */
int pair_open_widow(struct cr_session *s, struct usk *u, int *ret_fd)
{
	struct usk gone = { 0 };
	UnixSkEntry nobody = UNIX_SK_ENTRY__INIT;
	struct usk *pair[2] = { u, &gone };
	int sv[2] = { -1, -1 }, err;

	nobody.type = u->e->type;
	gone.e = &nobody;
	err = u->e->type == SOCK_DGRAM ? make_pair(s, pair, sv) : connect_streams(s, pair, sv);
	if (!err && u->e->type == SOCK_DGRAM)
		err = name_bind(s, sv[0], u->e);
	if (!err)
		err = queue_fill(s, u, sv[1], sv[0]);
	if (sv[1] >= 0)
		close(sv[1]);
	if (!err)
		err = unix_finish(s, u, sv[0]);
	if (!err)
		*ret_fd = sv[0];
	else if (sv[0] >= 0)
		close(sv[0]);
	return err;
}
