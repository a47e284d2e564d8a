/* SPDX-License-Identifier: MIT */
/*
 * Threads in calls with a time limit, some of it gone at the dump: each ends when its time is over and not later, counted by
 * the monotonic clock, which runs on while the tree does not exist; and leaves its arguments as they were.
 *
 * What signal(7) says ends with EINTR at any stop (epoll_wait, sigtimedwait) may do so only where the tree runs on.
 */
#include "prog.h"

#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/syscall.h>

#define BEFORE_MS 3000 /* so long each has waited when the dump begins, */
#define MS 9000	       /* of so much, */
#define LATE_MS 1500   /* and so late it may be: less than what has passed before */

static int up, ended, beats, futex_word = 7;
static long long begun, gap;
static char result[32][200];

static long long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ll + ts.tv_nsec / 1000000;
}

static struct timespec span(void)
{
	return (struct timespec){ MS / 1000, MS % 1000 * 1000000 };
}

static int do_nanosleep(void)
{
	struct timespec ts = span();

	return syscall(SYS_nanosleep, &ts, NULL);
}

static int do_nanosleep_rem(void)
{
	struct timespec ts = span(), rem = { 77, 77 };

	return nanosleep(&ts, &rem) || ts.tv_sec != span().tv_sec || ts.tv_nsec != span().tv_nsec;
}

static int do_sleep_boot(void)
{
	struct timespec ts = span();

	errno = syscall(SYS_clock_nanosleep, CLOCK_BOOTTIME, 0, &ts, NULL);
	return errno ? -1 : 0;
}

static int do_sleep_real(void)
{
	struct timespec ts = span(), rem;

	errno = clock_nanosleep(CLOCK_REALTIME, 0, &ts, &rem);
	return errno ? -1 : 0;
}

static int do_sleep_abs(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_sec += MS / 1000;
	ts.tv_nsec += MS % 1000 * 1000000;
	if (ts.tv_nsec >= 1000000000) {
		ts.tv_sec++;
		ts.tv_nsec -= 1000000000;
	}
	errno = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
	return errno ? -1 : 0;
}

static int do_poll(void)
{
	struct pollfd p = { .fd = -1, .events = POLLIN };

	return poll(&p, 1, MS);
}

static int do_ppoll(void)
{
	struct timespec ts = span();
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
	struct timespec ts = span();

	return pselect(0, NULL, NULL, NULL, &ts, NULL);
}

static int do_futex(void)
{
	struct timespec ts = span();
	int r = syscall(SYS_futex, &futex_word, FUTEX_WAIT_PRIVATE, 7, &ts, NULL, 0);

	return r < 0 && errno == ETIMEDOUT ? 0 : r ? r : 99;
}

static int do_futex_shared(void)
{
	struct timespec ts = span();
	int r = syscall(SYS_futex, &futex_word, FUTEX_WAIT, 7, &ts, NULL, 0);

	return r < 0 && errno == ETIMEDOUT ? 0 : r ? r : 99;
}

/* Fields 22 of stat: when this process began, for the kernel. */
static unsigned long long start_time(void)
{
	char text[1024] = "", *p;
	unsigned long long t = 0;
	int fd = open("/proc/self/stat", O_RDONLY);

	CHECK(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && close(fd) == 0);
	p = strrchr(text, ')');
	CHECK(p);
	for (int i = 2; i < 22 && p; i++)
		p = strchr(p + 1, ' ');
	CHECK(p && sscanf(p, "%llu", &t) == 1);
	return t;
}

static unsigned long long first_start;

/* Another process than at the beginning, for the kernel. */
static int restored(void)
{
	return start_time() != first_start;
}

static int do_epoll(void)
{
	struct epoll_event ev;
	long long end = now_ms() + MS;
	int fd = epoll_create1(0), n;

	do {
		n = epoll_wait(fd, &ev, 1, end > now_ms() ? end - now_ms() : 0);
	} while (n < 0 && errno == EINTR && !restored());
	return n;
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
	} while (r < 0 && errno == EINTR && !restored());
	return r < 0 && errno == EAGAIN ? 0 : r < 0 ? r : 99;
}

static const struct {
	const char *name;
	int (*call)(void);
} calls[] = {
	{ "nanosleep", do_nanosleep }, { "nanosleep with a remainder", do_nanosleep_rem },
	{ "clock_nanosleep boottime", do_sleep_boot }, { "clock_nanosleep realtime", do_sleep_real },
	{ "clock_nanosleep absolute", do_sleep_abs }, { "poll", do_poll }, { "ppoll", do_ppoll }, { "select", do_select },
	{ "pselect", do_pselect }, { "futex", do_futex }, { "futex shared", do_futex_shared }, { "epoll_wait", do_epoll },
	{ "sigtimedwait", do_sigtimedwait },
};
enum { N = sizeof(calls) / sizeof(calls[0]) };

/* How long the tree did not exist: the times between two looks at the clock. */
static void *watcher(void *arg)
{
	long long last = now_ms(), now;

	while (__atomic_load_n(&ended, __ATOMIC_SEQ_CST) < N) {
		prog_nap(5);
		now = now_ms();
		if (now - last > 150)
			gap += now - last;
		last = now;
		prog_count(&beats);
	}
	return NULL;
}

static void *thread(void *arg)
{
	int n = (int)(long)arg, r;
	long long t0, t;

	prog_count(&up);
	t0 = now_ms();
	errno = 0;
	r = calls[n].call();
	t = now_ms() - t0;
	/* waiting it all again would be later by what had passed */
	if (r != 0 || t < MS - 1 || t > MS + gap + LATE_MS)
		snprintf(result[n], sizeof(result[n]), "%s gave %d (%s) after %lld ms, %lld ms were not there", calls[n].name,
			 r, strerror(errno), t, gap);
	prog_count(&ended);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t t;
	sigset_t set;

	prog_init(argc, argv);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	first_start = start_time();
	begun = now_ms();
	CHECK(pthread_create(&t, NULL, watcher, NULL) == 0);
	for (long i = 0; i < N; i++)
		CHECK(pthread_create(&t, NULL, thread, (void *)i) == 0);
	prog_wait_count(&up, N);
	while (now_ms() - begun < BEFORE_MS)
		prog_nap(10);
	prog_ready();
	prog_wait_count(&ended, N);
	for (int i = 0; i < N; i++)
		if (result[i][0])
			prog_fail("%s", result[i]);
	prog_ok();
}
