/* SPDX-License-Identifier: MIT */
/*
 * same.c: pages that tasks share since a fork, each stored once.
 *
 * The pagemap tells which physical page (frame) is where.  The first task of the dump that has a frame brings its page;
 * others refer to that place in a pages file: their pagemap has an entry that is ELSEWHERE, and
 * x-stasis-pages-<vpid> says where.  It matters not whether they are parent and child, nor whether
 * the address is the same.  A restore needs no comparison of contents for such pages either: what is at the same place
 * of the same file is the same page.
 *
 * With --compat-images everything is in each task's own pages file as well; then the image is but a hint.  It may be
 * absent, as it is from other engines: then contents are compared.
 */
#include "mem_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "image.h"
#include "options.h"
#include "stasis.pb-c.h"

#define WORDS 8192
#define WORD_PRESENT (1ull << 63)
#define WORD_EXCLUSIVE (1ull << 56) /* nobody else has the frame mapped */
#define WORD_FRAME ((1ull << 55) - 1)
#define LEAST_PAGES 256 /* for fewer the images stay readable for everybody */

/* ---- dump: which frames have been seen, and where their pages are ---- */

/* A frame that several may have, and who had it first: owner << 40 | skip_zero << 39 | number of the page. */
struct slot {
	uint64_t frame; /* 0: free */
	uint64_t who;
};
#define WHO_OWNER(who) ((who) >> 40)
#define WHO_SKIPS_ZERO (1ull << 39)
#define WHO_ADDR(who) (((who) & (WHO_SKIPS_ZERO - 1)) * PAGE_BYTES)
#define OWNERS_MAX (1u << 24)

struct owner {
	pid_t pid; /* whose pagemap it was; frozen until the end of the dump */
	stored_list stored;
};

struct same {
	VEC(struct owner) owners;
	struct slot *slots;
	size_t n, room; /* room: a power of two */
};

void same_free(struct same *sm)
{
	if (!sm)
		return;
	for (size_t i = 0; i < sm->owners.n; i++)
		vec_free(&sm->owners.v[i].stored);
	vec_free(&sm->owners);
	free(sm->slots);
	free(sm);
}

static struct slot *slot_of(struct same *sm, uint64_t frame)
{
	size_t i = (frame * 0x9e3779b97f4a7c15ull) >> 20 & (sm->room - 1);

	while (sm->slots[i].frame && sm->slots[i].frame != frame)
		i = (i + 1) & (sm->room - 1);
	return &sm->slots[i];
}

static void grow(struct same *sm)
{
	struct same old = *sm;

	sm->room = old.room ? 2 * old.room : 1 << 14;
	sm->slots = xcalloc(sm->room, sizeof(*sm->slots));
	for (size_t i = 0; i < old.room; i++)
		if (old.slots[i].frame)
			*slot_of(sm, old.slots[i].frame) = old.slots[i];
	free(old.slots);
}

/* Who had the frame before; 0: nobody, and it is noted for who. */
static uint64_t look_up(struct same *sm, uint64_t frame, uint64_t who)
{
	struct slot *sl;

	if (2 * sm->n >= sm->room)
		grow(sm);
	sl = slot_of(sm, frame);
	if (sl->frame)
		return sl->who;
	*sl = (struct slot){ frame, who };
	sm->n++;
	return 0;
}

/* Index of the first run that ends behind addr. */
static size_t find_stored(const stored_list *l, uint64_t addr)
{
	size_t lo = 0, hi = l->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (l->v[mid].end > addr)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

/* ---- dump: one task ---- */

struct finder {
	struct same *sm;
	uint64_t self;	     /* index of its owner */
	int fd;		     /* its pagemap */
	uint64_t *words, *again; /* WORDS each: its own; the owner's */
	int owner_fd;	     /* pagemap of owner number: */
	uint64_t owner;
	run_list out;
	uint64_t pages; /* that are elsewhere */
	/* pages in a row that look like those in a row of one owner */
	uint64_t start, n, first_word, at;
	bool skip_zero;
};

static int open_pagemap(pid_t pid)
{
	char path[48];

	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static int read_words(int fd, uint64_t *w, uint64_t start, size_t n)
{
	return pread_full(fd, w, n * sizeof(*w), start / PAGE_BYTES * sizeof(*w));
}

static void add_elsewhere(run_list *l, uint64_t start, uint32_t file, uint64_t off)
{
	struct page_run *last = l->n ? &l->v[l->n - 1] : NULL;

	if (last && last->file == file && last->start + last->bytes == start && last->off + last->bytes == off)
		last->bytes += PAGE_BYTES;
	else
		*vec_push(l) = (struct page_run){ .start = start, .bytes = PAGE_BYTES, .file = file, .off = off };
}

/* The page at addr is that of the owner at `at`. */
static void refer(struct finder *f, uint64_t addr, uint64_t at)
{
	const stored_list *l = &f->sm->owners.v[f->owner].stored;
	size_t i = find_stored(l, at);

	if (i < l->n && l->v[i].start <= at) {
		add_elsewhere(&f->out, addr, l->v[i].file, l->v[i].off + (at - l->v[i].start));
		f->pages++;
	} else if (!f->skip_zero) {
		run_add(&f->out, addr, PAGE_BYTES, false);
	} /* else: the owner has left it out, because it is zero */
}

/*
 * The owner still has the same frames: then it had them when ours were read too, and no page was moved in between, in
 * either task, so that a frame had another one's number.
 */
static void flush(struct finder *f)
{
	int err = 0;

	if (f->n && f->owner_fd < 0) {
		f->owner_fd = open_pagemap(f->sm->owners.v[f->owner].pid);
		err = f->owner_fd < 0 ? -errno : 0;
	}
	if (f->n && !err)
		err = read_words(f->owner_fd, f->again, f->at, f->n);
	for (uint64_t i = 0; i < f->n; i++) {
		const uint64_t mask = WORD_PRESENT | WORD_FRAME;

		if (!err && (f->again[i] & mask) == (f->words[f->first_word + i] & mask))
			refer(f, f->start + i * PAGE_BYTES, f->at + i * PAGE_BYTES);
		else
			run_add(&f->out, f->start + i * PAGE_BYTES, PAGE_BYTES, f->skip_zero);
	}
	f->n = 0;
}

/* Word i, of the page at addr, belongs to the frame that owner had at `at`. */
static void take_candidate(struct finder *f, size_t i, uint64_t addr, uint64_t owner, uint64_t at)
{
	if (f->n && (f->owner != owner || f->at + f->n * PAGE_BYTES != at))
		flush(f);
	if (!f->n) {
		if (f->owner != owner)
			cleanup_fd(&f->owner_fd);
		f->owner_fd = f->owner == owner ? f->owner_fd : -1;
		f->owner = owner;
		f->start = addr;
		f->at = at;
		f->first_word = i;
	}
	f->n++;
}

static void take_word(struct finder *f, size_t i, uint64_t addr)
{
	uint64_t w = f->words[i], mine = f->self << 40 | (f->skip_zero ? WHO_SKIPS_ZERO : 0) | addr / PAGE_BYTES, who = 0;

	/* frame numbers are 0 without privilege */
	if (w & WORD_PRESENT && !(w & WORD_EXCLUSIVE) && w & WORD_FRAME)
		who = look_up(f->sm, w & WORD_FRAME, mine);
	if (who && WHO_OWNER(who) != f->self && !((who ^ mine) & WHO_SKIPS_ZERO)) {
		take_candidate(f, i, addr, WHO_OWNER(who), WHO_ADDR(who));
		return;
	}
	flush(f);
	run_add(&f->out, addr, PAGE_BYTES, f->skip_zero);
}

static int find_in(struct finder *f, const struct page_run *r)
{
	f->skip_zero = r->skip_zero;
	for (uint64_t at = r->start; at < r->start + r->bytes;) {
		size_t n = MIN_OF(WORDS, (r->start + r->bytes - at) / PAGE_BYTES);
		int err = read_words(f->fd, f->words, at, n);

		if (err)
			return err;
		for (size_t i = 0; i < n; i++, at += PAGE_BYTES)
			take_word(f, i, at);
		flush(f);
	}
	return 0;
}

static int find_all(struct finder *f, pid_t pid, const run_list *runs)
{
	int err = 0;

	f->fd = open_pagemap(pid);
	if (f->fd < 0)
		return -errno;
	f->words = xcalloc(WORDS, sizeof(uint64_t));
	f->again = xcalloc(WORDS, sizeof(uint64_t));
	for (size_t i = 0; i < runs->n && !err; i++)
		err = find_in(f, &runs->v[i]);
	free(f->words);
	free(f->again);
	cleanup_fd(&f->fd);
	cleanup_fd(&f->owner_fd);
	return err;
}

int pages_elsewhere(struct session *s, uint64_t vpid, const struct page_run *r)
{
	StasisPages e = STASIS_PAGES__INIT;

	e.vaddr = r->start;
	e.nr_pages = r->bytes / PAGE_BYTES;
	e.pages_id = r->file;
	e.first = r->off / PAGE_BYTES;
	return img_append_msg(s, &img_stasis_pages, vpid, &e.base);
}

/* The pages are written in full too, and the image says where they would have been. */
static int write_hints(struct session *s, struct task *t, const run_list *l)
{
	int err = 0;

	for (size_t i = 0; i < l->n && !err; i++)
		if (l->v[i].file)
			err = pages_elsewhere(s, task_vpid(t), &l->v[i]);
	return err;
}

/* Whether anybody else has memory. */
static bool is_alone(struct session *s, const struct task *t)
{
	if (s->tree)
		FOR_EACH_TASK(other, s->tree)
			if (other != t && other->mem)
				return false;
	return true;
}

int same_find(struct session *s, struct task *t, pid_t pid, run_list *runs)
{
	struct same **sm = mem_same(s);
	struct finder f = { .fd = -1, .owner_fd = -1 };
	int err;

	if (!*sm)
		*sm = xcalloc(1, sizeof(**sm));
	f.sm = *sm;
	f.self = f.sm->owners.n;
	*vec_push(&f.sm->owners) = (struct owner){ .pid = pid };
	if (is_alone(s, t) || f.self >= OWNERS_MAX)
		return 0;
	err = find_all(&f, pid, runs);
	if (err)
		log_debug("pid %d: which pages it shares with other tasks cannot be found out: %s", pid, strerror(-err));
	if (err || f.pages < LEAST_PAGES) {
		vec_free(&f.out);
		return 0;
	}
	if (opt_flag(s->opts, "compat-images")) {
		err = write_hints(s, t, &f.out);
		vec_free(&f.out);
		return err;
	}
	vec_free(runs);
	*runs = f.out;
	return 0;
}

void same_written(struct session *s, stored_list *stored)
{
	struct same *sm = *mem_same(s);

	sm->owners.v[sm->owners.n - 1].stored = *stored;
	*stored = (stored_list){ 0 };
}

/* ---- restore ---- */

static int damaged(struct session *s, const struct task *t, uint64_t addr)
{
	return fail(s, EPROTO, "x-stasis-pages-%d.img is damaged at address %#lx", task_vpid(t), addr);
}

/* A place, checked by itself. */
static int take_place(struct session *s, struct task *t, const StasisPages *e, stored_list *l)
{
	_cleanup_free_ char *whose = xasprintf("x-stasis-pages-%d.img", task_vpid(t));
	const uint64_t most = INT64_MAX / PAGE_BYTES;

	if (e->vaddr % PAGE_BYTES || !e->nr_pages || e->vaddr >= USER_END ||
	    e->nr_pages > (USER_END - e->vaddr) / PAGE_BYTES || e->first > most - e->nr_pages || !e->pages_id ||
	    (l->n && e->vaddr < l->v[l->n - 1].end))
		return damaged(s, t, e->vaddr);
	*vec_push(l) = (struct stored_run){
		.start = e->vaddr,
		.end = e->vaddr + e->nr_pages * PAGE_BYTES,
		.off = e->first * PAGE_BYTES,
		.file = e->pages_id,
	};
	return pages_file_check(s, e->pages_id, (e->first + e->nr_pages) * PAGE_BYTES, whose);
}

static int read_places(struct session *s, struct task *t, stored_list *l)
{
	ProtobufCMessage *msg = NULL;
	struct cr_reader *r;
	int n = img_open(s, &img_stasis_pages, (uint64_t)task_vpid(t), &r);

	if (n)
		return n == -ENOENT ? 0 : n;
	while ((n = img_next_msg(r, &stasis_pages__descriptor, &msg)) > 0) {
		int err = take_place(s, t, (StasisPages *)msg, l);

		protobuf_c_message_free_unpacked(msg, NULL);
		if (err) {
			n = err;
			break;
		}
	}
	img_close(r);
	return n;
}

static void put_run(stored_list *l, struct stored_run r)
{
	struct stored_run *last = l->n ? &l->v[l->n - 1] : NULL;

	if (last && last->end == r.start && last->file == r.file && last->off + (last->end - last->start) == r.off)
		last->end = r.end;
	else
		*vec_push(l) = r;
}

/* The part [start, end) of r. */
static struct stored_run part_of(const struct stored_run *r, uint64_t start, uint64_t end)
{
	struct stored_run part = *r;

	part.off += start - r->start;
	part.start = start;
	part.end = end;
	return part;
}

/* Runs with their places; k: cursor into the places. */
static int place_run(struct session *s, struct task *t, const struct stored_run *r, const stored_list *places, size_t *k,
		     stored_list *out)
{
	uint64_t pos = r->start;

	while (pos < r->end) {
		const struct stored_run *p = *k < places->n ? &places->v[*k] : NULL;
		uint64_t end = r->end;

		/* it goes on where the run before ended, or begins here */
		if (p && p->start < pos && (!out->n || out->v[out->n - 1].end < pos))
			return damaged(s, t, p->start);
		if (p && p->start <= pos) {
			end = MIN_OF(end, p->end);
			put_run(out, part_of(p, pos, end));
			*k += end == p->end;
		} else {
			end = p ? MIN_OF(end, p->start) : end;
			if (!r->file)
				return damaged(s, t, pos);
			put_run(out, part_of(r, pos, end));
		}
		pos = end;
	}
	return 0;
}

int same_load(struct session *s, struct task *t)
{
	stored_list places = { 0 }, out = { 0 };
	size_t k = 0;
	int err = read_places(s, t, &places);

	for (size_t i = 0; i < t->mem->runs.n && !err; i++) {
		if (k < places.n && places.v[k].end <= t->mem->runs.v[i].start)
			break; /* of no page */
		err = place_run(s, t, &t->mem->runs.v[i], &places, &k, &out);
	}
	if (!err && k < places.n)
		err = damaged(s, t, places.v[k].start);
	vec_free(&places);
	vec_free(err ? &out : &t->mem->runs);
	if (!err)
		t->mem->runs = out;
	return err;
}
