/* SPDX-License-Identifier: MIT */
/* O_TMPFILE: a file that never had a name can still be given one. */
#include "prog.h"

#include <sys/stat.h>

int main(int argc, char **argv)
{
	char path[64], buf[8];
	struct stat a, b;
	int fd;

	prog_init(argc, argv);
	CHECK(chdir(prog_dir) == 0);
	fd = open(".", O_TMPFILE | O_RDWR, 0600);
	if (fd < 0)
		prog_skip("no O_TMPFILE here: %s", strerror(errno));
	CHECK(write(fd, "nameless", 8) == 8);
	prog_ready();
	CHECK(pread(fd, buf, 8, 0) == 8 && !memcmp(buf, "nameless", 8) && lseek(fd, 0, SEEK_CUR) == 8);
	CHECK(fstat(fd, &a) == 0 && a.st_nlink == 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	CHECK(linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW) == 0);
	CHECK(stat("named", &b) == 0 && a.st_ino == b.st_ino);
	prog_ok();
}
