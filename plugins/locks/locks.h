/* SPDX-License-Identifier: MIT */
/* locks.h: the inside of the plugin: what a lock is, where it was found, what the image says. */
#ifndef PLUGINS_LOCKS_H
#define PLUGINS_LOCKS_H

#include "common.h"
#include "file-lock.pb-c.h"
#include "util.h"

/* file_lock_entry.flag */
enum lock_kind {
	LOCK_KIND_POSIX = 1, /* belongs to a descriptor table */
	LOCK_KIND_FLOCK = 2, /* this and the others belong to a description */
	LOCK_KIND_OFD = 4,
	LOCK_KIND_LEASE = 8,
};

/* One line of /proc/locks, or behind "lock:" in fdinfo. */
struct lock {
	uint32_t kind;	     /* enum lock_kind */
	uint32_t type;	     /* F_RDLCK, F_WRLCK */
	int breaking;	     /* a lease that somebody waits for */
	pid_t pid;	     /* who took it, as E sees it; -1 OFD; may be gone or 0 */
	int64_t start, len;  /* bytes; len 0: to the end, however far that moves */
	unsigned major, minor; /* of the file system, as the kernel numbers it */
	uint64_t ino;
};

/* A lock of the tree and a descriptor through which it can be set again. */
struct held {
	struct lock lock;
	struct cr_task *task;
	int fd;
};

/* A flock that only mappings of the file keep. */
struct mapped_lock {
	uint32_t file_id;
	uint32_t type; /* F_RDLCK, F_WRLCK */
};

/* Area of the plugin. */
struct locks {
	VEC(struct held) held;		/* dump, check */
	struct cr_file *last;		/* the last object that was looked at */
	VEC(FileLockEntry *) entries;	/* restore */
	VEC(struct mapped_lock) mapped;
};

/* The plugin's area of this session. */
struct locks *locks_get(struct cr_session *s);

/*
 * Parse one line of either file.  1 with *ret; 0: somebody who waits for a lock;
 * -EPROTO: a line that is not understood.
 */
int lock_parse(const char *line, struct lock *ret);

/* "a write lock (fcntl) of bytes 5-14", for messages; into buf, which is returned. */
const char *lock_text(const struct lock *l, char *buf, size_t size);

/*
 * Restore: who keeps lock want on the file fd from being taken, " (pid 12, cat, has a write lock (fcntl) of bytes 0-9)",
 * or "" when nobody is found; into buf.
 */
void lock_holder(const struct lock *want, int fd, char *buf, size_t size);

/* Find the locks of all file objects that have appeared since the last call; refuses what cannot be kept. */
int locks_gather(struct cr_session *s);
/* Locks of the tree whose description is kept alive by a mapping alone: flocks are noted, leases refused. */
int locks_find_mapped(struct cr_session *s);
/* dump_late, stage and opened of those: x-locks-mapped.img. */
int locks_write_mapped(struct cr_session *s);
int locks_stage_mapped(struct cr_session *s);
int locks_take_mapped(struct cr_session *s);
/* breaking.c: the type that a lease had before somebody asked for it. */
uint32_t breaking_was(struct cr_session *s, const struct held *h);
/* dump_late: notes that lease h, entry index of filelocks, is to be given up. 0 or -errno recorded. */
int breaking_write(struct cr_session *s, const struct held *h, size_t index);
/* restored: asks again for those leases. 0 or -errno recorded. */
int breaking_restored(struct cr_session *s);
/* dump_late: filelocks.img. */
int locks_write(struct cr_session *s);

/* stage: read filelocks.img. */
int locks_stage(struct cr_session *s);
/* opened: take what belongs to descriptions, queue the rest for the tasks. */
int locks_opened(struct cr_session *s);

extern const struct cr_img_type locks_img, locks_img_mapped, locks_img_breaking;

#endif
