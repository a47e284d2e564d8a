/* SPDX-License-Identifier: MIT */
/*
 * fsnotify.c: from inode, device and file handle to a file.
 *
 * First by open_by_handle_at(2), which needs privilege and a file system that decodes
 * handles (an overlay does not).  Then among what the tree has open and the directories above,
 * in the paths of --irmap-scan-path, and at last by walking the file system, breadth first, with a
 * limit of time.  A handle that name_to_handle_at(2) gives proves a find; it is told also
 * where it cannot be decoded.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "fsnotify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "util.h"

#define OVERLAY_MAGIC 0x794c7630
#define BTRFS_MAGIC 0x9123683e
#define HANDLE_FID 0x200 /* AT_HANDLE_FID, Linux 6.5 */
#define WALK_US 20000000ull
#define NEAR_DIRS 1000 /* looked at below a directory that the tree uses */

struct search {
	struct cr_session *s;
	const struct fsn_object *o;
	pid_t pid;     /* whose mounts are looked at; 0: the engine's own */
	int fd;	       /* found, O_PATH; -1 */
	uint64_t give_up; /* now_us() */
};

union handle {
	struct file_handle h;
	char room[sizeof(struct file_handle) + FSN_HANDLE_BYTES];
};

/* ---- text ---- */

static int parse_handle(const char *p, const char *end, struct fsn_object *ret)
{
	char hex[2 * FSN_HANDLE_BYTES + 1];
	int n;

	p = strstr(p, "fhandle-bytes:");
	if (!p || p >= end)
		return 0;
	if (sscanf(p, "fhandle-bytes:%" SCNx32 " fhandle-type:%" SCNx32 " f_handle:%256[0-9a-f]%n", &ret->bytes, &ret->type,
		   hex, &n) != 3 || ret->bytes > FSN_HANDLE_BYTES || strlen(hex) != 2ul * ret->bytes)
		return -EPROTO;
	for (uint32_t i = 0; i < ret->bytes; i++)
		if (sscanf(hex + 2 * i, "%2hhx", &ret->handle[i]) != 1)
			return -EPROTO;
	return 0;
}

int fsn_parse(const char *line, struct fsn_object *ret)
{
	const char *end = line + strcspn(line, "\n"), *ino = strstr(line, "ino:"), *dev = strstr(line, "sdev:");

	memset(ret, 0, sizeof(*ret));
	if (!ino || ino >= end || !dev || dev >= end || sscanf(ino, "ino:%" SCNx64, &ret->ino) != 1 ||
	    sscanf(dev, "sdev:%" SCNx32, &ret->dev) != 1)
		return -EPROTO;
	return parse_handle(line, end, ret);
}

static dev_t device_of(uint32_t dev)
{
	return makedev(dev >> 20, dev & 0xfffff);
}

/* ---- is it the one? ---- */

static int get_handle(int fd, union handle *ret)
{
	int mnt;

	ret->h.handle_bytes = FSN_HANDLE_BYTES;
	if (name_to_handle_at(fd, "", &ret->h, &mnt, AT_EMPTY_PATH | HANDLE_FID) == 0)
		return 0;
	ret->h.handle_bytes = FSN_HANDLE_BYTES;
	return name_to_handle_at(fd, "", &ret->h, &mnt, AT_EMPTY_PATH) ? -errno : 0;
}

/* The files of an overlay or of a btrfs have other devices than the file system itself. */
static int may_be_on(int fd, const struct stat *st, dev_t dev)
{
	struct statfs sfs;

	if (st->st_dev == dev)
		return 1;
	return !major(st->st_dev) && fstatfs(fd, &sfs) == 0 && (sfs.f_type == OVERLAY_MAGIC || sfs.f_type == BTRFS_MAGIC);
}

static int is_object(const struct fsn_object *o, int fd)
{
	union handle h;
	struct stat st;

	if (fstat(fd, &st) || !may_be_on(fd, &st, device_of(o->dev)))
		return 0;
	if (o->bytes && get_handle(fd, &h) == 0)
		return h.h.handle_bytes == o->bytes && (uint32_t)h.h.handle_type == o->type &&
		       !memcmp(h.h.f_handle, o->handle, o->bytes);
	return st.st_ino == o->ino;
}

/* Takes name, which is not followed, when it is the object. 1: the search is over. */
static int try_name(struct search *q, int dir, const char *name)
{
	int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return 0;
	if (is_object(q->o, fd)) {
		q->fd = fd;
		return 1;
	}
	close(fd);
	return 0;
}

static int leads_to(const struct fsn_object *o, const char *path)
{
	_cleanup_fd_ int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	return fd >= 0 && is_object(o, fd);
}

/* ---- mounts ---- */

/* "/proc/PID/root" and point, of mountinfo, with its octal escapes undone. */
static char *mount_path(const struct search *q, const char *point)
{
	char *path = q->pid ? xasprintf("/proc/%d/root%s", q->pid, point) : xstrdup(point), *w = path;
	unsigned int c;

	for (const char *r = path; *r; w++) {
		if (*r == '\\' && sscanf(r, "\\%3o", &c) == 1) {
			*w = (char)c;
			r += 4;
		} else {
			*w = *r++;
		}
	}
	*w = 0;
	return path;
}

/* Calls fn for each mount of the object's file system until it returns 1. 1: it did. */
static int each_mount(struct search *q, int (*fn)(struct search *q, const char *path))
{
	_cleanup_file_ FILE *f = NULL;
	_cleanup_free_ char *line = NULL;
	char info[48], point[4096];
	unsigned int maj, min;
	size_t room = 0;
	int found = 0;

	if (q->pid)
		snprintf(info, sizeof(info), "/proc/%d/mountinfo", q->pid);
	else
		snprintf(info, sizeof(info), "/proc/self/mountinfo");
	f = fopen(info, "re");
	while (f && !found && getline(&line, &room, f) > 0) {
		_cleanup_free_ char *path = NULL;

		if (sscanf(line, "%*d %*d %u:%u %*s %4095s", &maj, &min, point) != 3 || maj != q->o->dev >> 20 ||
		    min != (q->o->dev & 0xfffff))
			continue;
		path = mount_path(q, point);
		found = fn(q, path);
	}
	return found;
}

/* Does the name that the kernel has for fd lead to the object? For a file that has links left. */
static int has_good_name(const struct search *q, int fd)
{
	_cleanup_free_ char *link = NULL;
	_cleanup_free_ char *path = NULL;
	struct stat st;
	char self[32];

	if (fstat(fd, &st) || (!st.st_nlink && !S_ISDIR(st.st_mode)))
		return 1;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	if (readlink_alloc(AT_FDCWD, self, &link) < 0 || link[0] != '/')
		return 0;
	path = q->pid ? xasprintf("/proc/%d/root%s", q->pid, link) : xstrdup(link);
	return leads_to(q->o, path) || leads_to(q->o, link);
}

static int by_handle_on(struct search *q, const char *path)
{
	_cleanup_fd_ int mount = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	union handle h = { .h = { .handle_bytes = q->o->bytes, .handle_type = (int)q->o->type } };
	int fd;

	memcpy(h.h.f_handle, q->o->handle, q->o->bytes);
	fd = mount < 0 ? -1 : open_by_handle_at(mount, &h.h, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return 0;
	if (q->fd >= 0)
		close(q->fd);
	q->fd = fd; /* the last one stays when none has a good name */
	return has_good_name(q, fd);
}

/* ---- by looking around ---- */

typedef VEC(char *) dir_list;

static int is_dots(const char *name)
{
	return !strcmp(name, ".") || !strcmp(name, "..");
}

/* One directory: is the object in it? Adds the directories in it to the list. */
static int walk_one(struct search *q, const char *path, dev_t dev, int all, dir_list *next)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	_cleanup_dir_ DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;
	struct stat st;

	if (!d) {
		cleanup_fd(&fd);
		return 0;
	}
	if (fstat(fd, &st) || st.st_dev != dev)
		return 0; /* another file system is mounted here */
	while ((de = readdir(d))) {
		if (is_dots(de->d_name))
			continue;
		if ((all || de->d_ino == q->o->ino) && try_name(q, fd, de->d_name))
			return 1;
		if (de->d_type == DT_DIR)
			*vec_push(next) = xasprintf("%s/%s", path, de->d_name);
	}
	return 0;
}

/* path, and what is below it: at most limit directories. */
static int walk_some(struct search *q, const char *path, size_t limit)
{
	dir_list list = { 0 };
	struct statfs sfs;
	struct stat st;
	int found = 0;

	/* in an overlay the numbers in directories are those of the layers */
	if (stat(path, &st) || statfs(path, &sfs))
		return 0;
	if (try_name(q, AT_FDCWD, path))
		return 1;
	if (!S_ISDIR(st.st_mode))
		return 0;
	*vec_push(&list) = xstrdup(path);
	for (size_t i = 0; i < list.n && i < limit && !found && now_us() < q->give_up; i++) {
		char *dir = list.v[i];

		found = walk_one(q, dir, st.st_dev, sfs.f_type == OVERLAY_MAGIC, &list);
		free(dir);
		list.v[i] = NULL;
	}
	for (size_t i = 0; i < list.n; i++)
		free(list.v[i]);
	vec_free(&list);
	return found;
}

static int walk(struct search *q, const char *path)
{
	return walk_some(q, path, SIZE_MAX);
}

/* Below the directories that the tree has open or works in. */
static int below_directories(struct search *q)
{
	const struct cr_core *core = q->s->core;

	for (struct cr_file *f = core->file_next(q->s, NULL); f; f = core->file_next(q->s, f)) {
		const struct cr_file_info *info = core->file_info(f);
		_cleanup_free_ char *path = NULL;

		/* the root has its turn later */
		if (!info || !S_ISDIR(info->st.st_mode) || info->link[0] != '/' || !info->link[1])
			continue;
		path = q->pid ? xasprintf("/proc/%d/root%s", q->pid, info->link) : xstrdup(info->link);
		if (walk_some(q, path, NEAR_DIRS))
			return 1;
	}
	return 0;
}

/* What the tree has open, and the directories above those names. */
static int near_open_files(struct search *q)
{
	const struct cr_core *core = q->s->core;

	for (struct cr_file *f = core->file_next(q->s, NULL); f; f = core->file_next(q->s, f)) {
		const struct cr_file_info *info = core->file_info(f);
		_cleanup_free_ char *path = NULL;
		char *slash;

		if (!info || info->link[0] != '/')
			continue;
		if (core->file_fd(f) >= 0 && is_object(q->o, core->file_fd(f))) {
			q->fd = common_reopen(core->file_fd(f), O_PATH);
			if (q->fd >= 0)
				return 1;
		}
		path = q->pid ? xasprintf("/proc/%d/root%s", q->pid, info->link) : xstrdup(info->link);
		while ((slash = strrchr(path, '/')) && slash > path) {
			*slash = 0;
			if (try_name(q, AT_FDCWD, path))
				return 1;
		}
	}
	return 0;
}

static int in_scan_paths(struct search *q)
{
	const char *item;

	for (size_t i = 0; (item = q->s->core->option_item(q->s, "irmap-scan-path", i)); i++) {
		_cleanup_free_ char *path = mount_path(q, item);

		if (walk(q, path))
			return 1;
	}
	return 0;
}

static int search_around(struct search *q)
{
	int old = q->fd, found;

	q->fd = -1;
	q->give_up = now_us() + WALK_US;
	found = near_open_files(q) || in_scan_paths(q) || below_directories(q) || each_mount(q, walk);
	if (!found) {
		q->fd = old; /* better than nothing: a file without a name */
		return old >= 0;
	}
	cleanup_fd(&old);
	return 1;
}

static int find(struct search *q)
{
	if (q->o->bytes && !q->s->core->option_flag(q->s, "force-irmap") && each_mount(q, by_handle_on))
		return 1;
	return search_around(q);
}

/* ---- dump ---- */

int fsn_collect(struct cr_session *s, const struct cr_file_info *info, const struct fsn_object *o, const char *what,
		struct cr_file **ret)
{
	struct search q = { .s = s, .o = o, .pid = info->task ? s->core->task_pid(info->task) : 0, .fd = -1 };
	_cleanup_fd_ int fd = -1;

	if (!find(&q))
		return cr_refuse(s, "--irmap-scan-path DIR, a directory where it may be found",
				 "%s is on inode %" PRIu64 " of device %u:%u, for which no name can be found", what, o->ino,
				 o->dev >> 20, o->dev & 0xfffff);
	fd = q.fd;
	return s->core->file_collect(s, info->task, fd, ret);
}

void fsn_pack(struct cr_session *s, const struct fsn_object *o, struct cr_file *target, FhEntry *ret, uint64_t *words)
{
	const struct cr_file_info *info = s->core->file_info(target);

	fh_entry__init(ret);
	memset(words, 0, FSN_HANDLE_BYTES);
	memcpy(words, o->handle, o->bytes);
	ret->bytes = o->bytes;
	ret->type = o->type;
	ret->n_handle = FSN_HANDLE_WORDS;
	ret->handle = words;
	ret->path = info ? (char *)info->link : NULL;
}

/* ---- restore ---- */

int fsn_open(struct cr_session *s, const FhEntry *e, uint32_t dev, int *ret_fd)
{
	struct fsn_object o = { .dev = dev, .type = e->type, .bytes = e->bytes };
	struct search q = { .s = s, .o = &o, .fd = -1 };
	_cleanup_free_ char *path = NULL;

	if (e->bytes > FSN_HANDLE_BYTES || e->bytes > e->n_handle * sizeof(uint64_t))
		return cr_fail(s, EPROTO, "the image has a file handle of %u bytes", e->bytes);
	memcpy(o.handle, e->handle, e->bytes);
	if (e->path && *e->path) {
		path = xasprintf("/%s", e->path + (*e->path == '/'));
		q.fd = open(path, O_PATH | O_CLOEXEC);
		if (q.fd < 0)
			return cr_fail(s, errno, "%s, which is watched, cannot be opened: %s; put it back",
				       common_quote(s, path), strerror(errno));
	} else {
		each_mount(&q, by_handle_on);
	}
	if (q.fd < 0)
		return cr_fail(s, ENOENT, "a watched file of device %u:%u is not to be found by its handle, and the image has no "
			       "name for it", dev >> 20, dev & 0xfffff);
	*ret_fd = q.fd;
	return 0;
}
