/* SPDX-License-Identifier: MIT */
/* ghostmore.c: extended attributes, an access control list, and nanoseconds of times of deleted files. */
#include "prog.h"

#include <sys/stat.h>
#include <sys/xattr.h>

/* user::rw- user:7:r-- group::r-- mask::r-- other::--- in the kernel's format */
static const unsigned char acl[] = {
	2, 0, 0, 0, 1, 0, 6, 0, 0xff, 0xff, 0xff, 0xff, 2, 0, 4, 0, 0, 0, 0, 0, 4, 0, 4, 0, 0xff, 0xff, 0xff, 0xff,
	16, 0, 4, 0, 0xff, 0xff, 0xff, 0xff, 32, 0, 0, 0, 0xff, 0xff, 0xff, 0xff,
};

static int has(int fd, const char *name, const void *value, ssize_t len)
{
	char got[1000];

	return fgetxattr(fd, name, got, sizeof(got)) == len && !memcmp(got, value, len);
}

int main(int argc, char **argv)
{
	struct timespec times[2] = { { 1000, 123456789 }, { 2000, 7 } };
	char big[600];
	int file, dir, has_acl, has_trusted;
	struct stat st;

	prog_init(argc, argv);
	CHECK(chdir(prog_dir) == 0);
	memset(big, 'b', sizeof(big));
	file = open("file", O_RDWR | O_CREAT | O_EXCL, 0640);
	CHECK(file >= 0 && mkdir("dir", 0750) == 0);
	dir = open("dir", O_RDONLY | O_DIRECTORY);
	if (fsetxattr(file, "user.empty", "", 0, 0) < 0)
		prog_skip("this file system has no extended attributes: %s", strerror(errno));
	CHECK(fsetxattr(file, "user.big", big, sizeof(big), 0) == 0 && fsetxattr(dir, "user.dir", "d", 1, 0) == 0);
	has_acl = fsetxattr(file, "system.posix_acl_access", acl, sizeof(acl), 0) == 0;
	has_trusted = fsetxattr(file, "trusted.t", "t", 1, 0) == 0;
	CHECK(futimens(file, times) == 0 && unlink("file") == 0 && rmdir("dir") == 0);
	CHECK(futimens(dir, times) == 0);
	prog_ready();
	CHECK(has(file, "user.empty", "", 0) && has(file, "user.big", big, sizeof(big)) && has(dir, "user.dir", "d", 1));
	CHECK(!has_acl || has(file, "system.posix_acl_access", acl, sizeof(acl)));
	CHECK(!has_trusted || has(file, "trusted.t", "t", 1));
	CHECK(fstat(file, &st) == 0 && st.st_mtim.tv_sec == 2000 && st.st_mtim.tv_nsec == 7);
	CHECK(st.st_atim.tv_sec == 1000 && st.st_atim.tv_nsec == 123456789 && (st.st_mode & 0777) == 0640);
	CHECK(fstat(dir, &st) == 0 && st.st_mtim.tv_sec == 2000 && st.st_mtim.tv_nsec == 7);
	prog_ok();
}
