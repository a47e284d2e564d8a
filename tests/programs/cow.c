/* SPDX-License-Identifier: MIT */
/*
 * Copy on write after fork: a parent has 64 MiB, its children have changed a small part.  The contents are right
 * for each, changes stay one's own, and the memory is not there three times (PSS in smaps).
 */
#include "prog.h"

#define MIB (1 << 20)
#define SIZE (64 * MIB)
#define PAGE 4096

static char *mem;
static int *up;

static void fill(void)
{
	for (int i = 0; i < SIZE; i += PAGE)
		memset(mem + i, 1 + i / PAGE % 100, PAGE);
}

/* own: pages from..to have the value v */
static void verify(int from, int to, int v)
{
	for (int i = 0; i < SIZE; i += PAGE)
		for (int j = 0; j < PAGE; j += 511) {
			int want = i >= from && i < to ? v : 1 + i / PAGE % 100;

			if (mem[i + j] != want)
				prog_fail("page %d has %d, not %d", i / PAGE, mem[i + j], want);
		}
}

/* KiB */
static long pss(void)
{
	unsigned long start, end;
	char line[512];
	int in = 0;
	long kib = -1;
	FILE *f = fopen("/proc/self/smaps", "r");

	CHECK(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			in = start <= (unsigned long)mem && (unsigned long)mem < end;
		else if (in)
			sscanf(line, "Pss: %ld", &kib);
	}
	fclose(f);
	CHECK(kib >= 0);
	return kib;
}

static void child(void *arg)
{
	int n = (int)(long)arg, from = n * 4 * MIB, to = from + MIB;
	long kib;

	memset(mem + from, 120 + n, MIB);
	prog_count(up);
	prog_wait_go();
	verify(from, to, 120 + n);
	kib = pss();
	/* its own MiB and a third of what all have */
	if (kib > 1024 + SIZE / 1024 / 3 + 3072)
		prog_fail("the child's share is %ld KiB", kib);
	prog_count(&up[1]);
	prog_wait_count(&up[1], 3);
	memset(mem + 32 * MIB, 99 + n, PAGE);
	prog_count(&up[2]);
}

int main(int argc, char **argv)
{
	pid_t pid[2];
	long kib;

	prog_init(argc, argv);
	up = prog_shared(PAGE);
	mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(mem != MAP_FAILED);
	CHECK(madvise(mem, SIZE, MADV_NOHUGEPAGE) == 0 || errno == EINVAL);
	fill();
	for (long i = 0; i < 2; i++)
		pid[i] = prog_child(child, (void *)(i + 1));
	prog_wait_count(up, 2);
	prog_ready();
	verify(0, 0, 0);
	kib = pss();
	if (kib > SIZE / 1024 / 3 + 3072)
		prog_fail("the parent's share is %ld KiB", kib);
	prog_wait_count(&up[1], 2);
	mem[33 * MIB] = 7;
	prog_count(&up[1]);
	prog_reap(pid[0]);
	prog_reap(pid[1]);
	CHECK(mem[32 * MIB] == 1 + 32 * MIB / PAGE % 100 && mem[33 * MIB] == 7);
	prog_ok();
}
