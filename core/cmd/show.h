/* SPDX-License-Identifier: MIT */
/*
 * show.h: what an image directory holds, as `stasis show` prints it.  show.c reads the
 * images into these structs, show_print.c turns them into text or JSON.
 */
#ifndef CORE_CMD_SHOW_H
#define CORE_CMD_SHOW_H

#include "session.h"

#define SHOW_NONE SIZE_MAX /* no such index */

/* An open file description. */
struct show_file {
	uint32_t id;
	char *name; /* first text in its message, or NULL */
};

struct show_fd {
	uint32_t fd, type, id, flags; /* flags: 1 is FD_CLOEXEC */
};

/* A descriptor table; tasks may share one. */
struct show_table {
	uint32_t files_id;
	size_t owner; /* task that it is shown with */
	VEC(struct show_fd) fds;
};

struct show_mem {
	bool mapped;  /* there is an mm image */
	bool stored;  /* there is a pagemap */
	uint64_t mappings;
	uint64_t bytes, heap, stack; /* sizes of mappings */
	uint64_t pages;		     /* 4 KiB pages with contents in this directory */
	uint64_t shared_pages;	     /* those that are in another task's pages file */
	uint64_t parent_pages;	     /* those whose contents are in the parent directory */
	uint32_t exe_id;
};

struct show_task {
	uint32_t pid, ppid, pgid, sid;
	uint32_t state, exit_code;
	char *comm; /* NULL: there is no core image */
	VEC(uint32_t) threads;
	struct show_mem mem;
	size_t table; /* index, or SHOW_NONE */
	size_t parent, child, last_child, sibling; /* indices, or SHOW_NONE */
	size_t depth;
};

/* What the dump or a restore lost, as its statistics say. */
struct show_loss {
	char *plugin, *object, *text;
	bool at_restore;
};

struct show {
	const char *dir;
	uint32_t version;
	bool fdinfo_per_id;
	char *run_id; /* of the dump, or NULL */
	VEC(struct show_task) tasks;
	VEC(struct show_table) tables;
	VEC(struct show_file) files; /* by id */
	VEC(struct show_loss) losses;
};

/* Append to out. */
void show_text(const struct show *sh, struct buf *out);
void show_json(const struct show *sh, struct buf *out);
/* Name of file object id, or NULL. */
const char *show_file_name(const struct show *sh, uint32_t id);
/* The next task of the tree, depth first; SHOW_NONE: the first, and after the last. */
size_t show_next_task(const struct show *sh, size_t prev);

#endif
