/* SPDX-License-Identifier: MIT */
/* diag.c: all unix sockets of the network namespace, from sock_diag(7). See unix.h. */
#include "unix.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define ANSWER_BYTES (256 * 1024)

static int by_ino(const void *a, const void *b)
{
	const struct sk_fact *x = a, *y = b;

	return (x->ino > y->ino) - (x->ino < y->ino);
}

static void take_name(struct sk_fact *k, const void *data, size_t len)
{
	k->name_len = MIN_OF(len, sizeof(k->name));
	memcpy(k->name, data, k->name_len);
}

static void take_icons(struct sk_fact *k, const void *data, size_t len)
{
	free(k->icons);
	k->nicons = len / sizeof(uint32_t);
	k->icons = xcalloc(k->nicons + 1, sizeof(uint32_t));
	memcpy(k->icons, data, k->nicons * sizeof(uint32_t));
}

static void take_attr(struct sk_fact *k, const struct rtattr *a)
{
	const void *data = RTA_DATA(a);
	size_t len = RTA_PAYLOAD(a);
	struct unix_diag_vfs vfs;
	struct unix_diag_rqlen rq;

	if (a->rta_type == UNIX_DIAG_NAME) {
		take_name(k, data, len);
	} else if (a->rta_type == UNIX_DIAG_ICONS) {
		take_icons(k, data, len);
	} else if (a->rta_type == UNIX_DIAG_VFS && len >= sizeof(vfs)) {
		memcpy(&vfs, data, sizeof(vfs));
		k->has_vfs = 1;
		k->vfs_ino = vfs.udiag_vfs_ino;
		k->vfs_dev = vfs.udiag_vfs_dev;
	} else if (a->rta_type == UNIX_DIAG_PEER && len >= 4) {
		k->has_peer = 1;
		memcpy(&k->peer, data, 4);
	} else if (a->rta_type == UNIX_DIAG_RQLEN && len >= sizeof(rq)) {
		memcpy(&rq, data, sizeof(rq));
		k->rqueue = rq.udiag_rqueue;
		k->wqueue = rq.udiag_wqueue;
	} else if (a->rta_type == UNIX_DIAG_SHUTDOWN && len >= 1) {
		k->shutdown = *(const uint8_t *)data & 3;
	}
}

static void take_socket(struct unix_state *st, const struct nlmsghdr *h)
{
	const struct unix_diag_msg *m = NLMSG_DATA(h);
	struct sk_fact *k = vec_push(&st->facts);
	int len = h->nlmsg_len - NLMSG_LENGTH(sizeof(*m));

	k->ino = m->udiag_ino;
	k->type = m->udiag_type;
	k->state = m->udiag_state;
	for (const struct rtattr *a = (const void *)(m + 1); RTA_OK(a, len); a = RTA_NEXT(a, len))
		take_attr(k, a);
}

/* 1: more to come, 0: the end, -errno. */
static int take_answer(struct unix_state *st, const void *buf, ssize_t n)
{
	for (const struct nlmsghdr *h = buf; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
		if (h->nlmsg_type == NLMSG_DONE)
			return 0;
		if (h->nlmsg_type == NLMSG_ERROR) {
			int error = h->nlmsg_len >= NLMSG_LENGTH(sizeof(struct nlmsgerr)) ?
					    ((const struct nlmsgerr *)NLMSG_DATA(h))->error : -EIO;

			return error < 0 ? error : -EIO;
		}
		if (h->nlmsg_type == SOCK_DIAG_BY_FAMILY && h->nlmsg_len >= NLMSG_LENGTH(sizeof(struct unix_diag_msg)))
			take_socket(st, h);
	}
	return 1;
}

static int read_list(struct unix_state *st)
{
	_cleanup_fd_ int sk = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	_cleanup_free_ char *buf = xcalloc(1, ANSWER_BYTES);
	struct {
		struct nlmsghdr h;
		struct unix_diag_req q;
	} req = {
		.h = { .nlmsg_len = sizeof(req), .nlmsg_type = SOCK_DIAG_BY_FAMILY,
		       .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP, .nlmsg_seq = 1 },
		.q = { .sdiag_family = AF_UNIX, .udiag_states = ~0u,
		       .udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_VFS | UDIAG_SHOW_PEER | UDIAG_SHOW_ICONS |
				     UDIAG_SHOW_RQLEN },
	};
	int ret = 1;

	if (sk < 0 || send(sk, &req, sizeof(req), 0) < 0)
		return -errno;
	while (ret > 0) {
		ssize_t n = recv(sk, buf, ANSWER_BYTES, 0);

		if (n < 0 && errno == EINTR)
			continue;
		ret = n < 0 ? -errno : n == 0 ? 0 : take_answer(st, buf, n);
	}
	return ret;
}

int diag_read(struct cr_session *s)
{
	struct unix_state *st = unix_state(s);
	int err;

	if (st->have_facts)
		return 0;
	st->have_facts = 1;
	err = read_list(st);
	if (err < 0)
		return cr_fail(s, -err, "the kernel does not list its unix sockets: %s; it needs CONFIG_UNIX_DIAG "
			       "(modprobe unix_diag)", strerror(-err));
	if (st->facts.n)
		qsort(st->facts.v, st->facts.n, sizeof(*st->facts.v), by_ino);
	return 0;
}

const struct sk_fact *diag_find(struct cr_session *s, uint32_t ino)
{
	struct unix_state *st = unix_state(s);
	const struct sk_fact key = { .ino = ino };

	if (!ino || !st->facts.n)
		return NULL;
	return bsearch(&key, st->facts.v, st->facts.n, sizeof(key), by_ino);
}

const struct sk_fact *diag_listener_of(struct cr_session *s, uint32_t client)
{
	struct unix_state *st = unix_state(s);

	for (size_t i = 0; i < st->facts.n; i++)
		for (uint32_t j = 0; j < st->facts.v[i].nicons; j++)
			if (st->facts.v[i].icons[j] == client)
				return &st->facts.v[i];
	return NULL;
}

int diag_bound(struct cr_session *s, const struct stat *st)
{
	struct unix_state *us = unix_state(s);
	uint32_t dev = major(st->st_dev) << 20 | minor(st->st_dev);

	for (size_t i = 0; i < us->facts.n; i++)
		if (us->facts.v[i].has_vfs && us->facts.v[i].vfs_ino == (uint32_t)st->st_ino &&
		    us->facts.v[i].vfs_dev == dev)
			return 1;
	return 0;
}

const char *unix_name_text(struct cr_session *s, const void *name, size_t len)
{
	char *text = s->core->alloc(s, len + 2);

	if (!len)
		return "(no name)";
	memcpy(text, name, len);
	if (!text[0]) {
		text[0] = '@';
		for (size_t i = 1; i < len; i++)
			if (!text[i])
				text[i] = '@';
	}
	return common_quote(s, text);
}
