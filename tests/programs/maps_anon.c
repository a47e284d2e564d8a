/* SPDX-License-Identifier: MIT */
/*
 * Private anonymous mappings: sparse contents, every protection (data below PROT_NONE and read-only ones too),
 * neighbours that must not run together, holes that stay holes, and pages that were never touched.
 */
#include "prog.h"
#include "faults.h"

#include <signal.h>

#define PAGE 4096

static char *map(size_t bytes)
{
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	return p;
}

static int resident(char *p, size_t pages)
{
	unsigned char vec[4096];
	int n = 0;

	CHECK(pages <= sizeof(vec) && mincore(p, pages * PAGE, vec) == 0);
	for (size_t i = 0; i < pages; i++)
		n += vec[i] & 1;
	return n;
}

int main(int argc, char **argv)
{
	char *sparse, *ro, *none, *hole, *row, *untouched, *zeroed;

	prog_init(argc, argv);
	sparse = map(2048 * PAGE);
	for (int i = 0; i < 2048; i += 7)
		sparse[i * PAGE + i] = 1 + i % 100;
	ro = map(4 * PAGE);
	strcpy(ro + PAGE, "read-only");
	CHECK(mprotect(ro, 4 * PAGE, PROT_READ) == 0);
	none = map(4 * PAGE);
	strcpy(none + 2 * PAGE, "not even readable");
	CHECK(mprotect(none, 4 * PAGE, PROT_NONE) == 0);
	hole = map(5 * PAGE);
	memset(hole, 'h', 5 * PAGE);
	CHECK(munmap(hole + 2 * PAGE, PAGE) == 0);
	row = map(6 * PAGE);
	for (int i = 0; i < 6; i++)
		memset(row + i * PAGE, 'a' + i, PAGE);
	CHECK(mprotect(row + PAGE, PAGE, PROT_READ) == 0);
	CHECK(mprotect(row + 3 * PAGE, PAGE, PROT_NONE) == 0);
	CHECK(mprotect(row + 4 * PAGE, PAGE, PROT_READ | PROT_EXEC) == 0);
	untouched = map(1024 * PAGE);
	madvise(untouched, 1024 * PAGE, MADV_NOHUGEPAGE); /* a neighbour's huge page is no touch */
	zeroed = map(16 * PAGE);
	memset(zeroed, 1, 16 * PAGE);
	memset(zeroed, 0, 16 * PAGE);
	prog_ready();
	faults_caught();
	for (int i = 0; i < 2048; i++)
		for (int j = 0; j < PAGE; j++)
			CHECK(sparse[i * PAGE + j] == (i % 7 == 0 && j == i ? 1 + i % 100 : 0));
	CHECK(!strcmp(ro + PAGE, "read-only") && ro[0] == 0);
	CHECK(try_write(ro + PAGE) == SIGSEGV && try_write(ro + 3 * PAGE) == SIGSEGV);
	CHECK(try_read(none) == SIGSEGV && try_read(none + 2 * PAGE) == SIGSEGV);
	CHECK(mprotect(none, 4 * PAGE, PROT_READ | PROT_WRITE) == 0);
	CHECK(!strcmp(none + 2 * PAGE, "not even readable") && none[0] == 0 && try_write(none + 3 * PAGE) == 0);
	CHECK(try_read(hole + 2 * PAGE) == SIGSEGV);
	CHECK(hole[2 * PAGE - 1] == 'h' && hole[3 * PAGE] == 'h' && try_write(hole + 4 * PAGE) == 0);
	CHECK(try_write(row) == 0 && try_write(row + PAGE) == SIGSEGV && try_write(row + 2 * PAGE) == 0);
	CHECK(try_read(row + 3 * PAGE) == SIGSEGV && try_write(row + 4 * PAGE) == SIGSEGV && try_write(row + 5 * PAGE) == 0);
	CHECK(mprotect(row, 6 * PAGE, PROT_READ) == 0);
	for (int i = 0; i < 6 * PAGE; i++)
		CHECK(row[i] == 'a' + i / PAGE);
	CHECK(resident(untouched, 1024) == 0);
	for (int i = 0; i < 16 * PAGE; i++)
		CHECK(zeroed[i] == 0);
	prog_ok();
}
