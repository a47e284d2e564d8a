/* SPDX-License-Identifier: MIT */
/*
 * restore.c: takes the locks again.
 *
 * flock and OFD locks belong to the description: E takes them on its own descriptor,
 * which the tasks inherit.  POSIX locks belong to a descriptor table, and go when any
 * descriptor of the file is closed there: the task takes them itself, once its table
 * is final.  Leases are of the description, but the kernel keeps the descriptor number
 * for the signal: they too are taken by the task; what remains of the effect, that the
 * taker becomes the owner of the description, is undone, since a description with an
 * owner gets that from the engine afterwards.
 *
 * E tries every lock before any task exists, never waiting: who holds it by now is
 * asked to end, with the file's name.
 */
#include "locks.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

static int check_entry(struct cr_session *s, const FileLockEntry *e)
{
	switch (e->flag) {
	case LOCK_KIND_FLOCK:
	case LOCK_KIND_LEASE:
		break;
	case LOCK_KIND_POSIX:
	case LOCK_KIND_OFD:
		if (e->start < 0 || e->len < 0 || (e->len && e->start > INT64_MAX - e->len))
			return cr_fail(s, EPROTO, "filelocks.img: a lock of %" PRId64 " bytes at %" PRId64, e->len,
				       e->start);
		break;
	default:
		return cr_fail(s, EPROTO, "filelocks.img: a lock of the unknown kind %u", e->flag);
	}
	if (e->type != F_RDLCK && e->type != F_WRLCK)
		return cr_fail(s, EPROTO, "filelocks.img: a lock of the unknown type %u", e->type);
	return 0;
}

int locks_stage(struct cr_session *s)
{
	struct cr_reader *r;
	void *msg;
	int err = s->core->img_open(s, &locks_img, CR_IMG_NO_ID, &r);

	if (err < 0)
		return err == -ENOENT ? 0 : err;
	while ((err = common_next(s, r, &file_lock_entry__descriptor, &msg)) == 1) {
		*vec_push(&locks_get(s)->entries) = msg;
		err = check_entry(s, msg);
		if (err < 0)
			break;
	}
	s->core->img_close(r);
	return err;
}

/* A lock that cannot be had; err positive. */
static int fail_busy(struct cr_session *s, const FileLockEntry *e, int fd, int err)
{
	struct lock l = { .kind = e->flag, .type = e->type, .start = e->start, .len = e->len };
	_cleanup_free_ char *name = NULL;
	char path[32], text[128], who[256] = "";
	int busy = err == EAGAIN || err == EACCES;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (readlink_alloc(AT_FDCWD, path, &name) < 0)
		name = xstrdup("?");
	lock_text(&l, text, sizeof(text));
	if (busy)
		lock_holder(&l, fd, who, sizeof(who));
	if (busy && e->flag == LOCK_KIND_LEASE)
		return cr_fail(s, err,
			       "%s: pid %d fd %d held %s, which the kernel does not give: another process has the file "
			       "open%s; end it (fuser shows it) and restore again",
			       common_quote(s, name), e->pid, e->fd, text, who);
	if (busy)
		return cr_fail(s, err,
			       "%s: pid %d fd %d held %s, which another process%s has now: end it (lslocks shows it) "
			       "and restore again",
			       common_quote(s, name), e->pid, e->fd, text, who);
	return cr_fail(s, err, "%s: pid %d fd %d held %s, which cannot be taken: %s", common_quote(s, name), e->pid,
		       e->fd, text, strerror(err));
}

static struct flock range_of(const FileLockEntry *e)
{
	struct flock fl = { .l_type = (short)e->type, .l_whence = SEEK_SET, .l_start = e->start, .l_len = e->len };

	return fl;
}

static int queue_fcntl(struct cr_session *s, struct cr_task *t, int fd, int cmd, uint64_t arg)
{
	const struct cr_arg args[6] = { CR_IMM(fd), CR_IMM(cmd), CR_IMM(arg) };

	return s->core->plan_syscall(s, t, CR_STAGE_LATE, SYS_fcntl, args, CR_WANT_ZERO);
}

static int take_ofd(struct cr_session *s, const FileLockEntry *e, int fd)
{
	struct flock fl = range_of(e);

	return fcntl(fd, F_OFD_SETLK, &fl) < 0 ? fail_busy(s, e, fd, errno) : 0;
}

static int queue_posix(struct cr_session *s, const FileLockEntry *e, int fd, struct cr_task *t)
{
	struct flock want = range_of(e), other = want;
	uint64_t at;
	int err;

	if (fcntl(fd, F_GETLK, &other) < 0)
		return fail_busy(s, e, fd, errno);
	if (other.l_type != F_UNLCK)
		return fail_busy(s, e, fd, EAGAIN);
	err = s->core->plan_data(s, t, &want, sizeof(want), &at);
	return err < 0 ? err : queue_fcntl(s, t, e->fd, F_SETLK, at);
}

static int queue_lease(struct cr_session *s, const FileLockEntry *e, int fd, struct cr_task *t)
{
	int err;

	if (fcntl(fd, F_SETLEASE, e->type) < 0 || fcntl(fd, F_SETLEASE, F_UNLCK) < 0)
		return fail_busy(s, e, fd, errno);
	err = queue_fcntl(s, t, e->fd, F_SETLEASE, e->type);
	return err < 0 ? err : queue_fcntl(s, t, e->fd, F_SETOWN, 0);
}

static int restore_one(struct cr_session *s, const FileLockEntry *e)
{
	struct cr_task *t = s->core->task_by_vpid(s, e->pid);
	struct cr_file *f = t ? s->core->task_file(s, t, e->fd) : NULL;
	int fd = f ? s->core->file_fd(f) : -1;

	if (fd < 0)
		return cr_fail(s, EPROTO, "filelocks.img: pid %d has no descriptor %d that could hold a lock", e->pid,
			       e->fd);
	switch (e->flag) {
	case LOCK_KIND_FLOCK:
		if (flock(fd, LOCK_NB | (e->type == F_RDLCK ? LOCK_SH : LOCK_EX)) < 0)
			return fail_busy(s, e, fd, errno);
		return 0;
	case LOCK_KIND_OFD:
		return take_ofd(s, e, fd);
	case LOCK_KIND_LEASE:
		return queue_lease(s, e, fd, t);
	default:
		return queue_posix(s, e, fd, t);
	}
}

int locks_opened(struct cr_session *s)
{
	struct locks *ls = locks_get(s);
	int err = 0;

	for (size_t i = 0; i < ls->entries.n && err == 0; i++)
		err = restore_one(s, ls->entries.v[i]);
	return err;
}
