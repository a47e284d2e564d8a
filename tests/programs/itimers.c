/* SPDX-License-Identifier: MIT */
/* The three interval timers: interval kept, remaining time not longer than before, and the real one fires. */
#include "prog.h"

#include <signal.h>
#include <sys/time.h>

static volatile int fired;

static void on_alarm(int sig)
{
	fired++;
}

static void look(int which, long left, long interval)
{
	struct itimerval it;

	CHECK(getitimer(which, &it) == 0);
	CHECK(it.it_interval.tv_sec == interval && it.it_interval.tv_usec == 250000);
	CHECK(it.it_value.tv_sec <= left && it.it_value.tv_sec > left - 60);
}

int main(int argc, char **argv)
{
	struct itimerval real = { { 7, 250000 }, { 1000, 0 } }, virt = { { 8, 250000 }, { 500, 0 } };
	struct itimerval prof = { { 9, 250000 }, { 300, 0 } }, soon = { { 0, 0 }, { 0, 50000 } };
	sigset_t set;
	int sig;

	prog_init(argc, argv);
	signal(SIGALRM, on_alarm);
	CHECK(setitimer(ITIMER_REAL, &real, NULL) == 0);
	CHECK(setitimer(ITIMER_VIRTUAL, &virt, NULL) == 0);
	CHECK(setitimer(ITIMER_PROF, &prof, NULL) == 0);
	prog_ready();
	look(ITIMER_REAL, 1000, 7);
	look(ITIMER_VIRTUAL, 500, 8);
	look(ITIMER_PROF, 300, 9);
	CHECK(fired == 0);
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	CHECK(setitimer(ITIMER_REAL, &soon, NULL) == 0);
	CHECK(sigwait(&set, &sig) == 0 && sig == SIGALRM);
	prog_ok();
}
