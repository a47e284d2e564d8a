/* SPDX-License-Identifier: MIT */
/* Rings that are idle: sizes, counters, unread completions, requests not submitted, flags of setup, what is registered. */
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/uio.h>

#include "ring.h"

#define NO_SQARRAY (1u << 16)

static long reg(const struct ring *r, unsigned op, const void *arg, unsigned n)
{
	return syscall(SYS_io_uring_register, r->fd, op, arg, n);
}

static void read_fixed(struct ring *r, int index, char *buf, int len, int from, uint64_t user)
{
	struct io_uring_sqe *e = ring_sqe(r, IORING_OP_READ_FIXED, index, user);

	e->flags = IOSQE_FIXED_FILE;
	e->addr = (uintptr_t)buf;
	e->len = len;
	e->off = from;
	e->buf_index = 1;
	ring_submit(r, 1);
	CHECK(ring_take(r, user) == len);
}

static int kernel_gives(struct ring *r, uint32_t flags)
{
	return ring_try(r, 16, flags, 0, 0) == 0;
}

int main(int argc, char **argv)
{
	struct ring plain, unread, turned, fixed, off, single, defer, bare, watched;
	struct epoll_event ev = { .events = EPOLLIN, .data.u32 = 5 }, got;
	int file, efd, ep, has_single, has_defer, has_bare, files[3];
	static char buf[2][4096];
	struct iovec iov[2] = { { buf[0], 100 }, { buf[1], sizeof(buf[1]) } };
	uint64_t n;

	prog_init(argc, argv);
	file = open("data", O_RDWR | O_CREAT | O_TRUNC, 0600);
	CHECK(file >= 0 && write(file, "0123456789", 10) == 10);
	efd = eventfd(0, EFD_NONBLOCK);
	ring_make(&plain, 8, 0, 0);
	ring_make(&unread, 8, 0, 64);
	ring_make(&turned, 4, IORING_SETUP_CLAMP, 0);
	ring_make(&fixed, 32, 0, 0);
	ring_make(&off, 8, IORING_SETUP_R_DISABLED, 0);
	ring_make(&watched, 8, 0, 0);
	has_single = kernel_gives(&single, 1u << 12);
	has_defer = kernel_gives(&defer, 1u << 12 | 1u << 13);
	has_bare = kernel_gives(&bare, NO_SQARRAY);
	ep = epoll_create1(0);
	CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, watched.fd, &ev) == 0);

	ring_nops(&plain, 3, 100);
	for (int i = 0; i < 5; i++)
		ring_sqe(&unread, IORING_OP_NOP, -1, 200 + i);
	ring_submit(&unread, 5);
	CHECK(ring_take(&unread, 200) == 0);
	ring_sqe(&unread, IORING_OP_NOP, -1, 205); /* prepared, not submitted */
	ring_nops(&turned, 1001, 0);
	files[0] = file;
	files[1] = -1;
	files[2] = efd;
	CHECK(reg(&fixed, IORING_REGISTER_FILES, files, 3) == 0);
	CHECK(reg(&fixed, IORING_REGISTER_BUFFERS, iov, 2) == 0);
	CHECK(reg(&fixed, IORING_REGISTER_EVENTFD, &efd, 1) == 0);
	read_fixed(&fixed, 0, buf[1], 4, 2, 300);
	CHECK(read(efd, &n, 8) == 8 && !memcmp(buf[1], "2345", 4));
	if (has_single)
		ring_nops(&single, 7, 0);
	if (has_defer)
		ring_nops(&defer, 9, 0);
	if (has_bare)
		ring_nops(&bare, 21, 0);
	prog_ready();

	ring_nops(&plain, 20, 110);
	CHECK(*ring_word(&plain, plain.p.sq_off.head) == 23 && *ring_word(&plain, plain.p.cq_off.tail) == 23);
	ring_submit(&unread, 0);
	for (int i = 1; i < 6; i++)
		CHECK(ring_take(&unread, 200 + i) == 0);
	CHECK(ring_empty(&unread));
	for (int i = 0; i < 60; i += 4) { /* as many as it had room for */
		for (int k = 0; k < 4; k++)
			ring_sqe(&unread, IORING_OP_NOP, -1, 400 + i + k);
		ring_submit(&unread, 0);
	}
	for (int i = 0; i < 60; i++)
		CHECK(ring_take(&unread, 400 + i) == 0);
	ring_nops(&turned, 10, 5000);
	CHECK(*ring_word(&turned, turned.p.sq_off.head) == 1011);
	read_fixed(&fixed, 0, buf[1], 5, 3, 301);
	CHECK(!memcmp(buf[1], "34567", 5));
	CHECK(read(efd, &n, 8) == 8 && n == 1);
	CHECK(reg(&fixed, IORING_UNREGISTER_EVENTFD, NULL, 0) == 0 && reg(&fixed, IORING_UNREGISTER_BUFFERS, NULL, 0) == 0);
	CHECK(reg(&fixed, IORING_UNREGISTER_FILES, NULL, 0) == 0);
	CHECK(syscall(SYS_io_uring_enter, off.fd, 0, 0, 0, NULL, 0) < 0 && errno == EBADFD);
	CHECK(reg(&off, IORING_REGISTER_ENABLE_RINGS, NULL, 0) == 0);
	ring_nops(&off, 5, 600);
	if (has_single)
		ring_nops(&single, 30, 700);
	if (has_defer)
		ring_nops(&defer, 30, 800);
	if (has_bare)
		ring_nops(&bare, 30, 900);
	CHECK(epoll_wait(ep, &got, 1, 0) == 0);
	ring_sqe(&watched, IORING_OP_NOP, -1, 1);
	ring_submit(&watched, 0);
	CHECK(epoll_wait(ep, &got, 1, 5000) == 1 && got.data.u32 == 5);
	CHECK(fcntl(plain.fd, F_GETFD) == FD_CLOEXEC);
	prog_ok();
}
