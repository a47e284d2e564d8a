/* SPDX-License-Identifier: MIT */
/*
 * same.c: pages that a task shares with its parent since the fork.
 *
 * Both have the same physical page at the same address: the pagemap tells.  The dump
 * notes where, in x-stasis-cow-<vpid>, so that a restore need not compare contents to
 * find out what can stay shared.  The image is a hint: it may be absent, as it is from
 * other engines, then the contents are compared.  Entries are those of a pagemap;
 * pages_id of the head is the parent's pid.
 */
#include "mem_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "image.h"
#include "pagemap.pb-c.h"

#define WORDS 8192
#define WORD_PRESENT (1ull << 63)
#define WORD_FRAME ((1ull << 55) - 1)
#define LEAST_PAGES 256 /* fewer are compared faster than noted */

/* ---- dump ---- */

struct finder {
	int child, parent;	/* /proc/PID/pagemap */
	uint64_t *words[3];	/* parent's, child's, parent's again: WORDS each */
	run_list same;
	uint64_t pages;
};

static int read_words(int fd, uint64_t *w, uint64_t start, size_t n)
{
	return pread_full(fd, w, n * sizeof(*w), start / PAGE_BYTES * sizeof(*w));
}

/* Frame numbers are 0 without privilege.  The parent's stays the same around the child's: no page was moved meanwhile. */
static bool is_same(const struct finder *f, size_t i)
{
	uint64_t p = f->words[0][i], c = f->words[1][i];

	return p & c & WORD_PRESENT && p & WORD_FRAME && (p & WORD_FRAME) == (c & WORD_FRAME) && p == f->words[2][i];
}

static int find_same(struct finder *f, const struct page_run *r)
{
	for (uint64_t at = r->start; at < r->start + r->bytes;) {
		size_t n = MIN_OF(WORDS, (r->start + r->bytes - at) / PAGE_BYTES);
		int err = read_words(f->parent, f->words[0], at, n);

		if (!err)
			err = read_words(f->child, f->words[1], at, n);
		if (!err)
			err = read_words(f->parent, f->words[2], at, n);
		for (size_t i = 0; i < n && !err; i++, at += PAGE_BYTES) {
			if (!is_same(f, i))
				continue;
			run_add(&f->same, at, PAGE_BYTES, false);
			f->pages++;
		}
		if (err)
			return err;
	}
	return 0;
}

static int write_same(struct session *s, struct task *t, const struct finder *f)
{
	PagemapHead head = PAGEMAP_HEAD__INIT;
	int err;

	head.pages_id = task_vpid(t->parent);
	err = img_append_msg(s, &img_stasis_cow, task_vpid(t), &head.base);
	for (size_t i = 0; i < f->same.n && !err; i++) {
		PagemapEntry e = PAGEMAP_ENTRY__INIT;

		e.vaddr = f->same.v[i].start;
		e.has_nr_pages = 1;
		e.nr_pages = f->same.v[i].bytes / PAGE_BYTES;
		err = img_append_msg(s, &img_stasis_cow, task_vpid(t), &e.base);
	}
	return err;
}

static int open_pagemap(pid_t pid)
{
	char path[48];

	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	return open(path, O_RDONLY | O_CLOEXEC);
}

int same_dump(struct session *s, struct task *t, const run_list *runs)
{
	struct finder f = { 0 };
	uint64_t pages = 0;
	int err = 0;

	for (size_t i = 0; i < runs->n; i++)
		pages += runs->v[i].bytes / PAGE_BYTES;
	if (!t->parent || !t->parent->mem || pages < LEAST_PAGES)
		return 0;
	f.child = open_pagemap(task_pid(t));
	f.parent = open_pagemap(task_pid(t->parent));
	for (int i = 0; i < 3; i++)
		f.words[i] = xcalloc(WORDS, sizeof(uint64_t));
	if (f.child < 0 || f.parent < 0)
		err = -EACCES;
	for (size_t i = 0; i < runs->n && !err; i++)
		err = find_same(&f, &runs->v[i]);
	if (err)
		log_debug("pid %d: which pages it shares with its parent cannot be found out: %s", task_pid(t),
			  strerror(-err));
	err = !err && f.pages >= LEAST_PAGES ? write_same(s, t, &f) : 0;
	for (int i = 0; i < 3; i++)
		free(f.words[i]);
	cleanup_fd(&f.child);
	cleanup_fd(&f.parent);
	vec_free(&f.same);
	return err;
}

/* ---- restore ---- */

static int take_entry(struct session *s, struct task *t, const PagemapEntry *e)
{
	span_list *l = &t->mem->same;
	uint64_t end, pages = e->has_nr_pages ? e->nr_pages : 0;

	if (e->vaddr % PAGE_BYTES || !pages || e->vaddr >= USER_END || pages > (USER_END - e->vaddr) / PAGE_BYTES ||
	    (l->n && e->vaddr < l->v[l->n - 1].end))
		return fail(s, EPROTO, "x-stasis-cow-%d.img is damaged at address %#lx", task_vpid(t), e->vaddr);
	end = e->vaddr + pages * PAGE_BYTES;
	*vec_push(l) = (struct span){ e->vaddr, end };
	return 0;
}

int same_load(struct session *s, struct task *t)
{
	ProtobufCMessage *msg = NULL;
	struct cr_reader *r;
	int n = img_open(s, &img_stasis_cow, (uint64_t)task_vpid(t), &r);

	if (n)
		return n == -ENOENT ? 0 : n;
	n = img_next_msg(r, &pagemap_head__descriptor, &msg);
	if (n > 0) {
		t->mem->same_as = ((PagemapHead *)msg)->pages_id;
		protobuf_c_message_free_unpacked(msg, NULL);
	}
	while (n > 0) {
		n = img_next_msg(r, &pagemap_entry__descriptor, &msg);
		if (n <= 0)
			break;
		if (take_entry(s, t, (PagemapEntry *)msg) < 0)
			n = -EPROTO;
		protobuf_c_message_free_unpacked(msg, NULL);
	}
	img_close(r);
	return n;
}
