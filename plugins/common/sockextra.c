/* SPDX-License-Identifier: MIT */
/* sockextra.c: options that no message has a field for. See sock.h. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "sk-extra.pb-c.h"
#include "sock.h"
#include "util.h"

#define VALUE_MAX 256
#define LIST_MAX 128

/* Numbers that older headers lack. */
#define OPT_SO_TXTIME 61
#define OPT_SO_PREFER_BUSY_POLL 69
#define OPT_SO_BUSY_POLL_BUDGET 70
#define OPT_SO_TXREHASH 74
#define OPT_SO_RCVMARK 75
#define OPT_SO_RCVPRIORITY 82
#define OPT_SO_TIMESTAMP_NEW 63
#define OPT_SO_TIMESTAMPNS_NEW 64
#define OPT_SO_TIMESTAMPING_NEW 65

const struct sock_extra sock_extra_common[] = {
	{ SOL_SOCKET, SO_TIMESTAMP, 4 },
	{ SOL_SOCKET, SO_TIMESTAMPNS, 4 },
	{ SOL_SOCKET, SO_TIMESTAMPING, 4 },
	/* behind those of old: they tell in which form */
	{ SOL_SOCKET, OPT_SO_TIMESTAMP_NEW, 4 },
	{ SOL_SOCKET, OPT_SO_TIMESTAMPNS_NEW, 4 },
	{ SOL_SOCKET, OPT_SO_TIMESTAMPING_NEW, 4 },
	{ SOL_SOCKET, OPT_SO_TXTIME, 8 },
	{ SOL_SOCKET, OPT_SO_PREFER_BUSY_POLL, 4 },
	{ SOL_SOCKET, OPT_SO_BUSY_POLL_BUDGET, 4 },
	{ SOL_SOCKET, OPT_SO_TXREHASH, 4 },
	{ SOL_SOCKET, OPT_SO_RCVMARK, 4 },
	{ SOL_SOCKET, OPT_SO_RCVPRIORITY, 4 },
	{ SOL_SOCKET, SO_WIFI_STATUS, 4 },
	{ SOL_SOCKET, SO_NOFCS, 4 },
	{ SOL_SOCKET, SO_ZEROCOPY, 4 },
	{ SOL_SOCKET, SO_RXQ_OVFL, 4 },
	{ SOL_SOCKET, SO_BUSY_POLL, 4 },
	{ SOL_SOCKET, SO_SELECT_ERR_QUEUE, 4 },
	{ SOL_SOCKET, SO_MAX_PACING_RATE, 8 },
	{ SOL_SOCKET, SO_LOCK_FILTER, 4 },
	{ 0, 0, 0 },
};

struct sock_extra_image {
	SkExtraEntry **v;
	size_t n;
};

static int get(int fd, const struct sock_extra *o, unsigned char *value, size_t *ret_len)
{
	socklen_t len = o->len ? o->len : VALUE_MAX;

	memset(value, 0, VALUE_MAX);
	if (getsockopt(fd, o->level, o->name, value, &len) || len > VALUE_MAX)
		return -1;
	*ret_len = o->len ? len : strnlen((char *)value, len);
	return 0;
}

/* Does the value of fd, now in value, differ from that of fresh? */
static int differs(int fd, int fresh, const struct sock_extra *o, unsigned char *value, size_t *ret_len)
{
	unsigned char other[VALUE_MAX];
	size_t n;

	if (get(fd, o, value, ret_len) || get(fresh, o, other, &n))
		return 0;
	return n != *ret_len || memcmp(value, other, n);
}

int sock_extra_dump(struct cr_session *s, const struct cr_img_type *type, struct cr_file *f, int fd, int fresh,
		    const struct sock_extra *list)
{
	SkExtraOption opts[LIST_MAX], *refs[LIST_MAX];
	unsigned char values[LIST_MAX][VALUE_MAX];
	SkExtraEntry e = SK_EXTRA_ENTRY__INIT;
	size_t n = 0, len;

	for (; (list->level || list->name) && n < LIST_MAX; list++) {
		if (!differs(fd, fresh, list, values[n], &len))
			continue;
		sk_extra_option__init(&opts[n]);
		opts[n].level = list->level;
		opts[n].name = list->name;
		opts[n].value.data = values[n];
		opts[n].value.len = len;
		refs[n] = &opts[n];
		n++;
	}
	if (!n)
		return 0;
	e.id = s->core->file_id(f);
	e.option = refs;
	e.n_option = n;
	return common_append(s, type, CR_IMG_NO_ID, &e.base);
}

int sock_extra_load(struct cr_session *s, const struct cr_img_type *type, struct sock_extra_image **ret)
{
	struct sock_extra_image *image = s->core->alloc(s, sizeof(*image));
	VEC(SkExtraEntry *) list = { 0 };
	struct cr_reader *r;
	const void *data;
	size_t len;
	int err = s->core->img_open(s, type, CR_IMG_NO_ID, &r);

	*ret = image;
	if (err < 0)
		return err == -ENOENT ? 0 : err;
	while ((err = s->core->img_next(r, &data, &len)) > 0) {
		SkExtraEntry *e = common_load(s, &sk_extra_entry__descriptor, data, len);

		if (!e) {
			err = -EPROTO;
			break;
		}
		*vec_push(&list) = e;
	}
	s->core->img_close(r);
	image->n = list.n;
	image->v = list.n ? s->core->alloc(s, list.n * sizeof(*list.v)) : NULL;
	if (list.n)
		memcpy(image->v, list.v, list.n * sizeof(*list.v));
	vec_free(&list);
	return err;
}

static int is_listed(const struct sock_extra *const *lists, const SkExtraOption *o)
{
	for (; *lists; lists++)
		for (const struct sock_extra *k = *lists; k->level || k->name; k++)
			if ((uint32_t)k->level == o->level && (uint32_t)k->name == o->name &&
			    (k->len ? o->value.len <= k->len : o->value.len < VALUE_MAX))
				return 1;
	return 0;
}

static int is_lock(const SkExtraOption *o)
{
	return o->level == SOL_SOCKET && o->name == SO_LOCK_FILTER;
}

static int restore(struct cr_session *s, const struct sock_extra_image *image, struct cr_file *f, int fd,
		   const struct sock_extra *const *lists, int lock)
{
	for (size_t i = 0; i < image->n; i++) {
		const SkExtraEntry *e = image->v[i];

		for (size_t j = 0; e->id == s->core->file_id(f) && j < e->n_option; j++) {
			const SkExtraOption *o = e->option[j];

			if (is_lock(o) != lock)
				continue;
			if (!is_listed(lists, o))
				return cr_fail(s, EPROTO, "the image sets option %u of level %u, which this version does not "
					       "know", o->name, o->level);
			if (setsockopt(fd, o->level, o->name, o->value.data, o->value.len))
				return cr_fail(s, errno, "setting option %u of level %u of a socket: %s", o->name, o->level,
					       strerror(errno));
		}
	}
	return 0;
}

int sock_extra_restore(struct cr_session *s, const struct sock_extra_image *image, struct cr_file *f, int fd,
		       const struct sock_extra *const *lists)
{
	return restore(s, image, f, fd, lists, 0);
}

int sock_lock_restore(struct cr_session *s, const struct sock_extra_image *image, struct cr_file *f, int fd)
{
	static const struct sock_extra *const lists[] = { sock_extra_common, NULL };

	return restore(s, image, f, fd, lists, 1);
}

int sock_owner_dump(struct cr_session *s, const struct cr_img_type *type, struct cr_file *f, const struct stat *st)
{
	SkExtraEntry e = SK_EXTRA_ENTRY__INIT;

	if (!st->st_uid && !st->st_gid)
		return 0;
	e.id = s->core->file_id(f);
	e.has_uid = e.has_gid = 1;
	e.uid = st->st_uid;
	e.gid = st->st_gid;
	return common_append(s, type, CR_IMG_NO_ID, &e.base);
}

int sock_owner_restore(struct cr_session *s, const struct sock_extra_image *image, struct cr_file *f, int fd)
{
	for (size_t i = 0; i < image->n; i++) {
		const SkExtraEntry *e = image->v[i];
		struct stat st;

		if (e->id != s->core->file_id(f) || !e->has_uid || !e->has_gid)
			continue;
		if (fstat(fd, &st) || (st.st_uid == e->uid && st.st_gid == e->gid))
			continue;
		if (fchown(fd, e->uid, e->gid))
			return cr_fail(s, errno, "giving a socket to user %u, group %u (needs CAP_CHOWN): %s", e->uid, e->gid,
				       strerror(errno));
	}
	return 0;
}
