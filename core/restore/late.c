/* SPDX-License-Identifier: MIT */
/*
 * late.c: descriptions that can only be made when the tree's processes exist, such as a
 * descriptor of a process or of its namespace.
 *
 * A kind's open() says CR_LATE: then E holds a placeholder under the number that the
 * description will have, and the tasks inherit it.  When all processes are born, E makes the
 * description (open_late), puts it in place of its own placeholder, and sends it over a socket
 * pair to every table that uses it; there the task's plan puts it in place of the inherited one.
 * From then on nothing differs from any other file: all tables get the same description.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fd/files_priv.h"
#include "phase.h"
#include "restore_priv.h"

#define SEND_NAP_MS 50
#define SEND_LIMIT_US 60000000

/* The plan's side of one message; the kernel writes the number behind the header. */
struct receipt {
	struct msghdr msg;
	struct iovec iov;
	char byte;
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
};

static bool queued_for(struct session *s, const struct fdtable *tab, const struct file *f)
{
	for (size_t i = 0; i < s->restore->queued.n; i++) {
		const struct queued_call *q = &s->restore->queued.v[i];

		if (q->task->fds != tab)
			continue;
		for (size_t j = 0; j < ARRAY_SIZE(q->args); j++)
			if (q->args[j].tag == CR_ARG_FILE && q->args[j].file == cr_file_of(f))
				return true;
	}
	return false;
}

/* A descriptor of the table, or a call of one of its tasks, is f's. */
static bool is_used(struct session *s, const struct fdtable *tab, const struct file *f)
{
	for (size_t i = 0; i < f->slots.n; i++)
		if (f->slots.v[i].table == tab)
			return true;
	return queued_for(s, tab, f);
}

static struct late_table *table_new(struct session *s, const struct fdtable *tab)
{
	struct late_table *lt = vec_push(&s->restore->late);
	int sv[2];

	lt->ours = lt->theirs = -1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0) {
		fail(s, errno, "a socket pair for descriptor table %u: %s", tab->id, strerror(errno));
		return NULL;
	}
	lt->ours = files_high_fd(s, sv[0]);
	lt->theirs = files_high_fd(s, sv[1]);
	return lt->ours < 0 || lt->theirs < 0 ? NULL : lt;
}

/* Takes the next descriptor from the socket and puts it in place of the placeholder. */
static void plan_receipt(struct plan *p, const struct late_table *lt, const struct file *f)
{
	struct receipt *r = plan_mem(p, sizeof(*r), 16);
	struct blob_op *op;

	r->iov = (struct iovec){ &r->byte, 1 };
	r->msg = (struct msghdr){ .msg_iov = &r->iov, .msg_iovlen = 1, .msg_control = &r->control,
				  .msg_controllen = sizeof(r->control) };
	/* a descriptor that did not arrive is -1 then */
	memset(&r->control, 0xff, sizeof(r->control));
	plan_sys(p, BLOB_EXPECT, SYS_recvmsg, lt->theirs, (uintptr_t)&r->msg, MSG_CMSG_CLOEXEC)->expect = 1;
	plan_op(p, BLOB_LOAD, (uintptr_t)CMSG_DATA(&r->control.align), 0, 0)->slot = 0;
	op = plan_sys(p, BLOB_EXPECT, SYS_dup3, 0, f->fd, O_CLOEXEC);
	op->slotmask = 1;
	op->expect = f->fd;
	plan_sys(p, BLOB_ZERO, SYS_close, 0)->slotmask = 1;
}

int restore_plan_late(struct session *s, struct task *t, struct plan *p)
{
	struct files *fs = files_get(s);
	struct late_table *lt = NULL;

	for (size_t i = 0; i < fs->all.n; i++) {
		struct file *f = fs->all.v[i];

		if (!f->late || !is_used(s, t->fds, f))
			continue;
		if (!lt)
			lt = table_new(s, t->fds);
		if (!lt)
			return -EMFILE; /* recorded */
		*vec_push(&lt->files) = f;
		plan_origin(p->set, "%s: file %u, made when the processes existed", f->kind->name, f->id);
		plan_receipt(p, lt, f);
	}
	return 0;
}

static int open_one(struct session *s, struct file *f)
{
	int fd = -1, err;

	file_at(s, f);
	if (!f->kind->open_late)
		return fail(s, EPROTO, "plugin %s says that it is opened late, and does not do it", f->plugin->name);
	err = hook_failed(s, f, HOOK(s, f->plugin, HOOK_FILE_OPEN_LATE, f->kind->open_late(&s->pub, cr_file_of(f), &fd)));
	if (err < 0)
		return err;
	if (dup3(fd, f->fd, O_CLOEXEC) < 0)
		err = fail(s, errno, "dup3: %s", strerror(errno));
	close(fd);
	f->late = false;
	return err;
}

int restore_open_late(struct session *s)
{
	struct files *fs = files_get(s);
	int err = 0;

	for (size_t i = 0; i < fs->all.n && err == 0; i++)
		if (fs->all.v[i]->late)
			err = open_one(s, fs->all.v[i]);
	at_object(s, NULL);
	return err;
}

static int send_one(struct session *s, int sock, int fd)
{
	const struct blob_shared *sh = s->restore->arena.shared;
	uint64_t limit = now_us() + SEND_LIMIT_US;
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	char byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	struct cmsghdr *c = &control.align;

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	while (sendmsg(sock, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
		struct pollfd p = { .fd = sock, .events = POLLOUT };

		/* ETOOMANYREFS: too many on their way, for an engine without privileges */
		if ((errno != EAGAIN && errno != EINTR && errno != ETOOMANYREFS) || now_us() > limit)
			return fail(s, errno, "passing on a descriptor: %s", strerror(errno));
		/* a task that failed takes nothing: the next barrier tells why */
		if (__atomic_load_n(&sh->abort, __ATOMIC_ACQUIRE) || sh->dead_tid)
			return 0;
		poll(&p, 1, SEND_NAP_MS);
	}
	return 0;
}

int restore_send_late(struct session *s)
{
	int err = 0;

	for (size_t i = 0; i < s->restore->late.n && err == 0; i++) {
		struct late_table *lt = &s->restore->late.v[i];

		for (size_t j = 0; j < lt->files.n && err == 0; j++)
			err = send_one(s, lt->ours, lt->files.v[j]->fd);
	}
	return err;
}

void restore_free_late(struct restore *r)
{
	for (size_t i = 0; i < r->late.n; i++)
		vec_free(&r->late.v[i].files);
	vec_free(&r->late);
}
