/* SPDX-License-Identifier: MIT */
/*
 * ghostmore.c: what ghost_file_entry has no room for: extended attributes (access control lists are some of them)
 * and the nanoseconds of the times of a deleted file.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

#include "ghost-more.pb-c.h"
#include "reg.h"

#define XATTR_LIST_MOST 65536 /* XATTR_LIST_MAX and XATTR_SIZE_MAX of the kernel */
#define XATTR_VALUE_MOST 65536

struct xattrs {
	VEC(GhostXattrEntry *) v;
};

static void xattrs_free(struct xattrs *x)
{
	for (size_t i = 0; i < x->v.n; i++) {
		free(x->v.v[i]->name);
		free(x->v.v[i]->value.data);
		free(x->v.v[i]);
	}
	vec_free(&x->v);
}

static void add_xattr(struct xattrs *x, const char *name, const void *value, size_t len)
{
	GhostXattrEntry *e = xcalloc(1, sizeof(*e));

	ghost_xattr_entry__init(e);
	e->name = xstrdup(name);
	e->value.data = xcalloc(1, len + 1);
	e->value.len = len;
	memcpy(e->value.data, value, len);
	*vec_push(&x->v) = e;
}

/* All that path has and this user may see.  0 or -errno. */
static int read_xattrs(const char *path, struct xattrs *x)
{
	_cleanup_free_ char *list = xcalloc(1, XATTR_LIST_MOST + 1), *value = xcalloc(1, XATTR_VALUE_MOST);
	ssize_t len = listxattr(path, list, XATTR_LIST_MOST), n;

	if (len < 0)
		return errno == EOPNOTSUPP ? 0 : -errno;
	for (char *p = list; p < list + len; p += strlen(p) + 1) {
		n = getxattr(path, p, value, XATTR_VALUE_MOST);
		if (n < 0 && errno != ENODATA && errno != EOPNOTSUPP)
			return -errno;
		if (n >= 0)
			add_xattr(x, p, value, n);
	}
	return 0;
}

int ghost_more_dump(struct cr_session *s, uint32_t id, int lfd, const struct stat *st)
{
	GhostMoreEntry e = GHOST_MORE_ENTRY__INIT;
	struct xattrs x = { 0 };
	char self[32];
	int err;

	snprintf(self, sizeof(self), "/proc/self/fd/%d", lfd);
	err = read_xattrs(self, &x);
	if (err)
		err = cr_fail(s, -err, "reading the extended attributes of a deleted file: %s", strerror(-err));
	e.ghost_id = id;
	e.has_atim_nsec = e.has_mtim_nsec = 1;
	e.atim_nsec = st->st_atim.tv_nsec;
	e.mtim_nsec = st->st_mtim.tv_nsec;
	e.n_xattr = x.v.n;
	e.xattr = x.v.v;
	if (!err && (x.v.n || e.atim_nsec % 1000 || e.mtim_nsec % 1000))
		err = common_append(s, &reg_img_more, CR_IMG_NO_ID, &e.base);
	xattrs_free(&x);
	return err;
}

/* ---- restore ---- */

int ghost_more_read(struct cr_session *s, struct reg_state *st)
{
	struct cr_reader *r;
	void *m;
	int ret = s->core->img_open(s, &reg_img_more, CR_IMG_NO_ID, &r);

	if (ret)
		return ret == -ENOENT ? 0 : ret;
	while ((ret = common_next(s, r, &ghost_more_entry__descriptor, &m)) == 1)
		*vec_push(&st->more) = m;
	s->core->img_close(r);
	return ret;
}

void ghost_more_free(struct reg_state *st)
{
	for (size_t i = 0; i < st->more.n; i++)
		common_free_msg(st->more.v[i]);
	vec_free(&st->more);
}

void ghost_more_apply(struct cr_session *s, uint32_t id, const char *path, struct timespec times[2])
{
	struct reg_state *st = reg_state(s);
	const GhostMoreEntry *e = NULL;

	for (size_t i = 0; i < st->more.n && !e; i++)
		if (((GhostMoreEntry *)st->more.v[i])->ghost_id == id)
			e = st->more.v[i];
	if (!e)
		return;
	for (size_t i = 0; i < e->n_xattr; i++)
		if (setxattr(path, e->xattr[i]->name, e->xattr[i]->value.data, e->xattr[i]->value.len, 0))
			cr_warn(s, "the extended attribute %s of a deleted file cannot be set: %s",
				common_quote(s, e->xattr[i]->name), strerror(errno));
	if (e->has_atim_nsec && times[0].tv_nsec != UTIME_OMIT)
		times[0].tv_nsec = e->atim_nsec % 1000000000;
	if (e->has_mtim_nsec && times[1].tv_nsec != UTIME_OMIT)
		times[1].tv_nsec = e->mtim_nsec % 1000000000;
}
