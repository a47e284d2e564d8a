/* SPDX-License-Identifier: MIT */
/* Contents, holes, positions, flags, mode and name of memfds; several descriptions of one. */
#include <sys/mman.h>
#include <sys/stat.h>

#include "prog.h"

#define SIZE (3 * 1024 * 1024 + 123)

static int reopen(int fd, int flags)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, flags);
}

int main(int argc, char **argv)
{
	char got[64], path[64];
	int fd, ro, app, name, empty, twin;
	struct stat st, st2;

	prog_init(argc, argv);
	fd = memfd_create("some name", MFD_CLOEXEC);
	name = memfd_create("odd (deleted)", 0);
	empty = memfd_create("", 0);
	CHECK(fd >= 0 && name >= 0 && empty >= 0);
	CHECK(ftruncate(fd, SIZE) == 0);
	CHECK(pwrite(fd, "begin", 5, 0) == 5 && pwrite(fd, "middle", 6, 1024 * 1024 + 4090) == 6);
	CHECK(pwrite(fd, "end", 3, SIZE - 3) == 3);
	CHECK(fchmod(name, 0604) == 0 && pwrite(name, "x", 1, 0) == 1);
	ro = reopen(fd, O_RDONLY);
	app = reopen(name, O_WRONLY | O_APPEND | O_NONBLOCK);
	twin = dup(fd);
	CHECK(ro >= 0 && app >= 0 && twin >= 0);
	CHECK(lseek(fd, 77, SEEK_SET) == 77 && lseek(ro, SIZE - 3, SEEK_SET) == SIZE - 3);
	prog_ready();

	CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC && fcntl(name, F_GETFD) == 0);
	CHECK(fstat(fd, &st) == 0 && fstat(ro, &st2) == 0 && st.st_ino == st2.st_ino && st.st_size == SIZE);
	CHECK(lseek(fd, 0, SEEK_CUR) == 77 && lseek(twin, 10, SEEK_CUR) == 87 && lseek(fd, 0, SEEK_CUR) == 87);
	CHECK(read(ro, got, sizeof(got)) == 3 && !memcmp(got, "end", 3));
	CHECK(pread(ro, got, 6, 1024 * 1024 + 4090) == 6 && !memcmp(got, "middle", 6));
	CHECK(pread(ro, got, 8, 0) == 8 && !memcmp(got, "begin\0\0\0", 8));
	CHECK(write(ro, "x", 1) < 0 && errno == EBADF);
	CHECK((fcntl(app, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK)) ==
	      (O_WRONLY | O_APPEND | O_NONBLOCK));
	CHECK(write(app, "yz", 2) == 2 && pread(name, got, 9, 0) == 3 && !memcmp(got, "xyz", 3));
	CHECK(fstat(name, &st) == 0 && (st.st_mode & 07777) == 0604);
	CHECK(fstat(empty, &st) == 0 && st.st_size == 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", name);
	memset(got, 0, sizeof(got));
	CHECK(readlink(path, got, sizeof(got) - 1) > 0 && !strcmp(got, "/memfd:odd (deleted) (deleted)"));
	prog_ok();
}
