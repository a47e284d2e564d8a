/* SPDX-License-Identifier: MIT */
/* Rings with a polling thread, alone and sharing one; watched by an epoll; counters, unread completions, registered files. */
#include <sys/epoll.h>

#include "ring.h"

static void settle(struct ring *r, uint32_t n)
{
	for (int i = 0; i < 2000 && *ring_word(r, r->p.cq_off.tail) != n; i++)
		prog_nap(5);
	CHECK(__atomic_load_n(ring_word(r, r->p.cq_off.tail), __ATOMIC_SEQ_CST) == n);
}

static int pollers(void)
{
	char line[64];
	int n = 0;
	FILE *p = popen("cat /proc/$PPID/task/*/comm", "r");

	while (p && fgets(line, sizeof(line), p))
		n += !strncmp(line, "iou-sqp-", 8);
	pclose(p);
	return n;
}

int main(int argc, char **argv)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u32 = 9 }, got;
	struct ring r, twin;
	int ep, err, file, has_twin, files[1];
	static char buf[16];
	struct io_uring_sqe *e;

	prog_init(argc, argv);
	ep = epoll_create1(EPOLL_CLOEXEC); /* before the ring, as event loops do */
	err = ring_try(&r, 16, IORING_SETUP_SQPOLL, 0, 10);
	if (err)
		prog_skip("no polling thread to be had: %s", strerror(err));
	has_twin = ring_attach(&twin, 8, IORING_SETUP_SQPOLL, r.fd) == 0;
	file = open("data", O_RDWR | O_CREAT | O_TRUNC, 0600);
	CHECK(file >= 0 && write(file, "0123456789", 10) == 10);
	files[0] = file;
	CHECK(syscall(SYS_io_uring_register, r.fd, IORING_REGISTER_FILES, files, 1) == 0);
	CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, r.fd, &ev) == 0);
	ring_nops(&r, 50, 0);
	if (has_twin)
		ring_nops(&twin, 11, 0);
	CHECK(epoll_wait(ep, &got, 1, 0) == 0);
	ring_sqe(&r, IORING_OP_NOP, -1, 77);
	ring_submit(&r, 0);
	settle(&r, 51);
	CHECK(pollers() == 1);
	prog_ready();

	CHECK(epoll_wait(ep, &got, 1, 0) == 1 && got.data.u32 == 9);
	CHECK(ring_take(&r, 77) == 0 && ring_empty(&r));
	CHECK(epoll_wait(ep, &got, 1, 0) == 0);
	ring_nops(&r, 40, 1000);
	if (has_twin)
		ring_nops(&twin, 11, 2000);
	CHECK(pollers() == 1);
	e = ring_sqe(&r, IORING_OP_READ, 0, 5);
	e->flags = IOSQE_FIXED_FILE;
	e->addr = (uintptr_t)buf;
	e->len = 4;
	e->off = 3;
	ring_submit(&r, 1);
	CHECK(ring_take(&r, 5) == 4 && !memcmp(buf, "3456", 4));
	CHECK(epoll_ctl(ep, EPOLL_CTL_DEL, r.fd, NULL) == 0);
	CHECK(fcntl(r.fd, F_GETFD) == FD_CLOEXEC);
	prog_ok();
}
