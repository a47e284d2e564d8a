/* SPDX-License-Identifier: MIT */
/* inotify.h: inside of the inotify plugin: one inotify description, its watches and its queue. */
#ifndef PLUGINS_INOTIFY_H
#define PLUGINS_INOTIFY_H

#include <limits.h>
#include <sys/ioctl.h>

#include "common.h"
#include "fsnotify.h"
#include "inotify.pb-c.h"
#include "util.h"

#ifndef INOTIFY_IOC_SETNEXTWD
#define INOTIFY_IOC_SETNEXTWD _IOW('I', 0, int32_t)
#endif

/* An event that had not been read; name "" when it is about the watched file itself. */
struct saved_event {
	uint32_t id; /* of the inotify */
	int32_t wd;
	uint32_t mask, cookie;
	char name[NAME_MAX + 1];
};
typedef VEC(struct saved_event) saved_events;

struct watch {
	int32_t wd;
	uint32_t mask;
	struct fsn_object object; /* dump */
	struct cr_file *target;	  /* what it is on; restore: NULL in images of other writers */
	const FhEntry *handle;	  /* restore */
	uint32_t dev;
};

/* Private part of an inotify description. */
struct inotify {
	struct watch *watches; /* memory of the session, sorted by number */
	size_t n;
	uint32_t flags;
	int queued;  /* dump: bytes of events, before the search for files could add any */
	int created; /* restore: made by open(), not passed in from outside */
	FownEntry fown;
};

/* ---- watches.c ---- */

/* Restore: sets all watches of the inotify fd under their numbers. 0 or -errno recorded. */
int inotify_watches_set(struct cr_session *s, int fd, const struct inotify *in);
/* Throws away what is in the queue; fd may be one that blocks. */
void inotify_drain(int fd);

/* ---- queue.c ---- */

extern const struct cr_img_type inotify_img_events;

/* Bytes of events in the queue of fd. */
int inotify_queued(int fd);
/* dump_late(): what is in the queue of f, or that there was something, goes to x-inotify-events. 0 or -errno recorded. */
int inotify_queue_dump(struct cr_session *s, struct cr_file *f);
/* Restore: reads x-inotify-events. 0 or -errno recorded. */
int inotify_queue_load(struct cr_session *s, saved_events *ret);
/*
 * Restore: gives the n events back to the inotify fd of f, which has neither watches nor events yet, or else an overflow
 * event. Says so in the log when it cannot.
 */
void inotify_queue_restore(struct cr_session *s, struct cr_file *f, int fd, const struct inotify *in,
			   const struct saved_event *ev, size_t n);
/* The queue of fd, whatever is in it, becomes one overflow event; spare: a number that no watch has. 0 or -errno. */
int inotify_queue_overflow(int fd, int spare);

/* ---- undo.c ---- */

/* dump_late(): before bytes of events are taken from fd. 0 or -errno recorded. */
int inotify_undo_record(struct cr_session *s, int fd, int bytes);
/* As cr_plugin.undo. */
int inotify_undo(int fd, const char *text);

#endif
