/* SPDX-License-Identifier: MIT */
/*
 * snapshot.c: memory of a tree that runs on (--leave-running) is written while it runs.
 *
 * While the tree is frozen, W makes a copy of each process with much memory: a child
 * that shares all its pages copy on write and never runs (warden/copy.c).  The tree is let go, and the pages are
 * read from the copies.  What a fork does not carry over is read before:
 *  - shared memory is written at once,
 *  - private mappings that a child does not get, or gets empty (MADV_DONTFORK, MADV_WIPEONFORK, huge
 *    pages of hugetlbfs, which may run out), are kept in memory: up to EARLY_MOST.
 * A process that cannot be copied is written while it is frozen, like all of them without this.
 */
#include "mem_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "image.h"
#include "options.h"
#include "warden.h"

#define EARLY_MOST (64ul << 20)	   /* bytes */
#define TREE_LEAST (64ul << 20)	   /* less is written as fast as it is copied */
#define TASK_LEAST_PAGES 256	   /* the same for one process */
#define SPARE (128ul << 20)	   /* memory that is to stay free */

bool snapshot_carries(const struct vma_area *a)
{
	return vma_is_private(a->status) && !(a->madv & MADV_NOT_INHERITED) && !a->owned &&
	       !(a->flags & (MAP_HUGETLB | MAP_DROPPABLE));
}

void snapshot_free(struct snapshot *sn)
{
	if (!sn)
		return;
	vec_free(&sn->runs);
	vec_free(&sn->guards);
	free(sn->data);
	free(sn);
}

/* ---- what a copy does not have ---- */

static int scan_early(struct task *t, struct snapshot *sn)
{
	struct scanner sc;
	int err = scanner_open(&sc, task_pid(t));

	for (size_t i = 0; i < t->mem->areas.n && !err; i++)
		if (!snapshot_carries(&t->mem->areas.v[i]))
			err = scan_areas(&sc, &t->mem->areas.v[i], 1);
	sn->runs = sc.runs;
	sn->guards = sc.guards;
	exclude_cut(&sn->runs, &t->mem->excluded);
	sc.runs = sc.guards = (run_list){ 0 };
	scanner_close(&sc);
	return err;
}

static int read_early(struct session *s, struct task *t, struct snapshot *sn)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/mem", task_pid(t));
	_cleanup_fd_ int fd = -1;
	uint64_t bytes = 0, at = 0;
	int err = 0;

	for (size_t i = 0; i < sn->runs.n; i++)
		bytes += sn->runs.v[i].bytes;
	if (bytes > EARLY_MOST)
		return -E2BIG;
	if (!bytes)
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	sn->data = xrealloc(NULL, bytes);
	for (size_t i = 0; i < sn->runs.n && !err; at += sn->runs.v[i++].bytes)
		err = mem_read_task(s, task_pid(t), fd, sn->runs.v[i].start, sn->data + at, sn->runs.v[i].bytes);
	return err;
}

bool snapshot_read(const struct snapshot *sn, uint64_t addr, void *buf, uint64_t bytes)
{
	uint64_t at = 0;

	if (!sn)
		return false;
	for (size_t i = 0; i < sn->runs.n; at += sn->runs.v[i++].bytes) {
		const struct page_run *r = &sn->runs.v[i];

		if (addr < r->start || addr >= r->start + r->bytes)
			continue;
		memcpy(buf, sn->data + at + (addr - r->start), bytes);
		return true;
	}
	return false;
}

/* Sorted lists become one. Runs stay apart: each is read from one place. */
static void merge(run_list *l, const run_list *more)
{
	run_list out = { 0 };
	size_t i = 0, k = 0;

	if (!more->n)
		return;
	while (i < l->n || k < more->n) {
		bool first = k == more->n || (i < l->n && l->v[i].start < more->v[k].start);

		*vec_push(&out) = first ? l->v[i++] : more->v[k++];
	}
	vec_free(l);
	*l = out;
}

/* n areas in a row that a copy has: those are scanned in one walk. */
static int scan_carried(struct scanner *sc, const struct vma_area *a, size_t n)
{
	size_t from = 0;
	int err = 0;

	for (size_t i = 0; i <= n && !err; i++) {
		if (i < n && snapshot_carries(&a[i]))
			continue;
		if (i > from)
			err = scan_areas(sc, &a[from], i - from);
		from = i + 1;
	}
	return err;
}

int snapshot_scan(const struct task *t, struct scanner *sc)
{
	int err = scan_carried(sc, t->mem->areas.v, t->mem->areas.n);

	merge(&sc->runs, &t->mem->snapshot->runs);
	merge(&sc->guards, &t->mem->snapshot->guards);
	return err;
}

/* ---- whether ---- */

static bool is_wanted(struct session *s, const char *how)
{
	return opt_flag(s->opts, "leave-running") && strcmp(how, "off") && s->warden;
}

/* All pages may come to exist twice, and, on a filesystem in memory, once more as images. */
static bool has_room(struct session *s, uint64_t bytes)
{
	struct statfs fs;
	uint64_t room = UINT64_MAX, need = bytes;

	if (fstatfs(images_dirfd(s), &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC))
		need += bytes;
	FOR_EACH_TASK(t, s->tree)
		if (t->mem && mem_pages(t) >= TASK_LEAST_PAGES)
			room = MIN_OF(room, mem_room(task_pid(t)));
	if (room >= need + SPARE)
		return true;
	log_info("memory is written while the tree is frozen: %" PRIu64 " MiB would have to be free, %" PRIu64 " are (see "
		 "--snapshot)", (need + SPARE) >> 20, room >> 20);
	return false;
}

/* 0 also when there shall be no copy. */
static int copy_task(struct session *s, struct task *t)
{
	struct snapshot *sn = xcalloc(1, sizeof(*sn));
	uint64_t begin = now_us();
	int err = scan_early(t, sn);

	if (!err)
		err = read_early(s, t, sn);
	if (!err)
		err = warden_copy(s, task_pid(t), &sn->pid);
	if (err) {
		snapshot_free(sn);
		log_info("pid %d: its memory is written while the tree is frozen: %s", task_pid(t),
			 err == -E2BIG ? "much of it would not be in a copy" : strerror(-err));
		return s->err.errnum ? -s->err.errnum : 0;
	}
	t->mem->snapshot = sn;
	log_debug("pid %d: the copy of its memory is pid %d, made in %" PRIu64 " us", task_pid(t), sn->pid, now_us() - begin);
	return 0;
}

int mem_snapshot(struct session *s)
{
	const char *how = opt_str(s->opts, "snapshot");
	bool always = !strcmp(how, "always");
	uint64_t bytes = 0;
	int err = 0;

	if (!always && strcmp(how, "auto") && strcmp(how, "off"))
		return fail(s, EINVAL, "--snapshot %s: it is auto, always or off", how);
	if (!is_wanted(s, how))
		return 0;
	FOR_EACH_TASK(t, s->tree)
		bytes += t->mem && mem_pages(t) >= TASK_LEAST_PAGES ? mem_pages(t) * PAGE_BYTES : 0;
	if (!always && (bytes < TREE_LEAST || !has_room(s, bytes)))
		return 0;
	FOR_EACH_TASK(t, s->tree) {
		at_object(s, "pid %d", task_pid(t));
		if (t->mem && !err && (always || mem_pages(t) >= TASK_LEAST_PAGES))
			err = copy_task(s, t);
	}
	at_object(s, NULL);
	return err;
}

bool mem_has_snapshot(struct session *s)
{
	FOR_EACH_TASK(t, s->tree)
		if (t->mem && t->mem->snapshot)
			return true;
	return false;
}
