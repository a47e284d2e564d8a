/* SPDX-License-Identifier: MIT */
/* holder.c: who stands in the way of a lock: /proc/locks tells for locks, /proc/PID/fd for leases. */
#include "locks.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* flock locks and those of byte ranges do not see each other. */
static int excludes(const struct lock *a, const struct lock *b)
{
	uint64_t a_end = a->len ? (uint64_t)a->start + (uint64_t)a->len : UINT64_MAX;
	uint64_t b_end = b->len ? (uint64_t)b->start + (uint64_t)b->len : UINT64_MAX;

	if ((a->kind == LOCK_KIND_FLOCK) != (b->kind == LOCK_KIND_FLOCK) || a->kind == LOCK_KIND_LEASE ||
	    (a->type == F_RDLCK && b->type == F_RDLCK))
		return 0;
	return (uint64_t)a->start < b_end && (uint64_t)b->start < a_end;
}

/* A process that has the inode open, the engine itself excepted; 0: none is seen. */
static pid_t who_has_open(const struct stat *st)
{
	_cleanup_dir_ DIR *proc = opendir("/proc");
	struct dirent *p, *d;

	while (proc && (p = readdir(proc))) {
		_cleanup_dir_ DIR *fds = NULL;
		char path[300];
		struct stat now;

		if (!isdigit((unsigned char)p->d_name[0]) || atoi(p->d_name) == getpid())
			continue;
		snprintf(path, sizeof(path), "/proc/%s/fd", p->d_name);
		fds = opendir(path);
		while (fds && (d = readdir(fds)))
			if (fstatat(dirfd(fds), d->d_name, &now, 0) == 0 && common_same_inode(&now, st))
				return atoi(p->d_name);
	}
	return 0;
}

/* The first line of /proc/locks that is in the way of want. 1 with *ret. */
static int find_line(const struct lock *want, const struct stat *st, struct lock *ret)
{
	_cleanup_buf_ struct buf b = { 0 };

	if (read_file(AT_FDCWD, "/proc/locks", &b) < 0)
		return 0;
	for (const char *p = b.p; p && *p; p = strchr(p, '\n')) {
		p += *p == '\n';
		if (*p && lock_parse(p, ret) == 1 && ret->ino == st->st_ino && ret->major == major(st->st_dev) &&
		    ret->minor == minor(st->st_dev) && excludes(ret, want))
			return 1;
	}
	return 0;
}

void lock_holder(const struct lock *want, int fd, char *buf, size_t size)
{
	char text[128], path[32];
	_cleanup_buf_ struct buf comm = { 0 };
	struct lock other;
	struct stat st;
	pid_t pid = 0;

	buf[0] = 0;
	if (fstat(fd, &st))
		return;
	if (want->kind == LOCK_KIND_LEASE) {
		pid = who_has_open(&st);
		snprintf(text, sizeof(text), "has it open");
	} else if (find_line(want, &st, &other)) {
		/* an OFD lock has no pid: whoever has the file open */
		pid = other.pid > 0 ? other.pid : who_has_open(&st);
		memcpy(text, "has ", 5);
		lock_text(&other, text + 4, sizeof(text) - 4);
	}
	if (pid <= 0)
		return;
	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	if (read_file(AT_FDCWD, path, &comm) < 0)
		buf_printf(&comm, "?");
	snprintf(buf, size, " (pid %d, %.*s, %s)", pid, (int)strcspn(comm.p, "\n"), comm.p, text);
}
