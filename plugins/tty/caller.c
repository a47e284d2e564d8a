/* SPDX-License-Identifier: MIT */
/*
 * caller.c: terminals by another name: that of the caller of a restore, and /dev/tty.
 */
#include "tty.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the caller's terminal ---- */

/* Device number of the caller's terminal: the controlling one, else one of its first three descriptors. */
static int caller_rdev(unsigned int *ret)
{
	_cleanup_fd_ int fd = open("/dev/tty", O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0 && ioctl(fd, TIOCGDEV, ret) == 0)
		return 0;
	for (int i = 0; i < 3; i++)
		if (ioctl(i, TIOCGDEV, ret) == 0)
			return 0;
	return -ENOTTY;
}

static int open_checked(const char *path, uint32_t flags, unsigned int rdev)
{
	int fd = open(path, flags);
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == rdev)
		return fd;
	cleanup_fd(&fd);
	return -1;
}

int tty_caller_open(struct cr_session *s, uint32_t flags, int *ret_fd)
{
	unsigned int rdev;
	char path[64];
	int fd = -1;

	if (caller_rdev(&rdev))
		return cr_fail(s, ENOTTY, "--shell-job: there is no terminal to restore on; run restore from one");
	/* a request for /dev/tty comes without O_NOCTTY */
	if (!(flags & O_NOCTTY))
		fd = open("/dev/tty", flags);
	flags |= O_NOCTTY;
	/* the caller's own descriptors name it for sure, whatever is mounted on /dev/pts */
	for (int i = 0; fd < 0 && i < 3; i++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", i);
		if (ioctl(i, TIOCGDEV, &(unsigned int){ 0 }) == 0)
			fd = open_checked(path, flags, rdev);
	}
	if (fd < 0 && tty_end_of(rdev) == TTY_SLAVE) {
		snprintf(path, sizeof(path), "/dev/pts/%u", tty_index_of(rdev));
		fd = open_checked(path, flags, rdev);
	}
	if (fd < 0)
		fd = open("/dev/tty", flags);
	if (fd < 0)
		return cr_fail(s, errno, "--shell-job: the terminal of this restore cannot be opened");
	*ret_fd = fd;
	return 0;
}

/* ---- /dev/tty ---- */

struct current_job {
	int slave, fd;
	uint32_t flags;
};

/*
 * /dev/tty means the terminal of the opener's session at the moment of the open.  So
 * a child that shares E's descriptors makes a session, takes the terminal, opens
 * /dev/tty and gives the terminal back; of a pseudo-terminal, giving back hangs
 * nothing up, it only sends SIGHUP to the child's own group.
 */
static int current_child(void *arg)
{
	struct current_job *job = arg;

	signal(SIGHUP, SIG_IGN);
	if (setsid() < 0 || ioctl(job->slave, TIOCSCTTY, 0) < 0) {
		job->fd = -errno;
		return 0;
	}
	job->fd = open("/dev/tty", job->flags);
	if (job->fd < 0)
		job->fd = -errno;
	ioctl(job->slave, TIOCNOTTY);
	return 0;
}

int tty_current_open(int slave, uint32_t flags)
{
	struct current_job job = { .slave = slave, .fd = -ECHILD, .flags = flags };
	const size_t stack_bytes = 64 * 1024;
	char *stack = xcalloc(1, stack_bytes);
	pid_t pid;
	int status;

	/* like vfork, with the descriptor table shared; no exit signal: E's handlers don't see it */
	pid = clone(current_child, stack + stack_bytes, CLONE_VM | CLONE_VFORK | CLONE_FILES, &job);
	if (pid < 0)
		job.fd = -errno;
	else
		while (waitpid(pid, &status, __WALL) < 0 && errno == EINTR)
			;
	free(stack);
	return job.fd;
}
