/* SPDX-License-Identifier: MIT */
/*
 * Periodic timers whose signal is blocked: one signal waits, however often they fire, and says how often that was when it is
 * taken; to the process and to a thread, by a real-time and a standard signal.
 */
#include "prog.h"

#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif
#define EVERY_MS 20

static int up, leave;
static sigset_t set;

static int start(clockid_t clock, int notify, int sig, int value)
{
	struct sigevent ev = { .sigev_notify = notify, .sigev_signo = sig };
	struct itimerspec its = { { 0, EVERY_MS * 1000000 }, { 0, EVERY_MS * 1000000 } };
	int id = -1;

	ev.sigev_value.sival_int = value;
	ev.sigev_notify_thread_id = gettid();
	CHECK(syscall(SYS_timer_create, clock, &ev, &id) == 0);
	CHECK(syscall(SYS_timer_settime, id, 0, &its, NULL) == 0);
	return id;
}

static int take(int sig, siginfo_t *si, int ms)
{
	struct timespec ts = { 0, ms * 1000000 };
	sigset_t one;

	sigemptyset(&one);
	sigaddset(&one, sig);
	return sigtimedwait(&one, si, &ts) == sig;
}

/* What waits is one signal that counts for many; the next comes when its time has come. */
static void check(int id, int sig, int value)
{
	struct itimerspec off = { 0 };
	siginfo_t si;
	int n;

	prog_nap(10 * EVERY_MS);
	CHECK(take(sig, &si, 0));
	n = syscall(SYS_timer_getoverrun, id);
	if (si.si_code != SI_TIMER || si.si_timerid != id || si.si_value.sival_int != value || si.si_overrun != n || n < 8)
		prog_fail("timer %d: signal %d, code %d of timer %d, value %d, overruns %d and %d", id, sig, si.si_code,
			  si.si_timerid, si.si_value.sival_int, si.si_overrun, n);
	CHECK(syscall(SYS_timer_settime, id, 0, &off, NULL) == 0);
	n = 0;
	while (take(sig, &si, 0))
		n++;
	if (n > 1) /* one may have come meanwhile */
		prog_fail("timer %d: %d more signals waited", id, n);
}

static void *thread(void *arg)
{
	int id = start(CLOCK_MONOTONIC, SIGEV_THREAD_ID, SIGRTMIN + 1, 33);

	prog_count(&up);
	while (!__atomic_load_n(&leave, __ATOMIC_SEQ_CST))
		prog_nap(10);
	check(id, SIGRTMIN + 1, 33);
	return NULL;
}

int main(int argc, char **argv)
{
	int mono, real, boot;
	pthread_t t;

	prog_init(argc, argv);
	sigfillset(&set);
	CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	CHECK(pthread_create(&t, NULL, thread, NULL) == 0);
	prog_wait_count(&up, 1);
	mono = start(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN, 11);
	real = start(CLOCK_REALTIME, SIGEV_SIGNAL, SIGUSR1, 22);
	boot = start(CLOCK_BOOTTIME, SIGEV_SIGNAL, SIGRTMIN + 2, 44);
	prog_nap(10 * EVERY_MS);
	prog_ready();
	check(mono, SIGRTMIN, 11);
	check(real, SIGUSR1, 22);
	check(boot, SIGRTMIN + 2, 44);
	__atomic_store_n(&leave, 1, __ATOMIC_SEQ_CST);
	CHECK(pthread_join(t, NULL) == 0);
	prog_ok();
}
