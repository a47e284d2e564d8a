/* SPDX-License-Identifier: MIT */
/*
 * Dumps the memory of a stopped child and reads the images back: every page that they
 * name has the child's bytes, every page that they do not name is what a restore
 * would find there anyway.  Shared memory goes out and in again.  KEEP_IMAGES=DIR
 * leaves the images in DIR.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "image.h"
#include "mem_priv.h"
#include "options.h"
#include "pagemap.pb-c.h"

/* last: it has a macro fail() */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define PG PAGE_BYTES
#define MANY 2600 /* runs: more than one call of PAGEMAP_SCAN, readv and a megabyte take */
#define HUGE_AREA (1ul << 30) /* the shadow memory of a sanitizer: not looked at */

struct fixture {
	struct session *s;
	char *base, *dir;
};

/* What the child does; addresses are known to the parent as it maps before the fork. */
struct layout {
	char *plain, *none, *wronly, *file, *guard, *shared, *sparse, *zero;
	int fd;
};

static void start(struct fixture *f, uint32_t mode)
{
	struct options *o = options_new();

	log_set_level(0);
	assert_int_equal(options_set(o, "images-dir", f->dir), 0);
	f->s = session_new(mode, o);
	assert_int_equal(images_open(f->s), 0);
}

static void stop(struct fixture *f)
{
	struct options *o = f->s->opts;

	session_free(f->s);
	options_free(o);
}

static int setup(void **state)
{
	const char *keep = getenv("KEEP_IMAGES");
	struct fixture *f = xcalloc(1, sizeof(*f));

	f->base = xstrdup("/tmp/mem-test-XXXXXX");
	assert_non_null(mkdtemp(f->base));
	f->dir = keep ? xstrdup(keep) : xasprintf("%s/images", f->base);
	start(f, CR_MODE_DUMP);
	*state = f;
	return 0;
}

static void remove_dir(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;

	while (d && (e = readdir(d)))
		unlinkat(dirfd(d), e->d_name, 0);
	cleanup_dir(&d);
	rmdir(path);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	stop(f);
	if (!getenv("KEEP_IMAGES"))
		remove_dir(f->dir);
	remove_dir(f->base);
	free(f->dir);
	free(f->base);
	free(f);
	return 0;
}

static char *map(size_t pages, int flags, int fd)
{
	char *p = mmap(NULL, pages * PG, PROT_READ | PROT_WRITE, flags | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);

	assert_true(p != MAP_FAILED);
	return p;
}

static void layout_map(struct layout *l)
{
	int zero = open("/dev/zero", O_RDWR | O_CLOEXEC);

	l->fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	assert_true(l->fd >= 0 && zero >= 0);
	for (int i = 0; i < 8; i++) {
		char page[PG];

		memset(page, 'f', sizeof(page));
		assert_int_equal(write_full(l->fd, page, sizeof(page)), 0);
	}
	l->plain = map(64, MAP_PRIVATE, -1);
	l->none = map(300, MAP_PRIVATE, -1);
	l->wronly = map(8, MAP_PRIVATE, -1);
	l->file = map(8, MAP_PRIVATE, l->fd);
	l->guard = map(16, MAP_PRIVATE, -1);
	l->shared = map(64, MAP_SHARED, -1);
	l->sparse = map(2 * MANY, MAP_PRIVATE | MAP_NORESERVE, -1);
	l->zero = map(8, MAP_PRIVATE, zero);
	close(zero);
}

static void child_main(const struct layout *l, int ready)
{
	volatile char sink;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	memset(l->plain + 3 * PG, 'A', PG);
	memset(l->plain + 4 * PG, 0, PG); /* there, but zero */
	sink = l->plain[5 * PG];	  /* the zero page */
	l->plain[10 * PG + 17] = 'B';
	l->plain[12 * PG - 1] = 'C';
	memset(l->none, 'N', 299 * PG);
	mprotect(l->none, 300 * PG, PROT_NONE);
	l->wronly[PG] = 'W';
	mprotect(l->wronly, 8 * PG, PROT_WRITE);
	memset(l->file + PG, 0, PG); /* must win over the file's contents */
	l->file[3 * PG] = 'x';
	sink = l->file[5 * PG];
	l->guard[0] = 'g';
	madvise(l->guard + 2 * PG, 3 * PG, MADV_GUARD_INSTALL);
	l->shared[7 * PG] = 's';
	memset(l->shared + 20 * PG, 'S', 3 * PG);
	for (int i = 0; i < MANY; i++)
		l->sparse[2 * i * PG + i % PG] = 1 + i % 100;
	sink = l->zero[0];
	l->zero[2 * PG] = 'z';
	(void)sink;
	sink = write(ready, "", 1);
	for (;;)
		pause();
}

static pid_t child_start(const struct layout *l)
{
	int p[2], st;
	pid_t pid;
	char c;

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	pid = fork();
	if (!pid)
		child_main(l, p[1]);
	close(p[1]);
	assert_int_equal(read(p[0], &c, 1), 1);
	close(p[0]);
	kill(pid, SIGSTOP);
	assert_int_equal(waitpid(pid, &st, WUNTRACED), pid);
	assert_true(WIFSTOPPED(st));
	return pid;
}

static void child_end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* As mem_collect(), without file objects. */
static void collect(struct session *s, struct task *t)
{
	uint64_t dev = vma_shm_dev();
	vma_list l;

	t->mem = xcalloc(1, sizeof(*t->mem));
	assert_int_equal(proc_read_smaps(task_pid(t), &l), 0);
	for (size_t i = 0; i < l.n; i++) {
		struct vma_area a = { .v = l.v[i] };

		if (a.v.end - a.v.start > HUGE_AREA)
			continue;
		assert_null(vma_classify(&a, dev));
		if (t->mem->areas.n && vma_joins(&t->mem->areas.v[t->mem->areas.n - 1], &a)) {
			t->mem->areas.v[t->mem->areas.n - 1].v.end = a.v.end;
			continue;
		}
		if (a.status & VMA_ANON_SHARED)
			a.shmid = shmem_id(s, makedev(a.v.dev_major, a.v.dev_minor), a.v.ino);
		*vec_push(&t->mem->areas) = a;
		l.v[i].path = NULL;
	}
	proc_vmas_free(&l);
}

struct entry {
	uint64_t vaddr, pages, off;
};
typedef VEC(struct entry) stored_pages;

static void read_pagemap(struct session *s, pid_t vpid, stored_pages *l, int *ret_fd)
{
	struct cr_reader *r;
	ProtobufCMessage *m;
	uint64_t off = 0;
	struct stat st;

	assert_int_equal(img_open(s, &img_pagemap, vpid, &r), 0);
	assert_int_equal(img_next_msg(r, &pagemap_head__descriptor, &m), 1);
	assert_int_equal(img_open_fd(s, &img_pages, ((PagemapHead *)m)->pages_id, ret_fd), 0);
	protobuf_c_message_free_unpacked(m, NULL);
	while (img_next_msg(r, &pagemap_entry__descriptor, &m) == 1) {
		PagemapEntry *e = (PagemapEntry *)m;

		assert_int_equal(e->flags, PE_PRESENT);
		assert_true(e->nr_pages > 0);
		if (l->n) /* in order, and touching entries are one */
			assert_true(e->vaddr > l->v[l->n - 1].vaddr + l->v[l->n - 1].pages * PG);
		*vec_push(l) = (struct entry){ e->vaddr, e->nr_pages, off };
		off += e->nr_pages * PG;
		protobuf_c_message_free_unpacked(m, NULL);
	}
	img_close(r);
	assert_int_equal(fstat(*ret_fd, &st), 0);
	assert_int_equal(st.st_size, off);
}

static const struct entry *find_entry(const stored_pages *l, uint64_t addr)
{
	for (size_t i = 0; i < l->n; i++)
		if (addr >= l->v[i].vaddr && addr < l->v[i].vaddr + l->v[i].pages * PG)
			return &l->v[i];
	return NULL;
}

static bool stored(const stored_pages *l, const char *base, size_t page)
{
	return find_entry(l, (uintptr_t)base + page * PG) != NULL;
}

/* The rule of the file comment, for one private mapping. Returns pages named. */
static size_t check_area(const struct vma_area *a, const stored_pages *l, int pages, int mem, const char *self)
{
	bool anon = a->status & VMA_ANON_PRIVATE;
	size_t n = 0;

	for (uint64_t addr = a->v.start; addr < a->v.end; addr += PG) {
		const struct entry *e = find_entry(l, addr);
		char is[PG], want[PG];
		ssize_t got = pread(mem, is, PG, addr);

		if (e) {
			n++;
			assert_int_equal(got, PG);
			assert_int_equal(pread(pages, want, PG, e->off + addr - e->vaddr), PG);
			assert_memory_equal(is, want, PG);
		} else if (anon && got == PG) {
			assert_true(page_is_zero(is));
		} else if (self && got == PG) {
			assert_memory_equal(is, self + (addr - a->v.start), PG);
		}
	}
	return n;
}

static void check_guards(struct session *s, pid_t vpid, const struct layout *l)
{
	ProtobufCMessage *m;
	size_t found = 0;
	MmEntry *mm;

	assert_int_equal(img_read_one(s, &img_mm, vpid, &mm_entry__descriptor, &m), 0);
	mm = (MmEntry *)m;
	assert_int_equal(mm->mm_brk, 4711);
	assert_int_equal(mm->exe_file_id, 5);
	assert_true(mm->n_mm_saved_auxv > 10);
	for (size_t i = 0; i < mm->n_vmas; i++) {
		const VmaEntry *v = mm->vmas[i];

		if (!(v->status & VMA_GUARD))
			continue;
		found++;
		assert_true(v->start == (uintptr_t)l->guard + 2 * PG && v->end == v->start + 3 * PG);
		assert_true(i > 0 && mm->vmas[i - 1]->start <= v->start && mm->vmas[i - 1]->end >= v->end);
	}
	assert_int_equal(found, 1);
	protobuf_c_message_free_unpacked(m, NULL);
}

static void check_chosen(const struct layout *l, const stored_pages *e)
{
	assert_false(stored(e, l->plain, 2));
	assert_true(stored(e, l->plain, 3));
	assert_false(stored(e, l->plain, 4));
	assert_false(stored(e, l->plain, 5));
	assert_true(stored(e, l->plain, 10));
	assert_true(stored(e, l->plain, 11));
	assert_true(stored(e, l->none, 0) && stored(e, l->none, 298));
	assert_false(stored(e, l->none, 299));
	assert_true(stored(e, l->wronly, 1));
	assert_true(stored(e, l->file, 1)); /* zeros over a file */
	assert_true(stored(e, l->file, 3));
	assert_false(stored(e, l->file, 5));
	assert_true(stored(e, l->guard, 0));
	assert_false(stored(e, l->guard, 2));
	assert_false(stored(e, l->shared, 7));
	assert_true(stored(e, l->zero, 2));
	for (int i = 0; i < MANY; i++) {
		assert_true(stored(e, l->sparse, 2 * i));
		assert_false(stored(e, l->sparse, 2 * i + 1));
	}
}

static void check_shared(struct session *s, const struct task *t, const struct layout *l)
{
	int fd = memfd_create("copy", 0);
	uint64_t extent = 0;
	uint32_t id = 0;
	char *copy;

	for (size_t i = 0; i < t->mem->areas.n; i++)
		if (t->mem->areas.v[i].v.start == (uintptr_t)l->shared)
			id = t->mem->areas.v[i].shmid;
	assert_true(id > 0);
	assert_int_equal(shmem_extent(s, id, &extent), 0);
	assert_int_equal(extent, 23 * PG);
	assert_int_equal(ftruncate(fd, 64 * PG), 0);
	assert_int_equal(shmem_fill(s, fd, id, 64 * PG), 0);
	copy = map(64, MAP_SHARED, fd);
	assert_memory_equal(copy, l->shared, 64 * PG); /* the parent has it mapped, too */
	munmap(copy, 64 * PG);
	assert_int_equal(shmem_fill(s, fd, id, 22 * PG), -EPROTO);
	close(fd);
}

static void test_dump(void **state)
{
	struct fixture *f = *state;
	struct mem_facts facts = { 4711, 1, 0, 0, 0 };
	struct task t = { .pid = { 2, { 0, 12 } }, .exe_id = 5 };
	stored_pages e = { 0 };
	size_t total = 0, named = 0;
	struct layout l;
	int pages, mem;
	char *path;

	layout_map(&l);
	t.pid.nr[0] = child_start(&l);
	assert_int_equal(proc_read_stat(task_pid(&t), 0, &t.stat), 0);
	collect(f->s, &t);
	assert_int_equal(mem_dump(f->s, &t, &facts), 0);
	assert_int_equal(f->s->stats.shpages_written, 4);
	assert_int_equal(images_finish(f->s), 0);
	named = f->s->stats.pages_written;
	stop(f);
	start(f, CR_MODE_RESTORE);
	read_pagemap(f->s, 12, &e, &pages);
	path = xasprintf("/proc/%d/mem", task_pid(&t));
	mem = open(path, O_RDONLY);
	assert_true(mem >= 0);
	for (size_t i = 0; i < t.mem->areas.n; i++) {
		const struct vma_area *a = &t.mem->areas.v[i];

		if (vma_is_private(a->status))
			total += check_area(a, &e, pages, mem, a->v.start == (uintptr_t)l.file ? l.file : NULL);
	}
	assert_int_equal(total, named);
	check_chosen(&l, &e);
	check_guards(f->s, 12, &l);
	check_shared(f->s, &t, &l);
	child_end(task_pid(&t));
	close(pages);
	close(mem);
	close(l.fd);
	free(path);
	vec_free(&e);
	mem_free(t.mem);
}

/* The words of pagemap and the scan lead to the same pages, but for zero pages. */
static void test_scan_fallback(void **state)
{
	struct fixture *f = *state;
	struct scanner sc[2];
	struct task t = { .pid = { 1, { 0 } } };
	struct layout l;
	size_t at = 0;

	layout_map(&l);
	t.pid.nr[0] = child_start(&l);
	collect(f->s, &t);
	for (int w = 0; w < 2; w++) {
		assert_int_equal(scanner_open(&sc[w], task_pid(&t)), 0);
		sc[w].no_ioctl = w;
		assert_int_equal(scan_areas(&sc[w], t.mem->areas.v, t.mem->areas.n), 0);
	}
	assert_int_equal(sc[0].guards.n, 1);
	assert_int_equal(sc[1].guards.n, 1);
	assert_true(sc[0].guards.v[0].start == sc[1].guards.v[0].start);
	for (size_t i = 0; i < sc[0].runs.n; i++) { /* each run of the scan lies in one of the words */
		const struct page_run *a = &sc[0].runs.v[i];

		while (at < sc[1].runs.n && sc[1].runs.v[at].start + sc[1].runs.v[at].bytes <= a->start)
			at++;
		assert_true(at < sc[1].runs.n && sc[1].runs.v[at].start <= a->start &&
			    sc[1].runs.v[at].start + sc[1].runs.v[at].bytes >= a->start + a->bytes);
		assert_int_equal(a->skip_zero, sc[1].runs.v[at].skip_zero);
	}
	assert_true(sc[0].runs.n > MANY);
	scanner_close(&sc[0]);
	scanner_close(&sc[1]);
	child_end(task_pid(&t));
	close(l.fd);
	mem_free(t.mem);
}

/* An object of odd size; dumped once; the position of the descriptor stays. */
static void test_shmem_odd(void **state)
{
	struct fixture *f = *state;
	int fd = memfd_create("odd", 0), copy = memfd_create("copy", 0);
	uint32_t id, again;
	struct stat st;
	char buf[8];

	assert_int_equal(pwrite(fd, "hello", 5, 3 * PG), 5);
	assert_int_equal(lseek(fd, 77, SEEK_SET), 77);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(shmem_dump(f->s, fd, &st, st.st_size, &id), 0);
	assert_int_equal(shmem_dump(f->s, fd, &st, st.st_size, &again), 0);
	assert_int_equal(id, again);
	assert_int_equal(lseek(fd, 0, SEEK_CUR), 77);
	assert_int_equal(f->s->stats.shpages_written, 1);
	assert_int_equal(images_finish(f->s), 0);
	stop(f);
	start(f, CR_MODE_RESTORE);
	assert_int_equal(ftruncate(copy, st.st_size), 0);
	assert_int_equal(shmem_fill(f->s, copy, id, st.st_size), 0);
	assert_int_equal(fstat(copy, &st), 0);
	assert_int_equal(st.st_size, 3 * PG + 5);
	assert_int_equal(pread(copy, buf, 8, 3 * PG), 5);
	assert_memory_equal(buf, "hello", 5);
	assert_int_equal(shmem_fill(f->s, copy, 99, PG), -ENOENT);
	close(fd);
	close(copy);
}

static void put_pagemap(struct session *s, uint32_t id, uint32_t pages_id, const PagemapEntry *e, size_t n)
{
	PagemapHead h = PAGEMAP_HEAD__INIT;

	h.pages_id = pages_id;
	assert_int_equal(img_append_msg(s, &img_shmem_pagemap, id, &h.base), 0);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(img_append_msg(s, &img_shmem_pagemap, id, &e[i].base), 0);
}

static PagemapEntry entry(uint64_t vaddr, uint64_t pages, uint32_t flags)
{
	PagemapEntry e = PAGEMAP_ENTRY__INIT;

	e.vaddr = vaddr;
	e.has_nr_pages = e.has_flags = 1;
	e.nr_pages = pages;
	e.flags = flags;
	return e;
}

static void test_shmem_hostile(void **state)
{
	struct fixture *f = *state;
	int fd, copy = memfd_create("copy", 0);
	char pages[2 * PG];
	const struct {
		PagemapEntry e[2];
		size_t n;
		uint32_t pages_id;
		int err;
	} bad[] = {
		{ { entry(0, 3, PE_PRESENT) }, 1, 1, -EPROTO },		/* more than there is */
		{ { entry(0, 0, PE_PRESENT) }, 1, 1, -EPROTO },
		{ { entry(1, 1, PE_PRESENT) }, 1, 1, -EPROTO },
		{ { entry(0, UINT64_MAX, PE_PRESENT) }, 1, 1, -EPROTO },
		{ { entry(UINT64_MAX - PG + 1, 1, PE_PRESENT) }, 1, 1, -EPROTO },
		{ { entry(8 * PG, 1, PE_PRESENT) }, 1, 1, -EPROTO },	/* behind the end */
		{ { entry(PG, 1, PE_PRESENT), entry(0, 1, PE_PRESENT) }, 2, 1, -EPROTO },
		{ { entry(0, 1, PE_PRESENT), entry(0, 1, PE_PRESENT) }, 2, 1, -EPROTO },
		{ { entry(0, 1, PE_PARENT) }, 1, 1, -EOPNOTSUPP },
		{ { entry(0, 1, PE_PRESENT) }, 1, 2, -ENOENT },		/* no such pages file */
	};

	memset(pages, 1, sizeof(pages));
	assert_int_equal(img_create_fd(f->s, &img_pages, 1, &fd), 0);
	assert_int_equal(write_full(fd, pages, sizeof(pages)), 0);
	close(fd);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		put_pagemap(f->s, i + 1, bad[i].pages_id, bad[i].e, bad[i].n);
	assert_int_equal(images_finish(f->s), 0);
	assert_int_equal(ftruncate(copy, 8 * PG), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		stop(f);
		start(f, CR_MODE_RESTORE);
		assert_int_equal(shmem_fill(f->s, copy, i + 1, 8 * PG), bad[i].err);
		assert_true(f->s->err.errnum != 0);
	}
	close(copy);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_dump, setup, teardown),
		cmocka_unit_test_setup_teardown(test_scan_fallback, setup, teardown),
		cmocka_unit_test_setup_teardown(test_shmem_odd, setup, teardown),
		cmocka_unit_test_setup_teardown(test_shmem_hostile, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
