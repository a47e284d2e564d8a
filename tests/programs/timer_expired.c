/* SPDX-License-Identifier: MIT */
/* A timer that runs out while its task does not exist, or just before or after, fires once. */
#include "prog.h"

#include <signal.h>
#include <sys/time.h>

int main(int argc, char **argv)
{
	struct itimerval it = { { 0, 0 }, { 0, 400000 } };
	struct timespec sec10 = { 10, 0 };
	sigset_t set;

	prog_init(argc, argv);
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	CHECK(setitimer(ITIMER_REAL, &it, NULL) == 0);
	prog_ready();
	CHECK(sigtimedwait(&set, NULL, &sec10) == SIGALRM);
	CHECK(getitimer(ITIMER_REAL, &it) == 0 && it.it_value.tv_sec == 0 && it.it_value.tv_usec == 0);
	prog_ok();
}
