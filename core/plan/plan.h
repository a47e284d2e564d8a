/* SPDX-License-Identifier: MIT */
/*
 * plan.h: restore plans: building, checking, printing.
 *
 * A plan is the list of operations of one thread (or helper process).  It is
 * built by E before any task exists, linked into the arena, and can be printed
 * (restore --explain) and tested without running.
 *
 * Addresses: the arena is mapped in E at the very address where the tasks will
 * see it, so a pointer from plan_mem() is valid in both.
 */
#ifndef CORE_PLAN_H
#define CORE_PLAN_H

#include <stdbool.h>

#include "blob.h"
#include "session.h"

struct task;

/* The arena: a memfd of `size` bytes mapped shared at `base`, sparse. */
struct arena {
	int fd;
	uint64_t base, size, used;
	uint64_t code;		     /* address of the blob */
	struct blob_shared *shared;
	uint64_t park, park_len;     /* address range kept free (PROT_NONE) inside the arena, for moving the vDSO */
};
/* base must be free in E (MAP_FIXED_NOREPLACE). 0 or -errno recorded. */
int arena_new(struct session *s, uint64_t base, uint64_t size, struct arena *ret);
void arena_free(struct arena *a);
/* Zeroed; align is a power of two. Never NULL: aborts when the arena is full (size it well). */
void *arena_alloc(struct arena *a, size_t bytes, size_t align);

struct plan {
	struct plan_set *set;
	uint32_t index;
	char *name;	   /* "pid 812", "pid 812 tid 815", "helper 90 (session)" */
	struct blob_thread *thread; /* in the arena */
	VEC(struct blob_op) ops;
};

struct plan_set {
	struct session *s;
	struct arena *arena;
	VEC(struct plan *) plans;
	VEC(char *) prov; /* "files: fd 3 /tmp/x"; [0] is "core" */
	uint32_t cur_prov;
};

struct plan_set *plan_set_new(struct session *s, struct arena *a);
void plan_set_free(struct plan_set *ps);
struct plan *plan_new(struct plan_set *ps, const char *name_fmt, ...) PRINTF_LIKE(2, 3);
/* Operations added from now on carry this provenance ("memory: mapping 7f00-8000 libc.so"). */
void plan_origin(struct plan_set *ps, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Memory in the arena; plan_put copies. Both return the address, valid in E and in the tasks. */
void *plan_mem(struct plan *p, size_t bytes, size_t align);
void *plan_put(struct plan *p, const void *data, size_t bytes);

/* plan_sys(p, BLOB_ZERO, SYS_close, 3): missing arguments are 0. Returns the op for slot, slotmask, expect. */
struct blob_op *plan_sysv(struct plan *p, enum blob_want want, long nr, const uint64_t a[6]);
#define plan_sys(p, want, nr, ...) plan_sysv((p), (want), (nr), (const uint64_t[6]){ __VA_ARGS__ })
struct blob_op *plan_op(struct plan *p, enum blob_code code, uint64_t a0, uint64_t a1, uint64_t a2);
void plan_barrier(struct plan *p, uint32_t stage);
/*
 * Child process or thread: flags as for clone3 (CLONE_VM|CLONE_THREAD|… for a thread), exit_signal,
 * set_tid[n] innermost first. The child runs `child`'s plan.
 */
void plan_fork(struct plan *p, struct plan *child, uint64_t flags, int exit_signal, const pid_t *set_tid, size_t n);

/*
 * Copies the operations into the arena, after checking them: known codes, jump targets inside, every fork's child
 * in the set and forked once, the last operation PARK, EXIT, KILL or FAIL. 0 or -errno recorded.
 */
int plan_link(struct plan_set *ps);
/* restore --explain: every plan, one operation a line, with names of calls, decoded flags and origin. */
void plan_print(const struct plan_set *ps, FILE *out);
/* "pid 812: mmap(0x7f…, …) = ENOMEM [memory: mapping …]" for a failure in shared. Into buf. */
void plan_explain_failure(const struct plan_set *ps, char *buf, size_t size);

#endif
