/* SPDX-License-Identifier: MIT */
/* lock_ns.c: network namespaces. See lock.h. */
#include "lock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

int lock_ns_of(int sock)
{
	int ns = ioctl(sock, SIOCGSKNS);

	/* only who may administer it is told; then it is taken for ours, as everywhere in this plugin */
	if (ns < 0)
		ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	else
		fcntl(ns, F_SETFD, FD_CLOEXEC);
	return ns < 0 ? -errno : ns;
}

uint64_t lock_ns_ino(int ns)
{
	struct stat st;

	return fstat(ns, &st) ? 0 : st.st_ino;
}

/* Opens path if it is the namespace with that number. */
static int open_if(const char *path, uint64_t ino)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd >= 0 && lock_ns_ino(fd) == ino)
		return fd;
	if (fd >= 0)
		close(fd);
	return -ENOENT;
}

static int find_in_proc(uint64_t ino)
{
	_cleanup_dir_ DIR *d = opendir("/proc");
	struct dirent *e;
	struct stat st;
	char path[300];

	while (d && (e = readdir(d))) {
		int fd;

		if (e->d_name[0] < '1' || e->d_name[0] > '9')
			continue;
		snprintf(path, sizeof(path), "/proc/%s/ns/net", e->d_name);
		if (stat(path, &st) || st.st_ino != ino)
			continue;
		fd = open_if(path, ino);
		if (fd >= 0)
			return fd;
	}
	return -ENOENT;
}

/* ip netns(8) and container engines keep namespaces as mounts. */
static int find_in_mounts(uint64_t ino)
{
	_cleanup_file_ FILE *f = fopen("/proc/self/mountinfo", "re");
	_cleanup_free_ char *line = NULL;
	size_t room = 0;
	char want[40], root[64], path[4096];

	snprintf(want, sizeof(want), "net:[%ju]", (uintmax_t)ino);
	while (f && getline(&line, &room, f) > 0) {
		int fd;

		if (sscanf(line, "%*u %*u %*s %63s %4095s", root, path) != 2 || strcmp(root, want))
			continue;
		fd = open_if(path, ino);
		if (fd >= 0)
			return fd;
	}
	return -ENOENT;
}

int lock_ns_find(uint64_t ino)
{
	int fd = find_in_proc(ino);

	return fd >= 0 ? fd : find_in_mounts(ino);
}

struct visit {
	int ns, ret;
	int (*fn)(void *arg);
	void *arg;
};

/* setns(2) concerns the calling thread alone. */
static void *visitor(void *arg)
{
	struct visit *v = arg;

	v->ret = setns(v->ns, CLONE_NEWNET) ? -errno : v->fn(v->arg);
	return NULL;
}

int lock_ns_run(int ns, int (*fn)(void *arg), void *arg)
{
	_cleanup_fd_ int ours = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	struct visit v = { .ns = ns, .fn = fn, .arg = arg };
	pthread_t thread;
	int err;

	if (ours >= 0 && lock_ns_ino(ours) == lock_ns_ino(ns))
		return fn(arg);
	err = pthread_create(&thread, NULL, visitor, &v);
	if (err)
		return -err;
	pthread_join(thread, NULL);
	return v.ret;
}
