/* SPDX-License-Identifier: MIT */
/* Deleted directories: the working directory, its deleted parent, and a file that was in them. */
#include "prog.h"

#include <sys/stat.h>

int main(int argc, char **argv)
{
	int outer, inner, file;
	struct stat a, b;
	char buf[16] = "";

	prog_init(argc, argv);
	CHECK(chdir(prog_dir) == 0 && mkdir("outer", 0711) == 0 && mkdir("outer/inner", 0700) == 0);
	outer = open("outer", O_RDONLY | O_DIRECTORY);
	CHECK(chdir("outer/inner") == 0);
	inner = open(".", O_PATH | O_DIRECTORY);
	file = open("file", O_RDWR | O_CREAT, 0600);
	CHECK(write(file, "inside", 6) == 6);
	CHECK(unlink("file") == 0 && unlinkat(outer, "inner", AT_REMOVEDIR) == 0);
	CHECK(unlinkat(AT_FDCWD, "../../outer", AT_REMOVEDIR) == 0);

	prog_ready();

	CHECK(!getcwd(buf, sizeof(buf)) && errno == ENOENT);
	CHECK(fstat(inner, &a) == 0 && stat(".", &b) == 0 && a.st_ino == b.st_ino);
	CHECK(S_ISDIR(a.st_mode) && (a.st_mode & 07777) == 0700);
	CHECK(fstat(outer, &a) == 0 && (a.st_mode & 07777) == 0711);
	CHECK(stat("..", &b) == 0 && a.st_ino == b.st_ino);
	CHECK(open("new", O_CREAT | O_RDWR, 0600) < 0 && errno == ENOENT);
	CHECK(pread(file, buf, 6, 0) == 6 && !memcmp(buf, "inside", 6));
	/* nothing is left where they were */
	CHECK(chdir(prog_dir) == 0 && access("outer", F_OK) < 0);
	prog_ok();
}
