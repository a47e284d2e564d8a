/* SPDX-License-Identifier: MIT */
/* Three hundred queued signals: all arrive, in order. */
#include "prog.h"

#include <signal.h>

#define MANY 300

int main(int argc, char **argv)
{
	struct timespec none = { 0, 0 };
	siginfo_t si;
	sigset_t set;

	prog_init(argc, argv);
	sigfillset(&set);
	CHECK(sigprocmask(SIG_SETMASK, &set, NULL) == 0);
	for (int i = 0; i < MANY; i++)
		CHECK(sigqueue(getpid(), SIGRTMIN + 1, (union sigval){ .sival_int = i }) == 0);
	prog_ready();
	for (int i = 0; i < MANY; i++) {
		CHECK(sigtimedwait(&set, &si, &none) == SIGRTMIN + 1);
		CHECK(si.si_value.sival_int == i);
	}
	CHECK(sigtimedwait(&set, &si, &none) < 0 && errno == EAGAIN);
	prog_ok();
}
