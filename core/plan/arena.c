/* SPDX-License-Identifier: MIT */
/*
 * arena.c: the shared mapping that holds the blob, the plans, their data and stacks.
 *
 * A sparse memfd mapped at one address in E and, by inheritance, in every task.
 * The blob's pages are read-only and executable; the last PLAN_PARK bytes of the
 * range are a private reservation into which a task moves its vDSO while the rest
 * of its address space is replaced.
 */
#include "plan.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fault.h"

#define PARK_BYTES (1ull << 20)

static int arena_map(struct session *s, struct arena *a)
{
	void *at = (void *)a->base;
	void *p;

	a->fd = FAULTS("memfd of the arena") ? -1 : memfd_create("stasis-arena", MFD_CLOEXEC);
	if (a->fd < 0)
		return fail(s, errno, "cannot create the restore arena (memfd_create): %m");
	if (FAULTS("size of the arena") || ftruncate(a->fd, (off_t)a->size) < 0)
		return fail(s, errno, "cannot size the restore arena to %#lx bytes: %m", a->size);
	p = FAULTS("mapping the arena") ? MAP_FAILED : mmap(at, a->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED_NOREPLACE,
							     a->fd, 0);
	if (p != at) {
		int err = p == MAP_FAILED ? errno : EEXIST;

		if (p != MAP_FAILED)
			munmap(p, a->size);
		return fail(s, err, "cannot map the restore arena at %#lx-%#lx: %s", a->base, a->base + a->size,
			    strerror(err));
	}
	a->park_len = PARK_BYTES;
	a->park = a->base + a->size - a->park_len;
	p = mmap((void *)a->park, a->park_len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED,
		 -1, 0);
	if (p == MAP_FAILED)
		return fail(s, errno, "cannot reserve room for the vDSO in the restore arena: %m");
	return 0;
}

static int arena_load_blob(struct session *s, struct arena *a)
{
	size_t bytes = PAGE_UP(blob_image_size);
	void *code = arena_alloc(a, bytes, PAGE_BYTES);

	memcpy(code, blob_image, blob_image_size);
	if (FAULTS("mprotect of the blob") || mprotect(code, bytes, PROT_READ | PROT_EXEC) < 0)
		return fail(s, errno, "cannot make the restorer executable (mprotect): %m");
	a->code = (uint64_t)code;
	return 0;
}

int arena_new(struct session *s, uint64_t base, uint64_t size, struct arena *ret)
{
	struct arena a = { .fd = -1, .base = base, .size = size };
	int r;

	if (base % PAGE_BYTES || size % PAGE_BYTES || !base || size < 2 * PARK_BYTES || base + size < base)
		return fail(s, EINVAL, "bad range for the restore arena: %#lx, %#lx bytes", base, size);
	r = arena_map(s, &a);
	if (r == 0)
		r = arena_load_blob(s, &a);
	if (r < 0) {
		arena_free(&a);
		return r;
	}
	a.shared = arena_alloc(&a, sizeof(*a.shared), PAGE_BYTES);
	*ret = a;
	return 0;
}

void arena_free(struct arena *a)
{
	/* park is set once the range is ours */
	if (a->park)
		munmap((void *)a->base, a->size);
	if (a->fd >= 0)
		close(a->fd);
	*a = (struct arena){ .fd = -1 };
}

void *arena_alloc(struct arena *a, size_t bytes, size_t align)
{
	static const char full[] = "the restore arena is full\n";
	uint64_t limit = a->park - a->base;
	uint64_t at = (a->used + align - 1) & ~(uint64_t)(align - 1);

	if (at < a->used || at > limit || bytes > limit - at) {
		if (write(STDERR_FILENO, full, sizeof(full) - 1) < 0)
			abort();
		abort();
	}
	a->used = at + bytes;
	return (void *)(a->base + at);
}
