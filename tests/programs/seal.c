/* SPDX-License-Identifier: MIT */
/*
 * Sealed memory, mseal(2): contents, a part of a mapping, a file's; a child that inherits the seal, and one that was forked
 * before and unmaps the range.
 */
#include "prog.h"

#include <sys/syscall.h>

#define PAGE 4096
#define MSEAL 462

static int *up;
static char *area, *file;

static int is_sealed(char *p)
{
	return mprotect(p, PAGE, PROT_READ) < 0 && errno == EPERM && munmap(p, PAGE) < 0 && errno == EPERM;
}

static void early(void *arg)
{
	CHECK(munmap(area, 4 * PAGE) == 0);
	prog_count(up);
	prog_wait_go();
	CHECK(mmap(area, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == area);
	CHECK(munmap(area, PAGE) == 0);
}

static void late(void *arg)
{
	area[PAGE] = 'l';
	prog_count(up);
	prog_wait_go();
	CHECK(is_sealed(area + PAGE) && is_sealed(file) && area[PAGE] == 'l' && area[2 * PAGE + 1] == 's');
}

int main(int argc, char **argv)
{
	pid_t pid[2];
	int fd;

	prog_init(argc, argv);
	up = prog_shared(PAGE);
	area = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	fd = open("/proc/self/exe", O_RDONLY); /* its path may lead through a directory that a user cannot enter */
	CHECK(area != MAP_FAILED && fd >= 0);
	file = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
	CHECK(file != MAP_FAILED && close(fd) == 0);
	memset(area, 's', 4 * PAGE);
	pid[0] = prog_child(early, NULL);
	prog_wait_count(up, 1);
	if (syscall(MSEAL, area + PAGE, 2 * PAGE, 0) < 0 && errno == ENOSYS)
		prog_skip("the kernel has no mseal");
	CHECK(syscall(MSEAL, file, PAGE, 0) == 0);
	pid[1] = prog_child(late, NULL);
	prog_wait_count(up, 2);
	prog_ready();
	prog_reap(pid[0]);
	prog_reap(pid[1]);
	CHECK(is_sealed(area + PAGE) && is_sealed(area + 2 * PAGE) && is_sealed(file));
	CHECK(area[0] == 's' && area[PAGE] == 's' && !memcmp(file, "\177ELF", 4));
	area[PAGE] = 'n';
	CHECK(mprotect(area, PAGE, PROT_NONE) == 0 && munmap(area + 3 * PAGE, PAGE) == 0);
	prog_ok();
}
