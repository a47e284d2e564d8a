/* SPDX-License-Identifier: MIT */
/*
 * --exclude-mem: what is left out is there again, empty; what is beside it has its contents.  Addresses, names and MADV_DONTDUMP;
 * private, shared, memfd and file memory, and a child that shares its pages with its parent.
 */
#include "prog.h"

#define PAGE 4096ul
#define AT 0x300000000000ul /* in exclude_mem.dump: pages 1 and 2 of it */
#define PAGES 5

static char secret[] = "do-not-keep-this";
static char kept[] = "but-keep-this-one";
static int holes; /* whether there was a dump at all */

static char *map_at(unsigned long at, int flags, int fd)
{
	char *p = mmap((void *)at, PAGES * PAGE, PROT_READ | PROT_WRITE, flags | (at ? MAP_FIXED_NOREPLACE : 0), fd, 0);

	CHECK(p != MAP_FAILED && (!at || p == (char *)at));
	return p;
}

/* Page i has the secret where bit i of mask is set, else what is to be kept. */
static void fill(char *p, unsigned mask)
{
	for (unsigned i = 0; i < PAGES; i++)
		strcpy(p + i * PAGE + 100, mask >> i & 1 ? secret : kept);
}

static void look(const char *what, const char *p, unsigned mask)
{
	for (unsigned i = 0; i < PAGES; i++) {
		const char *want = !(mask >> i & 1) ? kept : holes ? "" : secret;

		if (strcmp(p + i * PAGE + 100, want))
			prog_fail("%s: page %u has '%.20s', not '%s'", what, i, p + i * PAGE + 100, want);
	}
}

static char *file(const char *name, int *ret_fd)
{
	char path[4200];

	snprintf(path, sizeof(path), "%s/%s", prog_dir, name);
	*ret_fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	CHECK(*ret_fd >= 0 && ftruncate(*ret_fd, PAGES * PAGE) == 0);
	return map_at(0, MAP_PRIVATE, *ret_fd);
}

static char *memfd(const char *name)
{
	int fd = memfd_create(name, MFD_CLOEXEC);

	CHECK(fd >= 0 && ftruncate(fd, PAGES * PAGE) == 0);
	return map_at(0, MAP_SHARED, fd);
}

static char *anon, *marked, *shared, *left, *stays, *mapped;

static void child(void *arg)
{
	prog_wait_go();
	holes = !prog_has("intact");
	look("the child's private memory", anon, 6);
	look("the child's marked memory", marked, 31);
	look("the child's shared memory", shared, 8);
}

int main(int argc, char **argv)
{
	pid_t pid;
	int fd;

	prog_init(argc, argv);
	anon = map_at(AT, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	fill(anon, 6);
	shared = map_at(AT + 0x100000, MAP_SHARED | MAP_ANONYMOUS, -1);
	fill(shared, 8);
	marked = map_at(0, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	fill(marked, 31);
	CHECK(madvise(marked, PAGES * PAGE, MADV_DONTDUMP) == 0);
	left = memfd("left-out");
	fill(left, 31);
	stays = memfd("stays");
	fill(stays, 0);
	mapped = file("some.cache", &fd);
	fill(mapped, 31);
	pid = prog_child(child, NULL);
	prog_ready();
	holes = !prog_has("intact");
	look("private memory", anon, 6);
	look("shared memory", shared, 8);
	look("marked memory", marked, 31);
	look("memfd left-out", left, 31);
	look("memfd stays", stays, 0);
	look("private memory of a file", mapped, 31);
	/* all of it can be used */
	fill(anon, 0);
	fill(marked, 0);
	fill(left, 0);
	holes = 1;
	look("memory that was written again", marked, 0);
	fill(anon, 6);
	prog_reap(pid);
	prog_ok();
}
