/* SPDX-License-Identifier: MIT */
/* A ring whose descriptor is registered with the thread, IORING_REGISTER_RING_FDS, and used by its place. */
#include "ring.h"

#define ENTER_REGISTERED 16

static long nop(struct ring *r, int place, uint64_t user)
{
	ring_sqe(r, IORING_OP_NOP, -1, user);
	__atomic_store_n(ring_word(r, r->p.sq_off.tail), r->tail, __ATOMIC_SEQ_CST);
	return syscall(SYS_io_uring_enter, place, 1, 1, IORING_ENTER_GETEVENTS | ENTER_REGISTERED, NULL, 0);
}

int main(int argc, char **argv)
{
	struct { uint32_t place, resv; uint64_t fd; } up = { 3, 0, 0 };
	struct ring r;

	prog_init(argc, argv);
	ring_make(&r, 8, 0, 0);
	up.fd = r.fd;
	if (syscall(SYS_io_uring_register, r.fd, 20, &up, 1) != 1)
		prog_skip("this kernel registers no ring descriptors");
	CHECK(up.place == 3 && nop(&r, 3, 1) == 1 && ring_take(&r, 1) == 0);
	prog_ready();

	CHECK(nop(&r, 3, 2) == 1 && ring_take(&r, 2) == 0);
	CHECK(syscall(SYS_io_uring_enter, 0, 0, 0, ENTER_REGISTERED, NULL, 0) < 0 && errno == EBADF);
	ring_nops(&r, 5, 10);
	prog_ok();
}
