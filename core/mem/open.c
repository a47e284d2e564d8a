/* SPDX-License-Identifier: MIT */
/*
 * open.c: what E prepares for the tasks' memory before any of them exists.
 *
 * Pages files, one descriptor a task, and shared anonymous memory, one object for
 * all mappings with the same id, filled from its image.  Tasks inherit E's
 * descriptors and map or read them; nothing is copied through E.  Also here: the
 * choice of an address range that no address space uses.
 */
#include "mem_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fault.h"
#include "files.h"
#include "image.h"

#define ARENA_WANT (4ull << 30)
#define ARENA_LEAST (64ull << 20)
#define ARENA_ALIGN (2ull << 20)
#define ARENA_DISTANCE (1ull << 20)

/* ---- the arena's place ---- */

static int by_start(const void *a, const void *b)
{
	uint64_t x = ((const struct span *)a)->start, y = ((const struct span *)b)->start;

	return x < y ? -1 : x > y;
}

/* Everything mapped in E or in a task to be. */
static int collect_used(struct session *s, span_list *used)
{
	_cleanup_buf_ struct buf text = { 0 };
	vma_list vmas = { 0 };
	int r = read_file(AT_FDCWD, "/proc/self/maps", &text);

	if (r == 0)
		r = proc_parse_maps(text.p, text.len, &vmas);
	if (r < 0)
		r = fail(s, -r, "cannot read /proc/self/maps: %s", strerror(-r));
	for (size_t i = 0; i < vmas.n; i++)
		*vec_push(used) = (struct span){ vmas.v[i].start, vmas.v[i].end };
	proc_vmas_free(&vmas);
	FOR_EACH_TASK(t, s->tree) {
		for (size_t i = 0; t->mem && i < t->mem->mm->n_vmas; i++)
			*vec_push(used) = (struct span){ t->mem->mm->vmas[i]->start, t->mem->mm->vmas[i]->end };
	}
	return r;
}

uint64_t mem_lowest_address(void)
{
	_cleanup_buf_ struct buf text = { 0 };
	static uint64_t lowest;

	if (lowest)
		return lowest;
	lowest = 1 << 20;
	if (read_file(AT_FDCWD, "/proc/sys/vm/mmap_min_addr", &text) == 0)
		lowest = MAX_OF(lowest, PAGE_UP(strtoull(text.p, NULL, 10)));
	return lowest;
}

static struct span largest_hole(const span_list *used)
{
	uint64_t at = mem_lowest_address();
	struct span best = { 0, 0 };

	for (size_t i = 0; i <= used->n; i++) {
		uint64_t start = i < used->n ? MIN_OF(used->v[i].start, USER_END) : USER_END;

		if (start > at && start - at > best.end - best.start)
			best = (struct span){ at, start };
		if (i < used->n)
			at = MAX_OF(at, used->v[i].end);
	}
	return best;
}

int mem_pick_arena(struct session *s, uint64_t *ret_base, uint64_t *ret_size)
{
	uint64_t want = *ret_size ? *ret_size : ARENA_WANT, room, size;
	span_list used = { 0 };
	struct span hole;
	int r = collect_used(s, &used);

	if (used.n)
		qsort(used.v, used.n, sizeof(used.v[0]), by_start);
	hole = largest_hole(&used);
	vec_free(&used);
	if (r < 0)
		return r;
	room = hole.end - hole.start;
	room = room > 2 * ARENA_DISTANCE + ARENA_ALIGN ? room - 2 * ARENA_DISTANCE - ARENA_ALIGN : 0;
	size = MIN_OF(want, room) & ~(ARENA_ALIGN - 1);
	if (size < MIN_OF(want, ARENA_LEAST))
		return fail(s, ENOMEM, "no address range of %llu MiB is free in all tasks: their address spaces are too full",
			    ARENA_LEAST >> 20);
	/* in the middle: heaps grow up from below, mappings grow down from above */
	*ret_base = (hole.start + ARENA_DISTANCE + (room - size) / 2 + ARENA_ALIGN - 1) & ~(ARENA_ALIGN - 1);
	*ret_size = size;
	return 0;
}

/* ---- pages files ---- */

static int open_pages(struct session *s, struct task *t)
{
	for (size_t i = 0; i < t->mem->runs.n; i++) {
		struct stored_run *r = &t->mem->runs.v[i];

		r->fd = i && r[-1].file == r->file ? r[-1].fd : pages_file_open(s, r->file);
		if (r->fd < 0)
			return r->fd;
	}
	return 0;
}

int mem_read_stored(const struct mem *m, uint64_t addr, void *buf, size_t len)
{
	for (size_t run = mem_find_run(m, addr); len; run++) {
		const struct stored_run *r = &m->runs.v[run];
		size_t n;
		int err;

		if (run == m->runs.n || r->start > addr)
			return -ENOENT;
		n = MIN_OF(len, r->end - addr);
		err = pread_full(r->fd, buf, n, (off_t)(r->off + (addr - r->start)));
		if (err)
			return err;
		addr += n;
		buf = (char *)buf + n;
		len -= n;
	}
	return 0;
}

/* ---- shared anonymous memory ---- */

static struct shm_object *find_shm(struct mem *root, uint32_t shmid)
{
	for (size_t i = 0; i < root->shm.n; i++)
		if (root->shm.v[i].shmid == shmid)
			return &root->shm.v[i];
	return NULL;
}

/* Every object with the size that its mappings ask for. */
static void collect_shm(struct task *t, struct mem *root)
{
	for (size_t i = 0; i < t->mem->maps.n; i++) {
		const VmaEntry *v = t->mem->maps.v[i];
		uint64_t bytes = v->pgoff + (v->end - v->start);
		struct shm_object *o;

		if (!(v->status & VMA_ANON_SHARED))
			continue;
		o = find_shm(root, (uint32_t)v->shmid);
		if (!o) {
			o = vec_push(&root->shm);
			*o = (struct shm_object){ .shmid = (uint32_t)v->shmid, .fd = -1 };
			o->huge = v->flags & (MAP_HUGETLB | VMA_HUGE_SIZE);
		}
		o->bytes = MAX_OF(o->bytes, bytes);
	}
}

/*
 * Memory as a shared anonymous mapping has it: opened through map_files it shows as "/dev/zero (deleted)", as it
 * did before the dump.  Without the privilege for that, a memfd does the same under another name.
 */
static int make_shm(uint64_t bytes)
{
	void *p = FAULTS("shared memory") ? MAP_FAILED :
		  mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char path[80];
	int fd;

	if (p == MAP_FAILED)
		return -errno;
	snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx", (uint64_t)p, (uint64_t)p + bytes);
	fd = open(path, O_RDWR | O_CLOEXEC);
	munmap(p, bytes);
	if (fd >= 0)
		return fd;
	fd = memfd_create("dev/zero", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)bytes) < 0) {
		int err = errno;

		close(fd);
		return -err;
	}
	return fd;
}

/* A file of huge pages: the flags of memfd_create(2) are those of mmap(2), but for MFD_HUGETLB. */
static int make_huge(uint32_t huge, uint64_t bytes)
{
	int fd = memfd_create("anon_hugepage", MFD_CLOEXEC | MFD_HUGETLB | (huge & VMA_HUGE_SIZE));
	int err;

	if (fd < 0 || ftruncate(fd, (off_t)bytes) == 0)
		return fd < 0 ? -errno : fd;
	err = -errno;
	close(fd);
	return err;
}

/* Copies what is no hole in from to the memory at to. */
static int copy_data(int from, char *to, uint64_t bytes)
{
	off_t start = 0, end;

	while ((start = lseek(from, start, SEEK_DATA)) >= 0 && (uint64_t)start < bytes) {
		int err;

		end = lseek(from, start, SEEK_HOLE);
		if (end < 0 || (uint64_t)end > bytes)
			end = (off_t)bytes;
		err = pread_full(from, to + start, (size_t)(end - start), start);
		if (err < 0)
			return err;
		start = end;
	}
	return 0;
}

/* Such a file cannot be written to, only mapped: the contents get there by way of another one. */
static int fill_huge(struct session *s, const struct shm_object *o)
{
	_cleanup_fd_ int tmp = make_shm(o->bytes);
	void *p = mmap(NULL, o->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, o->fd, 0);
	int err;

	if (tmp < 0 || p == MAP_FAILED) {
		err = tmp < 0 ? tmp : -errno;
		if (p != MAP_FAILED)
			munmap(p, o->bytes);
		return fail(s, -err, "cannot map %lu bytes of huge pages: %s; are there enough of them (vm.nr_hugepages)?",
			    o->bytes, strerror(-err));
	}
	err = shmem_fill(s, tmp, o->shmid, o->bytes);
	if (err == 0) {
		err = copy_data(tmp, p, o->bytes);
		if (err < 0)
			fail(s, -err, "cannot fill %lu bytes of huge pages: %s", o->bytes, strerror(-err));
	}
	munmap(p, o->bytes);
	return err;
}

static int open_shm(struct session *s, struct shm_object *o)
{
	uint64_t stored = 0;
	int r = shmem_extent(s, o->shmid, &stored);

	if (r < 0)
		return r;
	o->bytes = MAX_OF(o->bytes, stored);
	if (o->huge) {
		uint64_t page = 1ull << (o->huge & VMA_HUGE_SIZE ? o->huge >> 26 & 63 : 21);

		o->bytes = (o->bytes + page - 1) & ~(page - 1);
	}
	r = o->huge ? make_huge(o->huge, o->bytes) : make_shm(o->bytes);
	if (r < 0)
		return fail(s, -r, "cannot create %lu bytes of shared memory (object %u): %s", o->bytes, o->shmid,
			    strerror(-r));
	o->fd = files_high_fd(s, r);
	if (o->fd < 0)
		return o->fd;
	return o->huge ? fill_huge(s, o) : shmem_fill(s, o->fd, o->shmid, o->bytes);
}

static void assign_shm(struct task *t, struct mem *root)
{
	for (size_t i = 0; i < t->mem->maps.n; i++) {
		VmaEntry *v = t->mem->maps.v[i];

		if (v->status & VMA_ANON_SHARED)
			v->fd = find_shm(root, (uint32_t)v->shmid)->fd;
	}
}

int mem_open(struct session *s)
{
	struct mem *root = s->tree->root ? s->tree->root->mem : NULL;
	int r;

	if (!root)
		return 0;
	r = vdso_self(s, &root->self);
	FOR_EACH_TASK(t, s->tree) {
		if (!t->mem || r < 0)
			continue;
		at_object(s, "pid %d", task_vpid(t));
		collect_shm(t, root);
		r = open_pages(s, t);
		if (r == 0)
			r = vdso_settle(s, t, &root->self);
	}
	at_object(s, NULL);
	for (size_t i = 0; i < root->shm.n && r == 0; i++)
		r = open_shm(s, &root->shm.v[i]);
	if (r < 0)
		return r;
	FOR_EACH_TASK(t, s->tree)
		if (t->mem)
			assign_shm(t, root);
	return 0;
}
