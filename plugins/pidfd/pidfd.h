/* SPDX-License-Identifier: MIT */
/* pidfd.h: inside of the pidfd plugin: one descriptor of a process, and processes that live only to be dead. */
#ifndef PLUGINS_PIDFD_H
#define PLUGINS_PIDFD_H

#include <sys/types.h>

#include "common.h"
#include "util.h"

/* linux/pidfd.h, newer than the headers of the oldest systems; of libc's numbers */
#define PIDFD_FLAG_NONBLOCK O_NONBLOCK
#define PIDFD_FLAG_THREAD O_EXCL

/* Private part of a pidfd, at restore. */
struct pidfd {
	uint32_t ino;
	uint32_t flags;
	int32_t nspid;	 /* -1: dead */
	int thread;	 /* nspid is a thread other than the first of its process */
	uint32_t status; /* of a dead one */
	FownEntry fown;
};

/* A short-lived process that stands in for one that has been reaped. */
struct corpse {
	uint32_t ino; /* descriptors with the same number are of the same process */
	pid_t pid;
	int pipe; /* it ends when this is closed */
};

struct pidfd_state {
	VEC(struct corpse) corpses;
};

/*
 * Restore: a descriptor of the process with number p->ino of the images, which ends as p->status says once
 * corpses_end() is called.  CR_OK with *ret_fd or -errno recorded.
 */
int corpse_open(struct cr_session *s, struct pidfd_state *st, const struct pidfd *p, int *ret_fd);
/* Lets all of them end, and reaps them. */
void corpses_end(struct pidfd_state *st);

/* ---- thread.c ---- */

/* Last number of a line of /proc/TID/status: "\nTgid:", "\nNSpid:"; 0: there is none. */
pid_t thread_field(pid_t tid, const char *name);
/* check(), dump(): refuses what thread_wire() cannot make. */
int thread_check(struct cr_session *s, struct cr_file *f, pid_t process, pid_t tid);
/* As the hooks of the kind, for a thread; verify: restored(). */
int thread_open(struct cr_session *s, int *ret_fd);
int thread_wire(struct cr_session *s, struct cr_file *f, const struct pidfd *p);
int thread_verify(struct cr_session *s, struct cr_file *f, const struct pidfd *p);

#endif
