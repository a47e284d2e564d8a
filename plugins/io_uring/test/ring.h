/* SPDX-License-Identifier: MIT */
/* ring.h: a small ring by raw system calls, for the test programs. */
#ifndef TEST_RING_H
#define TEST_RING_H

#include <linux/io_uring.h>
#include <stdint.h>
#include <sys/syscall.h>

#include "prog.h"

struct ring {
	int fd;
	struct io_uring_params p;
	char *mem;
	struct io_uring_sqe *sqes;
	uint32_t tail; /* our own copy, as liburing has one */
};

static inline uint32_t *ring_word(const struct ring *r, uint32_t off)
{
	return (uint32_t *)(void *)(r->mem + off);
}

#define RING_BARE (1u << 16) /* IORING_SETUP_NO_SQARRAY */

/* 1: entries are twice as large. */
static inline int ring_wide(const struct ring *r, uint32_t flag)
{
	return (r->p.flags & flag) != 0;
}

/* With r->p as it is; errno when the kernel does not make it, else 0. */
static inline int ring_setup(struct ring *r, uint32_t entries)
{
	size_t bytes;

	r->fd = syscall(SYS_io_uring_setup, entries, &r->p);
	if (r->fd < 0)
		return errno;
	bytes = r->p.flags & RING_BARE ? 0 : r->p.sq_off.array + r->p.sq_entries * 4;
	if (bytes < r->p.cq_off.cqes + (r->p.cq_entries * sizeof(struct io_uring_cqe) << ring_wide(r, IORING_SETUP_CQE32)))
		bytes = r->p.cq_off.cqes + (r->p.cq_entries * sizeof(struct io_uring_cqe) << ring_wide(r, IORING_SETUP_CQE32));
	r->mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, r->fd, IORING_OFF_SQ_RING);
	bytes = r->p.sq_entries * sizeof(*r->sqes) << ring_wide(r, IORING_SETUP_SQE128);
	r->sqes = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, r->fd, IORING_OFF_SQES);
	CHECK(r->mem != MAP_FAILED && (void *)r->sqes != MAP_FAILED);
	return 0;
}

static inline int ring_try(struct ring *r, uint32_t entries, uint32_t flags, uint32_t cq_entries, uint32_t idle)
{
	memset(r, 0, sizeof(*r));
	r->p.flags = flags | (cq_entries ? IORING_SETUP_CQSIZE : 0);
	r->p.cq_entries = cq_entries;
	r->p.sq_thread_idle = idle;
	return ring_setup(r, entries);
}

/* Shares the threads of another ring. */
static inline int ring_attach(struct ring *r, uint32_t entries, uint32_t flags, int other)
{
	memset(r, 0, sizeof(*r));
	r->p.flags = flags | IORING_SETUP_ATTACH_WQ;
	r->p.wq_fd = other;
	return ring_setup(r, entries);
}

static inline void ring_make(struct ring *r, uint32_t entries, uint32_t flags, uint32_t cq_entries)
{
	int err = ring_try(r, entries, flags, cq_entries, 0);

	if (err == EPERM || err == ENOSYS)
		prog_skip("this kernel gives no io_uring: %s", strerror(err));
	CHECK(!err);
}

static inline struct io_uring_sqe *ring_sqe(struct ring *r, int op, int fd, uint64_t user)
{
	uint32_t mask = r->p.sq_entries - 1, at = r->tail++ & mask;
	struct io_uring_sqe *e = &r->sqes[at << ring_wide(r, IORING_SETUP_SQE128)];

	memset(e, 0, sizeof(*e) << ring_wide(r, IORING_SETUP_SQE128));
	e->opcode = op;
	e->fd = fd;
	e->user_data = user;
	if (!(r->p.flags & RING_BARE))
		ring_word(r, r->p.sq_off.array)[at] = at;
	return e;
}

/* What ring_sqe() has prepared; waits for so many completions. */
static inline void ring_submit(struct ring *r, uint32_t wait)
{
	uint32_t n = r->tail - *ring_word(r, r->p.sq_off.tail), flags = wait ? IORING_ENTER_GETEVENTS : 0;

	__atomic_store_n(ring_word(r, r->p.sq_off.tail), r->tail, __ATOMIC_SEQ_CST);
	if (r->p.flags & IORING_SETUP_SQPOLL &&
	    __atomic_load_n(ring_word(r, r->p.sq_off.flags), __ATOMIC_SEQ_CST) & IORING_SQ_NEED_WAKEUP)
		flags |= IORING_ENTER_SQ_WAKEUP;
	CHECK(syscall(SYS_io_uring_enter, r->fd, n, wait, flags, NULL, 0) == (long)n);
}

/* The next completion, which must be there. */
static inline int ring_take(struct ring *r, uint64_t user)
{
	uint32_t head = *ring_word(r, r->p.cq_off.head);
	struct io_uring_cqe *c;
	int res;

	CHECK(head != __atomic_load_n(ring_word(r, r->p.cq_off.tail), __ATOMIC_SEQ_CST));
	c = (struct io_uring_cqe *)(void *)(r->mem + r->p.cq_off.cqes) +
	    ((head & (r->p.cq_entries - 1)) << ring_wide(r, IORING_SETUP_CQE32));
	if (c->user_data != user)
		prog_fail("flags %#x: completion of %#llx, not %#llx", r->p.flags, (unsigned long long)c->user_data,
			  (unsigned long long)user);
	res = c->res;
	__atomic_store_n(ring_word(r, r->p.cq_off.head), head + 1, __ATOMIC_SEQ_CST);
	return res;
}

static inline int ring_empty(const struct ring *r)
{
	return *ring_word(r, r->p.cq_off.head) == __atomic_load_n(ring_word(r, r->p.cq_off.tail), __ATOMIC_SEQ_CST);
}

static inline void ring_nops(struct ring *r, int n, uint64_t user)
{
	for (int i = 0; i < n; i++) {
		ring_sqe(r, IORING_OP_NOP, -1, user + i);
		ring_submit(r, 1);
		CHECK(ring_take(r, user + i) == 0);
	}
}

#endif
