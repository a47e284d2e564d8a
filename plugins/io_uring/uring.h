/* SPDX-License-Identifier: MIT */
/*
 * uring.h: what the files of this plugin share.
 *
 * dump:    facts.c (what fdinfo tells of a ring), setup.c (what harmless calls tell), ask.c (calls by the only task that
 *          may make them), quiesce.c (requests in flight), io_uring.c (messages)
 * restore: restore.c (rings that the engine makes), own.c (rings that their task makes, since they have a polling
 *          thread or are for one thread only), feed.c (counters and contents)
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
#ifndef IORING_SETUP_CQE_MIXED
#define IORING_SETUP_CQE_MIXED (1U << 18)
#endif
#define URING_KIND "io_uring"
#define URING_FIELD 100110
#define URING_OPT_SETUP "io-uring-setup"
#define URING_MAX_ENTRIES 65536u

typedef XIoUringEntry uring_msg;

/* A ring mapped by the engine. */
struct uring_map {
	char *ring, *sqes;
	size_t ring_bytes, sqes_bytes;
	struct io_uring_params p; /* flags and offsets, as for a new ring of this shape */
};
/* Flags that say how large the entries are and where they lie. */
#define URING_SHAPE (IORING_SETUP_SQE128 | IORING_SETUP_CQE32 | IORING_SETUP_NO_SQARRAY | IORING_SETUP_CQE_MIXED)

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
/* First line below "\nKey:" that begins with a blank, else NULL; the next such line behind one. */
const char *uring_list(const char *text, const char *key);
const char *uring_next_line(const char *line);

/* ---- ask.c ---- */

/* The only task that may use a ring of IORING_SETUP_SINGLE_ISSUER; task NULL: every task may. */
struct uring_issuer {
	struct cr_task *task;
	size_t thread;
	int fd;		 /* its descriptor of the ring */
	uint64_t room;	 /* where it finds bytes behind the ring that nobody uses, 0: it has not mapped the ring */
	size_t room_off; /* of these in the ring, in bytes */
};
/* Finds it among the tasks that have the ring. 0, also when it is gone (ret->fd is -1), or -errno recorded. */
int uring_find_issuer(struct cr_session *s, struct cr_file *file, const struct uring_facts *f, uint32_t setup,
		      struct uring_issuer *ret);
/*
 * io_uring_register() of lfd by who may do it; arg: NULL, or len bytes that the kernel may change. For questions only.
 * Its result or -errno; -ENOTTY: it cannot be asked.
 */
int uring_ask(struct cr_session *s, int lfd, const struct uring_issuer *who, uint32_t op, void *arg, size_t len, uint32_t n);
/* Has t mapped that part of the ring of file, to write there? Returns the address or 0. */
uint64_t uring_mapped(struct cr_session *s, const struct cr_task *t, struct cr_file *file, uint64_t off);

/* ---- quiesce.c ---- */

/* Nothing is under way, as far as the counters tell. */
int uring_is_idle(const struct uring_facts *f);
/* Waits for that for a second, and reads the facts. 0, idle or not, or -errno. */
int uring_wait(struct cr_session *s, struct cr_file *file, int lfd, struct uring_facts *ret);
/* Cancels what is in flight. 0, 1 when something is left, or -errno. */
int uring_cancel(struct cr_session *s, struct cr_file *file, int lfd);

/* ---- setup.c ---- */

/* IORING_SETUP_* that can be told from outside, as far as they matter. 0 or -errno (refused). */
int uring_probe_setup(struct cr_session *s, struct cr_file *file, int fd, const struct uring_facts *f, uint32_t *ret_setup);
/* Undo record of that: the heads of both queues. */
int uring_undo(int fd, const char *text);
/* What becomes of the right of a single task: into setup and issuer of msg. */
void uring_take_issuer(struct cr_session *s, struct cr_file *file, const struct uring_issuer *who, uring_msg *msg);
/* Is that a mapping of a ring? */
int uring_vma_match(const struct cr_vma_info *info);

/* ---- facts.c ---- */

/*
 * Fills files, buffers of msg from fdinfo, and eventfd from what the tree has (memory of the session). 0 or -errno (refused).
 */
int uring_registered(struct cr_session *s, int fd, const struct uring_issuer *who, uring_msg *msg);

/* ---- places.c ---- */

/* Finds in which places of their threads the tasks have the ring registered. 0 or -errno (refused). */
int uring_take_places(struct cr_session *s, struct cr_file *f, uring_msg *msg);
/* Queues that they register it there. 0 or -errno recorded. */
int uring_queue_places(struct cr_session *s, struct cr_file *f, const uring_msg *msg);

/* ---- feed.c ---- */

/* Brings the counters of a new ring to those of msg. Any process may do it. 0 or -errno. */
int uring_feed(int fd, const struct uring_map *m, const uring_msg *msg);
/* n completions without a request of the ring itself. 0 or -errno. */
int uring_feed_messages(int fd, const struct uring_map *m, uint32_t n);
#define URING_OP_MSG 40 /* IORING_OP_MSG_RING, Linux 5.18 */
#define URING_CQE_SKIP (1u << 6) /* IOSQE_CQE_SKIP_SUCCESS, Linux 5.17 */
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
	uint64_t ring, sqes;   /* where the owner will have mapped it */
};
/* Parameters for making the ring of msg again; own: as its task does it. */
void uring_params(struct cr_session *s, const uring_msg *msg, int own, struct io_uring_params *ret);
/* Does its task make it? */
static inline int uring_is_own(const uring_msg *msg)
{
	return msg->has_poller || msg->has_issuer;
}
/* Flags that cannot be seen and that the user names; does he name flags that there are? 0 or -errno recorded. */
#define URING_UNSEEN (IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG)
uint32_t uring_flags_said(struct cr_session *s);
int uring_check_options(struct cr_session *s);
int uring_load(struct cr_session *s, struct cr_file *f, const void *data, size_t len);
int uring_open(struct cr_session *s, struct cr_file *f, int *ret_fd);
int uring_wire(struct cr_session *s, struct cr_file *f);
int uring_vma_load(struct cr_session *s, struct cr_vma *v, const void *data, size_t len);
int uring_vma_plan(struct cr_session *s, struct cr_vma *v);
/* A ring for one task only, which cannot be given its counters here, becomes one for all. */
void uring_own_load(struct cr_session *s, struct cr_file *f, uring_msg *msg);
/* Queues what the owner of f does to make it; when it is mapped, what gives it its counters. 0 or -errno recorded. */
int uring_own_wire(struct cr_session *s, struct cr_file *f);
int uring_own_mapped(struct cr_session *s, struct cr_file *f, const struct cr_vma_info *info);
/* Broadcast: the tasks have made their rings. */
int uring_restored(struct cr_session *s);

#define IMM(v) ((struct cr_arg)CR_IMM(v))

#endif
