/* SPDX-License-Identifier: MIT */
/*
 * Threads that wait for events of asynchronous I/O, without a time limit (io_getevents,
 * io_pgetevents), and with a long one.
 */
#include "context.h"

#include "blocked.h"

static aio_context_t endless, limited, masked;

static int right(long n, const struct io_event *ev, uint64_t cookie)
{
	return n == 1 && ev->data == cookie && ev->res == 10 ? 0 : -1;
}

static int do_endless(void)
{
	struct io_event ev[4];
	long n = syscall(SYS_io_getevents, endless, 1l, 4l, ev, NULL);

	return right(n, ev, 1);
}

static int do_limited(void)
{
	struct timespec ts = { 600, 0 };
	struct io_event ev[4];
	long n;

	do {
		n = syscall(SYS_io_getevents, limited, 1l, 4l, ev, &ts);
	} while (n < 0 && blocked_again());
	return right(n, ev, 2);
}

static int do_masked(void)
{
	struct io_event ev[4];
	long n = syscall(SYS_io_pgetevents, masked, 1l, 4l, ev, NULL, NULL);

	return right(n, ev, 3);
}

static void free_endless(void) { CHECK(submit(endless, 1, 0, 10) == 1); }
static void free_limited(void) { CHECK(submit(limited, 2, 0, 10) == 1); }
static void free_masked(void) { CHECK(submit(masked, 3, 0, 10) == 1); }

static const struct blocked calls[] = {
	BLOCKED("io_getevents", endless), BLOCKED("io_getevents with a time limit", limited), BLOCKED("io_pgetevents", masked),
};

int main(int argc, char **argv)
{
	prog_init(argc, argv);
	open_data();
	endless = setup(8);
	limited = setup(8);
	masked = setup(8);
	blocked_run(calls, sizeof(calls) / sizeof(calls[0]));
	round_trip(endless, 9); /* (each of them goes on) */
	round_trip(limited, 9);
	prog_ok();
}
