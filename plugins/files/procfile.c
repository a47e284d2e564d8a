/* SPDX-License-Identifier: MIT */
/*
 * procfile.c: files of /proc/PID where PID is a process of the tree.
 *
 * At restore files are opened before any process exists; these are opened when all of them do.  A thread other than the
 * first does not exist even then.
 */
#include <ctype.h>
#include <errno.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>

#include "reg.h"

#define PROC_ROOT_INODE 1

/* Other file systems have that inode at their root too, and somebody's directory there may be called like a process. */
static int is_proc_root(const char *path)
{
	struct stat st;
	struct statfs fs;

	return lstat(path, &st) == 0 && st.st_ino == PROC_ROOT_INODE && statfs(path, &fs) == 0 &&
	       fs.f_type == PROC_SUPER_MAGIC;
}

pid_t procfile_pid(struct cr_session *s, const char *name, const char **ret_rest)
{
	char *path = common_strdup(s, name), *end;
	pid_t pid;

	/* the component behind the root of a proc mount counts */
	for (char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
		if (!isdigit((unsigned char)p[1]))
			continue;
		*p = 0;
		if (is_proc_root(path)) {
			pid = strtol(p + 1, &end, 10);
			*ret_rest = *end == '/' ? end + 1 : "";
			return pid > 0 && (!*end || *end == '/') ? pid : 0;
		}
		*p = '/';
	}
	return 0;
}

int procfile_owner(struct cr_session *s, const char *name, const char **ret_rest)
{
	pid_t pid = procfile_pid(s, name, ret_rest);

	return pid && s->core->task_by_vpid(s, pid) ? pid : 0;
}

int procfile_check(struct cr_session *s, const struct cr_file_info *info, const char *name)
{
	const char *rest, *thread;
	pid_t pid = procfile_owner(s, name, &rest);

	if (!pid)
		return 0;
	if (info->source != CR_SRC_FD && info->source != CR_SRC_PLUGIN)
		return cr_refuse(s, "let the program leave that directory",
				 "%s belongs to a process of the tree, which does not exist yet when directories are opened",
				 common_quote(s, name));
	thread = strncmp(rest, "task/", 5) ? NULL : rest + 5;
	if (thread && *thread && atoi(thread) != pid)
		return cr_refuse(s, "--policy fd[PID:N]=close, if the program can do without",
				 "%s belongs to a thread, which does not exist yet when files are opened", common_quote(s, name));
	return 0;
}
