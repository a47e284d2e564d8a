/* SPDX-License-Identifier: MIT */
/*
 * setup.c: how a ring was set up, which nothing tells directly.
 *
 * What matters of it shows in how calls by somebody else, the engine, fail:
 *  - io_uring_register() by another task than the only one allowed gives EEXIST (SINGLE_ISSUER);
 *    so does io_uring_enter() for events, when only that one may run the completions (DEFER_TASKRUN);
 *  - io_uring_enter() on a ring that is not enabled yet gives EBADFD (R_DISABLED), and only a ring with DEFER_TASKRUN
 *    would look at the argument of IORING_REGISTER_RESIZE_RINGS (Linux 6.13);
 *  - a ring that is polled for completions (IOPOLL) does not look at the time to wait at most;
 *  - a ring in memory of the program (NO_MMAP) cannot be mapped.
 *
 * Sizes and places of the entries (CQE32, SQE128, NO_SQARRAY) show in the way in which fdinfo prints them.  It prints what
 * lies between head and tail; so both heads, which the kernel itself never reads there while the ring is idle, go back
 * for a moment.
 */
#include "uring.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE 4096
#define REGISTER_RESIZE 33     /* Linux 6.13 */
#define REGISTER_MEM_REGION 34 /* Linux 6.13 */
#define BAD_POINTER ((void *)8)
#define SHOWN_REQUESTS 64u
#define CQE_32 (1u << 15) /* IORING_CQE_F_32, Linux 6.18 */

/* ---- places of the entries ---- */

/* What fdinfo tells about the entries that it prints. */
static void read_shape(const char *text, uint32_t *ret_setup)
{
	const char *sqe = uring_list(text, "SQEs"), *cqe = uring_list(text, "CQEs"), *flag;

	if (!sqe)
		*ret_setup |= IORING_SETUP_NO_SQARRAY;
	else if (memmem(sqe, strcspn(sqe, "\n"), ", e0:", 5))
		*ret_setup |= IORING_SETUP_SQE128;
	if (!cqe || !memmem(cqe, strcspn(cqe, "\n"), ", extra1:", 9))
		return;
	flag = strstr(cqe, ", flag:");
	*ret_setup |= flag && strtoul(flag + 7, NULL, 16) & CQE_32 ? IORING_SETUP_CQE_MIXED : IORING_SETUP_CQE32;
}

static char *map_head(int fd)
{
	char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, IORING_OFF_SQ_RING);

	return p == MAP_FAILED ? NULL : p;
}

static uint32_t *word_at(char *ring, uint32_t off)
{
	return (uint32_t *)(void *)(ring + off);
}

/* A head of a queue: where it is in the ring, what it is, and what it is for a moment. */
struct head {
	uint32_t at, old, moved;
};

/* Unless it has gone on since. */
static void put_back(char *ring, const struct head *h)
{
	uint32_t moved = h->moved;

	__atomic_compare_exchange_n(word_at(ring, h->at), &moved, h->old, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

int uring_undo(int fd, const char *text)
{
	_cleanup_fd_ int pidfd = -1, ours = -1;
	struct head sq, cq;
	int pid, slot;
	char *ring;

	(void)fd;
	if (sscanf(text, "%d %d %u %u %u %u %u %u", &pid, &slot, &sq.at, &sq.old, &sq.moved, &cq.at, &cq.old, &cq.moved) != 8 ||
	    MAX_OF(sq.at, cq.at) > PAGE - 4)
		return -EINVAL;
	pidfd = syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0)
		return 0; /* it is gone, and its ring with it */
	ours = syscall(SYS_pidfd_getfd, pidfd, slot, 0);
	if (ours < 0 && (errno == ESRCH || errno == EBADF)) /* a zombie has no descriptors */
		return 0;
	ring = ours < 0 ? NULL : map_head(ours);
	if (!ring)
		return -errno;
	put_back(ring, &sq);
	put_back(ring, &cq);
	munmap(ring, PAGE);
	return 0;
}

/* Lets fdinfo print the last entries of both queues. p: offsets, as any ring has them. */
static int probe_shape(struct cr_session *s, struct cr_file *file, int fd, const struct uring_facts *f,
		       const struct io_uring_params *p, uint32_t *ret_setup)
{
	_cleanup_buf_ struct buf text = { 0 };
	char record[120], *ring;
	struct head sq, cq;
	struct cr_task *t;
	int slot, err = s->core->file_slot(s, file, 0, &t, &slot);

	if (err < 0)
		return cr_refuse(s, "let the program receive it before the dump", "the ring is on its way through a socket");
	ring = map_head(fd);
	if (!ring)
		return cr_refuse(s, "let the program make its ring without IORING_SETUP_NO_MMAP",
				 "the ring cannot be mapped: it is in memory of the program");
	sq = (struct head){ p->sq_off.head, *word_at(ring, p->sq_off.head), f->sq_tail - MIN_OF(f->sq_entries, SHOWN_REQUESTS) };
	cq = (struct head){ p->cq_off.head, *word_at(ring, p->cq_off.head), f->cq_tail - 1 };
	/* named and not passed: a ring cannot be sent to another process (Linux 6.7) */
	snprintf(record, sizeof(record), "%d %d %u %u %u %u %u %u", s->core->task_pid(t), slot, sq.at, sq.old, sq.moved, cq.at,
		 cq.old, cq.moved);
	err = s->core->undo(s, CR_UNDO_PLUGIN, -1, record, 1);
	if (!err) {
		__atomic_store_n(word_at(ring, sq.at), sq.moved, __ATOMIC_SEQ_CST);
		__atomic_store_n(word_at(ring, cq.at), cq.moved, __ATOMIC_SEQ_CST);
		err = uring_fdinfo(fd, &text);
		put_back(ring, &sq);
		put_back(ring, &cq);
		if (err)
			cr_fail(s, -err, "fdinfo of the ring: %s", strerror(-err));
	}
	munmap(ring, PAGE);
	if (!err)
		read_shape(text.p, ret_setup);
	return err;
}

/*
 * Of a ring without an array (NO_SQARRAY) fdinfo prints no requests.  Are they twice as large?  Then so is the place for
 * them: in pages, or else something is where no request of the usual size has been.
 */
static int is_wide(struct cr_session *s, struct cr_file *file, int fd, const struct uring_facts *f)
{
	size_t size = f->sq_entries * sizeof(struct io_uring_sqe);
	size_t used = MIN_OF(f->sq_tail, f->sq_entries) * sizeof(struct io_uring_sqe), bytes = MAX_OF(2 * size, (size_t)PAGE);
	char *p = mmap(NULL, bytes, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, IORING_OFF_SQES);
	unsigned char there = 0;
	int wide = 0;

	if (p == MAP_FAILED)
		return 0; /* before 6.10: there is not so much */
	if (size >= PAGE) {
		wide = mincore(p + size, PAGE, &there) == 0 && there & 1;
	} else {
		for (size_t i = used; i < 2 * size; i++)
			wide |= p[i];
		if (!wide && f->sq_tail < 2)
			cr_lost(s, file, "IORING_SETUP_SQE128, if the ring has it: it has not been used enough to see that");
	}
	munmap(p, bytes);
	return wide != 0;
}

/* ---- what calls tell ---- */

static int probe_restrictions(struct cr_session *s, int fd)
{
	int r = uring_register(fd, IORING_REGISTER_PROBE, NULL, 1); /* who may ask is told EINVAL */

	/* a ring that is not enabled yet does not obey them */
	if (r == -EACCES || uring_register(fd, IORING_REGISTER_RESTRICTIONS, NULL, 0) == -EBUSY)
		return cr_refuse(s, "let the program do without IORING_REGISTER_RESTRICTIONS",
				 "the ring has restrictions, which cannot be read");
	if (uring_register(fd, REGISTER_MEM_REGION, BAD_POINTER, 1) == -EBUSY)
		return cr_refuse(s, "let the program do without IORING_REGISTER_MEM_REGION",
				 "the ring has a region for arguments registered, whose place cannot be read");
	return r == -EEXIST ? IORING_SETUP_SINGLE_ISSUER : 0;
}

static uint32_t probe_enter(int fd, uint32_t setup)
{
	const struct io_uring_getevents_arg arg = { .ts = (uintptr_t)BAD_POINTER };
	long r;

	if (setup & IORING_SETUP_SQPOLL)
		return uring_enter(fd, 0, 0, 0) == -EBADFD ? IORING_SETUP_R_DISABLED : 0;
	r = uring_enter(fd, 0, 0, IORING_ENTER_GETEVENTS);
	if (r == -EBADFD) {
		r = uring_register(fd, REGISTER_RESIZE, BAD_POINTER, 1);
		return IORING_SETUP_R_DISABLED |
		       (r == -EFAULT ? IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN : 0);
	}
	if (r == -EEXIST)
		setup |= IORING_SETUP_DEFER_TASKRUN;
	/* Linux 5.11; before, EINVAL */
	r = syscall(SYS_io_uring_enter, fd, 0, 0, IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &arg, sizeof(arg));
	if (r >= 0 || errno == EEXIST)
		setup |= IORING_SETUP_IOPOLL;
	return setup;
}

int uring_probe_setup(struct cr_session *s, struct cr_file *file, int fd, const struct uring_facts *f, uint32_t *ret)
{
	struct io_uring_params p = { .flags = 0 };
	_cleanup_fd_ int twin = uring_setup(1, &p);
	uint32_t setup = f->poll_tid >= 0 ? IORING_SETUP_SQPOLL : 0;
	int r;

	if (twin < 0)
		return cr_fail(s, -twin, "io_uring_setup: %s", strerror(-twin));
	r = probe_shape(s, file, fd, f, &p, &setup);
	if (r < 0)
		return r;
	r = probe_restrictions(s, fd);
	if (r < 0)
		return r;
	if (setup & IORING_SETUP_NO_SQARRAY && is_wide(s, file, fd, f))
		setup |= IORING_SETUP_SQE128;
	*ret = setup | (uint32_t)r | probe_enter(fd, setup);
	return 0;
}

/* ---- the only task that may use it ---- */

static void lose_issuer(struct cr_session *s, struct cr_file *file, uring_msg *msg, const char *why)
{
	cr_lost(s, file, "IORING_SETUP_SINGLE_ISSUER%s: every task may use the ring afterwards; %s",
		msg->setup & IORING_SETUP_DEFER_TASKRUN ? " and IORING_SETUP_DEFER_TASKRUN" : "", why);
	msg->setup &= ~(uint32_t)(IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);
}

/* The process that has its descriptors, when it is one. */
static struct cr_task *only_holder(struct cr_session *s, struct cr_file *file)
{
	struct cr_task *t, *owner = NULL;
	int fd;

	for (size_t i = 0; !s->core->file_slot(s, file, i, &t, &fd); i++) {
		if (owner && owner != t)
			return NULL;
		owner = t;
	}
	return owner;
}

void uring_take_issuer(struct cr_session *s, struct cr_file *file, const struct uring_issuer *who, uring_msg *msg)
{
	if (!(msg->setup & IORING_SETUP_SINGLE_ISSUER) || msg->setup & IORING_SETUP_R_DISABLED)
		return; /* the one that enables it will be the only one */
	if (!only_holder(s, file))
		lose_issuer(s, file, msg, "several processes have it");
	else if (who->fd < 0)
		lose_issuer(s, file, msg, "its only task is gone");
	else if (who->thread)
		lose_issuer(s, file, msg, "its only task is another thread than the first of its process");
	else if (!(msg->setup & IORING_SETUP_SQPOLL) && (!uring_mapped(s, who->task, file, IORING_OFF_SQ_RING) ||
							 !uring_mapped(s, who->task, file, IORING_OFF_SQES)))
		lose_issuer(s, file, msg, "its task has not mapped it");
	else
		msg->issuer = (uint32_t)s->core->task_vpid(who->task);
	msg->has_issuer = msg->issuer != 0;
}
