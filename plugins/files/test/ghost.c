/* SPDX-License-Identifier: MIT */
/* Deleted files: several descriptions of one inode, two inodes of one name, holes, a name taken again. */
#include "prog.h"

#include <sys/stat.h>

static int make(const char *name, const char *text)
{
	int fd = open(name, O_RDWR | O_CREAT | O_EXCL, 0640);

	CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	return fd;
}

static int again(int fd, int flags)
{
	char path[64];
	int ret;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ret = open(path, flags);
	CHECK(ret >= 0);
	return ret;
}

static int has(int fd, off_t off, const char *text)
{
	char buf[64];
	ssize_t len = strlen(text);

	return pread(fd, buf, len, off) == len && !memcmp(buf, text, len);
}

int main(int argc, char **argv)
{
	struct timespec times[2] = { { 1000, 0 }, { 2000, 0 } };
	int rw, ro, app, second, taken, owner, sparse, empty, fd;
	struct stat a, b;
	char self[32], buf[4300], want[4300];

	prog_init(argc, argv);
	CHECK(chdir(prog_dir) == 0);
	rw = make("same", "first inode");
	ro = again(rw, O_RDONLY);
	app = again(rw, O_WRONLY | O_APPEND);
	CHECK(lseek(rw, 6, SEEK_SET) == 6 && fchmod(rw, 0604) == 0 && unlink("same") == 0);
	CHECK(futimens(rw, times) == 0);
	second = make("same", "second inode");
	CHECK(unlink("same") == 0);
	taken = make("taken", "deleted");
	CHECK(unlink("taken") == 0);
	owner = make("taken", "new owner");
	sparse = make("sparse", "head");
	CHECK(ftruncate(sparse, 64 << 20) == 0 && pwrite(sparse, "tail", 4, 40 << 20) == 4 && unlink("sparse") == 0);
	empty = make("empty", "");
	CHECK(unlink("empty") == 0);

	prog_ready();

	CHECK(lseek(rw, 0, SEEK_CUR) == 6 && has(rw, 0, "first inode") && has(ro, 0, "first inode"));
	CHECK(fstat(rw, &a) == 0 && fstat(ro, &b) == 0 && a.st_ino == b.st_ino && a.st_nlink == 0);
	CHECK((a.st_mode & 07777) == 0604 && a.st_uid == getuid() && a.st_mtim.tv_sec == 2000);
	CHECK(write(app, "!", 1) == 1 && has(ro, 0, "first inode!"));
	CHECK(write(rw, "INODE", 5) == 5 && has(ro, 0, "first INODE!"));
	CHECK(has(second, 0, "second inode") && fstat(second, &b) == 0 && a.st_ino != b.st_ino);
	CHECK(has(taken, 0, "deleted") && has(owner, 0, "new owner"));
	fd = open("taken", O_RDONLY);
	CHECK(has(fd, 0, "new owner") && fstat(fd, &a) == 0 && fstat(owner, &b) == 0 && a.st_ino == b.st_ino);
	CHECK(has(sparse, 0, "head") && has(sparse, 40 << 20, "tail") && fstat(sparse, &a) == 0);
	CHECK(a.st_size == 64 << 20 && a.st_blocks < 1000);
	CHECK(fstat(empty, &a) == 0 && a.st_size == 0 && write(empty, "x", 1) == 1);
	/* the name is free, and is what the kernel shows */
	CHECK(access("same", F_OK) < 0 && access("sparse", F_OK) < 0);
	snprintf(self, sizeof(self), "/proc/self/fd/%d", rw);
	snprintf(want, sizeof(want), "%s/same (deleted)", prog_dir);
	fd = readlink(self, buf, sizeof(buf) - 1);
	CHECK(fd > 0);
	buf[fd] = 0;
	if (strcmp(buf, want))
		prog_fail("the link says %s, not %s", buf, want);
	prog_ok();
}
