/* SPDX-License-Identifier: MIT */
/*
 * scan.c: which pages of a mapping have to be dumped.
 *
 * PAGEMAP_SCAN (Linux 6.7) reports ranges of equal pages and steps over what is not
 * there; before it, the words of /proc/PID/pagemap are read.  Both give the same
 * categories, from which run_wanted() decides:
 *  - private anonymous memory: what is present or swapped, except the zero page;
 *  - private file mappings: what is swapped, or present and no page of the file;
 *  - anywhere: guard pages (MADV_GUARD_INSTALL) go to a list of their own.
 */
#include "mem_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/ioctl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "fault.h"

/* From linux/fs.h of 6.7 and later, which may be newer than the headers here. */
struct scan_region {
	uint64_t start, end, categories;
};
struct scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define SCAN_IOCTL _IOWR('f', 16, struct scan_arg)
enum { IS_FILE = 1 << 2, IS_PRESENT = 1 << 3, IS_SWAPPED = 1 << 4, IS_PFNZERO = 1 << 5, IS_GUARD = 1 << 8 };

#define WORD_PRESENT (1ull << 63)
#define WORD_SWAPPED (1ull << 62)
#define WORD_FILE (1ull << 61)
#define WORD_GUARD (1ull << 58) /* Linux 6.15 */

/*
 * walk_end is exact only up to 512 regions a call: with more, the kernel (seen in 6.18) reports the
 * start of its last internal chunk, and going on there repeats regions.
 */
#define SCAN_VEC 512
#define WORDS 8192

void run_add(run_list *l, uint64_t start, uint64_t bytes, bool skip_zero)
{
	struct page_run *last = l->n ? &l->v[l->n - 1] : NULL;

	if (last && !last->file && last->start + last->bytes == start && last->skip_zero == skip_zero)
		last->bytes += bytes;
	else
		*vec_push(l) = (struct page_run){ .start = start, .bytes = bytes, .skip_zero = skip_zero };
}

int scanner_open(struct scanner *sc, pid_t pid)
{
	char path[48];

	*sc = (struct scanner){ .fd = -1 };
	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	sc->fd = FAULTS("opening %s", path) ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	return sc->fd < 0 ? -errno : 0;
}

void scanner_close(struct scanner *sc)
{
	cleanup_fd(&sc->fd);
	sc->fd = -1;
	vec_free(&sc->runs);
	vec_free(&sc->guards);
}

static bool run_wanted(const struct vma_area *a, uint64_t cat)
{
	if (a->status & VMA_ANON_PRIVATE)
		return (a->exact || !(cat & IS_PFNZERO)) && cat & (IS_PRESENT | IS_SWAPPED);
	if (a->status & VMA_FILE_PRIVATE)
		return cat & IS_SWAPPED || (cat & IS_PRESENT && !(cat & IS_FILE));
	return false; /* shared: the file or the shared object has it */
}

static void take_range(struct scanner *sc, const struct vma_area *a, uint64_t start, uint64_t end, uint64_t cat)
{
	if (cat & IS_GUARD) { /* also "swapped": a guard is a marker in the page table */
		if (start > a->v.start)
			run_add(&sc->guards, start, end - start, false);
		else /* not merged with one of the mapping before */
			*vec_push(&sc->guards) = (struct page_run){ .start = start, .bytes = end - start };
		return;
	}
	if (!(cat & (IS_PRESENT | IS_SWAPPED)))
		return;
	sc->pages += (end - start) / PAGE_BYTES;
	if (run_wanted(a, cat))
		run_add(&sc->runs, start, end - start, !(a->status & VMA_FILE_PRIVATE) && !(a->flags & MAP_HUGETLB) && !a->exact);
}

static int scan_once(struct scanner *sc, struct scan_arg *arg, bool private)
{
	for (;;) {
		uint64_t guard = sc->no_guard ? 0 : IS_GUARD;
		int n;

		arg->category_anyof_mask = private ? IS_PRESENT | IS_SWAPPED | guard : guard;
		arg->return_mask = IS_FILE | IS_PRESENT | IS_SWAPPED | IS_PFNZERO | guard;
		n = FAULTS("page scan") ? -1 : ioctl(sc->fd, SCAN_IOCTL, arg);
		if (n >= 0)
			return n;
		if (errno == EINTR)
			continue;
		if (errno != EINVAL || sc->no_guard)
			return -errno;
		sc->no_guard = true; /* 6.7 to 6.14 refuse the category that they don't know */
		if (!private)
			return 0;
	}
}

/* A range that may reach over several areas, or into one behind; cursor: index of the first area that it can lie in. */
static void take_region(struct scanner *sc, const struct vma_area *a, size_t n, size_t *cursor,
			const struct scan_region *r)
{
	/* NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult): the kernel has filled it */
	for (size_t i = *cursor; i < n && a[i].v.start < r->end; i++) {
		uint64_t start = MAX_OF(r->start, a[i].v.start), end = MIN_OF(r->end, a[i].v.end);

		*cursor = i;
		if (start < end)
			take_range(sc, &a[i], start, end, r->categories);
	}
}

/*
 * n areas in one walk: what is not mapped between them costs nothing.  Pages of shared mappings are not dumped: there
 * only guards are asked for.
 */
static int scan_ioctl(struct scanner *sc, const struct vma_area *a, size_t n, bool private)
{
	struct scan_region vec[SCAN_VEC];
	struct scan_arg arg = { .size = sizeof(arg), .vec = (uintptr_t)vec, .vec_len = SCAN_VEC };
	size_t cursor = 0;

	arg.start = a[0].v.start;
	arg.end = a[n - 1].v.end;
	while (arg.start < arg.end && (private || !sc->no_guard)) {
		int found = scan_once(sc, &arg, private);

		if (found < 0)
			return found;
		for (int i = 0; i < found; i++)
			take_region(sc, a, n, &cursor, &vec[i]);
		if (arg.walk_end <= arg.start)
			return found ? -EIO : 0;
		arg.start = arg.walk_end;
	}
	return 0;
}

static uint64_t word_categories(uint64_t w)
{
	return (w & WORD_PRESENT ? IS_PRESENT : 0) | (w & WORD_SWAPPED ? IS_SWAPPED : 0) |
	       (w & WORD_FILE ? IS_FILE : 0) | (w & WORD_GUARD ? IS_GUARD : 0);
}

static int scan_words(struct scanner *sc, const struct vma_area *a)
{
	_cleanup_free_ uint64_t *w = xcalloc(WORDS, sizeof(*w));

	for (uint64_t addr = a->v.start; addr < a->v.end;) {
		uint64_t n = MIN_OF(WORDS, (a->v.end - addr) / PAGE_BYTES);
		int err = pread_full(sc->fd, w, n * sizeof(*w), addr / PAGE_BYTES * sizeof(*w));

		if (err)
			return err;
		for (uint64_t i = 0; i < n; i++, addr += PAGE_BYTES)
			take_range(sc, a, addr, addr + PAGE_BYTES, word_categories(w[i]));
	}
	return 0;
}

/* n areas that are all private, or a single one. */
static int scan_group(struct scanner *sc, const struct vma_area *a, size_t n)
{
	int err = 0;

	if (!sc->no_ioctl) {
		err = scan_ioctl(sc, a, n, vma_is_private(a->status));
		if (err != -ENOTTY)
			return err;
		sc->no_ioctl = true;
	}
	for (err = 0; n && !err; n--)
		err = scan_words(sc, a++);
	return err;
}

/* Scanned like any other: not what belongs to the kernel or a plugin, nor the vDSO. */
static bool is_plain(const struct vma_area *a)
{
	return !(a->status & (VMA_VSYSCALL | VMA_VVAR | VMA_VDSO)) && !a->owned;
}

int scan_areas(struct scanner *sc, const struct vma_area *a, size_t n)
{
	int err = 0;

	for (size_t i = 0, many; i < n && !err; i += many) {
		many = 1;
		if (a[i].status & VMA_VDSO) { /* all of it, present or not: the restore side compares symbols */
			run_add(&sc->runs, a[i].v.start, a[i].v.end - a[i].v.start, false);
			sc->pages += (a[i].v.end - a[i].v.start) / PAGE_BYTES;
		}
		if (a[i].contents)
			run_add(&sc->runs, a[i].v.start, a[i].v.end - a[i].v.start, true);
		if (!is_plain(&a[i]))
			continue;
		while (vma_is_private(a[i].status) && i + many < n && is_plain(&a[i + many]) &&
		       vma_is_private(a[i + many].status))
			many++;
		err = scan_group(sc, &a[i], many);
	}
	return err;
}
