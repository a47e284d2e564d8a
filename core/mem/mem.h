/* SPDX-License-Identifier: MIT */
/*
 * mem.h: address spaces: which mappings, which pages, in and out.
 *
 * dump:    mem_collect (frozen, read only) -> mem_dump
 * restore: mem_load -> [arena chosen by mem_pick_arena] -> mem_open -> mem_plan
 */
#ifndef CORE_MEM_H
#define CORE_MEM_H

#include "plan.h"
#include "proc.h"
#include "session.h"
#include "tree.h"

/* status bits of a vma in the image format */
enum {
	VMA_REGULAR = 0x1, VMA_STACK = 0x2, VMA_VSYSCALL = 0x4, VMA_VDSO = 0x8, VMA_HEAP = 0x20,
	VMA_FILE_PRIVATE = 0x40, VMA_FILE_SHARED = 0x80, VMA_ANON_SHARED = 0x100, VMA_ANON_PRIVATE = 0x200,
	VMA_SYSVIPC = 0x400, VMA_VVAR = 0x1000, VMA_AIO_RING = 0x2000, VMA_MEMFD = 0x4000,
	VMA_SHSTK = 0x8000, VMA_GUARD = 0x10000, VMA_PLUGIN = 1 << 27,
};
/*
 * Flags of a pagemap entry.  ELSEWHERE is our own and comes with PARENT, so that readers that do not know it refuse: the
 * bytes are where x-stasis-pages-<vpid> says.
 */
enum { PE_PARENT = 1, PE_LAZY = 2, PE_PRESENT = 4, PE_ELSEWHERE = 1 << 8 };

/* What injection has found out, for mm-*.img; set by the tree before mem_dump. */
struct mem_facts {
	uint64_t brk;	 /* current break */
	int dumpable;	 /* prctl PR_GET_DUMPABLE */
	int thp_disabled;
	uint32_t lock_all; /* MCL_FUTURE, with MCL_ONFAULT, or 0 */
	uint32_t pkeys;	   /* bits of the protection keys that are allocated */
};

/* ---- dump; E, host namespaces, tree frozen ---- */

/* The options about memory, before anything else, tree running. 0 or -errno recorded. */
int mem_prepare(struct session *s);
/* All tasks are collected: warns of options that mean nothing. */
void mem_collected(struct session *s);
/*
 * Reads the mappings of t, classifies them, makes file objects of what is behind them (files_collect_mapping), refuses
 * by name what nobody can dump: 0 then, with blockers in s. Also usable on a running tree (check): what vanishes is left out.
 */
int mem_collect(struct session *s, struct task *t);
/*
 * Calls, for the tree to have t make, that show what mlockall(2) has been told and which protection keys are allocated; they
 * change nothing.  hole: where t has nothing mapped, from mem_find_hole() (0 or -errno recorded); ret: room for
 * MEM_PROBE_CALLS.  Returns their number; mem_probe_answers() reads their results into lock_all and pkeys.
 */
#define MEM_PROBE_CALLS 20
int mem_find_hole(struct session *s, const struct task *t, uint64_t *ret_hole);
struct inject_call;
size_t mem_probe_calls(uint64_t hole, struct inject_call *ret);
void mem_probe_answers(const struct inject_call *calls, uint64_t hole, struct mem_facts *ret);
/* How many pages of its own t has, about: for showing progress. */
size_t mem_pages(const struct task *t);
/* True when [addr, addr+len) is private, readable and writable memory of t: usable as scratch. */
bool mem_is_private_rw(const struct task *t, uint64_t addr, uint64_t len);
/* mm-<vpid>, pagemap-<vpid> and its pages. Anonymous shared memory goes to pagemap-shmem-<shmid>, once. */
int mem_dump(struct session *s, struct task *t, const struct mem_facts *facts);
/* Before the freeze of the tree below root: what is costly to read and may be read while it runs (ahead.c). */
void mem_read_ahead(struct session *s, pid_t root);
/*
 * With --leave-running, all of the tree collected and frozen: makes copies of the tasks' memory where that is worth while
 * (--snapshot). mem_dump() writes then what the copies have not, and mem_dump_snapshot() the rest while the tree runs.
 * 0 or -errno recorded; no copies are no error.
 */
int mem_snapshot(struct session *s);
bool mem_has_snapshot(struct session *s);
/* mm-<vpid>, pagemap-<vpid> and pages of a task that has a copy; nothing for others. */
int mem_dump_snapshot(struct session *s, struct task *t, const struct mem_facts *facts);
void mem_free(struct mem *m);

/* Services of cr-plugin.h. shmid is unique in the session and stable for the same inode. */
int shmem_dump(struct session *s, int fd, const struct stat *st, uint64_t size, uint32_t *ret_shmid);
int shmem_fill(struct session *s, int fd, uint32_t shmid, uint64_t size);
void shmem_free(struct shmem *sh);

/* ---- restore; E, no task yet ---- */

/* Reads and validates mm-<vpid> and pagemap-<vpid>: order, overlaps, bounds, sizes of the pages files. No effects. */
int mem_load(struct session *s, struct task *t);
uint32_t mem_exe_id(const struct task *t);
/* Bytes of private memory that the images have of t alone. */
uint64_t mem_stored_bytes(const struct task *t);
/* Bytes of memory that pid may still come to use, about; tasks that this process's cgroups still allow (room.c). */
uint64_t mem_room(pid_t pid);
uint64_t mem_task_room(void);
/* PR_GET_DUMPABLE at dump: 0, 1, 2; -1 when the image does not say. To be set after the credentials. */
int mem_dumpable(const struct task *t);
/* Calls f for each file id that t's mappings need open (a readable descriptor; write: also writable). */
int mem_each_file(struct session *s, struct task *t, int (*f)(struct session *s, uint32_t id, bool write));
/* An address range free in E and in every task of the tree, page aligned, as large as there is up to *size. */
int mem_pick_arena(struct session *s, uint64_t *ret_base, uint64_t *ret_size);
/* Opens pages files, creates and fills shared anonymous memory. E's descriptors, inherited by the tasks. */
int mem_open(struct session *s);
/*
 * Appends to p the operations that turn the inherited address space into t's: inherited from t->parent's as
 * its plan leaves it, or from E's for the root (whose rseq is unregistered first, whose vDSO is moved to t's
 * place). Keeps what can be kept, so that copy-on-write sharing survives. Fills pages, sets protections, madvise, and the
 * mm fields (PR_SET_MM_MAP, exe link). Descriptors of files: files_fd(s, id).
 */
int mem_plan(struct session *s, struct task *t, struct plan *p);
/* While the plans run: does what tasks have asked for (fill.c). Called whenever one may have. */
void mem_fill_asked(struct session *s);
/*
 * Appends what may come only when all of t's children exist: seals, and locks of future mappings.  By its leader, before
 * credentials.
 */
void mem_plan_late(struct task *t, struct plan *p);
/* Address of a system call instruction in t's final address space (its vDSO, else any executable mapping). */
int mem_syscall_ip(struct session *s, struct task *t, uint64_t *ret_ip);

#endif
