/* SPDX-License-Identifier: MIT */
/*
 * Huge pages of hugetlbfs: private ones, with a child that has other contents; shared anonymous ones; a memfd of them, mapped
 * shared and private.
 */
#include "prog.h"

#define HUGE (2ul << 20)

static int *up;
static char *own, *shared, *file, *copy;

static char *map(size_t pages, int flags, int fd)
{
	return mmap(NULL, pages * HUGE, PROT_READ | PROT_WRITE, flags | (fd < 0 ? MAP_ANONYMOUS | MAP_HUGETLB : 0), fd, 0);
}

/* Size of the pages behind addr, kB. */
static long page_kb(const void *addr)
{
	unsigned long start, end;
	char line[512];
	long kb = 0;
	int in = 0;
	FILE *f = fopen("/proc/self/smaps", "r");

	CHECK(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			in = start <= (unsigned long)addr && (unsigned long)addr < end;
		else if (in && sscanf(line, "KernelPageSize: %ld", &kb) == 1)
			break;
	}
	fclose(f);
	return kb;
}

static void child(void *arg)
{
	own[5] = 'c';
	prog_count(up);
	prog_wait_go();
	CHECK(own[5] == 'c' && own[4096] == 'o' && page_kb(own) == 2048);
	shared[1] = 'c';
	file[1] = 'c';
	prog_count(up);
}

int main(int argc, char **argv)
{
	pid_t pid;
	int fd;

	prog_init(argc, argv);
	up = prog_shared(4096);
	own = map(2, MAP_PRIVATE, -1);
	shared = own == MAP_FAILED ? own : map(1, MAP_SHARED, -1);
	fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);
	if (shared == MAP_FAILED || fd < 0 || ftruncate(fd, 2 * HUGE) < 0)
		prog_skip("no huge pages here (vm.nr_hugepages): %s", strerror(errno));
	file = map(2, MAP_SHARED, fd);
	copy = file == MAP_FAILED ? file : map(2, MAP_PRIVATE, fd);
	if (copy == MAP_FAILED)
		prog_skip("too few huge pages here (vm.nr_hugepages): %s", strerror(errno));
	memset(own, 'o', HUGE);
	shared[HUGE - 1] = 's';
	file[HUGE + 7] = 'f';
	copy[3] = 'p';
	pid = prog_child(child, NULL);
	prog_wait_count(up, 1);
	prog_ready();
	CHECK(own[5] == 'o' && own[HUGE - 1] == 'o' && own[HUGE] == 0 && page_kb(own) == 2048);
	CHECK(shared[HUGE - 1] == 's' && shared[0] == 0 && page_kb(shared) == 2048);
	CHECK(file[HUGE + 7] == 'f' && file[3] == 0 && page_kb(file) == 2048);
	CHECK(copy[3] == 'p' && copy[HUGE + 7] == 'f');
	prog_wait_count(up, 2);
	CHECK(shared[1] == 'c' && file[1] == 'c');
	prog_reap(pid);
	prog_ok();
}
