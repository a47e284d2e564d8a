/* SPDX-License-Identifier: MIT */
/*
 * facts.c: what can be found out about a ring from outside.
 *
 * fdinfo tells sizes, counters, registered files (their names) and buffers, requests that wait
 * for an event, and the polling thread.  How the ring was set up it does not tell; what matters
 * of that shows in how calls by somebody else, the engine, fail:
 *  - io_uring_register() by another task than the only one allowed gives EEXIST (SINGLE_ISSUER);
 *    so does io_uring_enter() for events, when only that one may run the completions (DEFER_TASKRUN);
 *  - io_uring_enter() on a ring that is not enabled yet gives EBADFD (R_DISABLED);
 *  - a ring in memory of the program (NO_MMAP) cannot be mapped.
 */
#include "uring.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define TRIES 50
#define REGISTER_PBUF_STATUS 26 /* Linux 6.8 */
#define BUFFER_GROUPS 1024

struct pbuf_status {
	uint32_t group, head, resv[8];
};

int uring_setup(uint32_t entries, struct io_uring_params *p)
{
	int fd = syscall(SYS_io_uring_setup, entries, p);

	return fd < 0 ? -errno : fd;
}

int uring_register(int fd, uint32_t op, const void *arg, uint32_t n)
{
	int r = syscall(SYS_io_uring_register, fd, op, arg, n);

	return r < 0 ? -errno : r;
}

int uring_enter(int fd, uint32_t submit, uint32_t wait, uint32_t flags)
{
	int r = syscall(SYS_io_uring_enter, fd, submit, wait, flags, NULL, 0);

	return r < 0 ? -errno : r;
}

static char *map(int fd, size_t bytes, uint64_t off)
{
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, (off_t)off);

	return p == MAP_FAILED ? NULL : p;
}

int uring_map(int fd, struct uring_map *m)
{
	size_t array = m->p.sq_off.array + m->p.sq_entries * sizeof(uint32_t);
	size_t cqes = m->p.cq_off.cqes + m->p.cq_entries * sizeof(struct io_uring_cqe);

	m->ring_bytes = MAX_OF(array, cqes);
	m->sqes_bytes = m->p.sq_entries * sizeof(struct io_uring_sqe);
	m->ring = map(fd, m->ring_bytes, IORING_OFF_SQ_RING);
	if (!m->ring) { /* it may have no array of requests */
		m->ring_bytes = cqes;
		m->ring = map(fd, cqes, IORING_OFF_SQ_RING);
	}
	m->sqes = m->ring ? map(fd, m->sqes_bytes, IORING_OFF_SQES) : NULL;
	if (m->sqes)
		return 0;
	uring_unmap(m);
	return -errno;
}

void uring_unmap(struct uring_map *m)
{
	int err = errno;

	if (m->ring)
		munmap(m->ring, m->ring_bytes);
	if (m->sqes)
		munmap(m->sqes, m->sqes_bytes);
	m->ring = m->sqes = NULL;
	errno = err;
}

/* ---- fdinfo ---- */

/* The value behind "\nKey:"; 0 or -EPROTO. base 0: as written. */
static int number(const char *text, const char *key, int64_t *ret)
{
	char name[40];
	const char *p;
	char *end;

	snprintf(name, sizeof(name), "\n%s:", key);
	p = strstr(text, name);
	if (!p)
		return -EPROTO;
	p += strlen(name);
	*ret = strtoll(p, &end, 0);
	return end == p ? -EPROTO : 0;
}

/* First line below "\nKey:" that begins with a blank, else NULL. */
static const char *list(const char *text, const char *key)
{
	char name[40];
	const char *p;

	snprintf(name, sizeof(name), "\n%s:", key);
	p = strstr(text, name);
	p = p ? strchr(p + 1, '\n') : NULL;
	return p && p[1] == ' ' ? p + 1 : NULL;
}

static const char *next_line(const char *line)
{
	const char *p = strchr(line, '\n');

	return p && p[1] == ' ' ? p + 1 : NULL;
}

static uint32_t count_lines(const char *line)
{
	uint32_t n = 0;

	for (; line; line = next_line(line))
		n++;
	return n;
}

int uring_parse(const char *text, struct uring_facts *ret)
{
	static const char *const keys[] = { "SqMask", "CqMask", "SqHead", "SqTail", "CachedSqHead", "CqHead", "CqTail",
					    "CachedCqTail" };
	int64_t v[ARRAY_SIZE(keys)], poller = -1, files;
	const char *polls = list(text, "PollList");

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (number(text, keys[i], &v[i]) < 0)
			return -EPROTO;
	number(text, "SqThread", &poller);
	*ret = (struct uring_facts){
		.sq_entries = (uint32_t)v[0] + 1, .cq_entries = (uint32_t)v[1] + 1, .sq_head = (uint32_t)v[2],
		.sq_tail = (uint32_t)v[3], .sq_count = (uint32_t)v[4], .cq_head = (uint32_t)v[5],
		.cq_tail = (uint32_t)v[6], .cq_count = (uint32_t)v[7], .poll_tid = (int32_t)poller,
		.polls = count_lines(polls), .overflown = count_lines(list(text, "CqOverflowList")),
		.complete = number(text, "UserFiles", &files) == 0,
	};
	if (polls)
		snprintf(ret->first_poll, sizeof(ret->first_poll), "%.*s", (int)strcspn(polls + strspn(polls, " "), ",\n"),
			 polls + strspn(polls, " "));
	if (!ret->sq_entries || ret->sq_entries > URING_MAX_ENTRIES || !ret->cq_entries ||
	    ret->cq_entries > 2 * URING_MAX_ENTRIES)
		return -EPROTO;
	return 0;
}

int uring_fdinfo(int fd, struct buf *ret)
{
	char path[40];
	int err;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	ret->len = 0;
	err = read_file(AT_FDCWD, path, ret);
	buf_add(ret, "", 1);
	return err;
}

int uring_read(int fd, struct uring_facts *ret)
{
	const struct timespec nap = { 0, 1000000 };
	_cleanup_buf_ struct buf text = { 0 };
	int err = 0;

	for (int i = 0; i < TRIES; i++) {
		err = uring_fdinfo(fd, &text);
		if (!err)
			err = uring_parse(text.p, ret);
		if (err || ret->complete)
			break;
		nanosleep(&nap, NULL); /* somebody had the ring's lock */
	}
	return err;
}

/* ---- how it was set up ---- */

int uring_probe_setup(struct cr_session *s, int fd, const struct uring_facts *f, uint32_t *ret)
{
	struct io_uring_params p = { .flags = IORING_SETUP_CQSIZE, .cq_entries = f->cq_entries };
	struct { struct io_uring_probe head; struct io_uring_probe_op ops[1]; } probe = { 0 };
	struct uring_map m = { 0 };
	_cleanup_fd_ int twin = uring_setup(f->sq_entries, &p);
	uint32_t setup = f->poll_tid >= 0 ? IORING_SETUP_SQPOLL : 0;
	int r;

	if (twin < 0)
		return cr_fail(s, -twin, "io_uring_setup: %s", strerror(-twin));
	m.p = p;
	r = uring_map(fd, &m);
	uring_unmap(&m);
	if (r < 0)
		return cr_refuse(s, "let the program make its ring without IORING_SETUP_NO_MMAP",
				 "the ring cannot be mapped: it is in memory of the program");
	r = uring_register(fd, IORING_REGISTER_PROBE, &probe, 1);
	if (r == -EACCES)
		return cr_refuse(s, "let the program do without IORING_REGISTER_RESTRICTIONS",
				 "the ring has restrictions, which cannot be read");
	if (r == -EEXIST)
		setup |= IORING_SETUP_SINGLE_ISSUER;
	if (!(setup & IORING_SETUP_SQPOLL)) {
		r = uring_enter(fd, 0, 0, IORING_ENTER_GETEVENTS);
		if (r == -EBADFD)
			setup |= IORING_SETUP_R_DISABLED;
		if (r == -EEXIST)
			setup |= IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
	} else if (uring_enter(fd, 0, 0, 0) == -EBADFD) {
		setup |= IORING_SETUP_R_DISABLED;
	}
	*ret = setup;
	return 0;
}

/* ---- what is registered ---- */

/* The one file of the tree with that name; 0 with NULL: none. -EEXIST: several. */
static int find_file(struct cr_session *s, const char *name, size_t len, struct cr_file **ret)
{
	*ret = NULL;
	for (struct cr_file *f = s->core->file_next(s, NULL); f; f = s->core->file_next(s, f)) {
		const struct cr_file_info *i = s->core->file_info(f);

		if (!i || i->source != CR_SRC_FD || strlen(i->link) != len || memcmp(i->link, name, len))
			continue;
		if (*ret)
			return -EEXIST;
		*ret = f;
	}
	return 0;
}

static int take_file(struct cr_session *s, const char *line, uring_msg *msg)
{
	struct cr_file *f;
	unsigned at;
	int used = 0, err;
	size_t len;

	if (sscanf(line, " %u: %n", &at, &used) != 1 || !used || at >= msg->n_files)
		return cr_fail(s, EPROTO, "fdinfo of a ring lists file %.40s", line);
	len = strcspn(line + used, "\n");
	if (len == 6 && !memcmp(line + used, "<none>", 6))
		return 0;
	err = find_file(s, line + used, len, &f);
	if (!err && f) {
		msg->files[at] = s->core->file_id(f);
		return 0;
	}
	return cr_refuse(s, "let the program keep one descriptor of it open",
			 err ? "file %u registered with the ring is called %.*s, as are several files of the tree" :
			       "file %u registered with the ring, %.*s, is not open otherwise in the tree",
			 at, (int)len, line + used);
}

static int take_files(struct cr_session *s, const char *text, uring_msg *msg)
{
	int64_t n = 0;
	int err = number(text, "UserFiles", &n);

	if (err || n <= 0)
		return 0;
	msg->n_files = MIN_OF(n, (int64_t)1 << 20);
	msg->files = s->core->alloc(s, msg->n_files * sizeof(*msg->files));
	for (const char *l = list(text, "UserFiles"); l && !err; l = next_line(l))
		err = take_file(s, l, msg);
	return err;
}

static int take_buffers(struct cr_session *s, const char *text, uring_msg *msg)
{
	int64_t n = 0;

	if (number(text, "UserBufs", &n) || n <= 0)
		return 0;
	msg->n_buffers = MIN_OF(n, (int64_t)1 << 16);
	msg->buffers = s->core->alloc(s, msg->n_buffers * sizeof(*msg->buffers));
	for (size_t i = 0; i < msg->n_buffers; i++) {
		msg->buffers[i] = s->core->alloc(s, sizeof(**msg->buffers));
		x_io_uring_buffer__init(msg->buffers[i]);
	}
	for (const char *l = list(text, "UserBufs"); l; l = next_line(l)) {
		uint64_t addr, len;
		unsigned at;

		if (sscanf(l, " %u: 0x%" SCNx64 "/%" SCNu64, &at, &addr, &len) != 3 || at >= msg->n_buffers)
			continue; /* an empty place */
		msg->buffers[at]->addr = addr;
		msg->buffers[at]->len = len;
	}
	return 0;
}

static int refuse_groups(struct cr_session *s, int fd)
{
	for (uint32_t i = 0; i < BUFFER_GROUPS; i++) {
		struct pbuf_status st = { .group = i };
		int r = uring_register(fd, REGISTER_PBUF_STATUS, &st, 1);

		if (r == -ENOENT)
			continue;
		if (r < 0 && i == 0)
			return 0; /* an older kernel */
		return cr_refuse(s, "let the program take back its provided buffers before the dump",
				 "the ring has buffers of group %u provided, whose place cannot be read", i);
	}
	return 0;
}

/*
 * Numbers of registered credentials are given out in turn: whoever gets the first one knows that there has been none. A
 * higher one says only that somebody has registered some before, which may have been an earlier dump asking this.
 */
static void warn_personalities(struct cr_session *s, int fd)
{
	int id = uring_register(fd, IORING_REGISTER_PERSONALITY, NULL, 0);

	if (id < 0)
		return;
	uring_register(fd, IORING_UNREGISTER_PERSONALITY, NULL, (uint32_t)id);
	if (id > 1)
		cr_lost(s, NULL, "io_uring: if the program has registered credentials with the ring "
			"(IORING_REGISTER_PERSONALITY), "
			   "they are not kept");
}

/* Is one registered? Which cannot be told: the only one that is open. */
static int take_eventfd(struct cr_session *s, int fd, uring_msg *msg)
{
	static const char name[] = "anon_inode:[eventfd]";
	_cleanup_fd_ int ours = eventfd(0, EFD_CLOEXEC);
	struct cr_file *f;
	int r = uring_register(fd, IORING_REGISTER_EVENTFD, &ours, 1);

	if (r >= 0)
		uring_register(fd, IORING_UNREGISTER_EVENTFD, NULL, 0);
	if (r != -EBUSY)
		return 0;
	r = find_file(s, name, sizeof(name) - 1, &f);
	if (r < 0 || !f)
		return cr_refuse(s, "let the program unregister it (IORING_UNREGISTER_EVENTFD)",
				 "an eventfd is registered with the ring, and it cannot be told which");
	msg->has_eventfd = 1;
	msg->eventfd = s->core->file_id(f);
	return 0;
}

int uring_registered(struct cr_session *s, struct cr_file *f, int fd, uint32_t setup, uring_msg *msg)
{
	_cleanup_buf_ struct buf text = { 0 };
	int err = uring_fdinfo(fd, &text);

	if (err)
		return cr_fail(s, -err, "fdinfo of the ring: %s", strerror(-err));
	err = take_files(s, text.p, msg);
	if (!err)
		err = take_buffers(s, text.p, msg);
	/* the kernel lets nobody else ask the rest */
	if (err || setup & IORING_SETUP_SINGLE_ISSUER)
		return err;
	err = refuse_groups(s, fd);
	if (!err)
		warn_personalities(s, fd);
	return err ? err : take_eventfd(s, fd, msg);
}
