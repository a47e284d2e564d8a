/* SPDX-License-Identifier: MIT */
/*
 * reg.h: what the files of the plugin "files" share.
 *
 *   files.c     the plugin table, claims, options
 *   dump.c      where a file lives, what stands against dumping it, its message
 *   restore.c   opening and validating
 *   ghost.c     deleted files: their contents into images
 *   revive.c    deleted files: created again, opened, removed
 *   ghostmore.c deleted files: extended attributes, nanoseconds
 *   remap.c     remap-fpath: which file is a ghost or lives on under a hard link
 *   buildid.c   build ids of ELF files
 *   pressure.c  what was asked for on a descriptor: triggers of pressure files, notes about directories
 *   deadfile.c  files of /proc that show a process that has ended
 *   procfile.c  files of /proc that belong to processes of the tree
 *   changed.c   files that are not what they were (--file-changed)
 *
 * A file is in one of four states at dump:
 *   REG_HERE   its name leads to it
 *   REG_GHOST  it has no name any more: its inode goes into ghost-file-<id>.img
 *   REG_DEAD   it shows a process that has ended (/proc/PID): another one stands in for that
 *   REG_LINK   its name is gone, others are left: a hard link is made beside the
 *              old name (--link-remap), and restore opens that
 */
#ifndef PLUGINS_FILES_REG_H
#define PLUGINS_FILES_REG_H

#include "common.h"
#include "cr-plugin.h"
#include "ghost-file.pb-c.h"
#include "regfile.pb-c.h"
#include "remap-file-path.pb-c.h"
#include "util.h"

#define REG_KIND "regular"
#define REG_TYPE 1  /* file_entry.type REG */
#define REG_FIELD 3 /* file_entry.reg */

/* Device number in the kernel's own layout, as images have st_dev; not the one of stat(2). */
#define REG_KERNEL_DEV(dev) ((uint32_t)major(dev) << 20 | minor(dev))

enum reg_life { REG_HERE = 1, REG_GHOST, REG_LINK, REG_DEAD };

/* Where a file is found at dump. */
struct reg_where {
	enum reg_life life;
	const char *name; /* absolute, without " (deleted)"; memory of the session */
	struct stat st;	  /* of the open file */
};

/* Hard link made by this dump for an inode. */
struct reg_link {
	dev_t dev;
	ino_t ino;
	uint32_t file_id; /* of the object that holds its path */
};

/* restore: an entry of remap-fpath.img */
struct reg_remap {
	uint32_t orig_id, target;
	RemapType type;
};

/* restore: a deleted inode */
struct reg_ghost {
	uint32_t id;
	const char *name; /* of the first file that has it */
	uint32_t tmpfile; /* 1: some file was opened with O_TMPFILE */
	int fd;		  /* O_PATH, -1 before it is made */
	GhostFileEntry *e;
};

/* restore: a file that lives under a hard link made by the dump */
struct reg_linked {
	uint32_t target; /* id of the file object that has the link's path */
	const char *path;
	int fd; /* O_PATH */
};

/* restore: a file that gets the size that it had */
struct reg_resize {
	int fd;
	uint64_t size;
	const char *path;
};

/* restore: a missing file that was made again */
struct reg_made {
	const char *path;
	dev_t dev;
	ino_t ino;
};

/* Of the plugin, one a session. */
struct reg_state {
	VEC(struct reg_link) links;
	VEC(struct reg_remap) remaps;
	VEC(struct reg_ghost) ghosts;
	VEC(struct reg_linked) linked;
	VEC(void *) more; /* restore: GhostMoreEntry */
	uint32_t remaps_read, ghosts_made;
	uint32_t restored; /* 1: all tasks are there; not set by --explain */
	VEC(struct reg_resize) resizes;
	VEC(struct reg_made) made;
};

/* Of a file object, restore. */
struct reg_priv {
	RegFileEntry *e; /* memory of the session */
};

struct reg_state *reg_state(struct cr_session *s);

extern const struct cr_img_type reg_img_ghost, reg_img_remap, reg_img_more;

/* ---- dump.c ---- */

/* Hooks of the kind, see cr-plugin.h. */
int reg_check(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info);
int reg_dump(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info);

/* ---- ghost.c ---- */

/* Refuses what cannot become a ghost or is larger than --ghost-limit. lfd may be -1. 0 or -errno. */
int ghost_check(struct cr_session *s, int lfd, const struct reg_where *w);
/* Writes the inode once (ghost-file-<id>.img) and says in remap-fpath.img that f is it. 0 or -errno. */
int ghost_dump(struct cr_session *s, struct cr_file *f, int lfd, const struct reg_where *w);

/* ---- ghostmore.c ---- */

/* Writes what ghost_file_entry has no room for, of the inode behind lfd. 0 or -errno. */
int ghost_more_dump(struct cr_session *s, uint32_t id, int lfd, const struct stat *st);
int ghost_more_read(struct cr_session *s, struct reg_state *st);
void ghost_more_free(struct reg_state *st);
/* Sets the extended attributes of ghost id, which path leads to (warns where that is not possible), and fills in times. */
void ghost_more_apply(struct cr_session *s, uint32_t id, const char *path, struct timespec times[2]);

/* ---- remap.c ---- */

int remap_append(struct cr_session *s, uint32_t orig_id, uint32_t target, RemapType type);
/* Makes the hard link of w's inode, once, and notes it in remap-fpath.img for f. 0 or -errno. */
int remap_link_dump(struct cr_session *s, struct cr_file *f, int lfd, const struct reg_where *w,
		    const struct cr_file_info *info);
/* 1 when f is the path object of a hard link made by this dump. */
int remap_is_link(struct cr_session *s, struct cr_file *f);
/*
 * Restore: *ret_fd is an O_PATH descriptor of the deleted or linked inode behind f, which
 * the plugin keeps (-1 of a dead process: REMAP_TYPE__PROCFS); *ret_type the kind of remap.  1; 0 when f has
 * none; -errno.
 */
int remap_find(struct cr_session *s, struct cr_file *f, int *ret_fd, RemapType *ret_type);
/* As remap_find(), without an effect: 1 when what f needs is there. */
int remap_check(struct cr_session *s, struct cr_file *f);
/* Takes the hard links away (a restore that succeeded), closes and frees everything. */
void remap_done(struct cr_session *s, int error);

/* ---- revive.c ---- */

/*
 * Restore: creates every deleted inode of remap-fpath.img that a file object of ours has, under
 * its old name where that is free, opens it and takes the name away again.  When it
 * returns, nothing is left in any directory, also after an error.  Once a session.
 */
int ghosts_revive(struct cr_session *s);
/* Descriptor of ghost id, -1: there is none. */
int ghost_fd(struct cr_session *s, uint32_t id);

/* ---- restore.c ---- */

int reg_load(struct cr_session *s, struct cr_file *f, const void *data, size_t len);
int reg_open(struct cr_session *s, struct cr_file *f, int *ret_fd);
int reg_check_image(struct cr_session *s, struct cr_file *f);
int reg_wire(struct cr_session *s, struct cr_file *f);
int reg_inherit_key(struct cr_session *s, struct cr_file *f, char *buf, size_t size);
/* The entry of f when f is a file object of ours that was loaded, else NULL. */
RegFileEntry *reg_entry(struct cr_session *s, struct cr_file *f);

/* As the hook of the kind, for what reg_open() has put off: files of processes of the tree. */
int reg_open_late(struct cr_session *s, struct cr_file *f, int *ret_fd);

/* restored(): positions of the files that were opened late, now that their processes are what they were. */
int procfiles_restored(struct cr_session *s);

/* ---- procfile.c ---- */

/* Process whose file in /proc name is, with *ret_rest what is behind its number; 0: none. */
pid_t procfile_pid(struct cr_session *s, const char *name, const char **ret_rest);
/* Process of the tree whose file in /proc name is, with *ret_rest what is behind its number; 0: none. */
int procfile_owner(struct cr_session *s, const char *name, const char **ret_rest);
/* Refuses what cannot be opened even when all processes exist. 0 or -EOPNOTSUPP. */
int procfile_check(struct cr_session *s, const struct cr_file_info *info, const char *name);

/* ---- deadfile.c ---- */

/* Dump: does name, which leads elsewhere, say that the file shows a process that has ended?  Takes " (deleted)" away then. */
int deadfile_is(struct cr_session *s, const struct cr_file_info *info, char *name);
/* Opens e by the name path. 0 or -errno, recorded. */
typedef int deadfile_opener(struct cr_session *s, const RegFileEntry *e, const char *path, int *ret_fd);
/* Restore: opens the file of a process that has ended as long as another one stands in for it. 0 or -errno, recorded. */
int deadfile_open(struct cr_session *s, const RegFileEntry *e, deadfile_opener *open_path, int *ret_fd);

/* ---- changed.c ---- */

enum reg_policy { REG_FAIL = 0, REG_TRUNCATE, REG_APPEND, REG_IGNORE };

int changed_check_option(struct cr_session *s);
/* What --file-changed says of the file. */
enum reg_policy changed_policy(struct cr_session *s, const RegFileEntry *e);
/* Whether the missing file of e is made again; whether that can be done; does it. 0 or -errno, recorded. */
int changed_may_create(struct cr_session *s, const RegFileEntry *e);
int changed_check_create(struct cr_session *s, const RegFileEntry *e);
int changed_create(struct cr_session *s, const RegFileEntry *e);
/* Restore: fd is the description of e, in place; its size may not be that of the dump. 0 or -errno, recorded. */
int changed_apply(struct cr_session *s, const RegFileEntry *e, int fd, const struct stat *st);
/* Hook resume: sets the sizes. */
int changed_resume(struct cr_session *s);
void changed_done(struct cr_session *s, int error);

/* ---- pressure.c ---- */

extern const struct cr_img_type reg_img_pressure;
/* dump(): what the program has asked for on its descriptor; what cannot be read is lost. 0 or -errno recorded. */
int asked_dump(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info);
/* restored(): triggers in place of those that could not be read. 0 or -errno recorded. */
int pressure_restored(struct cr_session *s);

/* ---- buildid.c ---- */

#define BUILDID_WORDS 16 /* 64 bytes; the usual SHA-1 has 20 */
/*
 * Build id of the ELF file fd (readable), as little-endian words, zero-padded, into words.
 * Number of words; 0: not an ELF file or without one.
 */
size_t buildid_read(int fd, uint32_t words[BUILDID_WORDS]);

#endif
