/* SPDX-License-Identifier: MIT */
/* Classification of mappings, from lines of smaps; merging of runs. */
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "mem_priv.h"

/* last: it has a macro fail() */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define SHM_DEV makedev(0, 1)
#define PRIV_ANON (MAP_PRIVATE | MAP_ANONYMOUS)

/* Classifies one mapping given as text; its refusal or NULL. */
static const char *classify(const char *header, const char *vmflags, struct vma_area *ret)
{
	char *text = xasprintf("%s\nVmFlags: %s\n", header, vmflags);
	const char *why;
	vma_list l = { 0 };

	assert_int_equal(proc_parse_maps(text, strlen(text), &l), 0);
	assert_int_equal(l.n, 1);
	*ret = (struct vma_area){ .v = l.v[0] };
	why = vma_classify(ret, SHM_DEV);
	proc_vmas_free(&l);
	free(text);
	return why;
}

struct expectation {
	const char *header, *vmflags;
	uint32_t status, flags, fdflags;
	uint64_t madv;
	bool file;
};

static const struct expectation good[] = {
	{ "1000-2000 rw-p 00000000 00:00 0 ", "rd wr mr mw me ac", VMA_REGULAR | VMA_ANON_PRIVATE, PRIV_ANON },
	{ "1000-2000 ---p 00000000 00:00 0 ", "mr mw me nr", VMA_REGULAR | VMA_ANON_PRIVATE,
	  PRIV_ANON | MAP_NORESERVE },
	{ "1000-2000 rw-p 00000000 00:00 0    [heap]", "rd wr mr mw me ac", VMA_REGULAR | VMA_HEAP | VMA_ANON_PRIVATE,
	  PRIV_ANON },
	{ "1000-2000 rw-p 00000000 00:00 0    [stack]", "rd wr mr mw me gd ac", VMA_REGULAR | VMA_ANON_PRIVATE,
	  PRIV_ANON | MAP_GROWSDOWN },
	{ "1000-2000 rw-p 00000000 00:00 0    [anon:my heap]", "rd wr mr mw me nh ac", VMA_REGULAR | VMA_ANON_PRIVATE,
	  PRIV_ANON, 0, 0x8000 },
	{ "1000-2000 rw-p 00000000 00:00 0 ", "rd wr mr mw me dc rr sr mg hg dd wf ac", VMA_REGULAR | VMA_ANON_PRIVATE,
	  PRIV_ANON, 0, 0x2 | 0x4 | 0x400 | 0x1000 | 0x4000 | 0x10000 | 0x40000 },
	{ "1000-2000 rw-p 00000000 00:00 0 ", "rd wr mr mw me nr dd wf dp", VMA_REGULAR | VMA_ANON_PRIVATE,
	  PRIV_ANON | MAP_NORESERVE | MAP_DROPPABLE, 0, 0x50000 },
	{ "1000-2000 rw-p 00000000 00:00 0 ", "rd wr mr mw me lo lf ac", VMA_REGULAR | VMA_ANON_PRIVATE,
	  PRIV_ANON | MAP_LOCKED },
	{ "1000-2000 r-xp 00000000 00:00 0    [vdso]", "rd ex mr mw me de sl", VMA_REGULAR | VMA_VDSO | VMA_ANON_PRIVATE,
	  PRIV_ANON },
	{ "1000-2000 r--p 00000000 00:00 0    [vvar]", "rd mr pf io de dd sl", VMA_REGULAR | VMA_VVAR | VMA_ANON_PRIVATE,
	  PRIV_ANON, 0, 0x10000 },
	{ "1000-2000 r--p 00000000 00:00 0    [vvar_vclock]", "rd mr pf io de dd",
	  VMA_REGULAR | VMA_VVAR | VMA_ANON_PRIVATE, PRIV_ANON, 0, 0x10000 },
	{ "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]", "ex", VMA_VSYSCALL | VMA_ANON_PRIVATE,
	  PRIV_ANON },
	{ "1000-2000 r-xp 00001000 fe:00 332383   /usr/bin/x", "rd ex mr mw me", VMA_REGULAR | VMA_FILE_PRIVATE,
	  MAP_PRIVATE, 0, 0, true },
	{ "1000-2000 r--s 00000000 fe:00 332383   /usr/lib/cache", "rd mr me ms", VMA_REGULAR | VMA_FILE_SHARED,
	  MAP_SHARED, 0, 0, true },
	{ "1000-2000 rw-s 00000000 fe:00 332383   /data (deleted)", "rd wr sh mr mw me ms", VMA_REGULAR | VMA_FILE_SHARED,
	  MAP_SHARED, 2, 0, true },
	{ "1000-2000 r--s 00000000 fe:00 332383   /opened for writing", "rd sh mr mw me ms",
	  VMA_REGULAR | VMA_FILE_SHARED, MAP_SHARED, 2, 0, true },
	{ "1000-2000 rw-s 00000000 00:01 7   /dev/zero (deleted)", "rd wr sh mr mw me ms", VMA_REGULAR | VMA_ANON_SHARED,
	  MAP_SHARED | MAP_ANONYMOUS },
	{ "1000-2000 rw-s 00000000 00:01 7   [anon_shmem:name]", "rd wr sh mr mw me ms", VMA_REGULAR | VMA_ANON_SHARED,
	  MAP_SHARED | MAP_ANONYMOUS },
	/* a file of the user with that name; the device itself */
	{ "1000-2000 rw-s 00000000 00:2a 7   /dev/zero (deleted)", "rd wr sh mr mw me ms", VMA_REGULAR | VMA_FILE_SHARED,
	  MAP_SHARED, 2, 0, true },
	{ "1000-2000 rw-p 00000000 00:05 4   /dev/zero", "rd wr mr mw me", VMA_REGULAR | VMA_FILE_PRIVATE, MAP_PRIVATE, 0,
	  0, true },
	{ "1000-2000 rw-s 00000000 00:01 7   /memfd:x (deleted)", "rd wr sh mr mw me ms",
	  VMA_REGULAR | VMA_FILE_SHARED | VMA_MEMFD, MAP_SHARED, 2, 0, true },
	{ "1000-2000 rw-p 00000000 00:01 7   /memfd:x (deleted)", "rd wr mr mw me",
	  VMA_REGULAR | VMA_FILE_PRIVATE | VMA_MEMFD, MAP_PRIVATE, 0, 0, true },
	{ "1000-2000 rw-p 00000000 08:01 7   /SYSV00000000", "rd wr mr mw me", VMA_REGULAR | VMA_FILE_PRIVATE, MAP_PRIVATE,
	  0, 0, true },
	{ "1000-2000 rw-p 00000000 00:00 0 \nProtectionKey:  2", "rd wr mr mw me sl", VMA_REGULAR | VMA_ANON_PRIVATE, PRIV_ANON },
	{ "200000-400000 rw-p 00000000 00:0f 7   /anon_hugepage (deleted)\nKernelPageSize:     2048 kB", "rd wr mr mw me de ht",
	  VMA_REGULAR | VMA_ANON_PRIVATE, PRIV_ANON | MAP_HUGETLB | 21 << 26 },
	{ "200000-400000 rw-s 00000000 00:0f 7   /anon_hugepage (deleted)\nKernelPageSize:     2048 kB",
	  "rd wr sh mr mw me ms ht", VMA_REGULAR | VMA_ANON_SHARED, MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB | 21 << 26 },
	{ "200000-400000 rw-s 00000000 00:0f 7   /memfd:x (deleted)\nKernelPageSize:     2048 kB", "rd wr sh mr mw me ms ht",
	  VMA_REGULAR | VMA_FILE_SHARED, MAP_SHARED, 2, 0, true },
	{ "1000-2000 rw-s 00000000 00:0f 7   anon_inode:[io_uring]", "rd wr sh mr mw me ms mm",
	  VMA_REGULAR | VMA_FILE_SHARED, MAP_SHARED, 2, 0, true },
};

static void test_good(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		const struct expectation *e = &good[i];
		struct vma_area a;

		print_message("%s\n", e->header);
		assert_null(classify(e->header, e->vmflags, &a));
		assert_int_equal(a.status, e->status);
		assert_int_equal(a.flags, e->flags);
		assert_int_equal(a.fdflags, e->fdflags);
		assert_int_equal(a.madv, e->madv);
		assert_int_equal(a.has_file, e->file);
	}
}

static void test_refused(void **state)
{
	static const struct {
		const char *header, *vmflags, *why;
	} bad[] = {
		{ "1000-2000 r-xp 00000000 00:00 0 [uprobes]", "rd ex", "uprobes" },
		{ "1000-2000 r-xp 00000000 00:00 0 [news]", "rd ex", "not known" },
		{ "1000-2000 rw-s 00000000 00:00 0 ", "rd wr sh", "shared mapping of the kernel" },
		{ "1000-2000 rw-s 00000000 00:10 7 /[aio] (deleted)", "rd wr sh", "only the kernel" },
		{ "1000-2000 rw-s 00000000 00:01 7 /SYSV0000002a (deleted)", "rd wr sh", "System V" },
		{ "1000-2000 rw-s 00000000 00:05 7 /dev/mem", "rd wr sh pf io", "device" },
		{ "1000-2000 rw-p 00000000 00:00 0 ", "rd wr uw", "userfaultfd" },
		{ "1000-2000 rw-p 00000000 00:00 0 ", "rd wr ss", "shadow stack" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct vma_area a;
		const char *why = classify(bad[i].header, bad[i].vmflags, &a);

		print_message("%s\n", bad[i].header);
		assert_non_null(why);
		assert_non_null(strstr(why, bad[i].why));
	}
}

static void test_private_rw(void **state)
{
	struct vma_area areas[] = {
		{ .v = { .start = 0x1000, .end = 0x3000, .prot = 3 }, .status = VMA_REGULAR | VMA_ANON_PRIVATE },
		{ .v = { .start = 0x3000, .end = 0x4000, .prot = 3 }, .status = VMA_REGULAR | VMA_FILE_PRIVATE },
		{ .v = { .start = 0x4000, .end = 0x5000, .prot = 1 }, .status = VMA_REGULAR | VMA_ANON_PRIVATE },
		{ .v = { .start = 0x6000, .end = 0x7000, .prot = 3 }, .status = VMA_REGULAR | VMA_FILE_SHARED },
	};
	struct mem m = { .areas = { areas, ARRAY_SIZE(areas), 0 } };
	struct task t = { .mem = &m };

	assert_true(mem_is_private_rw(&t, 0x1000, 0x3000));
	assert_true(mem_is_private_rw(&t, 0x2ff0, 0x20));
	assert_false(mem_is_private_rw(&t, 0xff0, 0x20));
	assert_false(mem_is_private_rw(&t, 0x3ff0, 0x20));
	assert_false(mem_is_private_rw(&t, 0x5000, 0x10));
	assert_false(mem_is_private_rw(&t, 0x6000, 0x10));
	assert_false(mem_is_private_rw(&t, 0x7000, 0x10));
	assert_false(mem_is_private_rw(&t, 0x1000, UINT64_MAX));
	assert_false(mem_is_private_rw(&(struct task){ 0 }, 0x1000, 1));
}

static void test_joins(void **state)
{
	struct vma_area a = { .v = { .start = 0x1000, .end = 0x5000 }, .status = VMA_REGULAR | VMA_VVAR | VMA_ANON_PRIVATE };
	struct vma_area b = { .v = { .start = 0x5000, .end = 0x7000 }, .status = a.status };

	assert_true(vma_joins(&a, &b));
	b.v.start = 0x6000;
	assert_false(vma_joins(&a, &b));
	b.v.start = 0x5000;
	b.status = VMA_REGULAR | VMA_VDSO | VMA_ANON_PRIVATE;
	assert_false(vma_joins(&a, &b));
}

static void test_runs(void **state)
{
	run_list l = { 0 };

	run_add(&l, 0x1000, 0x1000, true);
	run_add(&l, 0x2000, 0x3000, true);
	assert_int_equal(l.n, 1);
	assert_int_equal(l.v[0].bytes, 0x4000);
	run_add(&l, 0x5000, 0x1000, false); /* adjacent, but zeros count */
	run_add(&l, 0x7000, 0x1000, false);
	assert_int_equal(l.n, 3);
	assert_int_equal(l.v[1].start, 0x5000);
	assert_int_equal(l.v[2].bytes, 0x1000);
	vec_free(&l);
}

static void test_shm_dev(void **state)
{
	char *p = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t dev = vma_shm_dev();
	bool found = false;
	vma_list l;

	assert_true(p != MAP_FAILED);
	assert_int_equal(proc_read_smaps(getpid(), &l), 0);
	for (size_t i = 0; i < l.n; i++)
		if (l.v[i].start == (uintptr_t)p) {
			struct vma_area a = { .v = l.v[i] };

			found = true;
			assert_null(vma_classify(&a, dev));
			assert_int_equal(a.status, VMA_REGULAR | VMA_ANON_SHARED);
		}
	assert_true(found);
	proc_vmas_free(&l);
	munmap(p, PAGE_BYTES);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),	   cmocka_unit_test(test_refused), cmocka_unit_test(test_private_rw),
		cmocka_unit_test(test_joins),	   cmocka_unit_test(test_runs),	   cmocka_unit_test(test_shm_dev),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
