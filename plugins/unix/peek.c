/* SPDX-License-Identifier: MIT */
/*
 * peek.c: what is in a receive queue, without taking it out.
 *
 * All queues are read before anything is dumped: a descriptor in a queue may be the other
 * end of a connection.  SO_PEEK_OFF makes peeking go on where the last peek has ended; the socket gets its
 * own value back.  A read of a stream ends behind a piece that has descriptors with it,
 * but not in front of one, and where that begins cannot be seen: so such a piece goes
 * back together with the bytes in front of it, as one read would bring them.  A descriptor
 * in a queue becomes a file object.
 *
 * With SO_PASSCRED the kernel tells who has sent a piece, if it has noted that, and a read of a stream ends where another
 * one has sent the next bytes.  With SO_OOBINLINE a read ends in front of a byte that was sent with MSG_OOB, and the next
 * one begins with it.
 */
#include "unix.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define TYPE_SCM_PIDFD 4     /* SCM_PIDFD, Linux 6.5 */
#define OPT_SO_PASSRIGHTS 83 /* Linux 6.16 */
#ifndef SIOCATMARK
#define SIOCATMARK 0x8905
#endif
#define ROOM_MIN (1024 * 1024)
#define ROOM_MAX (1024 * 1024 * 1024)

const struct cr_img_type unix_img_queues = { sizeof(unix_img_queues), "sk-queues", 0x56264026, 0 };
const struct cr_img_type unix_img_packets = { sizeof(unix_img_packets), "x-unix-packets", 0x58554e51, 0 };

struct peek {
	struct cr_session *s;
	struct cr_file *f;
	struct cr_task *t;
	char *room;
	size_t size;
	uint32_t rights[MAX_RIGHTS];
	size_t nrights;
	struct ucred cred; /* of the sender, pid 0: unknown */
};

/* ---- options that make the kernel tell more ---- */

static const struct {
	int name, value;
	int stream; /* only of streams */
} borrowed[] = {
	{ SO_PEEK_OFF, 0, 0 },
	{ SO_PASSCRED, 1, 0 },
	{ OPT_SO_PASSRIGHTS, 1, 0 },
	{ SO_OOBINLINE, 1, 1 },
};
struct loan {
	int old[ARRAY_SIZE(borrowed)], has[ARRAY_SIZE(borrowed)];
};

static int set_borrowed(struct cr_session *s, int fd, const struct loan *l, int back)
{
	int err = 0;

	for (size_t i = 0; i < ARRAY_SIZE(borrowed) && !err; i++)
		if (l->has[i])
			err = sock_set_int(s, fd, SOL_SOCKET, borrowed[i].name, back ? l->old[i] : borrowed[i].value,
					   "an option");
	return err;
}

/* They are the task's own: the record for its warden comes first. */
static int borrow(struct cr_session *s, int fd, int type, struct loan *l)
{
	_cleanup_buf_ struct buf b = { 0 };
	int err;

	for (size_t i = 0; i < ARRAY_SIZE(borrowed); i++) {
		socklen_t len = sizeof(l->old[i]);

		l->has[i] = (!borrowed[i].stream || type == SOCK_STREAM) &&
			    !getsockopt(fd, SOL_SOCKET, borrowed[i].name, &l->old[i], &len);
		if (l->has[i])
			buf_printf(&b, "%s%d %d %d", b.len ? " " : "", SOL_SOCKET, borrowed[i].name, l->old[i]);
	}
	/* always: it ends before the tree runs on, so that nothing is set after the program has set it anew */
	err = s->core->undo(s, CR_UNDO_SOCKOPT, fd, b.p, 1);
	return err < 0 ? err : set_borrowed(s, fd, l, 0);
}

/* ---- one packet ---- */

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
	memset(&p->cred, 0, sizeof(p->cred));
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level != SOL_SOCKET)
			continue;
		if (c->cmsg_type == SCM_RIGHTS) {
			int e = take_rights(p, c);

			err = err ? err : e;
		} else if (c->cmsg_type == SCM_CREDENTIALS && c->cmsg_len >= CMSG_LEN(sizeof(p->cred))) {
			memcpy(&p->cred, CMSG_DATA(c), sizeof(p->cred));
		} else if (c->cmsg_type == TYPE_SCM_PIDFD && c->cmsg_len >= CMSG_LEN(sizeof(int))) {
			memcpy(&fd, CMSG_DATA(c), sizeof(fd));
			close(fd);
		}
	}
	return err;
}

/* The name of the sender of a datagram. */
static void keep_name(struct peeked *k, const struct msghdr *m)
{
	const struct sockaddr_un *from = m->msg_name;
	size_t head = offsetof(struct sockaddr_un, sun_path);

	if (m->msg_namelen <= head)
		return;
	k->name_len = MIN_OF(m->msg_namelen - head, sizeof(k->name));
	memcpy(k->name, from->sun_path, k->name_len);
	if (k->name[0]) /* the kernel counts the zero behind a path */
		k->name_len = strnlen(k->name, k->name_len);
}

static void keep(struct peek *p, size_t len, const struct msghdr *m)
{
	struct peeked *k = vec_push(&unix_state(p->s)->peeked);

	memset(k, 0, sizeof(*k));
	k->id_for = p->s->core->file_id(p->f);
	k->len = len;
	k->data = xcalloc(1, len + 1);
	memcpy(k->data, p->room, len);
	k->nrights = p->nrights;
	k->rights = xcalloc(p->nrights + 1, sizeof(*k->rights));
	memcpy(k->rights, p->rights, p->nrights * sizeof(*k->rights));
	k->cred = p->cred;
	k->cred.pid = p->cred.pid > 0 ? creds_tree_pid(p->s, p->cred.pid) : 0;
	k->urgent = -1;
	keep_name(k, m);
}

/* 1, 0 at the end, -errno recorded. */
static int peek_one(struct peek *p, int lfd, const struct sk_fact *k)
{
	struct iovec iov = { p->room, p->size };
	union control control;
	struct sockaddr_un from;
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control),
			    .msg_name = &from, .msg_namelen = k->type == SOCK_DGRAM ? sizeof(from) : 0 };
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
	if (k->type != SOCK_DGRAM)
		m.msg_namelen = 0;
	keep(p, n, &m);
	return 1;
}

/* ---- urgent data ---- */

/* A byte sent with MSG_OOB that was not read; -1: none.  SO_OOBINLINE is set, before and after. */
static int urgent_byte(int fd)
{
	int off = 0, on = 1;
	unsigned char c;
	ssize_t n;

	if (setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &off, sizeof(off)))
		return -1;
	n = recv(fd, &c, 1, MSG_OOB | MSG_PEEK | MSG_DONTWAIT);
	setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on));
	return n == 1 ? c : -1;
}

/*
 * Which piece, of those from first on, begins with that byte because it is the urgent one?  A read also ends where
 * descriptors or another sender are, so a piece behind one that ended for no such reason comes first.
 */
static struct peeked *find_urgent(struct unix_state *st, size_t first, int fd, int byte)
{
	struct peeked *likely = NULL;
	int at_mark = 0;

	if (!ioctl(fd, SIOCATMARK, &at_mark) && at_mark)
		return first < st->peeked.n ? &st->peeked.v[first] : NULL;
	for (size_t i = first + 1; i < st->peeked.n; i++) {
		struct peeked *k = &st->peeked.v[i], *before = k - 1;

		if (!k->len || (unsigned char)k->data[0] != byte)
			continue;
		if (!before->nrights && !memcmp(&before->cred, &k->cred, sizeof(k->cred)))
			return k;
		likely = likely ? likely : k;
	}
	return likely;
}

static void take_urgent(struct unix_state *st, size_t first, int fd, int byte)
{
	struct peeked *k = find_urgent(st, first, fd, byte);

	if (!k || !k->len)
		return;
	k->urgent = byte;
	memmove(k->data, k->data + 1, --k->len);
}

/* ---- a queue ---- */

static int peek_all(struct peek *p, int lfd, const struct sk_fact *k)
{
	struct unix_state *st = unix_state(p->s);
	size_t first = st->peeked.n;
	struct loan loan;
	int ret = borrow(p->s, lfd, k->type, &loan), byte, err;

	if (ret < 0)
		return ret;
	byte = k->type == SOCK_STREAM ? urgent_byte(lfd) : -1;
	while ((ret = peek_one(p, lfd, k)) > 0)
		;
	if (!ret && byte >= 0)
		take_urgent(st, first, lfd, byte);
	err = set_borrowed(p->s, lfd, &loan, 1);
	return ret < 0 ? ret : err;
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

/* ---- images ---- */

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

/* Who has sent it, and an urgent byte in front of it. */
static int write_more(struct cr_session *s, const struct peeked *k, uint32_t index)
{
	UnixPacketEntry e = UNIX_PACKET_ENTRY__INIT;
	uint8_t byte = k->urgent >= 0 ? k->urgent : 0;

	e.id_for = k->id_for;
	e.index = index;
	e.has_name = k->name_len != 0;
	e.name = (ProtobufCBinaryData){ k->name_len, (uint8_t *)k->name };
	e.has_pid = e.has_uid = e.has_gid = k->cred.pid > 0;
	e.pid = k->cred.pid;
	e.uid = k->cred.uid;
	e.gid = k->cred.gid;
	e.has_urgent = k->urgent >= 0;
	e.urgent = (ProtobufCBinaryData){ 1, &byte };
	return e.has_name || e.has_pid || e.has_urgent ? common_append(s, &unix_img_packets, CR_IMG_NO_ID, &e.base) : 0;
}

int queue_dump(struct cr_session *s, struct cr_file *f, int lfd, const struct sk_fact *k, struct cr_task *t)
{
	struct unix_state *st = unix_state(s);
	int err = peek_queue(s, f, lfd, k, t); /* not yet read: another plugin has found the socket since */
	uint32_t index = 0;

	for (size_t i = 0; i < st->peeked.n && !err; i++) {
		const struct peeked *p = &st->peeked.v[i];

		if (p->id_for != s->core->file_id(f))
			continue;
		err = write_more(s, p, index);
		if (err || (!p->len && p->urgent >= 0)) /* nothing but the urgent byte */
			continue;
		err = write_packet(s, p);
		index++;
	}
	return err;
}
