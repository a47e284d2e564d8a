/* SPDX-License-Identifier: MIT */
/*
 * Undo records that a plugin has to replay itself (CR_UNDO_PLUGIN).  Its code runs in a child, which may crash or
 * hang without keeping W, or `stasis recover`, from the rest.
 */
#include "server.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "plugin.h"

#define PLUGIN_TIMEOUT_MS 20000

static int wait_child(pid_t pid)
{
	_cleanup_fd_ int fd = syscall(SYS_pidfd_open, pid, 0);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int status = 0, late = 0;

	if (fd >= 0 && poll(&p, 1, PLUGIN_TIMEOUT_MS) == 0) {
		late = 1;
		kill(pid, SIGKILL);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	if (late)
		return -ETIMEDOUT;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EFAULT;
}

int undo_by_plugin(struct plugins *plugins, int fd, const char *text)
{
	size_t len = strcspn(text, " ");
	_cleanup_free_ char *name = xcalloc(1, len + 1);
	struct plugin *p;
	pid_t pid;

	memcpy(name, text, len);
	p = plugins_find(plugins, name);
	if (!p || !p->def->undo || !text[len])
		return -ENOPKG;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		int err = p->def->undo(fd, text + len + 1);

		_exit(err < 0 && err > -256 ? -err : err != 0);
	}
	return wait_child(pid);
}
