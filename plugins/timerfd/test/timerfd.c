/* SPDX-License-Identifier: MIT */
/*
 * Timers of all sorts: running, disarmed, expired and not read, periodic, absolute.  The time between
 * dump and restore does not count for relative timers, and counts for dates.
 */
#include <stdint.h>
#include <sys/timerfd.h>

#include "prog.h"

static const struct timespec none;

static int timer(int clock, int flags, struct timespec value, struct timespec interval)
{
	int fd = timerfd_create(clock, TFD_NONBLOCK);
	struct itimerspec its = { interval, value };

	CHECK(fd >= 0);
	CHECK(timerfd_settime(fd, flags, &its, NULL) == 0);
	return fd;
}

static uint64_t ticks(int fd)
{
	uint64_t n = 0;

	CHECK(read(fd, &n, sizeof(n)) == sizeof(n) || errno == EAGAIN);
	return n;
}

static double left(int fd, double *ret_interval)
{
	struct itimerspec its;

	CHECK(timerfd_gettime(fd, &its) == 0);
	*ret_interval = its.it_interval.tv_sec + its.it_interval.tv_nsec / 1e9;
	return its.it_value.tv_sec + its.it_value.tv_nsec / 1e9;
}

static struct timespec in_seconds(int clock, int sec)
{
	struct timespec t;

	CHECK(clock_gettime(clock, &t) == 0);
	t.tv_sec += sec;
	return t;
}

int main(int argc, char **argv)
{
	int running, disarmed, expired, periodic, boot, date, past, mono;
	struct timespec when;
	double now, every;

	prog_init(argc, argv);
	running = timer(CLOCK_MONOTONIC, 0, (struct timespec){ 5000, 7 }, (struct timespec){ 3, 5 });
	disarmed = timer(CLOCK_MONOTONIC, 0, none, (struct timespec){ 9, 0 });
	expired = timer(CLOCK_MONOTONIC, 0, (struct timespec){ 0, 1000 }, none);
	periodic =
		timer(CLOCK_MONOTONIC, 0, (struct timespec){ 0, 10000000 }, (struct timespec){ 0, 10000000 });
	boot = timer(CLOCK_BOOTTIME, 0, (struct timespec){ 800, 0 }, none);
	when = in_seconds(CLOCK_REALTIME, 600);
	date = timer(CLOCK_REALTIME, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, when, none);
	past = timer(CLOCK_REALTIME, TFD_TIMER_ABSTIME, in_seconds(CLOCK_REALTIME, -5), none);
	mono = timer(CLOCK_MONOTONIC, TFD_TIMER_ABSTIME, in_seconds(CLOCK_MONOTONIC, 400), none);
	prog_nap(105);
	prog_ready();

	CHECK(ticks(running) == 0 && ticks(boot) == 0 && ticks(date) == 0 && ticks(mono) == 0 &&
	      ticks(disarmed) == 0);
	now = left(running, &every);
	CHECK(now > 4900 && now <= 5000.1 && every > 3 && every < 3.1);
	CHECK(left(disarmed, &every) == 0 && every == 9);
	CHECK(ticks(expired) == 1 && ticks(expired) == 0 && left(expired, &every) == 0);
	CHECK(ticks(past) == 1 && ticks(past) == 0);
	CHECK(ticks(periodic) >= 10);
	prog_nap(50);
	CHECK(ticks(periodic) >= 3);
	now = left(boot, &every);
	CHECK(now > 700 && now <= 800);
	now = left(mono, &every);
	CHECK(now > 300 && now <= 400);
	/* the date has stayed, to a few milliseconds */
	now = left(date, &every) - (when.tv_sec + when.tv_nsec / 1e9);
	when = in_seconds(CLOCK_REALTIME, 0);
	now += when.tv_sec + when.tv_nsec / 1e9;
	CHECK(now > -0.1 && now < 0.1);
	prog_ok();
}
