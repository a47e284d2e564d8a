/* SPDX-License-Identifier: MIT */
/*
 * feed.c: gives a new ring the counters and the contents of an old one.
 *
 * The kernel counts, in 32 bits, the requests that it has taken and the completions that it has
 * given, and cannot be told to begin anywhere but at 0.  A program (liburing) has copies of these
 * counters.  So the new ring is fed with requests that do nothing (all bytes 0 is IORING_OP_NOP)
 * until it has counted as far: some ten millions a second.  Then all memory of the ring, except what the
 * kernel alone writes, becomes what it was.
 */
#include "uring.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SPINS 1000
#define WAIT_S 60

int uring_same_layout(const struct io_uring_params *p, const XIoUringLayout *l)
{
	return p->sq_off.head == l->sq_head && p->sq_off.tail == l->sq_tail && p->sq_off.array == l->sq_array &&
	       p->cq_off.head == l->cq_head && p->cq_off.tail == l->cq_tail && p->cq_off.flags == l->cq_flags &&
	       p->cq_off.cqes == l->cqes;
}

static uint32_t get(const struct uring_map *m, uint32_t off)
{
	return __atomic_load_n(uring_word(m, off), __ATOMIC_ACQUIRE);
}

static void set(const struct uring_map *m, uint32_t off, uint32_t v)
{
	__atomic_store_n(uring_word(m, off), v, __ATOMIC_RELEASE);
}

/* The polling thread takes what is there. */
static int wait_polled(int fd, const struct uring_map *m, uint32_t tail)
{
	const struct timespec nap = { 0, 100000 };
	uint64_t limit = now_us() + WAIT_S * 1000000ull;

	for (unsigned i = 0; get(m, m->p.sq_off.head) != tail; i++) {
		if (get(m, m->p.sq_off.flags) & IORING_SQ_NEED_WAKEUP)
			uring_enter(fd, 0, 0, IORING_ENTER_SQ_WAKEUP);
		if (i > SPINS)
			nanosleep(&nap, NULL);
		if (now_us() > limit)
			return -ETIMEDOUT;
	}
	return 0;
}

/* n requests that stand at the front of the array. */
static int submit(int fd, const struct uring_map *m, uint32_t n)
{
	uint32_t tail = get(m, m->p.sq_off.tail) + n;
	int r;

	set(m, m->p.sq_off.tail, tail);
	if (m->p.flags & IORING_SETUP_SQPOLL)
		return wait_polled(fd, m, tail);
	r = uring_enter(fd, n, 0, 0);
	return r < 0 ? r : r == (int)n ? 0 : -EIO;
}

/* Where request i is written. */
static struct io_uring_sqe *sqe_at(const struct uring_map *m, uint32_t i)
{
	return (struct io_uring_sqe *)m->sqes + (i << !!(m->p.flags & IORING_SETUP_SQE128));
}

static void set_index(const struct uring_map *m, uint32_t i)
{
	if (!(m->p.flags & IORING_SETUP_NO_SQARRAY))
		set(m, m->p.sq_off.array + i * 4, i);
}

/* Requests that do nothing; skip: without completions. */
static int feed_nops(int fd, const struct uring_map *m, uint32_t n, int skip)
{
	uint32_t most = MIN_OF(m->p.sq_entries, m->p.cq_entries);
	int err = 0;

	memset(m->sqes, 0, m->sqes_bytes);
	for (uint32_t i = 0; i < m->p.sq_entries; i++) {
		set_index(m, i);
		sqe_at(m, i)->flags = skip ? URING_CQE_SKIP : 0;
	}
	while (n && !err) {
		uint32_t k = MIN_OF(n, most);

		err = submit(fd, m, k);
		set(m, m->p.cq_off.head, get(m, m->p.cq_off.tail));
		n -= k;
	}
	return err;
}

/* Another ring sends them. */
int uring_feed_messages(int fd, const struct uring_map *m, uint32_t n)
{
	struct uring_map aux = { 0 };
	_cleanup_fd_ int ring = uring_setup(64, &aux.p);
	struct io_uring_sqe *sqe;
	int err = ring < 0 ? ring : uring_map(ring, &aux);

	if (err)
		return err;
	sqe = (struct io_uring_sqe *)aux.sqes;
	for (uint32_t i = 0; i < aux.p.sq_entries; i++) {
		memset(&sqe[i], 0, sizeof(*sqe));
		sqe[i].opcode = URING_OP_MSG;
		sqe[i].fd = fd;
		set(&aux, aux.p.sq_off.array + i * 4, i);
	}
	while (n && !err) {
		uint32_t k = MIN_OF(n, MIN_OF(aux.p.sq_entries, m->p.cq_entries)), before = get(m, m->p.cq_off.tail);

		err = submit(ring, &aux, k);
		if (!err && get(m, m->p.cq_off.tail) - before != k)
			err = -EIO;
		set(&aux, aux.p.cq_off.head, get(&aux, aux.p.cq_off.tail));
		set(m, m->p.cq_off.head, get(m, m->p.cq_off.tail));
		n -= k;
	}
	uring_unmap(&aux);
	return err;
}

int uring_feed(int fd, const struct uring_map *m, const uring_msg *msg)
{
	uint32_t both = MIN_OF(msg->sq_count, msg->cq_count);
	int err = feed_nops(fd, m, both, 0);

	if (!err && msg->sq_count > both)
		err = feed_nops(fd, m, msg->sq_count - both, 1);
	if (!err && msg->cq_count > both)
		err = uring_feed_messages(fd, m, msg->cq_count - both);
	return err;
}

static void copy_part(const struct uring_map *m, const uring_msg *msg, uint32_t off, size_t len)
{
	if (off < msg->ring.len && off < m->ring_bytes)
		memcpy(m->ring + off, msg->ring.data + off, MIN_OF(len, MIN_OF(msg->ring.len, m->ring_bytes) - off));
}

void uring_fill(const struct uring_map *m, const uring_msg *msg)
{
	const struct io_sqring_offsets *sq = &m->p.sq_off;
	const struct io_cqring_offsets *cq = &m->p.cq_off;

	memcpy(m->sqes, msg->sqes.data, MIN_OF(msg->sqes.len, m->sqes_bytes));
	copy_part(m, msg, cq->cqes, m->p.cq_entries * sizeof(struct io_uring_cqe) << !!(m->p.flags & IORING_SETUP_CQE32));
	if (!(m->p.flags & IORING_SETUP_NO_SQARRAY))
		copy_part(m, msg, sq->array, m->p.sq_entries * sizeof(uint32_t));
	copy_part(m, msg, cq->flags, sizeof(uint32_t));
	copy_part(m, msg, cq->head, sizeof(uint32_t));
	copy_part(m, msg, sq->tail, sizeof(uint32_t));
}
