/* SPDX-License-Identifier: MIT */
/*
 * restore.h: one restore, from images to running tasks.
 *
 * Order: load (tree, memory, files; no effects) -> open (all files, in E) -> plan
 * (one list of operations a thread) -> birth -> stages -> parked -> finalize -> release.
 */
#ifndef CORE_RESTORE_H
#define CORE_RESTORE_H

#include "plan.h"
#include "session.h"
#include "tree.h"

/* Barriers that all plans meet, in this order; E releases one after the other. */
enum restore_stage {
	STAGE_BIRTH = BLOB_FIRST_STAGE, /* the root waits until W has adopted it */
	STAGE_FORKED,	 /* every task and helper exists, in its session, memory final */
	STAGE_GROUPS,	 /* group leaders lead */
	STAGE_JOINED,	 /* everybody is in its group; helpers may go */
	STAGE_FILLED,	 /* descriptor tables are filled, directories set: E's descriptors have done their work */
	STAGE_WIRED,	 /* descriptor tables final, E's descriptors closed */
	STAGE_CREDS,	 /* all threads of processes with several of them have their credentials */
};

struct mapping;

/* A call that a plugin queued for a task (cr_core.plan_syscall). */
struct queued_call {
	struct task *task;
	uint32_t stage; /* enum cr_stage */
	uint32_t want;	/* enum cr_want */
	long nr;
	struct cr_arg args[6];
	uint64_t result; /* where it goes in the arena; 0: nowhere */
	const struct mapping *place; /* the call makes it, at its address: there must be no other room; NULL: as any */
	uint64_t bytes;	 /* not 0: no call, copies as many bytes to args[0] from args[1] */
	uint32_t times;	 /* not 0: here begins a loop of so many rounds */
	bool ends;	 /* and here it ends */
	char *origin; /* "tty: pid 812 fd 0" */
};

/* Files that come into a table when the processes exist, and the socket pair over which. */
struct late_table {
	int ours, theirs;
	VEC(struct file *) files; /* in the order in which the plan takes them */
};

struct restore {
	struct arena arena;
	struct plan_set *plans;
	VEC(struct queued_call) queued;
	uint32_t expected[BLOB_STAGES]; /* how many threads come to each barrier */
	VEC(struct late_table) late;
	VEC(pid_t) exits;		/* tids whose death is part of the plan */
	size_t nthreads;		/* that will park */
	pid_t root;			/* the restored root as E sees it */
	struct own *own;		/* own.c; NULL: not asked for yet */
	uint64_t *tracer;		/* in the arena: whom the root lets trace it: W */
};

/*
 * Reads and checks everything that the images hold, without an effect on the system: tree, memory maps, files, and what
 * plugins keep of their own.  Runs in E; 0 or -errno, recorded.
 */
int restore_load(struct session *s);

/* As the services of the same purpose in cr-plugin.h. */
int restore_queue_data(struct session *s, struct task *t, const void *data, size_t len, uint64_t *ret_addr);
int restore_queue_syscall(struct session *s, struct task *t, uint32_t stage, long nr, const struct cr_arg args[6],
			  uint32_t want);

int restore_queue_call(struct session *s, struct task *t, uint32_t stage, long nr, const struct cr_arg args[6],
		       uint32_t want, uint64_t *ret_addr);
int restore_queue_place(struct session *s, const struct mapping *m, uint32_t stage, long nr, const struct cr_arg args[6]);
int restore_queue_write(struct session *s, struct task *t, uint32_t stage, uint64_t to, const void *data, size_t len);
int restore_queue_copy(struct session *s, struct task *t, uint32_t stage, uint64_t to, uint64_t from, size_t len);
int restore_queue_repeat(struct session *s, struct task *t, uint32_t stage, size_t n, uint32_t times);

/* tasks.c: builds the plans of all tasks, threads and helpers. */
int restore_plan_tasks(struct session *s);
/* state.c: operations that give a thread (and, for the leader, its process) its state; runs last, before PARK. */
int restore_plan_thread_state(struct session *s, struct thread *th, struct plan *p);
int restore_plan_process_state(struct session *s, struct task *t, struct plan *p);
/* creds.c */
int restore_plan_creds(struct session *s, struct thread *th, struct plan *p);
/* fds.c: descriptor table, cwd, root, umask, and what plugins queued. */
int restore_plan_files(struct session *s, struct task *t, struct plan *p);
/* Closes E's descriptors; after STAGE_FILLED, for a table may be shared with tasks that still work with them. */
void restore_plan_close(struct session *s, struct task *t, struct plan *p);
int restore_plan_queued(struct session *s, struct task *t, struct plan *p, uint32_t stage);

/*
 * check.c: for check --images: numbers that are taken, credentials, limits and memory; each thing that would keep the tree
 * from being
 * restored here is a fail().
 */
void restore_check_here(struct session *s);
/* pids.c: the part about numbers; does not wait for zombies. */
void restore_check_pids(struct session *s);
/* run.c: creates the root, drives the stages, hands over to W. */
int restore_run(struct session *s);
void restore_free(struct restore *r);

#endif
