/* SPDX-License-Identifier: MIT */
/* SS_AUTODISARM: kept while unused; while a handler runs there is no alternate stack, and it comes back after it. */
#include "prog.h"

#include <signal.h>

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1u << 31)
#endif

static char stack[1 << 16];
static volatile int ran;

static void handler(int sig)
{
	stack_t ss;
	char here;

	CHECK(&here >= stack && &here < stack + sizeof(stack));
	prog_ready();
	CHECK(sigaltstack(NULL, &ss) == 0 && ss.ss_flags == SS_DISABLE);
	ran++;
}

int main(int argc, char **argv)
{
	stack_t ss = { .ss_sp = stack, .ss_size = sizeof(stack), .ss_flags = (int)SS_AUTODISARM };
	struct sigaction sa = { .sa_handler = handler, .sa_flags = SA_ONSTACK };

	prog_init(argc, argv);
	CHECK(sigaltstack(&ss, NULL) == 0);
	CHECK(sigaction(SIGUSR1, &sa, NULL) == 0);
	CHECK(raise(SIGUSR1) == 0 && ran == 1);
	CHECK(sigaltstack(NULL, &ss) == 0);
	CHECK(ss.ss_sp == stack && ss.ss_size == sizeof(stack) && ss.ss_flags == (int)SS_AUTODISARM);
	prog_ok();
}
