/* SPDX-License-Identifier: MIT */
/*
 * Threads that read timers: one that is not armed, ones far from their time, by every clock that
 * there is; each comes back when its timer is set to fire.  And one whose timer fires by itself,
 * not before its time.
 */
#include <stdint.h>
#include <sys/timerfd.h>

#include "blocked.h"

static const struct {
	int clock;
	const char *name;
} clocks[] = {
	{ CLOCK_MONOTONIC, "monotonic" }, { CLOCK_REALTIME, "realtime" }, { CLOCK_BOOTTIME, "boottime" },
	{ CLOCK_REALTIME_ALARM, "realtime alarm" }, { CLOCK_BOOTTIME_ALARM, "boottime alarm" },
};
enum { N = sizeof(clocks) / sizeof(clocks[0]) };
static int fds[N], off, soon;
static struct timespec soon_at;

static void set(int fd, struct timespec value)
{
	struct itimerspec its = { .it_value = value };

	CHECK(timerfd_settime(fd, 0, &its, NULL) == 0);
}

static int fires(int fd)
{
	uint64_t v = 0;

	return read(fd, &v, sizeof(v)) == sizeof(v) && v == 1 ? 0 : -1;
}

static const struct timespec now = { 0, 1 };

#define OF(n) \
	static int do_##n(void) { return fires(fds[n]); } \
	static void free_##n(void) { set(fds[n], now); }
OF(0)
OF(1)
OF(2)
OF(3)
OF(4)

static int do_off(void) { return fires(off); }
static void free_off(void) { set(off, now); }

static void *alone(void *arg)
{
	struct timespec ts;

	CHECK(fires(soon) == 0);
	clock_gettime(CLOCK_MONOTONIC, &ts);
	CHECK(ts.tv_sec > soon_at.tv_sec || (ts.tv_sec == soon_at.tv_sec && ts.tv_nsec >= soon_at.tv_nsec));
	return NULL;
}

int main(int argc, char **argv)
{
	struct blocked calls[N + 1] = { BLOCKED("not armed", off) }, all[N] = { BLOCKED("", 0), BLOCKED("", 1), BLOCKED("", 2),
										BLOCKED("", 3), BLOCKED("", 4) };
	pthread_t t;
	int n = 1;

	prog_init(argc, argv);
	off = timerfd_create(CLOCK_MONOTONIC, 0);
	soon = timerfd_create(CLOCK_MONOTONIC, 0);
	CHECK(off >= 0 && soon >= 0);
	for (int i = 0; i < N; i++) {
		fds[i] = timerfd_create(clocks[i].clock, 0);
		if (fds[i] < 0) {
			CHECK(errno == EPERM || errno == EOPNOTSUPP || errno == EINVAL);
			printf("no timers of the clock %s here: %s\n", clocks[i].name, strerror(errno));
			continue;
		}
		struct itimerspec its = { .it_value = { 5000, 0 } };

		/*
		 * those that wake the machine up are made, and not armed, where it has no clock for
		 * that
		 */
		if (timerfd_settime(fds[i], 0, &its, NULL) < 0) {
			printf("no timers of the clock %s here: %s\n", clocks[i].name, strerror(errno));
			close(fds[i]);
			continue;
		}
		calls[n] = all[i];
		calls[n++].name = clocks[i].name;
	}
	clock_gettime(CLOCK_MONOTONIC, &soon_at);
	soon_at.tv_sec += 1;
	set(soon, (struct timespec){ 1, 0 });
	CHECK(pthread_create(&t, NULL, alone, NULL) == 0);
	blocked_run(calls, n);
	CHECK(pthread_join(t, NULL) == 0);
	prog_ok();
}
