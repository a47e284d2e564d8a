/* SPDX-License-Identifier: MIT */
/*
 * Shared anonymous memory of parent, child and grandchild: one copy afterwards too, also where one of them has only
 * a part of it, at another address, or with another protection; untouched pages take no memory; two areas stay two.
 */
#include "prog.h"

#include <sys/stat.h>

#define PAGE 4096
#define PAGES 512

static char *area, *second, *private;
static int *step;

static void grandchild(void *arg)
{
	CHECK(munmap(area, 3 * PAGE) == 0);
	prog_count(step);
	prog_wait_go();
	prog_wait_count(&step[1], 2);
	CHECK(area[10 * PAGE] == 'c' && second[10 * PAGE] == 'S');
	area[11 * PAGE] = 'g';
	second[3] = 'g';
	prog_count(&step[1]);
}

static void child(void *arg)
{
	char *old = area;
	pid_t pid;

	area = mremap(area, PAGES * PAGE, PAGES * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, (char *)0x300000000000);
	CHECK(area == (char *)0x300000000000 && area != old);
	private[0] = 'c';
	pid = prog_child(grandchild, NULL);
	prog_count(step);
	prog_wait_go();
	prog_wait_count(&step[1], 1);
	CHECK(area[10 * PAGE] == 'p' && private[0] == 'c');
	area[10 * PAGE] = 'c';
	prog_count(&step[1]);
	prog_wait_count(&step[1], 3);
	CHECK(area[11 * PAGE] == 'g');
	prog_reap(pid);
}

static unsigned long inode(const void *addr)
{
	unsigned long start, end, ino;
	char line[512];
	FILE *f = fopen("/proc/self/maps", "r");

	CHECK(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "%lx-%lx %*s %*s %*s %lu", &start, &end, &ino) == 3 && start <= (unsigned long)addr &&
		    (unsigned long)addr < end) {
			fclose(f);
			return ino;
		}
	prog_fail("no mapping at %p", addr);
}

int main(int argc, char **argv)
{
	pid_t pid;

	prog_init(argc, argv);
	step = prog_shared(PAGE);
	area = prog_shared(PAGES * PAGE);
	second = prog_shared(PAGES * PAGE);
	private = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(private != MAP_FAILED);
	private[0] = 'p';
	for (int i = 0; i < 100; i += 3)
		area[i * PAGE] = 'a' + i % 26;
	memset(second + 10 * PAGE, 'S', PAGE);
	pid = prog_child(child, NULL);
	prog_wait_count(step, 2);
	CHECK(mprotect(area + 20 * PAGE, PAGE, PROT_READ) == 0);
	prog_ready();
	CHECK(inode(area) != inode(second) && inode(area) != 0 && inode(area + 21 * PAGE) == inode(area));
	for (int i = 0; i < PAGES; i++)
		CHECK(area[i * PAGE] == (i < 100 && i % 3 == 0 ? 'a' + i % 26 : 0));
	area[10 * PAGE] = 'p';
	prog_count(&step[1]);
	prog_wait_count(&step[1], 3);
	CHECK(area[10 * PAGE] == 'c' && area[11 * PAGE] == 'g' && second[3] == 'g' && private[0] == 'p');
	prog_reap(pid);
	prog_ok();
}
