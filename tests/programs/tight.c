/* SPDX-License-Identifier: MIT */
/*
 * Mappings that grow together with whatever the kernel places beside them: the hole that it takes next for a small mapping
 * lies between two of the same kind.  A dump that leaves the program running maps some room in it for a moment, and copies
 * of the memory that are made meanwhile have that room as a part of the mapping.
 */
#include "prog.h"

#define PAGE 4096ul
#define MIB (1ul << 20)
#define SIZE (72 * MIB)

static char *map(char *at, size_t bytes)
{
	char *p = mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | (at ? MAP_FIXED_NOREPLACE : 0), -1, 0);

	CHECK(p != MAP_FAILED && (!at || p == at));
	return p;
}

static int count_lines(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	int c, n = 0;

	CHECK(f);
	while ((c = fgetc(f)) != EOF)
		n += c == '\n';
	fclose(f);
	return n;
}

int main(int argc, char **argv)
{
	char *mem, *hole, *below;
	int lines;

	prog_init(argc, argv);
	mem = map(NULL, SIZE);
	memset(mem, 7, SIZE);
	/* of every size that may be asked for: the next one lands where the last one was */
	for (size_t bytes = PAGE; bytes <= 16 * PAGE; bytes *= 2) {
		hole = map(NULL, bytes);
		munmap(hole, bytes);
		below = mmap(hole - PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
		if (below != MAP_FAILED)
			*below = 5;
	}
	lines = count_lines();
	prog_ready();
	CHECK(count_lines() == lines);
	for (size_t i = 0; i < SIZE; i++)
		CHECK(mem[i] == 7);
	prog_ok();
}
