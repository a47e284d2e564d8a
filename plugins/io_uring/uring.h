/* SPDX-License-Identifier: MIT */
/*
 * uring.h: what the files of this plugin share.
 *
 * dump:    facts.c (what fdinfo and harmless calls tell of a ring), io_uring.c (messages)
 * restore: restore.c (rings that the engine makes), own.c (rings with a polling thread, which their
 *          task makes), feed.c (counters and contents)
 */
#ifndef PLUGINS_URING_H
#define PLUGINS_URING_H

#include <linux/io_uring.h>

#include "common.h"
#include "io-uring.pb-c.h"
#include "util.h"

/* Newer than the headers here. */
#ifndef IORING_SETUP_NO_SQARRAY
#define IORING_SETUP_NO_SQARRAY (1U << 16)
#endif
#define URING_KIND "io_uring"
#define URING_FIELD 100110
#define URING_MAX_ENTRIES 65536u

typedef XIoUringEntry uring_msg;

/* A ring mapped by the engine. */
struct uring_map {
	char *ring, *sqes;
	size_t ring_bytes, sqes_bytes;
	struct io_uring_params p; /* offsets, as for a new ring of this shape */
};

/* io_uring_setup(2), io_uring_register(2), io_uring_enter(2): result or -errno. */
int uring_setup(uint32_t entries, struct io_uring_params *p);
int uring_register(int fd, uint32_t op, const void *arg, uint32_t n);
int uring_enter(int fd, uint32_t submit, uint32_t wait, uint32_t flags);

/* Maps fd, whose parameters m->p has. 0 or -errno. */
int uring_map(int fd, struct uring_map *m);
void uring_unmap(struct uring_map *m);
static inline uint32_t *uring_word(const struct uring_map *m, uint32_t off)
{
	return (uint32_t *)(void *)(m->ring + off);
}

/* ---- facts.c ---- */

struct uring_facts {
	uint32_t sq_entries, cq_entries;
	uint32_t sq_head, sq_tail, sq_count, cq_head, cq_tail, cq_count; /* count: of the kernel itself */
	int32_t poll_tid;   /* polling thread, -1: none */
	uint32_t polls;	    /* requests that wait for an event */
	uint32_t overflown; /* completions that have no room */
	char first_poll[64];
	int complete;	    /* the kernel told all */
};

/* Parses fdinfo of a ring. 0 or -EPROTO. */
int uring_parse(const char *fdinfo, struct uring_facts *ret);
/* The same of a descriptor of the engine, again when the kernel was busy. 0 or -errno. */
int uring_read(int fd, struct uring_facts *ret);
/* Text of fdinfo of a descriptor of the engine. 0 or -errno. */
int uring_fdinfo(int fd, struct buf *ret);
/* IORING_SETUP_* that can be told from outside, as far as they matter. 0 or -errno (refused). */
int uring_probe_setup(struct cr_session *s, int fd, const struct uring_facts *f, uint32_t *ret_setup);
/*
 * Fills files, buffers of msg from fdinfo, and eventfd from what the tree has (memory of the session). 0 or -errno (refused).
 */
int uring_registered(struct cr_session *s, struct cr_file *f, int fd, uint32_t setup, uring_msg *msg);

/* ---- places.c ---- */

/* Finds in which places of their threads the tasks have the ring registered. 0 or -errno (refused). */
int uring_take_places(struct cr_session *s, struct cr_file *f, uring_msg *msg);
/* Queues that they register it there. 0 or -errno recorded. */
int uring_queue_places(struct cr_session *s, struct cr_file *f, const uring_msg *msg);

/* ---- feed.c ---- */

/* Brings the counters of a new ring to those of msg. Any process may do it. 0 or -errno. */
int uring_feed(int fd, const struct uring_map *m, const uring_msg *msg);
/* Contents, unread completions, requests not submitted. */
void uring_fill(const struct uring_map *m, const uring_msg *msg);
/* Whether a new ring has its parts where the program expects them. */
int uring_same_layout(const struct io_uring_params *p, const XIoUringLayout *l);

/* ---- restore.c, own.c ---- */

struct uring {
	uring_msg *msg;
	struct io_uring_params p;
	struct cr_task *owner; /* of an own ring */
	int slot;	       /* its first descriptor there */
};
/* Parameters for making the ring of msg again; with a polling thread or without. */
void uring_params(const uring_msg *msg, int own, struct io_uring_params *ret);
int uring_load(struct cr_session *s, struct cr_file *f, const void *data, size_t len);
int uring_open(struct cr_session *s, struct cr_file *f, int *ret_fd);
int uring_wire(struct cr_session *s, struct cr_file *f);
int uring_vma_load(struct cr_session *s, struct cr_vma *v, const void *data, size_t len);
int uring_vma_plan(struct cr_session *s, struct cr_vma *v);
/* Queues what the owner of f does to make it. 0 or -errno recorded. */
int uring_own_wire(struct cr_session *s, struct cr_file *f);
/* Broadcast: the tasks have made their rings. */
int uring_restored(struct cr_session *s);

#define IMM(v) ((struct cr_arg)CR_IMM(v))

#endif
