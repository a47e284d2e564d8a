/* SPDX-License-Identifier: MIT */
/* Devices without a state. */
#include "prog.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

static int is_device(int fd, unsigned int minor_nr, int flags)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, minor_nr) &&
	       (fcntl(fd, F_GETFL) & (O_ACCMODE | O_NONBLOCK)) == flags;
}

int main(int argc, char **argv)
{
	int null, zero, full, rnd, urnd;
	char buf[64] = "x";

	prog_init(argc, argv);
	null = open("/dev/null", O_WRONLY);
	zero = open("/dev/zero", O_RDONLY | O_NONBLOCK);
	full = open("/dev/full", O_RDWR);
	rnd = open("/dev/random", O_RDONLY);
	urnd = open("/dev/urandom", O_RDWR);
	CHECK(null >= 0 && zero >= 0 && full >= 0 && rnd >= 0 && urnd >= 0);
	prog_ready();
	CHECK(is_device(null, 3, O_WRONLY) && is_device(zero, 5, O_RDONLY | O_NONBLOCK));
	CHECK(is_device(full, 7, O_RDWR) && is_device(rnd, 8, O_RDONLY) && is_device(urnd, 9, O_RDWR));
	CHECK(write(null, "x", 1) == 1);
	CHECK(read(zero, buf, 1) == 1 && buf[0] == 0);
	CHECK(write(full, "x", 1) < 0 && errno == ENOSPC);
	CHECK(read(urnd, buf, sizeof(buf)) == sizeof(buf) && read(rnd, buf, 8) == 8);
	prog_ok();
}
