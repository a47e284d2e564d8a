/* SPDX-License-Identifier: MIT */
/*
 * Threads in calls that wait for something without a time limit: none may come back by itself, and each does when
 * its event happens.  pause() and sigsuspend() end by a handler and then say EINTR, as they always do.
 */
#include "prog.h"

#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/syscall.h>

static int up, ended, futex_word = 7, go_seen;
static int pipes[8][2];
static pid_t waited_child, waited_child2;
static int *child_go;
static volatile int handled;

static void handler(int sig)
{
	handled++;
}

static int do_read(int fd)
{
	char c = 0;

	return read(fd, &c, 1) == 1 && c == 'e' ? 0 : -1;
}

static int do_poll(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, -1) == 1 && p.revents == POLLIN ? 0 : -1;
}

static int do_ppoll(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	sigset_t set;

	sigemptyset(&set);
	return ppoll(&p, 1, NULL, &set) == 1 ? 0 : -1;
}

static int do_select(int fd)
{
	fd_set set;

	FD_ZERO(&set);
	FD_SET(fd, &set);
	return select(fd + 1, &set, NULL, NULL, NULL) == 1 && FD_ISSET(fd, &set) ? 0 : -1;
}

static int do_epoll(int fd)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = 55 }, got;
	int ep = epoll_create1(0);

	CHECK(ep >= 0 && epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) == 0);
	return epoll_wait(ep, &got, 1, -1) == 1 && got.data.u64 == 55 ? 0 : -1;
}

static int do_futex(int fd)
{
	return syscall(SYS_futex, &futex_word, FUTEX_WAIT_PRIVATE, 7, NULL, NULL, 0) ? -1 : 0;
}

static int do_wait4(int fd)
{
	int st;

	return waitpid(waited_child, &st, 0) == waited_child && WEXITSTATUS(st) == 4 ? 0 : -1;
}

static int do_waitid(int fd)
{
	siginfo_t si = { 0 };

	return waitid(P_PID, waited_child2, &si, WEXITED) == 0 && si.si_pid == waited_child2 && si.si_code == CLD_EXITED &&
	       si.si_status == 5 ? 0 : -1;
}

static int do_pselect(int fd)
{
	sigset_t mask;
	fd_set set;

	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR1);
	sigaddset(&mask, SIGUSR2);
	FD_ZERO(&set);
	FD_SET(fd, &set);
	return pselect(fd + 1, &set, NULL, NULL, NULL, &mask) == 1 && FD_ISSET(fd, &set) ? 0 : -1;
}

static int do_sigwaitinfo(int fd)
{
	siginfo_t si;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	return sigwaitinfo(&set, &si) == SIGUSR2 ? 0 : -1;
}

static int do_pause(int fd)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	return pause() < 0 && errno == EINTR && go_seen ? 0 : -1;
}

static int do_sigsuspend(int fd)
{
	sigset_t set, now;

	sigfillset(&set);
	sigdelset(&set, SIGUSR1);
	if (sigsuspend(&set) != -1 || errno != EINTR || !go_seen)
		return -1;
	/* the mask is that from before the call again */
	pthread_sigmask(SIG_SETMASK, NULL, &now);
	return sigismember(&now, SIGUSR1) && !sigismember(&now, SIGINT) ? 0 : -1;
}

static const struct {
	const char *name;
	int (*call)(int fd);
	int sig;
} calls[] = {
	{ "read", do_read, 0 }, { "poll", do_poll, 0 }, { "ppoll", do_ppoll, 0 }, { "select", do_select, 0 },
	{ "epoll_wait", do_epoll, 0 }, { "pselect", do_pselect, 0 }, { "waitid", do_waitid, 0 },
	{ "futex", do_futex, 0 }, { "wait4", do_wait4, 0 },
	{ "sigwaitinfo", do_sigwaitinfo, SIGUSR2 }, { "pause", do_pause, SIGUSR1 }, { "sigsuspend", do_sigsuspend, SIGUSR1 },
};
enum { N = sizeof(calls) / sizeof(calls[0]), PIPES = 6 };
static char result[N][200];

static void *thread(void *arg)
{
	int n = (int)(long)arg, r;

	prog_count(&up);
	errno = 0;
	r = calls[n].call(n < PIPES ? pipes[n][0] : -1);
	if (r || !go_seen)
		snprintf(result[n], sizeof(result[n]), "%s gave %d (%s)%s", calls[n].name, r, strerror(errno),
			 go_seen ? "" : " before its time");
	prog_count(&ended);
	return NULL;
}

static pid_t ends_with(int status)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		prog_wait_go();
		prog_wait_count(child_go, 1);
		_exit(status);
	}
	return pid;
}

int main(int argc, char **argv)
{
	pthread_t t[N];
	sigset_t set;

	prog_init(argc, argv);
	signal(SIGUSR1, handler);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	child_go = prog_shared(4096);
	waited_child = ends_with(4);
	waited_child2 = ends_with(5);
	for (int i = 0; i < PIPES; i++)
		CHECK(pipe(pipes[i]) == 0);
	for (long i = 0; i < N; i++)
		CHECK(pthread_create(&t[i], NULL, thread, (void *)i) == 0);
	prog_wait_count(&up, N);
	prog_nap(100);
	prog_ready();
	prog_nap(100);
	for (int i = 0; i < N; i++)
		if (result[i][0])
			prog_fail("%s", result[i]);
	__atomic_store_n(&go_seen, 1, __ATOMIC_SEQ_CST);
	for (int i = 0; i < PIPES; i++)
		CHECK(write(pipes[i][1], "e", 1) == 1);
	CHECK(syscall(SYS_futex, &futex_word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0) == 1);
	prog_count(child_go);
	for (int i = 0; i < N; i++)
		if (calls[i].sig)
			CHECK(pthread_kill(t[i], calls[i].sig) == 0);
	for (int i = 0; i < N; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
	for (int i = 0; i < N; i++)
		if (result[i][0])
			prog_fail("%s", result[i]);
	CHECK(handled == 2);
	prog_ok();
}
