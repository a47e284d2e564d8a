/* SPDX-License-Identifier: MIT */
/*
 * queue.c: events that have not been read.
 *
 * Dump: reading takes them out of the queue, so that is done only when the tree ends with the
 * dump, as the last thing (dump_late).  Otherwise the queue is left alone, and the image says that
 * events were lost.
 *
 * Restore: the kernel takes no events from anybody.  They are brought about with watches, of the right numbers, on
 * files of a scratch directory.  Removing such a watch would add an event too, IN_IGNORED; but a queue
 * that is full, and has its overflow event in it, drops all others.  So:
 *   - the queue is filled with junk, until the overflow event is behind it;
 *   - of the junk, one more than there are events to come is read away;
 *   - the events are brought about, after which the queue is full again;
 *   - the scratch watches are removed, which leaves no trace;
 *   - what is left of the junk is read away, with the overflow event.
 * Where an event cannot be brought about, the overflow event alone remains: that is how
 * the kernel tells a program that events were lost.
 */
#include "inotify.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "inotify-event.pb-c.h"

#define QUEUE_LIMIT 200000 /* longer ones are not worth the time */
#define JUNK ((long)sizeof(struct inotify_event))
#define HARMLESS IN_MOVE_SELF /* a mask that nothing triggers */
#define NO_NUMBER (-1)

const struct cr_img_type inotify_img_events = { sizeof(inotify_img_events), "x-inotify-events", 0x494e4531, 0 };

/* ---- dump ---- */

int inotify_queued(int fd)
{
	int bytes = 0;

	return ioctl(fd, FIONREAD, &bytes) ? 0 : bytes;
}

static int write_event(struct cr_session *s, uint32_t id, const struct inotify_event *ev)
{
	InotifyEventEntry e = INOTIFY_EVENT_ENTRY__INIT;

	e.id = id;
	e.wd = ev->wd;
	e.mask = ev->mask;
	e.has_cookie = ev->cookie != 0;
	e.cookie = ev->cookie;
	e.has_name = ev->len != 0;
	e.name.data = (uint8_t *)ev->name;
	e.name.len = ev->len ? strnlen(ev->name, ev->len) : 0;
	return common_append(s, &inotify_img_events, CR_IMG_NO_ID, &e.base);
}

/* The first left bytes of the queue; what is behind them the dump itself may have caused. */
static int take_events(struct cr_session *s, uint32_t id, int fd, long left)
{
	char room[16384] __attribute__((aligned(8)));
	int err = 0;

	while (!err && left > 0 && inotify_queued(fd) > 0) {
		ssize_t n = read(fd, room, sizeof(room));

		if (n <= 0)
			return cr_fail(s, errno, "reading the events of inotify %u: %s", id, strerror(errno));
		for (ssize_t at = 0; at < n && left > 0 && !err;) {
			const struct inotify_event *ev = (const void *)(room + at);

			err = write_event(s, id, ev);
			at += JUNK + ev->len;
			left -= JUNK + ev->len;
		}
	}
	return err;
}

int inotify_queue_dump(struct cr_session *s, struct cr_file *f)
{
	static const struct inotify_event lost = { .wd = NO_NUMBER, .mask = IN_Q_OVERFLOW };
	const struct inotify *in = s->core->file_priv(f);
	int fd = s->core->file_fd(f);
	uint32_t id = s->core->file_id(f);

	if (in->queued <= 0 || fd < 0)
		return 0;
	if (!s->core->option_flag(s, "leave-running") && !s->core->option_flag(s, "leave-stopped")) {
		int err = inotify_undo_record(s, fd, in->queued);

		return err < 0 ? err : take_events(s, id, fd, in->queued);
	}
	cr_lost(s, NULL, "inotify %u: %d bytes of events that have not been read stay with the tree that goes on; a restore "
		"from these "
		   "images has an overflow event in their place", id, in->queued);
	return write_event(s, id, &lost);
}

/* ---- restore ---- */

/* A name that stays inside a directory. */
static int is_name(const ProtobufCBinaryData *n)
{
	const char *p = (const char *)n->data;

	return n->len && n->len <= NAME_MAX && !memchr(p, '/', n->len) && !memchr(p, 0, n->len) &&
	       !(n->len == 1 && p[0] == '.') && !(n->len == 2 && p[0] == '.' && p[1] == '.');
}

static int is_sane(const InotifyEventEntry *e)
{
	return (e->wd >= 1 || (e->mask & IN_Q_OVERFLOW)) && (!e->has_name || is_name(&e->name));
}

int inotify_queue_load(struct cr_session *s, saved_events *ret)
{
	struct cr_reader *r;
	InotifyEventEntry *e;
	int err = s->core->img_open(s, &inotify_img_events, CR_IMG_NO_ID, &r);

	if (err < 0)
		return err == -ENOENT ? 0 : err;
	while ((err = common_next(s, r, &inotify_event_entry__descriptor, (void **)&e)) > 0) {
		struct saved_event *ev = vec_push(ret);

		*ev = (struct saved_event){ .id = e->id, .wd = e->wd, .mask = e->mask, .cookie = e->cookie };
		if (e->has_name)
			memcpy(ev->name, e->name.data, MIN_OF(e->name.len, (size_t)NAME_MAX));
		if (!is_sane(e))
			err = cr_fail(s, EPROTO, "x-inotify-events.img: event %zu makes no sense", ret->n - 1);
		common_free_msg(e);
		if (err < 0)
			break;
	}
	s->core->img_close(r);
	return err;
}

/* What stands in for a watched file: a file or directory of the scratch directory with the watch's number. */
struct stand_in {
	int wd;
	int is_dir, alive;
	char path[64]; /* in the scratch directory */
};

struct maker {
	struct cr_session *s;
	int fd;		 /* the inotify */
	char dir[32];	 /* scratch directory */
	int dirfd;
	VEC(struct stand_in) stand_ins;
	unsigned int seq;
};

static int set_next(int fd, int wd)
{
	return ioctl(fd, INOTIFY_IOC_SETNEXTWD, wd);
}

static int watch_path(struct maker *m, const char *name, uint32_t mask)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", m->dir, name);
	return inotify_add_watch(m->fd, path, mask);
}

static int make_empty(int dir, const char *name, int is_dir)
{
	int fd;

	if (is_dir)
		return mkdirat(dir, name, 0700);
	fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, "x", 1) != 1)
		return -1;
	return close(fd);
}

/* The stand-in of wd, made on first use. NULL: cannot be made. */
static struct stand_in *stand_in_of(struct maker *m, const struct saved_event *ev, size_t n, int wd)
{
	struct stand_in *si;

	for (size_t i = 0; i < m->stand_ins.n; i++)
		if (m->stand_ins.v[i].wd == wd)
			return m->stand_ins.v[i].alive ? &m->stand_ins.v[i] : NULL;
	si = vec_push(&m->stand_ins);
	si->wd = wd;
	for (size_t i = 0; i < n; i++)
		si->is_dir |= ev[i].wd == wd && (*ev[i].name || (ev[i].mask & IN_ISDIR));
	snprintf(si->path, sizeof(si->path), "w%u", m->seq++);
	if (make_empty(m->dirfd, si->path, si->is_dir) || set_next(m->fd, wd) ||
	    watch_path(m, si->path, HARMLESS) != wd)
		return NULL;
	si->alive = 1;
	return si;
}

/* Makes one event of a kind that touches name in dir, watched by si. 0 or -1. */
static int touch(struct maker *m, struct stand_in *si, const struct saved_event *ev, int dir, const char *name)
{
	int is_dir = (ev->mask & IN_ISDIR) != 0, mode = is_dir ? O_RDONLY | O_DIRECTORY : O_RDWR, fd, ret = 0;
	uint32_t what = ev->mask & IN_ALL_EVENTS;
	char room[4096];

	if (what == IN_CLOSE_NOWRITE || (what == IN_OPEN && !is_dir))
		mode = is_dir ? mode : O_RDONLY;
	if (what == IN_OPEN && watch_path(m, si->path, what) < 0)
		return -1;
	fd = openat(dir, name, mode | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -1;
	if (what != IN_OPEN && watch_path(m, si->path, what) < 0)
		ret = -1;
	if (!ret && what == IN_MODIFY)
		ret = write(fd, "y", 1) == 1 ? 0 : -1;
	else if (!ret && what == IN_ATTRIB)
		ret = fchmod(fd, 0750);
	else if (!ret && what == IN_ACCESS && is_dir)
		ret = getdents64(fd, room, sizeof(room)) > 0 ? 0 : -1;
	else if (!ret && what == IN_ACCESS)
		ret = read(fd, room, 1) == 1 ? 0 : -1;
	if (what != IN_CLOSE_WRITE && what != IN_CLOSE_NOWRITE && watch_path(m, si->path, HARMLESS) < 0)
		ret = -1;
	close(fd);
	return watch_path(m, si->path, HARMLESS) < 0 ? -1 : ret;
}

static int open_stand_in(struct maker *m, const struct stand_in *si)
{
	return openat(m->dirfd, si->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* An event about name in the directory si. */
static int make_named(struct maker *m, struct stand_in *si, const struct saved_event *ev)
{
	_cleanup_fd_ int dir = open_stand_in(m, si);
	int is_dir = (ev->mask & IN_ISDIR) != 0, ret;
	uint32_t what = ev->mask & IN_ALL_EVENTS;
	char aside[32];

	snprintf(aside, sizeof(aside), "a%u", m->seq++);
	if (dir < 0)
		return -1;
	/* what may be left of an earlier event */
	if (faccessat(dir, ev->name, F_OK, AT_SYMLINK_NOFOLLOW) == 0 && renameat(dir, ev->name, m->dirfd, aside))
		return -1;
	snprintf(aside, sizeof(aside), "a%u", m->seq++);
	if (what != IN_CREATE && make_empty(what == IN_MOVED_TO ? m->dirfd : dir, what == IN_MOVED_TO ? aside : ev->name, is_dir))
		return -1;
	if (what != IN_CREATE && what != IN_DELETE && what != IN_MOVED_TO && what != IN_MOVED_FROM)
		return touch(m, si, ev, dir, ev->name);
	if (watch_path(m, si->path, what) < 0)
		return -1;
	if (what == IN_CREATE)
		ret = is_dir ? mkdirat(dir, ev->name, 0700) : mknodat(dir, ev->name, S_IFREG | 0600, 0);
	else if (what == IN_DELETE)
		ret = unlinkat(dir, ev->name, is_dir ? AT_REMOVEDIR : 0);
	else if (what == IN_MOVED_TO)
		ret = renameat(m->dirfd, aside, dir, ev->name);
	else
		ret = renameat(dir, ev->name, m->dirfd, aside);
	return watch_path(m, si->path, HARMLESS) < 0 ? -1 : ret;
}

/* Two events of one rename, which share their cookie. */
static int make_pair(struct maker *m, struct stand_in *from, struct stand_in *to, const struct saved_event *ev)
{
	_cleanup_fd_ int a = open_stand_in(m, from);
	_cleanup_fd_ int b = open_stand_in(m, to);
	char aside[32];
	int ret = -1;

	for (int i = 0; i < 2 && a >= 0 && b >= 0; i++) {
		snprintf(aside, sizeof(aside), "a%u", m->seq++);
		renameat(i ? b : a, ev[i].name, m->dirfd, aside);
	}
	if (a < 0 || b < 0 || make_empty(a, ev[0].name, (ev[0].mask & IN_ISDIR) != 0))
		return -1;
	if (watch_path(m, from->path, IN_MOVED_FROM) >= 0 && watch_path(m, to->path, IN_MOVED_TO | IN_MASK_ADD) >= 0)
		ret = renameat(a, ev[0].name, b, ev[1].name);
	return watch_path(m, from->path, HARMLESS) < 0 || watch_path(m, to->path, HARMLESS) < 0 ? -1 : ret;
}

/* An event about the watched file itself. The number of events made, or -1. */
static int make_own(struct maker *m, struct stand_in *si, const struct saved_event *ev, size_t left)
{
	uint32_t what = ev->mask & IN_ALL_EVENTS;
	char old[sizeof(si->path)];

	if (ev->mask & IN_IGNORED) {
		si->alive = 0;
		return inotify_rm_watch(m->fd, si->wd) ? -1 : 1;
	}
	if (what == IN_MOVE_SELF) {
		memcpy(old, si->path, sizeof(old));
		snprintf(si->path, sizeof(si->path), "w%u", m->seq++);
		return renameat(m->dirfd, old, m->dirfd, si->path) ? -1 : 1;
	}
	if (what == IN_DELETE_SELF) {
		/* the watch goes with the file */
		if (left < 2 || !(ev[1].mask & IN_IGNORED) || ev[1].wd != ev->wd || watch_path(m, si->path, what) < 0)
			return -1;
		si->alive = 0;
		return unlinkat(m->dirfd, si->path, si->is_dir ? AT_REMOVEDIR : 0) ? -1 : 2;
	}
	return touch(m, si, ev, m->dirfd, si->path) ? -1 : 1;
}

/* Makes ev[i] and perhaps what belongs to it. The number of events made, or -1. */
static int make_event(struct maker *m, const struct saved_event *ev, size_t n, size_t i)
{
	struct stand_in *si = stand_in_of(m, ev, n, ev[i].wd), *to;
	uint32_t what = ev[i].mask & IN_ALL_EVENTS;
	size_t from;

	if (!si || (what & (what - 1)) || (!what && !(ev[i].mask & IN_IGNORED)))
		return -1;
	if (!*ev[i].name)
		return make_own(m, si, &ev[i], n - i);
	if (what != IN_MOVED_FROM || i + 1 == n || ev[i + 1].cookie != ev[i].cookie || !(ev[i + 1].mask & IN_MOVED_TO))
		return make_named(m, si, &ev[i]) ? -1 : 1;
	from = (size_t)(si - m->stand_ins.v);
	to = stand_in_of(m, ev, n, ev[i + 1].wd);
	return !to || make_pair(m, &m->stand_ins.v[from], to, &ev[i]) ? -1 : 2;
}

/* Reads that many events without a name away. */
static int drop(int fd, long events)
{
	char room[256 * sizeof(struct inotify_event)];

	while (events > 0) {
		ssize_t n = read(fd, room, (size_t)(MIN_OF(events, 256l) * JUNK));

		if (n <= 0)
			return -1;
		events -= n / JUNK;
	}
	return 0;
}

/* Fills the queue until there is an overflow event behind max others. */
static int fill(struct maker *m, long max)
{
	if (make_empty(m->dirfd, "junk", 0) || watch_path(m, "junk", IN_OPEN | IN_CLOSE_NOWRITE) < 0)
		return -1;
	for (long i = 0; i < max / 2 + 2; i++) {
		int fd = openat(m->dirfd, "junk", O_RDONLY | O_CLOEXEC);

		if (fd < 0)
			return -1;
		close(fd);
	}
	return inotify_queued(m->fd) == (max + 1) * JUNK ? 0 : -1;
}

static long max_events(void)
{
	_cleanup_buf_ struct buf b = { 0 };

	return read_file(AT_FDCWD, "/proc/sys/fs/inotify/max_queued_events", &b) < 0 ? 0 : atol(b.p);
}

static long bytes_of(const struct saved_event *ev, size_t n)
{
	long sum = 0;

	for (size_t i = 0; i < n; i++)
		/* the kernel pads names to a multiple of its header, with at least one NUL */
		sum += JUNK + (*ev[i].name ? (long)(strlen(ev[i].name) + JUNK) / JUNK * JUNK : 0);
	return sum;
}

static void remove_watches(struct maker *m, int junk)
{
	for (size_t i = 0; i < m->stand_ins.n; i++)
		if (m->stand_ins.v[i].alive)
			inotify_rm_watch(m->fd, m->stand_ins.v[i].wd);
	inotify_rm_watch(m->fd, junk);
}

/* 0: the queue is as it was; 1: it has an overflow event instead; -1: neither. */
static int make_all(struct maker *m, const struct saved_event *ev, size_t n, int free_wd)
{
	long max = max_events();
	int made = 0, exact = (long)n < max - 2;

	if (max <= 0 || max > QUEUE_LIMIT || set_next(m->fd, free_wd) || fill(m, max))
		return -1;
	for (size_t i = 0; i < n; i++)
		exact &= !(ev[i].mask & (IN_Q_OVERFLOW | IN_UNMOUNT));
	if (exact && drop(m->fd, (long)n + 1))
		return -1;
	for (size_t i = 0; exact && i < n; i += (size_t)made) {
		made = make_event(m, ev, n, i);
		exact = made > 0;
	}
	if (exact && inotify_queued(m->fd) == (max - (long)n) * JUNK + bytes_of(ev, n)) {
		remove_watches(m, free_wd);
		return drop(m->fd, max - (long)n);
	}
	return 1;
}

/* The queue with an overflow event alone. */
static int only_overflow(struct maker *m, int free_wd)
{
	long max = max_events();

	if (set_next(m->fd, free_wd) || fill(m, max))
		return -1;
	inotify_rm_watch(m->fd, free_wd);
	return drop(m->fd, max);
}

static void remove_tree(int dirfd)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_dir_ DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;

	while (d && (de = readdir(d))) {
		_cleanup_fd_ int sub = -1;

		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, "..") || unlinkat(dirfd, de->d_name, 0) == 0)
			continue;
		sub = openat(dirfd, de->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub >= 0)
			remove_tree(sub);
		unlinkat(dirfd, de->d_name, AT_REMOVEDIR);
	}
}

static int maker_init(struct maker *m, struct cr_session *s, int fd)
{
	*m = (struct maker){ .s = s, .fd = fd, .dirfd = -1 };
	strcpy(m->dir, "/tmp/stasis-inotify.XXXXXX");
	if (!mkdtemp(m->dir)) {
		strcpy(m->dir, "/dev/shm/stasis-inotify.XXXXXX");
		if (!mkdtemp(m->dir))
			return -1;
	}
	m->dirfd = open(m->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return m->dirfd < 0 ? -1 : 0;
}

static void maker_fini(struct maker *m)
{
	if (m->dirfd >= 0) {
		remove_tree(m->dirfd);
		close(m->dirfd);
		rmdir(m->dir);
	}
	vec_free(&m->stand_ins);
}

/* A number that no event and no watch has. */
static int free_number(const struct inotify *in, const struct saved_event *ev, size_t n)
{
	int top = in->n ? in->watches[in->n - 1].wd : 0;

	for (size_t i = 0; i < n; i++)
		top = MAX_OF(top, ev[i].wd);
	return top < INT_MAX - 2 ? top + 1 : 1;
}

int inotify_queue_overflow(int fd, int spare)
{
	struct maker m;
	int r = -1;

	if (maker_init(&m, NULL, fd) == 0) {
		inotify_drain(fd);
		r = only_overflow(&m, spare);
	}
	maker_fini(&m);
	return r ? -EIO : 0;
}

void inotify_queue_restore(struct cr_session *s, struct cr_file *f, int fd, const struct inotify *in,
			   const struct saved_event *ev, size_t n)
{
	int spare = free_number(in, ev, n), r = -1;
	struct maker m;

	if (maker_init(&m, s, fd) == 0)
		r = make_all(&m, ev, n, spare);
	if (r > 0) {
		/* its watches would leave IN_IGNORED behind: away with all of it */
		remove_watches(&m, spare);
		inotify_drain(fd);
		remove_tree(m.dirfd);
		r = only_overflow(&m, spare) ? -1 : 1;
	}
	maker_fini(&m);
	if (r > 0 && !(ev[n - 1].mask & IN_Q_OVERFLOW))
		cr_lost(s, NULL, "inotify %u: %zu events cannot be given back; the program gets an overflow event instead",
			s->core->file_id(f), n);
	if (r < 0) {
		inotify_drain(fd);
		cr_lost(s, NULL, "inotify %u: %zu events that had not been read are lost", s->core->file_id(f), n);
	}
}
