/* SPDX-License-Identifier: MIT */
/*
 * Requests in flight, cancelled at the dump (cancel.dump): polls, multishot accept and receive, timeouts, a blocking read in
 * a worker, and a completion that its task has yet to run for. The program finds ECANCELED, and the rings are as good as new.
 */
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "ring.h"

#define DEFER (3u << 12)

struct flight {
	struct ring r;
	int lsk, sk[2], pipe[2], efd;
	char buf[16];
	struct { int64_t sec, nsec; } timeout;
};

static void bind_any(int sk)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	CHECK(bind(sk, (void *)&a, sizeof(sa_family_t)) == 0 && listen(sk, 4) == 0);
}

static void take_off(struct flight *f, uint32_t flags)
{
	struct io_uring_sqe *e;

	ring_make(&f->r, 16, flags, 0);
	f->timeout.sec = 100000;
	f->lsk = socket(AF_UNIX, SOCK_STREAM, 0);
	f->efd = eventfd(0, 0);
	bind_any(f->lsk);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, f->sk) == 0 && pipe(f->pipe) == 0);
	ring_nops(&f->r, 3, 100);
	e = ring_sqe(&f->r, IORING_OP_ACCEPT, f->lsk, 1);
	e->ioprio = IORING_ACCEPT_MULTISHOT;
	e = ring_sqe(&f->r, IORING_OP_POLL_ADD, f->efd, 2);
	e->poll32_events = POLLIN;
	e->len = IORING_POLL_ADD_MULTI;
	e = ring_sqe(&f->r, IORING_OP_RECV, f->sk[0], 3);
	e->addr = (uintptr_t)f->buf;
	e->len = sizeof(f->buf);
	e = ring_sqe(&f->r, IORING_OP_TIMEOUT, -1, 4);
	e->addr = (uintptr_t)&f->timeout;
	e->len = 1;
	e = ring_sqe(&f->r, IORING_OP_READ, f->pipe[0], 5);
	e->addr = (uintptr_t)f->buf;
	e->len = 1;
	e->flags = IOSQE_ASYNC;
	ring_submit(&f->r, 0);
}

/* All that was in flight has ended, each with ECANCELED (a worker: or EINTR). */
static void landed(struct flight *f)
{
	uint32_t *head = ring_word(&f->r, f->r.p.cq_off.head), mask = f->r.p.cq_entries - 1;
	int seen = 0;

	syscall(SYS_io_uring_enter, f->r.fd, 0, 0, IORING_ENTER_GETEVENTS, NULL, 0);
	for (; !ring_empty(&f->r); *head += 1) {
		struct io_uring_cqe *c = (struct io_uring_cqe *)(void *)(f->r.mem + f->r.p.cq_off.cqes) + (*head & mask);

		CHECK(c->user_data >= 1 && c->user_data <= 5);
		if (c->res != -ECANCELED && c->res != -EINTR)
			prog_fail("request %d ended with %d", (int)c->user_data, c->res);
		seen |= 1 << c->user_data;
	}
	if (seen != 0x3e)
		prog_fail("only these have ended: %#x", seen);
	ring_nops(&f->r, 40, 1000);
}

int main(int argc, char **argv)
{
	struct flight f[2];
	uint64_t one = 1;

	prog_init(argc, argv);
	take_off(&f[0], 0);
	take_off(&f[1], DEFER);
	prog_ready();

	for (int i = 0; i < 2; i++) {
		landed(&f[i]);
		ring_sqe(&f[i].r, IORING_OP_POLL_ADD, f[i].efd, 7)->poll32_events = POLLIN;
		ring_submit(&f[i].r, 0);
		CHECK(write(f[i].efd, &one, 8) == 8);
		CHECK(syscall(SYS_io_uring_enter, f[i].r.fd, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0) == 0);
		CHECK(ring_take(&f[i].r, 7) == POLLIN);
		CHECK(read(f[i].efd, &one, 8) == 8 && send(f[i].sk[1], "x", 1, 0) == 1);
		CHECK(recv(f[i].sk[0], f[i].buf, 1, MSG_DONTWAIT) == 1 && *f[i].buf == 'x');
	}
	prog_ok();
}
