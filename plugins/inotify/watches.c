/* SPDX-License-Identifier: MIT */
/*
 * watches.c: sets watches under given numbers.
 *
 * INOTIFY_IOC_SETNEXTWD (CONFIG_CHECKPOINT_RESTORE) chooses the next number.  A kernel without it
 * counts upwards, so unwanted numbers are used up by watches that are removed at once; what
 * that puts into the queue is read away, and what has been given back to it (queue.c) too.
 */
#include "inotify.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define COUNT_LIMIT 1000000 /* numbers used up one by one */

void inotify_drain(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char room[65536];

	while (poll(&p, 1, 0) > 0 && (p.revents & POLLIN) && read(fd, room, sizeof(room)) > 0)
		;
}

static int add(struct cr_session *s, int fd, int target, const struct watch *w)
{
	char path[32];
	int wd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", target);
	wd = inotify_add_watch(fd, path, w->mask);
	if (wd < 0)
		return cr_fail(s, errno, "setting watch %d: %s%s", w->wd, strerror(errno),
			       errno == ENOSPC ? " (raise the sysctl fs.inotify.max_user_watches)" : "");
	return wd;
}

/* Watch w on target, under its number. */
static int set_one(struct cr_session *s, int fd, int target, const struct watch *w)
{
	int next = w->wd;
	int told = ioctl(fd, INOTIFY_IOC_SETNEXTWD, next) == 0;

	for (int i = 0; i < COUNT_LIMIT; i++) {
		int wd = add(s, fd, target, w);

		if (wd == w->wd && !told)
			inotify_drain(fd);
		if (wd == w->wd || wd < 0)
			return wd < 0 ? wd : 0;
		if (told || wd > w->wd)
			return cr_fail(s, EEXIST, "watch %d is given the number %d: is another one on the same file by now?",
				       w->wd, wd);
		if (inotify_rm_watch(fd, wd))
			return cr_fail(s, errno, "removing a watch: %s", strerror(errno));
		if (i % 1024 == 0)
			inotify_drain(fd);
	}
	return cr_fail(s, ERANGE, "watch %d cannot be given its number: a kernel with CONFIG_CHECKPOINT_RESTORE is needed",
		       w->wd);
}

int inotify_watches_set(struct cr_session *s, int fd, const struct inotify *in)
{
	for (size_t i = 0; i < in->n; i++) {
		const struct watch *w = &in->watches[i];
		_cleanup_fd_ int own = -1;
		int target, err;

		if (w->target) {
			target = s->core->file_fd(w->target);
		} else {
			err = fsn_open(s, w->handle, w->dev, &own);
			if (err < 0)
				return err;
			target = own;
		}
		err = set_one(s, fd, target, w);
		if (err < 0)
			return err;
	}
	return 0;
}
