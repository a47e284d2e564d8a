/* SPDX-License-Identifier: MIT */
/* same_test.c: pages that are in another pages file: found where the image says, and damaged images refused. */
#include "testlib.h"

#include "stasis.pb-c.h"

static const struct want task_maps[] = { { P(10), 16, 0, RW, PRIV_ANON, ANON, 0, 0 } };
/* in pages-1: pages 12, 13 */
static const struct stored task_pages[] = { { P(12), 2, 5 } };

struct place {
	uint64_t addr, n;
	uint32_t file;
	uint64_t first;
};

static void add_elsewhere(struct world *w, uint64_t addr, uint64_t pages)
{
	PagemapEntry e = PAGEMAP_ENTRY__INIT;

	e.vaddr = addr;
	e.has_flags = e.has_nr_pages = 1;
	e.flags = PE_PARENT | PE_ELSEWHERE;
	e.nr_pages = pages;
	assert_int_equal(img_append_msg(w->s, &img_pagemap, 1, &e.base), 0);
}

/* A pages file of 4 pages, number 2. */
static void put_file(struct world *w)
{
	uint64_t page[PAGE_BYTES / 8];
	int fd;

	assert_int_equal(img_create_fd(w->s, &img_pages, 2, &fd), 0);
	for (uint64_t i = 0; i < 4; i++) {
		page_content(i, 77, page);
		write_full(fd, page, PAGE_BYTES);
	}
	close(fd);
}

/* Pages 14 to 17 are elsewhere, the places are given. */
static int load_with(struct world *w, const struct place *p, size_t n, struct task **ret)
{
	open_session(w, CR_MODE_DUMP);
	write_mm(w, 1, ID_EXE, task_maps, ARRAY_SIZE(task_maps), 0);
	write_pages(w, 1, task_pages, ARRAY_SIZE(task_pages), 0);
	add_elsewhere(w, P(14), 4);
	put_file(w);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(pages_elsewhere(w->s, 1, &(struct page_run){ p[i].addr, p[i].n * PAGE_BYTES, false, p[i].file,
									      p[i].first * PAGE_BYTES }), 0);
	assert_int_equal(images_finish(w->s), 0);
	close_session(w);
	open_session(w, CR_MODE_RESTORE);
	add_files(w);
	*ret = add_task(w->s, 1, NULL);
	return mem_load(w->s, *ret);
}

static void refused(struct world *w, const struct place *p, size_t n, int err)
{
	struct task *t;

	assert_int_equal(load_with(w, p, n, &t), -err);
	close_session(w);
	remove_dir(w->dir);
	assert_int_equal(mkdir(w->dir, 0700), 0);
	close(open(w->file, O_CREAT | O_WRONLY, 0755));
	w->next_pages = 1;
}

static void test_places(void **state)
{
	/* the second of its own pages is only told about: it is in both files */
	const struct place p[] = { { P(13), 1, 2, 3 }, { P(14), 2, 2, 1 }, { P(16), 2, 1, 0 } };
	const struct want_run { uint64_t addr, n; uint32_t file; uint64_t first; } want[] = {
		{ P(12), 1, 1, 0 }, { P(13), 1, 2, 3 }, { P(14), 2, 2, 1 }, { P(16), 2, 1, 0 },
	};
	struct world *w = *state;
	struct task *t;

	assert_int_equal(load_with(w, p, ARRAY_SIZE(p), &t), 0);
	assert_int_equal(t->mem->runs.n, ARRAY_SIZE(want));
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		const struct stored_run *r = &t->mem->runs.v[i];

		assert_int_equal(r->start, want[i].addr);
		assert_int_equal(r->end, want[i].addr + want[i].n * PAGE_BYTES);
		assert_int_equal(r->file, want[i].file);
		assert_int_equal(r->off, want[i].first * PAGE_BYTES);
	}
}

#define REFUSED(err, ...) \
	refused(*state, (const struct place[]){ __VA_ARGS__ }, \
		sizeof((const struct place[]){ __VA_ARGS__ }) / sizeof(struct place), err)

static void test_damaged_places(void **state)
{
	refused(*state, NULL, 0, EPROTO);
	REFUSED(EPROTO, { P(14), 3, 2, 0 });				/* one is nowhere */
	REFUSED(EPROTO, { P(14), 5, 2, 0 });				/* behind the file's end and the run's */
	REFUSED(EPROTO, { P(14), 4, 2, 1 });				/* behind the file's end */
	REFUSED(EPROTO, { P(14), 4, 2, 1ull << 51 });
	REFUSED(EPROTO, { P(14), 4, 2, UINT64_MAX / PAGE_BYTES });
	REFUSED(EPROTO, { P(14) + 8, 4, 2, 0 });
	REFUSED(EPROTO, { P(14), 2, 2, 0 }, { P(15), 3, 2, 0 });	/* they overlap */
	REFUSED(EPROTO, { P(16), 2, 2, 0 }, { P(14), 2, 2, 0 });	/* not in order */
	REFUSED(EPROTO, { P(11), 1, 2, 0 }, { P(14), 4, 2, 0 });	/* of no page */
	REFUSED(EPROTO, { P(11), 2, 2, 0 }, { P(14), 4, 2, 0 });	/* begins before its page */
	REFUSED(EPROTO, { P(14), 4, 2, 0 }, { P(20), 1, 2, 0 });
	REFUSED(EPROTO, { P(14), 4, 0, 0 });				/* no file */
	REFUSED(EPROTO, { P(14), UINT64_MAX / 2, 2, 0 });
	REFUSED(ENOENT, { P(14), 4, 9, 0 });
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_places), T(test_damaged_places),
	};

	log_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
