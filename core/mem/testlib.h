/* SPDX-License-Identifier: MIT */
/*
 * testlib.h: for the tests of core/mem: images of a chain of tasks, each the child
 * of the one before, written from tables, and a session that restores from them.
 */
#ifndef CORE_MEM_TESTLIB_H
#define CORE_MEM_TESTLIB_H

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files_priv.h"
#include "image.h"
#include "mem_priv.h"
#include "options.h"
#include "pagemap.pb-c.h"
#include "tree.h"

/* last: it has a macro fail() */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define BASE 0x100000000000ull
#define P(n) (BASE + (uint64_t)(n) * PAGE_BYTES) /* n-th page of the test's addresses */
#define STACK_END 0x7ffc29288000ull
#define RO PROT_READ
#define RW (PROT_READ | PROT_WRITE)
#define RX (PROT_READ | PROT_EXEC)
#define PRIV_ANON (MAP_PRIVATE | MAP_ANONYMOUS)
#define ANON (VMA_REGULAR | VMA_ANON_PRIVATE)
#define FILE_PAGES 16

enum { ID_EXE = 1, ID_FILE, ID_EXE2, ID_N };

/* A mapping to be put into an image. */
struct want {
	uint64_t start, pages, pgoff;
	uint32_t prot, flags, status;
	uint64_t id, madv;
};

/* Stored pages: pages [page, page + n) of the test's addresses, with a seed for their contents. */
struct stored {
	uint64_t addr, n, seed;
};

struct world {
	char *dir, *file;
	struct options *opts;
	struct session *s;
	struct arena arena;
	struct plan_set *ps;
	int fds[ID_N];
	struct vdso_layout self;
	uint32_t next_pages;
};

/* ---- writing images ---- */

static inline void open_session(struct world *w, uint32_t mode)
{
	w->opts = options_new();
	log_set_level(getenv("VERBOSE") ? 4 : -1);
	assert_int_equal(options_set(w->opts, "images-dir", w->dir), 0);
	w->s = session_new(mode, w->opts);
	assert_int_equal(images_open(w->s), 0);
}

static inline void close_session(struct world *w)
{
	for (struct task *t = w->s->tree ? w->s->tree->all : NULL; t; t = t->next) {
		mem_free(t->mem);
		t->mem = NULL;
	}
	if (w->s->tree)
		tree_free(w->s->tree);
	w->s->tree = NULL;
	session_free(w->s);
	options_free(w->opts);
	w->s = NULL;
}

static inline void page_content(uint64_t addr, uint64_t seed, uint64_t *page)
{
	for (size_t i = 0; i < PAGE_BYTES / 8; i++)
		page[i] = addr * 31 + seed * 1000003 + i;
}

static inline void put_want(VmaEntry *v, const struct want *m)
{
	vma_entry__init(v);
	v->start = m->start;
	v->end = m->start + m->pages * PAGE_BYTES;
	v->pgoff = m->pgoff;
	v->prot = m->prot;
	v->flags = m->flags;
	v->status = m->status;
	v->shmid = m->id;
	v->fd = -1;
	v->has_madv = m->madv != 0;
	v->madv = m->madv;
	v->has_fdflags = !!(m->status & VMA_FILE_SHARED);
	v->fdflags = O_RDWR;
}

static inline void put_vdso(struct world *w, VmaEntry *v, uint64_t at, bool code)
{
	uint64_t data = w->self.at.code - w->self.at.start, all = w->self.at.end - w->self.at.start;
	struct want m = {
		.start = code ? at + data : at,
		.pages = (code ? all - data : data) / PAGE_BYTES,
		.prot = code ? RX : RO,
		.flags = PRIV_ANON,
		.status = ANON | (code ? VMA_VDSO : VMA_VVAR),
	};

	put_want(v, &m);
}

static inline void put_mm_fields(MmEntry *mm, uint32_t exe)
{
	static uint64_t auxv[] = { 3, P(1), 5, 13, 9, P(2) };

	mm->mm_start_code = P(0);
	mm->mm_end_code = P(1) + 5;
	mm->mm_start_data = P(2);
	mm->mm_end_data = P(3);
	mm->mm_start_brk = mm->mm_brk = P(5);
	mm->mm_start_stack = STACK_END - 4000;
	mm->mm_arg_start = STACK_END - 512;
	mm->mm_arg_end = mm->mm_env_start = STACK_END - 256;
	mm->mm_env_end = STACK_END - 8;
	mm->exe_file_id = exe;
	mm->n_mm_saved_auxv = ARRAY_SIZE(auxv);
	mm->mm_saved_auxv = auxv;
}

static inline void write_mm(struct world *w, int vpid, uint32_t exe, const struct want *maps, size_t n, uint64_t vdso_at)
{
	MmEntry mm = MM_ENTRY__INIT;
	VmaEntry *entries = xcalloc(n + 2, sizeof(*entries)), **list = xcalloc(n + 2, sizeof(*list));
	bool done = !vdso_at;

	put_mm_fields(&mm, exe);
	mm.vmas = list;
	for (size_t i = 0; i <= n; i++) {
		if (!done && (i == n || maps[i].start > vdso_at)) {
			for (int code = 0; code < 2; code++, mm.n_vmas++)
				put_vdso(w, &entries[mm.n_vmas], vdso_at, code);
			done = true;
		}
		if (i < n)
			put_want(&entries[mm.n_vmas++], &maps[i]);
	}
	for (size_t i = 0; i < mm.n_vmas; i++)
		list[i] = &entries[i];
	assert_int_equal(img_append_msg(w->s, &img_mm, (uint64_t)vpid, &mm.base), 0);
	free(entries);
	free(list);
}

static inline void add_entry(struct world *w, int vpid, uint64_t addr, uint64_t pages)
{
	PagemapEntry e = PAGEMAP_ENTRY__INIT;

	e.vaddr = addr;
	e.has_flags = e.has_nr_pages = 1;
	e.flags = PE_PRESENT;
	e.nr_pages = pages;
	assert_int_equal(img_append_msg(w->s, &img_pagemap, (uint64_t)vpid, &e.base), 0);
}

/* runs sorted; the code of the vDSO is added behind. */
static inline void write_pages(struct world *w, int vpid, const struct stored *runs, size_t n, uint64_t vdso_at)
{
	PagemapHead head = PAGEMAP_HEAD__INIT;
	uint64_t page[PAGE_BYTES / 8], code = vdso_at + (w->self.at.code - w->self.at.start);
	bool done = !vdso_at;
	int fd;

	head.pages_id = w->next_pages++;
	assert_int_equal(img_append_msg(w->s, &img_pagemap, (uint64_t)vpid, &head.base), 0);
	assert_int_equal(img_create_fd(w->s, &img_pages, head.pages_id, &fd), 0);
	for (size_t i = 0; i <= n; i++) {
		if (!done && (i == n || runs[i].addr > code)) {
			add_entry(w, vpid, code, (w->self.at.end - w->self.at.code) / PAGE_BYTES);
			write_full(fd, (void *)w->self.at.code, w->self.at.end - w->self.at.code);
			done = true;
		}
		if (i == n)
			break;
		add_entry(w, vpid, runs[i].addr, runs[i].n);
		for (uint64_t k = 0; k < runs[i].n; k++) {
			page_content(runs[i].addr + k * PAGE_BYTES, runs[i].seed, page);
			write_full(fd, page, PAGE_BYTES);
		}
	}
	close(fd);
}

static inline void write_shm(struct world *w, uint32_t shmid, uint64_t pages)
{
	PagemapHead head = PAGEMAP_HEAD__INIT;
	PagemapEntry e = PAGEMAP_ENTRY__INIT;
	uint64_t page[PAGE_BYTES / 8];
	int fd;

	head.pages_id = w->next_pages++;
	e.has_flags = e.has_nr_pages = 1;
	e.flags = PE_PRESENT;
	e.nr_pages = pages;
	assert_int_equal(img_append_msg(w->s, &img_shmem_pagemap, shmid, &head.base), 0);
	assert_int_equal(img_append_msg(w->s, &img_shmem_pagemap, shmid, &e.base), 0);
	assert_int_equal(img_create_fd(w->s, &img_pages, head.pages_id, &fd), 0);
	for (uint64_t k = 0; k < pages; k++) {
		page_content(k, shmid, page);
		write_full(fd, page, PAGE_BYTES);
	}
	close(fd);
}

/* ---- the session at restore ---- */

static inline struct task *add_task(struct session *s, int vpid, struct task *parent)
{
	struct task *t = xcalloc(1, sizeof(*t)), **p;

	t->pid = (struct pid_levels){ .n = 1, .nr = { vpid } };
	t->life = TASK_ALIVE;
	t->parent = t->mem_from = parent;
	if (!s->tree)
		s->tree = xcalloc(1, sizeof(*s->tree));
	if (!parent)
		s->tree->root = t;
	for (p = &s->tree->all; *p; p = &(*p)->next)
		;
	*p = t;
	return t;
}

static inline void add_file(struct world *w, uint32_t id, int fd)
{
	struct file *f = file_new(w->s);

	f->id = id;
	f->fd = fd;
	*vec_push(&files_get(w->s)->by_id) = f;
}

static inline void add_files(struct world *w)
{
	files_get(w->s)->base = 200;
	add_file(w, ID_EXE, open("/bin/true", O_RDONLY | O_CLOEXEC));
	add_file(w, ID_FILE, open(w->file, O_RDWR | O_CLOEXEC));
	add_file(w, ID_EXE2, open("/bin/false", O_RDONLY | O_CLOEXEC));
}

static inline int setup(void **state)
{
	struct world *w = xcalloc(1, sizeof(*w));
	uint64_t page[PAGE_BYTES / 8];
	struct session probe = { 0 };
	int fd;

	w->dir = xstrdup("/tmp/mem-plan-test-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	w->file = xasprintf("%s/mapped", w->dir);
	fd = open(w->file, O_RDWR | O_CREAT | O_CLOEXEC, 0755);
	for (uint64_t i = 0; i < FILE_PAGES; i++) {
		page_content(i, 999, page);
		write_full(fd, page, PAGE_BYTES);
	}
	close(fd);
	w->next_pages = 1;
	w->arena.fd = -1;
	assert_int_equal(vdso_self(&probe, &w->self), 0);
	*state = w;
	return 0;
}

static inline void remove_dir(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;

	while (d && (e = readdir(d)))
		unlinkat(dirfd(d), e->d_name, 0);
	cleanup_dir(&d);
	rmdir(path);
}

static inline int teardown(void **state)
{
	struct world *w = *state;

	plan_set_free(w->ps);
	if (w->arena.park)
		arena_free(&w->arena);
	if (w->s)
		close_session(w);
	remove_dir(w->dir);
	free(w->dir);
	free(w->file);
	free(w);
	return 0;
}

/* One task of a test tree. */
struct member {
	int vpid;
	uint32_t exe;
	const struct want *maps;
	size_t nmaps;
	const struct stored *pages;
	size_t npages;
	uint64_t vdso_at;
	struct task *task;
	struct plan *plan;
};
#define MEMBER(pid, exe_id, name, vdso) \
	{ pid, exe_id, name##_maps, ARRAY_SIZE(name##_maps), name##_pages, ARRAY_SIZE(name##_pages), vdso, NULL, NULL }

/* Writes the images, each member the child of the one before, and opens the session of a restore. */
static inline void write_chain(struct world *w, const struct member *m, size_t n)
{
	open_session(w, CR_MODE_DUMP);
	for (size_t i = 0; i < n; i++) {
		write_mm(w, m[i].vpid, m[i].exe, m[i].maps, m[i].nmaps, m[i].vdso_at);
		write_pages(w, m[i].vpid, m[i].pages, m[i].npages, m[i].vdso_at);
	}
	write_shm(w, 77, 6);
	assert_int_equal(images_finish(w->s), 0);
	close_session(w);
	open_session(w, CR_MODE_RESTORE);
	add_files(w);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
