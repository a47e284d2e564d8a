/* SPDX-License-Identifier: MIT */
/*
 * kinds.h: mappings that plugins have claimed (struct cr_vma, struct cr_vma_kind).
 *
 * In the images a claimed mapping is an entry of mm with the kind's own bit of status, or VMA_PLUGIN; its
 * message is in the field of mm that the kind names, one for each mapping in order, or in
 * x-stasis-mappings-<pid>.  A kind with CR_VMA_KEEP leaves the entry as it is.
 */
#ifndef CORE_MEM_KINDS_H
#define CORE_MEM_KINDS_H

#include "mem.h"
#include "plugin.h"

struct vma_area;
struct MmEntry;
struct VmaEntry;

/* A claimed mapping. */
struct mapping {
	struct task *task;
	struct plugin *plugin;
	const struct cr_vma_kind *kind;
	struct cr_vma_info info;
	char *path, *vmflags;
	void *priv;
	void *msg;
	size_t msg_len;
	uint64_t madv; /* restore: advice that the engine gives once it is there */
};
typedef VEC(struct mapping *) mapping_list;

static inline struct mapping *mapping_of(const struct cr_vma *v) { return (struct mapping *)v; }
static inline struct cr_vma *cr_vma_of(const struct mapping *m) { return (struct cr_vma *)m; }
void mappings_free(struct mem *m);

/* ---- dump ---- */

/*
 * Asks the plugins about a->v.  0 with *ret (NULL: nobody's), owned by the caller until it is in a list; -errno recorded.
 */
int mapping_claim(struct session *s, struct task *t, const struct vma_area *a, struct mapping **ret);
void mapping_free(struct mapping *m);
/* Copies len bytes as the message of m, in place of the one it has. */
void mapping_set_message(struct mapping *m, const void *data, size_t len);
/* VmFlags (bits VMF_*) that the kind takes care of. */
uint64_t mapping_covers(const struct mapping *m);
/* Calls check() for the mappings of all tasks; refusals stand in s->blockers. 0 or -errno recorded. */
int mappings_check(struct session *s);
/* Calls dump() for the mappings of t. 0 or -errno recorded. */
int mappings_dump(struct session *s, struct task *t);
/* The fields that the kinds of t's mappings have in mm, behind what is in buf; the others in their image. */
int mappings_write(struct session *s, const struct task *t, struct buf *mm);

/* ---- restore ---- */

/* Reads x-stasis-mappings-<pid> of t. Before mapping_take(). 0 or -errno recorded. */
int mappings_read(struct session *s, struct task *t);
/*
 * If v belongs to a plugin, makes it an entry that keeps the range free and notes what it was. 0, or -errno recorded: also
 * when the plugin is missing.
 */
int mapping_take(struct session *s, struct task *t, struct VmaEntry *v);
/* All entries of mm were seen: gives the messages in mm to their mappings. 0 or -errno recorded. */
int mappings_settle(struct session *s, struct task *t, const struct MmEntry *mm);
/* Calls load() for all tasks' mappings; the files are loaded. 0 or -errno recorded. */
int mappings_load(struct session *s);
/* Calls plan() for them; the files are open. 0 or -errno recorded. */
int mappings_plan(struct session *s);

/*
 * Operations that fill all free addresses of m's task but its own range, which becomes free (take), and that give the
 * others back.
 */
void mapping_plan_room(struct session *s, const struct mapping *m, struct plan *p, bool take);

/* Services of cr-plugin.h. */
struct mapping *mapping_next(struct session *s, const struct mapping *prev);
int mapping_stored(struct session *s, const struct mapping *m, uint64_t off, void *buf, size_t len);

#endif
