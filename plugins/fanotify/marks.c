/* SPDX-License-Identifier: MIT */
/* marks.c: marks as fdinfo shows them, what they are on, and how they are set again. */
#include "fanotify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- dump ---- */

static int parse_mark(const char *p, struct mark *m)
{
	const char *end = p + strcspn(p, "\n"), *rest = strstr(p, "mflags:");

	memset(m, 0, sizeof(*m));
	if (!rest || rest >= end ||
	    sscanf(rest, "mflags:%" SCNx32 " mask:%" SCNx32 " ignored_mask:%" SCNx32, &m->mflags, &m->mask, &m->ignored) != 3)
		return -EPROTO;
	if (sscanf(p, "fanotify mnt_id:%" SCNx32, &m->mnt_id) == 1) {
		m->kind = ON_MOUNT;
		return 0;
	}
	if (sscanf(p, "fanotify sdev:%" SCNx32, &m->dev) == 1) {
		m->kind = ON_FILESYSTEM;
		return 0;
	}
	m->kind = ON_INODE;
	if (strncmp(p, "fanotify ino:", 13) || fsn_parse(p, &m->object))
		return -EPROTO;
	m->dev = m->object.dev;
	return 0;
}

int marks_parse(struct cr_session *s, const char *fdinfo, struct group *g)
{
	const char *p = strstr(fdinfo, "fanotify flags:");
	VEC(struct mark) list = { 0 };
	int err = 0;

	if (!p || sscanf(p, "fanotify flags:%" SCNx32 " event-flags:%" SCNx32, &g->faflags, &g->evflags) != 2)
		return -EPROTO;
	while (!err && (p = strstr(p + 1, "\nfanotify ")))
		err = parse_mark(p + 1, vec_push(&list));
	if (!err && list.n) {
		g->marks = s->core->alloc(s, list.n * sizeof(*list.v));
		memcpy(g->marks, list.v, list.n * sizeof(*list.v));
	}
	g->n = err ? 0 : list.n;
	vec_free(&list);
	return err;
}

/* The mount that m names, by its id or any of its file system, as task t sees it; descriptor or -ENOENT. */
static int open_mount(struct cr_session *s, struct cr_task *t, const struct mark *m)
{
	_cleanup_file_ FILE *f = NULL;
	_cleanup_free_ char *line = NULL;
	char path[4200], point[4096];
	unsigned int id, maj, min;
	pid_t pid = s->core->task_pid(t);
	size_t room = 0;
	int fd = -1;

	snprintf(path, sizeof(path), "/proc/%d/mountinfo", pid);
	f = fopen(path, "re");
	while (f && fd < 0 && getline(&line, &room, f) > 0) {
		if (sscanf(line, "%u %*d %u:%u %*s %4095s", &id, &maj, &min, point) != 4 || strchr(point, '\\'))
			continue;
		if (m->kind == ON_MOUNT ? id != m->mnt_id : (maj << 20 | min) != m->dev)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/root%s", pid, point);
		fd = open(path, O_PATH | O_CLOEXEC);
	}
	return fd < 0 ? -ENOENT : fd;
}

int mark_find(struct cr_session *s, const struct cr_file_info *info, struct mark *m)
{
	_cleanup_fd_ int fd = -1;

	if (m->kind == ON_INODE)
		return fsn_collect(s, info, &m->object, "a mark", &m->target);
	fd = open_mount(s, info->task, m);
	if (fd >= 0)
		return s->core->file_collect(s, info->task, fd, &m->target);
	if (m->kind == ON_MOUNT)
		return cr_refuse(s, NULL, "a mark is on mount %u, which the process does not see", m->mnt_id);
	return cr_refuse(s, NULL, "a mark is on the file system of device %u:%u, of which the process sees no mount",
			 m->dev >> 20, m->dev & 0xfffff);
}

/* ---- restore ---- */

static int set_mask(struct cr_session *s, int fd, const struct mark *m, int target, uint32_t flags, uint32_t mask)
{
	char path[32];

	if (!mask)
		return 0;
	flags |= FAN_MARK_ADD | (m->mflags & MARK_EVICTABLE);
	flags |= m->kind == ON_MOUNT ? (uint32_t)FAN_MARK_MOUNT : m->kind == ON_FILESYSTEM ? MARK_FILESYSTEM : 0;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", target);
	if (fanotify_mark(fd, flags, mask, AT_FDCWD, path))
		return cr_fail(s, errno, "fanotify_mark, flags %#x, mask %#x: %s%s", flags, mask, strerror(errno),
			       errno == ENOSPC ? " (raise the sysctl fs.fanotify.max_user_marks)" : "");
	return 0;
}

static int set_one(struct cr_session *s, int fd, const struct mark *m, int target)
{
	uint32_t ignore = m->mflags & MARK_IGNORE ? MARK_IGNORE : FAN_MARK_IGNORED_MASK;
	int err = set_mask(s, fd, m, target, 0, m->mask);

	return err ? err : set_mask(s, fd, m, target, ignore | (m->mflags & FAN_MARK_IGNORED_SURV_MODIFY), m->ignored);
}

/* O_PATH descriptor of what mark m of an image of another writer is on. */
static int open_foreign(struct cr_session *s, const struct mark *m, int *ret_fd)
{
	if (m->kind == ON_INODE)
		return fsn_open(s, m->e->ie->f_handle, m->dev, ret_fd);
	*ret_fd = open(m->e->me->path, O_PATH | O_CLOEXEC);
	if (*ret_fd < 0)
		return cr_fail(s, errno, "%s, a mount with a mark, cannot be opened: %s", common_quote(s, m->e->me->path),
			       strerror(errno));
	return 0;
}

int marks_set(struct cr_session *s, int fd, const struct group *g, int permission)
{
	for (size_t i = 0; i < g->n; i++) {
		const struct mark *m = &g->marks[i];
		_cleanup_fd_ int own = -1;
		int err;

		if (!(m->mask & PERMISSION_EVENTS) == !!permission)
			continue;
		err = m->target ? 0 : open_foreign(s, m, &own);
		if (!err)
			err = set_one(s, fd, m, m->target ? s->core->file_fd(m->target) : own);
		if (err < 0)
			return err;
	}
	return 0;
}
