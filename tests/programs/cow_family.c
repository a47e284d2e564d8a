/* SPDX-License-Identifier: MIT */
/*
 * A family that shares pages since its forks, in all ways: a parent that has unmapped and rewritten a part,
 * children, a grandchild, one that has changed pages, one that has moved them, one that executes another program. The
 * contents are right for each afterwards, and a change stays one's own.
 */
#include <signal.h>

#include "prog.h"

#define PAGE 4096
#define PAGES 4096 /* 16 MiB */
#define GONE_FROM 1000 /* unmapped in the parent after the forks */
#define GONE_TO 2000
#define NEW_FROM 2000 /* written anew there */
#define NEW_TO 2500

static unsigned char *mem, *moved;
static int *up;

/* Every eighth page is there, and zero. */
static unsigned char value(int page, int salt)
{
	return page % 8 ? 1 + (page * 7 + salt) % 250 : 0;
}

static void fill(int from, int to, int salt)
{
	for (int i = from; i < to; i++)
		memset(mem + i * PAGE, value(i, salt), PAGE);
}

static void verify(const unsigned char *base, int from, int to, int salt)
{
	for (int i = from; i < to; i++)
		for (int k = 0; k < PAGE; k += 1365)
			if (base[(long)i * PAGE + k] != value(i, salt))
				prog_fail("pid %d: page %d has %d, not %d", (int)getpid(), i, base[(long)i * PAGE + k],
					  value(i, salt));
}

static void stay(void)
{
	prog_count(up);
	prog_wait_go();
}

/* Has all of it, as it was at the fork; own changes only. */
static void plain_child(void *arg)
{
	stay();
	verify(mem, 0, PAGES, 0);
	fill(0, 100, 5);
	verify(mem, 0, 100, 5);
	verify(mem, 100, PAGES, 0);
}

static void grandchild(void *arg)
{
	fill(3000, 3100, 3);
	stay();
	verify(mem, 0, 3000, 0);
	verify(mem, 3000, 3100, 3);
	verify(mem, 3100, PAGES, 0);
}

static void parent_of_one(void *arg)
{
	pid_t pid = prog_child(grandchild, NULL);

	CHECK(munmap(mem, 500 * PAGE) == 0);
	stay();
	verify(mem, 500, PAGES, 0);
	prog_reap(pid);
}

/* The pages are at another address now, and swapped in part. */
static void mover(void *arg)
{
	moved = mremap(mem, (size_t)PAGES * PAGE, (size_t)PAGES * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, moved);
	CHECK(moved != MAP_FAILED);
	stay();
	verify(moved, 0, PAGES, 0);
}

static void executes(void *arg)
{
	execlp("sleep", "sleep", "300", (char *)NULL);
	_exit(99);
}

int main(int argc, char **argv)
{
	pid_t pid[3], other;

	prog_init(argc, argv);
	up = prog_shared(PAGE);
	mem = mmap(NULL, 2ul * PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(mem != MAP_FAILED);
	moved = mem + (size_t)PAGES * PAGE;
	fill(0, PAGES, 0);
	pid[0] = prog_child(plain_child, NULL);
	other = prog_child(executes, NULL);
	pid[1] = prog_child(parent_of_one, NULL);
	pid[2] = prog_child(mover, NULL);
	prog_wait_count(up, 4);
	CHECK(munmap(mem + GONE_FROM * PAGE, (GONE_TO - GONE_FROM) * PAGE) == 0);
	fill(NEW_FROM, NEW_TO, 9);
	prog_ready();
	verify(mem, 0, GONE_FROM, 0);
	verify(mem, NEW_FROM, NEW_TO, 9);
	verify(mem, NEW_TO, PAGES, 0);
	fill(0, 100, 6);
	for (int i = 0; i < 3; i++)
		prog_reap(pid[i]);
	verify(mem, 0, 100, 6);
	CHECK(kill(other, SIGKILL) == 0);
	CHECK(waitpid(other, NULL, 0) == other);
	prog_ok();
}
