/* SPDX-License-Identifier: MIT */
/*
 * deadfile.c: open files of /proc/PID where that process has ended.
 *
 * Nothing can be read from such a file any more, but it can still be open.  At restore a child of the engine, under the
 * old number where that is free, lives until the file is open.
 */
#include <errno.h>
#include <linux/magic.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "reg.h"

#define DELETED " (deleted)"

int deadfile_is(struct cr_session *s, const struct cr_file_info *info, char *name)
{
	size_t len = strlen(name), cut = sizeof(DELETED) - 1;
	const char *rest;

	if (info->fs_magic != PROC_SUPER_MAGIC || info->source != CR_SRC_FD)
		return 0;
	if (len > cut && !strcmp(name + len - cut, DELETED))
		name[len - cut] = 0;
	if (procfile_pid(s, name, &rest))
		return 1;
	strcpy(name, info->link);
	return 0;
}

/* A process that waits to be killed, with the number pid or, where that cannot be, any.  Its pid or -errno. */
static pid_t stand_in(struct cr_session *s, pid_t pid)
{
	struct clone_args args = { .set_tid = (uintptr_t)&pid, .set_tid_size = 1 };
	pid_t child = -1;

	if (!s->core->task_by_vpid(s, pid))
		child = syscall(SYS_clone3, &args, sizeof(args));
	if (child < 0) {
		args.set_tid = args.set_tid_size = 0;
		child = syscall(SYS_clone3, &args, sizeof(args));
	}
	if (child == 0)
		for (;;)
			pause();
	return child < 0 ? -errno : child;
}

/* name with the components that are pid replaced by now. */
static char *with_pid(struct cr_session *s, const char *name, pid_t pid, pid_t now)
{
	size_t room = strlen(name) + 64, len = 0;
	char *path = s->core->alloc(s, 2 * room), old[16];
	const char *p = name;

	snprintf(old, sizeof(old), "%d", pid);
	while (*p && len < 2 * room - 32) {
		size_t n = strcspn(p + 1, "/");

		if (n == strlen(old) && !strncmp(p + 1, old, n))
			len += sprintf(path + len, "/%d", now);
		else
			len += sprintf(path + len, "/%.*s", (int)n, p + 1);
		p += n + 1;
	}
	return path;
}

int deadfile_open(struct cr_session *s, const RegFileEntry *e, deadfile_opener *open_path, int *ret_fd)
{
	const char *rest;
	pid_t pid = procfile_pid(s, e->name, &rest), child;
	int err;

	if (!pid)
		return cr_fail(s, EPROTO, "%s is not a file of a process", common_quote(s, e->name));
	child = stand_in(s, pid);
	if (child < 0)
		return cr_fail(s, -child, "making a process that stands in for %d, which has ended: %s", pid, strerror(-child));
	err = open_path(s, e, with_pid(s, e->name, pid, child), ret_fd);
	kill(child, SIGKILL);
	while (waitpid(child, NULL, __WALL) < 0 && errno == EINTR)
		;
	return err;
}
