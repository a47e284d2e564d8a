/* SPDX-License-Identifier: MIT */
/*
 * How rings were set up: sizes and places of entries, polled completions, a single task that may use them. Their counters
 * differ where requests give no completion or several: setup.dump says that they are idle.
 */
#include <poll.h>
#include <sys/eventfd.h>

#include "ring.h"

#define SINGLE (1u << 12)
#define DEFER (SINGLE | 1u << 13)
#define BARE (1u << 16)
#define SKIP (1u << 6)

static const struct { uint32_t entries, flags; } shapes[] = {
	{ 8, IORING_SETUP_CQE32 }, { 8, IORING_SETUP_SQE128 }, { 4, IORING_SETUP_CQE32 | IORING_SETUP_SQE128 }, { 8, BARE },
	{ 512, IORING_SETUP_CQE32 | BARE }, { 512, IORING_SETUP_SQE128 | BARE }, { 8, IORING_SETUP_IOPOLL }, { 8, SINGLE },
	{ 8, DEFER }, { 1, DEFER },
	{ 16, DEFER | IORING_SETUP_CQE32 | IORING_SETUP_SQE128 | BARE }, { 8, SINGLE | IORING_SETUP_SQPOLL },
	{ 8, DEFER | IORING_SETUP_R_DISABLED }, { 8, DEFER | IORING_SETUP_IOPOLL },
};
#define RINGS (sizeof(shapes) / sizeof(*shapes))

/* What another task is told: errno of asking the ring, and of entering it for events. */
static void others(const struct ring *r, int *ret_ask, int *ret_enter)
{
	int status;
	pid_t child = fork();

	if (!child) {
		long ask = syscall(SYS_io_uring_register, r->fd, IORING_REGISTER_EVENTFD, NULL, 1), enter;

		*ret_ask = ask < 0 ? errno : 0;
		enter = syscall(SYS_io_uring_enter, r->fd, 0, 0, IORING_ENTER_GETEVENTS, NULL, 0);
		_exit((*ret_ask == EEXIST) + 2 * (enter < 0 && errno == EEXIST));
	}
	CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status));
	*ret_ask = WEXITSTATUS(status) & 1;
	*ret_enter = WEXITSTATUS(status) >> 1;
}

/* Does the kernel look at the time to wait at most? A ring that is polled does without. */
static int is_polled(const struct ring *r)
{
	struct io_uring_getevents_arg arg = { .ts = 8 };

	return syscall(SYS_io_uring_enter, r->fd, 0, 0, IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &arg, sizeof(arg)) == 0;
}

static void check_rights(const struct ring *r, uint32_t flags)
{
	int ask, enter;

	others(r, &ask, &enter);
	if (ask != !!(flags & SINGLE) || enter != ((flags & DEFER) == DEFER))
		prog_fail("flags %#x: another task is %srefused, %sfor events", flags, ask ? "" : "not ", enter ? "" : "not ");
	if (!(flags & IORING_SETUP_SQPOLL) && is_polled(r) != !!(flags & IORING_SETUP_IOPOLL))
		prog_fail("flags %#x: whether it is polled has changed", flags);
}

static void check_ring(struct ring *r, uint32_t flags, uint32_t used)
{
	if (flags & IORING_SETUP_R_DISABLED)
		CHECK(syscall(SYS_io_uring_register, r->fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0) == 0);
	check_rights(r, flags);
	ring_nops(r, 40, 5000);
	CHECK(*ring_word(r, r->p.sq_off.head) == used + 40 && *ring_word(r, r->p.cq_off.tail) == used + 40);
}

/* More requests than completions, and more completions than requests. */
static void make_uneven(struct ring *few, struct ring *many, int efd)
{
	uint64_t one = 1;

	for (int i = 0; i < 21; i++) {
		ring_sqe(few, IORING_OP_NOP, -1, 1)->flags = SKIP;
		ring_submit(few, 0);
	}
	ring_nops(few, 3, 10);
	ring_sqe(many, IORING_OP_POLL_ADD, efd, 20)->len = IORING_POLL_ADD_MULTI;
	many->sqes[0].poll32_events = POLLIN;
	ring_submit(many, 0);
	for (int i = 0; i < 5; i++) {
		CHECK(write(efd, &one, 8) == 8);
		CHECK(syscall(SYS_io_uring_enter, many->fd, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0) == 0);
		CHECK(ring_take(many, 20) > 0);
	}
	ring_sqe(many, IORING_OP_POLL_REMOVE, -1, 21)->addr = 20;
	ring_submit(many, 2);
	CHECK(*ring_word(many, many->p.cq_off.tail) == 7);
	*ring_word(many, many->p.cq_off.head) = 7;
}

int main(int argc, char **argv)
{
	struct ring r[RINGS], first, few, many;
	int has[RINGS], efd, uneven;

	prog_init(argc, argv);
	efd = eventfd(0, 0);
	ring_make(&first, 8, 0, 0);
	for (size_t i = 0; i < RINGS; i++) {
		has[i] = ring_try(&r[i], shapes[i].entries, shapes[i].flags, 0, 10) == 0;
		if (has[i] && !(shapes[i].flags & IORING_SETUP_R_DISABLED)) {
			ring_nops(&r[i], 100 + i, 0);
			check_rights(&r[i], shapes[i].flags);
		}
	}
	uneven = has[8] && !ring_try(&few, 8, DEFER, 0, 0) && !ring_try(&many, 8, DEFER, 0, 0);
	if (uneven)
		make_uneven(&few, &many, efd);
	prog_ready();

	for (size_t i = 0; i < RINGS; i++)
		if (has[i])
			check_ring(&r[i], shapes[i].flags, shapes[i].flags & IORING_SETUP_R_DISABLED ? 0 : 100 + i);
	if (uneven) {
		CHECK(*ring_word(&few, few.p.sq_off.head) == 24 && *ring_word(&few, few.p.cq_off.tail) == 3);
		CHECK(*ring_word(&many, many.p.sq_off.head) == 2 && *ring_word(&many, many.p.cq_off.tail) == 7);
		ring_nops(&few, 20, 100);
		ring_nops(&many, 20, 200);
	}
	ring_nops(&first, 20, 1);
	prog_ok();
}
