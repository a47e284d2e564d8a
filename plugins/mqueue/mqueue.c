/* SPDX-License-Identifier: MIT */
/*
 * mqueue.c: POSIX message queues, mq_open(3).
 *
 * Restore: a queue with a name is opened by it, with what is in it by now; one that is gone, because the machine is another
 * one, is made again, empty.  A queue without a name is made under one of ours, filled, and unlinked when all of its
 * descriptors are open.
 */
#include "mqueue.h"

#include <errno.h>
#include <mqueue.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MQUEUE_MAGIC_ 0x19800202u
#define O_PATH_ 010000000u
#define LETTERS_MAX 65536u

struct queue {
	MqueueQueue *q; /* memory of the session */
	int fd;		/* for reading and writing, -1: not open yet */
	int notified;
};

struct state {
	VEC(struct queue) queues;
	int loaded;
};

struct mq_priv {
	MqueueEntry *e;
};

const struct cr_img_type mqueue_img = { sizeof(mqueue_img), "x-mqueue", 0x584d5131, 0 };

static struct state *state(struct cr_session *s)
{
	return s->core->plugin_priv(s, sizeof(struct state));
}

static int mqueue_match(const struct cr_file_info *info)
{
	return info->fs_magic == MQUEUE_MAGIC_ && S_ISREG(info->st.st_mode) && !(info->flags & O_PATH_) ? CR_SPECIFIC :
	CR_NOT_MINE;
}

/* ---- load ---- */

static int check_queue(struct cr_session *s, const MqueueQueue *q)
{
	int bad = q->name[0] != '/' || !q->name[1] || strchr(q->name + 1, '/') || q->max_letters > LETTERS_MAX ||
		  q->n_letters > q->max_letters;

	for (size_t i = 0; i < q->n_letters; i++)
		bad |= q->letters[i]->text.len > q->max_bytes;
	return bad ? cr_fail(s, EPROTO, "x-mqueue.img: queue %u makes no sense", q->number) : 0;
}

static int read_queues(struct cr_session *s)
{
	struct state *st = state(s);
	struct cr_reader *r;
	const void *data;
	size_t len;
	int err;

	if (st->loaded)
		return 0;
	st->loaded = 1;
	err = s->core->img_open(s, &mqueue_img, CR_IMG_NO_ID, &r);
	if (err < 0)
		return err == -ENOENT ? 0 : err;
	while ((err = s->core->img_next(r, &data, &len)) > 0) {
		MqueueQueue *q = common_load(s, &mqueue_queue__descriptor, data, len);

		err = q ? check_queue(s, q) : -EPROTO;
		if (err < 0)
			break;
		*vec_push(&st->queues) = (struct queue){ q, -1, 0 };
	}
	s->core->img_close(r);
	return err;
}

static struct queue *queue_of(struct cr_session *s, const struct mq_priv *p)
{
	struct state *st = state(s);

	for (size_t i = 0; i < st->queues.n; i++)
		if (st->queues.v[i].q->number == p->e->queue)
			return &st->queues.v[i];
	return NULL;
}

static int mqueue_load(struct cr_session *s, struct cr_file *f, const void *data, size_t len)
{
	struct mq_priv *p = s->core->file_priv(f);
	int err = read_queues(s);

	if (err < 0)
		return err;
	p->e = common_load(s, &mqueue_entry__descriptor, data, len);
	if (!p->e)
		return -EPROTO;
	return queue_of(s, p) ? 0 : cr_fail(s, EPROTO, "x-mqueue.img lacks queue %u", p->e->queue);
}

/* ---- open ---- */

static int make(struct cr_session *s, const MqueueQueue *q, const char *name)
{
	struct mq_attr attr = { .mq_maxmsg = q->max_letters, .mq_msgsize = q->max_bytes };
	int fd = mq_open(name, O_RDWR | O_CREAT | O_EXCL | O_NONBLOCK | O_CLOEXEC, 0600, &attr);

	if (fd < 0)
		return cr_fail(s, errno, "making message queue %s of %u messages of %u bytes: %s%s", common_quote(s, name),
			       q->max_letters,
			       q->max_bytes, strerror(errno), errno == EINVAL ? " (limits: /proc/sys/fs/mqueue)" : "");
	if (fchown(fd, q->uid, q->gid) || fchmod(fd, q->mode & 07777)) {
		int err = cr_fail(s, errno, "owner and mode of message queue %s: %s", common_quote(s, name), strerror(errno));

		mq_unlink(name);
		close(fd);
		return err;
	}
	return fd;
}

static int fill(struct cr_session *s, const MqueueQueue *q, int fd)
{
	for (size_t i = 0; i < q->n_letters; i++) {
		const ProtobufCBinaryData *text = &q->letters[i]->text; /* an empty one has no data at all */

		if (mq_send(fd, text->len ? (char *)text->data : "", text->len, q->letters[i]->prio))
			return cr_fail(s, errno, "filling message queue %s: %s", common_quote(s, q->name), strerror(errno));
	}
	return 0;
}

/* Without a name: it never has one that anybody would look for. */
static int open_unlinked(struct cr_session *s, const MqueueQueue *q)
{
	char name[48];
	int fd, err;

	snprintf(name, sizeof(name), "/stasis.%d.%u", getpid(), q->number);
	fd = make(s, q, name);
	if (fd < 0)
		return fd;
	mq_unlink(name);
	err = fill(s, q, fd);
	if (err < 0)
		close(fd);
	return err < 0 ? err : fd;
}

static int open_named(struct cr_session *s, struct cr_file *f, const MqueueQueue *q)
{
	int fd = mq_open(q->name, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	struct mq_attr a;

	if (fd < 0 && errno == ENOENT) {
		cr_lost(s, f, "what was in message queue %s, which is not there any more: it is made again, empty", q->name);
		return make(s, q, q->name);
	}
	if (fd < 0)
		return cr_fail(s, errno, "opening message queue %s: %s", common_quote(s, q->name), strerror(errno));
	if (!mq_getattr(fd, &a) && a.mq_maxmsg == (long)q->max_letters && a.mq_msgsize == (long)q->max_bytes)
		return fd;
	close(fd);
	return cr_fail(s, EEXIST, "message queue %s is another one by now, of another size: remove it, or pass one with "
		       "--inherit-fd", common_quote(s, q->name));
}

static int mqueue_open(struct cr_session *s, struct cr_file *f, int *ret_fd)
{
	struct mq_priv *p = s->core->file_priv(f);
	struct queue *q = queue_of(s, p);
	int fd;

	if (q->fd < 0)
		q->fd = q->q->unlinked ? open_unlinked(s, q->q) : open_named(s, f, q->q);
	if (q->fd < 0)
		return q->fd;
	fd = common_reopen(q->fd, (int)(p->e->flags & (O_ACCMODE | O_NONBLOCK)));
	if (fd < 0)
		return cr_fail(s, -fd, "opening message queue %s: %s", common_quote(s, q->q->name), strerror(-fd));
	*ret_fd = fd;
	return CR_OK;
}

/* Only the process itself can ask to be notified. */
static int queue_notify(struct cr_session *s, struct cr_file *f, struct queue *q)
{
	struct sigevent ev = { .sigev_notify = (int)q->q->notify_how, .sigev_signo = (int)q->q->notify_signo };
	struct cr_task *t, *who = s->core->task_by_vpid(s, (pid_t)q->q->notify_pid);
	uint64_t addr;
	int fd, err;

	for (size_t i = 0; who && !s->core->file_slot(s, f, i, &t, &fd); i++) {
		const struct cr_arg args[6] = { CR_IMM(fd), CR_IMM(0) };
		struct cr_arg call[6];

		if (t != who)
			continue;
		memcpy(call, args, sizeof(call));
		err = s->core->plan_data(s, t, &ev, sizeof(ev), &addr);
		call[1].val = addr;
		q->notified = 1;
		return err ? err : s->core->plan_syscall(s, t, CR_STAGE_OWN, SYS_mq_notify, call, CR_WANT_ZERO);
	}
	return 0;
}

static int mqueue_wire(struct cr_session *s, struct cr_file *f)
{
	struct mq_priv *p = s->core->file_priv(f);
	struct queue *q = queue_of(s, p);
	int err = q->q->has_notify_pid && !q->notified ? queue_notify(s, f, q) : 0;

	return err ? err : common_fown_restore(s, f, p->e->fown);
}

static void mqueue_done(struct cr_session *s, int error)
{
	struct state *st = state(s);

	for (size_t i = 0; i < st->queues.n; i++)
		if (st->queues.v[i].fd >= 0)
			close(st->queues.v[i].fd);
	vec_free(&st->queues);
}

/* ---- the plugin ---- */

static const struct cr_file_kind mqueue_kind = {
	.size = sizeof(struct cr_file_kind),
	.name = "mqueue",
	.fd_type = 16,
	.field = 100160,
	.priv_size = sizeof(struct mq_priv),
	.match = mqueue_match,
	.check = mqueue_check,
	.dump = mqueue_dump,
	.load = mqueue_load,
	.open = mqueue_open,
	.wire = mqueue_wire,
};
static const struct cr_file_kind *const kinds[] = { &mqueue_kind, NULL };
static const struct cr_img_type *const images[] = { &mqueue_img, NULL };

static const struct cr_plugin plugin = {
	.size = sizeof(plugin),
	.abi = CR_ABI,
	.name = "mqueue",
	.version = "0.1",
	.summary = "Keeps descriptors of POSIX message queues.",
	.files = kinds,
	.images = images,
	.done = mqueue_done,
};
CR_PLUGIN_REGISTER(plugin);
