/* SPDX-License-Identifier: MIT */
/* instance.c: terminals of two instances of devpts, with the same number, each restored in its own. */
#include "pty.h"

#include <sys/mount.h>

static int number(int master)
{
	int n = -1;

	CHECK(ioctl(master, TIOCGPTN, &n) == 0);
	return n;
}

int main(int argc, char **argv)
{
	char dir[4200], ptmx[4300], node[4300];
	int mine, slave, other, off = 0;
	struct stat a, b;

	prog_init(argc, argv);
	snprintf(dir, sizeof(dir), "%s/pts", prog_dir);
	snprintf(ptmx, sizeof(ptmx), "%s/ptmx", dir);
	CHECK(mkdir(dir, 0755) == 0);
	if (mount("devpts", dir, "devpts", 0, "newinstance,ptmxmode=0666") < 0)
		prog_skip("no second devpts can be mounted: %s", strerror(errno));
	other = pty_new(NULL);
	mine = open(ptmx, O_RDWR | O_NOCTTY);
	CHECK(mine >= 0 && ioctl(mine, TIOCSPTLCK, &off) == 0);
	snprintf(node, sizeof(node), "%s/%d", dir, number(mine));
	slave = open(node, O_RDWR | O_NOCTTY);
	CHECK(slave >= 0);
	PTY_WRITE(slave, "unread");
	prog_ready();
	CHECK(stat(node, &a) == 0 && fstat(slave, &b) == 0 && a.st_ino == b.st_ino && a.st_dev == b.st_dev);
	CHECK(PTY_GIVES(mine, "unread") && number(other) >= 0);
	PTY_WRITE(mine, "x\n");
	CHECK(PTY_GIVES(slave, "x\n"));
	close(mine), close(slave);
	umount2(dir, MNT_DETACH);
	prog_ok();
}
