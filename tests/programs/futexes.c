/* SPDX-License-Identifier: MIT */
/*
 * Threads that wait on futexes in every way: WAIT, WAIT_BITSET, with absolute limits of both clocks, LOCK_PI and LOCK_PI2
 * in a queue, WAIT_REQUEUE_PI, futex_waitv, futex_wait; all private and shared.  None comes back by itself, each does when
 * its futex is woken, and locks change hands to those who waited.
 */
#include "prog.h"

#include <linux/futex.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/syscall.h>

#define PI_WAITERS 4
#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif
enum { FUTEX_LOCK_PI2_OP = 13, FUTEX2_U32 = 2, FUTEX2_PRIV = 128, SYS_FUTEX_WAKE2 = 454, SYS_FUTEX_WAIT2 = 455 };

struct waitv {
	uint64_t val, uaddr;
	uint32_t flags, reserved;
};

struct words {
	uint32_t wait, bitset, abs_mono, abs_real, waitv[3], wait2, pi, cond, pi2;
	int up, back, locked, order;
};
static struct words *own, *shared;
static int go_seen;

struct job {
	struct words *w;
	int kind, n, priv;
	char why[160];
};

static long futex(void *addr, int op, long val, const void *ts, void *addr2, unsigned val3)
{
	return syscall(SYS_futex, addr, op, val, ts, addr2, val3);
}

static struct timespec in(clockid_t clock, int sec)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	ts.tv_sec += sec;
	return ts;
}

static int lock(struct words *w, uint32_t *word, int op)
{
	uint32_t mine = gettid(), zero = 0;

	if (!__atomic_compare_exchange_n(word, &zero, mine, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST) &&
	    futex(word, op, 0, NULL, NULL, 0) < 0)
		return -errno;
	if ((*word & FUTEX_TID_MASK) != mine)
		return -999;
	prog_count(&w->locked);
	return 0;
}

static int unlock(uint32_t *word, int priv)
{
	uint32_t mine = gettid();

	if (__atomic_compare_exchange_n(word, &mine, 0, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		return 0;
	return futex(word, FUTEX_UNLOCK_PI | priv, 0, NULL, NULL, 0) < 0 ? -errno : 0;
}

static int wait_job(struct job *j)
{
	int p = j->priv ? FUTEX_PRIVATE_FLAG : 0, r = 0;
	struct words *w = j->w;
	struct timespec ts;
	struct waitv v[3];

	switch (j->kind) {
	case 0:
		return futex(&w->wait, FUTEX_WAIT | p, 1, NULL, NULL, 0) < 0 ? -errno : 0;
	case 1:
		return futex(&w->bitset, FUTEX_WAIT_BITSET | p, 1, NULL, NULL, 0x10) < 0 ? -errno : 0;
	case 2:
		ts = in(CLOCK_MONOTONIC, 100);
		return futex(&w->abs_mono, FUTEX_WAIT_BITSET | p, 1, &ts, NULL, ~0u) < 0 ? -errno : 0;
	case 3:
		ts = in(CLOCK_REALTIME, 100);
		return futex(&w->abs_real, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME | p, 1, &ts, NULL, ~0u) < 0 ? -errno : 0;
	case 4:
		for (int i = 0; i < 3; i++)
			v[i] = (struct waitv){ 1, (uintptr_t)&w->waitv[i], FUTEX2_U32 | (j->priv ? FUTEX2_PRIV : 0), 0 };
		ts = in(CLOCK_MONOTONIC, 100);
		r = syscall(SYS_futex_waitv, v, 3, 0, &ts, CLOCK_MONOTONIC);
		return r == 1 ? 0 : r < 0 ? -errno : r;
	case 5:
		r = syscall(SYS_FUTEX_WAIT2, &w->wait2, 1ul, ~0ul, FUTEX2_U32 | (j->priv ? FUTEX2_PRIV : 0), NULL,
			    CLOCK_MONOTONIC);
		return r < 0 ? -errno : 0;
	case 6:
		r = lock(w, &w->pi, FUTEX_LOCK_PI | p);
		return r ? r : unlock(&w->pi, p);
	case 7:
		r = lock(w, &w->pi2, FUTEX_LOCK_PI2_OP | p);
		return r ? r : unlock(&w->pi2, p);
	case 8:
		/*
		 * a condition variable with a PI mutex; interrupted before it is moved, it says EAGAIN when the word has
		 * changed
		 */
		r = futex(&w->cond, FUTEX_WAIT_REQUEUE_PI | p, 1, NULL, &w->pi, 0);
		if (r < 0)
			return -errno;
		return (w->pi & FUTEX_TID_MASK) == (uint32_t)gettid() ? unlock(&w->pi, p) : -998;
	}
	return -1;
}

static void *thread(void *arg)
{
	struct job *j = arg;
	int r;

	prog_count(&j->w->up);
	r = wait_job(j);
	if (r || !__atomic_load_n(&go_seen, __ATOMIC_SEQ_CST))
		snprintf(j->why, sizeof(j->why), "kind %d, %s: %d (%s)%s", j->kind, j->priv ? "private" : "shared", r,
			 strerror(-r), go_seen ? "" : " before its time");
	prog_count(&j->w->back);
	return NULL;
}

#define KINDS 9
static struct job jobs[2 * (KINDS + 2 * PI_WAITERS)];
static pthread_t threads[2 * (KINDS + 2 * PI_WAITERS)];
static int njobs;

static void start(struct words *w, int priv, int kind, int n)
{
	jobs[njobs] = (struct job){ .w = w, .kind = kind, .n = n, .priv = priv };
	CHECK(pthread_create(&threads[njobs], NULL, thread, &jobs[njobs]) == 0);
	njobs++;
}

static int has_wait2(void)
{
	uint32_t word = 0;

	return syscall(SYS_FUTEX_WAIT2, &word, 1ul, ~0ul, FUTEX2_U32 | FUTEX2_PRIV, NULL, CLOCK_MONOTONIC) < 0 && errno == EAGAIN;
}

static void make(struct words *w, int priv)
{
	int p = priv ? FUTEX_PRIVATE_FLAG : 0;

	w->wait = w->bitset = w->abs_mono = w->abs_real = w->wait2 = w->cond = 1;
	w->waitv[0] = w->waitv[1] = w->waitv[2] = 1;
	CHECK(lock(w, &w->pi, FUTEX_LOCK_PI | p) == 0 && lock(w, &w->pi2, FUTEX_LOCK_PI | p) == 0);
	for (int kind = 0; kind < KINDS; kind++)
		if (kind != 5 || has_wait2())
			for (int n = 0; n < (kind == 6 || kind == 7 ? PI_WAITERS : 1); n++)
				start(w, priv, kind, n);
}

static void wake(struct words *w, int priv)
{
	int p = priv ? FUTEX_PRIVATE_FLAG : 0;

	CHECK(w->back == 0 && w->locked == 2);
	CHECK(futex(&w->wait, FUTEX_WAKE | p, 1, NULL, NULL, 0) == 1);
	CHECK(futex(&w->bitset, FUTEX_WAKE_BITSET | p, 1, NULL, NULL, 0x0f) == 0);
	CHECK(futex(&w->bitset, FUTEX_WAKE_BITSET | p, 1, NULL, NULL, 0x11) == 1);
	CHECK(futex(&w->abs_mono, FUTEX_WAKE | p, 1, NULL, NULL, 0) == 1);
	CHECK(futex(&w->abs_real, FUTEX_WAKE | p, 1, NULL, NULL, 0) == 1);
	CHECK(futex(&w->waitv[1], FUTEX_WAKE | p, 1, NULL, NULL, 0) == 1);
	if (has_wait2())
		CHECK(futex(&w->wait2, FUTEX_WAKE | p, 1, NULL, NULL, 0) == 1);
	CHECK(futex(&w->cond, FUTEX_CMP_REQUEUE_PI | p, 1, (void *)1, &w->pi, 1) >= 0);
	CHECK(unlock(&w->pi, p) == 0 && unlock(&w->pi2, p) == 0);
}

int main(int argc, char **argv)
{
	prog_init(argc, argv);
	own = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	shared = prog_shared(4096);
	CHECK(own != MAP_FAILED);
	make(own, 1);
	make(shared, 0);
	prog_nap(200);
	prog_ready();
	prog_nap(100);
	for (int i = 0; i < njobs; i++)
		if (jobs[i].why[0])
			prog_fail("%s", jobs[i].why);
	__atomic_store_n(&go_seen, 1, __ATOMIC_SEQ_CST);
	wake(own, 1);
	wake(shared, 0);
	for (int i = 0; i < njobs; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	for (int i = 0; i < njobs; i++)
		if (jobs[i].why[0])
			prog_fail("%s", jobs[i].why);
	CHECK(own->pi == 0 && shared->pi == 0 && own->pi2 == 0 && shared->pi2 == 0);
	prog_ok();
}
