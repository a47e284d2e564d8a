/* SPDX-License-Identifier: MIT */
/*
 * gather.c: finds the locks that the tree holds.
 *
 * fdinfo shows, of the locks that were taken through a description, those which
 * belong to the description itself (flock, OFD, leases), and of the POSIX locks those
 * which belong to the descriptor table of the task whose fdinfo is read.  So what
 * others hold on the same file never appears, and a description that several tables
 * share is read once for each of them, where only POSIX locks differ.
 */
#include "locks.h"

#include <errno.h>
#include <string.h>
#include <sys/sysmacros.h>

#define REMEDY "--file-locks"

/* The descriptor slot of f whose task has that pid, else the first one.  0 or -ENOENT: f has none. */
static int pick_slot(struct cr_session *s, struct cr_file *f, pid_t pid, struct held *h)
{
	struct cr_task *t;
	int fd;

	if (s->core->file_slot(s, f, 0, &h->task, &h->fd) < 0)
		return -ENOENT;
	for (size_t i = 0; s->core->file_slot(s, f, i, &t, &fd) == 0; i++)
		if (s->core->task_pid(t) == pid) {
			h->task = t;
			h->fd = fd;
			break;
		}
	return 0;
}

/* One lock found through slot (t, fd); t NULL: a descriptor on its way through a socket. */
static int add_lock(struct cr_session *s, struct cr_file *f, const struct lock *l, struct cr_task *t, int fd)
{
	const char *name = common_quote(s, s->core->file_info(f)->link);
	struct held h = { .lock = *l, .task = t, .fd = fd };
	char text[128];

	*vec_push(&locks_get(s)->held) = h;
	if (!s->core->option_flag(s, "file-locks"))
		return t ? cr_refuse(s, REMEDY, "pid %d fd %d %s: it holds %s", s->core->task_pid(t), fd, name,
				     lock_text(l, text, sizeof(text))) :
			   cr_refuse(s, REMEDY, "%s, on its way through a socket: it holds %s", name,
				     lock_text(l, text, sizeof(text)));
	if (!t)
		return cr_refuse(s, "let it be received first",
				 "%s holds %s, but its only descriptor is on its way through a socket", name,
				 lock_text(l, text, sizeof(text)));
	if (l->kind != LOCK_KIND_POSIX)
		pick_slot(s, f, l->pid, &locks_get(s)->held.v[locks_get(s)->held.n - 1]);
	return 0;
}

/* All locks in the text of one fdinfo. */
static int add_text(struct cr_session *s, struct cr_file *f, const char *text, struct cr_task *t, int fd, int only_posix)
{
	int result = 0;

	for (const char *p = text; p; p = strchr(p, '\n')) {
		struct lock l;
		int r, err = 0;

		p += *p == '\n';
		if (strncmp(p, "lock:", 5))
			continue;
		r = lock_parse(p + 5, &l);
		if (r < 0)
			err = cr_refuse(s, NULL, "%s: it has a lock of an unknown kind: %.*s",
					   common_quote(s, s->core->file_info(f)->link), (int)strcspn(p + 5, "\n"),
					   p + 5);
		else if (r && !(only_posix && l.kind != LOCK_KIND_POSIX))
			err = add_lock(s, f, &l, t, fd);
		if (err < 0)
			result = err;
	}
	return result;
}

/* Sockets and other things without a place in a file system are not locked by byte ranges. */
static int has_ranges(const struct cr_file_info *info)
{
	return info->link[0] == '/' && !S_ISSOCK(info->st.st_mode);
}

static int gather_file(struct cr_session *s, struct cr_file *f)
{
	const struct cr_file_info *info = s->core->file_info(f);
	struct cr_task *t = NULL, *before;
	int fd = -1, result;

	if (!info || (info->flags & O_PATH) || (info->source != CR_SRC_FD && info->source != CR_SRC_PLUGIN))
		return 0;
	if (s->core->file_policy(s, f) == CR_POLICY_CLOSE) {
		if (strstr(info->fdinfo, "\nlock:") && s->core->mode(s) == CR_MODE_DUMP)
			cr_lost(s, f, "the lock that it has");
		return 0;
	}
	if (s->core->file_slot(s, f, 0, &t, &fd) < 0)
		t = NULL;
	result = add_text(s, f, info->fdinfo, t, fd, 0);
	if (!has_ranges(info))
		return result;
	before = t;
	for (size_t i = 1; s->core->file_slot(s, f, i, &t, &fd) == 0; i++) {
		_cleanup_buf_ struct buf b = { 0 };
		char path[64];
		int err;

		if (t == before)
			continue; /* one table: the same locks */
		before = t;
		snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", s->core->task_pid(t), fd);
		err = read_file(AT_FDCWD, path, &b);
		if (err < 0 && s->core->mode(s) == CR_MODE_CHECK)
			continue; /* the tree runs: closed or ended */
		if (err < 0)
			return cr_fail(s, -err, "%s: %s", path, strerror(-err));
		err = add_text(s, f, b.p, t, fd, 1);
		if (err < 0)
			result = err;
	}
	return result;
}

int locks_gather(struct cr_session *s)
{
	struct locks *ls = locks_get(s);
	struct cr_file *f;
	int result = 0;

	while ((f = s->core->file_next(s, ls->last))) {
		int err = gather_file(s, f);

		ls->last = f;
		if (err < 0 && err != -EOPNOTSUPP)
			return err;
		if (err < 0)
			result = err;
	}
	return result;
}

int locks_write(struct cr_session *s)
{
	struct locks *ls = locks_get(s);

	for (size_t i = 0; i < ls->held.n; i++) {
		FileLockEntry e = FILE_LOCK_ENTRY__INIT;
		const struct held *h = &ls->held.v[i];
		int err;

		e.flag = h->lock.kind;
		e.type = h->lock.breaking ? breaking_was(s, h) : h->lock.type;
		e.pid = s->core->task_vpid(h->task);
		e.fd = h->fd;
		e.start = h->lock.start;
		e.len = h->lock.len;
		err = common_append(s, &locks_img, CR_IMG_NO_ID, &e.base);
		if (err == 0 && h->lock.breaking)
			err = breaking_write(s, h, i);
		if (err < 0)
			return err;
	}
	return 0;
}
