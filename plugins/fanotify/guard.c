/* SPDX-License-Identifier: MIT */
/*
 * guard.c: listeners of the tree that decide about what the dump itself has to open.
 *
 * Whoever opens a file with such a mark waits for the listener's answer, in the kernel, and a frozen listener gives none: the
 * dump would hang, and could only be killed.  So before it opens anything by name (executables, mapped files, its own
 * images) the marks of all groups are compared with all that.  Asking for inodes and mount ids asks nobody.
 */
#include "fanotify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

struct needed {
	uint64_t mnt_id;
	dev_t dev;
	ino_t ino, dir; /* dir: of the directory that it is in, 0 unknown */
	const char *name;
};

typedef VEC(struct needed) needs;

static int asks(const struct mark *m)
{
	return (m->mask & PERMISSION_EVENTS) != 0;
}

/* As the kernel prints devices in fdinfo. */
static uint32_t kernel_dev(dev_t dev)
{
	return (uint32_t)major(dev) << 20 | minor(dev);
}

static ino_t parent_of(const char *path)
{
	const char *slash = path[0] == '/' ? strrchr(path, '/') : NULL;
	char dir[4096];
	struct stat st;

	if (!slash || (size_t)(slash - path) >= sizeof(dir))
		return 0;
	snprintf(dir, sizeof(dir), "%.*s", slash == path ? 1 : (int)(slash - path), path);
	return stat(dir, &st) ? 0 : st.st_ino;
}

static void add(struct cr_session *s, needs *list, const char *path, const char *name)
{
	struct needed n = { 0 };
	struct statx x;

	if (statx(AT_FDCWD, path, 0, STATX_INO | 0x1000 /* STATX_MNT_ID, 5.8 */, &x))
		return;
	n.dev = makedev(x.stx_dev_major, x.stx_dev_minor);
	n.ino = x.stx_ino;
	n.mnt_id = x.stx_mask & 0x1000 ? x.stx_mnt_id : UINT64_MAX;
	for (size_t i = 0; i < list->n; i++)
		if (list->v[i].dev == n.dev && list->v[i].ino == n.ino && list->v[i].mnt_id == n.mnt_id)
			return;
	n.name = common_strdup(s, name);
	n.dir = parent_of(name);
	*vec_push(list) = n;
}

static void add_link(struct cr_session *s, needs *list, const char *path)
{
	char name[4096];
	ssize_t len = readlink(path, name, sizeof(name) - 1);

	if (len < 0)
		return;
	name[len] = 0;
	if (name[0] == '/')
		add(s, list, path, name);
}

static void add_task(struct cr_session *s, needs *list, struct cr_task *t)
{
	char path[320];
	_cleanup_dir_ DIR *d = NULL;
	struct dirent *de;

	snprintf(path, sizeof(path), "/proc/%d/exe", s->core->task_pid(t));
	add_link(s, list, path);
	snprintf(path, sizeof(path), "/proc/%d/map_files", s->core->task_pid(t));
	d = opendir(path);
	while (d && (de = readdir(d))) {
		if (de->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/map_files/%s", s->core->task_pid(t), de->d_name);
		add_link(s, list, path);
	}
}

static void gather(struct cr_session *s, needs *list)
{
	static const char *const dirs[] = { "images-dir", "work-dir" };

	for (struct cr_task *t = NULL; (t = s->core->task_next(s, t));)
		add_task(s, list, t);
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		const char *dir = s->core->option(s, dirs[i]);

		if (dir)
			add(s, list, dir, dir);
	}
}

static const struct needed *reaches(const struct mark *m, const needs *list)
{
	for (size_t i = 0; i < list->n; i++) {
		const struct needed *n = &list->v[i];

		if (m->kind == ON_MOUNT ? m->mnt_id == n->mnt_id :
		    m->dev == kernel_dev(n->dev) && (m->kind == ON_FILESYSTEM || m->object.ino == n->ino ||
						     (n->dir && m->object.ino == n->dir)))
			return n;
	}
	return NULL;
}

static int check_group(struct cr_session *s, struct cr_file *f, needs *list)
{
	static const char *const what[] = { [ON_INODE] = "files", [ON_MOUNT] = "a mount", [ON_FILESYSTEM] = "a file system" };
	struct group g = { 0 };
	struct cr_task *t;
	int fd, result = 0;

	if (marks_parse(s, s->core->file_info(f)->fdinfo, &g))
		return 0; /* refused later */
	for (size_t i = 0; i < g.n && !result; i++) {
		const struct mark *m = &g.marks[i];
		const struct needed *n;

		if (!asks(m))
			continue;
		if (!list->n)
			gather(s, list);
		n = reaches(m, list);
		if (!n || s->core->file_slot(s, f, 0, &t, &fd))
			continue;
		result = cr_refuse(s, "let the listener take the mark away before the dump (fanotify_mark, FAN_MARK_FLUSH), "
				   "or dump "
				   "without the listener",
				   "pid %d fd %d, fanotify: it decides about access to %s, and so to %s, which the dump has to "
				   "open: frozen, it could not answer", s->core->task_pid(t), fd, what[m->kind],
				   common_quote(s, n->name));
	}
	return result;
}

int guard_look(struct cr_session *s)
{
	needs list = { 0 };
	int result = 0;

	for (struct cr_file *f = NULL; (f = s->core->file_next(s, f));) {
		const struct cr_file_info *info = s->core->file_info(f);
		int err = info->anon && !strcmp(info->anon, "fanotify") ? check_group(s, f, &list) : 0;

		result = result ? result : err;
	}
	vec_free(&list);
	return result;
}
