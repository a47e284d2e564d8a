/* SPDX-License-Identifier: MIT */
/*
 * Threads that wait for completions of rings in which nothing is in flight (io_uring_enter),
 * without a time limit and with a long one.
 */
#include "ring.h"

#include "blocked.h"

#ifndef IORING_ENTER_EXT_ARG
#define IORING_ENTER_EXT_ARG (1u << 3)
#endif

static struct ring endless, limited;

/* And the completion is there. */
static int right(struct ring *r, long n, uint64_t user)
{
	return n == 0 && ring_take(r, user) == 0 ? 0 : -1;
}

static int do_endless(void)
{
	return right(&endless, syscall(SYS_io_uring_enter, endless.fd, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0), 1);
}

static int do_limited(void)
{
	const int64_t limit[2] = { 600, 0 };
	struct {
		uint64_t sigmask;
		uint32_t sigmask_sz, pad;
		uint64_t ts;
	} arg = { .ts = (uintptr_t)limit };
	long n;

	do {
		n = syscall(SYS_io_uring_enter, limited.fd, 0, 1, IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &arg,
			    sizeof(arg));
	} while (n < 0 && blocked_again());
	return right(&limited, n, 2);
}

static void nop(struct ring *r, uint64_t user)
{
	ring_sqe(r, IORING_OP_NOP, -1, user);
	ring_submit(r, 0);
}

static void free_endless(void) { nop(&endless, 1); }
static void free_limited(void) { nop(&limited, 2); }

int main(int argc, char **argv)
{
	static const struct blocked calls[] = { BLOCKED("without a limit", endless), BLOCKED("with a limit", limited) };

	prog_init(argc, argv);
	ring_make(&endless, 4, 0, 0);
	ring_make(&limited, 4, 0, 0);
	blocked_run(calls, endless.p.features & (1u << 8) ? 2 : 1); /* IORING_FEAT_EXT_ARG, Linux 5.11 */
	prog_ok();
}
