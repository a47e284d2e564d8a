/* SPDX-License-Identifier: MIT */
/*
 * System call user dispatch: in one thread calls from outside a range become SIGSYS as long as a byte says so; another
 * thread has none.  It blocks all calls while it is dumped.
 */
#include "prog.h"

#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

#define DISPATCH 59
enum { ALLOW, BLOCK };

static volatile char selector;
static volatile int caught, go;
static volatile long number;
static int up;

static void handler(int sig, siginfo_t *si, void *ctx)
{
	selector = ALLOW;
	caught++;
	number = si->si_syscall;
}

/* No call while it is blocked: not even sigreturn would do. */
static void *spinner(void *arg)
{
	if (prctl(DISPATCH, 1, 0, 0, &selector))
		prog_skip("no system call user dispatch here");
	prog_count(&up);
	selector = BLOCK;
	while (!go)
		;
	CHECK(caught == 0);
	syscall(SYS_getppid);
	CHECK(caught == 1 && number == SYS_getppid);
	selector = BLOCK;
	syscall(SYS_getpgid, 0);
	CHECK(caught == 2 && number == SYS_getpgid);
	CHECK(syscall(SYS_getppid) == getppid() && caught == 2);
	return NULL;
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO };
	struct utsname u;
	int major, minor;
	pthread_t t;

	prog_init(argc, argv);
	if (uname(&u) == 0 && sscanf(u.release, "%d.%d", &major, &minor) == 2 && major * 100 + minor < 604 && !getenv("DISPATCH"))
		prog_skip("this kernel does not show it to others (Linux 6.4 does)");
	CHECK(sigaction(SIGSYS, &sa, NULL) == 0);
	CHECK(pthread_create(&t, NULL, spinner, NULL) == 0);
	prog_wait_count(&up, 1);
	prog_nap(50);
	prog_ready();
	go = 1;
	CHECK(pthread_join(t, NULL) == 0);
	prog_ok();
}
