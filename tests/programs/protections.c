/* SPDX-License-Identifier: MIT */
/*
 * Pages with contents whose protection does not let them be written, one mapping each: many of them beside what may be
 * written.  Contents and /proc/self/maps afterwards are those before.
 */
#include "prog.h"

#define PAGE 4096ul
#define PAGES 1800

static char before[1 << 18], after[1 << 18];
static char *area;

/* What /proc/self/maps says of the area. */
static void read_maps(char *out)
{
	FILE *f = fopen("/proc/self/maps", "r");
	unsigned long start, end;
	char line[512];

	CHECK(f);
	*out = 0;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "%lx-%lx", &start, &end) == 2 && start >= (unsigned long)area &&
		    end <= (unsigned long)area + PAGES * PAGE)
			out = stpcpy(out, line);
	fclose(f);
}

int main(int argc, char **argv)
{
	static const int prot[] = { PROT_READ | PROT_WRITE, PROT_READ, PROT_NONE };

	prog_init(argc, argv);
	area = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(area != MAP_FAILED);
	for (long i = 0; i < PAGES; i++) {
		for (unsigned long k = 0; k < PAGE / sizeof(long); k++)
			((long *)(area + i * PAGE))[k] = i * 7 + k + 1;
		CHECK(mprotect(area + i * PAGE, PAGE, prot[i % 3]) == 0);
	}
	read_maps(before);
	prog_ready();
	read_maps(after);
	if (strcmp(before, after))
		prog_fail("the mappings differ");
	CHECK(mprotect(area, PAGES * PAGE, PROT_READ) == 0);
	for (long i = 0; i < PAGES; i++)
		for (unsigned long k = 0; k < PAGE / sizeof(long); k++)
			if (((long *)(area + i * PAGE))[k] != (long)(i * 7 + k + 1))
				prog_fail("page %ld differs", i);
	prog_ok();
}
