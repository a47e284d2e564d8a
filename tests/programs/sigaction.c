/* SPDX-License-Identifier: MIT */
/* Signal actions: handlers with every flag and with masks, ignored and default ones; in a child they differ. */
#include "prog.h"

#include <signal.h>
#include <sys/syscall.h>

struct kernel_sigaction {
	void *handler;
	unsigned long flags;
	void *restorer;
	unsigned long mask;
};

static int *up;
static volatile int got, got_value;

static void plain(int sig)
{
	got = sig;
}

static void with_info(int sig, siginfo_t *si, void *uc)
{
	got = sig;
	got_value = si->si_value.sival_int;
}

static void set(int sig, void *handler, int flags, int masked)
{
	struct sigaction sa = { .sa_flags = flags };

	sa.sa_handler = handler;
	sigemptyset(&sa.sa_mask);
	if (masked)
		sigaddset(&sa.sa_mask, masked);
	CHECK(sigaction(sig, &sa, NULL) == 0);
}

static void all(struct kernel_sigaction *a)
{
	memset(a, 0, 65 * sizeof(*a));
	for (int sig = 1; sig <= 64; sig++)
		CHECK(syscall(SYS_rt_sigaction, sig, NULL, &a[sig], 8) == 0);
}

static void same(const struct kernel_sigaction *a)
{
	struct kernel_sigaction b[65];

	all(b);
	for (int sig = 1; sig <= 64; sig++)
		if (memcmp(&a[sig], &b[sig], sizeof(*a)))
			prog_fail("action of signal %d: %p %#lx %p %#lx, was %p %#lx %p %#lx", sig, b[sig].handler,
				  b[sig].flags, b[sig].restorer, b[sig].mask, a[sig].handler, a[sig].flags,
				  a[sig].restorer, a[sig].mask);
}

static void child(void *arg)
{
	struct kernel_sigaction a[65];

	set(SIGUSR1, SIG_DFL, 0, 0);
	set(SIGINT, plain, SA_NODEFER, 0);
	set(SIGCHLD, SIG_IGN, 0, 0);
	all(a);
	prog_count(up);
	prog_wait_go();
	same(a);
}

int main(int argc, char **argv)
{
	struct kernel_sigaction a[65];
	pid_t pid;

	prog_init(argc, argv);
	up = prog_shared(4096);
	set(SIGUSR1, plain, SA_RESTART | SA_ONSTACK, SIGUSR2);
	set(SIGUSR2, with_info, SA_SIGINFO | SA_NODEFER, SIGRTMAX);
	set(SIGRTMIN + 1, with_info, SA_SIGINFO, 0);
	set(SIGHUP, plain, SA_RESETHAND, 0);
	set(SIGCHLD, plain, SA_NOCLDSTOP | SA_RESTART, SIGPIPE);
	set(SIGPIPE, SIG_IGN, 0, 0);
	set(SIGTERM, SIG_IGN, 0, SIGHUP);
	set(SIGWINCH, SIG_DFL, 0, SIGALRM);
	set(SIGRTMAX, SIG_IGN, 0, 0);
	all(a);
	pid = prog_child(child, NULL);
	prog_wait_count(up, 1);
	prog_ready();
	same(a);
	CHECK(raise(SIGUSR1) == 0 && got == SIGUSR1);
	CHECK(sigqueue(getpid(), SIGRTMIN + 1, (union sigval){ .sival_int = 77 }) == 0);
	CHECK(got == SIGRTMIN + 1 && got_value == 77);
	CHECK(raise(SIGTERM) == 0 && raise(SIGRTMAX) == 0);
	prog_reap(pid);
	prog_ok();
}
