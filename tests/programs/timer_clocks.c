/* SPDX-License-Identifier: MIT */
/*
 * POSIX timers of every clock that the kernel has timers for, CLOCK_TAI and those that wake the
 * machine up included: each with a signal to the process, to a thread, and with none; running,
 * periodic, disarmed, by date, and with a signal that waits.  Ids, times left, intervals, values
 * and overruns are as they were, and each fires.
 */
#include "prog.h"

#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif
#define EVERY_MS 20

static const struct {
	clockid_t id;
	const char *name;
} clocks[] = {
	{ CLOCK_REALTIME, "realtime" }, { CLOCK_MONOTONIC, "monotonic" }, { CLOCK_BOOTTIME, "boottime" },
	{ CLOCK_REALTIME_ALARM, "realtime alarm" }, { CLOCK_BOOTTIME_ALARM, "boottime alarm" }, { CLOCK_TAI, "TAI" },
};
enum { CLOCKS = sizeof(clocks) / sizeof(clocks[0]) };

static struct {
	int there, running, to_thread, none, off, date, waiting;
	struct timespec at; /* of date */
} c[CLOCKS];
static int up, leave;
static pid_t other;

static int create(clockid_t clock, int notify, int sig, int value)
{
	struct sigevent ev = { .sigev_notify = notify, .sigev_signo = sig };
	int id = -1;

	ev.sigev_value.sival_int = value;
	ev.sigev_notify_thread_id = other;
	CHECK(syscall(SYS_timer_create, clock, &ev, &id) == 0);
	return id;
}

static void arm(int id, int flags, struct timespec value, long interval_ms)
{
	struct itimerspec its = { { interval_ms / 1000, interval_ms % 1000 * 1000000 }, value };

	CHECK(syscall(SYS_timer_settime, id, flags, &its, NULL) == 0);
}

static struct timespec sec(long s)
{
	return (struct timespec){ s, 0 };
}

static double left(int id, double *ret_interval)
{
	struct itimerspec its;

	CHECK(syscall(SYS_timer_gettime, id, &its) == 0);
	*ret_interval = its.it_interval.tv_sec + its.it_interval.tv_nsec / 1e9;
	return its.it_value.tv_sec + its.it_value.tv_nsec / 1e9;
}

static void expect(int n, const char *what, int id, double low, double high, double interval)
{
	double every, now = left(id, &every);

	if (now < low || now > high || every < interval - 1e-6 || every > interval + 1e-6)
		prog_fail("%s, %s (timer %d): %f s left and every %f s, not %f to %f and %f", clocks[n].name, what, id,
			  now, every, low, high, interval);
}

static int take(int sig, siginfo_t *si, int seconds)
{
	struct timespec ts = { seconds, 0 };
	sigset_t one;

	sigemptyset(&one);
	sigaddset(&one, sig);
	return sigtimedwait(&one, si, &ts) == sig;
}

/* Wants CAP_WAKE_ALARM, and a real-time clock in the machine. */
static int has(clockid_t clock)
{
	struct sigevent ev = { .sigev_notify = SIGEV_NONE };
	int id;

	if (syscall(SYS_timer_create, clock, &ev, &id) < 0)
		return 0;
	CHECK(syscall(SYS_timer_delete, id) == 0);
	return 1;
}

static void make(int n)
{
	clockid_t clock = clocks[n].id;

	c[n].there = has(clock);
	if (!c[n].there) {
		printf("no timers of the clock %s here: %s\n", clocks[n].name, strerror(errno));
		return;
	}
	c[n].running = create(clock, SIGEV_SIGNAL, SIGRTMIN + 1, n * 10 + 1);
	c[n].to_thread = create(clock, SIGEV_THREAD_ID, SIGRTMIN + 2, n * 10 + 2);
	c[n].none = create(clock, SIGEV_NONE, 0, 0);
	c[n].off = create(clock, SIGEV_SIGNAL, SIGRTMIN + 3, n * 10 + 3);
	c[n].date = create(clock, SIGEV_SIGNAL, SIGRTMIN + 4, n * 10 + 4);
	c[n].waiting = create(clock, SIGEV_SIGNAL, SIGRTMIN + 5 + n, n * 10 + 5);
	arm(c[n].running, 0, sec(1000), 7500);
	arm(c[n].to_thread, 0, sec(2000), 0);
	arm(c[n].none, 0, sec(3000), 60000);
	CHECK(clock_gettime(clock, &c[n].at) == 0);
	c[n].at.tv_sec += 4000;
	arm(c[n].date, TIMER_ABSTIME, c[n].at, 0);
	arm(c[n].waiting, 0, (struct timespec){ 0, EVERY_MS * 1000000 }, EVERY_MS);
}

/* The one signal that waits counts for many. */
static void check_waiting(int n)
{
	struct itimerspec off = { 0 };
	siginfo_t si;
	int over;

	CHECK(take(SIGRTMIN + 5 + n, &si, 10));
	over = syscall(SYS_timer_getoverrun, c[n].waiting);
	if (si.si_code != SI_TIMER || si.si_timerid != c[n].waiting || si.si_value.sival_int != n * 10 + 5 ||
	    si.si_overrun != over || over < 5)
		prog_fail("%s: code %d, timer %d, value %d, overruns %d and %d", clocks[n].name, si.si_code, si.si_timerid,
			  si.si_value.sival_int, si.si_overrun, over);
	CHECK(syscall(SYS_timer_settime, c[n].waiting, 0, &off, NULL) == 0);
}

static void check(int n)
{
	struct timespec now, soon = { 0, 1000000 };
	siginfo_t si;
	double until;

	expect(n, "running", c[n].running, 800, 1000, 7.5);
	expect(n, "to a thread", c[n].to_thread, 1800, 2000, 0);
	expect(n, "without a signal", c[n].none, 2800, 3000, 60);
	expect(n, "disarmed", c[n].off, 0, 0, 0);
	CHECK(clock_gettime(clocks[n].id, &now) == 0);
	until = c[n].at.tv_sec - now.tv_sec + (c[n].at.tv_nsec - now.tv_nsec) / 1e9;
	/* the time in which it did not exist may count or not */
	expect(n, "by date", c[n].date, until - 5, until + 100, 0);
	check_waiting(n);
	arm(c[n].off, 0, soon, 0);
	CHECK(take(SIGRTMIN + 3, &si, 10) && si.si_timerid == c[n].off && si.si_value.sival_int == n * 10 + 3);
	arm(c[n].running, 0, soon, 0);
	CHECK(take(SIGRTMIN + 1, &si, 10) && si.si_timerid == c[n].running && si.si_value.sival_int == n * 10 + 1);
	arm(c[n].to_thread, 0, soon, 0);
}

static void *thread(void *arg)
{
	siginfo_t si;
	int seen = 0;

	other = gettid();
	prog_count(&up);
	while (!__atomic_load_n(&leave, __ATOMIC_SEQ_CST))
		prog_nap(10);
	for (int n = 0; n < CLOCKS; n++) {
		if (!c[n].there)
			continue;
		CHECK(take(SIGRTMIN + 2, &si, 10) && si.si_code == SI_TIMER);
		for (int k = 0; k < CLOCKS; k++)
			if (c[k].there && si.si_timerid == c[k].to_thread && si.si_value.sival_int == k * 10 + 2)
				seen |= 1 << k;
	}
	for (int n = 0; n < CLOCKS; n++)
		CHECK(!c[n].there || seen >> n & 1);
	return NULL;
}

int main(int argc, char **argv)
{
	sigset_t set;
	pthread_t t;

	prog_init(argc, argv);
	sigfillset(&set);
	CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	CHECK(pthread_create(&t, NULL, thread, NULL) == 0);
	prog_wait_count(&up, 1);
	for (int n = 0; n < CLOCKS; n++)
		make(n);
	prog_nap(10 * EVERY_MS);
	prog_ready();
	prog_nap(10 * EVERY_MS);
	for (int n = 0; n < CLOCKS; n++)
		if (c[n].there)
			check(n);
	__atomic_store_n(&leave, 1, __ATOMIC_SEQ_CST);
	CHECK(pthread_join(t, NULL) == 0);
	prog_ok();
}
