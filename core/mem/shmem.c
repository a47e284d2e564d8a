/* SPDX-License-Identifier: MIT */
/*
 * shmem.c: contents of shared memory objects: shared anonymous memory and memfds.
 *
 * An object is known by device and inode, has one id in the session however many
 * mappings and descriptors lead to it, and is written once, to pagemap-shmem-<id>
 * and a pages file.  Addresses there are offsets in the object.  Holes and pages of
 * zeros are left out: they read as zeros in the new object.
 */
#include "mem_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fault.h"
#include "files.h"
#include "image.h"
#include "pagemap.pb-c.h"

#define CHUNK (1ul << 20)
#define THREADS_MAX 16

struct shmem_object {
	uint64_t dev, ino;
	bool dumped;
};

/* A pages file at restore. */
struct pages_file {
	int fd; /* -1: not open */
	uint64_t bytes;
};

/* The id of object i is i + 1. */
struct shmem {
	VEC(struct shmem_object) objects;
	uint32_t last_pages_id;
	uint64_t dev; /* mem_shm_dev() */
	VEC(uint32_t) mapped; /* mem_mapped_id() */
	struct same *same;
	struct ahead *ahead;
	struct exclude *exclude;
	struct fills *fills;
	struct batches *batches;
	struct comparers *comparers;
	VEC(struct pages_file) files; /* restore */
};

static struct shmem *registry(struct session *s)
{
	if (!s->shmem)
		s->shmem = xcalloc(1, sizeof(*s->shmem));
	return s->shmem;
}

void shmem_free(struct shmem *sh)
{
	if (!sh)
		return;
	for (size_t i = 0; i < sh->files.n; i++)
		cleanup_fd(&sh->files.v[i].fd);
	vec_free(&sh->files);
	same_free(sh->same);
	ahead_free(sh->ahead);
	exclude_free(sh->exclude);
	fills_free(sh->fills);
	batches_free(sh->batches);
	comparers_free(sh->comparers);
	vec_free(&sh->objects);
	vec_free(&sh->mapped);
	free(sh);
}

size_t mem_threads(uint64_t n)
{
	cpu_set_t cpus;
	int most;

	if (n <= 1)
		return 1;
	most = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
	return MAX_OF(MIN_OF(n, (uint64_t)MIN_OF(most, THREADS_MAX)), 1u);
}

uint64_t mem_shm_dev(struct session *s)
{
	struct shmem *sh = registry(s);

	if (!sh->dev)
		sh->dev = vma_shm_dev();
	return sh->dev;
}

uint32_t *mem_mapped_id(struct session *s, const struct vma_area *a)
{
	struct shmem *sh = registry(s);
	_cleanup_buf_ struct buf key = { 0 };
	uint32_t n;

	buf_printf(&key, "%x:%x %lu %x %s", a->v.dev_major, a->v.dev_minor, a->v.ino, a->fdflags, a->v.path);
	n = session_id(s, "mapped file", key.p, key.len, NULL);
	while (sh->mapped.n < n)
		*vec_push(&sh->mapped) = 0;
	return &sh->mapped.v[n - 1];
}

uint32_t mem_pages_id(struct session *s)
{
	return ++registry(s)->last_pages_id;
}

struct ahead **mem_ahead(struct session *s)
{
	return &registry(s)->ahead;
}

struct exclude **mem_exclude(struct session *s)
{
	return &registry(s)->exclude;
}

struct batches **mem_batches(struct session *s)
{
	return &registry(s)->batches;
}

struct fills **mem_fills(struct session *s)
{
	return &registry(s)->fills;
}

struct comparers **mem_comparers(struct session *s)
{
	return &registry(s)->comparers;
}

struct same **mem_same(struct session *s)
{
	return &registry(s)->same;
}

/* Remembered by its id; looked at the first time. */
static int know_file(struct session *s, uint32_t id, struct pages_file **ret)
{
	struct shmem *sh = registry(s);
	uint32_t n = session_id(s, "pages file", &id, sizeof(id), NULL);
	_cleanup_fd_ int fd = -1;
	struct stat st;
	int err;

	if (n <= sh->files.n) {
		*ret = &sh->files.v[n - 1];
		return 0;
	}
	err = img_open_fd(s, &img_pages, id, &fd);
	if (err == -ENOENT)
		return fail(s, ENOENT, "pages-%u.img is missing: the image directory is incomplete", id);
	if (err < 0)
		return err;
	if (fstat(fd, &st) < 0)
		return fail(s, errno, "pages-%u.img: %m", id);
	*vec_push(&sh->files) = (struct pages_file){ .fd = -1, .bytes = st.st_size };
	*ret = &sh->files.v[n - 1];
	return 0;
}

int pages_file_check(struct session *s, uint32_t id, uint64_t bytes, const char *whose)
{
	struct pages_file *f;
	int err = know_file(s, id, &f);

	if (!err && f->bytes < bytes)
		err = fail(s, EPROTO, "pages-%u.img has %" PRIu64 " bytes, %s names %" PRIu64 ": the image is cut off", id,
			   f->bytes, whose, bytes);
	return err;
}

int pages_file_open(struct session *s, uint32_t id)
{
	struct pages_file *f;
	int fd, err = know_file(s, id, &f);

	if (err || f->fd >= 0)
		return err ? err : f->fd;
	err = img_open_fd(s, &img_pages, id, &fd);
	if (err == -ENOENT)
		err = fail(s, ENOENT, "pages-%u.img has vanished", id);
	if (err < 0)
		return err;
	fd = files_high_fd(s, fd);
	if (fd >= 0)
		f->fd = fd;
	return fd;
}

uint32_t shmem_id(struct session *s, uint64_t dev, uint64_t ino)
{
	const uint64_t key[2] = { dev, ino };
	struct shmem *sh = registry(s);
	uint32_t id = session_id(s, "shmem", key, sizeof(key), NULL);

	while (sh->objects.n < id)
		vec_push(&sh->objects);
	sh->objects.v[id - 1].dev = dev;
	sh->objects.v[id - 1].ino = ino;
	return id;
}

static struct shmem_object *find_object(struct session *s, uint32_t shmid)
{
	struct shmem *sh = registry(s);

	return shmid && shmid <= sh->objects.n ? &sh->objects.v[shmid - 1] : NULL;
}

bool shmem_dumped(struct session *s, uint32_t shmid)
{
	struct shmem_object *o = find_object(s, shmid);

	return o && o->dumped;
}

/* ---- dump ---- */

/*
 * Next range with data at or behind pos, below size; *ret_end is page aligned. 1, 0 at the end. Filesystems that
 * cannot tell (hugetlbfs) have data everywhere.
 */
static int next_data(int fd, uint64_t pos, uint64_t size, uint64_t *ret_start, uint64_t *ret_end)
{
	off_t start, end;

	if (pos >= size)
		return 0;
	*ret_start = pos;
	*ret_end = PAGE_UP(size);
	start = lseek(fd, pos, SEEK_DATA);
	if (start < 0)
		return errno != ENXIO;
	end = lseek(fd, start, SEEK_HOLE);
	if ((uint64_t)start >= size)
		return 0;
	*ret_start = PAGE_DOWN(start);
	if (end > start)
		*ret_end = MIN_OF(PAGE_UP(end), PAGE_UP(size));
	return 1;
}

/* Everything that is not a hole. */
static void object_runs(int fd, uint64_t size, run_list *ret)
{
	uint64_t start, end, pos = 0;

	while (next_data(fd, pos, size, &start, &end)) {
		run_add(ret, start, end - start, true);
		pos = end;
	}
}

/* A description of our own: seeking in fd would move the task's position. */
static int reopen(struct session *s, int fd)
{
	char path[40];
	int own;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	own = open(path, O_RDONLY | O_CLOEXEC);
	return own < 0 ? fail(s, errno, "cannot open shared memory for reading: %s", strerror(errno)) : own;
}

int shmem_dump(struct session *s, int fd, const struct stat *st, uint64_t size, uint32_t *ret_shmid)
{
	uint32_t id = shmem_id(s, st->st_dev, st->st_ino);
	uint64_t t = now_us(), pages = 0;
	struct page_source src = { 0 };
	run_list runs = { 0 };
	int err;

	*ret_shmid = id;
	if (shmem_dumped(s, id))
		return 0;
	if (size > INT64_MAX - CHUNK)
		return fail(s, EFBIG, "shared memory of %" PRIu64 " bytes is too large", size);
	src.fd = reopen(s, fd);
	if (src.fd < 0)
		return src.fd;
	object_runs(src.fd, size, &runs);
	exclude_of_object(s, st->st_dev, st->st_ino, &runs);
	err = pages_dump(s, &img_shmem_pagemap, id, &src, &runs, &pages, NULL);
	s->stats.shpages_scanned += PAGE_UP(size) / PAGE_BYTES;
	s->stats.shpages_written += pages;
	s->stats.memdump_time += now_us() - t;
	vec_free(&runs);
	close(src.fd);
	if (!err)
		find_object(s, id)->dumped = true;
	return err;
}

/* ---- restore ---- */

/* A stored run: [off, off + bytes) of the object. */
struct shmem_run {
	uint64_t off, bytes;
};
struct stored {
	int fd; /* pages file */
	VEC(struct shmem_run) runs;
};

static void stored_free(struct stored *st)
{
	cleanup_fd(&st->fd);
	vec_free(&st->runs);
}

/* Appends the run of one entry; pages: how many are left in the pages file. */
static int stored_add(struct session *s, struct stored *st, const PagemapEntry *e, uint64_t *pages)
{
	uint64_t n = e->has_nr_pages ? e->nr_pages : e->compat_nr_pages;
	uint32_t flags = e->has_flags ? e->flags : e->has_in_parent && e->in_parent ? PE_PARENT : PE_PRESENT;
	struct shmem_run *last = st->runs.n ? &st->runs.v[st->runs.n - 1] : NULL;

	if (flags & PE_PARENT || !(flags & PE_PRESENT))
		return fail(s, EOPNOTSUPP, "pages of shared memory are in another set of images (a parent), which "
					   "cannot be read; make a full dump");
	if (!n || n > *pages || e->vaddr % PAGE_BYTES || e->vaddr > INT64_MAX - n * PAGE_BYTES)
		return fail(s, EPROTO, "the pagemap of shared memory is damaged: %" PRIu64 " pages at 0x%" PRIx64, n,
			    e->vaddr);
	if (last && e->vaddr < last->off + last->bytes)
		return fail(s, EPROTO, "the pagemap of shared memory is damaged: not in order at 0x%" PRIx64,
			    e->vaddr);
	*pages -= n;
	*vec_push(&st->runs) = (struct shmem_run){ e->vaddr, n * PAGE_BYTES };
	return 0;
}

static int stored_head(struct session *s, struct cr_reader *r, struct stored *st, uint64_t *ret_pages)
{
	ProtobufCMessage *msg;
	struct stat info;
	int err = img_next_msg(r, &pagemap_head__descriptor, &msg);

	if (err <= 0)
		return err ? err : fail(s, EPROTO, "the pagemap of shared memory is empty");
	err = img_open_fd(s, &img_pages, ((PagemapHead *)msg)->pages_id, &st->fd);
	if (err == -ENOENT)
		err = fail(s, ENOENT, "pages-%u.img is missing", ((PagemapHead *)msg)->pages_id);
	protobuf_c_message_free_unpacked(msg, NULL);
	if (err) {
		st->fd = -1;
		return err;
	}
	if (fstat(st->fd, &info) < 0)
		return fail(s, errno, "cannot examine a pages file: %s", strerror(errno));
	*ret_pages = info.st_size / PAGE_BYTES;
	return 0;
}

/* The validated pagemap of shmid. The caller frees *st, also after an error. -ENOENT not recorded. */
static int stored_load(struct session *s, uint32_t shmid, struct stored *st)
{
	struct cr_reader *r;
	ProtobufCMessage *msg;
	uint64_t pages = 0;
	int err;

	*st = (struct stored){ .fd = -1 };
	err = img_open(s, &img_shmem_pagemap, shmid, &r);
	if (err)
		return err;
	err = stored_head(s, r, st, &pages);
	while (!err) {
		err = img_next_msg(r, &pagemap_entry__descriptor, &msg);
		if (err <= 0)
			break;
		err = stored_add(s, st, (PagemapEntry *)msg, &pages);
		protobuf_c_message_free_unpacked(msg, NULL);
	}
	img_close(r);
	return err;
}

int shmem_extent(struct session *s, uint32_t shmid, uint64_t *ret_bytes)
{
	struct stored st;
	int err = stored_load(s, shmid, &st);

	if (!err)
		*ret_bytes = st.runs.n ? st.runs.v[st.runs.n - 1].off + st.runs.v[st.runs.n - 1].bytes : 0;
	else if (err == -ENOENT)
		err = fail(s, ENOENT, "pagemap-shmem-%u.img is missing", shmid);
	stored_free(&st);
	return err;
}

/* Copies run from offset pos of the pages file, but nothing behind size. */
static int fill_run(const struct stored *st, int fd, const struct shmem_run *run, uint64_t pos, uint64_t size,
		    char *buf)
{
	for (uint64_t done = 0; done < run->bytes && run->off + done < size;) {
		uint64_t n = MIN_OF(MIN_OF(CHUNK, run->bytes - done), size - run->off - done);
		int err = FAULT("reading shared memory");

		if (!err)
			err = pread_full(st->fd, buf, n, pos + done);

		if (!err)
			err = pwrite_full(fd, buf, n, run->off + done);
		if (err)
			return err;
		done += n;
	}
	return 0;
}

static int fill_object(struct session *s, const struct stored *st, int fd, uint32_t shmid, uint64_t size)
{
	_cleanup_free_ char *buf = xcalloc(1, CHUNK);
	uint64_t pos = 0;

	for (size_t i = 0; i < st->runs.n; i++) {
		const struct shmem_run *run = &st->runs.v[i];
		int err;

		if (run->off + run->bytes > PAGE_UP(size))
			return fail(s, EPROTO, "pagemap-shmem-%u.img has pages behind the end of the object, %" PRIu64
					       " bytes", shmid, size);
		err = fill_run(st, fd, run, pos, size, buf);
		if (err)
			return fail(s, -err, "cannot fill shared memory %u: %s", shmid, strerror(-err));
		pos += run->bytes;
	}
	s->stats.pages_restored += pos / PAGE_BYTES;
	return 0;
}

int shmem_fill(struct session *s, int fd, uint32_t shmid, uint64_t size)
{
	struct stored st;
	int err = stored_load(s, shmid, &st);

	if (err == -ENOENT)
		err = fail(s, ENOENT, "pagemap-shmem-%u.img is missing", shmid);
	else if (!err && size > INT64_MAX - PAGE_BYTES)
		err = fail(s, EPROTO, "shared memory %u cannot have %" PRIu64 " bytes", shmid, size);
	else if (!err)
		err = fill_object(s, &st, fd, shmid, size);
	stored_free(&st);
	return err;
}
