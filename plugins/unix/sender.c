/* SPDX-License-Identifier: MIT */
/*
 * sender.c: restore: sending a queue's packets so that they seem to come from who has sent them.
 *
 * What the receiver learns of a sender are the name of the socket, of datagrams, and pid, user and group
 * (SCM_CREDENTIALS).  A socket is made for each name, bound where nobody sees it; an abstract name that a socket of the
 * tree has is used by that very socket.  The kernel believes of a process what is true of it: so a child with that
 * pid, which is free as yet, and those ids sends (creds.c); when the tree exists the engine may name any process.
 */
#include "unix.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

/* Packets in a row that have the same sender. */
struct run {
	struct cr_session *s;
	const struct packet *v;
	size_t n;
	int fd;
	const struct sockaddr_un *to; /* NULL: fd is connected */
	struct sockaddr_un address;
	socklen_t to_len;
	int stream;
};

/* ---- one packet ---- */

static size_t add_control(union control *control, size_t used, int type, const void *data, size_t len)
{
	struct cmsghdr *c = (struct cmsghdr *)(control->room + used);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(c), data, len);
	return used + CMSG_SPACE(len);
}

static size_t put_rights(struct cr_session *s, const struct packet *p, union control *control)
{
	int fds[MAX_RIGHTS];
	size_t n = 0;

	for (size_t i = 0; i < p->e->n_scm; i++)
		for (size_t j = 0; j < p->e->scm[i]->n_rights; j++)
			fds[n++] = s->core->file_fd(s->core->file_by_id(s, p->e->scm[i]->rights[j]));
	return n ? add_control(control, 0, SCM_RIGHTS, fds, n * sizeof(int)) : 0;
}

static ssize_t send_once(const struct run *r, const struct packet *p, struct iovec *iov, int rights, int cred, int flags)
{
	union control control = { 0 };
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = 1, .msg_name = (void *)r->to, .msg_namelen = r->to_len };
	size_t len = rights ? put_rights(r->s, p, &control) : 0;
	struct ucred c;

	if (cred) {
		c = (struct ucred){ p->more->pid, p->more->uid, p->more->gid };
		len = add_control(&control, len, SCM_CREDENTIALS, &c, sizeof(c));
	}
	m.msg_control = len ? &control : NULL;
	m.msg_controllen = len;
	return sendmsg(r->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL | flags);
}

/* Where the kernel does not believe it, without credentials. */
static ssize_t send_some(const struct run *r, const struct packet *p, struct iovec *iov, int rights, int flags)
{
	int cred = p->more && p->more->has_pid;
	ssize_t n = send_once(r, p, iov, rights, cred, flags);

	if (n < 0 && cred && (errno == EPERM || errno == ESRCH || errno == EINVAL))
		n = send_once(r, p, iov, rights, 0, flags);
	return n < 0 ? -errno : n;
}

static int send_packet(const struct run *r, const struct packet *p)
{
	struct iovec iov = { p->data, p->len };
	ssize_t n;
	int first = 1;

	if (p->more && p->more->has_urgent) {
		struct iovec byte = { p->more->urgent.data, 1 };

		n = send_some(r, p, &byte, 0, MSG_OOB);
		if (n < 0 || p->only_urgent)
			return n < 0 ? n : 0;
	}
	do {
		n = send_some(r, p, &iov, first, 0);
		if (n < 0)
			return n;
		iov.iov_base = (char *)iov.iov_base + n;
		iov.iov_len -= n;
		first = 0;
	} while (r->stream && iov.iov_len);
	return 0;
}

static int send_run(void *arg)
{
	const struct run *r = arg;
	int err = 0;

	for (size_t i = 0; i < r->n && !err; i++)
		err = send_packet(r, &r->v[i]);
	return err;
}

/* ---- the socket that sends ---- */

/* Room for all of it at once, whatever the sender has had. */
static void enlarge(const struct usk *u, int fd)
{
	uint64_t want = 4096;
	int now = sock_get_int(fd, SOL_SOCKET, SO_SNDBUF), v;

	for (size_t i = 0; i < u->nqueue; i++)
		want += u->queue[i].len + 4096;
	v = MIN_OF(want, (uint64_t)INT32_MAX / 2);
	if (now / 2 >= v)
		return;
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &v, sizeof(v)))
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &v, sizeof(v));
}

static int has_name(int fd, const ProtobufCBinaryData *name)
{
	struct sockaddr_un a;
	socklen_t len = sizeof(a);
	size_t n;

	memset(&a, 0, sizeof(a));
	if (getsockname(fd, (struct sockaddr *)&a, &len) || len <= offsetof(struct sockaddr_un, sun_path))
		return 0;
	n = len - offsetof(struct sockaddr_un, sun_path);
	if (a.sun_path[0])
		n = strnlen(a.sun_path, MIN_OF(n, sizeof(a.sun_path)));
	return n == name->len && !memcmp(a.sun_path, name->data, n);
}

const struct usk *sender_in_tree(struct cr_session *s, const ProtobufCBinaryData *name)
{
	struct unix_state *st = unix_state(s);

	for (size_t i = 0; i < st->socks.n; i++) {
		const struct usk *u = &st->socks.v[i];

		if (u->e->type == SOCK_DGRAM && u->e->name.len == name->len && !memcmp(u->e->name.data, name->data, name->len))
			return u;
	}
	return NULL;
}

/* A new socket with that name, connected to target. Descriptor or -errno. */
static int make_sender(struct cr_session *s, const struct usk *u, int target, const ProtobufCBinaryData *name)
{
	_cleanup_fd_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int err = fd < 0 ? -errno : name_bind_unseen(s, fd, name), ret = fd;

	if (!err)
		err = name_connect(s, fd, target, u->e);
	if (err < 0)
		return err;
	fd = -1;
	return ret;
}

/* ---- a queue ---- */

static int is_same(const ProtobufCBinaryData *a, const ProtobufCBinaryData *b)
{
	return a->len == b->len && (!a->len || !memcmp(a->data, b->data, a->len));
}

static int same_sender(const struct packet *a, const struct packet *b)
{
	const UnixPacketEntry *x = a->more, *y = b->more;

	if (!x || !y)
		return x == y;
	return x->has_name == y->has_name && (!x->has_name || is_same(&x->name, &y->name)) && x->has_pid == y->has_pid &&
	       x->pid == y->pid && x->uid == y->uid && x->gid == y->gid;
}

static int send_as(struct run *r, int late)
{
	const UnixPacketEntry *more = r->v->more;
	struct sk_cred c;

	if (!more || !more->has_pid)
		return send_run(r);
	c = (struct sk_cred){ 0, (pid_t)more->pid, more->uid, more->gid, r->s->core->task_by_vpid(r->s, more->pid) != NULL };
	return late && c.in_tree ? send_run(r) : creds_send(r->s, &c, send_run, r);
}

/* With the name of the sender; r->fd is what there is without. 0, 1: it cannot have that name, or -errno. */
static int send_named(struct run *r, const struct usk *u, int target, int late)
{
	const ProtobufCBinaryData *name = &r->v->more->name;
	const struct usk *own = name->data[0] ? NULL : sender_in_tree(r->s, name);
	_cleanup_fd_ int fd = -1, node = -1;
	int err;

	if (has_name(r->fd, name))
		return send_as(r, late);
	if (!u->e->name.len)
		return 1;
	if (own && r->s->core->file_fd(own->f) >= 0) {
		r->fd = r->s->core->file_fd(own->f);
		node = name_address(r->s, target, u->e, &r->address, &r->to_len);
		r->to = &r->address;
		err = node < -1 ? node : send_as(r, late);
	} else {
		fd = make_sender(r->s, u, target, name);
		r->fd = fd;
		if (fd >= 0)
			enlarge(u, fd);
		err = fd < 0 ? 1 : send_as(r, late);
	}
	return err == -EPERM || err == -EPIPE || err == -ENOTCONN ? 1 : err;
}

static size_t run_length(const struct usk *u, size_t from)
{
	size_t n = 1;

	while (from + n < u->nqueue && same_sender(&u->queue[from], &u->queue[from + n]))
		n++;
	return n;
}

int sender_fill(struct cr_session *s, const struct usk *u, int wfd, int target, int late)
{
	size_t nameless = 0, n;

	if (u->nqueue)
		enlarge(u, wfd);
	for (size_t i = 0; i < u->nqueue; i += n) {
		const struct packet *p = &u->queue[i];
		struct run r = { .s = s, .v = p, .n = run_length(u, i), .fd = wfd, .stream = u->e->type == SOCK_STREAM };
		int err;

		n = r.n;
		err = p->more && p->more->has_name ? send_named(&r, u, target, late) : send_as(&r, late);

		if (err > 0) {
			nameless += n;
			r.fd = wfd;
			r.to = NULL;
			r.to_len = 0;
			err = send_as(&r, late);
		}
		if (err < 0)
			return err;
	}
	if (nameless)
		cr_lost(s, u->f, "%zu unread datagrams of the unix socket %s have lost the name of their sender%s", nameless,
			unix_name_text(s, u->e->name.data, u->e->name.len),
			u->e->name.len ? " (keeping it needs CAP_SYS_CHROOT, or its name is another one's now)" : "");
	return 0;
}
