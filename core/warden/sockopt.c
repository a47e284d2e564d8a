/* SPDX-License-Identifier: MIT */
/*
 * sockopt.c: the undo step that sets options of a socket.
 *
 * W has a descriptor of the socket.  `stasis recover` has none any more, only the name that the
 * socket has in /proc/PID/fd ("socket:[123]"): it looks for a process that still has it.  A socket
 * that nobody has is gone, and nothing needs to be undone.
 */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "server.h"

/* "LEVEL NAME VALUE" as often as needed. */
static int set_all(int fd, const char *text)
{
	int level, name, value, used, first = 0;

	for (; *text; text += used) {
		used = 0;
		if (sscanf(text, "%d %d %d %n", &level, &name, &value, &used) != 3 || !used)
			return -EINVAL;
		if (setsockopt(fd, level, name, &value, sizeof(value)) < 0 && !first)
			first = -errno;
	}
	return first;
}

/* A descriptor of the socket called link, taken from pid; -ENOENT: it has none. */
static int take_from(pid_t pid, const char *link)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/fd", pid);
	_cleanup_dir_ DIR *d = opendir(path);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		_cleanup_free_ char *text = NULL;
		_cleanup_fd_ int pidfd = -1;
		int fd;

		if (e->d_name[0] == '.' || readlink_alloc(dirfd(d), e->d_name, &text) || strcmp(text, link) != 0)
			continue;
		pidfd = syscall(SYS_pidfd_open, pid, 0);
		fd = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, atoi(e->d_name), 0);
		if (fd >= 0 || errno != ESRCH)
			return fd >= 0 ? fd : -errno;
	}
	return -ENOENT;
}

static int find_socket(const char *link)
{
	_cleanup_dir_ DIR *d = opendir("/proc");
	int found = -ENOENT;
	struct dirent *e;

	while (d && found < 0 && (e = readdir(d))) {
		int fd = atoi(e->d_name) > 0 ? take_from(atoi(e->d_name), link) : -ENOENT;

		if (fd != -ENOENT)
			found = fd;
	}
	return found;
}

int undo_sockopt(int fd, const char *link, const char *text)
{
	_cleanup_fd_ int own = -1;

	if (fd < 0) {
		fd = own = find_socket(link);
		if (fd < 0)
			return fd == -ENOENT ? 0 : fd;
	}
	return set_all(fd, text);
}
