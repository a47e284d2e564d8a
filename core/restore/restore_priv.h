/* SPDX-License-Identifier: MIT */
/* restore_priv.h: parts of the restore of task state, each of them operations added to a plan; for core/restore only. */
#ifndef CORE_RESTORE_PRIV_H
#define CORE_RESTORE_PRIV_H

#include "restore.h"

struct TaskCoreEntry;
struct warden_final;

/* ---- pids.c ---- */

#define PID_WAIT_US 10000000 /* our own zombies of the dump may linger */

/* Waits, so long in all, until no zombie has a number of the images. -EEXIST recorded: somebody else has one. */
int restore_wait_pids(struct session *s);
/* The kernel says that the number is in use, or that there is no such number: recorded with what holds it, or the limit. */
int restore_pid_held(struct session *s, pid_t pid);
int restore_pid_beyond(struct session *s, pid_t pid);
/* The same of any number of the tree, as a line of the log; none: nothing. */
void restore_note_held(struct session *s);

/* ---- check.c ---- */

/* What of the credentials of th the kernel would not allow here. 0 or -errno, recorded. (creds.c) */
int restore_check_creds(struct session *s, const struct thread *th);

/* ---- timers.c ---- */

/* Timers of t that cannot be made here, recorded: 0 or -errno. */
int restore_check_timers(struct session *s, const struct task *t);
/* 0, or -errno recorded when an id makes no sense. */
int restore_plan_timers(struct session *s, struct task *t, const struct TaskCoreEntry *tc, struct plan *p);

/* Before everything else of t: tells timers whose signal waits in a queue, and takes it out of there. */
void restore_settle_timers(struct task *t);

/* ---- late.c ---- */

/* Receives the late files that the table of t, its owner, needs. Before anything that uses descriptors of E. */
int restore_plan_late(struct session *s, struct task *t, struct plan *p);
/* Every process exists: makes the late files. 0 or -errno, recorded. */
int restore_open_late(struct session *s);
/* The tasks are at their descriptors: gives the late files to those that wait for them. */
int restore_send_late(struct session *s);
void restore_free_late(struct restore *r);

/* ---- attrs.c ---- */

/* The number in a file of /proc, fallback when there is none. */
long restore_number_in(const char *path, int base, long fallback);
/* Scheduling and I/O priority. Needs the engine's privileges. */
int restore_plan_sched(struct session *s, struct thread *th, struct plan *p);
/* The other switches of a thread. Before the credentials. */
void restore_plan_thread_attrs(struct session *s, struct thread *th, struct plan *p);
/* Those of a process; by its leader, when all its children exist, for some are inherited. */
int restore_plan_process_attrs(struct session *s, struct task *t, struct plan *p);
/* The audit login uid; at birth, while the engine's /proc is in sight. */
void restore_plan_loginuid(struct session *s, struct task *t, struct plan *p);
/* What E sets from outside when all tasks exist. Best effort: says what it could not do. */
void restore_late_attrs(struct session *s);
/* What W sets at the very end. */
void restore_final_attrs(const struct thread *th, struct warden_final *f);

/* ---- seccomp.c ---- */

/* Fails when there are filters and this engine may not suspend them while it works. 0 or -errno, recorded. */
int restore_check_seccomp(struct session *s);
/* By the leader, before it makes the threads: the filters that all of them begin with become one for all. */
void restore_plan_seccomp_together(struct session *s, struct task *t, struct plan *p);
/* The thread's own ones, or strict mode. Before the credentials; nothing acts until W lets go. */
void restore_plan_seccomp(struct session *s, struct thread *th, struct plan *p);

#endif
