/* SPDX-License-Identifier: MIT */
/*
 * plan.c: the operations that give a task its memory.
 *
 * Order, which is that of the functions in mem_plan():
 *   1. what is inherited and not wanted goes; the vDSO moves to its place,
 *   2. the mm fields and the exe link, while no mapping of the old executable is left,
 *   3. mappings are made, or grown, and made writable where pages come,
 *   4. pages: E writes them (fill.c), or the task reads them from the image, as many as possible a call,
 *   5. final protections, advice, guard regions, locks.
 * Every operation says exactly which result is right: a mapping that the kernel
 * would have to put elsewhere fails the restore instead of surprising the task.
 */
#include "mem_priv.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "files.h"

#define IOV_RUNS 1024
#define RSEQ_LEAST 32
#define ADVICE_GUARD_REMOVE 103 /* Linux 6.13 */
#define MLOCK_WHEN_TOUCHED 1	/* MLOCK_ONFAULT */
#define NO_FD 0xffffffffu
#define ASK_LEAST (64ull << 10) /* bytes for which asking E is worth while */
#define EARLY_LEAST 256

enum { ADVICE_MERGEABLE = 12, ADVICE_HUGE = 14, ADVICE_NOHUGE = 15, ADVICE_N = 64 };

/* One task's plan being made. */
struct planner {
	struct session *s;
	struct task *t;
	struct plan *p;
	const struct mem *own, *from; /* from: NULL for the root */
	struct mem_diff d;
	bool ask;   /* E shall write the pages */
	bool early; /* closed_early() */
};

static void origin(struct planner *pl, const VmaEntry *v)
{
	if (vma_is_file(v->status))
		plan_origin(pl->p->set, "memory: mapping %lx-%lx of file %lu", v->start, v->end, v->shmid);
	else
		plan_origin(pl->p->set, "memory: mapping %lx-%lx%s", v->start, v->end,
			    v->status & VMA_ANON_SHARED ? " (shared)" : "");
}

static void unmap(struct planner *pl, uint64_t start, uint64_t end)
{
	if (start < end)
		plan_sys(pl->p, BLOB_ZERO, SYS_munmap, start, end - start);
}

/* ---- 1. away with what is not wanted ---- */

/* The area that E's libc has registered would be unmapped, and the next preemption deadly. */
static void unregister_rseq(struct planner *pl)
{
	uint64_t area = (uint64_t)__builtin_thread_pointer() + (uint64_t)__rseq_offset;
	uint64_t bytes = (__rseq_size + RSEQ_LEAST - 1) & ~(RSEQ_LEAST - 1u);

	/* 0: libc did not register one */
	if (!__rseq_size)
		return;
	plan_origin(pl->p->set, "memory: the engine's rseq area");
	plan_sys(pl->p, BLOB_ZERO, SYS_rseq, area, bytes, RSEQ_FLAG_UNREGISTER, RSEQ_SIG);
}

/* Root: nothing of E stays but the arena. */
static void clear_root(struct planner *pl)
{
	const struct arena *a = pl->p->set->arena;
	const struct vdso_layout *self = &pl->s->tree->root->mem->self;
	const struct vdso_place *want = &pl->own->kernel;

	unregister_rseq(pl);
	if (vdso_any(want))
		vdso_plan_park(pl->p, self, &self->at);
	plan_origin(pl->p->set, "memory: the engine's own mappings");
	unmap(pl, 0, a->base);
	unmap(pl, a->base + a->size, USER_END);
	if (vdso_any(want))
		vdso_plan_unpark(pl->p, self, want);
}

static void clear_child(struct planner *pl)
{
	const struct vdso_layout *self = &pl->s->tree->root->mem->self;
	const struct vdso_place *had = &pl->from->kernel, *want = &pl->own->kernel;
	bool move = memcmp(had, want, sizeof(*had)) != 0;

	/* what is not wanted stays in the parking range and goes with it */
	if (move)
		vdso_plan_park(pl->p, self, had);
	plan_origin(pl->p->set, "memory: mappings of the parent");
	for (size_t i = 0; i < pl->d.unmap.n; i++)
		unmap(pl, pl->d.unmap.v[i].start, pl->d.unmap.v[i].end);
	if (move)
		vdso_plan_unpark(pl->p, self, want);
}

/* What there is of a vDSO in `want` is also in `had`. */
static bool vdso_covers(const struct vdso_place *had, const struct vdso_place *want)
{
	return (want->end == want->code || had->end > had->code) && (want->data_end == want->start || had->data_end > had->start);
}

static int clear(struct planner *pl)
{
	if (!pl->from) {
		clear_root(pl);
		return 0;
	}
	if (!vdso_covers(&pl->from->kernel, &pl->own->kernel))
		return fail(pl->s, EOPNOTSUPP, "pid %d has a vDSO but the task it was forked from has none",
			    task_vpid(pl->t));
	clear_child(pl);
	return 0;
}

/* ---- 2. fields of the mm ---- */

static int exe_fd(struct planner *pl, uint32_t *ret)
{
	uint32_t id = pl->own->mm->exe_file_id;
	int fd;

	/* inherited; it cannot be set again while the executable is mapped */
	if (pl->from && pl->from->mm->exe_file_id == id) {
		*ret = NO_FD;
		return 0;
	}
	fd = files_fd(pl->s, id);
	if (fd < 0)
		return fail(pl->s, ENOENT, "pid %d: its executable (file %u) is not open", task_vpid(pl->t), id);
	*ret = (uint32_t)fd;
	return 0;
}

static int set_mm(struct planner *pl)
{
	const MmEntry *mm = pl->own->mm;
	struct prctl_mm_map map = {
		.start_code = mm->mm_start_code,
		.end_code = mm->mm_end_code,
		.start_data = mm->mm_start_data,
		.end_data = mm->mm_end_data,
		.start_brk = mm->mm_start_brk,
		.brk = mm->mm_brk,
		.start_stack = mm->mm_start_stack,
		.arg_start = mm->mm_arg_start,
		.arg_end = mm->mm_arg_end,
		.env_start = mm->mm_env_start,
		.env_end = mm->mm_env_end,
		.auxv_size = (uint32_t)(mm->n_mm_saved_auxv * sizeof(uint64_t)),
	};
	int r = exe_fd(pl, &map.exe_fd);

	if (r < 0)
		return r;
	if (mm->n_mm_saved_auxv)
		map.auxv = plan_put(pl->p, mm->mm_saved_auxv, map.auxv_size);
	plan_origin(pl->p->set, "memory: mm fields, executable file %u", mm->exe_file_id);
	plan_sys(pl->p, BLOB_ZERO, SYS_prctl, PR_SET_MM, PR_SET_MM_MAP,
		 (uint64_t)plan_put(pl->p, &map, sizeof(map)), sizeof(map));
	return 0;
}

/* Transparent huge pages on or off, before pages are filled. */
static void set_thp(struct planner *pl)
{
	const MmEntry *mm = pl->own->mm;
	bool had = pl->from ? pl->from->mm->thp_disabled : prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) == 1;
	bool want = mm->has_thp_disabled && mm->thp_disabled;

	if (had == want)
		return;
	plan_origin(pl->p->set, "memory: transparent huge pages");
	plan_sys(pl->p, BLOB_ZERO, SYS_prctl, PR_SET_THP_DISABLE, want);
}

/* ---- 3. mappings ---- */

static uint64_t madv_of(const VmaEntry *v)
{
	return v->has_madv ? v->madv : 0;
}

/* Protection of pc before its own is set: as inherited, or as mapped. */
static uint32_t base_prot(const struct piece *pc)
{
	uint32_t prot = pc->from ? pc->from->prot : pc->v->prot;

	/* a key of the kernel's is taken for it, which must be the right one (extras.c) */
	return !pc->from && prot == PROT_EXEC ? PROT_NONE : prot;
}

static bool must_be_writable(const struct piece *pc)
{
	return pc->filled && (base_prot(pc) & (PROT_READ | PROT_WRITE)) != (PROT_READ | PROT_WRITE);
}

/* The old vDSO, see patch_vdso(). */
static bool is_patched(const struct planner *pl, const struct piece *pc)
{
	for (size_t i = 0; i < pl->own->patches.n; i++)
		if (pl->own->patches.v[i].addr >= pc->start && pl->own->patches.v[i].addr < pc->end)
			return true;
	return false;
}

/*
 * E needs no access: such a piece can get its protection while it is empty. With pages in it each change makes all CPUs forget
 * their translations; only then, however, the kernel goes on to count it as memory that was promised (Committed_AS, "ac"
 * in smaps). So this is done where there are many.
 */
static bool may_close_early(const struct planner *pl, const struct piece *pc)
{
	return pl->ask && !pc->from && must_be_writable(pc) && !is_patched(pl, pc);
}

static bool closed_early(const struct planner *pl, const struct piece *pc)
{
	return pl->early && may_close_early(pl, pc);
}

static bool close_early(const struct planner *pl)
{
	size_t n = 0;

	for (size_t i = 0; i < pl->d.pieces.n; i++)
		n += may_close_early(pl, &pl->d.pieces.v[i]);
	return n >= EARLY_LEAST;
}

/* Protection of pc while pages are written into it. */
static uint32_t work_prot(const struct planner *pl, const struct piece *pc)
{
	return must_be_writable(pc) && !closed_early(pl, pc) ? PROT_READ | PROT_WRITE : base_prot(pc);
}

/* Advice that steers how pages come into being; a kernel without it restores the same contents. */
static void advise_early(struct planner *pl, const struct piece *pc)
{
	uint64_t add = madv_of(pc->v) & ~(pc->from ? madv_of(pc->from) : 0);

	for (int advice = ADVICE_HUGE; advice <= ADVICE_NOHUGE; advice++)
		if (add & 1ull << advice)
			plan_sys(pl->p, BLOB_ANY, SYS_madvise, pc->start, pc->end - pc->start, (uint64_t)advice);
}

static int backing_fd(struct planner *pl, const VmaEntry *v, int64_t *ret)
{
	int64_t fd = -1;

	if (v->status & VMA_ANON_SHARED)
		fd = v->fd;
	else if (vma_is_file(v->status))
		fd = files_fd(pl->s, (uint32_t)v->shmid);
	if (fd < 0 && !(v->status & VMA_ANON_PRIVATE))
		return fail(pl->s, ENOENT, "pid %d: the file behind mapping %#lx-%#lx (object %lu) is not open",
			    task_vpid(pl->t), v->start, v->end, v->shmid);
	*ret = fd;
	return 0;
}

static uint32_t map_flags(const VmaEntry *v)
{
	uint32_t flags = v->flags & (MAP_GROWSDOWN | MAP_NORESERVE | MAP_STACK);

	/* a file of huge pages has no need of the flag */
	if (v->status & VMA_ANON_PRIVATE)
		flags |= v->flags & (MAP_HUGETLB | VMA_HUGE_SIZE);

	if (v->status & (VMA_FILE_SHARED | VMA_ANON_SHARED))
		return flags | MAP_SHARED | MAP_FIXED_NOREPLACE;
	flags |= v->flags & MAP_DROPPABLE ? MAP_DROPPABLE : MAP_PRIVATE;
	return flags | MAP_FIXED_NOREPLACE | (v->status & VMA_ANON_PRIVATE ? MAP_ANONYMOUS : 0);
}

static int map_piece(struct planner *pl, const struct piece *pc)
{
	const VmaEntry *v = pc->v;
	bool file = !(v->status & VMA_ANON_PRIVATE);
	int64_t fd = -1;
	int r = backing_fd(pl, v, &fd);

	if (r < 0)
		return r;
	plan_sys(pl->p, BLOB_EXPECT, SYS_mmap, pc->start, pc->end - pc->start,
		 must_be_writable(pc) ? PROT_READ | PROT_WRITE : base_prot(pc), map_flags(v), (uint64_t)fd,
		 file ? v->pgoff + (pc->start - v->start) : 0)
		->expect = pc->start;
	if (closed_early(pl, pc))
		plan_sys(pl->p, BLOB_ZERO, SYS_mprotect, pc->start, pc->end - pc->start, base_prot(pc));
	return 0;
}

/* The last kept page grows: that works whatever mappings the kernel has merged or split below it. */
static void grow_piece(struct planner *pl, const struct piece *pc)
{
	uint64_t last = pc->kept - PAGE_BYTES;

	plan_sys(pl->p, BLOB_EXPECT, SYS_mremap, last, PAGE_BYTES, PAGE_BYTES + (pc->end - pc->kept), 0)->expect = last;
}

/* What a kept part has and the task has not: guard regions of the parent. */
static void remove_guards(struct planner *pl, const struct piece *pc)
{
	for (size_t i = 0; i < pl->from->guards.n; i++) {
		uint64_t start = MAX_OF(pl->from->guards.v[i]->start, pc->start);
		uint64_t end = MIN_OF(pl->from->guards.v[i]->end, pc->kept);

		if (start < end)
			plan_sys(pl->p, BLOB_ZERO, SYS_madvise, start, end - start, ADVICE_GUARD_REMOVE);
	}
}

static int make_mappings(struct planner *pl)
{
	for (size_t i = 0; i < pl->d.pieces.n; i++) {
		const struct piece *pc = &pl->d.pieces.v[i];
		int r = 0;

		origin(pl, pc->v);
		if (!pc->from) {
			r = map_piece(pl, pc);
		} else {
			remove_guards(pl, pc);
			if (pc->end > pc->kept)
				grow_piece(pl, pc);
			if (work_prot(pl, pc) != pc->from->prot)
				plan_sys(pl->p, BLOB_ZERO, SYS_mprotect, pc->start, pc->end - pc->start, work_prot(pl, pc));
		}
		if (r < 0)
			return r;
		advise_early(pl, pc);
		/* before pages come, which are to be from its nodes */
		extras_plan_policy(pl->own, pc->from ? pl->from : NULL, pc->start, pc->end, pl->p);
	}
	plan_origin(pl->p->set, "memory: pages of the parent that the task has not");
	for (size_t i = 0; i < pl->d.drop.n; i++)
		plan_sys(pl->p, BLOB_ZERO, SYS_madvise, pl->d.drop.v[i].start,
			 pl->d.drop.v[i].end - pl->d.drop.v[i].start, MADV_DONTNEED);
	return 0;
}

/* ---- 4. pages ---- */

/* Where in the list of fills the next call begins. */
struct fill_cursor {
	size_t i;
	uint64_t done; /* bytes of fill i */
};

static uint64_t fill_bytes(const struct planner *pl)
{
	const stored_list *l = &pl->d.fill;
	uint64_t bytes = 0;

	for (size_t i = 0; i < l->n; i++)
		bytes += l->v[i].end - l->v[i].start;
	return bytes;
}

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

/* All pages of a run at once, which the kernel would otherwise make one fault after the other while it reads. */
static void make_pages(struct planner *pl, const struct iovec *v)
{
	if (!pl->ask && v->iov_len > PAGE_BYTES)
		plan_sys(pl->p, BLOB_ANY, SYS_madvise, (uint64_t)v->iov_base, v->iov_len, MADV_POPULATE_WRITE);
}

/* One call: as much as is contiguous in the file. */
static void fill_call(struct planner *pl, struct fill_cursor *c)
{
	const stored_list *l = &pl->d.fill;
	const struct stored_run *first = &l->v[c->i];
	uint64_t off = first->off + c->done, start = first->start + c->done, end = 0, bytes = 0;
	struct iovec iov[IOV_RUNS] = { 0 }, *there;
	size_t n = 0;

	while (c->i < l->n && n < IOV_RUNS && bytes < FILL_MAX && l->v[c->i].file == first->file &&
	       l->v[c->i].off + c->done == off + bytes) {
		const struct stored_run *r = &l->v[c->i];
		uint64_t len = MIN_OF(r->end - r->start - c->done, FILL_MAX - bytes);

		iov[n++] = (struct iovec){ (void *)(r->start + c->done), len };
		bytes += len;
		c->done += len;
		end = r->start + c->done;
		if (end == r->end)
			*c = (struct fill_cursor){ c->i + 1, 0 };
	}
	there = plan_put(pl->p, iov, n * sizeof(*iov));
	plan_origin(pl->p->set, "memory: pages %lx-%lx from pages-%u.img at %#lx", start, end, first->file, off);
	for (size_t i = 0; i < n; i++)
		make_pages(pl, &iov[i]);
	plan_sys(pl->p, BLOB_EXPECT, SYS_preadv, (uint64_t)first->fd, (uint64_t)there, n, off)->expect = bytes;
}

static void fill_alone(struct planner *pl)
{
	struct fill_cursor c = { 0, 0 };

	while (c.i < pl->d.fill.n)
		fill_call(pl, &c);
}

/* Pieces that are filled and lie side by side become writable at once. */
static void open_pieces(struct planner *pl)
{
	uint64_t start = 0, end = 0;

	for (size_t i = 0; i < pl->d.pieces.n; i++) {
		const struct piece *pc = &pl->d.pieces.v[i];

		if (!closed_early(pl, pc))
			continue;
		if (pc->start != end) {
			if (end)
				plan_sys(pl->p, BLOB_ZERO, SYS_mprotect, start, end - start, PROT_READ | PROT_WRITE);
			start = pc->start;
		}
		end = pc->end;
	}
	if (end)
		plan_sys(pl->p, BLOB_ZERO, SYS_mprotect, start, end - start, PROT_READ | PROT_WRITE);
}

static void close_pieces(struct planner *pl)
{
	for (size_t i = 0; i < pl->d.pieces.n; i++) {
		const struct piece *pc = &pl->d.pieces.v[i];

		if (closed_early(pl, pc))
			plan_sys(pl->p, BLOB_ZERO, SYS_mprotect, pc->start, pc->end - pc->start, base_prot(pc));
	}
}

static void fill_pages(struct planner *pl)
{
	struct fill_ask ask;

	if (!pl->ask) {
		fill_alone(pl);
		return;
	}
	ask = fill_ask(pl->s, pl->p, &pl->d.fill);
	plan_origin(pl->p->set, "memory: mappings that are filled become writable");
	open_pieces(pl);
	fill_alone(pl);
	plan_origin(pl->p->set, "memory: protection of mappings that were filled");
	close_pieces(pl);
	fill_asked(pl->p, ask);
}

/* ---- 5. final attributes ---- */

static void advise_late(struct planner *pl, const struct piece *pc)
{
	uint64_t add = madv_of(pc->v) & ~(pc->from ? madv_of(pc->from) : 0);

	add &= ~(1ull << ADVICE_HUGE | 1ull << ADVICE_NOHUGE);
	for (unsigned advice = 0; advice < ADVICE_N; advice++) {
		enum blob_want want = advice == ADVICE_MERGEABLE ? BLOB_ANY : BLOB_ZERO;

		if (add & 1ull << advice)
			plan_sys(pl->p, want, SYS_madvise, pc->start, pc->end - pc->start, advice);
	}
}

static void lock_piece(struct planner *pl, const struct piece *pc)
{
	bool readable = pc->v->prot & (PROT_READ | PROT_EXEC);
	uint64_t when = readable && !extras_on_fault(pl->own, pc->start) ? 0 : MLOCK_WHEN_TOUCHED;

	if (pc->v->flags & MAP_LOCKED)
		plan_sys(pl->p, BLOB_NONNEG, SYS_mlock2, pc->start, pc->end - pc->start, when);
}

/* Where the vDSO is another kernel's. */
static void patch_vdso(struct planner *pl)
{
	plan_origin(pl->p->set, "memory: functions of the old vDSO");
	for (size_t i = 0; i < pl->own->patches.n; i++) {
		const struct vdso_patch *p = &pl->own->patches.v[i];

		plan_op(pl->p, BLOB_COPY, p->addr, (uintptr_t)plan_put(pl->p, p->code, p->len), p->len);
	}
}

static void finish_mappings(struct planner *pl)
{
	patch_vdso(pl);
	extras_plan_keys(pl->own, pl->from, pl->p);
	for (size_t i = 0; i < pl->d.pieces.n; i++) {
		const struct piece *pc = &pl->d.pieces.v[i];

		origin(pl, pc->v);
		if (extras_key(pl->own, pc->start))
			plan_sys(pl->p, BLOB_ZERO, SYS_pkey_mprotect, pc->start, pc->end - pc->start, pc->v->prot,
				 extras_key(pl->own, pc->start));
		else if (work_prot(pl, pc) != pc->v->prot)
			plan_sys(pl->p, BLOB_ZERO, SYS_mprotect, pc->start, pc->end - pc->start, pc->v->prot);
		advise_late(pl, pc);
		extras_plan_name(pl->own, pc->from ? pl->from : NULL, pc->start, pc->end, pl->p);
	}
	extras_plan_spare_keys(pl->own, pl->from, pl->p);
	for (size_t i = 0; i < pl->own->guards.n; i++) {
		const VmaEntry *g = pl->own->guards.v[i];

		plan_origin(pl->p->set, "memory: guard region %lx-%lx", g->start, g->end);
		plan_sys(pl->p, BLOB_ZERO, SYS_madvise, g->start, g->end - g->start, MADV_GUARD_INSTALL);
	}
	for (size_t i = 0; i < pl->d.pieces.n; i++) {
		origin(pl, pl->d.pieces.v[i].v);
		lock_piece(pl, &pl->d.pieces.v[i]);
	}
}

int mem_plan(struct session *s, struct task *t, struct plan *p)
{
	struct planner pl = { .s = s, .t = t, .p = p, .own = t->mem, .from = t->mem_from ? t->mem_from->mem : NULL };
	int r;

	at_object(s, "pid %d", task_vpid(t));
	r = mem_diff_build(s, t, pl.from, &pl.d);
	if (r < 0)
		return r;
	r = clear(&pl);
	if (r == 0)
		r = set_mm(&pl);
	pl.ask = fill_bytes(&pl) >= ASK_LEAST;
	pl.early = close_early(&pl);
	if (r == 0) {
		set_thp(&pl);
		r = make_mappings(&pl);
	}
	if (r == 0) {
		fill_pages(&pl);
		finish_mappings(&pl);
		plan_origin(p->set, "core");
		at_object(s, NULL);
	}
	mem_diff_free(&pl.d);
	return r;
}
