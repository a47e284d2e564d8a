/* SPDX-License-Identifier: MIT */
/*
 * undo.c: a dump that fails after it has taken the events.
 *
 * They cannot be put back: their numbers belong to watches that are there.  But the program can be told that events were
 * lost, as the kernel does it, by an overflow event.  Recorded before the events are taken; runs in a child of the
 * warden, before the tree goes on.
 */
#include "inotify.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A number above all that are in use. */
static int spare_number(int fd)
{
	_cleanup_buf_ struct buf b = { 0 };
	char path[48];
	int top = 0, wd;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	if (read_file(AT_FDCWD, path, &b) < 0)
		return -1;
	for (const char *p = b.p; p && (p = strstr(p, "inotify wd:")); p++)
		if (sscanf(p, "inotify wd:%x", (unsigned int *)&wd) == 1)
			top = MAX_OF(top, wd);
	return top < INT_MAX - 2 ? top + 1 : -1;
}

int inotify_undo(int fd, const char *text)
{
	int spare = spare_number(fd), bytes = atoi(text);

	/* nothing has been taken, as far as anybody can tell */
	if (inotify_queued(fd) >= bytes)
		return 0;
	return spare < 0 ? -EINVAL : inotify_queue_overflow(fd, spare);
}

int inotify_undo_record(struct cr_session *s, int fd, int bytes)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", bytes);
	return s->core->undo(s, CR_UNDO_PLUGIN, fd, text, 0);
}
