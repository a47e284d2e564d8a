/* SPDX-License-Identifier: MIT */
/*
 * Fifty threads, each with its own number, name, signal mask, alternate stack, nice value, thread-local data,
 * stack contents, and arithmetic state (MXCSR).
 */
#include "prog.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <xmmintrin.h>

#define THREADS 50

static __thread int tls[64];
static int up, leave;
static pthread_t handles[THREADS];
static pid_t tids[THREADS];

static unsigned long fs_base(void)
{
	unsigned long v;

	__asm__("mov %%fs:0, %0" : "=r"(v));
	return v;
}

static void mask_of(int n, sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGRTMIN + n % 20 + 3);
	if (n % 2)
		sigaddset(set, SIGUSR1);
	if (n % 3)
		sigaddset(set, SIGTERM);
}

static void *thread(void *arg)
{
	int n = (int)(long)arg, on_stack[500];
	char name[16], got_name[16] = "";
	sigset_t set, got;
	stack_t ss = { .ss_sp = malloc(65536), .ss_size = 65536 - n * 16 }, got_ss;
	unsigned long base = fs_base();
	unsigned int csr = _MM_MASK_MASK | (n % 4) << 13;
	void *self = &tls[0];

	for (int i = 0; i < 64; i++)
		tls[i] = n * 1000 + i;
	for (int i = 0; i < 500; i++)
		on_stack[i] = n ^ i;
	snprintf(name, sizeof(name), "thread-%d", n);
	CHECK(prctl(PR_SET_NAME, name) == 0);
	mask_of(n, &set);
	CHECK(pthread_sigmask(SIG_SETMASK, &set, NULL) == 0);
	CHECK(sigaltstack(&ss, NULL) == 0);
	CHECK(setpriority(PRIO_PROCESS, 0, n % 5) == 0);
	_mm_setcsr(csr);
	tids[n] = gettid();
	prog_count(&up);
	while (!__atomic_load_n(&leave, __ATOMIC_SEQ_CST))
		prog_nap(30);
	CHECK(_mm_getcsr() >> 6 == csr >> 6);
	_mm_setcsr(_MM_MASK_MASK);
	CHECK(gettid() == tids[n]);
	CHECK(fs_base() == base && self == &tls[0]);
	for (int i = 0; i < 64; i++)
		CHECK(tls[i] == n * 1000 + i);
	for (int i = 0; i < 500; i++)
		CHECK(on_stack[i] == (n ^ i));
	CHECK(prctl(PR_GET_NAME, got_name) == 0 && !strcmp(name, got_name));
	CHECK(pthread_sigmask(SIG_SETMASK, NULL, &got) == 0);
	for (int sig = 1; sig < 65; sig++)
		CHECK(sig == 32 || sig == 33 || sigismember(&set, sig) == sigismember(&got, sig));
	CHECK(sigaltstack(NULL, &got_ss) == 0);
	CHECK(got_ss.ss_sp == ss.ss_sp && got_ss.ss_size == ss.ss_size && got_ss.ss_flags == 0);
	errno = 0;
	CHECK(getpriority(PRIO_PROCESS, 0) == n % 5 && errno == 0);
	CHECK(pthread_equal(pthread_self(), handles[n]));
	return (void *)(long)(n + 1);
}

int main(int argc, char **argv)
{
	void *ret;

	prog_init(argc, argv);
	for (long i = 0; i < THREADS; i++)
		CHECK(pthread_create(&handles[i], NULL, thread, (void *)i) == 0);
	prog_wait_count(&up, THREADS);
	prog_ready();
	for (int i = 0; i < THREADS; i++)
		CHECK(syscall(SYS_tgkill, getpid(), tids[i], 0) == 0);
	__atomic_store_n(&leave, 1, __ATOMIC_SEQ_CST);
	for (long i = 0; i < THREADS; i++)
		CHECK(pthread_join(handles[i], &ret) == 0 && ret == (void *)(i + 1));
	CHECK(prog_status(getpid(), getpid(), "Threads", 10) == 1);
	prog_ok();
}
