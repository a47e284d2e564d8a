/* SPDX-License-Identifier: MIT */
/* files_priv.h: the inside of core/fd, shared by its files and by core/services.c. */
#ifndef CORE_FILES_PRIV_H
#define CORE_FILES_PRIV_H

#include "files.h"

/* An open file description (struct cr_file). */
struct file {
	struct session *session;
	uint32_t id;
	struct plugin *plugin;
	const struct cr_file_kind *kind; /* NULL: not claimed (yet) */
	void *priv;

	/* dump */
	struct cr_file_info info;
	char *link, *fdinfo, *anon;
	pid_t ident_pid; /* kcmp(2) finds the description as descriptor ident_fd of ident_pid */
	int ident_fd;
	struct cr_fown fown;
	bool claimed, checked, dumped;
	const char *was; /* name of its own kind, when another one has taken it over by --policy; else NULL */
	uint32_t policy; /* enum cr_policy that the user gave it, 0: none */

	/* restore */
	uint32_t type, field;
	bool own; /* its task makes it itself, see file_set_own() in cr-plugin.h */
	bool loaded, needed, wired, write;
	bool fixed; /* a mapping or a directory of a task: no policy applies */
	bool late; /* fd is a placeholder until the processes exist */
	VEC(struct file *) needs;
	VEC(struct file *) uses; /* as needs, in any order */
	struct cr_fown set_fown;
	bool has_fown;

	int fd; /* E's descriptor: dump: duplicate, restore: the open description; -1 */
	void *msg;
	size_t msg_len;
	VEC(struct slot_ref { struct fdtable *table; int fd; }) slots;
};

struct slot {
	int fd;
	uint32_t cloexec;
	uint32_t file_id, type;
	struct file *file;
};

/* One descriptor table; shared by tasks with CLONE_FILES. */
struct fdtable {
	uint32_t id; /* files_id: names fdinfo-<id>.img */
	struct task *owner; /* the first task that has it */
	VEC(struct slot) slots; /* sorted by fd */
};

struct fs_type {
	uint64_t dev, magic;
};

struct files {
	VEC(struct file *) all;	      /* in order of ids as found */
	VEC(struct fdtable *) tables;
	kcmp_list by_table; /* dump */
	/* dump: descriptions with the same device and inode, ordered by kcmp */
	VEC(struct bucket *) buckets;
	size_t bucket_mask;
	size_t done; /* files_dump(): how far the worklist has come */
	VEC(struct fs_type) types; /* of the file systems that files are on */
	/* restore */
	int base;    /* E's descriptors of files lie at or above this number */
	VEC(struct file *) by_id; /* sorted by id */
};

static inline struct file *file_of(const struct cr_file *f) { return (struct file *)f; }
static inline struct cr_file *cr_file_of(const struct file *f) { return (struct cr_file *)f; }

struct files *files_get(struct session *s); /* allocated on first use */
struct file *file_new(struct session *s);
/* Makes s->object name the file: "pid 812 fd 7 /tmp/x". */
void file_at(struct session *s, const struct file *f);
struct file *files_find(struct session *s, uint32_t id);
/* Object for an engine-held descriptor, dump. */
int files_collect_fd(struct session *s, struct task *t, int fd, uint32_t source, struct file **ret);
/* path.c: the core's own kind, for files of address spaces and directories that no plugin claims. 0 or -ENOENT. */
int path_claim(struct file *f);	       /* dump */
int path_kind_by_type(struct file *f); /* restore */
void path_release(struct file *f);
/* Restore: dep is opened too if f is, whichever comes first. */
void file_uses(struct file *f, struct file *dep);
struct slot *fdtable_slot(struct fdtable *tab, int fd);
/* As cr_core.file_key and file_policy. */
int file_key(struct session *s, const struct file *f, char *buf, size_t size);
uint32_t file_policy(const struct file *f);
/* Restore: provide() of another plugin makes it, not its own kind, because of --policy. */
bool file_is_taken(const struct file *f);
/* Name of its kind, or of that which has taken it over. */
const char *file_kind_name(struct session *s, const struct file *f);
/* Finds and applies the policy for f, claimed or not (dump) or loaded (restore). 0 or -errno recorded. */
int policy_apply_dump(struct session *s, struct file *f);
int policy_apply_restore(struct session *s, struct file *f);
/* err, as a hook of the plugin of f gave it; recorded if the plugin has not done that. */
int hook_failed(struct session *s, const struct file *f, int err);

#endif
