/* SPDX-License-Identifier: MIT */
/* epoll.h: inside of the epoll plugin: one epoll description and what it watches. */
#ifndef PLUGINS_EPOLL_H
#define PLUGINS_EPOLL_H

#include "common.h"
#include "eventpoll.pb-c.h"

/* An entry of the interest list. */
struct watch {
	uint32_t tfd; /* number it was registered with: with the file the key of the entry */
	uint32_t events;
	uint64_t data;
	uint64_t pos, ino;
	uint32_t dev; /* as the kernel numbers devices */
	struct cr_file *target; /* dump: found; restore: found, or NULL until wire() */
};

/* Private part of an epoll description. */
struct epoll {
	struct watch *watches; /* memory of the session */
	size_t n;
	uint32_t flags;
	int resolved; /* dump: targets have been looked for */
	FownEntry fown;
};

extern const struct cr_img_type img_targets;

/*
 * What an entry of f with number tfd means where nothing else is said: the file at that number
 * in the first holder of f that has one. NULL when there is none.
 */
struct cr_file *epoll_plain_target(struct cr_session *s, struct cr_file *f, uint32_t tfd);

/*
 * Dump and check: reads the interest list of f from fdinfo and finds the watched files with
 * kcmp(2) on lfd. 0; -EOPNOTSUPP after refuse(); -errno recorded.
 */
int epoll_resolve(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info);

/* order.c: sets the targets of those entries that need no kcmp(2), the rest stays NULL. For long lists. */
void epoll_guess_targets(struct cr_session *s, struct cr_file *f, struct epoll *ep);

/* Restore: queues the epoll_ctl(2) calls of f in the tasks. 0 or -errno recorded. */
int epoll_plan(struct cr_session *s, struct cr_file *f);

/* Probe of the feature kcmp_epoll. */
int epoll_probe_kcmp(struct cr_session *s, uint64_t *ret_value);

/* ---- busy.c ---- */

extern const struct cr_img_type epoll_img_busy;
/* dump(): parameters of busy polling of f, if it has any, into x-epoll-busy. 0 or -errno recorded. */
int epoll_busy_dump(struct cr_session *s, struct cr_file *f, int lfd);
/* wire(): sets those of f on fd. 0 or -errno recorded. */
int epoll_busy_restore(struct cr_session *s, struct cr_file *f, int fd);

#endif
