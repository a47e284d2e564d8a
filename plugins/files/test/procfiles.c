/* SPDX-License-Identifier: MIT */
/* Files of /proc that belong to processes of the tree: its own, with positions, directories, memory; a child's; in an epoll. */
#include <dirent.h>
#include <sys/epoll.h>
#include <sys/stat.h>

#include "prog.h"

static int secret = 4711;

static void wait_end(void *arg)
{
	while (!prog_has("result"))
		prog_nap(20);
}

static int own(const char *name, int flags)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/%s", name);
	fd = open(path, flags);
	CHECK(fd >= 0);
	return fd;
}

int main(int argc, char **argv)
{
	struct epoll_event ev = { .events = EPOLLPRI | EPOLLERR };
	char path[64], text[4096], first[2][65] = { "", "" };
	int maps, mem, dir, mounts, child, ep, n = 0, got = 0;
	struct stat a, b;
	pid_t pid;
	DIR *fds;

	prog_init(argc, argv);
	maps = own("maps", O_RDONLY);
	mem = own("mem", O_RDWR);
	dir = own("task", O_RDONLY | O_DIRECTORY);
	mounts = own("mountinfo", O_RDONLY | O_CLOEXEC);
	pid = prog_child(wait_end, NULL);
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	child = open(path, O_RDONLY);
	ep = epoll_create1(0);
	CHECK(child >= 0 && ep >= 0 && epoll_ctl(ep, EPOLL_CTL_ADD, mounts, &ev) == 0);
	CHECK(read(maps, first[0], 64) == 64 && read(child, text, 6) == 6);
	prog_ready();

	CHECK(lseek(maps, 0, SEEK_CUR) == 64 && lseek(maps, 0, SEEK_SET) == 0);
	CHECK(read(maps, first[1], 64) == 64 && !strcmp(first[0], first[1]));
	CHECK(pread(mem, &got, sizeof(got), (off_t)(uintptr_t)&secret) == sizeof(got) && got == secret);
	got = 5;
	CHECK(pwrite(mem, &got, sizeof(got), (off_t)(uintptr_t)&secret) == sizeof(got) && *(volatile int *)&secret == 5);
	CHECK(fstat(dir, &a) == 0 && stat("/proc/self/task", &b) == 0 && a.st_ino == b.st_ino && a.st_dev == b.st_dev);
	fds = fdopendir(dir);
	while (fds && readdir(fds))
		n++;
	CHECK(n == 3);
	CHECK(fcntl(mounts, F_GETFD) == FD_CLOEXEC && read(mounts, text, 10) == 10);
	CHECK(read(child, text, sizeof(text) - 1) > 20 && strstr(text, "procfiles"));
	prog_write("result", "ok");
	prog_reap(pid);
	return 0;
}
