/* SPDX-License-Identifier: MIT */
/* Threads that wait at event counters: for a count, for a semaphore's, for room. */
#include <stdint.h>
#include <sys/eventfd.h>

#include "blocked.h"

#define MOST 0xfffffffffffffffeull

static int count, sem, full;

static int value(int fd, uint64_t want)
{
	uint64_t v = 0;

	return read(fd, &v, sizeof(v)) == sizeof(v) && v == want ? 0 : -1;
}

static void add(int fd, uint64_t v)
{
	CHECK(write(fd, &v, sizeof(v)) == sizeof(v));
}

static int do_read(void) { return value(count, 7); }
static void free_read(void) { add(count, 7); }
static int do_down(void) { return value(sem, 1); }

static void free_down(void)
{
	add(sem, 2);
	CHECK(value(sem, 1) == 0);
}

static int do_write(void)
{
	uint64_t v = 5;

	return write(full, &v, sizeof(v)) == sizeof(v) ? 0 : -1;
}

static void free_write(void) { CHECK(value(full, MOST) == 0); }

static const struct blocked calls[] = { BLOCKED("read", read), BLOCKED("read of a semaphore", down), BLOCKED("write", write) };

int main(int argc, char **argv)
{
	prog_init(argc, argv);
	count = eventfd(0, 0);
	sem = eventfd(0, EFD_SEMAPHORE);
	full = eventfd(0, 0);
	CHECK(count >= 0 && sem >= 0 && full >= 0);
	add(full, MOST);
	blocked_run(calls, sizeof(calls) / sizeof(calls[0]));
	CHECK(value(full, 5) == 0);
	prog_ok();
}
