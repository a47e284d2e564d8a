/* SPDX-License-Identifier: MIT */
/*
 * Names of memory (PR_SET_VMA_ANON_NAME): private and shared, of parts of a mapping; a child that has taken one away and given
 * another.  Compared with /proc/self/maps.
 */
#include "prog.h"

#include <sys/prctl.h>

#define PAGE 4096ul
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

static int *up;
static char *mem, *shm;

static int name(void *p, size_t pages, const char *text)
{
	return prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, p, pages * PAGE, text);
}

/* The name of the mapping that begins at p. */
static void expect(void *p, const char *want)
{
	char line[512], start[32], got[256];
	FILE *f = fopen("/proc/self/maps", "r");

	CHECK(f);
	snprintf(start, sizeof(start), "%lx-", (unsigned long)p);
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, start, strlen(start)))
			continue;
		fclose(f);
		got[0] = 0;
		sscanf(line, "%*s %*s %*s %*s %*s %255[^\n]", got);
		if (strcmp(got, want))
			prog_fail("the memory at %p is called '%s', it was '%s'", p, got, want);
		return;
	}
	prog_fail("no mapping begins at %p", p);
}

static void look(void)
{
	expect(mem, "");
	expect(mem + PAGE, "[anon:one]");
	expect(mem + 2 * PAGE, "[anon:two and a long name with blanks, 0123456789 and: !#%&()*+,-./;<=>?@^_{|}~]");
	expect(mem + 4 * PAGE, "");
	expect(shm + PAGE, "[anon_shmem:together]");
	CHECK(mem[PAGE] == 'm' && shm[PAGE] == 's');
}

static void child(void *arg)
{
	CHECK(name(mem + PAGE, 1, NULL) == 0 && name(mem + 5 * PAGE, 1, "child's") == 0);
	prog_count(up);
	prog_wait_go();
	expect(mem, "");
	expect(mem + 2 * PAGE, "[anon:two and a long name with blanks, 0123456789 and: !#%&()*+,-./;<=>?@^_{|}~]");
	expect(mem + 5 * PAGE, "[anon:child's]");
}

int main(int argc, char **argv)
{
	pid_t pid;

	prog_init(argc, argv);
	if (prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, 0, 0, NULL) < 0)
		prog_skip("this kernel knows no names of memory (CONFIG_ANON_VMA_NAME)");
	up = prog_shared(PAGE);
	mem = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	shm = prog_shared(3 * PAGE);
	CHECK(mem != MAP_FAILED);
	CHECK(mprotect(mem + 7 * PAGE, PAGE, PROT_NONE) == 0);
	memset(mem, 'm', 7 * PAGE);
	memset(shm, 's', 3 * PAGE);
	CHECK(name(mem + PAGE, 1, "one") == 0);
	CHECK(name(mem + 2 * PAGE, 2, "two and a long name with blanks, 0123456789 and: !#%&()*+,-./;<=>?@^_{|}~") == 0);
	CHECK(name(shm + PAGE, 1, "together") == 0);
	expect(mem + PAGE, "[anon:one]");
	pid = prog_child(child, NULL);
	prog_wait_count(up, 1);
	prog_ready();
	look();
	prog_reap(pid);
	prog_ok();
}
