/* SPDX-License-Identifier: MIT */
/* The heap below the break: contents, the break itself, and it grows and shrinks as before. */
#include "prog.h"

static void fill(char *p, size_t n, int seed)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (char)(i * 31 + seed + i / 4096);
}

static int same(const char *p, size_t n, int seed)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != (char)(i * 31 + seed + i / 4096))
			return 0;
	return 1;
}

int main(int argc, char **argv)
{
	char *start, *more;
	size_t n = (3 << 20) + 123;

	prog_init(argc, argv);
	start = sbrk(n);
	CHECK(start != (void *)-1);
	fill(start, n, 5);
	prog_ready();
	CHECK(sbrk(0) == start + n);
	CHECK(same(start, n, 5));
	more = sbrk(5 << 20);
	CHECK(more == start + n);
	for (size_t i = 0; i < 5 << 20; i += 4096)
		CHECK(more[i] == 0);
	fill(more, 5 << 20, 9);
	CHECK(same(start, n, 5) && same(more, 5 << 20, 9));
	CHECK(brk(start) == 0 && sbrk(0) == start);
	CHECK(sbrk(4096) == start);
	prog_ok();
}
