/* SPDX-License-Identifier: MIT */
/*
 * Timers of CPU time: each counts that of the thread it was made for, armed and disarmed, by the clock that means "the caller"
 * and by the clock of a certain thread, whoever gets the signal.
 */
#include "prog.h"

#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif
#define THREADS 3

static struct worker {
	pthread_t t;
	pid_t tid;
	int armed, quiet, off; /* timers of its CPU time: to itself, without a signal, disarmed */
	int burn, burnt;
} w[THREADS];
static int up, leave;

static int create(clockid_t clock, int notify, int sig, pid_t tid)
{
	struct sigevent ev = { .sigev_notify = notify, .sigev_signo = sig };
	int id = -1;

	ev.sigev_notify_thread_id = tid;
	CHECK(syscall(SYS_timer_create, clock, &ev, &id) == 0);
	return id;
}

static void arm(int id, long sec, long nsec)
{
	struct itimerspec its = { { 0, 0 }, { sec, nsec } };

	CHECK(syscall(SYS_timer_settime, id, 0, &its, NULL) == 0);
}

static long long left_us(int id)
{
	struct itimerspec its;

	CHECK(syscall(SYS_timer_gettime, id, &its) == 0);
	return its.it_value.tv_sec * 1000000ll + its.it_value.tv_nsec / 1000;
}

static void burn_ms(int ms)
{
	struct timespec ts;
	long long t0, t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	t0 = ts.tv_sec * 1000ll + ts.tv_nsec / 1000000;
	do {
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
		t = ts.tv_sec * 1000ll + ts.tv_nsec / 1000000;
	} while (t - t0 < ms);
}

static void *worker(void *arg)
{
	struct worker *me = arg;

	me->tid = gettid();
	me->armed = create(CLOCK_THREAD_CPUTIME_ID, SIGEV_THREAD_ID, SIGRTMIN, me->tid);
	me->quiet = create(CLOCK_THREAD_CPUTIME_ID, SIGEV_NONE, 0, 0);
	me->off = create(CLOCK_THREAD_CPUTIME_ID, SIGEV_THREAD_ID, SIGRTMIN, me->tid);
	arm(me->armed, 1000, 0);
	arm(me->quiet, 2000, 0);
	prog_count(&up);
	while (!__atomic_load_n(&leave, __ATOMIC_SEQ_CST)) {
		if (__atomic_exchange_n(&me->burn, 0, __ATOMIC_SEQ_CST)) {
			burn_ms(60);
			prog_count(&me->burnt);
		}
		prog_nap(10);
	}
	return NULL;
}

/* Thread n works: only its timers go on. */
static void check_one(int n, int by_id)
{
	long long was[THREADS][2], id = left_us(by_id);

	for (int i = 0; i < THREADS; i++) {
		was[i][0] = left_us(w[i].armed);
		was[i][1] = left_us(w[i].quiet);
		CHECK(was[i][0] > 900 * 1000000ll && was[i][0] <= 1000 * 1000000ll);
		CHECK(was[i][1] > 1900 * 1000000ll && was[i][1] <= 2000 * 1000000ll);
		CHECK(left_us(w[i].off) == 0);
	}
	w[n].burnt = 0;
	__atomic_store_n(&w[n].burn, 1, __ATOMIC_SEQ_CST);
	prog_wait_count(&w[n].burnt, 1);
	for (int i = 0; i < THREADS; i++) {
		long long a = was[i][0] - left_us(w[i].armed), b = was[i][1] - left_us(w[i].quiet);

		if (i == n ? a < 50000 || b < 50000 : a > 40000 || b > 40000)
			prog_fail("thread %d worked for 60 ms: timers of thread %d went on by %lld and %lld us", n, i, a, b);
	}
	id -= left_us(by_id);
	if (n == 1 ? id < 50000 : id > 40000)
		prog_fail("thread %d worked for 60 ms: a timer by the clock of thread 1 went on by %lld us", n, id);
}

int main(int argc, char **argv)
{
	clockid_t clock;
	sigset_t set;
	int by_id;

	prog_init(argc, argv);
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	for (int i = 0; i < THREADS; i++) {
		CHECK(pthread_create(&w[i].t, NULL, worker, &w[i]) == 0);
		prog_wait_count(&up, i + 1);
	}
	CHECK(pthread_getcpuclockid(w[1].t, &clock) == 0);
	by_id = create(clock, SIGEV_SIGNAL, SIGRTMIN, 0);
	arm(by_id, 3000, 0);
	for (int i = 0; i < THREADS; i++)
		check_one(i, by_id);
	prog_ready();
	for (int i = 0; i < THREADS; i++)
		check_one(i, by_id);
	arm(w[2].off, 0, 20000000); /* of its own CPU time */
	__atomic_store_n(&w[2].burn, 1, __ATOMIC_SEQ_CST);
	for (int i = 0; i < 500 && !(prog_status(getpid(), w[2].tid, "SigPnd", 16) >> (SIGRTMIN - 1) & 1); i++)
		prog_nap(10);
	CHECK(prog_status(getpid(), w[2].tid, "SigPnd", 16) >> (SIGRTMIN - 1) & 1);
	__atomic_store_n(&leave, 1, __ATOMIC_SEQ_CST);
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_join(w[i].t, NULL) == 0);
	prog_ok();
}
