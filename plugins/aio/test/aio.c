/* SPDX-License-Identifier: MIT */
/* Contexts of asynchronous I/O: idle ones, unread events, a ring that has gone round, capacity, a fork's copy. */
#include "context.h"

/* Number of places in the ring, as the kernel shows it. */
static unsigned places(aio_context_t ctx)
{
	return ((const volatile unsigned *)ctx)[1];
}

/* How many events fit: some less than there are places, for every CPU takes some in advance. */
static int capacity(aio_context_t ctx)
{
	struct io_event ev[64];
	int n = 0, got = 0;

	while (submit(ctx, n, 0, 1) == 1)
		n++;
	CHECK(errno == EAGAIN);
	while (got < n) {
		long r = reap(ctx, 1, 64, ev);

		CHECK(r > 0);
		for (long i = 0; i < r; i++)
			CHECK(ev[i].data == (uint64_t)(got + i) && ev[i].res == 1);
		got += r;
	}
	return n;
}

static void check_room(aio_context_t ctx, unsigned want)
{
	unsigned n = capacity(ctx);

	CHECK(places(ctx) == want && n < want && n >= want / 2);
}

struct family {
	aio_context_t idle;
	int *asked;
};

static void child(void *arg)
{
	struct family *f = arg;
	aio_context_t own = setup(16);

	round_trip(own, 77);
	CHECK(submit(f->idle, 1, 0, 1) < 0 && errno == EINVAL);
	prog_count(f->asked);
	prog_wait_go();
	round_trip(own, 78);
	CHECK(submit(f->idle, 1, 0, 1) < 0 && errno == EINVAL);
}

int main(int argc, char **argv)
{
	aio_context_t idle, unread, turned, large;
	struct io_event ev[16];
	struct family f;
	unsigned small, big, half;
	pid_t pid;

	prog_init(argc, argv);
	open_data();
	idle = setup(1);
	unread = setup(128);
	turned = setup(1);
	large = setup(1000);
	small = places(turned);
	big = places(large);
	half = small / 2;
	check_room(turned, small);
	check_room(large, big);
	for (int i = 0; i < 5; i++)
		round_trip(unread, i);
	for (int i = 0; i < 3; i++)
		CHECK(submit(unread, 1000 + i, i, 10 + i) == 1);
	CHECK(submit(unread, 1003, 4096, 10) == 1); /* end of file */
	for (unsigned i = 0; i < 3 * small + 7; i++)
		round_trip(turned, i);
	for (unsigned i = 0; i < half; i++)
		CHECK(submit(turned, 2000 + i, 0, 1) == 1);
	f = (struct family){ idle, prog_shared(sizeof(int)) };
	pid = prog_child(child, &f);
	prog_wait_count(f.asked, 1);
	prog_ready();

	for (int i = 0; i < 2; i++) {
		CHECK(reap(unread, 1, 2, ev) == 2);
		CHECK(ev[0].data == 1000u + 2 * i && ev[1].data == 1001u + 2 * i);
		CHECK(ev[0].res == 10 + 2 * i && ev[1].res == (i ? 0 : 11));
	}
	CHECK(syscall(SYS_io_getevents, unread, 0l, 1l, ev, NULL) == 0);
	for (unsigned i = 0; i < half; i++)
		CHECK(reap(turned, 1, 1, ev) == 1 && ev[0].data == 2000u + i);
	round_trip(unread, 1);
	round_trip(idle, 2);
	check_room(turned, small);
	check_room(idle, small);
	check_room(large, big);
	CHECK(syscall(SYS_io_destroy, idle) == 0 && submit(idle, 0, 0, 1) < 0 && errno == EINVAL);
	CHECK(syscall(SYS_io_destroy, unread) == 0 && syscall(SYS_io_destroy, turned) == 0);
	prog_reap(pid);
	prog_ok();
}
