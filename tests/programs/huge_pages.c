/* SPDX-License-Identifier: MIT */
/*
 * Transparent huge pages: contents of memory that has them, of a part of one that was given back,
 * protected or changed by a child; and memory for which they are wanted gets them again, unless
 * they are switched off for the process.
 */
#include "prog.h"

#include <sys/prctl.h>

#define HUGE (2ul << 20)
#define PAGE 4096ul
#define N 3

static int *up;
static unsigned char *mem;

/* kB of huge pages in the mapping at addr and in what follows on it up to end. */
static long huge_kb(const void *addr)
{
	unsigned long start, end;
	char line[512];
	long kb, all = 0;
	int in = 0;
	FILE *f = fopen("/proc/self/smaps", "r");

	CHECK(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			in = start < (unsigned long)addr + N * HUGE && (unsigned long)addr < end;
		else if (in && sscanf(line, "AnonHugePages: %ld", &kb) == 1)
			all += kb;
	}
	fclose(f);
	return all;
}

static unsigned char *huge(size_t n)
{
	unsigned char *p = mmap(NULL, (n + 1) * HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	p += -(unsigned long)p % HUGE;
	if (madvise(p, n * HUGE, MADV_HUGEPAGE) < 0)
		prog_skip("this kernel has no transparent huge pages: %s", strerror(errno));
	return p;
}

static unsigned char value(unsigned long page)
{
	return 1 + page % 251;
}

static void verify(const char *who, unsigned long changed, unsigned char v)
{
	for (unsigned long i = 0; i < N * HUGE / PAGE; i++) {
		unsigned char want = i == changed ? v : i == 700 ? 0 : value(i);

		if (mem[i * PAGE] != want || mem[i * PAGE + PAGE - 1] != want)
			prog_fail("%s: page %lu has %d, not %d", who, i, mem[i * PAGE], want);
	}
}

static void child(void *arg)
{
	memset(mem + 3 * PAGE, 255, PAGE);
	prog_count(up);
	prog_wait_go();
	verify("child", 3, 255);
}

static void switched_off(void *arg)
{
	unsigned char *p;

	CHECK(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0);
	prog_count(up);
	prog_wait_go();
	CHECK(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) == 1);
	p = huge(N);
	memset(p, 1, N * HUGE);
	CHECK(huge_kb(p) == 0);
	verify("switched off", -1ul, 0);
}

int main(int argc, char **argv)
{
	unsigned char *fresh;
	pid_t pid[2];
	long was;

	prog_init(argc, argv);
	up = prog_shared(PAGE);
	mem = huge(N);
	for (unsigned long i = 0; i < N * HUGE / PAGE; i++)
		memset(mem + i * PAGE, value(i), PAGE);
	was = huge_kb(mem);
	if (!was)
		prog_skip("the kernel gives no transparent huge pages here");
	CHECK(madvise(mem + 700 * PAGE, PAGE, MADV_DONTNEED) == 0);
	CHECK(mprotect(mem + 2 * HUGE + 5 * PAGE, PAGE, PROT_READ) == 0);
	pid[0] = prog_child(child, NULL);
	pid[1] = prog_child(switched_off, NULL);
	prog_wait_count(up, 2);
	prog_ready();
	verify("parent", -1ul, 0);
	fresh = huge(1);
	memset(fresh, 1, HUGE);
	/*
	 * how many the kernel has to give is its business: none at all would be a switch that is
	 * lost
	 */
	if (!huge_kb(mem) && !huge_kb(fresh))
		prog_fail("there were %ld kB of huge pages, and now there are none, not even in new memory", was);
	memset(mem + 2 * HUGE + 6 * PAGE, value(2 * HUGE / PAGE + 6), PAGE);
	prog_reap(pid[0]);
	prog_reap(pid[1]);
	verify("parent", -1ul, 0);
	prog_ok();
}
