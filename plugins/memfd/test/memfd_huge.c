/* SPDX-License-Identifier: MIT */
/* A memfd of huge pages that is not mapped at the dump, with its contents. */
#include <sys/mman.h>
#include <sys/vfs.h>

#include "prog.h"

int main(int argc, char **argv)
{
	struct statfs fs;
	size_t size;
	char *p;
	int fd;

	prog_init(argc, argv);
	fd = memfd_create("huge", MFD_HUGETLB);
	if (fd < 0)
		prog_skip("the kernel makes no memfd of huge pages: %s", strerror(errno));
	CHECK(fstatfs(fd, &fs) == 0);
	size = 2 * fs.f_bsize;
	CHECK(ftruncate(fd, size) == 0);
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		prog_skip("there are no huge pages (vm.nr_hugepages)");
	memcpy(p, "first", 5);
	memcpy(p + size - 4, "last", 4);
	CHECK(munmap(p, size) == 0);
	prog_ready();

	CHECK(fstatfs(fd, &fs) == 0 && (size_t)fs.f_bsize * 2 == size);
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED);
	CHECK(!memcmp(p, "first", 5) && !memcmp(p + size - 4, "last", 4));
	prog_ok();
}
