/* SPDX-License-Identifier: MIT */
/* load_test.c: images that must be refused, before they have any effect; and where the arena goes. */
#include "testlib.h"

#define VDSO_AT P(100)

static const struct want task_maps[] = {
	{ P(10), 8, 0, RW, PRIV_ANON, ANON, 0, 0 },
	{ P(30), 8, 0, RO, MAP_PRIVATE, VMA_REGULAR | VMA_FILE_PRIVATE, ID_FILE, 0 },
};
static const struct stored task_pages[] = { { P(12), 2, 5 }, { P(30), 2, 5 } };

static int load_with(struct world *w, const struct want *maps, size_t n, const struct stored *pages, size_t npages)
{
	struct member m = { 1, ID_EXE, maps, n, pages, npages, 0, NULL, NULL };
	int r;

	write_chain(w, &m, 1);
	r = mem_load(w->s, add_task(w->s, 1, NULL));
	close_session(w);
	remove_dir(w->dir);
	assert_int_equal(mkdir(w->dir, 0700), 0);
	close(open(w->file, O_CREAT | O_WRONLY, 0755));
	return r;
}

static void refuse_map(struct world *w, struct want bad, int err)
{
	struct want maps[] = { { P(1), 4, 0, RW, PRIV_ANON, ANON, 0, 0 }, bad };

	assert_int_equal(load_with(w, maps, 2, NULL, 0), -err);
}

static void test_hostile_mappings(void **state)
{
	struct world *w = *state;
	struct want good = { P(10), 4, 0, RW, PRIV_ANON, ANON, 0, 0 }, bad;

	assert_int_equal(load_with(w, &good, 1, NULL, 0), 0);
#define REFUSED(err, field, value) (bad = good, bad.field = (value), refuse_map(w, bad, err))
	REFUSED(EPROTO, start, P(10) + 1);
	REFUSED(EPROTO, start, P(3));
	REFUSED(EPROTO, start, P(0));
	REFUSED(EPROTO, start, USER_END - PAGE_BYTES);
	REFUSED(EPROTO, start, UINT64_MAX - PAGE_BYTES + 1);
	REFUSED(EPROTO, pages, 0);
	REFUSED(EPROTO, pages, UINT64_MAX / PAGE_BYTES);
	REFUSED(EPROTO, pages, 1ull << 51);
	REFUSED(EPROTO, pgoff, 12);
	REFUSED(EPROTO, pgoff, PAGE_DOWN(INT64_MAX));
	REFUSED(EPROTO, prot, 0x1000007);
	REFUSED(EPROTO, flags, PRIV_ANON | MAP_FIXED);
	REFUSED(EPROTO, flags, MAP_SHARED | MAP_ANONYMOUS);
	REFUSED(EPROTO, flags, PRIV_ANON | 21u << 26);
	REFUSED(EPROTO, status, VMA_REGULAR);
	REFUSED(EPROTO, status, ANON | VMA_FILE_PRIVATE);
	REFUSED(EOPNOTSUPP, status, ANON | VMA_AIO_RING);
	REFUSED(EPROTO, status, VMA_GUARD);
	REFUSED(EPROTO, madv, 1 << MADV_DONTNEED);
	REFUSED(EPROTO, madv, 1ull << 40);
	bad = (struct want){ P(10), 4, 0, RW, MAP_SHARED, VMA_REGULAR | VMA_FILE_SHARED, 1ull << 32, 0 };
	refuse_map(w, bad, EPROTO);
}

static void refuse_pages(struct world *w, struct stored a, struct stored b)
{
	static const struct want maps[] = {
		{ P(1), 4, 0, RW, PRIV_ANON, ANON, 0, 0 },
		{ P(5), 4, 0, RW, PRIV_ANON, ANON, 0, 0 },
		{ P(20), 4, 0, RW, MAP_SHARED | MAP_ANONYMOUS, VMA_REGULAR | VMA_ANON_SHARED, 77, 0 },
	};
	struct stored pages[] = { a, b };

	assert_int_equal(load_with(w, maps, ARRAY_SIZE(maps), pages, b.n ? 2 : 1), -EPROTO);
}

static void test_hostile_pages(void **state)
{
	struct world *w = *state;
	struct stored none = { 0 };

	refuse_pages(w, (struct stored){ P(0), 1, 0 }, none);
	refuse_pages(w, (struct stored){ P(8), 2, 0 }, none);
	refuse_pages(w, (struct stored){ P(20), 1, 0 }, none);
	refuse_pages(w, (struct stored){ P(2), 0, 0 }, none);
	refuse_pages(w, (struct stored){ P(2) + 8, 1, 0 }, none);
	refuse_pages(w, (struct stored){ P(3), 3, 0 }, (struct stored){ P(5), 1, 0 });
	refuse_pages(w, (struct stored){ P(5), 1, 0 }, (struct stored){ P(3), 1, 0 });
}

static void test_pages_file_cut_off(void **state)
{
	struct world *w = *state;
	struct member m = MEMBER(1, ID_EXE, task, 0);
	char *path = xasprintf("%s/pages-1.img", w->dir);
	struct task *t;

	write_chain(w, &m, 1);
	t = add_task(w->s, 1, NULL);
	assert_int_equal(truncate(path, 3 * PAGE_BYTES), 0);
	assert_int_equal(mem_load(w->s, t), -EPROTO);
	free(path);
}

/* One byte of the vDSO, and what mem_open() says then. */
static int open_with_vdso_byte(struct world *w, off_t at, struct task **ret)
{
	struct member m = MEMBER(1, ID_EXE, task, VDSO_AT);
	char *path = xasprintf("%s/pages-1.img", w->dir);
	int fd;

	write_chain(w, &m, 1);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "?", 1, 4 * PAGE_BYTES + at), 1);
	close(fd);
	free(path);
	*ret = add_task(w->s, 1, NULL);
	assert_int_equal(mem_load(w->s, *ret), 0);
	return mem_open(w->s);
}

/* Another vDSO becomes memory whose functions lead to this one's. */
static void test_other_vdso(void **state)
{
	struct world *w = *state;
	uint64_t bytes = w->self.at.end - w->self.at.start;
	const struct mem *m;
	struct task *t;

	/* the last byte of the page is no table, nor code of a function's beginning */
	assert_int_equal(open_with_vdso_byte(w, PAGE_BYTES - 1, &t), 0);
	m = t->mem;
	assert_true(m->patches.n >= 4);
	assert_int_equal(m->vdso.start, VDSO_AT);
	assert_int_equal(m->kernel.end - m->kernel.start, bytes);
	assert_true(m->kernel.start >= VDSO_AT + bytes || m->kernel.end <= VDSO_AT);
	for (size_t i = 0; i < m->patches.n; i++) {
		assert_in_range(m->patches.v[i].addr, m->vdso.code, m->vdso.end - m->patches.v[i].len);
		assert_in_range(m->patches.v[i].len, 5, VDSO_PATCH_MAX);
	}
	for (size_t i = 0; i < m->maps.n; i++) {
		assert_true(m->maps.v[i]->end <= m->kernel.start || m->maps.v[i]->start >= m->kernel.end);
		assert_true(!i || m->maps.v[i - 1]->end <= m->maps.v[i]->start);
	}
}

static void test_damaged_vdso(void **state)
{
	struct task *t;

	assert_int_equal(open_with_vdso_byte(*state, 1, &t), -EPROTO);
}

static void test_arena_avoids_tasks(void **state)
{
	struct world *w = *state;
	/* leaves 512 MiB below and above, and little in between */
	struct want maps[] = {
		{ 1ull << 29, ((1ull << 45) - (1ull << 29)) / PAGE_BYTES, 0, PROT_NONE, PRIV_ANON, ANON, 0, 0 },
	};
	struct member m = { 1, ID_EXE, maps, 1, NULL, 0, 0, NULL, NULL };
	uint64_t base, size = 0;

	write_chain(w, &m, 1);
	assert_int_equal(mem_load(w->s, add_task(w->s, 1, NULL)), 0);
	assert_int_equal(mem_pick_arena(w->s, &base, &size), 0);
	assert_int_equal(size, 4ull << 30);
	assert_true(base >= (1ull << 45) + (1 << 20) && base + size < USER_END);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_hostile_mappings), T(test_hostile_pages), T(test_pages_file_cut_off), T(test_other_vdso),
		T(test_damaged_vdso),
		T(test_arena_avoids_tasks),
	};

	log_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
