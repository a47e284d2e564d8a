/* SPDX-License-Identifier: MIT */
/*
 * POSIX timers: ids with gaps, several clocks, SIGEV_SIGNAL, SIGEV_THREAD_ID and SIGEV_NONE, armed and disarmed; they
 * fire after the restore with their values.
 */
#include "prog.h"

#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static int up, leave;
static pid_t other;

static int create(clockid_t clock, int notify, int sig, int value, pid_t tid)
{
	struct sigevent ev = { .sigev_notify = notify, .sigev_signo = sig };
	int id = -1;

	ev.sigev_value.sival_int = value;
	ev.sigev_notify_thread_id = tid;
	CHECK(syscall(SYS_timer_create, clock, &ev, &id) == 0);
	return id;
}

static void arm(int id, int flags, long sec, long nsec, long interval)
{
	struct itimerspec its = { { interval, 0 }, { sec, nsec } };

	CHECK(syscall(SYS_timer_settime, id, flags, &its, NULL) == 0);
}

static void look(int id, long low, long high, long interval)
{
	struct itimerspec its;

	CHECK(syscall(SYS_timer_gettime, id, &its) == 0);
	if (its.it_value.tv_sec < low || its.it_value.tv_sec > high || its.it_interval.tv_sec != interval)
		prog_fail("timer %d: %ld s left, interval %ld s", id, its.it_value.tv_sec, its.it_interval.tv_sec);
}

static void *thread(void *arg)
{
	struct timespec sec10 = { 10, 0 };
	siginfo_t si;
	sigset_t set;

	other = gettid();
	prog_count(&up);
	while (!__atomic_load_n(&leave, __ATOMIC_SEQ_CST))
		prog_nap(10);
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 1);
	CHECK(sigtimedwait(&set, &si, &sec10) == SIGRTMIN + 1);
	CHECK(si.si_code == SI_TIMER && si.si_value.sival_int == 33 && si.si_timerid == *(int *)arg);
	return NULL;
}

int main(int argc, char **argv)
{
	int gap, mono, real, boot, cpu, to_thread, none, off, fast;
	struct timespec sec10 = { 10, 0 }, now;
	siginfo_t si;
	sigset_t set;
	pthread_t t;

	prog_init(argc, argv);
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	sigaddset(&set, SIGRTMIN + 1);
	sigaddset(&set, SIGRTMIN + 2);
	CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	CHECK(pthread_create(&t, NULL, thread, &to_thread) == 0);
	prog_wait_count(&up, 1);
	gap = create(CLOCK_MONOTONIC, SIGEV_NONE, 0, 0, 0);
	mono = create(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN, 11, 0);
	CHECK(syscall(SYS_timer_delete, gap) == 0);
	real = create(CLOCK_REALTIME, SIGEV_SIGNAL, SIGRTMIN, 22, 0);
	gap = create(CLOCK_MONOTONIC, SIGEV_NONE, 0, 0, 0);
	boot = create(CLOCK_BOOTTIME, SIGEV_SIGNAL, SIGRTMIN, 23, 0);
	CHECK(syscall(SYS_timer_delete, gap) == 0);
	cpu = create(CLOCK_PROCESS_CPUTIME_ID, SIGEV_SIGNAL, SIGRTMIN, 24, 0);
	to_thread = create(CLOCK_MONOTONIC, SIGEV_THREAD_ID, SIGRTMIN + 1, 33, other);
	none = create(CLOCK_REALTIME, SIGEV_NONE, 0, 0, 0);
	off = create(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN + 2, 44, 0);
	fast = create(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN + 2, 55, 0);
	arm(mono, 0, 1000, 0, 9);
	clock_gettime(CLOCK_REALTIME, &now);
	arm(real, TIMER_ABSTIME, now.tv_sec + 2000, 0, 0);
	arm(boot, 0, 3000, 0, 4);
	arm(cpu, 0, 4000, 0, 0);
	arm(to_thread, 0, 5000, 0, 6);
	arm(none, 0, 6000, 0, 0);
	prog_ready();
	look(mono, 900, 1000, 9);
	look(real, 1900, 2000, 0);
	look(boot, 2900, 3000, 4);
	look(cpu, 3900, 4000, 0);
	look(to_thread, 4900, 5000, 6);
	look(none, 5900, 6000, 0);
	look(off, 0, 0, 0);
	look(fast, 0, 0, 0);
	CHECK(syscall(SYS_timer_gettime, 77, &now) < 0 && errno == EINVAL);
	arm(fast, 0, 0, 10000000, 0);
	CHECK(sigtimedwait(&set, &si, &sec10) == SIGRTMIN + 2);
	CHECK(si.si_code == SI_TIMER && si.si_value.sival_int == 55 && si.si_timerid == fast);
	arm(real, 0, 0, 10000000, 0);
	CHECK(sigtimedwait(&set, &si, &sec10) == SIGRTMIN);
	CHECK(si.si_code == SI_TIMER && si.si_value.sival_int == 22 && si.si_timerid == real);
	__atomic_store_n(&leave, 1, __ATOMIC_SEQ_CST);
	arm(to_thread, 0, 0, 10000000, 0);
	CHECK(pthread_join(t, NULL) == 0);
	prog_ok();
}
