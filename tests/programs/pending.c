/* SPDX-License-Identifier: MIT */
/*
 * Pending signals with their siginfo: standard ones (one each), real-time ones in their order with values, to the
 * process and to a certain thread; each arrives exactly once, and nothing else does.
 */
#include "prog.h"

#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>

static int up, leave;
static sigset_t most;

static void take(int sig, int code, int value)
{
	struct timespec none = { 0, 0 };
	siginfo_t si;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, sig);
	memset(&si, 0, sizeof(si));
	/* not sigtimedwait(): glibc hides SI_TKILL */
	CHECK(syscall(SYS_rt_sigtimedwait, &set, &si, &none, 8) == sig);
	CHECK(si.si_signo == sig && si.si_code == code && si.si_pid == getpid() && si.si_uid == getuid());
	CHECK(code != SI_QUEUE || si.si_value.sival_int == value);
}

static void nothing_left(void)
{
	struct timespec none = { 0, 0 };
	sigset_t set;

	sigfillset(&set);
	CHECK(sigtimedwait(&set, NULL, &none) < 0 && errno == EAGAIN);
}

static void queue_thread(pid_t tid, int sig, int value)
{
	siginfo_t si = { .si_code = SI_QUEUE };

	si.si_pid = getpid();
	si.si_uid = getuid();
	si.si_value.sival_int = value;
	CHECK(syscall(SYS_rt_tgsigqueueinfo, getpid(), tid, sig, &si) == 0);
}

static void *thread(void *arg)
{
	queue_thread(gettid(), SIGRTMIN + 2, 5);
	queue_thread(gettid(), SIGRTMIN + 2, 6);
	queue_thread(gettid(), SIGUSR2, 7);
	CHECK(pthread_kill(pthread_self(), SIGHUP) == 0);
	prog_count(&up);
	while (!__atomic_load_n(&leave, __ATOMIC_SEQ_CST))
		prog_nap(10);
	take(SIGRTMIN + 2, SI_QUEUE, 5);
	take(SIGRTMIN + 2, SI_QUEUE, 6);
	take(SIGUSR2, SI_QUEUE, 7);
	take(SIGHUP, SI_TKILL, 0);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t t;

	prog_init(argc, argv);
	sigfillset(&most);
	CHECK(sigprocmask(SIG_SETMASK, &most, NULL) == 0);
	CHECK(pthread_create(&t, NULL, thread, NULL) == 0);
	prog_wait_count(&up, 1);
	CHECK(kill(getpid(), SIGUSR1) == 0 && kill(getpid(), SIGUSR1) == 0);
	CHECK(kill(getpid(), SIGTERM) == 0);
	CHECK(pthread_kill(pthread_self(), SIGINT) == 0);
	for (int i = 0; i < 10; i++)
		CHECK(sigqueue(getpid(), SIGRTMIN + 5, (union sigval){ .sival_int = 100 + i }) == 0);
	CHECK(sigqueue(getpid(), SIGRTMIN + 4, (union sigval){ .sival_int = -1 }) == 0);
	prog_ready();
	CHECK(prog_status(getpid(), getpid(), "ShdPnd", 16) ==
	      (1ll << (SIGUSR1 - 1) | 1ll << (SIGTERM - 1) | 1ll << (SIGRTMIN + 4) | 1ll << (SIGRTMIN + 3)));
	CHECK(prog_status(getpid(), getpid(), "SigPnd", 16) == 1ll << (SIGINT - 1));
	__atomic_store_n(&leave, 1, __ATOMIC_SEQ_CST);
	CHECK(pthread_join(t, NULL) == 0);
	take(SIGUSR1, SI_USER, 0);
	take(SIGTERM, SI_USER, 0);
	take(SIGINT, SI_TKILL, 0);
	for (int i = 0; i < 10; i++)
		take(SIGRTMIN + 5, SI_QUEUE, 100 + i);
	take(SIGRTMIN + 4, SI_QUEUE, -1);
	nothing_left();
	prog_ok();
}
