/* SPDX-License-Identifier: MIT */
/* fanotify.h: inside of the fanotify plugin: one group, its marks, and the numbers of the interface. */
#ifndef PLUGINS_FANOTIFY_H
#define PLUGINS_FANOTIFY_H

#include <sys/fanotify.h>

#include "common.h"
#include "fanotify.pb-c.h"
#include "fsnotify.h"
#include "util.h"

/* linux/fanotify.h, newer than the headers of the oldest systems */
#define MARK_FILESYSTEM 0x100u /* FAN_MARK_FILESYSTEM, 4.20 */
#define MARK_EVICTABLE 0x200u  /* FAN_MARK_EVICTABLE, 5.19 */
#define MARK_IGNORE 0x400u     /* FAN_MARK_IGNORE, 6.0 */
/* FAN_OPEN_PERM, FAN_ACCESS_PERM, FAN_OPEN_EXEC_PERM, FAN_PRE_ACCESS: somebody waits for the listener */
#define PERMISSION_EVENTS 0x170000u

enum mark_kind { ON_INODE = 1, ON_MOUNT, ON_FILESYSTEM };

struct mark {
	uint32_t kind; /* enum mark_kind */
	uint32_t mflags, mask, ignored;
	uint32_t mnt_id, dev;
	struct fsn_object object; /* dump, ON_INODE */
	struct cr_file *target;	  /* what it is on; restore: NULL in images of other writers */
	const FanotifyMarkEntry *e; /* restore; NULL: ON_FILESYSTEM */
};

/* Private part of a fanotify description. */
struct group {
	struct mark *marks; /* memory of the session */
	size_t n;
	uint32_t flags, faflags, evflags;
	int created; /* restore: made by open(), not passed in from outside */
	FownEntry fown;
};

/* ---- marks.c ---- */

/* Dump: parses fdinfo. 0 or -EPROTO. */
int marks_parse(struct cr_session *s, const char *fdinfo, struct group *g);
/* Dump: finds what mark m of f is on, as a file object in m->target. 0, -EOPNOTSUPP after refuse(), -errno recorded. */
int mark_find(struct cr_session *s, const struct cr_file_info *info, struct mark *m);
/* Restore: sets those marks of g that ask for permission events (permission 1), or the others (0). 0 or -errno recorded. */
int marks_set(struct cr_session *s, int fd, const struct group *g, int permission);

/* ---- guard.c ---- */

/* As cr_plugin.look. */
int guard_look(struct cr_session *s);

#endif
