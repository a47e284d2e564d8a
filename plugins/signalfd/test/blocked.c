/* SPDX-License-Identifier: MIT */
/* Threads that read signals: of two sets, one signal to the process and one to the thread itself. */
#include <signal.h>
#include <sys/signalfd.h>

#include "blocked.h"

static int usr, rt;
static pid_t rt_tid;

static int takes(int fd, int sig, int value)
{
	struct signalfd_siginfo si;

	return read(fd, &si, sizeof(si)) == sizeof(si) && (int)si.ssi_signo == sig && (int)si.ssi_int == value &&
	       (int)si.ssi_pid == getpid() ? 0 : -1;
}

static int do_process(void) { return takes(usr, SIGUSR1, 0); }
static void free_process(void) { CHECK(kill(getpid(), SIGUSR1) == 0); }

static int do_thread(void)
{
	rt_tid = gettid();
	return takes(rt, SIGRTMIN, 42);
}

static void free_thread(void)
{
	for (int n = 0; n < BLOCKED_MAX; n++)
		if (blocked_threads[n].tid == rt_tid)
			CHECK(pthread_sigqueue(blocked_threads[n].thread, SIGRTMIN, (union sigval){ .sival_int = 42 }) == 0);
}

static const struct blocked calls[] = { BLOCKED("to the process", process), BLOCKED("to the thread", thread) };

int main(int argc, char **argv)
{
	sigset_t set;

	prog_init(argc, argv);
	sigfillset(&set);
	CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	usr = signalfd(-1, &set, SFD_CLOEXEC);
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	rt = signalfd(-1, &set, 0);
	CHECK(usr >= 0 && rt >= 0);
	blocked_run(calls, sizeof(calls) / sizeof(calls[0]));
	prog_ok();
}
