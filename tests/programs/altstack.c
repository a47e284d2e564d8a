/* SPDX-License-Identifier: MIT */
/* The alternate signal stack, while a handler runs on it: the handler returns to where it came from afterwards. */
#include "prog.h"

#include <signal.h>

static char stack[1 << 16];
static volatile int waited;

static int on_it(void *p)
{
	return (char *)p >= stack && (char *)p < stack + sizeof(stack);
}

static void handler(int sig)
{
	stack_t ss;
	int here;

	CHECK(on_it(&here));
	if (sig != SIGUSR1) {
		waited++;
		return;
	}
	prog_ready();
	CHECK(on_it(&here));
	CHECK(sigaltstack(NULL, &ss) == 0 && ss.ss_flags & SS_ONSTACK);
	CHECK(ss.ss_sp == stack && ss.ss_size == sizeof(stack));
	/* one more frame on the same stack, not from its top again */
	CHECK(raise(SIGUSR2) == 0 && waited == 1);
	waited++;
}

int main(int argc, char **argv)
{
	stack_t ss = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct sigaction sa = { .sa_handler = handler, .sa_flags = SA_ONSTACK };
	sigset_t set;

	prog_init(argc, argv);
	CHECK(sigaltstack(&ss, NULL) == 0);
	sigaddset(&sa.sa_mask, SIGHUP);
	CHECK(sigaction(SIGUSR1, &sa, NULL) == 0 && sigaction(SIGUSR2, &sa, NULL) == 0);
	CHECK(raise(SIGUSR1) == 0);
	CHECK(waited == 2);
	CHECK(sigprocmask(SIG_SETMASK, NULL, &set) == 0 && !sigismember(&set, SIGHUP) && !sigismember(&set, SIGUSR1));
	CHECK(sigaltstack(NULL, &ss) == 0 && ss.ss_flags == 0);
	prog_ok();
}
