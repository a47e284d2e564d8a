/* SPDX-License-Identifier: MIT */
/*
 * Watches: on directories and files, sparse numbers, one-shot, on a deleted file that is still open, under a name that
 * was changed, on a symbolic link; that the numbers stay, that nothing is in the queue, and that each reports what it did.
 */
#include <linux/kcmp.h>
#include <stdint.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "prog.h"

static char base[4200];

static const char *in_base(const char *name)
{
	static char paths[2][4400];
	static int which;

	which = !which;
	snprintf(paths[which], sizeof(paths[which]), "%s/%s", base, name);
	return paths[which];
}

static void touch(const char *name)
{
	int fd = open(in_base(name), O_WRONLY | O_CREAT, 0644);

	CHECK(fd >= 0 && close(fd) == 0);
}

static int watch(int in, const char *name, uint32_t mask)
{
	int wd = inotify_add_watch(in, in_base(name), mask);

	CHECK(wd > 0);
	return wd;
}

/* The next event is of wd, with mask, and with that name. */
static int next_is(int in, int wd, uint32_t mask, const char *name)
{
	char room[sizeof(struct inotify_event) + 256] __attribute__((aligned(8)));
	const struct inotify_event *e = (const void *)room;
	ssize_t n = read(in, room, sizeof(struct inotify_event) + (name ? 16 : 0));

	if (n < (ssize_t)sizeof(*e))
		prog_fail("no event: %s", strerror(errno));
	if (e->wd != wd || e->mask != mask || strcmp(e->len ? e->name : "", name ? name : ""))
		prog_fail("event of watch %d, mask %#x, name %s", e->wd, e->mask, e->len ? e->name : "");
	return 1;
}

static int queued(int in)
{
	int bytes = -1;

	CHECK(ioctl(in, FIONREAD, &bytes) == 0);
	return bytes;
}

int main(int argc, char **argv)
{
	int in, blocking, dir, file, sparse, once, gone, moved, link, fd;

	prog_init(argc, argv);
	snprintf(base, sizeof(base), "%s/watched", prog_dir);
	CHECK(mkdir(base, 0755) == 0 && mkdir(in_base("sub"), 0755) == 0);
	touch("file");
	touch("once");
	touch("gone");
	touch("old");
	in = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	blocking = inotify_init();
	CHECK(in >= 0 && blocking >= 0);
	dir = watch(in, "sub", IN_CREATE | IN_DELETE);
	file = watch(in, "file", IN_MODIFY);
	for (int i = 0; i < 50; i++)
		CHECK(inotify_rm_watch(in, watch(in, "once", IN_OPEN)) == 0);
	sparse = watch(in, ".", IN_MOVED_TO);
	CHECK(sparse == file + 51);
	once = watch(in, "once", IN_ATTRIB | IN_ONESHOT);
	moved = watch(in, "old", IN_CLOSE_WRITE);
	gone = watch(in, "gone", IN_CLOSE_WRITE);
	fd = open(in_base("gone"), O_WRONLY);
	CHECK(fd >= 0 && unlink(in_base("gone")) == 0 && rename(in_base("old"), in_base("new")) == 0);
	CHECK(symlink("file", in_base("link")) == 0);
	link = watch(in, "link", IN_ATTRIB | IN_DONT_FOLLOW);
	CHECK(watch(blocking, "sub", IN_ALL_EVENTS) == 1);
	while (queued(in)) {
		char room[4096];

		CHECK(read(in, room, sizeof(room)) > 0);
	}
	prog_ready();

	CHECK(queued(in) == 0 && queued(blocking) == 0);
	CHECK((fcntl(in, F_GETFL) & O_NONBLOCK) && !(fcntl(blocking, F_GETFL) & O_NONBLOCK));
	CHECK(fcntl(in, F_GETFD) == FD_CLOEXEC && fcntl(blocking, F_GETFD) == 0);
	touch("sub/x");
	CHECK(next_is(in, dir, IN_CREATE, "x"));
	CHECK(next_is(blocking, 1, IN_CREATE, "x") && next_is(blocking, 1, IN_OPEN, "x") &&
	      next_is(blocking, 1, IN_CLOSE_WRITE, "x"));
	CHECK(truncate(in_base("file"), 5) == 0 && next_is(in, file, IN_MODIFY, NULL));
	CHECK(rename(in_base("sub/x"), in_base("y")) == 0 && next_is(in, sparse, IN_MOVED_TO, "y"));
	CHECK(utimensat(AT_FDCWD, in_base("link"), NULL, AT_SYMLINK_NOFOLLOW) == 0 && next_is(in, link, IN_ATTRIB, NULL));
	touch("new");
	CHECK(next_is(in, moved, IN_CLOSE_WRITE, NULL));
	CHECK(chmod(in_base("once"), 0600) == 0 && next_is(in, once, IN_ATTRIB, NULL) && next_is(in, once, IN_IGNORED, NULL));
	CHECK(chmod(in_base("once"), 0644) == 0 && queued(in) == 0);
	CHECK(close(fd) == 0 && next_is(in, gone, IN_CLOSE_WRITE, NULL));
	CHECK(next_is(in, gone, IN_IGNORED, NULL)); /* the last of it has gone */
	CHECK(inotify_rm_watch(in, dir) == 0 && next_is(in, dir, IN_IGNORED, NULL));
	prog_ok();
}
