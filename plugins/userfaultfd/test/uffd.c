/* SPDX-License-Identifier: MIT */
/* A userfaultfd at rest: pages that are missing stay so, pages of zeros that are there too, write protection, features. */
#include <stdint.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "prog.h"

#define PAGE 4096ul
#define PAGES 16

static int uffd;
static volatile char *mem;
static int served, protected;

static int count(const int *n)
{
	return __atomic_load_n(n, __ATOMIC_SEQ_CST);
}

/* Brings missing pages with contents, takes write protection away. */
static void *server(void *arg)
{
	static char page[PAGE] __attribute__((aligned(4096)));

	for (;;) {
		struct uffd_msg m;
		struct pollfd p = { .fd = uffd, .events = POLLIN };
		uint64_t at;

		if (poll(&p, 1, -1) != 1)
			return NULL;
		if (read(uffd, &m, sizeof(m)) != sizeof(m) || m.event != UFFD_EVENT_PAGEFAULT)
			continue;
		at = m.arg.pagefault.address & ~(PAGE - 1);
		if (m.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP) {
			struct uffdio_writeprotect wp = { .range = { at, PAGE } };

			prog_count(&protected);
			ioctl(uffd, UFFDIO_WRITEPROTECT, &wp);
		} else {
			struct uffdio_copy c = { .dst = at, .src = (uintptr_t)page, .len = PAGE };

			page[0] = (char)(100 + (at - (uintptr_t)mem) / PAGE);
			prog_count(&served);
			ioctl(uffd, UFFDIO_COPY, &c);
		}
	}
}

int main(int argc, char **argv)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP };
	struct uffdio_writeprotect wp = { .mode = UFFDIO_WRITEPROTECT_MODE_WP };
	struct epoll_event ev = { .events = EPOLLIN }, got;
	pthread_t th;
	int ep;

	prog_init(argc, argv);
	ep = epoll_create1(0);
	uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | 1 /* UFFD_USER_MODE_ONLY */);
	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api) < 0)
		prog_skip("no userfaultfd with write protection: %s", strerror(errno));
	mem = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(mem != MAP_FAILED);
	mem[0] = 1;
	mem[3 * PAGE] = 0; /* there, all zeros */
	CHECK(mem[4 * PAGE] == 0); /* the zero page */
	mem[5 * PAGE] = 5;
	reg.range.start = (uintptr_t)mem;
	reg.range.len = PAGES * PAGE;
	CHECK(ioctl(uffd, UFFDIO_REGISTER, &reg) == 0);
	wp.range.start = (uintptr_t)mem + 5 * PAGE;
	wp.range.len = PAGE;
	CHECK(ioctl(uffd, UFFDIO_WRITEPROTECT, &wp) == 0);
	CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, uffd, &ev) == 0);
	prog_ready();

	CHECK(epoll_wait(ep, &got, 1, 0) == 0);
	CHECK(pthread_create(&th, NULL, server, NULL) == 0);
	CHECK(mem[0] == 1 && mem[3 * PAGE] == 0 && mem[4 * PAGE] == 0 && mem[5 * PAGE] == 5);
	CHECK(count(&served) == 0);
	for (int i = 1; i < PAGES; i++)
		if (i != 3 && i != 4 && i != 5)
			CHECK(mem[i * PAGE] == 100 + i);
	CHECK(count(&served) == PAGES - 4);
	mem[5 * PAGE] = 6;
	CHECK(count(&protected) == 1);
	mem[0] = 2;
	CHECK(count(&protected) == 1 && fcntl(uffd, F_GETFD) == FD_CLOEXEC);
	prog_ok();
}
