/* SPDX-License-Identifier: MIT */
/* Descriptors of namespaces: of all kinds, with O_PATH, for children, shared by fork; each still that of this process. */
#include <linux/kcmp.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "prog.h"

static const char *const names[] = { "net", "mnt", "pid", "user", "uts", "ipc", "cgroup", "time", "pid_for_children" };
#define NAMES (sizeof(names) / sizeof(names[0]))

static void path_of(char *path, size_t size, const char *name)
{
	snprintf(path, size, "/proc/self/ns/%s", name);
}

static int is_ours(int fd, const char *name)
{
	struct stat a, b;
	char path[64];

	path_of(path, sizeof(path), name);
	CHECK(fstat(fd, &a) == 0 && stat(path, &b) == 0);
	return a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

static void child(void *arg)
{
	const int *fds = arg;

	prog_wait_go();
	CHECK(is_ours(fds[0], names[0]));
	CHECK(syscall(SYS_kcmp, getpid(), getppid(), KCMP_FILE, fds[0], fds[0]) == 0);
}

int main(int argc, char **argv)
{
	int fds[NAMES], only_path, extra;
	char path[64];
	pid_t pid;

	prog_init(argc, argv);
	for (size_t i = 0; i < NAMES; i++) {
		path_of(path, sizeof(path), names[i]);
		fds[i] = open(path, O_RDONLY | (i % 2 ? O_CLOEXEC : 0));
		CHECK(fds[i] >= 0 || errno == ENOENT);
	}
	path_of(path, sizeof(path), "net");
	only_path = open(path, O_PATH);
	extra = dup(fds[0]);
	CHECK(only_path >= 0 && extra >= 0);
	pid = prog_child(child, fds);
	prog_ready();

	for (size_t i = 0; i < NAMES; i++) {
		if (fds[i] < 0)
			continue;
		CHECK(is_ours(fds[i], names[i]));
		CHECK(fcntl(fds[i], F_GETFD) == (i % 2 ? FD_CLOEXEC : 0));
		CHECK(ioctl(fds[i], 0xb703 /* NS_GET_NSTYPE */) > 0);
	}
	CHECK((fcntl(only_path, F_GETFL) & O_PATH) && is_ours(only_path, "net"));
	CHECK(syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, fds[0], extra) == 0);
	CHECK(syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, fds[0], only_path) != 0);
	prog_reap(pid);
	prog_ok();
}
