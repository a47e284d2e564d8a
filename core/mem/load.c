/* SPDX-License-Identifier: MIT */
/*
 * load.c: reads and checks mm-<pid> and pagemap-<pid>.
 *
 * What passes here can be planned without another look: mappings are sorted, whole
 * pages, inside the user's addresses and do not overlap; every stored page lies in
 * private memory and is there in the pages file.
 */
#include "mem_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image.h"
#include "kinds.h"
#include "pagemap.pb-c.h"

#define MAP_KNOWN                                                                                             \
	(MAP_SHARED | MAP_PRIVATE | MAP_DROPPABLE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_LOCKED | MAP_NORESERVE | \
	 MAP_STACK | MAP_DENYWRITE | MAP_EXECUTABLE | MAP_HUGETLB | VMA_HUGE_SIZE)
#define PROT_KNOWN (PROT_READ | PROT_WRITE | PROT_EXEC)
#define KINDS (VMA_FILE_PRIVATE | VMA_FILE_SHARED | VMA_ANON_PRIVATE | VMA_ANON_SHARED)
#define STATUS_KNOWN (VMA_STATUS_CORE | VMA_PLUGIN)
/* RANDOM, SEQUENTIAL, DONTFORK, MERGEABLE, HUGEPAGE, NOHUGEPAGE, DONTDUMP, WIPEONFORK: state, not acts */
#define MADV_KNOWN (1u << 1 | 1u << 2 | 1u << 10 | 1u << 12 | 1u << 14 | 1u << 15 | 1u << 16 | 1u << 18)
#define AUXV_MAX 128

/* Not made by us: the kernel gives it to every task. */
static bool is_vsyscall(const VmaEntry *v)
{
	return v->status & VMA_VSYSCALL;
}

static int bad_vma(struct session *s, const struct task *t, const VmaEntry *v, int err, const char *what)
{
	return fail(s, err, "mm-%d.img: mapping %#lx-%#lx: %s", task_vpid(t), v->start, v->end, what);
}

static const char *check_range(const VmaEntry *v)
{
	if (v->start % PAGE_BYTES || v->end % PAGE_BYTES || v->pgoff % PAGE_BYTES)
		return "not whole pages";
	if (v->start >= v->end || v->end > USER_END)
		return "outside the address space of a task";
	if (v->pgoff > (uint64_t)INT64_MAX - (v->end - v->start))
		return "outside the largest file";
	return NULL;
}

static const char *check_attributes(const VmaEntry *v)
{
	uint32_t kind = v->status & KINDS;
	bool shared = kind & (VMA_FILE_SHARED | VMA_ANON_SHARED);

	if (kind & (kind - 1) || !kind)
		return "neither file nor anonymous, or both";
	if (v->prot & ~PROT_KNOWN)
		return "unknown protection";
	if (v->flags & ~MAP_KNOWN || (v->flags & VMA_HUGE_SIZE && !(v->flags & MAP_HUGETLB)))
		return "unknown flags";
	if (shared != !!(v->flags & MAP_SHARED) || (shared && v->flags & (MAP_DROPPABLE | MAP_GROWSDOWN)))
		return "shared and private at once";
	if (v->has_madv && v->madv & ~(uint64_t)MADV_KNOWN)
		return "unknown advice";
	if (kind != VMA_ANON_PRIVATE && v->shmid > UINT32_MAX)
		return "impossible object id";
	return NULL;
}

/* Adds v to the lists of m. */
static int take_vma(struct session *s, struct task *t, VmaEntry *v)
{
	struct mem *m = t->mem;
	const char *why = check_range(v);

	int err;

	if (why)
		return bad_vma(s, t, v, EPROTO, why);
	err = mapping_take(s, t, v);
	if (err < 0)
		return err;
	if (v->status & ~(uint32_t)STATUS_KNOWN)
		return bad_vma(s, t, v, EOPNOTSUPP, "a kind of memory that this version cannot restore");
	if (v->status & VMA_GUARD) {
		*vec_push(&m->guards) = v;
		return 0;
	}
	why = check_attributes(v);
	if (why)
		return bad_vma(s, t, v, EPROTO, why);
	v->fd = -1;
	if (!(v->status & (VMA_VDSO | VMA_VVAR)))
		*vec_push(&m->maps) = v;
	return 0;
}

/* One block of data pages, one of code: side by side, unless the task has moved one of them. */
static int take_vdso(struct session *s, struct task *t, const VmaEntry *v)
{
	struct vdso_place *d = &t->mem->vdso;

	if (v->status & VMA_VDSO) {
		if (d->code)
			return bad_vma(s, t, v, EOPNOTSUPP, "a second vDSO");
		d->code = v->start;
		d->end = v->end;
		return 0;
	}
	if (d->start && d->data_end != v->start)
		return bad_vma(s, t, v, EOPNOTSUPP, "the data of the vDSO in several places");
	if (!d->start)
		d->start = v->start;
	d->data_end = v->end;
	return 0;
}

static int load_vmas(struct session *s, struct task *t)
{
	struct mem *m = t->mem;
	uint64_t end = 0;
	int r;

	for (size_t i = 0; i < m->mm->n_vmas; i++) {
		VmaEntry *v = m->mm->vmas[i];

		if (is_vsyscall(v))
			continue;
		r = take_vma(s, t, v);
		if (r < 0)
			return r;
		if (v->status & VMA_GUARD)
			continue;
		if (v->start < end)
			return bad_vma(s, t, v, EPROTO, "overlaps the one before it, or is out of order");
		end = v->end;
		r = v->status & (VMA_VDSO | VMA_VVAR) ? take_vdso(s, t, v) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

static int check_guards(struct session *s, struct task *t)
{
	struct mem *m = t->mem;
	size_t k = 0;

	for (size_t i = 0; i < m->guards.n; i++) {
		const VmaEntry *g = m->guards.v[i];

		if (i && g->start < m->guards.v[i - 1]->end)
			return bad_vma(s, t, g, EPROTO, "guard regions overlap or are out of order");
		while (k < m->maps.n && m->maps.v[k]->end <= g->start)
			k++;
		if (k == m->maps.n || g->start < m->maps.v[k]->start || g->end > m->maps.v[k]->end)
			return bad_vma(s, t, g, EPROTO, "a guard region outside any mapping");
	}
	return 0;
}

static int load_mm(struct session *s, struct task *t)
{
	ProtobufCMessage *msg = NULL;
	int r = img_read_one(s, &img_mm, (uint64_t)task_vpid(t), &mm_entry__descriptor, &msg);

	if (r == -ENOENT)
		return fail(s, ENOENT, "mm-%d.img is missing: the image directory is incomplete", task_vpid(t));
	if (r < 0)
		return r;
	t->mem->mm = (MmEntry *)msg;
	if (t->mem->mm->n_mm_saved_auxv > AUXV_MAX)
		return fail(s, EPROTO, "mm-%d.img: %zu words of auxiliary vector", task_vpid(t),
			    t->mem->mm->n_mm_saved_auxv);
	r = mappings_read(s, t);
	if (r == 0)
		r = load_vmas(s, t);
	if (r == 0)
		r = mappings_settle(s, t, t->mem->mm);
	return r < 0 ? r : check_guards(s, t);
}

/* ---- pages ---- */

/* State of reading one pagemap. */
struct loader {
	struct session *s;
	struct task *t;
	uint64_t bytes;	   /* of pages up to here in the pages file */
	uint64_t end;	   /* of the last run */
	size_t vma;	   /* cursor into mm->vmas */
};

static int bad_run(const struct loader *l, uint64_t addr, const char *what)
{
	return fail(l->s, EPROTO, "pagemap-%d.img: pages at %#lx: %s", task_vpid(l->t), addr, what);
}

static bool takes_pages(const VmaEntry *v)
{
	return v->status & (VMA_ANON_PRIVATE | VMA_FILE_PRIVATE) && !(v->status & VMA_VVAR);
}

/* Every page lies in private memory; a run may go through several adjacent mappings. */
static int check_covered(struct loader *l, uint64_t start, uint64_t end)
{
	MmEntry *mm = l->t->mem->mm;
	uint64_t at = start;

	while (at < end) {
		const VmaEntry *v;

		while (l->vma < mm->n_vmas && (is_vsyscall(mm->vmas[l->vma]) || mm->vmas[l->vma]->status & VMA_GUARD ||
					       mm->vmas[l->vma]->end <= at))
			l->vma++;
		v = l->vma < mm->n_vmas ? mm->vmas[l->vma] : NULL;
		if (!v || v->start > at)
			return bad_run(l, at, "they belong to no mapping");
		if (!takes_pages(v))
			return bad_run(l, at, "they lie in memory that is not private");
		at = v->end;
	}
	return 0;
}

static int take_run(struct loader *l, const PagemapEntry *e)
{
	struct mem *m = l->t->mem;
	uint64_t pages = e->has_nr_pages ? e->nr_pages : e->compat_nr_pages;
	bool in_parent = (e->has_in_parent && e->in_parent) || (e->has_flags && e->flags & PE_PARENT);
	bool elsewhere = e->has_flags && e->flags & PE_ELSEWHERE;
	struct stored_run run = { .start = e->vaddr, .fd = -1 }, *last = m->runs.n ? &m->runs.v[m->runs.n - 1] : NULL;
	int r;

	if (e->vaddr % PAGE_BYTES || !pages || e->vaddr >= USER_END ||
	    pages > (USER_END - e->vaddr) / PAGE_BYTES)
		return bad_run(l, e->vaddr, "outside the address space of a task");
	if (e->vaddr < l->end)
		return bad_run(l, e->vaddr, "they overlap the ones before, or are out of order");
	if (in_parent && !elsewhere)
		return fail(l->s, EOPNOTSUPP, "pagemap-%d.img: pages at %#lx are in a parent image, which is not "
			    "supported: restore from a full dump", task_vpid(l->t), e->vaddr);
	if (e->has_flags && !(e->flags & PE_PRESENT) && !elsewhere)
		return fail(l->s, EOPNOTSUPP, "pagemap-%d.img: pages at %#lx are not in the image (lazy migration)",
			    task_vpid(l->t), e->vaddr);
	run.end = run.start + pages * PAGE_BYTES;
	r = check_covered(l, run.start, run.end);
	if (r < 0)
		return r;
	l->end = run.end;
	if (!elsewhere) { /* else same_load() finds them */
		run.file = m->pages_id;
		run.off = l->bytes;
		l->bytes += run.end - run.start;
	}
	if (last && last->end == run.start && last->file == run.file)
		last->end = run.end;
	else
		*vec_push(&m->runs) = run;
	return 0;
}

static int read_runs(struct loader *l, struct cr_reader *r)
{
	ProtobufCMessage *msg = NULL;
	int n = img_next_msg(r, &pagemap_head__descriptor, &msg);

	if (n == 0)
		return fail(l->s, EPROTO, "pagemap-%d.img is empty", task_vpid(l->t));
	if (n < 0)
		return n;
	l->t->mem->pages_id = ((PagemapHead *)msg)->pages_id;
	protobuf_c_message_free_unpacked(msg, NULL);
	for (;;) {
		n = img_next_msg(r, &pagemap_entry__descriptor, &msg);
		if (n <= 0)
			return n;
		n = take_run(l, (PagemapEntry *)msg);
		protobuf_c_message_free_unpacked(msg, NULL);
		if (n < 0)
			return n;
	}
}

static int check_pages_file(const struct loader *l)
{
	_cleanup_free_ char *whose = xasprintf("pagemap-%d.img", task_vpid(l->t));

	return l->bytes ? pages_file_check(l->s, l->t->mem->pages_id, l->bytes, whose) : 0;
}

static int load_pagemap(struct session *s, struct task *t)
{
	struct loader l = { .s = s, .t = t };
	struct cr_reader *reader;
	int r = img_open(s, &img_pagemap, (uint64_t)task_vpid(t), &reader);

	if (r == -ENOENT)
		return fail(s, ENOENT, "pagemap-%d.img is missing: the image directory is incomplete", task_vpid(t));
	if (r < 0)
		return r;
	r = read_runs(&l, reader);
	img_close(reader);
	return r < 0 ? r : check_pages_file(&l);
}

int mem_load(struct session *s, struct task *t)
{
	int r;

	if (t->life == TASK_ZOMBIE)
		return 0;
	at_object(s, "pid %d", task_vpid(t));
	t->mem = xcalloc(1, sizeof(*t->mem));
	r = load_mm(s, t);
	if (r == 0)
		r = load_pagemap(s, t);
	if (r == 0)
		r = extras_load(s, t);
	if (r == 0)
		r = extras_check_keys(s, t);
	if (r == 0)
		r = same_load(s, t);
	if (r == 0)
		at_object(s, NULL);
	return r;
}

void mem_free_restore(struct mem *m)
{
	/* no entry was read: nothing of the restore side is set */
	if (!m->mm)
		return;
	for (size_t i = 0; i < m->shm.n; i++)
		cleanup_fd(&m->shm.v[i].fd);
	vec_free(&m->shm);
	vec_free(&m->maps);
	vec_free(&m->guards);
	vec_free(&m->runs);
	vec_free(&m->patches);
	extras_free(m);
	mm_entry__free_unpacked(m->mm, NULL);
	m->mm = NULL;
}

size_t mem_find_run(const struct mem *m, uint64_t addr)
{
	size_t lo = 0, hi = m->runs.n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (m->runs.v[mid].end > addr)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

uint32_t mem_exe_id(const struct task *t)
{
	return t->mem ? t->mem->mm->exe_file_id : 0;
}

uint64_t mem_stored_bytes(const struct task *t)
{
	uint64_t bytes = 0;

	for (size_t i = 0; t->mem && i < t->mem->runs.n; i++)
		if (t->mem->runs.v[i].file == t->mem->pages_id)
			bytes += t->mem->runs.v[i].end - t->mem->runs.v[i].start;
	return bytes;
}

int mem_dumpable(const struct task *t)
{
	return t->mem && t->mem->mm->has_dumpable ? t->mem->mm->dumpable : -1;
}

int mem_each_file(struct session *s, struct task *t, int (*f)(struct session *s, uint32_t id, bool write))
{
	for (size_t i = 0; t->mem && i < t->mem->maps.n; i++) {
		const VmaEntry *v = t->mem->maps.v[i];
		bool write = v->status & VMA_FILE_SHARED &&
			     (v->prot & PROT_WRITE || (v->fdflags & O_ACCMODE) == O_RDWR);
		int r = vma_is_file(v->status) ? f(s, (uint32_t)v->shmid, write) : 0;

		if (r < 0)
			return r;
	}
	return 0;
}
