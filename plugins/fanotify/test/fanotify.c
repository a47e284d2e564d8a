/* SPDX-License-Identifier: MIT */
/*
 * Groups that report descriptors, and file handles with names; marks on inodes, on a mount and a file system (a tmpfs of the
 * test's own), with an ignored mask; permission events.
 */
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "prog.h"

#ifndef FAN_MARK_FILESYSTEM
#define FAN_MARK_FILESYSTEM 0x100
#endif
#ifndef FAN_REPORT_DFID_NAME
#define FAN_REPORT_DFID_NAME 0xc00
#endif

static char base[4200];

static const char *in_base(const char *name)
{
	static char path[4400];

	snprintf(path, sizeof(path), "%s/%s", base, name);
	return path;
}

static void touch(const char *name)
{
	int fd = open(in_base(name), O_WRONLY | O_CREAT, 0644);

	CHECK(fd >= 0 && close(fd) == 0);
}

static void mark(int fan, unsigned int flags, uint64_t mask, const char *name)
{
	if (fanotify_mark(fan, FAN_MARK_ADD | flags, mask, AT_FDCWD, in_base(name)))
		prog_fail("fanotify_mark %#x %#llx %s: %s", flags, (unsigned long long)mask, name, strerror(errno));
}

/* Mask of all events in the queue, which is empty then. */
static uint64_t events(int fan)
{
	char room[8192] __attribute__((aligned(8)));
	uint64_t mask = 0;
	ssize_t n;

	while ((n = read(fan, room, sizeof(room))) > 0) {
		const struct fanotify_event_metadata *m = (const void *)room;

		for (; FAN_EVENT_OK(m, n); m = FAN_EVENT_NEXT(m, n)) {
			mask |= m->mask;
			if (m->fd >= 0)
				close(m->fd);
		}
	}
	CHECK(errno == EAGAIN);
	return mask;
}

static void opener(void *arg)
{
	(void)arg;
	prog_wait_go();
	/* such marks are set when the tree runs again */
	for (int i = 0; i < 1000; i++) {
		int fd = open(in_base("guarded"), O_RDONLY);

		if (fd < 0) {
			CHECK(errno == EPERM);
			return;
		}
		close(fd);
		prog_nap(10);
	}
	prog_fail("nobody is asked for permission");
}

/* Answers the next permission event with no. */
static void deny(int fan)
{
	struct fanotify_event_metadata m;
	struct fanotify_response r = { .response = FAN_DENY };

	for (int i = 0; i < 1000; i++) {
		if (read(fan, &m, sizeof(m)) == sizeof(m)) {
			CHECK(m.mask == FAN_OPEN_PERM && m.fd >= 0);
			r.fd = m.fd;
			CHECK(write(fan, &r, sizeof(r)) == sizeof(r));
			close(m.fd);
			return;
		}
		CHECK(errno == EAGAIN);
		prog_nap(10);
	}
	prog_fail("no permission event");
}

int main(int argc, char **argv)
{
	int fds, names, perm, mounted, whole;
	pid_t child;

	prog_init(argc, argv);
	snprintf(base, sizeof(base), "%s/watched", prog_dir);
	fds = fanotify_init(FAN_CLASS_NOTIF | FAN_NONBLOCK | FAN_CLOEXEC, O_RDONLY | O_LARGEFILE);
	if (fds < 0)
		prog_skip("fanotify_init: %s", strerror(errno));
	names = fanotify_init(FAN_CLASS_NOTIF | FAN_NONBLOCK | FAN_REPORT_DFID_NAME, O_RDONLY);
	perm = fanotify_init(FAN_CLASS_CONTENT | FAN_NONBLOCK, O_RDONLY);
	CHECK(mkdir(base, 0755) == 0 && mkdir(in_base("dir"), 0755) == 0);
	touch("quiet");
	touch("file");
	touch("guarded");
	mark(fds, 0, FAN_OPEN | FAN_CLOSE_WRITE | FAN_EVENT_ON_CHILD, ".");
	mark(fds, FAN_MARK_IGNORED_MASK | FAN_MARK_IGNORED_SURV_MODIFY, FAN_OPEN, "quiet");
	CHECK(mkdir(in_base("mnt"), 0755) == 0);
	mounted = mount("test", in_base("mnt"), "tmpfs", 0, "size=1m") == 0;
	whole = mounted ? fanotify_init(FAN_CLASS_NOTIF | FAN_NONBLOCK, O_RDONLY) : -1;
	if (whole >= 0) {
		mark(whole, FAN_MARK_MOUNT, FAN_OPEN, "mnt");
		mark(whole, FAN_MARK_FILESYSTEM, FAN_CLOSE_WRITE, "mnt");
	}
	if (names >= 0)
		mark(names, 0, FAN_CREATE | FAN_DELETE | FAN_ONDIR, "dir");
	if (perm >= 0)
		mark(perm, 0, FAN_OPEN_PERM, "guarded");
	child = perm >= 0 ? prog_child(opener, NULL) : 0;
	prog_ready();

	CHECK(events(fds) == 0 && (fcntl(fds, F_GETFL) & O_NONBLOCK) && fcntl(fds, F_GETFD) == FD_CLOEXEC);
	touch("file");
	CHECK(events(fds) == (FAN_OPEN | FAN_CLOSE_WRITE));
	touch("quiet");
	CHECK(events(fds) == FAN_CLOSE_WRITE);
	if (names >= 0) {
		CHECK(mkdir(in_base("dir/sub"), 0755) == 0);
		CHECK(events(names) == (FAN_CREATE | FAN_ONDIR));
		touch("dir/x");
		CHECK(events(names) == FAN_CREATE);
	}
	if (whole >= 0) {
		CHECK(events(whole) == 0);
		touch("mnt/x");
		CHECK(events(whole) == (FAN_OPEN | FAN_CLOSE_WRITE));
	}
	if (perm >= 0) {
		deny(perm);
		prog_reap(child);
	}
	prog_ok();
}
