/* SPDX-License-Identifier: MIT */
/* An interval timer that fires all the time, through the dump and the restore: it goes on, and pause() sees it. */
#include "prog.h"

#include <signal.h>
#include <sys/time.h>

static volatile int fired;

static void on_alarm(int sig)
{
	fired++;
}

int main(int argc, char **argv)
{
	struct itimerval it = { { 0, 5000 }, { 0, 5000 } };
	struct sigaction sa = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
	int before;

	prog_init(argc, argv);
	CHECK(sigaction(SIGALRM, &sa, NULL) == 0);
	CHECK(setitimer(ITIMER_REAL, &it, NULL) == 0);
	prog_ready();
	before = fired;
	for (int i = 0; i < 10; i++)
		CHECK(pause() < 0 && errno == EINTR);
	CHECK(fired >= before + 10);
	CHECK(getitimer(ITIMER_REAL, &it) == 0 && it.it_interval.tv_usec == 5000);
	prog_ok();
}
