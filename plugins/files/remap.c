/* SPDX-License-Identifier: MIT */
/*
 * remap.c: remap-fpath.img, and the hard links that keep files alive.
 *
 * A file whose name was deleted while others are left gets one more hard link next to the
 * old name.  The link outlives a successful dump, since the image needs it; the undo
 * journal takes it away when the dump fails.  Restore gives the file its old name
 * for a moment, so that /proc shows it as before, opens it, and removes the link once
 * the whole restore has succeeded: until then it can be repeated.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "reg.h"

#define LINK_PREFIX "link_remap."
#define OLD_GHOST_BIT 0x80000000u /* in remap_id of images that have no remap_type */

/* ---- dump ---- */

int remap_append(struct cr_session *s, uint32_t orig_id, uint32_t target, RemapType type)
{
	RemapFilePathEntry e;

	remap_file_path_entry__init(&e);
	e.orig_id = orig_id;
	e.remap_id = target;
	e.has_remap_type = 1;
	e.remap_type = type;
	return common_append(s, &reg_img_remap, CR_IMG_NO_ID, &e.base);
}

int remap_is_link(struct cr_session *s, struct cr_file *f)
{
	struct reg_state *st = reg_state(s);

	for (size_t i = 0; i < st->links.n; i++)
		if (st->links.v[i].file_id == s->core->file_id(f))
			return 1;
	return 0;
}

/* The nearest directory above name that exists; descriptor or -errno. */
static int open_parent(struct cr_session *s, const char *name)
{
	char *dir = common_strdup(s, name);
	char *slash;
	int fd = -ENOENT;

	while ((slash = strrchr(dir, '/'))) {
		slash[slash == dir] = 0;
		fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (fd >= 0 || errno != ENOENT || slash == dir)
			break;
	}
	return fd >= 0 ? fd : -errno;
}

static int make_link(struct cr_session *s, int dirfd, int lfd, const char *leaf, const struct reg_where *w)
{
	char self[32];
	int err;

	snprintf(self, sizeof(self), "/proc/self/fd/%d", lfd);
	err = s->core->undo(s, CR_UNDO_UNLINK, dirfd, leaf, 0);
	if (err)
		return err;
	if (linkat(AT_FDCWD, self, dirfd, leaf, AT_SYMLINK_FOLLOW) == 0)
		return 0;
	err = errno;
	return cr_refuse(s, NULL, "no hard link of the deleted file %s can be made near its old name: %s",
			 common_quote(s, w->name), strerror(err));
}

/* Makes the link and a file object that holds its path. */
static int new_link(struct cr_session *s, int lfd, const struct reg_where *w, const struct cr_file_info *info,
		    uint32_t *ret_id)
{
	struct reg_state *st = reg_state(s);
	_cleanup_fd_ int dirfd = open_parent(s, w->name);
	_cleanup_fd_ int fd = -1;
	struct cr_file *obj;
	uint32_t salt = 0;
	char leaf[64];
	int err;

	if (dirfd < 0)
		return cr_fail(s, -dirfd, "opening the directory of %s: %s", common_quote(s, w->name), strerror(-dirfd));
	/* never the name of another file, not even one that a dump at our side makes now */
	if (getrandom(&salt, sizeof(salt), 0) != sizeof(salt))
		return cr_fail(s, errno, "getrandom: %s", strerror(errno));
	snprintf(leaf, sizeof(leaf), LINK_PREFIX "%lu.%08x", (unsigned long)w->st.st_ino, salt);
	err = make_link(s, dirfd, lfd, leaf, w);
	if (err)
		return err;
	fd = openat(dirfd, leaf, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return cr_fail(s, errno, "opening the hard link %s: %s", leaf, strerror(errno));
	err = s->core->file_collect(s, info->task, fd, &obj);
	if (err)
		return err;
	*ret_id = s->core->file_id(obj);
	*vec_push(&st->links) = (struct reg_link){ w->st.st_dev, w->st.st_ino, *ret_id };
	return 0;
}

int remap_link_dump(struct cr_session *s, struct cr_file *f, int lfd, const struct reg_where *w,
		    const struct cr_file_info *info)
{
	struct reg_state *st = reg_state(s);
	uint32_t id = 0;
	int err;

	for (size_t i = 0; i < st->links.n; i++)
		if (st->links.v[i].dev == w->st.st_dev && st->links.v[i].ino == w->st.st_ino)
			id = st->links.v[i].file_id;
	if (!id) {
		err = new_link(s, lfd, w, info, &id);
		if (err)
			return err;
	}
	return remap_append(s, s->core->file_id(f), id, REMAP_TYPE__LINKED);
}

/* ---- restore ---- */

static int read_remaps(struct cr_session *s)
{
	struct reg_state *st = reg_state(s);
	RemapFilePathEntry *e;
	struct cr_reader *r;
	int ret;

	if (st->remaps_read)
		return 0;
	st->remaps_read = 1;
	ret = s->core->img_open(s, &reg_img_remap, CR_IMG_NO_ID, &r);
	if (ret)
		return ret == -ENOENT ? 0 : ret;
	while ((ret = common_next(s, r, &remap_file_path_entry__descriptor, (void **)&e)) == 1) {
		struct reg_remap m = { e->orig_id, e->remap_id, e->remap_type };

		if (!e->has_remap_type && (m.target & OLD_GHOST_BIT))
			m.type = REMAP_TYPE__GHOST;
		if (m.type == REMAP_TYPE__GHOST)
			m.target &= ~OLD_GHOST_BIT;
		if (m.type != REMAP_TYPE__GHOST && m.type != REMAP_TYPE__LINKED && m.type != REMAP_TYPE__PROCFS)
			ret = cr_fail(s, EPROTO, "remap-fpath.img: file %u has the unknown type %d", m.orig_id, m.type);
		else
			*vec_push(&st->remaps) = m;
		common_free_msg(e);
		if (ret < 0)
			break;
	}
	s->core->img_close(r);
	return ret;
}

/* Opens the inode of link under name, which it gets for a moment.  Descriptor, or -1: not possible. */
static int open_as(const char *link, const char *name, const struct stat *st)
{
	struct stat now;
	int fd;

	if (linkat(AT_FDCWD, link, AT_FDCWD, name, 0))
		return -1;
	fd = open(name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (lstat(name, &now) == 0 && common_same_inode(&now, st))
		unlink(name);
	if (fd >= 0 && (fstat(fd, &now) || !common_same_inode(&now, st))) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* The file object with the path of a hard link; NULL, recorded: there is none. */
static RegFileEntry *link_entry(struct cr_session *s, uint32_t target)
{
	struct cr_file *obj = s->core->file_by_id(s, target);
	RegFileEntry *e = obj ? reg_entry(s, obj) : NULL;

	if (!e)
		cr_fail(s, EPROTO, "remap-fpath.img names file %u, which is not a regular file of the images", target);
	return e;
}

/* The hard link itself, O_PATH; name is that of the deleted file. */
static int open_link(struct cr_session *s, const RegFileEntry *e, const char *name)
{
	int fd = open(e->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	return cr_fail(s, errno, "the hard link %s, which the dump made for the deleted file %s: %s",
		       common_quote(s, e->name), common_quote(s, name), strerror(errno));
}

static int find_linked(struct cr_session *s, uint32_t target, const char *name, int *ret_fd)
{
	struct reg_state *st = reg_state(s);
	RegFileEntry *e;
	struct stat sb;
	int fd, named;

	for (size_t i = 0; i < st->linked.n; i++)
		if (st->linked.v[i].target == target) {
			*ret_fd = st->linked.v[i].fd;
			return 0;
		}
	e = link_entry(s, target);
	fd = e ? open_link(s, e, name) : -EPROTO;
	if (fd < 0)
		return fd;
	if (fstat(fd, &sb) == 0) {
		named = open_as(e->name, name, &sb);
		if (named >= 0) {
			close(fd);
			fd = named;
		}
	}
	*vec_push(&st->linked) = (struct reg_linked){ target, e->name, fd };
	*ret_fd = fd;
	return 0;
}

static int find_ghost(struct cr_session *s, uint32_t id, int *ret_fd)
{
	int err = ghosts_revive(s);

	if (err)
		return err;
	*ret_fd = ghost_fd(s, id);
	return *ret_fd < 0 ? cr_fail(s, EPROTO, "deleted file %#x is not in the images", id) : 0;
}

int remap_check(struct cr_session *s, struct cr_file *f)
{
	struct reg_state *st = reg_state(s);
	uint32_t id = s->core->file_id(f);
	int err = read_remaps(s);

	for (size_t i = 0; err == 0 && i < st->remaps.n; i++) {
		const struct reg_remap *m = &st->remaps.v[i];
		_cleanup_fd_ int fd = -1;
		RegFileEntry *e;

		if (m->orig_id != id)
			continue;
		if (m->type != REMAP_TYPE__LINKED)
			return 1;
		e = link_entry(s, m->target);
		fd = e ? open_link(s, e, reg_entry(s, f)->name) : -EPROTO;
		return fd < 0 ? fd : 1;
	}
	return err;
}

int remap_find(struct cr_session *s, struct cr_file *f, int *ret_fd, RemapType *ret_type)
{
	struct reg_state *st = reg_state(s);
	uint32_t id = s->core->file_id(f);
	int err = read_remaps(s);

	for (size_t i = 0; err == 0 && i < st->remaps.n; i++) {
		const struct reg_remap *m = &st->remaps.v[i];

		if (m->orig_id != id)
			continue;
		*ret_type = m->type;
		if (m->type == REMAP_TYPE__GHOST)
			err = find_ghost(s, m->target, ret_fd);
		else if (m->type == REMAP_TYPE__LINKED)
			err = find_linked(s, m->target, reg_entry(s, f)->name, ret_fd);
		else
			*ret_fd = -1;
		return err ? err : 1;
	}
	return err;
}

/* Only what has a dump's name, and still is that inode. */
static int is_our_link(const struct reg_linked *l)
{
	struct stat a, b;

	return strncmp(strrchr(l->path, '/'), "/" LINK_PREFIX, sizeof(LINK_PREFIX)) == 0 &&
	       fstat(l->fd, &a) == 0 && lstat(l->path, &b) == 0 && common_same_inode(&a, &b);
}

void remap_done(struct cr_session *s, int error)
{
	struct reg_state *st = reg_state(s);

	for (size_t i = 0; i < st->linked.n; i++) {
		struct reg_linked *l = &st->linked.v[i];

		if (!error && st->restored && is_our_link(l) && unlink(l->path))
			cr_warn(s, "removing the hard link %s: %s", common_quote(s, l->path), strerror(errno));
		close(l->fd);
	}
	for (size_t i = 0; i < st->ghosts.n; i++)
		cleanup_fd(&st->ghosts.v[i].fd);
	ghost_more_free(st);
	vec_free(&st->linked);
	vec_free(&st->ghosts);
	vec_free(&st->remaps);
	vec_free(&st->links);
}
