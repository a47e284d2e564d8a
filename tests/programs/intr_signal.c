/* SPDX-License-Identifier: MIT */
/*
 * A signal that comes while the tree is frozen: its handler runs, and the call that the thread waits in ends with EINTR
 * as it does without a checkpoint, or goes on when the handler has SA_RESTART.  A timer makes sure that one comes: it
 * fires again and again until its handler sees by the clock that there was a gap.
 */
#include "prog.h"

#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/time.h>

#define EVERY_US 3000
#define GAP_MS 12
#define LATE_MS 2000

static volatile long long last, gap_at;
static volatile int handled;
static int *up;

static long long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ll + ts.tv_nsec / 1000000;
}

static void arm(int value_us, int interval_us)
{
	struct itimerval it = { { 0, interval_us }, { value_us / 1000000, value_us % 1000000 } };

	CHECK(setitimer(ITIMER_REAL, &it, NULL) == 0);
}

/* After the gap only one more signal comes, late: a call that this handler has not ended shows by the time. */
static void handler(int sig)
{
	long long now = now_ms();

	handled++;
	if (!gap_at && last && now - last > GAP_MS) {
		gap_at = now;
		arm(2 * LATE_MS * 1000, 0);
	}
	last = now;
}

static void start(int flags)
{
	struct sigaction sa = { .sa_handler = handler, .sa_flags = flags };

	CHECK(sigaction(SIGALRM, &sa, NULL) == 0);
	arm(EVERY_US, EVERY_US);
	prog_count(up);
}

static int do_pause(void)
{
	return pause();
}

static int do_poll(void)
{
	return poll(NULL, 0, 60000);
}

static int do_epoll(void)
{
	static int fd = -1;
	struct epoll_event ev;

	if (fd < 0)
		fd = epoll_create1(0);
	return epoll_wait(fd, &ev, 1, 60000);
}

static int do_epoll_endless(void)
{
	static int fd = -1;
	struct epoll_event ev;

	if (fd < 0)
		fd = epoll_create1(0);
	return epoll_wait(fd, &ev, 1, -1);
}

static int (*const waits[])(void) = { do_pause, do_poll, do_epoll, do_epoll_endless };
enum { N = sizeof(waits) / sizeof(waits[0]) };

static void child(void *arg)
{
	long n = (long)arg;
	int before;

	start(n == 1 ? SA_RESTART : 0); /* which poll() does not heed */
	while (!gap_at) {
		before = handled;
		if (waits[n]() != -1 || errno != EINTR || handled == before)
			prog_fail("call %ld came back by itself (%s)", n, strerror(errno));
	}
	if (now_ms() - gap_at >= LATE_MS)
		prog_fail("call %ld was not ended by the handler", n);
	arm(0, 0);
}

static void reader(void *arg)
{
	int *fds = arg;
	char c;

	start(SA_RESTART);
	for (int i = 0; i < 2; i++)
		CHECK(read(fds[0], &c, 1) == 1 && c == 'x');
	CHECK(handled > 0);
}

int main(int argc, char **argv)
{
	pid_t pid[N + 1];
	int fds[2];

	prog_init(argc, argv);
	up = prog_shared(4096);
	CHECK(pipe(fds) == 0 && write(fds[1], "x", 1) == 1);
	for (long i = 0; i < N; i++)
		pid[i] = prog_child(child, (void *)i);
	pid[N] = prog_child(reader, fds);
	prog_wait_count(up, N + 1);
	prog_ready();
	CHECK(write(fds[1], "x", 1) == 1);
	for (int i = 0; i < N + 1; i++)
		prog_reap(pid[i]);
	prog_ok();
}
