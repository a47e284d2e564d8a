/* SPDX-License-Identifier: MIT */
/* Events that have not been read are still there, in order; while a tree that runs on keeps them anyway. */
#include <dirent.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "prog.h"

#define ROOM 8192

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

	CHECK(fd >= 0 && write(fd, "z", 1) == 1 && close(fd) == 0);
}

static void list(const char *name)
{
	DIR *d = opendir(in_base(name));

	CHECK(d && readdir(d));
	closedir(d);
}

static void look(const char *name)
{
	int fd = open(in_base(name), O_RDONLY);
	char c;

	CHECK(fd >= 0 && read(fd, &c, 1) == 1 && close(fd) == 0);
}

/* Everything a queue can have in it, but for watch 4, on a file that is deleted at the end. */
static void act(void)
{
	touch("dir/a");
	touch("dir/a file with quite a long name, longer than one event");
	CHECK(mkdir(in_base("dir/sub"), 0700) == 0);
	list("dir/sub");
	list("dir");
	CHECK(chmod(in_base("dir/sub"), 0750) == 0 && rmdir(in_base("dir/sub")) == 0);
	look("dir/a");
	CHECK(rename(in_base("dir/a"), in_base("dir/b")) == 0);
	CHECK(rename(in_base("dir/b"), in_base("other/b")) == 0);
	touch("outside");
	CHECK(rename(in_base("outside"), in_base("dir/in")) == 0);
	CHECK(rename(in_base("dir/in"), in_base("outside")) == 0);
	CHECK(chmod(in_base("dir"), 0700) == 0);
	touch("file");
	CHECK(rename(in_base("file"), in_base("file2")) == 0);
	CHECK(unlink(in_base("gone")) == 0 && unlink(in_base("other/b")) == 0);
}

static ssize_t take(int in, char *room)
{
	ssize_t n = 0, got;

	while ((got = read(in, room + n, ROOM - (size_t)n)) > 0)
		n += got;
	CHECK(errno == EAGAIN);
	return n;
}

static int setup(void)
{
	int in = inotify_init1(IN_NONBLOCK);

	CHECK(in >= 0 && mkdir(base, 0755) == 0 && mkdir(in_base("dir"), 0755) == 0 && mkdir(in_base("other"), 0755) == 0);
	touch("file");
	touch("gone");
	CHECK(inotify_add_watch(in, in_base("dir"), IN_ALL_EVENTS) == 1);
	CHECK(inotify_add_watch(in, in_base("other"), IN_ALL_EVENTS) == 2);
	CHECK(inotify_add_watch(in, in_base("file"), IN_ALL_EVENTS) == 3);
	CHECK(inotify_add_watch(in, in_base("gone"), IN_ALL_EVENTS) == 4);
	return in;
}

/* Equal but for the values of cookies. */
static void compare(const char *a, ssize_t na, const char *b, ssize_t nb)
{
	ssize_t at = 0;

	while (at < na && at < nb) {
		const struct inotify_event *x = (const void *)(a + at), *y = (const void *)(b + at);

		if (x->wd != y->wd || x->mask != y->mask || !x->cookie != !y->cookie || x->len != y->len ||
		    strncmp(x->name, y->name, x->len))
			prog_fail("event of watch %d, mask %#x, name %s instead of %d, %#x, %s", y->wd, y->mask,
				  y->len ? y->name : "", x->wd, x->mask, x->len ? x->name : "");
		at += (ssize_t)(sizeof(*x) + x->len);
	}
	if (na != nb)
		prog_fail("%zd bytes of events instead of %zd", nb, na);
}

int main(int argc, char **argv)
{
	static char want[ROOM] __attribute__((aligned(8))), have[ROOM] __attribute__((aligned(8)));
	ssize_t nwant, nhave;
	int in;

	prog_init(argc, argv);
	/* the same twice: what is read at once, and what is read after the restore */
	snprintf(base, sizeof(base), "%s/first", prog_dir);
	in = setup();
	act();
	nwant = take(in, want);
	CHECK(nwant > 0 && close(in) == 0);
	snprintf(base, sizeof(base), "%s/second", prog_dir);
	in = setup();
	act();
	prog_ready();

	nhave = take(in, have);
	compare(want, nwant, have, nhave);
	touch("dir/later");
	nhave = take(in, have);
	CHECK(nhave > 0 && ((struct inotify_event *)have)->wd == 1 && ((struct inotify_event *)have)->mask == IN_CREATE);
	CHECK(inotify_rm_watch(in, 3) == 0 && inotify_rm_watch(in, 4) < 0);
	prog_ok();
}
