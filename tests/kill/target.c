/* SPDX-License-Identifier: MIT */
/*
 * target KIND DIR: tasks that check themselves all the time, until they are killed; the kinds are in kill.h.
 *
 * Memory is checked by a sum over a mebibyte that changes a little each round.  No wait may end with EINTR, or before
 * its time.
 */
#include "target.h"

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

#define WORDS (1 << 17)

struct kill_state *st;
const char *dir;
static int me; /* which task */
static uint64_t *mem;
static int futex_word = 1;
static long wait_ns = 10000000;

void bad(const char *fmt, ...)
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

uint64_t *mover(void)
{
	return &st->beat[__atomic_fetch_add(&st->movers, 1, __ATOMIC_SEQ_CST)];
}

void ready(void)
{
	__atomic_add_fetch(&st->ready, 1, __ATOMIC_SEQ_CST);
}

static int64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

/* ---- waits and memory ---- */

static void one_wait(int how)
{
	static const char *const names[] = { "clock_nanosleep", "nanosleep", "poll", "futex" };
	struct timespec ts = { 0, wait_ns };
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
		r = poll(NULL, 0, wait_ns / 1000000);
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
	if (took < wait_ns - 1000000)
		bad("task %d: %s came back after %ld us", me, names[how], (long)took / 1000);
}

static void *waiter(void *arg)
{
	int how = (int)(long)arg;
	sigset_t want, have;
	uint64_t *beat = mover();

	sigemptyset(&want);
	sigaddset(&want, SIGRTMIN + how);
	pthread_sigmask(SIG_SETMASK, &want, NULL);
	for (;;) {
		one_wait(how);
		pthread_sigmask(SIG_SETMASK, NULL, &have);
		if (memcmp(&want, &have, 8))
			bad("task %d: signal mask of thread %d changed", me, how);
		__atomic_add_fetch(beat, 1, __ATOMIC_SEQ_CST);
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
	uint64_t want, turn = 0, *beat = mover();
	sigset_t blocked, have;

	mem = mmap(NULL, WORDS * 8, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED)
		exit(1);
	for (int i = 0; i < WORDS; i++)
		mem[i] = (uint64_t)i * 0x9e3779b97f4a7c15u + me;
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	sigaddset(&blocked, SIGTERM);
	pthread_sigmask(SIG_SETMASK, &blocked, NULL);
	want = sum();
	ready();
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
		__atomic_add_fetch(beat, 1, __ATOMIC_SEQ_CST);
	}
}

static void threads(int n)
{
	pthread_t t;

	for (long i = 1; i <= n; i++)
		if (pthread_create(&t, NULL, waiter, (void *)i))
			exit(1);
}

static void be_single(void)
{
	look_after();
}

static void be_tree(void)
{
	st->tasks = 3;
	for (int i = 1; i < 3 && me == 0; i++)
		if (fork() == 0)
			me = i;
	threads(3);
	look_after();
}

static void be_sleep(void)
{
	wait_ns = 400000000;
	threads(3);
	look_after();
}

static void be_stopped(void)
{
	threads(1);
	look_after();
}

/* ---- registers ---- */

#define EACH_REGISTER(X) X("rbx") X("r8") X("r9") X("r10") X("r12") X("r13") X("r14") X("r15")

/* Fills registers, spins for a while, and looks at them again. False when one has changed, or the flags have. */
static int registers_keep(uint64_t seed)
{
	uint64_t wrong = 0, turns = 20000;

	__asm__ volatile(
#define FILL(r) "mov %[seed], %%" r "\n\tadd $1, %[seed]\n\t"
#define LOOK(r) "sub $1, %[seed]\n\tcmp %[seed], %%" r "\n\tje 1f\n\tinc %[wrong]\n\t1:\n\t"
		EACH_REGISTER(FILL)
		"movq %[seed], %%xmm0\n\tmovq %[seed], %%xmm15\n\t"
		"std\n\t"
		"2: dec %[turns]\n\tjnz 2b\n\t"
		"lea -128(%%rsp), %%rsp\n\tpushfq\n\tpop %%r11\n\tlea 128(%%rsp), %%rsp\n\tcld\n\t"
		"test $0x400, %%r11\n\tjnz 1f\n\tinc %[wrong]\n\t1:\n\t"
		"movq %%xmm0, %%r11\n\tcmp %[seed], %%r11\n\tje 1f\n\tinc %[wrong]\n\t1:\n\t"
		"movq %%xmm15, %%r11\n\tcmp %[seed], %%r11\n\tje 1f\n\tinc %[wrong]\n\t1:\n\t"
		LOOK("r15") LOOK("r14") LOOK("r13") LOOK("r12") LOOK("r10") LOOK("r9") LOOK("r8") LOOK("rbx")
		: [wrong] "+&r"(wrong), [turns] "+&r"(turns), [seed] "+&r"(seed)
		:
		: "rbx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "xmm0", "xmm15", "cc", "memory");
	return wrong == 0;
}

static char *alt_stack;
#define ALT_BYTES (64 << 10)

static void forever(int sig, siginfo_t *si, void *context)
{
	uint64_t *beat = mover();
	char here;

	if (alt_stack && (&here < alt_stack || &here >= alt_stack + ALT_BYTES))
		bad("the handler is not on the alternate stack");
	ready();
	for (uint64_t i = 1;; i++) {
		sigset_t have;
		stack_t ss;

		if (!registers_keep(i << 20))
			bad("a register changed");
		sigprocmask(SIG_SETMASK, NULL, &have);
		if (!sigismember(&have, SIGUSR1) || !sigismember(&have, SIGUSR2) || sigismember(&have, SIGTERM))
			bad("signal mask of the handler changed");
		if (alt_stack && (sigaltstack(NULL, &ss) || ss.ss_sp != alt_stack || ss.ss_flags != SS_ONSTACK))
			bad("the alternate stack changed");
		if (si->si_signo != SIGUSR1 || si->si_pid != getpid())
			bad("what the handler was told changed");
		__atomic_add_fetch(beat, 1, __ATOMIC_SEQ_CST);
	}
}

static void be_handler(void)
{
	struct sigaction sa = { .sa_sigaction = forever, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	sigaddset(&sa.sa_mask, SIGUSR2);
	sigaction(SIGUSR1, &sa, NULL);
	kill(getpid(), SIGUSR1);
	for (;;)
		pause();
}

static void be_altstack(void)
{
	stack_t ss = { .ss_size = ALT_BYTES };

	ss.ss_sp = alt_stack = mmap(NULL, ALT_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (sigaltstack(&ss, NULL))
		exit(1);
	be_handler();
}

/* ---- which ---- */

static const struct {
	const char *name;
	void (*be)(void);
} kinds[] = {
	{ "single", be_single },     { "tree", be_tree }, { "sleep", be_sleep },     { "handler", be_handler },
	{ "altstack", be_altstack }, { "rseq", be_rseq }, { "stopped", be_stopped }, { "frozen", be_single },
	{ "pipes", be_pipes },	     { "redis", be_redis }, { "restless", be_restless },
};

int main(int argc, char **argv)
{
	char path[4096];
	int fd;

	if (argc != 3)
		return 2;
	dir = argv[2];
	snprintf(path, sizeof(path), "%s/state", dir);
	fd = open(path, O_RDWR);
	if (fd < 0)
		return 1;
	st = mmap(NULL, sizeof(*st), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (st == MAP_FAILED)
		return 1;
	close(fd);
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (!strcmp(kinds[i].name, argv[1]))
			kinds[i].be();
	return 2;
}
