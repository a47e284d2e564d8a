/* SPDX-License-Identifier: MIT */
/*
 * range.c: memory that is registered with a userfaultfd.
 *
 * The engine keeps the memory like any other, pages of zeros too: a page that is not there is for the
 * program to bring.  What the filling of memory made present around them (huge pages) goes again,
 * then the task registers the range and protects what was protected.
 */
#include "uffd.h"

#include <errno.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util.h"

#define PAGE 4096u
#define WORDS 512
#define PRESENT (3ull << 62) /* or in swap */
#define PROTECTED (1ull << 57)

struct range {
	XUserfaultfdRange *msg;
	struct cr_file *file;
};

static uint64_t mode_of(const struct cr_vma_info *info)
{
	return (strstr(info->vmflags, " um ") ? UFFDIO_REGISTER_MODE_MISSING : 0) |
	       (strstr(info->vmflags, " uw ") ? UFFDIO_REGISTER_MODE_WP : 0) |
	       (strstr(info->vmflags, " ui ") ? UFFDIO_REGISTER_MODE_MINOR : 0);
}

static int range_match(const struct cr_vma_info *info)
{
	return mode_of(info) ? CR_SPECIFIC : CR_NOT_MINE;
}

static int range_check(struct cr_session *s, struct cr_vma *v, const struct cr_vma_info *info)
{
	static const char remedy[] = "let the program unregister its memory before the dump";
	int many;

	if (info->flags & MAP_SHARED || info->ino)
		return cr_refuse(s, remedy, "shared memory is registered with a userfaultfd");
	if (uffd_of(s, info->task, &many))
		return 0;
	return cr_refuse(s, remedy,
			 many ? "it is registered with a userfaultfd, and the process has several: it cannot be told with which" :
				"it is registered with a userfaultfd that another process has");
}

/* ---- dump ---- */

static void add_page(struct cr_session *s, XUserfaultfdRange *e, size_t *room, uint64_t addr, int protected)
{
	XUserfaultfdRun *last = e->n_runs ? e->runs[e->n_runs - 1] : NULL;

	if (last && last->start + last->len == addr && last->wp == protected) {
		last->len += PAGE;
		return;
	}
	if (e->n_runs == *room) {
		XUserfaultfdRun **more = s->core->alloc(s, 2 * (*room + 8) * sizeof(*more));

		if (e->n_runs)
			memcpy(more, e->runs, e->n_runs * sizeof(*more));
		e->runs = more;
		*room = 2 * (*room + 8);
	}
	last = s->core->alloc(s, sizeof(*last));
	x_userfaultfd_run__init(last);
	last->start = addr;
	last->len = PAGE;
	last->has_wp = last->wp = protected;
	e->runs[e->n_runs++] = last;
}

static int read_runs(struct cr_session *s, const struct cr_vma_info *info, XUserfaultfdRange *e)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/pagemap", s->core->task_pid(info->task));
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint64_t words[WORDS];
	size_t room = 0;

	if (fd < 0)
		return cr_fail(s, errno, "%s: %s", path, strerror(errno));
	for (uint64_t at = info->start; at < info->end;) {
		size_t n = MIN_OF((info->end - at) / PAGE, (uint64_t)WORDS);

		if (pread(fd, words, n * 8, (off_t)(at / PAGE * 8)) != (ssize_t)(n * 8))
			return cr_fail(s, EIO, "%s: cannot be read", path);
		for (size_t i = 0; i < n; i++, at += PAGE)
			if (words[i] & PRESENT || words[i] & PROTECTED)
				add_page(s, e, &room, at, words[i] & PROTECTED ? 1 : 0);
	}
	return 0;
}

static int range_dump(struct cr_session *s, struct cr_vma *v, const struct cr_vma_info *info)
{
	XUserfaultfdRange e = X_USERFAULTFD_RANGE__INIT;
	void *data;
	size_t len;
	int many, err;

	e.file = s->core->file_id(uffd_of(s, info->task, &many));
	e.mode = mode_of(info);
	err = read_runs(s, info, &e);
	if (err)
		return err;
	data = common_pack(&e.base, &len);
	err = s->core->vma_message(s, v, data, len);
	free(data);
	return err;
}

/* ---- restore ---- */

static int range_load(struct cr_session *s, struct cr_vma *v, const void *data, size_t len)
{
	const struct cr_vma_info *info = s->core->vma_info(v);
	struct range *r = s->core->vma_priv(v);
	uint64_t end = info->start;

	r->msg = common_load(s, &x_userfaultfd_range__descriptor, data, len);
	if (!r->msg)
		return -EPROTO;
	r->file = s->core->file_by_id(s, r->msg->file);
	if (!r->file || strcmp(s->core->file_kind(r->file), UFFD_KIND))
		return cr_fail(s, EPROTO, "the image has memory registered with file %u, which is no userfaultfd", r->msg->file);
	for (size_t i = 0; i < r->msg->n_runs; i++) {
		const XUserfaultfdRun *run = r->msg->runs[i];

		if (run->start < end || run->start > info->end || run->len > info->end - run->start ||
		    (run->start | run->len) % PAGE)
			return cr_fail(s, EPROTO, "the image has registered pages outside of their mapping");
		end = run->start + run->len;
	}
	return 0;
}

#define IMM(v) ((struct cr_arg)CR_IMM(v))
#define CALL(s, t, nr, ...) \
	((s)->core->plan_syscall((s), (t), CR_STAGE_OWN, (nr), (const struct cr_arg[6]){ __VA_ARGS__ }, CR_WANT_ZERO))

static int queue_ioctl(struct cr_session *s, const struct uffd *u, unsigned long cmd, const void *arg, size_t len)
{
	uint64_t addr;
	int err = s->core->plan_data(s, u->owner, arg, len, &addr);

	return err ? err : CALL(s, u->owner, SYS_ioctl, IMM(u->slot), IMM(cmd), IMM(addr));
}

static int drop(struct cr_session *s, struct cr_task *t, uint64_t from, uint64_t to)
{
	return from < to ? CALL(s, t, SYS_madvise, IMM(from), IMM(to - from), IMM(MADV_DONTNEED)) : 0;
}

static int range_plan(struct cr_session *s, struct cr_vma *v)
{
	const struct cr_vma_info *info = s->core->vma_info(v);
	const struct range *r = s->core->vma_priv(v);
	const struct uffd *u = s->core->file_priv(r->file);
	struct uffdio_register reg = { .range = { info->start, info->end - info->start }, .mode = r->msg->mode };
	uint64_t at = info->start;
	int err = 0;

	if (u->owner != info->task)
		return cr_fail(s, EPROTO, "the image has memory registered with another process's userfaultfd");
	for (size_t i = 0; i < r->msg->n_runs && !err; i++) {
		err = drop(s, u->owner, at, r->msg->runs[i]->start);
		at = r->msg->runs[i]->start + r->msg->runs[i]->len;
	}
	if (!err)
		err = drop(s, u->owner, at, info->end);
	if (!err)
		err = queue_ioctl(s, u, UFFDIO_REGISTER, &reg, sizeof(reg));
	for (size_t i = 0; i < r->msg->n_runs && !err; i++) {
		struct uffdio_writeprotect wp = { .range = { r->msg->runs[i]->start, r->msg->runs[i]->len },
						  .mode = UFFDIO_WRITEPROTECT_MODE_WP };

		if (r->msg->runs[i]->wp)
			err = queue_ioctl(s, u, UFFDIO_WRITEPROTECT, &wp, sizeof(wp));
	}
	return err;
}

const struct cr_vma_kind uffd_range_kind = {
	.size = sizeof(struct cr_vma_kind),
	.name = "userfaultfd-range",
	.flags = CR_VMA_KEEP | CR_VMA_EXACT,
	.priv_size = sizeof(struct range),
	.covers = "um uw ui",
	.match = range_match,
	.check = range_check,
	.dump = range_dump,
	.load = range_load,
	.plan = range_plan,
};
