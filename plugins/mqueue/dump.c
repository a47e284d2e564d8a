/* SPDX-License-Identifier: MIT */
/*
 * dump.c: a queue becomes a message.
 *
 * A queue with a name belongs to the IPC namespace, as a file to its directory: it stays where it is, with what is in it.
 * One that was unlinked goes with the tree, so its letters are taken out, and put back at once: nobody but the kernel can
 * look at them.  Those who wait for the queue would notice, and so would a registered notification: then it is refused.
 */
#include "mqueue.h"

#include <errno.h>
#include <mqueue.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct facts {
	const char *name; /* with its slash; memory of the session */
	int unlinked;
	unsigned int how, signo;
	int pid; /* who is to be notified, 0: nobody */
	struct mq_attr attr;
};

static int read_notify(int fd, struct facts *k)
{
	char text[160];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return -EPROTO;
	text[n] = 0;
	return sscanf(text, "QSIZE:%*u NOTIFY:%u SIGNO:%u NOTIFY_PID:%d", &k->how, &k->signo, &k->pid) == 3 ? 0 : -EPROTO;
}

/* The name is the last part of what the link says, wherever the file system is mounted. */
static int find_name(struct cr_session *s, const struct cr_file_info *info, struct facts *k)
{
	static const char gone[] = " (deleted)";
	const char *slash = strrchr(info->link, '/');
	char *name = common_strdup(s, slash ? slash : "");
	size_t len = strlen(name), cut = sizeof(gone) - 1;
	struct stat st;
	mqd_t q = mq_open(name, O_RDONLY | O_CLOEXEC);

	k->unlinked = q < 0 || fstat(q, &st) || !common_same_inode(&st, &info->st);
	if (q >= 0)
		mq_close(q);
	if (q < 0 && errno == EACCES)
		k->unlinked = 0;
	if (k->unlinked && len > cut && !strcmp(name + len - cut, gone))
		name[len - cut] = 0;
	k->name = name;
	return name[0] == '/' && name[1] ? 0 : -EPROTO;
}

/* fd: of the queue, for reading and writing. */
static int find_facts(struct cr_session *s, int fd, const struct cr_file_info *info, struct facts *k)
{
	if (find_name(s, info, k) || read_notify(fd, k) || mq_getattr(fd, &k->attr))
		return cr_refuse(s, common_external_remedy(s, info), "what the kernel says of message queue %s is not understood",
				 common_quote(s, info->link));
	if (k->unlinked && k->attr.mq_curmsgs && k->pid)
		return cr_refuse(s, "--policy mqueue=close, if it can do without", "message queue %s has no name, something "
				 "in it and "
				 "a notification (mq_notify), which taking it out would trigger", k->name);
	if (k->unlinked && k->attr.mq_curmsgs >= k->attr.mq_maxmsg)
		return cr_refuse(s, "let the program take something out before the dump", "message queue %s has no name and is "
				 "full: somebody may wait for room in it", k->name);
	return 0;
}

/* Both ways, whatever the descriptor allows: not a new queue, the same. */
static int open_both(struct cr_session *s, int lfd)
{
	int fd = common_reopen(lfd, O_RDWR | O_NONBLOCK);

	return fd < 0 ? cr_fail(s, -fd, "opening a message queue once more: %s", strerror(-fd)) : fd;
}

int mqueue_check(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	_cleanup_fd_ int fd = lfd < 0 ? -1 : open_both(s, lfd);
	struct facts k = { 0 };

	return lfd < 0 ? 0 : fd < 0 ? fd : find_facts(s, fd, info, &k);
}

static int take_letters(struct cr_session *s, int fd, const struct facts *k, MqueueQueue *q)
{
	size_t n = (size_t)k->attr.mq_curmsgs;
	int err = 0;

	q->letters = s->core->alloc(s, (n + 1) * sizeof(*q->letters));
	for (size_t i = 0; i < n && !err; i++) {
		MqueueLetter *l = s->core->alloc(s, sizeof(*l));
		ssize_t len;

		mqueue_letter__init(l);
		l->text.data = s->core->alloc(s, (size_t)k->attr.mq_msgsize);
		len = mq_receive(fd, (char *)l->text.data, (size_t)k->attr.mq_msgsize, &l->prio);
		if (len < 0) {
			err = -errno;
			break;
		}
		l->text.len = (size_t)len;
		q->letters[q->n_letters++] = l;
	}
	/* in the order in which they came, which is the order in which they will come again */
	for (size_t i = 0; i < q->n_letters; i++)
		if (mq_send(fd, (char *)q->letters[i]->text.data, q->letters[i]->text.len, q->letters[i]->prio) && !err)
			err = -errno;
	return err ? cr_fail(s, -err, "reading what is in message queue %s: %s", k->name, strerror(-err)) : 0;
}

static struct cr_task *task_by_pid(struct cr_session *s, pid_t pid)
{
	for (struct cr_task *t = NULL; (t = s->core->task_next(s, t));)
		if (s->core->task_pid(t) == pid)
			return t;
	return NULL;
}

static void fill_notify(struct cr_session *s, struct cr_file *f, const struct facts *k, MqueueQueue *q)
{
	struct cr_task *t = k->pid > 0 ? task_by_pid(s, k->pid) : NULL;

	if (!t)
		return;
	if (k->how != SIGEV_SIGNAL && k->how != SIGEV_NONE) {
		cr_lost(s, f, "the notification of message queue %s, which calls a function (SIGEV_THREAD)", k->name);
		return;
	}
	if (k->how == SIGEV_SIGNAL)
		cr_lost(s, f, "the value that the signal of message queue %s brings (sigev_value), which cannot be read",
			k->name);
	q->has_notify_pid = q->has_notify_how = q->has_notify_signo = 1;
	q->notify_pid = (uint32_t)s->core->task_vpid(t);
	q->notify_how = k->how;
	q->notify_signo = k->signo;
}

static int dump_queue(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info, uint32_t number)
{
	_cleanup_fd_ int fd = open_both(s, lfd);
	struct facts k = { 0 };
	MqueueQueue q;
	int err = fd < 0 ? fd : find_facts(s, fd, info, &k);

	if (err < 0)
		return err;
	mqueue_queue__init(&q);
	q.number = number;
	q.name = (char *)k.name;
	q.mode = info->st.st_mode & 07777;
	q.uid = info->st.st_uid;
	q.gid = info->st.st_gid;
	q.max_letters = (uint32_t)k.attr.mq_maxmsg;
	q.max_bytes = (uint32_t)k.attr.mq_msgsize;
	q.has_unlinked = 1;
	q.unlinked = k.unlinked;
	fill_notify(s, f, &k, &q);
	if (k.unlinked)
		err = take_letters(s, fd, &k, &q);
	return err ? err : common_append(s, &mqueue_img, CR_IMG_NO_ID, &q.base);
}

int mqueue_dump(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	const uint64_t key[2] = { info->st.st_dev, info->st.st_ino };
	MqueueEntry e;
	FownEntry fown;
	int is_new, err;

	mqueue_entry__init(&e);
	common_fown_dump(s, f, &fown);
	e.flags = info->flags;
	e.fown = &fown;
	e.queue = s->core->id(s, "mqueue", key, sizeof(key), &is_new);
	err = is_new ? dump_queue(s, f, lfd, info, e.queue) : 0;
	return err ? err : common_emit_msg(s, f, &e);
}
