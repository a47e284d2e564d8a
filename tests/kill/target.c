/* SPDX-License-Identifier: MIT */
/*
 * target DIR: three tasks of four threads that check themselves all the time, until they are killed.
 *
 * Of each task one thread looks after its memory (a sum over a mebibyte that changes a little each round), its
 * signal mask and its descriptors, and waits in clock_nanosleep; the others wait in nanosleep, poll and a futex
 * with a time limit.  No wait may end with EINTR or before its time.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "kill.h"

#define WAIT_NS 20000000l
#define WORDS (1 << 17)

static struct kill_state *st;
static int me; /* which task */
static uint64_t *mem;
static int futex_word = 1;

__attribute__((format(printf, 1, 2))) static void bad(const char *fmt, ...)
{
	uint32_t none = 0;
	va_list ap;

	if (!__atomic_compare_exchange_n(&st->bad, &none, 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		return;
	va_start(ap, fmt);
	vsnprintf(st->why, sizeof(st->why), fmt, ap);
	va_end(ap);
	__atomic_store_n(&st->bad, 2, __ATOMIC_SEQ_CST);
}

static int64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

static void one_wait(int how)
{
	static const char *const names[] = { "clock_nanosleep", "nanosleep", "poll", "futex" };
	struct timespec ts = { 0, WAIT_NS };
	int64_t t0 = now(), took;
	int r = 0, err;

	errno = 0;
	switch (how) {
	case 0:
		errno = clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL);
		break;
	case 1:
		r = nanosleep(&ts, NULL);
		break;
	case 2:
		r = poll(NULL, 0, WAIT_NS / 1000000);
		break;
	case 3:
		r = syscall(SYS_futex, &futex_word, FUTEX_WAIT_PRIVATE, 1, &ts, NULL, 0);
		if (r < 0 && errno == ETIMEDOUT)
			r = errno = 0;
		break;
	}
	err = errno;
	took = now() - t0;
	if (r || err)
		bad("task %d: %s gave %d, %s", me, names[how], r, strerror(err));
	if (took < WAIT_NS - 1000000)
		bad("task %d: %s came back after %ld us", me, names[how], (long)took / 1000);
}

static void *waiter(void *arg)
{
	int how = (int)(long)arg;
	sigset_t want, have;

	sigemptyset(&want);
	sigaddset(&want, SIGRTMIN + how);
	pthread_sigmask(SIG_SETMASK, &want, NULL);
	for (;;) {
		one_wait(how);
		pthread_sigmask(SIG_SETMASK, NULL, &have);
		if (memcmp(&want, &have, 8))
			bad("task %d: signal mask of thread %d changed", me, how);
		__atomic_add_fetch(&st->beat[me][how], 1, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

static uint64_t sum(void)
{
	uint64_t s = 0;

	for (int i = 0; i < WORDS; i++)
		s = s * 31 + mem[i];
	return s;
}

static void look_after(void)
{
	uint64_t want, turn = 0;
	sigset_t blocked, have;

	for (int i = 0; i < WORDS; i++)
		mem[i] = (uint64_t)i * 0x9e3779b97f4a7c15u + me;
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	sigaddset(&blocked, SIGTERM);
	pthread_sigmask(SIG_SETMASK, &blocked, NULL);
	want = sum();
	for (;;) {
		one_wait(0);
		if (sum() != want)
			bad("task %d: its memory changed", me);
		turn++;
		mem[turn % WORDS] += turn;
		want = sum();
		pthread_sigmask(SIG_SETMASK, NULL, &have);
		if (memcmp(&blocked, &have, 8))
			bad("task %d: signal mask changed", me);
		__atomic_add_fetch(&st->beat[me][0], 1, __ATOMIC_SEQ_CST);
	}
}

int main(int argc, char **argv)
{
	char path[4096];
	pthread_t t;
	int fd;

	if (argc != 2)
		return 2;
	snprintf(path, sizeof(path), "%s/state", argv[1]);
	fd = open(path, O_RDWR);
	if (fd < 0)
		return 1;
	st = mmap(NULL, sizeof(*st), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	mem = mmap(NULL, WORDS * 8, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (st == MAP_FAILED || mem == MAP_FAILED)
		return 1;
	for (int i = 1; i < KILL_TASKS && me == 0; i++)
		if (fork() == 0)
			me = i;
	for (long i = 1; i < KILL_THREADS; i++)
		if (pthread_create(&t, NULL, waiter, (void *)i))
			return 1;
	st->pid[me] = getpid();
	__atomic_add_fetch(&st->ready, 1, __ATOMIC_SEQ_CST);
	look_after();
}
