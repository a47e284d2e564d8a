/* SPDX-License-Identifier: MIT */
/*
 * files.h: descriptor slots and open file descriptions.  Finds every description
 * of the tree once (kcmp for identity), asks the plugins whose it is, keeps ids,
 * opens all of them at restore, and builds the tasks' descriptor tables as plan
 * operations.  It knows no kind.
 */
#ifndef CORE_FILES_H
#define CORE_FILES_H

#include "plan.h"
#include "plugin.h"
#include "session.h"
#include "tree.h"

/* ---- dump; E; frozen (dump) or running (check) ---- */

/* Descriptors of t; nothing is opened by name. */
int files_collect_slots(struct session *s, struct task *t);
/* cwd, root, exe of t. */
int files_collect_links(struct session *s, struct task *t);
/* The file behind mapping v of t; fd: E's descriptor of it (from map_files), duplicated when kept. */
int files_collect_mapping(struct session *s, struct task *t, const struct proc_vma *v, int fd, uint32_t *ret_id);
/*
 * A new descriptor, opened with flags, of the file dev, ino, through a descriptor of the tree or t's executable: for
 * those who may not use map_files. -EPERM: there is none.
 */
int files_open_inode(struct session *s, struct task *t, dev_t dev, ino_t ino, int flags);
/* Whether a descriptor known so far has a lease on the file that opening it for reading would break. */
bool files_leased(struct session *s, dev_t dev, ino_t ino);
/* Claims, checks, and (dump) writes every object collected; a worklist, until nothing new appears. */
int files_dump(struct session *s);
void files_free(struct files *f);

/* ---- restore; E ---- */

int files_load(struct session *s);
/* check --images: asks every kind what would keep its objects from being opened; each answer is a fail(). No effects. */
void files_check_images(struct session *s);
/* Marks what the tasks need, opens in dependency order until nothing says CR_AGAIN, wires. */
int files_open(struct session *s);
/* Moves fd above every number that a task uses; the old one is closed. The new one, or -errno recorded. */
int files_high_fd(struct session *s, int fd);
/* The tasks have theirs: closes E's descriptors, or the other ends of pipes would never see the tree's close. */
void files_close(struct session *s);
/* Reads --policy; errors tell what a kind can do. 0 or -errno recorded. */
int policies_read(struct session *s);
void policies_free(struct policies *ps);
/* Appends what --policy may say of files of kind k, the usual first: "restore|fail|close|external". */
void policy_actions(const struct cr_file_kind *k, struct buf *out);
/* E's descriptor of file object id; -1. */
int files_fd(struct session *s, uint32_t id);

#endif
