/* SPDX-License-Identifier: MIT */
/* Seals, with the mappings that existed before them and can exist after them. */
#include <sys/mman.h>

#include "prog.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x10
#endif

static int sealed(const char *name, int seals)
{
	int fd = memfd_create(name, MFD_ALLOW_SEALING);

	CHECK(fd >= 0 && write(fd, "sealed text", 11) == 11 && ftruncate(fd, 8192) == 0);
	CHECK(fcntl(fd, F_ADD_SEALS, seals) == 0);
	return fd;
}

int main(int argc, char **argv)
{
	int all = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
	int full, size, future, open_, never;
	char *view, *old;

	prog_init(argc, argv);
	full = sealed("full", all);
	size = sealed("size", F_SEAL_SHRINK | F_SEAL_GROW);
	open_ = sealed("open", 0);
	never = memfd_create("never", 0);
	future = memfd_create("future", MFD_ALLOW_SEALING);
	CHECK(never >= 0 && future >= 0 && ftruncate(future, 4096) == 0);
	old = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, future, 0);
	CHECK(old != MAP_FAILED && fcntl(future, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) == 0);
	memcpy(old, "older", 5);
	view = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, full, 0);
	CHECK(view != MAP_FAILED);
	prog_ready();

	CHECK(fcntl(full, F_GET_SEALS) == all && pwrite(full, "x", 1, 0) < 0 && errno == EPERM);
	CHECK(!memcmp(view, "sealed text", 11));
	CHECK(fcntl(size, F_GET_SEALS) == (F_SEAL_SHRINK | F_SEAL_GROW) && ftruncate(size, 1) < 0);
	CHECK(pwrite(size, "S", 1, 0) == 1 && fcntl(size, F_ADD_SEALS, F_SEAL_WRITE) == 0);
	CHECK(fcntl(open_, F_GET_SEALS) == 0 && fcntl(open_, F_ADD_SEALS, F_SEAL_GROW) == 0);
	CHECK(fcntl(never, F_GET_SEALS) == F_SEAL_SEAL && fcntl(never, F_ADD_SEALS, F_SEAL_GROW) < 0);
	CHECK(fcntl(future, F_GET_SEALS) == (F_SEAL_FUTURE_WRITE | F_SEAL_SEAL));
	CHECK(pwrite(future, "x", 1, 0) < 0 && !memcmp(old, "older", 5));
	old[0] = 'O';
	view = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, future, 0);
	CHECK(view != MAP_FAILED && view[0] == 'O');
	prog_ok();
}
