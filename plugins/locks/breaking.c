/* SPDX-License-Identifier: MIT */
/*
 * breaking.c: leases that somebody has asked to give up, and whose holder has not done so yet.
 *
 * Of such a lease the kernel shows what it is to become.  It is taken again as what it was,
 * and then asked for by an open that does not wait, while the description has no owner: the holder got its
 * signal before the dump.  Who waits in open(2) inside of the tree goes on waiting.
 */
#include "locks.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "breaking-lease.pb-c.h"

const struct cr_img_type locks_img_breaking = {
	.size = sizeof(struct cr_img_type),
	.name = "x-locks-breaking",
	.magic = 0x784c4252,
};

uint32_t breaking_was(struct cr_session *s, const struct held *h)
{
	struct cr_file *f = s->core->task_file(s, h->task, h->fd);
	const struct cr_file_info *info = f ? s->core->file_info(f) : NULL;

	/* a read lease needs a description that is open for reading only, and readers do not break it */
	if (h->lock.type == F_RDLCK || (info && (info->flags & O_ACCMODE) != O_RDONLY))
		return F_WRLCK;
	return F_RDLCK;
}

int breaking_write(struct cr_session *s, const struct held *h, size_t index)
{
	BreakingLeaseEntry e = BREAKING_LEASE_ENTRY__INIT;

	e.index = index;
	e.type = h->lock.type;
	return common_append(s, &locks_img_breaking, CR_IMG_NO_ID, &e.base);
}

/* Asks for the lease on the description fd, without a signal to its owner. */
static int ask_for(struct cr_session *s, int fd, uint32_t to)
{
	const struct f_owner_ex nobody = { F_OWNER_PID, 0 };
	struct f_owner_ex owner;
	int asker;

	if (fcntl(fd, F_GETOWN_EX, &owner) || fcntl(fd, F_SETOWN_EX, &nobody))
		return cr_fail(s, errno, "the owner of a description with a lease: %s", strerror(errno));
	asker = common_reopen(fd, (to == F_RDLCK ? O_RDONLY : O_WRONLY) | O_NONBLOCK | O_NOCTTY);
	if (asker >= 0)
		close(asker);
	else if (asker != -EWOULDBLOCK)
		cr_lost(s, NULL, "a lease that was to be given up is whole again: %s", strerror(-asker));
	if (owner.pid && fcntl(fd, F_SETOWN_EX, &owner))
		return cr_fail(s, errno, "F_SETOWN_EX: %s", strerror(errno));
	return 0;
}

static int break_one(struct cr_session *s, const BreakingLeaseEntry *b)
{
	struct locks *ls = locks_get(s);
	const FileLockEntry *e = b->index < ls->entries.n ? ls->entries.v[b->index] : NULL;
	struct cr_task *t = e && e->flag == LOCK_KIND_LEASE ? s->core->task_by_vpid(s, e->pid) : NULL;
	struct cr_file *f = t ? s->core->task_file(s, t, e->fd) : NULL;

	if (!f || s->core->file_fd(f) < 0 || (b->type != F_RDLCK && b->type != F_UNLCK))
		return cr_fail(s, EPROTO, "x-locks-breaking.img: entry %u of filelocks.img is no lease that can be given up",
			       b->index);
	return ask_for(s, s->core->file_fd(f), b->type);
}

int breaking_restored(struct cr_session *s)
{
	BreakingLeaseEntry *b;
	struct cr_reader *r;
	int err = s->core->img_open(s, &locks_img_breaking, CR_IMG_NO_ID, &r);

	if (err < 0)
		return err == -ENOENT ? 0 : err;
	while ((err = common_next(s, r, &breaking_lease_entry__descriptor, (void **)&b)) == 1) {
		err = break_one(s, b);
		common_free_msg(b);
		if (err < 0)
			break;
	}
	s->core->img_close(r);
	return err;
}
