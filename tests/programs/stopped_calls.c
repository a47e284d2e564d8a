/* SPDX-License-Identifier: MIT */
/*
 * Children that are stopped (SIGSTOP) in the middle of a call: they stay stopped, and when they are
 * continued the call goes on as if nothing had been: it comes back with its event, or when its time
 * is over, not before.
 */
#include "prog.h"

#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>

#define MS 4000

static int *up, *word; /* shared; word is what the futex waits at */
static int fds[2];

static long long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ll + ts.tv_nsec / 1000000;
}

static int do_read(void)
{
	char c = 0;

	return read(fds[0], &c, 1) == 1 && c == 'r' ? 0 : -1;
}

static int do_poll_endless(void)
{
	struct pollfd p = { .fd = fds[0], .events = POLLHUP };

	return poll(&p, 1, -1) == 1 ? 0 : -1;
}

static int do_futex(void)
{
	return syscall(SYS_futex, word, FUTEX_WAIT, 0, NULL, NULL, 0) ? -1 : 0;
}

static int do_sleep(void)
{
	struct timespec ts = { MS / 1000, MS % 1000 * 1000000 };
	long long t = now_ms();

	if (nanosleep(&ts, NULL))
		return -1;
	errno = 0;
	return now_ms() - t >= MS - 1 ? 0 : -1;
}

static int do_poll(void)
{
	long long t = now_ms();

	if (poll(NULL, 0, MS))
		return -1;
	errno = 0;
	return now_ms() - t >= MS - 1 ? 0 : -1;
}

static const struct {
	const char *name;
	int (*call)(void);
} calls[] = {
	{ "read", do_read }, { "poll", do_poll_endless }, { "futex", do_futex }, { "nanosleep", do_sleep },
	{ "poll with a limit", do_poll },
};
enum { N = sizeof(calls) / sizeof(calls[0]) };

static void child(void *arg)
{
	long n = (long)arg;

	if (calls[n].call != do_read)
		close(fds[1]);
	prog_count(up);
	errno = 0;
	if (calls[n].call())
		prog_fail("%s: %s", calls[n].name, strerror(errno));
}

int main(int argc, char **argv)
{
	pid_t pid[N];

	prog_init(argc, argv);
	up = prog_shared(4096);
	word = prog_shared(4096);
	CHECK(pipe(fds) == 0);
	for (long i = 0; i < N; i++)
		pid[i] = prog_child(child, (void *)i);
	prog_wait_count(up, N);
	for (int i = 0; i < N; i++) {
		prog_wait_state(pid[i], pid[i], 'S');
		CHECK(kill(pid[i], SIGSTOP) == 0);
		prog_wait_state(pid[i], pid[i], 'T');
	}
	prog_ready();
	for (int i = 0; i < N; i++) {
		if (prog_state(pid[i], pid[i]) != 'T')
			prog_fail("%s: it is in state %c, not stopped", calls[i].name, prog_state(pid[i], pid[i]));
		CHECK(kill(pid[i], SIGCONT) == 0);
	}
	CHECK(write(fds[1], "r", 1) == 1);
	prog_reap(pid[0]);
	CHECK(close(fds[1]) == 0);
	prog_reap(pid[1]);
	while (syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0) == 0)
		prog_nap(20);
	for (int i = 2; i < N; i++)
		prog_reap(pid[i]);
	prog_ok();
}
