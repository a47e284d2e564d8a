/* SPDX-License-Identifier: MIT */
/*
 * Threads in calls that end by themselves: none of them may see EINTR, or come back before its time.  The times are
 * those of the monotonic clock, which runs on while the tree does not exist: late is right, early never.
 *
 * epoll_wait and sigtimedwait with a time limit are the two that signal(7) says any stop ends with EINTR: there the
 * caller is expected to go on with what is left of the time.
 */
#include "prog.h"

#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/syscall.h>

#define MS 1500

static int up, ended, futex_word = 7, go_seen;
static char result[16][200];

static long long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ll + ts.tv_nsec / 1000000;
}

static int do_nanosleep(void)
{
	struct timespec ts = { MS / 1000, MS % 1000 * 1000000 };

	return nanosleep(&ts, NULL);
}

static int do_sleep_rel(void)
{
	struct timespec ts = { MS / 1000, MS % 1000 * 1000000 };

	errno = clock_nanosleep(CLOCK_BOOTTIME, 0, &ts, NULL);
	return errno ? -1 : 0;
}

static int do_sleep_abs(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_sec += 1 + (ts.tv_nsec + MS % 1000 * 1000000 >= 1000000000);
	ts.tv_nsec = (ts.tv_nsec + MS % 1000 * 1000000) % 1000000000;
	errno = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
	return errno ? -1 : 0;
}

static int do_poll(void)
{
	return poll(NULL, 0, MS);
}

static int do_ppoll(void)
{
	struct timespec ts = { MS / 1000, MS % 1000 * 1000000 };
	sigset_t set;

	sigemptyset(&set);
	return ppoll(NULL, 0, &ts, &set);
}

static int do_select(void)
{
	struct timeval tv = { MS / 1000, MS % 1000 * 1000 };

	return select(0, NULL, NULL, NULL, &tv);
}

static int do_pselect(void)
{
	struct timespec ts = { MS / 1000, MS % 1000 * 1000000 };

	return pselect(0, NULL, NULL, NULL, &ts, NULL);
}

static int do_epoll(void)
{
	struct epoll_event ev;
	long long end = now_ms() + MS;
	int fd = epoll_create1(0), n;

	do {
		n = epoll_wait(fd, &ev, 1, end > now_ms() ? end - now_ms() : 0);
	} while (n < 0 && errno == EINTR);
	close(fd);
	return n;
}

static int do_futex(void)
{
	struct timespec ts = { MS / 1000, MS % 1000 * 1000000 };
	int r = syscall(SYS_futex, &futex_word, FUTEX_WAIT_PRIVATE, 7, &ts, NULL, 0);

	return r < 0 && errno == ETIMEDOUT ? 0 : r ? r : 99;
}

static int do_sigtimedwait(void)
{
	long long end = now_ms() + MS, left;
	sigset_t set;
	int r;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	do {
		left = end > now_ms() ? end - now_ms() : 0;
		r = sigtimedwait(&set, NULL, &(struct timespec){ left / 1000, left % 1000 * 1000000 });
	} while (r < 0 && errno == EINTR);
	return r < 0 && errno == EAGAIN ? 0 : r < 0 ? r : 99;
}

static const struct {
	const char *name;
	int (*call)(void);
} calls[] = {
	{ "nanosleep", do_nanosleep }, { "clock_nanosleep relative", do_sleep_rel },
	{ "clock_nanosleep absolute", do_sleep_abs }, { "poll", do_poll }, { "ppoll", do_ppoll },
	{ "select", do_select }, { "pselect", do_pselect }, { "epoll_wait", do_epoll }, { "futex", do_futex },
	{ "sigtimedwait", do_sigtimedwait },
};
enum { N = sizeof(calls) / sizeof(calls[0]) };

/* Again and again: some call is always in the middle of its time. */
static void *thread(void *arg)
{
	int n = (int)(long)arg, r;
	long long t0, t;

	prog_count(&up);
	do {
		t0 = now_ms();
		errno = 0;
		r = calls[n].call();
		t = now_ms() - t0;
		if (r != 0 || t < MS - 1) {
			snprintf(result[n], sizeof(result[n]), "%s gave %d (%s) after %lld ms", calls[n].name, r,
				 strerror(errno), t);
			break;
		}
	} while (!__atomic_load_n(&go_seen, __ATOMIC_SEQ_CST));
	prog_count(&ended);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t t[N];
	sigset_t set;

	prog_init(argc, argv);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	for (long i = 0; i < N; i++)
		CHECK(pthread_create(&t[i], NULL, thread, (void *)i) == 0);
	prog_wait_count(&up, N);
	prog_nap(100);
	prog_ready();
	__atomic_store_n(&go_seen, 1, __ATOMIC_SEQ_CST);
	prog_wait_count(&ended, N);
	for (int i = 0; i < N; i++)
		if (result[i][0])
			prog_fail("%s", result[i]);
	prog_ok();
}
