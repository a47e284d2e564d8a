/* SPDX-License-Identifier: MIT */
/* Three hundred queued signals: all arrive, in order, although the limit is lower by now. */
#include "prog.h"

#include <signal.h>
#include <sys/resource.h>

#define MANY 300

int main(int argc, char **argv)
{
	struct rlimit low;
	struct timespec none = { 0, 0 };
	siginfo_t si;
	sigset_t set;

	prog_init(argc, argv);
	sigfillset(&set);
	CHECK(sigprocmask(SIG_SETMASK, &set, NULL) == 0);
	for (int i = 0; i < MANY; i++)
		CHECK(sigqueue(getpid(), SIGRTMIN + 1, (union sigval){ .sival_int = i }) == 0);
	low.rlim_cur = 5;
	low.rlim_max = 10;
	CHECK(setrlimit(RLIMIT_SIGPENDING, &low) == 0);
	prog_ready();
	CHECK(getrlimit(RLIMIT_SIGPENDING, &low) == 0 && low.rlim_cur == 5 && low.rlim_max == 10);
	/* what is queued is on the account of who has restored it */
	CHECK(getuid() != 0 || sigqueue(getpid(), SIGRTMIN + 2, (union sigval){ .sival_int = 0 }) < 0);
	for (int i = 0; i < MANY; i++) {
		CHECK(sigtimedwait(&set, &si, &none) == SIGRTMIN + 1);
		CHECK(si.si_value.sival_int == i);
	}
	CHECK(sigtimedwait(&set, &si, &none) < 0 && errno == EAGAIN);
	prog_ok();
}
