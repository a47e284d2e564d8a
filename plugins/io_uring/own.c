/* SPDX-License-Identifier: MIT */
/*
 * own.c: rings with a polling thread (IORING_SETUP_SQPOLL) and rings for a single task (IORING_SETUP_SINGLE_ISSUER).
 *
 * The thread belongs to the process that makes the ring and acts under its credentials of that moment, and the single
 * task is the one that makes the ring; so the process makes it itself, at CR_STAGE_OWN.  Until then a ring of another
 * sort holds the descriptors; then the new one takes their numbers.
 *
 * When all tasks are there the engine gets a descriptor of each and gives it its contents; its counters, too, when that
 * is possible from outside.  A ring for a single task is fed by this task, when it has mapped it.
 */
#include "uring.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define REGISTER_SEND_MSG 31 /* IORING_REGISTER_SEND_MSG_RING, Linux 6.13 */
#define SKIPPING_MAX 4096u /* requests that are written one by one */
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

	uring_params(s, u->msg, 1, &p);
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

static pid_t maker_of(const uring_msg *msg)
{
	return (pid_t)(msg->has_poller ? msg->poller : msg->issuer);
}

int uring_own_wire(struct cr_session *s, struct cr_file *f)
{
	struct uring *u = s->core->file_priv(f);
	struct cr_task *t;
	uint64_t made;
	int fd, err;

	u->owner = s->core->task_by_vpid(s, maker_of(u->msg));
	u->slot = u->owner ? slot_of(s, u->owner, s->core->file_id(f)) : -1;
	if (u->slot < 0)
		return cr_fail(s, EPROTO, "the image has a ring of pid %d, which has no descriptor of it", maker_of(u->msg));
	err = queue_setup(s, u, &made);
	for (size_t i = 0; !err && !s->core->file_slot(s, f, i, &t, &fd); i++)
		if (t == u->owner)
			err = common_queue_move(s, t, CR_STAGE_OWN, made, fd);
	if (!err)
		err = CALL(s, u->owner, CR_WANT_ZERO, SYS_close, CR_LOAD(made));
	return err ? err : queue_registered(s, u);
}

/* ---- the counters of a ring for a single task ---- */

/* Requests that one call submits, so that their completions have room. */
static uint32_t at_once(const uring_msg *m)
{
	return MIN_OF(m->sq_entries, m->cq_entries);
}

/* Completions without requests come over the task itself. */
static int is_deferred(const uring_msg *m)
{
	return m->setup & IORING_SETUP_DEFER_TASKRUN && !(m->setup & IORING_SETUP_IOPOLL);
}

static uint32_t surplus(const uring_msg *m)
{
	return m->cq_count > m->sq_count ? m->cq_count - m->sq_count : 0;
}

void uring_own_load(struct cr_session *s, struct cr_file *f, uring_msg *m)
{
	const char *why = NULL;

	if (!m->has_issuer || m->has_poller)
		return;
	if (m->setup & IORING_SETUP_NO_SQARRAY && m->sq_count > m->cq_count && m->sq_entries > SKIPPING_MAX)
		why = "it is too large for requests without completions";
	else if (m->sq_count / at_once(m) >= CR_TIMES_MAX || (is_deferred(m) && surplus(m) > CR_TIMES_MAX))
		why = "its counters are too far from 0";
	else if (is_deferred(m) && surplus(m) && uring_register(-1, REGISTER_SEND_MSG, (void *)8, 1) != -EFAULT)
		why = "this kernel (older than 6.13) cannot bring its counters to their values";
	if (!why)
		return;
	cr_lost(s, f, "IORING_SETUP_SINGLE_ISSUER%s: every task may use the ring: %s",
		is_deferred(m) ? " and IORING_SETUP_DEFER_TASKRUN" : "", why);
	m->has_issuer = 0;
}

static int queue_word(struct cr_session *s, const struct uring *u, uint32_t off, uint32_t value)
{
	return s->core->plan_write(s, u->owner, CR_STAGE_OWN, u->ring + off, &value, sizeof(value));
}

/* The completions are taken for read. */
static int queue_reading(struct cr_session *s, const struct uring *u)
{
	return s->core->plan_copy(s, u->owner, CR_STAGE_OWN, u->ring + u->p.cq_off.head, u->ring + u->p.cq_off.tail, 4);
}

/* Requests that do nothing, until the kernel has counted to tail. The ring is new: all of its requests are such. */
static int queue_nops(struct cr_session *s, const struct uring *u, uint32_t tail, uint32_t n)
{
	uint32_t most = at_once(u->msg);
	int err = n ? queue_word(s, u, u->p.sq_off.tail, tail) : 0;

	if (!n || err)
		return err;
	err = CALL(s, u->owner, CR_WANT_NONNEG, SYS_io_uring_enter, IMM(u->slot), IMM(most));
	if (!err)
		err = queue_reading(s, u);
	/* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): rings without entries are refused before */
	return err ? err : s->core->plan_repeat(s, u->owner, CR_STAGE_OWN, 2, (n - 1) / most + 1);
}

static int queue_skipping(struct cr_session *s, const struct uring *u)
{
	size_t size = sizeof(struct io_uring_sqe) << !!(u->p.flags & IORING_SETUP_SQE128);
	struct io_uring_sqe sqe = { .flags = URING_CQE_SKIP };
	int err = 0;

	/* where there is an array, it is all zeros: it names the first request only */
	for (uint32_t i = 0; !err && i < (u->p.flags & IORING_SETUP_NO_SQARRAY ? u->msg->sq_entries : 1); i++)
		err = s->core->plan_write(s, u->owner, CR_STAGE_OWN, u->sqes + i * size, &sqe, sizeof(sqe));
	return err;
}

static int queue_surplus(struct cr_session *s, const struct uring *u)
{
	struct io_uring_sqe sqe = { .opcode = URING_OP_MSG, .fd = u->slot };
	uint64_t addr;
	int err = s->core->plan_data(s, u->owner, &sqe, sizeof(sqe), &addr);

	if (!err)
		err = CALL(s, u->owner, CR_WANT_NONNEG, SYS_io_uring_register, IMM(-1), IMM(REGISTER_SEND_MSG), IMM(addr),
			   IMM(1));
	if (!err)
		err = CALL(s, u->owner, CR_WANT_NONNEG, SYS_io_uring_enter, IMM(u->slot), IMM(0), IMM(0),
			   IMM(IORING_ENTER_GETEVENTS));
	if (!err)
		err = queue_reading(s, u);
	return err ? err : s->core->plan_repeat(s, u->owner, CR_STAGE_OWN, 3, surplus(u->msg));
}

int uring_own_mapped(struct cr_session *s, struct cr_file *f, const struct cr_vma_info *info)
{
	struct uring *u = s->core->file_priv(f);
	uint32_t both = MIN_OF(u->msg->sq_count, u->msg->cq_count), rest = u->msg->sq_count - both;
	int had = u->ring && u->sqes, err;

	if (info->pgoff == IORING_OFF_SQ_RING && info->prot & PROT_WRITE)
		u->ring = info->start;
	if (info->pgoff == IORING_OFF_SQES && info->prot & PROT_WRITE)
		u->sqes = info->start;
	if (had || !u->ring || !u->sqes || u->msg->has_poller)
		return 0;
	err = queue_nops(s, u, both, both);
	if (!err && rest)
		err = queue_skipping(s, u);
	if (!err)
		err = queue_nops(s, u, u->msg->sq_count, rest);
	return !err && is_deferred(u->msg) && surplus(u->msg) ? queue_surplus(s, u) : err;
}

/* ---- when the tasks exist ---- */

/* What the engine can do of it, and whether the task has done the rest. */
static int feed(struct cr_session *s, int fd, const struct uring_map *m, const struct uring *u)
{
	struct uring_facts now;
	int err = 0;

	if (u->msg->setup & IORING_SETUP_R_DISABLED)
		return 0;
	if (u->msg->has_poller)
		return uring_feed(fd, m, u->msg);
	if (surplus(u->msg) && !is_deferred(u->msg))
		err = uring_feed_messages(fd, m, surplus(u->msg));
	if (!err)
		err = uring_read(fd, &now);
	if (!err && (now.sq_count != u->msg->sq_count || now.cq_count != u->msg->cq_count)) {
		cr_debug(s, "ring has counted %u requests, %u completions, not %u, %u", now.sq_count, now.cq_count,
			 u->msg->sq_count, u->msg->cq_count);
		return -ERANGE;
	}
	return err;
}

static int finish(struct cr_session *s, const struct uring *u)
{
	pid_t maker = maker_of(u->msg);
	_cleanup_fd_ int pidfd = syscall(SYS_pidfd_open, maker, 0);
	_cleanup_fd_ int fd = pidfd < 0 ? -1 : syscall(SYS_pidfd_getfd, pidfd, u->slot, 0);
	struct uring_map m = { .p = u->p };
	int err;

	if (fd < 0)
		return cr_fail(s, errno, "cannot get at the ring of pid %d: %s", maker, strerror(errno));
	m.p.flags |= u->msg->has_poller ? IORING_SETUP_SQPOLL : 0;
	err = uring_map(fd, &m);
	if (!err)
		err = feed(s, fd, &m, u);
	if (!err)
		uring_fill(&m, u->msg);
	uring_unmap(&m);
	return err ? cr_fail(s, -err, "giving the ring of pid %d its state: %s", maker, strerror(-err)) : 0;
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
