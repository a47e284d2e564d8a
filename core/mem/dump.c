/* SPDX-License-Identifier: MIT */
/*
 * dump.c: the memory of one frozen task: mm-<vpid>, pagemap-<vpid>, its pages file, and
 * the shared anonymous memory that no other task has brought yet.
 *
 * Two steps: scan.c makes the list of runs of pages to be dumped, then pages.c reads and
 * writes them.  They are read through /proc/PID/mem unless nobody else has them:
 * process_vm_readv() pins pages, which makes the kernel unshare those that tasks share
 * copy-on-write (measured on 6.18: it doubles the memory of a forked tree), and it
 * cannot reach data below PROT_NONE.
 */
#include "mem_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "fault.h"
#include "image.h"
#include "kinds.h"
#include "warden.h"

#define COPY_CHUNK (1ul << 20)

/* ---- pages ---- */

/* Whose memory is read: the copy's where there is one. */
static pid_t source_pid(const struct task *t)
{
	return t->mem->snapshot ? t->mem->snapshot->pid : task_pid(t);
}

int mem_read_task(struct session *s, pid_t pid, int mem, uint64_t addr, void *buf, size_t len)
{
	int err = pread_full(mem, buf, len, addr);

	for (size_t done = 0; err == -EIO && s->warden && done < len; done += COPY_CHUNK) {
		err = warden_read(s, pid, addr + done, (char *)buf + done, MIN_OF(COPY_CHUNK, len - done));
		if (err)
			return err;
		err = done + COPY_CHUNK < len ? -EIO : 0;
	}
	return err;
}

static int dump_runs(struct session *s, struct task *t, run_list *runs)
{
	struct page_source src = { .pid = source_pid(t), .pagemap = -1, .snapshot = t->mem->snapshot };
	stored_list where = { 0 };
	uint64_t pages = 0;
	char path[48];
	int err;

	snprintf(path, sizeof(path), "/proc/%d/mem", src.pid);
	src.fd = FAULTS("opening %s", path) ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	if (src.fd < 0)
		return fail(s, errno, "cannot open %s: %s", path, strerror(errno));
	snprintf(path, sizeof(path), "/proc/%d/pagemap", src.pid);
	src.pagemap = open(path, O_RDONLY | O_CLOEXEC); /* does without */
	err = same_find(s, t, src.pid, runs);
	if (!err)
		err = pages_dump(s, &img_pagemap, task_vpid(t), &src, runs, &pages, &where);
	if (!err)
		same_written(s, &where);
	vec_free(&where);
	s->stats.pages_written += pages;
	cleanup_fd(&src.pagemap);
	close(src.fd);
	return err;
}

static int scan_task(struct session *s, struct task *t, struct scanner *sc)
{
	int err = scanner_open(sc, source_pid(t));

	if (!err)
		err = t->mem->snapshot ? snapshot_scan(t, sc) : scan_areas(sc, t->mem->areas.v, t->mem->areas.n);
	s->stats.pages_scanned += sc->pages;
	exclude_cut(&sc->runs, &t->mem->excluded);
	return err ? fail(s, -err, "cannot find out which pages are there (/proc/%d/pagemap): %s", source_pid(t),
			  strerror(-err))
		   : 0;
}

/* ---- shared anonymous memory ---- */

/* Writes the pages of [from, from + len) of t that are not zero into fd at off. */
static int copy_range(struct session *s, struct task *t, int mem, uint64_t from, uint64_t len, int fd, uint64_t off)
{
	static const char zero[PAGE_BYTES];
	_cleanup_free_ char *chunk = xrealloc(NULL, COPY_CHUNK);

	for (uint64_t done = 0; done < len; done += COPY_CHUNK) {
		size_t n = MIN_OF(COPY_CHUNK, len - done);
		int err = mem_read_task(s, task_pid(t), mem, from + done, chunk, n);

		for (size_t i = 0; i < n && !err; i += PAGE_BYTES)
			if (memcmp(chunk + i, zero, PAGE_BYTES))
				err = pwrite_full(fd, chunk + i, PAGE_BYTES, off + done + i);
		if (err)
			return err;
	}
	return 0;
}

/* As copy_range(), of a whole mapping; below guard regions it shows nothing. */
static int copy_mapping(struct session *s, struct task *t, int mem, const struct vma_area *a, int fd)
{
	uint64_t at = a->v.start;
	struct scanner sc;
	int err = scanner_open(&sc, task_pid(t));

	if (!err)
		err = scan_areas(&sc, a, 1);
	for (size_t i = 0; i < sc.guards.n && !err; i++) {
		err = copy_range(s, t, mem, at, sc.guards.v[i].start - at, fd, a->v.pgoff + at - a->v.start);
		at = sc.guards.v[i].start + sc.guards.v[i].bytes;
	}
	if (!err)
		err = copy_range(s, t, mem, at, a->v.end - at, fd, a->v.pgoff + at - a->v.start);
	if (!err && sc.guards.n)
		lost(s, "pid %d: what the shared memory at 0x%" PRIx64 " has below its guard regions cannot be read in this user "
		     "namespace: zeros, unless another mapping shows it", task_pid(t), a->v.start);
	scanner_close(&sc);
	return err;
}

/* What the mappings of t show of the object. */
static int copy_mappings(struct session *s, struct task *t, uint64_t shmid, int fd, uint64_t *size)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/mem", task_pid(t));
	_cleanup_fd_ int mem = open(path, O_RDONLY | O_CLOEXEC);
	int err = mem < 0 ? -errno : 0;

	for (size_t i = 0; i < t->mem->areas.n && !err; i++) {
		const struct vma_area *a = &t->mem->areas.v[i];

		if (!(a->status & VMA_ANON_SHARED) || a->shmid != shmid)
			continue;
		*size = MAX_OF(*size, a->v.pgoff + a->v.end - a->v.start);
		if (ftruncate(fd, *size) < 0)
			return -errno;
		err = copy_mapping(s, t, mem, a, fd);
	}
	return err;
}

/*
 * For whoever may not open the object (mem_open_mapping): a copy of all that the tree has mapped of it.
 * What nobody has mapped any more nobody can see either.
 */
static int copy_shared(struct session *s, uint64_t shmid, uint64_t *ret_size)
{
	int fd = FAULTS("memfd") ? -1 : memfd_create("stasis-copy", MFD_CLOEXEC), err = fd < 0 ? -errno : 0;
	uint64_t size = 0;

	FOR_EACH_TASK(t, s->tree)
		if (!err && t->mem)
			err = copy_mappings(s, t, shmid, fd, &size);
	if (err) {
		cleanup_fd(&fd);
		return err;
	}
	*ret_size = size;
	return fd;
}

static int dump_shared(struct session *s, struct task *t, const struct vma_area *a)
{
	struct stat st = { .st_dev = makedev(a->v.dev_major, a->v.dev_minor), .st_ino = a->v.ino };
	_cleanup_fd_ int fd = -1;
	uint64_t size = 0;
	uint32_t id;
	int err;

	if (shmem_dumped(s, a->shmid))
		return 0;
	fd = mem_open_mapping(task_pid(t), &a->v, O_RDONLY);
	if (fd == -EPERM) {
		fd = copy_shared(s, a->shmid, &size);
	} else if (fd >= 0) {
		if (fstat(fd, &st) < 0)
			return fail(s, errno, "cannot examine the shared memory at 0x%" PRIx64, a->v.start);
		size = st.st_size;
	}
	if (fd < 0)
		return fail(s, -fd, "cannot open the shared memory at 0x%" PRIx64 ": %s", a->v.start, strerror(-fd));
	err = shmem_dump(s, fd, &st, size, &id);
	if (!err && id != a->shmid)
		return fail(s, EIO, "the shared memory at 0x%" PRIx64 " is not what /proc said", a->v.start);
	return err;
}

/* ---- mm ---- */

static void fill_vma(VmaEntry *e, const struct vma_area *a)
{
	vma_entry__init(e);
	e->start = a->v.start;
	e->end = a->v.end;
	e->pgoff = a->has_file || a->owned || a->status & VMA_ANON_SHARED ? a->v.pgoff : 0;
	e->shmid = a->shmid;
	e->prot = a->v.prot;
	e->flags = a->flags;
	e->status = a->status;
	e->fd = -1;
	e->has_madv = a->madv != 0;
	e->madv = a->madv;
	e->has_fdflags = a->has_file;
	e->fdflags = a->fdflags;
}

static void fill_guard(VmaEntry *e, const struct page_run *g)
{
	vma_entry__init(e);
	e->start = g->start;
	e->end = g->start + g->bytes;
	e->flags = MAP_PRIVATE | MAP_ANONYMOUS;
	e->status = VMA_GUARD;
	e->fd = -1;
}

/* Mappings in order, each followed by the guard regions inside. */
static size_t fill_vmas(VmaEntry *e, const struct mem *m, const run_list *guards)
{
	size_t n = 0, g = 0;

	for (size_t i = 0; i < m->areas.n; i++) {
		fill_vma(&e[n++], &m->areas.v[i]);
		while (g < guards->n && guards->v[g].start < m->areas.v[i].v.end)
			fill_guard(&e[n++], &guards->v[g++]);
	}
	return n;
}

static void fill_mm(MmEntry *mm, const struct task *t, const struct mem_facts *facts)
{
	const struct proc_stat *st = &t->stat;

	mm->mm_start_code = st->start_code;
	mm->mm_end_code = st->end_code;
	mm->mm_start_data = st->start_data;
	mm->mm_end_data = st->end_data;
	mm->mm_start_stack = st->start_stack;
	mm->mm_start_brk = st->start_brk;
	mm->mm_brk = facts->brk;
	mm->mm_arg_start = st->arg_start;
	mm->mm_arg_end = st->arg_end;
	mm->mm_env_start = st->env_start;
	mm->mm_env_end = st->env_end;
	mm->exe_file_id = t->exe_id;
	mm->has_dumpable = 1;
	mm->dumpable = facts->dumpable;
	mm->has_thp_disabled = 1;
	mm->thp_disabled = facts->thp_disabled;
}

static int write_mm(struct session *s, const struct task *t, const MmEntry *mm)
{
	_cleanup_buf_ struct buf b = { 0 };
	size_t len = mm_entry__get_packed_size(mm);
	_cleanup_free_ uint8_t *data = xcalloc(1, len);
	int err;

	buf_add(&b, data, mm_entry__pack(mm, data));
	err = mappings_write(s, t, &b);
	return err < 0 ? err : img_append(s, &img_mm, task_vpid(t), b.p, b.len);
}

static int dump_mm(struct session *s, struct task *t, const struct mem_facts *facts, const run_list *guards)
{
	size_t max = t->mem->areas.n + guards->n;
	_cleanup_free_ VmaEntry *vmas = xcalloc(max, sizeof(*vmas));
	_cleanup_free_ VmaEntry **list = xcalloc(max, sizeof(*list));
	MmEntry mm = MM_ENTRY__INIT;
	u64_list auxv = { 0 };
	int err = proc_read_auxv(source_pid(t), &auxv);

	if (err) {
		vec_free(&auxv);
		return fail(s, -err, "cannot read /proc/%d/auxv: %s", source_pid(t), strerror(-err));
	}
	fill_mm(&mm, t, facts);
	prefault(vmas, max * sizeof(*vmas));
	mm.n_vmas = fill_vmas(vmas, t->mem, guards);
	for (size_t i = 0; i < mm.n_vmas; i++)
		list[i] = &vmas[i];
	mm.vmas = list;
	mm.n_mm_saved_auxv = auxv.n;
	mm.mm_saved_auxv = auxv.v;
	err = write_mm(s, t, &mm);
	vec_free(&auxv);
	return err;
}

static int dump_private(struct session *s, struct task *t, const struct mem_facts *facts)
{
	uint64_t begin = now_us();
	struct scanner sc;
	int err = ahead_settle(s, t, source_pid(t));

	if (err)
		return err;
	err = scan_task(s, t, &sc);
	if (!err)
		err = dump_mm(s, t, facts, &sc.guards);
	if (!err)
		err = dump_runs(s, t, &sc.runs);
	scanner_close(&sc);
	s->stats.memdump_time += now_us() - begin;
	return err;
}

int mem_dump(struct session *s, struct task *t, const struct mem_facts *facts)
{
	int err;

	at_object(s, "pid %d", task_pid(t));
	if (!t->mem)
		return fail(s, EINVAL, "its mappings have not been collected");
	err = mappings_dump(s, t);
	if (!err)
		err = extras_dump(s, t, facts);
	if (!err && !t->mem->snapshot)
		err = dump_private(s, t, facts);
	for (size_t i = 0; !err && i < t->mem->areas.n; i++)
		if (t->mem->areas.v[i].status & VMA_ANON_SHARED)
			err = dump_shared(s, t, &t->mem->areas.v[i]);
	at_object(s, NULL);
	return err;
}

int mem_dump_snapshot(struct session *s, struct task *t, const struct mem_facts *facts)
{
	int err;

	if (!t->mem || !t->mem->snapshot)
		return 0;
	at_object(s, "pid %d", task_pid(t));
	err = dump_private(s, t, facts);
	at_object(s, NULL);
	return err;
}
