/* SPDX-License-Identifier: MIT */
/*
 * mem_priv.h: what the files of core/mem share.
 *
 * dump:    vma.c (classification), collect.c (mappings of a task), scan.c (which pages),
 *          exclude.c (what is left out), dump.c, pages.c (images), shmem.c (shared memory objects)
 * restore: load.c, plan.c, open.c, vdso.c, vdso_proxy.c
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

/* In flags, with MAP_HUGETLB: the logarithm of the size of the pages. */
#define VMA_HUGE_SIZE (0x3fu << 26)

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
	struct mapping *mapping; /* claimed by a plugin; NULL: not */
	uint64_t covers;  /* VMF bits that the plugin takes care of */
	bool owned;	  /* the plugin makes it, not the core */
	bool contents;	  /* all that is in it is dumped */
	bool exact;	  /* pages of zeros are dumped too */
};

/*
 * Pure: fills status, flags, fdflags, madv and has_file of a from a->v.  shm_dev: device number (makedev) of the
 * kernel's internal tmpfs, where anonymous shared memory, memfds and System V segments live.
 * NULL when a can be dumped as far as the mapping itself goes, else what it is, for a message
 * ("asynchronous I/O ring (io_setup)").
 */
const char *vma_classify(struct vma_area *a, uint64_t shm_dev);
/* Makes a, shared anonymous memory, the mapping of a memfd, which the file behind it is in all but name. */
void vma_as_file(struct vma_area *a);
/* One of the kernel's own that every task has: vDSO, vvar, vsyscall. */
bool vma_is_special(const struct proc_vma *v);
/* Device number of that tmpfs, or 0 when it cannot be found out. */
uint64_t vma_shm_dev(void);
/* True when b continues a as one mapping of the image: the parts of the vvar area. */
bool vma_joins(const struct vma_area *a, const struct vma_area *b);

/* "7f00-8000 /x" for messages, into buf. */
const char *vma_describe(const struct proc_vma *v, char *buf, size_t size);

/* All status bits but those of plugins. */
#define VMA_STATUS_CORE \
	(VMA_FILE_PRIVATE | VMA_FILE_SHARED | VMA_ANON_PRIVATE | VMA_ANON_SHARED | VMA_REGULAR | VMA_STACK | VMA_VSYSCALL | \
	 VMA_VDSO | VMA_HEAP | VMA_VVAR | VMA_MEMFD | VMA_GUARD)

/* Status tests, for entries of the image too. */
static inline bool vma_is_private(uint32_t status)
{
	return status & (VMA_FILE_PRIVATE | VMA_ANON_PRIVATE) && !(status & (VMA_VSYSCALL | VMA_VVAR | VMA_GUARD));
}
static inline bool vma_is_file(uint32_t status)
{
	return status & (VMA_FILE_PRIVATE | VMA_FILE_SHARED);
}

/* A fork does not pass on the contents of these: DONTFORK, WIPEONFORK. */
#define MADV_NOT_INHERITED (1ull << 10 | 1ull << 18)

struct span {
	uint64_t start, end;
};
typedef VEC(struct span) span_list;

/* ---- restore side: what the images hold ---- */

/* The highest address a task can map, 47 bits less a page. */
#define USER_END 0x7ffffffff000ull

typedef VEC(struct VmaEntry *) entry_list;

/* Pages [start, end) lie at offset off of a pages file. */
struct stored_run {
	uint64_t start, end, off;
	uint32_t file; /* its id */
	int fd;	       /* restore: E's, from mem_open() on */
};
typedef VEC(struct stored_run) stored_list;

/* The kernel's own mappings of a task: data [start, data_end), code [code, end). Empty: there is none. */
struct vdso_place {
	uint64_t start, data_end, code, end;
};

/* Bytes of code that lead from a function of another kernel's vDSO to this one's. */
#define VDSO_PATCH_MAX 12
struct vdso_patch {
	uint64_t addr;
	uint8_t len, code[VDSO_PATCH_MAX];
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
	uint32_t huge; /* MAP_HUGETLB with the size of the pages, or 0 */
	uint64_t bytes;
	int fd; /* E's */
};

/* ---- a task's memory ---- */

struct mem {
	VEC(struct mapping *) mappings; /* claimed by plugins, by address; dump and restore (kinds.c) */

	/* dump (collect.c, dump.c) */
	VEC(struct vma_area) areas; /* sorted, no overlaps; the vvar area is one */
	struct snapshot *snapshot;  /* NULL: its memory is written while it is frozen */
	bool unsure;		    /* flags of the areas are those before the freeze: ahead_settle() */
	span_list excluded;	    /* private memory that is left out; sorted, no overlaps */

	/* restore (load.c, plan.c): fields of the restore side below this line */
	struct StasisMem *extra; /* as read; NULL: nothing special (extras.c) */
	struct MmEntry *mm;  /* as read */
	entry_list maps;     /* of mm: mappings to be made; sorted, no overlaps; fd: E's, of shared anonymous memory */
	entry_list guards;   /* of mm: guard regions */
	stored_list runs;    /* pages in the pages file; sorted, no overlaps */
	struct vdso_place vdso;	  /* as in the image */
	struct vdso_place kernel; /* where this kernel's is put: there too, unless vdso_proxy() was needed */
	VEC(struct vdso_patch) patches;
	uint32_t pages_id;   /* of the pages file that is the task's own */
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

/* Nothing is mapped below: mmap_min_addr, and 1 MiB at least. (open.c) */
uint64_t mem_lowest_address(void);
/* Index of the first stored run that ends behind addr; runs.n: none. (load.c) */
size_t mem_find_run(const struct mem *m, uint64_t addr);
/* Stored pages [addr, addr + len) into buf: 0, -ENOENT when not all are stored, -errno. Not recorded. (open.c) */
int mem_read_stored(const struct mem *m, uint64_t addr, void *buf, size_t len);

/* ---- what mm-*.img cannot say (extras.c) ---- */

/* Dump: x-stasis-mem-<vpid>, if there is something. Restore: fills m->extra. 0 or -errno recorded. */
int extras_dump(struct session *s, struct task *t, const struct mem_facts *facts);
int extras_load(struct session *s, struct task *t);
void extras_free(struct mem *m);
/* Restore: the protection key of the mapping at addr, 0: none; whether it is locked only where it is touched. */
uint32_t extras_key(const struct mem *m, uint64_t addr);
bool extras_on_fault(const struct mem *m, uint64_t addr);
/*
 * Operations that give [start, end), part of one mapping of own, its NUMA policy, and its name, where those inherited from
 * `from` (NULL: none) are others.
 */
void extras_plan_policy(const struct mem *own, const struct mem *from, uint64_t start, uint64_t end, struct plan *p);
void extras_plan_name(const struct mem *own, const struct mem *from, uint64_t start, uint64_t end, struct plan *p);
/* Restore: -EOPNOTSUPP recorded when t has allocated keys and this machine has none. */
int extras_check_keys(struct session *s, const struct task *t);
/*
 * Operations that allocate the keys of own where those of from (NULL: none) are: before the protections are set, and
 * after it.
 */
void extras_plan_keys(const struct mem *own, const struct mem *from, struct plan *p);
void extras_plan_spare_keys(const struct mem *own, const struct mem *from, struct plan *p);

/* ---- the vDSO at restore (vdso.c) ---- */

/* E's own layout. 0 or -errno recorded. */
int vdso_self(struct session *s, struct vdso_layout *ret);
/*
 * Decides where this kernel's vDSO goes in t, and what has to be done when t had another one. Its mappings, threads and pages
 * files are known.  0 or -errno recorded.
 */
int vdso_settle(struct session *s, struct task *t, const struct vdso_layout *self);
/* t has another vDSO, whose code are the len bytes at old: turns it into ordinary memory. (vdso_proxy.c) 0 or -errno recorded. */
int vdso_proxy(struct session *s, struct task *t, const struct vdso_layout *self, const void *old, size_t len);
static inline bool vdso_any(const struct vdso_place *at)
{
	return at->data_end > at->start || at->end > at->code;
}
/* Operations that move the mappings from a place into the arena's parking range, and from there; the rest stays there. */
void vdso_plan_park(struct plan *p, const struct vdso_layout *self, const struct vdso_place *from);
void vdso_plan_unpark(struct plan *p, const struct vdso_layout *self, const struct vdso_place *to);

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

/* ---- pages that E writes into tasks (fill.c) ---- */

struct fills;
struct fills **mem_fills(struct session *s);
void fills_free(struct fills *f);
/*
 * E shall write the pages of fill into the task whose plan p is, when that comes to what this appends.  The operations
 * that follow are for the case that E cannot: fill_asked() says where they end.
 */
struct fill_ask {
	size_t jump; /* operation of p */
};
struct fill_ask fill_ask(struct session *s, struct plan *p, stored_list *fill);
void fill_asked(struct plan *p, struct fill_ask ask);

/* ---- which pages (scan.c) ---- */

/* Pages [start, start + bytes) of one kind, to be read from the task. */
struct page_run {
	uint64_t start, bytes;
	bool skip_zero; /* private anonymous: a page of zeros needs no entry */
	uint32_t file;	/* not 0: they are in this pages file already, */
	uint64_t off;	/* at this offset */
};
typedef VEC(struct page_run) run_list;

/* Appends a run of pages to be read, growing the last one when it continues it. Pure. */
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

/* ---- memory that is left out (exclude.c) ---- */

enum exclude_kind { EXCLUDE_RANGE = 1, EXCLUDE_NAME, EXCLUDE_DONTDUMP };
struct exclude_rule {
	enum exclude_kind kind;
	pid_t pid;	     /* EXCLUDE_RANGE: 0: of every task */
	struct span at;	     /* EXCLUDE_RANGE */
	const char *pattern; /* EXCLUDE_NAME: as for fnmatch(3); part of the text */
};
struct exclude;
/* A value of --exclude-mem. Pure. 0; -EINVAL: none of its forms; -ERANGE: not a range of whole pages. */
int exclude_parse(const char *text, struct exclude_rule *ret);
/* Takes spans, sorted and without overlaps, out of the runs, sorted too. Pure. */
void exclude_cut(run_list *runs, const span_list *spans);
/* Whether flags of mappings decide. */
bool exclude_by_advice(struct session *s);
/* Notes what is to be left out of t, whose mappings are collected. */
void exclude_collect(struct session *s, struct task *t);
/* Takes out of runs, offsets, what is to be left out of the shared object (dev as makedev, ino). */
void exclude_of_object(struct session *s, uint64_t dev, uint64_t ino, run_list *runs);
void exclude_free(struct exclude *x);
/* Where exclude.c keeps what it knows. (shmem.c) */
struct exclude **mem_exclude(struct session *s);

/* ---- mappings read before the freeze (ahead.c) ---- */

struct ahead;
void ahead_free(struct ahead *ah);
struct ahead **mem_ahead(struct session *s);
/* Mappings of the frozen pid; *ret_unsure: flags may be out of date. 0 or -errno, not recorded. */
int ahead_vmas(struct session *s, pid_t pid, vma_list *ret, bool *ret_unsure);
/* Makes the areas of t right where they are unsure; pid: its copy, or itself. 0 or -errno recorded. */
int ahead_settle(struct session *s, struct task *t, pid_t pid);

/* ---- memory that is written while the tree runs (snapshot.c) ---- */

struct snapshot {
	pid_t pid;	 /* the copy */
	run_list runs;	 /* what it has not, */
	char *data;	 /* back to back */
	run_list guards; /* in what it has not */
};
/* Does a copy have the contents of a? Pure. */
bool snapshot_carries(const struct vma_area *a);
/* As scan_areas() for all of t, sc: of the copy. */
int snapshot_scan(const struct task *t, struct scanner *sc);
/* A part of one run: true when it is one that the copy has not; sn may be NULL. */
bool snapshot_read(const struct snapshot *sn, uint64_t addr, void *buf, uint64_t bytes);
void snapshot_free(struct snapshot *sn);
/*
 * Memory of pid at addr; mem: its /proc/PID/mem. By W where the kernel leaves no access to others: one caller at a time.
 * 0 or -errno, not recorded.
 */
int mem_read_task(struct session *s, pid_t pid, int mem, uint64_t addr, void *buf, size_t len);

/* ---- pages that tasks share (same.c) ---- */

struct same;
/*
 * Dump: finds out which of the runs of t, read from process pid, are the very pages that a task before it has brought,
 * and replaces them by runs with a file.  With --compat-images the runs stay, and only the image tells. 0 or -errno recorded.
 */
int same_find(struct session *s, struct task *t, pid_t pid, run_list *runs);
/* Dump: where the pages of the task that same_find() was called for last have been put. Takes the list. */
void same_written(struct session *s, stored_list *stored);
void same_free(struct same *sm);
/* Dump: an entry of x-stasis-pages-<vpid>: the pages of r are in r->file. 0 or -errno recorded. */
int pages_elsewhere(struct session *s, uint64_t vpid, const struct page_run *r);
/* Restore: replaces the places in t->mem->runs by those that x-stasis-pages tells. 0 or -errno recorded; no image is no error. */
int same_load(struct session *s, struct task *t);

/* ---- pages files and shared memory (shmem.c) ---- */

/* Where same.c keeps what it knows, */
struct same **mem_same(struct session *s);
/* and cow.c. */
struct comparers;
struct comparers **mem_comparers(struct session *s);
void comparers_free(struct comparers *all);
/* Restore: pages-<id>.img is there and has at least so many bytes; for whom: "pagemap-5.img". 0 or -errno recorded. */
int pages_file_check(struct session *s, uint32_t id, uint64_t bytes, const char *whose);
/* Restore: E's descriptor of it, opened once, beyond the tasks' numbers. -errno recorded. */
int pages_file_open(struct session *s, uint32_t id);

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
	int pagemap; /* its /proc/PID/pagemap, or -1 */
	const struct snapshot *snapshot; /* it is a copy; or NULL */
};
bool page_is_zero(const void *page);
/* Buffers of the threads. */
struct batches;
struct batches **mem_batches(struct session *s);
void batches_free(struct batches *bs);
/*
 * Writes the pagemap image of this type and id, and its pages file, from runs.  By several threads when there is much:
 * must not be called while a hook runs in another one; much private memory goes to one pages file a thread.  0 or
 * -errno recorded; *ret_pages: pages written, set unless the images could not be created; where: where they are, or NULL.
 */
int pages_dump(struct session *s, const struct cr_img_type *type, uint64_t id, const struct page_source *src,
	       const run_list *runs, uint64_t *ret_pages, stored_list *where);
/* How many threads shall share n pieces of work: at least 1, at most as many as E may use CPUs. */
size_t mem_threads(uint64_t n);

#endif
