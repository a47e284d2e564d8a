/* SPDX-License-Identifier: MIT */
/*
 * mem_priv.h: what the files of core/mem share.
 *
 * dump:    vma.c (classification), collect.c (mappings of a task), scan.c (which pages),
 *          dump.c, pages.c (images), shmem.c (shared memory objects)
 * restore: load.c, plan.c, open.c, vdso.c
 *
 * Meaning of what the images hold:
 *  - mm vmas are sorted by address and do not overlap, with one exception: a guard region
 *    (status VMA_GUARD alone, prot 0) follows the vma that it lies in, and is nothing but the
 *    range in which every page is a guard (MADV_GUARD_INSTALL).
 *  - shmid is the id of the file object (VMA_FILE_*), the shmem id (VMA_ANON_SHARED), else 0.
 *  - flags may hold MAP_DROPPABLE besides MAP_PRIVATE; mmap(2) wants it alone, without MAP_PRIVATE.
 *  - pagemap entries are sorted, do not overlap, and may span several adjacent vmas.  A page of
 *    private anonymous memory that no entry names is zero; one of a private file mapping is
 *    what the file has there.
 */
#ifndef CORE_MEM_PRIV_H
#define CORE_MEM_PRIV_H

#include "mem.h"
#include "mm.pb-c.h"

#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08 /* Linux 6.11 */
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 /* Linux 6.13 */
#endif

/* ---- mappings (vma.c) ---- */

/* A mapping at dump, and its entry in the image. */
struct vma_area {
	struct proc_vma v;
	uint32_t status;  /* VMA_* */
	uint32_t flags;	  /* MAP_*, as in the image */
	uint32_t fdflags; /* open(2) flags for the file behind it */
	uint64_t madv;	  /* bits 1 << MADV_* */
	uint64_t shmid;
	bool has_file;	  /* the file behind it is a file object */
};

/*
 * Pure: fills status, flags, fdflags, madv and has_file of a from a->v.  shm_dev: device number (makedev) of the
 * kernel's internal tmpfs, where anonymous shared memory, memfds and System V segments live.
 * NULL when a can be dumped as far as the mapping itself goes, else what it is, for a message
 * ("asynchronous I/O ring (io_setup)").
 */
const char *vma_classify(struct vma_area *a, uint64_t shm_dev);
/* Device number of that tmpfs, or 0 when it cannot be found out. */
uint64_t vma_shm_dev(void);
/* True when b continues a as one mapping of the image: the parts of the vvar area. */
bool vma_joins(const struct vma_area *a, const struct vma_area *b);

/* "7f00-8000 /x" for messages, into buf. */
const char *vma_describe(const struct proc_vma *v, char *buf, size_t size);

/* Status tests, for entries of the image too. */
static inline bool vma_is_private(uint32_t status)
{
	return status & (VMA_FILE_PRIVATE | VMA_ANON_PRIVATE) && !(status & (VMA_VSYSCALL | VMA_VVAR | VMA_GUARD));
}
static inline bool vma_is_file(uint32_t status)
{
	return status & (VMA_FILE_PRIVATE | VMA_FILE_SHARED);
}

struct span {
	uint64_t start, end;
};
typedef VEC(struct span) span_list;

/* ---- restore side: what the images hold ---- */

/* The highest address a task can map, 47 bits less a page. */
#define USER_END 0x7ffffffff000ull

typedef VEC(struct VmaEntry *) entry_list;

/* Pages [start, end) lie at offset off of the pages file. */
struct stored_run {
	uint64_t start, end, off;
};
typedef VEC(struct stored_run) stored_list;

/* The kernel's own mappings of a task: data pages [start, code), code [code, end). All 0: none. */
struct vdso_place {
	uint64_t start, code, end;
};

#define VDSO_PARTS 8
/* The same of E, with the single mappings; those must be moved one by one. */
struct vdso_layout {
	struct vdso_place at;
	size_t n;
	struct {
		uint64_t off, len; /* off: from at.start */
	} part[VDSO_PARTS];
};

/* Shared anonymous memory, one object for all mappings with the same id. */
struct shm_object {
	uint32_t shmid;
	uint64_t bytes;
	int fd; /* E's */
};

/* ---- a task's memory ---- */

struct mem {
	/* dump (collect.c, dump.c) */
	VEC(struct vma_area) areas; /* sorted, no overlaps; the vvar area is one */

	/* restore (load.c, plan.c): fields of the restore side below this line */
	struct MmEntry *mm;  /* as read */
	entry_list maps;     /* of mm: mappings to be made; sorted, no overlaps; fd: E's, of shared anonymous memory */
	entry_list guards;   /* of mm: guard regions */
	stored_list runs;    /* pages in the pages file; sorted, no overlaps */
	span_list same;	     /* pages that it shared with same_as at the dump; sorted, no overlaps */
	uint32_t same_as;    /* vpid */
	struct vdso_place vdso;
	uint32_t pages_id;
	int pages_fd;	     /* -1: not open */
	VEC(struct shm_object) shm; /* the root's memory: all shared anonymous objects of the tree */
	struct vdso_layout self;    /* the root's memory: E's own vDSO */
};

/*
 * Opens the file behind mapping v of pid, flags as for open(2).  Other things than regular files, directories and memory
 * devices are opened O_PATH.  Descriptor or -errno, not recorded.
 */
int mem_open_mapping(pid_t pid, const struct proc_vma *v, int flags);
/* Frees the restore side's fields of m; called by mem_free(). */
void mem_free_restore(struct mem *m);

/* Index of the first stored run that ends behind addr; runs.n: none. (load.c) */
size_t mem_find_run(const struct mem *m, uint64_t addr);
/* Stored pages [addr, addr + len) into buf: 0, -ENOENT when not all are stored, -errno. Not recorded. (open.c) */
int mem_read_stored(const struct mem *m, uint64_t addr, void *buf, size_t len);

/* ---- the vDSO at restore (vdso.c) ---- */

/* E's own layout. 0 or -errno recorded. */
int vdso_self(struct session *s, struct vdso_layout *ret);
/* Whether t can run with E's vDSO: shape and code are the same. 0 or -errno recorded. */
int vdso_check(struct session *s, const struct task *t, const struct vdso_layout *self);
/* Operations that move the mappings: from start (as in vdso_place) into the arena's parking range, and from there. */
void vdso_plan_park(struct plan *p, const struct vdso_layout *self, uint64_t start);
void vdso_plan_unpark(struct plan *p, const struct vdso_layout *self, uint64_t start);

/* ---- what a task inherits and what it needs anew (cow.c) ---- */

/* A part of a mapping: [start, kept) is inherited, [kept, end) is made. */
struct piece {
	const struct VmaEntry *v;
	const struct VmaEntry *from; /* the mapping it is inherited from; NULL: nothing is */
	uint64_t start, kept, end;
	bool filled; /* pages are written into it */
};

struct mem_diff {
	VEC(struct piece) pieces; /* sorted */
	span_list unmap;	  /* inherited, not wanted */
	span_list drop;		  /* in kept parts: pages that the parent has and the task has not */
	stored_list fill;	  /* pages to be read from the task's pages file; each at most FILL_MAX bytes */
};
#define FILL_MAX (1ull << 30)

/* Compares t's memory with what it inherits from `from` (NULL: nothing). 0 or -errno recorded. */
int mem_diff_build(struct session *s, const struct task *t, const struct mem *from, struct mem_diff *ret);
void mem_diff_free(struct mem_diff *d);

/* ---- which pages (scan.c) ---- */

/* Pages [start, start + bytes) of one kind, to be read from the task. */
struct page_run {
	uint64_t start, bytes;
	bool skip_zero; /* private anonymous: a page of zeros needs no entry */
};
typedef VEC(struct page_run) run_list;

/* Appends a run, growing the last one when it continues it. Pure. */
void run_add(run_list *l, uint64_t start, uint64_t bytes, bool skip_zero);

struct scanner {
	int fd;		    /* /proc/PID/pagemap */
	bool no_ioctl;	    /* PAGEMAP_SCAN is not there (before 6.7) */
	bool no_guard;	    /* it knows no guard category */
	uint64_t pages;	    /* pages looked at that are there in some form */
	run_list runs;	    /* pages to be dumped */
	run_list guards;    /* guard regions */
};
int scanner_open(struct scanner *sc, pid_t pid);
void scanner_close(struct scanner *sc);
/* Adds what n areas, in order, have to runs and guards. 0 or -errno, not recorded. */
int scan_areas(struct scanner *sc, const struct vma_area *a, size_t n);

/* ---- pages shared with the parent (same.c) ---- */

/* Dump: notes which of the runs of t are the very pages of its parent. 0 or -errno recorded. */
int same_dump(struct session *s, struct task *t, const run_list *runs);
/* Restore: fills same and same_as of t->mem. 0 or -errno recorded; no image is no error. */
int same_load(struct session *s, struct task *t);

/* ---- pages files and shared memory (shmem.c) ---- */

/* A new number for a pages file, unique in the session; from 1. */
uint32_t mem_pages_id(struct session *s);
/* vma_shm_dev(), asked for once a session. */
uint64_t mem_shm_dev(struct session *s);
/*
 * Where the file object of mappings like a is remembered, 0: none yet.  Many tasks map the same files, and each file need
 * be opened once only.
 */
uint32_t *mem_mapped_id(struct session *s, const struct vma_area *a);
/* The shmem id of the object (dev as makedev, ino) without dumping it. */
uint32_t shmem_id(struct session *s, uint64_t dev, uint64_t ino);
/* Whether its pages are in the images already. */
bool shmem_dumped(struct session *s, uint32_t shmid);
/*
 * Restore: end of the last page stored for shmid, bytes: the object was at least as large.  0 when nothing
 * is stored. -errno recorded.
 */
int shmem_extent(struct session *s, uint32_t shmid, uint64_t *ret_bytes);

/* ---- pages.c ---- */

/* Where pages are read from: an address, or an offset, is a position in fd. */
struct page_source {
	int fd;
	pid_t pid; /* fd is /proc/PID/mem of it; 0: an object, behind whose end there are zeros */
};
bool page_is_zero(const void *page);
/*
 * Writes the pagemap image of this type and id, and its pages file, from runs.  By several threads when there is much:
 * must not be called while a hook runs in another one.  0 or -errno recorded; *ret_pages: pages written, set unless the
 * images could not be created.
 */
int pages_dump(struct session *s, const struct cr_img_type *type, uint64_t id, const struct page_source *src,
	       const run_list *runs, uint64_t *ret_pages);
/* How many threads shall share n pieces of work: at least 1, at most as many as E may use CPUs. */
size_t mem_threads(uint64_t n);

#endif
