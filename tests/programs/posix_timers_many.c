/* SPDX-License-Identifier: MIT */
/*
 * Three hundred POSIX timers with gaps between their ids, and one that fires all the time while its signal is blocked:
 * signals taken and overruns together are all expirations, also those after the restore.
 */
#include "prog.h"

#include <signal.h>
#include <sys/syscall.h>

#define MANY 300

static int ids[MANY];

static int create(int notify, int sig, int value)
{
	struct sigevent ev = { .sigev_notify = notify, .sigev_signo = sig };
	int id = -1;

	ev.sigev_value.sival_int = value;
	CHECK(syscall(SYS_timer_create, CLOCK_MONOTONIC, &ev, &id) == 0);
	return id;
}

static void arm(int id, long sec, long nsec, long every_nsec)
{
	struct itimerspec its = { { 0, every_nsec }, { sec, nsec } };

	CHECK(syscall(SYS_timer_settime, id, 0, &its, NULL) == 0);
}

int main(int argc, char **argv)
{
	struct timespec sec10 = { 10, 0 };
	struct itimerspec its;
	siginfo_t si;
	sigset_t set;
	int fast, taken = 0;

	prog_init(argc, argv);
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	for (int i = 0; i < MANY; i++) {
		int gap = i % 7 == 3 ? create(SIGEV_NONE, 0, 0) : -1;

		ids[i] = create(SIGEV_NONE, 0, i);
		if (gap >= 0)
			CHECK(syscall(SYS_timer_delete, gap) == 0);
		arm(ids[i], 10000 + i, 0, 0);
	}
	fast = create(SIGEV_SIGNAL, SIGRTMIN, 77);
	arm(fast, 0, 20000000, 20000000);
	prog_nap(100);
	prog_ready();
	for (int i = 0; i < MANY; i++) {
		CHECK(syscall(SYS_timer_gettime, ids[i], &its) == 0);
		if (its.it_value.tv_sec < 9900 + i || its.it_value.tv_sec > 10000 + i)
			prog_fail("timer %d has %ld s left", i, its.it_value.tv_sec);
	}
	for (int i = 0; i < 5; i++) {
		CHECK(sigtimedwait(&set, &si, &sec10) == SIGRTMIN);
		CHECK(si.si_code == SI_TIMER && si.si_value.sival_int == 77 && si.si_timerid == fast);
		taken += 1 + si.si_overrun;
	}
	CHECK(taken >= 5 && taken < 2000);
	prog_ok();
}
