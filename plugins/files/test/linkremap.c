/* SPDX-License-Identifier: MIT */
/* A file whose open name is gone while another one is left: it must stay the same inode. */
#include "prog.h"

#include <dirent.h>
#include <sys/stat.h>

static int leftovers(void)
{
	DIR *d = opendir(".");
	struct dirent *e;
	int n = 0;

	while ((e = readdir(d)))
		n += !strncmp(e->d_name, "link_remap", 10);
	closedir(d);
	return n;
}

int main(int argc, char **argv)
{
	struct stat a, b;
	char path[64], buf[8];
	int fd, fd2;

	prog_init(argc, argv);
	CHECK(chdir(prog_dir) == 0);
	fd = open("first", O_RDWR | O_CREAT, 0600);
	CHECK(write(fd, "linked", 6) == 6 && link("first", "second") == 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	fd2 = open(path, O_RDONLY);
	CHECK(unlink("first") == 0 && lseek(fd, 2, SEEK_SET) == 2);

	prog_ready();

	CHECK(fstat(fd, &a) == 0 && stat("second", &b) == 0 && a.st_ino == b.st_ino);
	CHECK(fstat(fd2, &b) == 0 && a.st_ino == b.st_ino && lseek(fd, 0, SEEK_CUR) == 2);
	CHECK(write(fd, "NK", 2) == 2 && pread(fd2, buf, 6, 0) == 6 && !memcmp(buf, "liNKed", 6));
	CHECK(access("first", F_OK) < 0);
	/* a tree that only ran on leaves one link, to the images */
	CHECK(leftovers() == (int)a.st_nlink - 1);
	prog_ok();
}
