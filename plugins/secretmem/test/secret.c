/* SPDX-License-Identifier: MIT */
/* memfd_secret(2): contents, holes, sharing with a child, a part that is mapped read-only, an object of size 0. */
#include <stdint.h>
#include <sys/syscall.h>

#include "prog.h"

#define SECRET(flags) syscall(447, (flags))

static char *map(int fd, size_t len, int prot, off_t off)
{
	char *p = mmap(NULL, len, prot, MAP_SHARED, fd, off);

	CHECK(p != MAP_FAILED);
	return p;
}

static void child(void *arg)
{
	char *p = arg;

	CHECK(!strcmp(p, "first"));
	prog_wait_go();
	for (int i = 0; i < 1000 && strcmp(p, "changed"); i++)
		prog_nap(10);
	CHECK(!strcmp(p, "changed"));
	strcpy(p + 100, "back");
}

int main(int argc, char **argv)
{
	int fd, empty;
	char *all, *part;
	pid_t pid;

	prog_init(argc, argv);
	fd = SECRET(0);
	if (fd < 0)
		prog_skip("this kernel gives no secret memory: %s", strerror(errno));
	CHECK(ftruncate(fd, 5 * 4096) == 0);
	all = map(fd, 5 * 4096, PROT_READ | PROT_WRITE, 0);
	part = map(fd, 4096, PROT_READ, 3 * 4096);
	strcpy(all, "first");
	strcpy(all + 3 * 4096 + 7, "second");
	empty = SECRET(O_CLOEXEC);
	CHECK(empty >= 0);
	pid = prog_child(child, all);
	prog_ready();

	CHECK(!strcmp(all, "first") && !strcmp(part + 7, "second"));
	for (int i = 4096; i < 3 * 4096; i++)
		CHECK(!all[i]);
	strcpy(all, "changed");
	prog_reap(pid);
	CHECK(!strcmp(all + 100, "back"));
	strcpy(all + 3 * 4096, "x");
	CHECK(!strcmp(part, "x"));
	CHECK(ftruncate(empty, 4096) == 0 && map(empty, 4096, PROT_READ, 0)[5] == 0);
	CHECK(fcntl(fd, F_GETFD) == 0 && fcntl(empty, F_GETFD) == FD_CLOEXEC);
	prog_ok();
}
