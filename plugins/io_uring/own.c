/* SPDX-License-Identifier: MIT */
/*
 * own.c: rings with a polling thread (IORING_SETUP_SQPOLL).
 *
 * The thread belongs to the process that makes the ring and acts under its credentials of that moment,
 * so the process makes the ring itself, at CR_STAGE_OWN.  Until then a ring without such a thread
 * holds the descriptors; then the new one takes their numbers.  When all tasks are there the engine
 * gets a descriptor of each and gives it its counters and contents.
 */
#include "uring.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define CALL(s, t, want, nr, ...) \
	((s)->core->plan_syscall((s), (t), CR_STAGE_OWN, (nr), (const struct cr_arg[6]){ __VA_ARGS__ }, (want)))

/* A descriptor of file id that the owner has, -1: none. */
static int slot_of(struct cr_session *s, const struct cr_task *owner, uint32_t id)
{
	struct cr_file *f = s->core->file_by_id(s, id);
	struct cr_task *t;
	int fd;

	for (size_t i = 0; f && !s->core->file_slot(s, f, i, &t, &fd); i++)
		if (t == owner)
			return fd;
	return -1;
}

static int queue_register(struct cr_session *s, const struct uring *u, uint32_t op, const void *data, size_t size, size_t n)
{
	uint64_t addr;
	int err = s->core->plan_data(s, u->owner, data, size * n, &addr);

	return err ? err : CALL(s, u->owner, CR_WANT_NONNEG, SYS_io_uring_register, IMM(u->slot), IMM(op), IMM(addr), IMM(n));
}

static int queue_registered(struct cr_session *s, const struct uring *u)
{
	const uring_msg *m = u->msg;
	_cleanup_free_ int *fds = xcalloc(m->n_files + 1, sizeof(*fds));
	_cleanup_free_ struct iovec *iov = xcalloc(m->n_buffers + 1, sizeof(*iov));
	int err = 0;

	for (size_t i = 0; i < m->n_files; i++) {
		fds[i] = m->files[i] ? slot_of(s, u->owner, m->files[i]) : -1;
		if (m->files[i] && fds[i] < 0)
			return cr_fail(s, EOPNOTSUPP, "file %u is registered with a ring of pid %d that has no descriptor of it",
				       m->files[i], s->core->task_vpid(u->owner));
	}
	for (size_t i = 0; i < m->n_buffers; i++)
		iov[i] = (struct iovec){ (void *)m->buffers[i]->addr, m->buffers[i]->len };
	if (m->n_files)
		err = queue_register(s, u, IORING_REGISTER_FILES, fds, sizeof(*fds), m->n_files);
	if (!err && m->n_buffers)
		err = queue_register(s, u, IORING_REGISTER_BUFFERS, iov, sizeof(*iov), m->n_buffers);
	if (!err && m->has_eventfd) {
		int efd = slot_of(s, u->owner, m->eventfd);

		err = queue_register(s, u, IORING_REGISTER_EVENTFD, &efd, sizeof(efd), 1);
	}
	return err;
}

static int queue_setup(struct cr_session *s, const struct uring *u, uint64_t *ret_made)
{
	struct cr_arg args[6] = { IMM(u->msg->sq_entries) };
	struct io_uring_params p;
	int err;

	uring_params(u->msg, 1, &p);
	if (u->msg->has_attach) {
		int fd = slot_of(s, u->owner, u->msg->attach);

		if (fd >= 0) {
			p.flags |= IORING_SETUP_ATTACH_WQ;
			p.wq_fd = (uint32_t)fd;
		}
	}
	err = s->core->plan_data(s, u->owner, &p, sizeof(p), &args[1].val);
	return err ? err : s->core->plan_call(s, u->owner, CR_STAGE_OWN, SYS_io_uring_setup, args, CR_WANT_NONNEG, ret_made);
}

int uring_own_wire(struct cr_session *s, struct cr_file *f)
{
	struct uring *u = s->core->file_priv(f);
	struct cr_task *t;
	uint64_t made;
	int fd, err;

	u->owner = s->core->task_by_vpid(s, (pid_t)u->msg->poller);
	u->slot = u->owner ? slot_of(s, u->owner, s->core->file_id(f)) : -1;
	if (u->slot < 0)
		return cr_fail(s, EPROTO, "the image has a ring with a polling thread in pid %u, which has no descriptor of it",
			       u->msg->poller);
	err = queue_setup(s, u, &made);
	for (size_t i = 0; !err && !s->core->file_slot(s, f, i, &t, &fd); i++)
		if (t == u->owner)
			err = common_queue_move(s, t, CR_STAGE_OWN, made, fd);
	if (!err)
		err = CALL(s, u->owner, CR_WANT_ZERO, SYS_close, CR_LOAD(made));
	return err ? err : queue_registered(s, u);
}

/* ---- when the tasks exist ---- */

static int finish(struct cr_session *s, const struct uring *u)
{
	_cleanup_fd_ int pidfd = syscall(SYS_pidfd_open, u->msg->poller, 0);
	_cleanup_fd_ int fd = pidfd < 0 ? -1 : syscall(SYS_pidfd_getfd, pidfd, u->slot, 0);
	struct uring_map m = { .p = u->p };
	int err;

	if (fd < 0)
		return cr_fail(s, errno, "cannot get at the ring of pid %u: %s", u->msg->poller, strerror(errno));
	m.p.flags |= IORING_SETUP_SQPOLL;
	err = uring_map(fd, &m);
	if (!err && !(u->msg->setup & IORING_SETUP_R_DISABLED))
		err = uring_feed(fd, &m, u->msg);
	if (!err)
		uring_fill(&m, u->msg);
	uring_unmap(&m);
	return err ? cr_fail(s, -err, "giving the ring of pid %u its state: %s", u->msg->poller, strerror(-err)) : 0;
}

int uring_restored(struct cr_session *s)
{
	int err = 0;

	for (struct cr_file *f = s->core->file_next(s, NULL); f && !err; f = s->core->file_next(s, f)) {
		const struct uring *u = strcmp(s->core->file_kind(f), URING_KIND) ? NULL : s->core->file_priv(f);

		if (u && u->owner)
			err = finish(s, u);
	}
	return err;
}
