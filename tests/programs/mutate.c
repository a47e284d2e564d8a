/* SPDX-License-Identifier: MIT */
/*
 * A program that changes all its memory all the time: an image must show it at one instant.
 *
 * Step n writes n into one page of every area, the next page at the next step.  So the number of the last step tells
 * what every page must hold.  Areas: private memory, with huge pages where the kernel has them, not passed on to children,
 * wiped in children, private mapping of a file; shared memory, a memfd.  The number of the step is in two areas
 * and in a register.  Meanwhile nobody else's child may show up, nor a signal come from one.
 */
#include <signal.h>
#include <stdint.h>

#include "prog.h"

#define PAGE 4096ul
#define MIB (1ul << 20)
#define AREAS 7

static struct area {
	uint8_t *p;
	size_t pages;
} area[AREAS];
static uint64_t *shared_step;
static volatile sig_atomic_t children;

static void on_child(int sig)
{
	(void)sig;
	children++;
}

static void add(int i, size_t bytes, int flags, int fd, int advice)
{
	area[i].pages = bytes / PAGE;
	area[i].p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);
	CHECK(area[i].p != MAP_FAILED);
	if (advice)
		madvise(area[i].p, bytes, advice);
}

static int file_of(size_t bytes)
{
	char path[4200];
	int fd;

	snprintf(path, sizeof(path), "%s/file", prog_dir);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	CHECK(fd >= 0 && ftruncate(fd, bytes) == 0);
	return fd;
}

static void make_areas(void)
{
	int fd = file_of(4 * MIB), memfd = memfd_create("mutate", 0);

	CHECK(memfd >= 0 && ftruncate(memfd, 2 * MIB) == 0);
	add(0, 64 * MIB, MAP_PRIVATE, -1, 0);
	add(1, 16 * MIB, MAP_PRIVATE, -1, MADV_HUGEPAGE);
	add(2, 1 * MIB, MAP_PRIVATE, -1, MADV_DONTFORK);
	add(3, 1 * MIB, MAP_PRIVATE, -1, MADV_WIPEONFORK);
	add(4, 4 * MIB, MAP_PRIVATE, fd, 0);
	add(5, 2 * MIB, MAP_SHARED, -1, 0);
	add(6, 2 * MIB, MAP_SHARED, memfd, 0);
	shared_step = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(shared_step != MAP_FAILED);
}

static uint64_t *word(const struct area *a, uint64_t page)
{
	return (uint64_t *)(a->p + page * PAGE + page % 500 * 8);
}

/* The last step up to n that wrote this page; steps count from 1. */
static uint64_t last_of(const struct area *a, uint64_t page, uint64_t n)
{
	uint64_t here = n % a->pages, ago = here >= page ? here - page : here + a->pages - page;

	return ago < n ? n - ago : 0;
}

static void verify(uint64_t n)
{
	CHECK(*shared_step == n);
	for (int i = 0; i < AREAS; i++)
		for (uint64_t page = 0; page < area[i].pages; page++) {
			uint64_t is = *word(&area[i], page), want = last_of(&area[i], page, n);

			if (is != want)
				prog_fail("area %d page %lu: %lu, not %lu, at step %lu", i, page, is, want, n);
		}
}

int main(int argc, char **argv)
{
	uint64_t n = 0;

	prog_init(argc, argv);
	signal(SIGCHLD, on_child);
	make_areas();
	while (n < 40000 || n % 4096 || !prog_has("go")) {
		n++;
		for (int i = 0; i < AREAS; i++)
			*word(&area[i], n % area[i].pages) = n;
		*shared_step = n;
		if (n == 40000)
			prog_write("ready", "1");
	}
	verify(n);
	CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
	CHECK(waitpid(-1, NULL, WNOHANG | __WALL) == -1 && errno == ECHILD);
	CHECK(!children);
	prog_ok();
}
