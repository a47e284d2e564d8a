/* SPDX-License-Identifier: MIT */
/*
 * resolve.c: which file objects an epoll description watches.
 *
 * fdinfo names an entry by the descriptor number it was registered with, and by
 * inode and device.  The number may long be closed or belong to another file, and
 * all anonymous files have one inode: only kcmp(2) with KCMP_EPOLL_TFD tells for sure.
 * It compares a descriptor of any process with the toff-th entry of number tfd,
 * counted in the order of fdinfo.
 */
#include "epoll.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/kcmp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "util.h"

#define EXACT_LIMIT 1000 /* entries that the kernel is asked about one by one */

struct search {
	struct cr_session *s;
	struct cr_file *f;
	const struct watch *w;
	struct kcmp_epoll_slot slot;
};

struct cr_file *epoll_plain_target(struct cr_session *s, struct cr_file *f, uint32_t tfd)
{
	struct cr_task *t;
	int fd;

	for (size_t i = 0; !s->core->file_slot(s, f, i, &t, &fd); i++) {
		struct cr_file *target = s->core->task_file(s, t, tfd);

		if (target)
			return target;
	}
	return NULL;
}

/* Next line of an interest list; 0 when there is none, -EPROTO when it cannot be read. */
static int next_watch(const char **text, struct watch *w)
{
	const char *p = strstr(*text, "tfd:");
	const char *end;

	if (!p)
		return 0;
	memset(w, 0, sizeof(*w));
	if (sscanf(p,
		   "tfd: %" SCNu32 " events: %" SCNx32 " data: %" SCNx64 " pos:%" SCNi64 " ino:%" SCNx64
		   " sdev:%" SCNx32,
		   &w->tfd, &w->events, &w->data, (int64_t *)&w->pos, &w->ino, &w->dev) != 6)
		return -EPROTO;
	end = strchr(p, '\n');
	*text = end ? end : p + strlen(p);
	return 1;
}

static int read_watches(struct cr_session *s, struct epoll *ep, const char *fdinfo)
{
	VEC(struct watch) list = { 0 };
	struct watch w;
	int ret;

	while ((ret = next_watch(&fdinfo, &w)) > 0)
		*vec_push(&list) = w;
	if (ret == 0 && list.n) {
		ep->watches = s->core->alloc(s, list.n * sizeof(w));
		memcpy(ep->watches, list.v, list.n * sizeof(w));
	}
	if (ret == 0)
		ep->n = list.n;
	vec_free(&list);
	return ret;
}

/* Is descriptor fd of process pid the watched file? 1, 0, or -errno of kcmp. */
static int is_watched(struct search *q, pid_t pid, int fd)
{
	long ret = syscall(SYS_kcmp, pid, getpid(), KCMP_EPOLL_TFD, fd, &q->slot);

	return ret < 0 ? -errno : ret == 0;
}

/* The kernel's own numbering of devices, which fdinfo shows, as stat(2) shows it. */
static dev_t device_of(const struct watch *w)
{
	return makedev(w->dev >> 20, w->dev & 0xfffff);
}

/* The same for object c, descriptor fd of t. */
static int is_watched_slot(struct search *q, struct cr_file *c, struct cr_task *t, int fd)
{
	const struct cr_core *core = q->s->core;
	const struct cr_file_info *info = core->file_info(c);
	int ret;

	/* a socket has one description only: its inode tells */
	if (S_ISSOCK(info->st.st_mode))
		return info->st.st_ino == q->w->ino && info->st.st_dev == device_of(q->w);
	ret = is_watched(q, core->task_pid(t), fd);
	if (ret == -ENOSYS || ret == -EOPNOTSUPP)
		return info->st.st_ino == q->w->ino && (uint32_t)fd == q->w->tfd;
	return ret > 0;
}

/* A task that has the file at the number it was registered with; holders of the epoll first. */
static struct cr_file *search_numbers(struct search *q)
{
	const struct cr_core *core = q->s->core;
	struct cr_task *t;
	struct cr_file *c;
	int fd;

	for (size_t i = 0; !core->file_slot(q->s, q->f, i, &t, &fd); i++) {
		c = core->task_file(q->s, t, q->w->tfd);
		if (c && is_watched_slot(q, c, t, q->w->tfd))
			return c;
	}
	for (t = core->task_next(q->s, NULL); t; t = core->task_next(q->s, t)) {
		c = core->task_file(q->s, t, q->w->tfd);
		if (c && is_watched_slot(q, c, t, q->w->tfd))
			return c;
	}
	return NULL;
}

/* Any object; ino 0: of any inode, for file systems whose stat(2) shows other numbers. */
static struct cr_file *search_objects(struct search *q, uint64_t ino)
{
	const struct cr_core *core = q->s->core;
	struct cr_task *t;
	int fd;

	for (struct cr_file *c = core->file_next(q->s, NULL); c; c = core->file_next(q->s, c)) {
		if (c == q->f || (ino && core->file_info(c)->st.st_ino != ino))
			continue;
		if (!core->file_slot(q->s, c, 0, &t, &fd)) {
			if (is_watched_slot(q, c, t, fd))
				return c;
		} else if (core->file_fd(c) >= 0 && is_watched(q, getpid(), core->file_fd(c)) > 0) {
			return c;
		}
	}
	return NULL;
}

static int resolve_one(struct search *q, struct watch *w)
{
	q->w = w;
	w->target = search_numbers(q);
	if (!w->target && w->ino)
		w->target = search_objects(q, w->ino);
	if (!w->target)
		w->target = search_objects(q, 0);
	if (w->target)
		return 0;
	return cr_refuse(q->s, "dump the process that holds the file too, or remove it from the epoll",
			 "it watches a file that no process of the tree has open: registered as descriptor %u, "
			 "inode %" PRIu64 " of device %u:%u",
			 w->tfd, w->ino, w->dev >> 20, w->dev & 0xfffff);
}

int epoll_resolve(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	struct epoll *ep = s->core->file_priv(f);
	struct search q = { .s = s, .f = f };
	int ret;

	if (read_watches(s, ep, info->fdinfo))
		return cr_refuse(s, "a kernel of 4.13 or later", "fdinfo of the epoll is not understood");
	if (lfd < 0)
		return 0;
	ret = 0;
	q.slot.efd = lfd;
	if (ep->n > EXACT_LIMIT)
		epoll_guess_targets(s, f, ep);
	for (size_t i = 0; i < ep->n; i++) {
		struct watch *w = &ep->watches[i];
		int err;

		if (w->target)
			continue;
		q.slot.tfd = w->tfd;
		q.slot.toff = 0;
		/* entries are sorted by file, not by number; equal numbers are rare */
		for (size_t j = 0; j < i; j++)
			q.slot.toff += ep->watches[j].tfd == w->tfd;
		err = resolve_one(&q, w);
		ret = ret ? ret : err;
	}
	ep->resolved = ret == 0;
	return ret;
}

int epoll_probe_kcmp(struct cr_session *s, uint64_t *ret_value)
{
	_cleanup_fd_ int ep = epoll_create1(EPOLL_CLOEXEC);
	_cleanup_fd_ int fd = eventfd(0, EFD_CLOEXEC);
	struct epoll_event ev = { .events = EPOLLIN };
	struct kcmp_epoll_slot slot = { .efd = ep, .tfd = fd };

	*ret_value = ep >= 0 && fd >= 0 && !epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) &&
		     syscall(SYS_kcmp, getpid(), getpid(), KCMP_EPOLL_TFD, fd, &slot) == 0;
	return 0;
}
