/* SPDX-License-Identifier: MIT */
/*
 * facts.c: what fdinfo tells about a ring: sizes, counters, registered files (their names) and buffers, requests that
 * wait for an event, and the polling thread; and what else is registered.
 */
#include "uring.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define TRIES 50
#define REGISTER_PBUF_STATUS 26 /* Linux 6.8 */
#define BUFFER_GROUPS 4096u
#define BUFFER_GROUPS_ASKED 256u /* of another task: each is a call that it has to make */

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
	size_t cqe = sizeof(struct io_uring_cqe) << !!(m->p.flags & IORING_SETUP_CQE32);
	size_t cqes = m->p.cq_off.cqes + m->p.cq_entries * cqe;
	size_t array = m->p.flags & IORING_SETUP_NO_SQARRAY ? 0 : m->p.sq_off.array + m->p.sq_entries * sizeof(uint32_t);

	m->ring_bytes = MAX_OF(array, cqes);
	m->sqes_bytes = m->p.sq_entries * sizeof(struct io_uring_sqe) << !!(m->p.flags & IORING_SETUP_SQE128);
	m->ring = map(fd, m->ring_bytes, IORING_OFF_SQ_RING);
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

const char *uring_list(const char *text, const char *key)
{
	char name[40];
	const char *p;

	snprintf(name, sizeof(name), "\n%s:", key);
	p = strstr(text, name);
	p = p ? strchr(p + 1, '\n') : NULL;
	return p && p[1] == ' ' ? p + 1 : NULL;
}

const char *uring_next_line(const char *line)
{
	const char *p = strchr(line, '\n');

	return p && p[1] == ' ' ? p + 1 : NULL;
}

static uint32_t count_lines(const char *line)
{
	uint32_t n = 0;

	for (; line; line = uring_next_line(line))
		n++;
	return n;
}

int uring_parse(const char *text, struct uring_facts *ret)
{
	static const char *const keys[] = { "SqMask", "CqMask", "SqHead", "SqTail", "CachedSqHead", "CqHead", "CqTail",
					    "CachedCqTail" };
	int64_t v[ARRAY_SIZE(keys)], poller = -1, files;
	const char *polls = uring_list(text, "PollList");

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (number(text, keys[i], &v[i]) < 0)
			return -EPROTO;
	number(text, "SqThread", &poller);
	*ret = (struct uring_facts){
		.sq_entries = (uint32_t)v[0] + 1, .cq_entries = (uint32_t)v[1] + 1, .sq_head = (uint32_t)v[2],
		.sq_tail = (uint32_t)v[3], .sq_count = (uint32_t)v[4], .cq_head = (uint32_t)v[5],
		.cq_tail = (uint32_t)v[6], .cq_count = (uint32_t)v[7], .poll_tid = (int32_t)poller,
		.polls = count_lines(polls), .overflown = count_lines(uring_list(text, "CqOverflowList")),
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
	for (const char *l = uring_list(text, "UserFiles"); l && !err; l = uring_next_line(l))
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
	for (const char *l = uring_list(text, "UserBufs"); l; l = uring_next_line(l)) {
		uint64_t addr, len;
		unsigned at;

		if (sscanf(l, " %u: 0x%" SCNx64 "/%" SCNu64, &at, &addr, &len) != 3 || at >= msg->n_buffers)
			continue; /* an empty place */
		msg->buffers[at]->addr = addr;
		msg->buffers[at]->len = len;
	}
	return 0;
}

/* Does this kernel answer that question? It does when it knows that a new ring has none. */
static int knows_groups(void)
{
	struct io_uring_params p = { .flags = 0 };
	struct pbuf_status st = { .group = 0 };
	_cleanup_fd_ int twin = uring_setup(1, &p);

	return twin >= 0 && uring_register(twin, REGISTER_PBUF_STATUS, &st, 1) == -ENOENT;
}

static int refuse_groups(struct cr_session *s, int fd, const struct uring_issuer *who)
{
	uint32_t groups = who->task ? BUFFER_GROUPS_ASKED : BUFFER_GROUPS;

	if (!knows_groups())
		return 0;
	for (uint32_t i = 0; i < groups; i++) {
		struct pbuf_status st = { .group = i };
		int r = uring_ask(s, fd, who, REGISTER_PBUF_STATUS, &st, sizeof(st), 1);

		if (r == -ENOTTY) {
			cr_lost(s, NULL, "io_uring: buffers provided to a ring, if there are any: its task has not mapped it");
			return 0;
		}
		if (r == -ENOENT)
			continue;
		return cr_refuse(s, "let the program take back its provided buffers before the dump",
				 "the ring has buffers of group %u provided, whose place cannot be read", i);
	}
	return 0;
}

/*
 * Kernels up to 6.12 print registered credentials. Of others: numbers are given out in turn, so whoever gets the first one
 * knows that there has been none. A higher one says only that somebody has registered some before, which may have been
 * an earlier dump asking this.
 */
static void warn_personalities(struct cr_session *s, int fd, const struct uring_issuer *who, const char *text)
{
	int id = strstr(text, "\nPersonalities:") ? 0 : uring_ask(s, fd, who, IORING_REGISTER_PERSONALITY, NULL, 0, 0);

	if (id < 0)
		return;
	if (id)
		uring_ask(s, fd, who, IORING_UNREGISTER_PERSONALITY, NULL, 0, (uint32_t)id);
	if (id != 1)
		cr_lost(s, NULL, "io_uring: credentials that the program %sregistered with a ring (IORING_REGISTER_PERSONALITY)",
			id ? "may have " : "");
}

/* Is one registered? Which cannot be told: the only one that is open. */
static int take_eventfd(struct cr_session *s, int fd, const struct uring_issuer *who, uring_msg *msg)
{
	static const char name[] = "anon_inode:[eventfd]";
	struct cr_file *f;
	int r = uring_ask(s, fd, who, IORING_REGISTER_EVENTFD, NULL, 0, 1);

	if (r != -EBUSY) /* EFAULT: there would be room */
		return 0;
	r = find_file(s, name, sizeof(name) - 1, &f);
	if (r < 0 || !f)
		return cr_refuse(s, "let the program unregister it (IORING_UNREGISTER_EVENTFD)",
				 "an eventfd is registered with the ring, and it cannot be told which");
	msg->has_eventfd = 1;
	msg->eventfd = s->core->file_id(f);
	return 0;
}

int uring_registered(struct cr_session *s, int fd, const struct uring_issuer *who, uring_msg *msg)
{
	_cleanup_buf_ struct buf text = { 0 };
	int err = uring_fdinfo(fd, &text);

	if (err)
		return cr_fail(s, -err, "fdinfo of the ring: %s", strerror(-err));
	err = take_files(s, text.p, msg);
	if (!err)
		err = take_buffers(s, text.p, msg);
	if (!err && !(who->task && who->fd < 0)) /* nobody left who may use what else there is */
		err = refuse_groups(s, fd, who);
	if (err || (who->task && who->fd < 0))
		return err;
	if (strstr(text.p, "\nNAPI:\tenabled"))
		cr_lost(s, NULL, "io_uring: that a ring polls network devices (IORING_REGISTER_NAPI)");
	warn_personalities(s, fd, who, text.p);
	return take_eventfd(s, fd, who, msg);
}
