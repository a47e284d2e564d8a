/* SPDX-License-Identifier: MIT */
/*
 * ghost.c: deleted files into images.
 *
 * An inode without a name is stored once, however many descriptions it has: as
 * ghost-file-<id>.img with its owner, mode and times, then the bytes of a regular
 * file: all of them, or, when there are holes, each stretch of data behind an entry
 * that says where it belongs.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "reg.h"

/* Next stretch of data at or behind *off: 1 with bounds, 0: none, -errno. */
static int next_data(int fd, uint64_t size, uint64_t *off, uint64_t *ret_end)
{
	off_t start, end;

	if (*off >= size)
		return 0;
	start = lseek(fd, *off, SEEK_DATA);
	if (start < 0 && errno == ENXIO)
		return 0;
	if (start < 0 && errno != EINVAL)
		return -errno;
	if (start < 0) { /* a file system that cannot tell: all is data */
		*ret_end = size;
		return 1;
	}
	if ((uint64_t)start >= size)
		return 0;
	end = lseek(fd, start, SEEK_HOLE);
	if (end <= start)
		return end < 0 ? -errno : -EIO;
	*off = start;
	*ret_end = MIN_OF((uint64_t)end, size);
	return 1;
}

static int data_bytes(int fd, uint64_t size, uint64_t *ret_bytes)
{
	uint64_t off = 0, end, sum = 0;
	int ret;

	while ((ret = next_data(fd, size, &off, &end)) == 1) {
		sum += end - off;
		off = end;
	}
	if (ret == 0)
		*ret_bytes = sum;
	return ret;
}

/* A description of our own: reading through it leaves the task's position alone. */
static int open_to_read(int lfd)
{
	const int flags = O_RDONLY | O_NONBLOCK | O_NOCTTY;
	int fd = common_reopen(lfd, flags | O_NOATIME);

	return fd == -EPERM ? common_reopen(lfd, flags) : fd;
}

int ghost_check(struct cr_session *s, int lfd, const struct reg_where *w)
{
	uint64_t limit = s->core->option_size(s, "ghost-limit");
	uint64_t bytes = MIN_OF(w->st.st_blocks * 512ull, (uint64_t)w->st.st_size);
	const char *name = common_quote(s, w->name);
	_cleanup_fd_ int fd = -1;
	char remedy[64];
	int err;

	if (S_ISSOCK(w->st.st_mode))
		return cr_refuse(s, NULL, "%s is a socket that was deleted: it cannot be created again", name);
	if (!S_ISREG(w->st.st_mode))
		return 0;
	if (lfd >= 0) {
		if (fcntl(lfd, F_GETLEASE) == F_WRLCK)
			return cr_refuse(s, NULL, "%s is deleted and has a write lease, which reading it would break", name);
		fd = open_to_read(lfd);
		if (fd < 0)
			return cr_fail(s, -fd, "reading the deleted file %s: %s", name, strerror(-fd));
		err = data_bytes(fd, w->st.st_size, &bytes);
		if (err)
			return cr_fail(s, -err, "finding the data of the deleted file %s: %s", name, strerror(-err));
	}
	if (bytes <= limit)
		return 0;
	snprintf(remedy, sizeof(remedy), "--ghost-limit %lluK", (unsigned long long)(bytes + 1023) / 1024);
	return cr_refuse(s, common_strdup(s, remedy),
			 "the deleted file %s has %llu bytes of data, more than the limit of %llu", name,
			 (unsigned long long)bytes, (unsigned long long)limit);
}

static int dump_chunks(struct cr_session *s, uint64_t id, int fd, uint64_t size)
{
	uint64_t off = 0, end;
	int ret, err;

	while ((ret = next_data(fd, size, &off, &end)) == 1) {
		GhostChunkEntry c;

		ghost_chunk_entry__init(&c);
		c.off = off;
		c.len = end - off;
		err = common_append(s, &reg_img_ghost, id, &c.base);
		if (err == 0)
			err = s->core->img_raw_fd(s, &reg_img_ghost, id, fd, off, end - off);
		if (err)
			return err;
		off = end;
	}
	return ret ? cr_fail(s, -ret, "finding the data of a deleted file: %s", strerror(-ret)) : 0;
}

static int dump_regular(struct cr_session *s, uint64_t id, int lfd, GhostFileEntry *e, const struct stat *st)
{
	_cleanup_fd_ int fd = open_to_read(lfd);
	uint64_t bytes;
	int err;

	if (fd < 0)
		return cr_fail(s, -fd, "reading a deleted file: %s", strerror(-fd));
	err = data_bytes(fd, st->st_size, &bytes);
	if (err)
		return cr_fail(s, -err, "finding the data of a deleted file: %s", strerror(-err));
	if (bytes < (uint64_t)st->st_size) {
		e->has_chunks = e->chunks = 1;
		e->has_size = 1;
		e->size = st->st_size;
	}
	err = common_append(s, &reg_img_ghost, id, &e->base);
	if (err)
		return err;
	if (e->chunks)
		return dump_chunks(s, id, fd, st->st_size);
	return st->st_size ? s->core->img_raw_fd(s, &reg_img_ghost, id, fd, 0, st->st_size) : 0;
}

static int dump_inode(struct cr_session *s, uint64_t id, int lfd, const struct stat *st)
{
	_cleanup_free_ char *target = NULL;
	GhostFileEntry e;
	Timeval atim, mtim;
	int err;

	ghost_file_entry__init(&e);
	timeval__init(&atim);
	timeval__init(&mtim);
	atim.tv_sec = st->st_atim.tv_sec;
	atim.tv_usec = st->st_atim.tv_nsec / 1000;
	mtim.tv_sec = st->st_mtim.tv_sec;
	mtim.tv_usec = st->st_mtim.tv_nsec / 1000;
	e.uid = st->st_uid;
	e.gid = st->st_gid;
	e.mode = st->st_mode;
	e.has_dev = e.has_ino = 1;
	e.dev = REG_KERNEL_DEV(st->st_dev);
	e.ino = st->st_ino;
	e.atim = &atim;
	e.mtim = &mtim;
	if (S_ISREG(st->st_mode))
		return dump_regular(s, id, lfd, &e, st);
	if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode)) {
		e.has_rdev = 1;
		e.rdev = st->st_rdev;
	}
	if (S_ISLNK(st->st_mode)) {
		err = readlink_alloc(lfd, "", &target);
		if (err)
			return cr_fail(s, -err, "reading a deleted symbolic link: %s", strerror(-err));
		e.symlnk_target = target;
	}
	return common_append(s, &reg_img_ghost, id, &e.base);
}

int ghost_dump(struct cr_session *s, struct cr_file *f, int lfd, const struct reg_where *w)
{
	uint64_t key[2] = { w->st.st_dev, w->st.st_ino };
	int is_new = 0, err = 0;
	uint32_t id = s->core->id(s, "ghost", key, sizeof(key), &is_new);

	if (is_new)
		err = dump_inode(s, id, lfd, &w->st);
	if (is_new && err == 0)
		err = ghost_more_dump(s, id, lfd, &w->st);
	return err ? err : remap_append(s, s->core->file_id(f), id, REMAP_TYPE__GHOST);
}
