/* SPDX-License-Identifier: MIT */
/* Locks of descriptions (F_OFD_SETLK): ranges, several on one file, together with the locks of a process. */
#include "prog.h"

static int lock(int fd, int cmd, short type, off_t start, off_t len)
{
	struct flock fl = { .l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len };

	return fcntl(fd, cmd, &fl);
}

static struct flock holder(int fd, off_t start, off_t len)
{
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = start, .l_len = len };

	CHECK(fcntl(fd, F_OFD_GETLK, &fl) == 0);
	return fl;
}

static int a, b;

static void child(void *arg)
{
	prog_wait_go();
	/* inherited, so my own: it may even be changed */
	CHECK(lock(a, F_OFD_SETLK, F_UNLCK, 200, 0) == 0 && lock(a, F_OFD_SETLK, F_WRLCK, 1000, 10) == 0);
}

int main(int argc, char **argv)
{
	struct flock fl;
	pid_t pid;
	int c;

	prog_init(argc, argv);
	CHECK(chdir(prog_dir) == 0);
	a = open("file", O_RDWR | O_CREAT, 0600);
	b = open("file", O_RDWR);
	c = open("file", O_RDWR);
	CHECK(lock(a, F_OFD_SETLK, F_WRLCK, 0, 100) == 0 && lock(a, F_OFD_SETLK, F_RDLCK, 200, 0) == 0);
	CHECK(lock(b, F_OFD_SETLK, F_WRLCK, 100, 100) == 0 && lock(b, F_OFD_SETLK, F_RDLCK, 300, 5) == 0);
	CHECK(lock(c, F_SETLK, F_RDLCK, 400, 10) == 0);
	pid = prog_child(child, NULL);

	prog_ready();

	prog_reap(pid);
	fl = holder(c, 0, 150);
	CHECK(fl.l_type == F_WRLCK && fl.l_pid == -1 && fl.l_start == 0 && fl.l_len == 100);
	fl = holder(a, 0, 0);
	CHECK(fl.l_type == F_WRLCK && fl.l_pid == -1 && fl.l_start == 100 && fl.l_len == 100);
	fl = holder(a, 200, 150);
	CHECK(fl.l_type == F_RDLCK && fl.l_pid == -1 && fl.l_start == 300 && fl.l_len == 5);
	fl = holder(a, 400, 1);
	CHECK(fl.l_type == F_RDLCK && fl.l_pid == getpid() && fl.l_len == 10);
	fl = holder(b, 1000, 1);
	CHECK(fl.l_type == F_WRLCK && fl.l_pid == -1 && fl.l_len == 10);
	/* closing another descriptor of the file takes those of the process and no others */
	close(c);
	CHECK(holder(a, 400, 1).l_type == F_UNLCK && holder(a, 100, 1).l_type == F_WRLCK);
	close(b);
	CHECK(holder(a, 100, 300).l_type == F_UNLCK);
	prog_ok();
}
