/* SPDX-License-Identifier: MIT */
/* Directories with a reading position, working directory, O_PATH descriptors of all sorts. */
#include "prog.h"

#include <dirent.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define ENTRIES 40

static char seen[ENTRIES];

/* One small read of the directory; the number of entries, none of which came before. */
static int read_some(int fd)
{
	_Alignas(struct dirent64) char buf[512];
	long n = syscall(SYS_getdents64, fd, buf, sizeof(buf));
	int which, count = 0;

	CHECK(n >= 0);
	for (long i = 0; i < n;) {
		struct dirent64 *d = (void *)(buf + i);

		if (sscanf(d->d_name, "entry%d", &which) == 1) {
			CHECK(which >= 0 && which < ENTRIES && !seen[which]);
			seen[which] = 1;
		}
		count++;
		i += d->d_reclen;
	}
	return count;
}

int main(int argc, char **argv)
{
	int dirfd, half, path_file, path_dir, path_link, path_fifo, plain, n;
	char name[300], buf[4300];
	struct stat a, b;

	prog_init(argc, argv);
	CHECK(chdir(prog_dir) == 0 && mkdir("sub", 0750) == 0 && chdir("sub") == 0);
	for (int i = 0; i < ENTRIES; i++) {
		snprintf(name, sizeof(name), "entry%d", i);
		close(open(name, O_CREAT | O_WRONLY, 0600));
	}
	dirfd = open(".", O_RDONLY | O_DIRECTORY);
	plain = open("..", O_RDONLY);
	path_file = open("entry3", O_PATH);
	path_dir = open("..", O_PATH | O_DIRECTORY);
	CHECK(symlink("nowhere", "link") == 0 && mkfifo("fifo", 0600) == 0);
	path_link = open("link", O_PATH | O_NOFOLLOW);
	path_fifo = open("fifo", O_PATH);
	CHECK(dirfd >= 0 && plain >= 0 && path_file >= 0 && path_dir >= 0 && path_link >= 0 && path_fifo >= 0);
	half = open(".", O_RDONLY | O_DIRECTORY);
	CHECK(read_some(half) > 0);

	prog_ready();

	/* read on: what was read before must not come again, the rest must */
	while (read_some(half))
		;
	for (int i = 0; i < ENTRIES; i++)
		CHECK(seen[i]);
	CHECK(getcwd(buf, sizeof(buf)) && !strncmp(buf, prog_dir, strlen(prog_dir)) && strstr(buf, "/sub"));
	CHECK(fstat(dirfd, &a) == 0 && stat(".", &b) == 0 && a.st_ino == b.st_ino);
	CHECK(faccessat(dirfd, "entry7", F_OK, 0) == 0);
	CHECK(fstat(plain, &a) == 0 && stat("..", &b) == 0 && a.st_ino == b.st_ino);
	CHECK((fcntl(path_file, F_GETFL) & O_PATH) && read(path_file, buf, 1) < 0 && errno == EBADF);
	CHECK(fstat(path_file, &a) == 0 && stat("entry3", &b) == 0 && a.st_ino == b.st_ino);
	CHECK(faccessat(path_dir, "sub/entry1", F_OK, 0) == 0 && (fcntl(path_dir, F_GETFL) & O_PATH));
	n = readlinkat(path_link, "", buf, sizeof(buf));
	CHECK(n == 7 && !memcmp(buf, "nowhere", 7));
	CHECK(fstat(path_fifo, &a) == 0 && S_ISFIFO(a.st_mode) && (fcntl(path_fifo, F_GETFL) & O_PATH));
	prog_ok();
}
