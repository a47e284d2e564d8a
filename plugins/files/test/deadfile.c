/* SPDX-License-Identifier: MIT */
/* deadfile.c: open files of /proc: of the process itself, of a child, of a process that has ended. */
#include <dirent.h>
#include <signal.h>
#include <stdint.h>

#include "prog.h"

static int open_of(pid_t pid, const char *what, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, what);
	return open(path, flags);
}

static void check_link(int fd, pid_t pid, const char *what)
{
	char link[64], want[64], path[64] = "";

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	snprintf(want, sizeof(want), "/proc/%d%s%s", (int)pid, *what ? "/" : "", what);
	CHECK(readlink(link, path, sizeof(path) - 1) > 0);
	if (strcmp(path, want))
		prog_fail("descriptor %d is %s, not %s", fd, path, want);
}

static void check_pid(int fd, pid_t pid)
{
	char text[32] = "";

	CHECK(pread(fd, text, sizeof(text) - 1, 0) > 0);
	CHECK(atoi(text) == pid);
}

static void wait_go(void *arg)
{
	prog_wait_go();
}

int main(int argc, char **argv)
{
	static const char word[] = "word in memory";
	int own, maps, mem, dir, net, fds, kid, dead, dead_dir, dead_top;
	char text[64];
	pid_t child, gone;

	prog_init(argc, argv);
	own = open("/proc/self/stat", O_RDONLY);
	maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	mem = open("/proc/self/mem", O_RDWR);
	net = open("/proc/net/dev", O_RDONLY);
	dir = open("/proc/self", O_PATH);
	fds = open("/proc/self/fd", O_RDONLY | O_DIRECTORY);
	child = prog_child(wait_go, NULL);
	kid = open_of(child, "stat", O_RDONLY);
	gone = prog_child(wait_go, NULL);
	dead = open_of(gone, "status", O_RDONLY);
	dead_dir = open_of(gone, "task", O_RDONLY | O_DIRECTORY);
	dead_top = open_of(gone, "", O_RDONLY | O_DIRECTORY);
	CHECK(dead_top >= 0 && own >= 0 && maps >= 0 && mem >= 0 && net >= 0 && dir >= 0 && fds >= 0 && kid >= 0 &&
	      dead >= 0 && dead_dir >= 0);
	CHECK(kill(gone, SIGKILL) == 0 && waitpid(gone, NULL, 0) == gone);
	prog_ready();
	check_link(own, getpid(), "stat");
	check_link(maps, getpid(), "maps");
	check_link(dir, getpid(), "");
	check_link(fds, getpid(), "fd");
	check_link(kid, child, "stat");
	check_pid(own, getpid());
	check_pid(kid, child);
	CHECK(fcntl(maps, F_GETFD) == FD_CLOEXEC && read(maps, text, sizeof(text)) == sizeof(text));
	CHECK(pread(mem, text, sizeof(word), (uintptr_t)word) == sizeof(word) && !memcmp(text, word, sizeof(word)));
	CHECK(read(net, text, 6) == 6 && !memcmp(text, "Inter-", 6));
	CHECK(faccessat(dir, "cmdline", R_OK, 0) == 0);
	snprintf(text, sizeof(text), "%d", dead_dir);
	CHECK(faccessat(fds, text, F_OK, AT_SYMLINK_NOFOLLOW) == 0);
	CHECK(read(dead, text, sizeof(text)) < 0 && errno == ESRCH);
	CHECK(readdir(fdopendir(dead_dir)) == NULL);
	CHECK(openat(dead_top, "stat", O_RDONLY) < 0);
	prog_reap(child);
	prog_ok();
}
