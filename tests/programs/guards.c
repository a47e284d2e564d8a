/* SPDX-License-Identifier: MIT */
/*
 * Guard regions (MADV_GUARD_INSTALL): inside, at both ends and over the whole of private, shared
 * and file mappings, a page here and there, beside pages with contents; one that was taken away
 * again; a child that has others than its parent.  Which pages are guards says a fault, and the
 * kernel that shows them in /proc/self/pagemap.
 */
#include "prog.h"
#include "faults.h"

#include <signal.h>
#include <stdint.h>

#define PAGE 4096ul
#define PAGES 16
#define GUARD 102
#define NO_GUARD 103

static int *up;

static struct area {
	const char *name;
	char *p;
	unsigned was; /* bit n: page n is a guard */
} areas[] = {
	{ "private", NULL, 0 }, { "shared", NULL, 0 }, { "file", NULL, 0 }, { "read-only", NULL, 0 }, { "whole", NULL, 0 },
};
enum { PRIVATE, SHARED, FILE_COPY, READ_ONLY, WHOLE, N };

static unsigned guards(const struct area *a)
{
	unsigned mask = 0;

	for (int i = 0; i < PAGES; i++)
		mask |= (unsigned)!!try_read(a->p + i * PAGE) << i;
	return mask;
}

/* The kernel's own account since Linux 6.15: bit 58. -1: it gives none. */
static long shown(const struct area *a)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t w[PAGES];
	long mask = 0;

	if (fd < 0)
		return -1;
	CHECK(pread(fd, w, sizeof(w), (uintptr_t)a->p / PAGE * 8) == sizeof(w) && close(fd) == 0);
	for (int i = 0; i < PAGES; i++)
		mask |= (long)(w[i] >> 58 & 1) << i;
	return mask;
}

static void guard(const struct area *a, int from, int pages)
{
	CHECK(madvise(a->p + from * PAGE, pages * PAGE, GUARD) == 0);
}

static void look(void)
{
	for (int i = 0; i < N; i++) {
		unsigned now = guards(&areas[i]);

		if (now != areas[i].was)
			prog_fail("pid %d, %s: guards %#x, were %#x", (int)getpid(), areas[i].name, now, areas[i].was);
		if (areas[i].was && shown(&areas[i]) > 0 && shown(&areas[i]) != (long)now)
			prog_fail("%s: the kernel shows guards %#lx, not %#x", areas[i].name, shown(&areas[i]), now);
	}
}

static void contents(const struct area *a, char first, unsigned gone)
{
	for (int i = 0; i < PAGES; i++)
		if (!((a->was | gone) >> i & 1))
			CHECK(a->p[i * PAGE] == first + i && a->p[i * PAGE + PAGE - 1] == first + i);
}

static void child(void *arg)
{
	struct area *a = &areas[PRIVATE];

	CHECK(madvise(a->p, PAGES * PAGE, NO_GUARD) == 0);
	guard(a, 9, 3);
	a->was = guards(a);
	CHECK(a->was == 7u << 9);
	prog_count(up);
	prog_wait_go();
	look();
	contents(a, 'a', 0x800f); /* its parent's guards were there, which have no contents any more */
	CHECK(a->p[0] == 0 && a->p[15 * PAGE] == 0);
}

static char *file_copy(void)
{
	char path[4200], page[PAGE];
	int fd;
	char *p;

	snprintf(path, sizeof(path), "%s/file", prog_dir);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	CHECK(fd >= 0);
	for (int i = 0; i < PAGES; i++) {
		memset(page, 'A' + i, PAGE);
		CHECK(write(fd, page, PAGE) == (ssize_t)PAGE);
	}
	p = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	CHECK(p != MAP_FAILED && close(fd) == 0);
	return p;
}

static char *fill(char *p, char first)
{
	CHECK(p != MAP_FAILED);
	for (int i = 0; i < PAGES; i++)
		memset(p + i * PAGE, first + i, PAGE);
	return p;
}

static char *map(void)
{
	return mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void make(void)
{
	guard(&areas[PRIVATE], 0, 4);
	guard(&areas[PRIVATE], 15, 1);
	for (int i = 1; i < PAGES; i += 2)
		guard(&areas[SHARED], i, 1);
	guard(&areas[FILE_COPY], 5, 2);
	guard(&areas[FILE_COPY], 10, 2);
	CHECK(madvise(areas[FILE_COPY].p + 10 * PAGE, PAGE, NO_GUARD) == 0);
	guard(&areas[READ_ONLY], 3, 1);
	CHECK(mprotect(areas[READ_ONLY].p, PAGES * PAGE, PROT_READ) == 0);
	guard(&areas[WHOLE], 0, PAGES);
	for (int i = 0; i < N; i++)
		areas[i].was = guards(&areas[i]);
	CHECK(areas[PRIVATE].was == 0x800f && areas[SHARED].was == 0xaaaa && areas[FILE_COPY].was == 0x860);
	CHECK(areas[READ_ONLY].was == 8 && areas[WHOLE].was == 0xffff);
}

int main(int argc, char **argv)
{
	pid_t pid;
	char *one;

	prog_init(argc, argv);
	faults_caught();
	up = prog_shared(PAGE);
	one = map();
	if (madvise(one, PAGE, GUARD) < 0)
		prog_skip("this kernel has no guard regions (Linux 6.13): %s", strerror(errno));
	if (shown(&(struct area){ "one", one, 0 }) == 0)
		prog_skip("this kernel shows guard regions to nobody (Linux 6.15 does)");
	areas[PRIVATE].p = fill(map(), 'a');
	areas[SHARED].p = fill(prog_shared(PAGES * PAGE), 'h');
	areas[FILE_COPY].p = file_copy();
	memset(areas[FILE_COPY].p + 7 * PAGE, 'A' + 7, 10);
	areas[READ_ONLY].p = fill(map(), 'R');
	areas[WHOLE].p = fill(map(), 'W');
	make();
	pid = prog_child(child, NULL);
	prog_wait_count(up, 1);
	prog_ready();
	look();
	contents(&areas[PRIVATE], 'a', 0);
	contents(&areas[SHARED], 'h', 0);
	contents(&areas[FILE_COPY], 'A', 0);
	contents(&areas[READ_ONLY], 'R', 0);
	CHECK(try_read(one) && !try_read(one + PAGE) && one[PAGE] == 0);
	/* they go away as they do without a restore */
	CHECK(madvise(areas[WHOLE].p, 2 * PAGE, NO_GUARD) == 0 && areas[WHOLE].p[PAGE] == 0 &&
	      try_read(areas[WHOLE].p + 2 * PAGE));
	CHECK(madvise(areas[SHARED].p, PAGES * PAGE, NO_GUARD) == 0);
	areas[SHARED].was = 0;
	/* who may open map_files finds what shared memory has below guards as well */
	contents(&areas[SHARED], 'h', prog_all_ids() ? 0 : 0xaaaa);
	prog_reap(pid);
	prog_ok();
}
