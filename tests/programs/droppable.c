/* SPDX-License-Identifier: MIT */
/*
 * Memory that the kernel may drop instead of swapping it out (MAP_DROPPABLE, Linux 6.11): it stays
 * such memory, so its pages are as they were or empty, each as a whole; a child has it empty, and
 * both get it empty at the next fork.
 */
#include "prog.h"

#define PAGE 4096ul
#define PAGES 32
#define DROPPABLE 8

static int *up;
static char *mem;

static void is_droppable(void)
{
	char is[512];

	prog_vm_flags(mem, is, sizeof(is));
	/* such memory is wiped on fork and left out of core dumps by itself */
	if (!strstr(is, " dp") || !strstr(is, " wf") || !strstr(is, " dd"))
		prog_fail("its flags are%s", is);
}

/* Pages with their number, or none. */
static int verify(char salt)
{
	int there = 0;

	for (int i = 0; i < PAGES; i++) {
		const char *p = mem + i * PAGE;

		if (p[0] == 0)
			CHECK(p[1] == 0 && p[PAGE - 1] == 0);
		else
			CHECK(p[0] == salt + i && p[1] == salt + i && p[PAGE - 1] == salt + i);
		there += p[0] != 0;
	}
	return there;
}

static void fill(char salt)
{
	for (int i = 0; i < PAGES; i++)
		memset(mem + i * PAGE, salt + i, PAGE);
}

static void child(void *arg)
{
	CHECK(verify(1) == 0); /* wiped */
	fill(60);
	prog_count(up);
	prog_wait_go();
	is_droppable();
	verify(60);
	fill(3);
	verify(3);
}

static void late_child(void *arg)
{
	CHECK(verify(1) == 0);
}

int main(int argc, char **argv)
{
	pid_t pid;

	prog_init(argc, argv);
	up = prog_shared(PAGE);
	mem = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, DROPPABLE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED)
		prog_skip("this kernel has no MAP_DROPPABLE (Linux 6.11): %s", strerror(errno));
	fill(1);
	is_droppable();
	pid = prog_child(child, NULL);
	prog_wait_count(up, 1);
	prog_ready();
	is_droppable();
	/* nothing presses for memory here: what the images have must have come back */
	if (verify(1) == 0)
		prog_fail("all its pages are gone");
	prog_reap(prog_child(late_child, NULL));
	prog_reap(pid);
	prog_ok();
}
