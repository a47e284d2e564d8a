/* SPDX-License-Identifier: MIT */
/*
 * A thread that reads notes about a directory: it comes back with the right one when a file is made
 * there.
 */
#include <sys/inotify.h>
#include <sys/stat.h>

#include "blocked.h"

static int fd, wd;

static int do_read(void)
{
	char buf[4096] __attribute__((aligned(8)));
	const struct inotify_event *e = (const void *)buf;

	return read(fd, buf, sizeof(buf)) >= (ssize_t)sizeof(*e) && e->wd == wd && e->mask == IN_CREATE &&
	       !strcmp(e->name, "new") ? 0 : -1;
}

static void free_read(void)
{
	int f = open("watched/new", O_CREAT | O_EXCL | O_WRONLY, 0600);

	CHECK(f >= 0 && close(f) == 0);
}

static const struct blocked calls[] = { BLOCKED("read", read) };

int main(int argc, char **argv)
{
	prog_init(argc, argv);
	CHECK(chdir(prog_dir) == 0 && mkdir("watched", 0700) == 0);
	fd = inotify_init1(IN_CLOEXEC);
	CHECK(fd >= 0);
	wd = inotify_add_watch(fd, "watched", IN_CREATE);
	CHECK(wd > 0);
	blocked_run(calls, sizeof(calls) / sizeof(calls[0]));
	prog_ok();
}
