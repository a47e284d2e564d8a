/* SPDX-License-Identifier: MIT */
/*
 * revive.c: deleted files come into being again.
 *
 * All of them are made in one go, in the order of their names, so that a deleted directory
 * is there before what was deleted inside it; directories that are missing and
 * not in the images are made for the moment.  Each inode is created under its old name, or
 * under another one beside it when that name is taken, so that an existing file is never
 * touched.  Only O_PATH descriptors stay; files open them again through /proc/self/fd and so
 * show the old name with " (deleted)".  Names go away at once, directories at the end,
 * innermost first.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "reg.h"

/* A directory that was made and is to be removed again. */
struct made_dir {
	int parent; /* O_PATH */
	char name[256];
	struct stat st;
};
typedef VEC(struct made_dir) made_dirs;

/* ---- where ---- */

static void note_dir(made_dirs *made, int parent, const char *name)
{
	struct made_dir m = { .parent = fcntl(parent, F_DUPFD_CLOEXEC, 0) };

	snprintf(m.name, sizeof(m.name), "%s", name);
	if (m.parent >= 0 && fstatat(parent, name, &m.st, AT_SYMLINK_NOFOLLOW) == 0)
		*vec_push(made) = m;
	else
		cleanup_fd(&m.parent);
}

static void remove_made(struct cr_session *s, made_dirs *made)
{
	while (made->n) {
		struct made_dir *m = &made->v[--made->n];
		struct stat now;

		if (fstatat(m->parent, m->name, &now, AT_SYMLINK_NOFOLLOW) == 0 &&
		    common_same_inode(&now, &m->st) && unlinkat(m->parent, m->name, AT_REMOVEDIR))
			cr_warn(s, "removing the temporary directory %s: %s", common_quote(s, m->name),
				strerror(errno));
		close(m->parent);
	}
	vec_free(made);
}

/*
 * The directory for path, missing ones made; or, where that cannot be, the nearest one that
 * exists.  Descriptor or -errno; *ret_exact tells which of the two.
 */
static int open_parent(const char *path, char *scratch, made_dirs *made, int *ret_exact)
{
	int dir = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char *p = strcpy(scratch, path) + 1, *slash;

	*ret_exact = 1;
	for (; dir >= 0 && (slash = strchr(p, '/')); p = slash + 1) {
		int next;

		*slash = 0;
		if (!*p)
			continue;
		next = openat(dir, p, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (next < 0 && errno == ENOENT && mkdirat(dir, p, 0700) == 0) {
			note_dir(made, dir, p);
			next = openat(dir, p, O_PATH | O_DIRECTORY | O_CLOEXEC);
		}
		if (next < 0) {
			*ret_exact = 0;
			return dir;
		}
		close(dir);
		dir = next;
	}
	return dir < 0 ? -errno : dir;
}

static int usable_leaf(const char *leaf)
{
	return *leaf && strcmp(leaf, ".") && strcmp(leaf, "..") && strlen(leaf) < 256;
}

/* ---- what ---- */

/* Creates an empty inode of e's type; never opens or replaces what is there.  0 or -errno. */
static int create_inode(int dir, const char *leaf, const GhostFileEntry *e)
{
	int fd;

	switch (e->mode & S_IFMT) {
	case S_IFREG:
		fd = openat(dir, leaf, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd < 0)
			return -errno;
		close(fd);
		return 0;
	case S_IFDIR:
		return mkdirat(dir, leaf, 0700) ? -errno : 0;
	case S_IFLNK:
		return symlinkat(e->symlnk_target ? e->symlnk_target : "", dir, leaf) ? -errno : 0;
	case S_IFIFO:
	case S_IFCHR:
	case S_IFBLK:
		return mknodat(dir, leaf, (e->mode & S_IFMT) | 0600, e->has_rdev ? e->rdev : 0) ? -errno : 0;
	default:
		return -EPROTO;
	}
}

static int fill_chunks(struct cr_session *s, struct cr_reader *r, int fd, uint64_t size)
{
	GhostChunkEntry *c;
	int ret;

	while ((ret = common_next(s, r, &ghost_chunk_entry__descriptor, (void **)&c)) == 1) {
		uint64_t off = c->off, len = c->len;

		common_free_msg(c);
		if (len > size || off > size - len)
			return cr_fail(s, EPROTO, "a piece of a deleted file lies outside of its %llu bytes",
				       (unsigned long long)size);
		ret = s->core->img_extra_fd(r, fd, off, len);
		if (ret)
			return ret;
	}
	return ret;
}

/* Contents of a regular file, from r, which stands behind the ghost_file_entry. */
static int fill_file(struct cr_session *s, struct cr_reader *r, int pathfd, const GhostFileEntry *e)
{
	uint64_t left = s->core->img_left(r), size = e->has_size ? e->size : left;
	_cleanup_fd_ int fd = -1;

	if ((e->mode & S_IFMT) != S_IFREG)
		return 0;
	fd = common_reopen(pathfd, O_RDWR);
	if (fd < 0)
		return cr_fail(s, -fd, "opening a file that is made again: %s", strerror(-fd));
	if (size > INT64_MAX)
		return cr_fail(s, EPROTO, "a deleted file of %llu bytes", (unsigned long long)size);
	if (ftruncate(fd, size))
		return cr_fail(s, errno, "making a deleted file of %llu bytes again: %s", (unsigned long long)size,
			       strerror(errno));
	if (e->has_chunks && e->chunks)
		return fill_chunks(s, r, fd, size);
	if (left > size)
		return cr_fail(s, EPROTO, "a deleted file of %llu bytes has %llu in the images",
			       (unsigned long long)size, (unsigned long long)left);
	return left ? s->core->img_extra_fd(r, fd, 0, left) : 0;
}

/* Owner, mode, extended attributes and times of g's inode. */
static int set_attributes(struct cr_session *s, const struct reg_ghost *g)
{
	const GhostFileEntry *e = g->e;
	int fd = g->fd;
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_nsec = UTIME_OMIT } };
	char self[32];

	if (e->atim)
		times[0] = (struct timespec){ e->atim->tv_sec, e->atim->tv_usec % 1000000 * 1000 };
	if (e->mtim)
		times[1] = (struct timespec){ e->mtim->tv_sec, e->mtim->tv_usec % 1000000 * 1000 };
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	if (fchownat(fd, "", e->uid, e->gid, AT_EMPTY_PATH))
		return cr_fail(s, errno, "giving a file that is made again to %u:%u (needs CAP_CHOWN): %s", e->uid, e->gid,
			       strerror(errno));
	if (!S_ISLNK(e->mode) && chmod(self, e->mode & 07777))
		return cr_fail(s, errno, "setting mode %o of a file that is made again (needs CAP_FOWNER): %s", e->mode & 07777,
			       strerror(errno));
	ghost_more_apply(s, g->id, self, times);
	/* a descriptor of the link itself needs AT_EMPTY_PATH, Linux 5.8 */
	if (S_ISLNK(e->mode) ? utimensat(fd, "", times, AT_EMPTY_PATH) : utimensat(AT_FDCWD, self, times, 0))
		cr_lost(s, NULL, "setting the times of a file that is made again: %s", strerror(errno));
	return 0;
}

/* ---- one ghost ---- */

/* Made with O_TMPFILE: the kernel calls such a file "#<inode>". */
static int is_tmpfile(const struct reg_ghost *g, const char *leaf)
{
	char name[32];

	snprintf(name, sizeof(name), "#%llu", (unsigned long long)g->e->ino);
	return g->tmpfile || (g->e->has_ino && !strcmp(leaf, name));
}

/* An inode without any name, which linkat(2) accepts later as it did the original. -1: not here. */
static int create_tmpfile(int dir, const GhostFileEntry *e)
{
	_cleanup_fd_ int fd = -1;

	if ((e->mode & S_IFMT) != S_IFREG)
		return -1;
	fd = openat(dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	return fd < 0 ? -1 : common_reopen(fd, O_PATH);
}

/* Creates g's inode in dir, opens it as g->fd and takes the name away, but a directory's. */
static int create_named(struct cr_session *s, struct reg_ghost *g, int dir, const char *leaf, int exact,
			made_dirs *made)
{
	char other[48];
	uint32_t salt;
	int err = -EEXIST;

	if (is_tmpfile(g, leaf)) {
		g->fd = create_tmpfile(dir, g->e);
		if (g->fd >= 0)
			return 0;
	}
	if (exact && usable_leaf(leaf))
		err = create_inode(dir, leaf, g->e);
	for (int i = 0; i < 8 && err == -EEXIST; i++) {
		if (getrandom(&salt, sizeof(salt), 0) != sizeof(salt))
			break;
		snprintf(other, sizeof(other), ".stasis-ghost-%x.%08x", g->id, salt);
		leaf = other;
		err = create_inode(dir, leaf, g->e);
	}
	if (err)
		return cr_fail(s, -err, "making the deleted file %s again, for a moment: %s",
			       common_quote(s, g->name), strerror(-err));
	g->fd = openat(dir, leaf, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	err = g->fd < 0 ? -errno : 0;
	if (S_ISDIR(g->e->mode))
		note_dir(made, dir, leaf);
	else
		unlinkat(dir, leaf, 0);
	return err ? cr_fail(s, -err, "opening %s: %s", common_quote(s, leaf), strerror(-err)) : 0;
}

static int revive(struct cr_session *s, struct reg_ghost *g, struct cr_reader *r, made_dirs *made)
{
	_cleanup_free_ char *scratch = xcalloc(1, strlen(g->name) + 1);
	_cleanup_fd_ int dir = -1;
	int exact, err;

	dir = open_parent(g->name, scratch, made, &exact);
	if (dir < 0)
		return cr_fail(s, -dir, "opening the directory of %s: %s", common_quote(s, g->name), strerror(-dir));
	err = create_named(s, g, dir, strrchr(g->name, '/') + 1, exact, made);
	if (err == 0)
		err = fill_file(s, r, g->fd, g->e);
	/* a directory's times change as long as others come and go in it */
	if (err == 0 && !S_ISDIR(g->e->mode))
		err = set_attributes(s, g);
	return err;
}

static int read_and_revive(struct cr_session *s, struct reg_ghost *g, made_dirs *made)
{
	struct cr_reader *r;
	int ret = s->core->img_open(s, &reg_img_ghost, g->id, &r);

	if (ret)
		return ret == -ENOENT ? cr_fail(s, ENOENT, "ghost-file-%x.img is missing", g->id) : ret;
	ret = common_next(s, r, &ghost_file_entry__descriptor, (void **)&g->e);
	if (ret == 0)
		ret = cr_fail(s, EPROTO, "ghost-file-%x.img is empty", g->id);
	else if (ret == 1)
		ret = revive(s, g, r, made);
	s->core->img_close(r);
	return ret;
}

/* ---- all of them ---- */

static struct reg_ghost *ghost_by_id(struct reg_state *st, uint32_t id)
{
	for (size_t i = 0; i < st->ghosts.n; i++)
		if (st->ghosts.v[i].id == id)
			return &st->ghosts.v[i];
	return NULL;
}

static void list_ghosts(struct cr_session *s, struct reg_state *st)
{
	for (size_t i = 0; i < st->remaps.n; i++) {
		const struct reg_remap *m = &st->remaps.v[i];
		struct cr_file *f = m->type == REMAP_TYPE__GHOST ? s->core->file_by_id(s, m->orig_id) : NULL;
		RegFileEntry *e = f ? reg_entry(s, f) : NULL;
		struct reg_ghost *g;

		if (!e)
			continue;
		g = ghost_by_id(st, m->target);
		if (!g) {
			g = vec_push(&st->ghosts);
			*g = (struct reg_ghost){ .id = m->target, .name = e->name, .fd = -1 };
		}
		g->tmpfile |= (e->flags & O_TMPFILE) == O_TMPFILE;
	}
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct reg_ghost *)a)->name, ((const struct reg_ghost *)b)->name);
}

int ghosts_revive(struct cr_session *s)
{
	struct reg_state *st = reg_state(s);
	made_dirs made = { 0 };
	int err = 0;

	if (st->ghosts_made)
		return 0;
	st->ghosts_made = 1;
	list_ghosts(s, st);
	if (st->ghosts.n)
		err = ghost_more_read(s, st);
	if (st->ghosts.n)
		qsort(st->ghosts.v, st->ghosts.n, sizeof(*st->ghosts.v), by_name);
	for (size_t i = 0; i < st->ghosts.n && err == 0; i++)
		err = read_and_revive(s, &st->ghosts.v[i], &made);
	remove_made(s, &made);
	for (size_t i = 0; i < st->ghosts.n; i++) {
		struct reg_ghost *g = &st->ghosts.v[i];

		if (err == 0 && S_ISDIR(g->e->mode))
			err = set_attributes(s, g);
		common_free_msg(g->e);
		g->e = NULL;
	}
	return err;
}

int ghost_fd(struct cr_session *s, uint32_t id)
{
	struct reg_ghost *g = ghost_by_id(reg_state(s), id);

	return g ? g->fd : -1;
}
