/* SPDX-License-Identifier: MIT */
/*
 * cow.c: what a task keeps of the memory it is born with.
 *
 * A task is forked from one whose memory is final.  Where both have the same
 * backing at the same place the mapping is kept, and with it every page that is
 * equal in both images: those stay shared copy-on-write, as they were (or might
 * have been) before the dump.  Pages that differ are written, which unshares them;
 * pages that only the parent has are dropped.
 */
#include "mem_priv.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#define BLOCK_BYTES (64u << 10)
#define COMPARERS 16
#define COMPARE_LEAST (4u << 20) /* bytes for which a further thread is worth while */

/* One comparison. */
struct differ {
	struct session *s;
	const struct task *t;
	const struct mem *own, *from;
	uint32_t old_exe; /* file whose mappings must go so that the exe link can change; 0: none */
	struct mem_diff *d;
};

/* ---- which mappings ---- */

static bool same_backing(const VmaEntry *v, const VmaEntry *p)
{
	const uint32_t kinds = VMA_FILE_PRIVATE | VMA_FILE_SHARED | VMA_ANON_PRIVATE | VMA_ANON_SHARED | VMA_PLUGIN;

	if ((v->status & kinds) != (p->status & kinds))
		return false;
	if (v->status & VMA_ANON_PRIVATE)
		return true;
	return v->shmid == p->shmid && v->pgoff - v->start == p->pgoff - p->start;
}

static bool keepable(const struct differ *df, const VmaEntry *v, const VmaEntry *p)
{
	/* a lock is not inherited, and set anew */
	const uint32_t differing = MAP_LOCKED | MAP_STACK | MAP_DENYWRITE | MAP_EXECUTABLE;
	uint64_t madv = v->has_madv ? v->madv : 0, had = p->has_madv ? p->madv : 0;

	if (!same_backing(v, p) || (v->flags ^ p->flags) & ~differing || v->flags & MAP_DROPPABLE)
		return false;
	/* another kernel's vDSO is patched, by each task for itself (vdso_proxy.c) */
	if ((v->status | p->status) & VMA_VDSO)
		return false;
	/* the parent's key keeps everybody out who has not its rights in the register */
	if (extras_key(df->own, v->start) || extras_key(df->from, p->start))
		return false;
	/* advice can be added, not all of it taken back */
	if (had & MADV_NOT_INHERITED || had & ~madv)
		return false;
	if (vma_is_file(p->status) && df->old_exe && p->shmid == df->old_exe)
		return false;
	/* nor does one of huge pages grow by a page */
	if (v->flags & MAP_HUGETLB && (p->start > v->start || v->end > p->end))
		return false;
	/* a stack that has grown since: two mappings would not grow as one does */
	return !(v->flags & MAP_GROWSDOWN) || (p->start <= v->start && v->end <= p->end);
}

static void add_piece(struct differ *df, const VmaEntry *v, const VmaEntry *from, uint64_t start, uint64_t end)
{
	*vec_push(&df->d->pieces) = (struct piece){
		.v = v,
		.from = from,
		.start = start,
		.kept = from ? end : start,
		.end = end,
	};
}

/* The part of v behind what is kept: the kept mapping grows when it ends right there. */
static void add_tail(struct differ *df, const VmaEntry *v, uint64_t pos)
{
	struct piece *last = df->d->pieces.n ? &df->d->pieces.v[df->d->pieces.n - 1] : NULL;

	if (last && last->v == v && last->from && last->kept == pos && last->from->end == pos)
		last->end = v->end;
	else
		add_piece(df, v, NULL, pos, v->end);
}

/* k: cursor into the parent's mappings, moves up. */
static void split(struct differ *df, const VmaEntry *v, size_t *k)
{
	const entry_list *maps = df->from ? &df->from->maps : NULL;
	uint64_t pos = v->start;

	while (maps && *k < maps->n && maps->v[*k]->end <= v->start)
		(*k)++;
	for (size_t i = *k; maps && i < maps->n && maps->v[i]->start < v->end; i++) {
		const VmaEntry *p = maps->v[i];
		uint64_t start = MAX_OF(p->start, pos), end = MIN_OF(p->end, v->end);

		if (!keepable(df, v, p))
			continue;
		if (start > pos)
			add_piece(df, v, NULL, pos, start);
		add_piece(df, v, p, start, end);
		pos = end;
	}
	if (pos < v->end)
		add_tail(df, v, pos);
}

static void add_span(span_list *l, uint64_t start, uint64_t end)
{
	if (start >= end)
		return;
	if (l->n && l->v[l->n - 1].end == start)
		l->v[l->n - 1].end = end;
	else
		*vec_push(l) = (struct span){ start, end };
}

/* Whatever the parent has and no piece keeps. */
static void collect_unmap(struct differ *df)
{
	size_t k = 0;

	for (size_t i = 0; df->from && i < df->from->maps.n; i++) {
		const VmaEntry *p = df->from->maps.v[i];
		uint64_t pos = p->start;

		for (; k < df->d->pieces.n && df->d->pieces.v[k].start < p->end; k++) {
			const struct piece *pc = &df->d->pieces.v[k];

			if (pc->from != p)
				continue;
			add_span(&df->d->unmap, pos, pc->start);
			pos = pc->kept;
		}
		/* a piece that begins in p may reach into the next one of the parent only by growing */
		add_span(&df->d->unmap, pos, p->end);
	}
}

/* ---- which pages ---- */

/* src: has them all */
static void add_fill(struct differ *df, struct piece *pc, uint64_t start, uint64_t end, const struct stored_run *src)
{
	uint64_t off = src->off + (start - src->start);
	stored_list *l = &df->d->fill;

	pc->filled = true;
	while (start < end) {
		struct stored_run *last = l->n ? &l->v[l->n - 1] : NULL;
		uint64_t len = MIN_OF(end - start, FILL_MAX);

		if (last && last->end == start && last->file == src->file && last->off + (last->end - last->start) == off &&
		    last->end - last->start + len <= FILL_MAX)
			last->end += len;
		else
			*vec_push(l) = (struct stored_run){ start, start + len, off, src->file, src->fd };
		df->s->stats.pages_restored += len / PAGE_BYTES;
		start += len;
		off += len;
	}
}

/* Bytes of a pages file that are kept, for the next comparison mostly wants those behind. */
struct window {
	int fd;
	uint64_t off;
	size_t len; /* 0: nothing is there */
	uint8_t *data; /* BLOCK_BYTES */
};

/* A range that has pages in both images, compared by several threads. */
struct comparison {
	int fd[2]; /* pages files: the task's, and that of whom it is born from, */
	uint64_t off[2]; /* and where in them */
	uint64_t start, bytes;
	uint64_t next;	  /* first byte that nobody has taken */
	uint8_t *differs; /* one for each page */
	int err;
	uint64_t err_addr;
};

struct comparer {
	struct comparison *c;
	pthread_t thread;
	bool started;
	struct window window[2];
};

struct comparers {
	struct comparer of[COMPARERS];
};

void comparers_free(struct comparers *all)
{
	for (size_t i = 0; all && i < COMPARERS; i++) {
		free(all->of[i].window[0].data);
		free(all->of[i].window[1].data);
	}
	free(all);
}

static struct comparers *comparers(struct session *s)
{
	struct comparers **all = mem_comparers(s);

	if (!*all)
		*all = xcalloc(1, sizeof(**all));
	return *all;
}

/* len bytes at off, at most BLOCK_BYTES; NULL: *ret_err says why not. */
static const uint8_t *look(struct window *w, int fd, uint64_t off, size_t len, int *ret_err)
{
	ssize_t n;

	if (w->fd == fd && off >= w->off && off + len <= w->off + w->len)
		return w->data + (off - w->off);
	if (!w->data)
		w->data = xrealloc(NULL, BLOCK_BYTES);
	w->len = 0;
	do
		n = pread(fd, w->data, BLOCK_BYTES, (off_t)off);
	while (n < 0 && errno == EINTR);
	if (n < (ssize_t)len) {
		*ret_err = n < 0 ? -errno : -ENODATA;
		return NULL;
	}
	w->fd = fd;
	w->off = off;
	w->len = (size_t)n;
	return w->data;
}

static int compare_block(struct comparer *w, uint64_t at, size_t len)
{
	struct comparison *c = w->c;
	const uint8_t *own, *old;
	int err = 0;

	own = look(&w->window[0], c->fd[0], c->off[0] + at, len, &err);
	old = own ? look(&w->window[1], c->fd[1], c->off[1] + at, len, &err) : NULL;
	if (!own || !old)
		return err;
	for (size_t i = 0; i < len; i += PAGE_BYTES)
		c->differs[(at + i) / PAGE_BYTES] = memcmp(own + i, old + i, PAGE_BYTES) != 0;
	return 0;
}

static void *compare_blocks(void *arg)
{
	struct comparer *w = arg;
	struct comparison *c = w->c;

	for (;;) {
		uint64_t at = __atomic_fetch_add(&c->next, BLOCK_BYTES, __ATOMIC_RELAXED);
		int none = 0, r;

		if (at >= c->bytes || __atomic_load_n(&c->err, __ATOMIC_RELAXED))
			return NULL;
		r = compare_block(w, at, MIN_OF(c->bytes - at, (uint64_t)BLOCK_BYTES));
		if (r < 0 && __atomic_compare_exchange_n(&c->err, &none, r, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
			c->err_addr = c->start + at;
	}
}

/* Fills c->differs. */
static void compare_all(struct differ *df, struct comparison *c)
{
	struct comparer *w = comparers(df->s)->of;
	size_t n = MIN_OF(mem_threads(c->bytes / COMPARE_LEAST), (size_t)COMPARERS);
	sigset_t all, old;

	for (size_t i = 0; i < n; i++)
		w[i].c = c;
	if (n > 1) {
		sigfillset(&all);
		pthread_sigmask(SIG_SETMASK, &all, &old);
		for (size_t i = 1; i < n; i++)
			w[i].started = pthread_create(&w[i].thread, NULL, compare_blocks, &w[i]) == 0;
		pthread_sigmask(SIG_SETMASK, &old, NULL);
	}
	compare_blocks(&w[0]);
	for (size_t i = 1; i < n; i++)
		if (w[i].started)
			pthread_join(w[i].thread, NULL);
}

/* Both are the same bytes of the same file at pos. */
static bool same_place(const struct stored_run *own, const struct stored_run *old, uint64_t pos)
{
	return own->file == old->file && own->off + (pos - own->start) == old->off + (pos - old->start);
}

/* Both have pages there: those that differ are filled. own: the task's, old: those that it is born with. */
static int compare(struct differ *df, struct piece *pc, uint64_t start, uint64_t end, const struct stored_run *own,
		   const struct stored_run *old)
{
	struct comparison c = {
		.fd = { own->fd, old->fd },
		.off = { own->off + (start - own->start), old->off + (start - old->start) },
		.start = start,
		.bytes = end - start,
	};
	size_t pages = c.bytes / PAGE_BYTES;

	c.differs = xcalloc(pages, 1);
	compare_all(df, &c);
	for (size_t i = 0; i < pages && !c.err; i++) {
		uint64_t at = i * PAGE_BYTES;

		df->s->stats.pages_compared++;
		if (c.differs[i])
			add_fill(df, pc, start + at, start + at + PAGE_BYTES, own);
		else
			df->s->stats.pages_skipped_cow++;
	}
	free(c.differs);
	if (c.err < 0)
		return fail(df->s, -c.err, "pid %d: cannot read the pages at %#lx from the images: %s", task_vpid(df->t),
			    c.err_addr, strerror(-c.err));
	return 0;
}

/* The run at pos, or NULL; *next becomes the next address where that changes. i: cursor. */
static const struct stored_run *run_at(const stored_list *l, size_t *i, uint64_t pos, uint64_t *next)
{
	while (*i < l->n && l->v[*i].end <= pos)
		(*i)++;
	if (*i == l->n)
		return NULL;
	if (l->v[*i].start > pos) {
		*next = MIN_OF(*next, l->v[*i].start);
		return NULL;
	}
	*next = MIN_OF(*next, l->v[*i].end);
	return &l->v[*i];
}

static int walk_pages(struct differ *df, struct piece *pc)
{
	size_t mine = mem_find_run(df->own, pc->start);
	size_t theirs = pc->from ? mem_find_run(df->from, pc->start) : 0;
	uint64_t next;

	for (uint64_t pos = pc->start; pos < pc->end; pos = next) {
		bool kept = pos < pc->kept;
		const struct stored_run *own, *old = NULL;
		int r;

		next = kept ? pc->kept : pc->end;
		own = run_at(&df->own->runs, &mine, pos, &next);
		if (kept)
			old = run_at(&df->from->runs, &theirs, pos, &next);
		if (own && old && same_place(own, old, pos)) {
			df->s->stats.pages_skipped_cow += (next - pos) / PAGE_BYTES;
		} else if (own && old) {
			r = compare(df, pc, pos, next, own, old);
			if (r < 0)
				return r;
		} else if (own) {
			add_fill(df, pc, pos, next, own);
		} else if (old) {
			add_span(&df->d->drop, pos, next);
		}
	}
	return 0;
}

int mem_diff_build(struct session *s, const struct task *t, const struct mem *from, struct mem_diff *ret)
{
	struct differ df = { .s = s, .t = t, .own = t->mem, .from = from, .d = ret };
	size_t k = 0;
	int r = 0;

	*ret = (struct mem_diff){ 0 };
	if (from && from->mm->exe_file_id != t->mem->mm->exe_file_id)
		df.old_exe = from->mm->exe_file_id;
	for (size_t i = 0; i < t->mem->maps.n; i++)
		split(&df, t->mem->maps.v[i], &k);
	collect_unmap(&df);
	for (size_t i = 0; i < ret->pieces.n && r == 0; i++) {
		const VmaEntry *v = ret->pieces.v[i].v;

		if (v->status & (VMA_ANON_PRIVATE | VMA_FILE_PRIVATE) && !(v->status & VMA_PLUGIN))
			r = walk_pages(&df, &ret->pieces.v[i]);
	}
	if (r < 0)
		mem_diff_free(ret);
	return r;
}

void mem_diff_free(struct mem_diff *d)
{
	vec_free(&d->pieces);
	vec_free(&d->unmap);
	vec_free(&d->drop);
	vec_free(&d->fill);
}
