/* SPDX-License-Identifier: MIT */
/* Probes: memory. */
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/aio_abi.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util.h"

/* PAGEMAP_SCAN (Linux 6.7), for builds with older headers; values and layout are the kernel's ABI. */
struct scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define IOC_PAGEMAP_SCAN _IOWR('f', 16, struct scan_arg)
#define CATEGORY_PRESENT (1ull << 3)
#define CATEGORY_GUARD (1ull << 8) /* Linux 6.15 */
#define PAGEMAP_SOFT_DIRTY (1ull << 55)

/* A page of our own that is present. */
static void *touched_page(void)
{
	char *p = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	*(volatile char *)p = 1;
	return p;
}

static bool scan_knows(uint64_t category)
{
	_cleanup_fd_ int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	void *page = touched_page();
	struct scan_arg a = { .size = sizeof(a), .category_anyof_mask = category | CATEGORY_PRESENT,
			      .return_mask = category | CATEGORY_PRESENT };
	uint64_t region[3];
	bool ok;

	if (!page)
		return false;
	a.start = (uintptr_t)page;
	a.end = a.start + PAGE_BYTES;
	a.vec = (uintptr_t)region;
	a.vec_len = 1;
	ok = fd >= 0 && ioctl(fd, IOC_PAGEMAP_SCAN, &a) == 1;
	munmap(page, PAGE_BYTES);
	return ok;
}

PROBE(pagemap_scan)
{
	*ret_value = scan_knows(0);
	return 0;
}

PROBE(pagemap_scan_guard_pages)
{
	*ret_value = scan_knows(CATEGORY_GUARD);
	return 0;
}

/* A page that was just written is soft-dirty where such bits exist. */
PROBE(mem_dirty_track)
{
	_cleanup_fd_ int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	void *page = touched_page();
	uint64_t entry = 0;

	if (!page)
		return -ENOMEM;
	if (fd < 0 || pread_full(fd, &entry, sizeof(entry), (uintptr_t)page / PAGE_BYTES * sizeof(entry)))
		entry = 0;
	munmap(page, PAGE_BYTES);
	*ret_value = !!(entry & PAGEMAP_SOFT_DIRTY);
	return 0;
}

static bool uffd_offers(uint64_t features)
{
	_cleanup_fd_ int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	struct uffdio_api api = { .api = UFFD_API };

	return fd >= 0 && ioctl(fd, UFFDIO_API, &api) == 0 && (api.features & features) == features;
}

PROBE(uffd)
{
	*ret_value = uffd_offers(0);
	return 0;
}

PROBE(uffd_noncoop)
{
	*ret_value = uffd_offers(UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_REMOVE |
				 UFFD_FEATURE_EVENT_UNMAP);
	return 0;
}

/* The context of an AIO ring is its address: after a move the new address must be the context. */
static bool aio_moves(void)
{
	aio_context_t ctx = 0;
	struct timespec zero = { 0 };
	struct io_event ev;
	void *room, *moved;

	if (syscall(SYS_io_setup, 1, &ctx))
		return false;
	room = mmap(NULL, 16 * PAGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (room == MAP_FAILED)
		return false;
	moved = mremap((void *)ctx, PAGE_BYTES, PAGE_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, room);
	return moved != MAP_FAILED && syscall(SYS_io_getevents, moved, 0, 1, &ev, &zero) == 0;
}

PROBE(aio_remap)
{
	*ret_value = probe_in_child(aio_moves);
	return 0;
}

PROBE(memfd_hugetlb)
{
	_cleanup_fd_ int fd = memfd_create("probe", MFD_CLOEXEC | MFD_HUGETLB);

	*ret_value = fd >= 0;
	return 0;
}

/* Our own program text, opened through its mapping. */
PROBE(map_files)
{
	_cleanup_buf_ struct buf maps = { 0 };
	_cleanup_fd_ int fd = -1;
	uint64_t start = 0, end = 0, here = (uintptr_t)probe_map_files;
	char path[96];
	int err = read_file(AT_FDCWD, "/proc/self/maps", &maps);

	if (err)
		return err;
	for (const char *p = maps.p; p && end <= here; p = strchr(p, '\n'), p += p != NULL)
		if (sscanf(p, "%" SCNx64 "-%" SCNx64, &start, &end) != 2)
			return -EPROTO;
	snprintf(path, sizeof(path), "/proc/self/map_files/%" PRIx64 "-%" PRIx64, start, end);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	*ret_value = fd >= 0;
	return 0;
}
