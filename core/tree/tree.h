/* SPDX-License-Identifier: MIT */
/*
 * tree.h: tasks and threads.
 *
 * At dump a task is found below /proc and filled from there, from W and by injected
 * calls; at restore it is filled from the images.  The protobuf messages are the
 * state: core->thread_core and so on are filled at dump and read at restore, so
 * that there is no second description of the same fields.
 */
#ifndef CORE_TREE_H
#define CORE_TREE_H

#include "arch/x86_64/regs.h"
#include "proc.h"
#include "session.h"

struct mem;
struct fdtable;
struct plan;
struct CoreEntry;
struct TaskKobjIdsEntry;
struct StasisTask;
struct StasisThread;
struct SeccompEntry;

/* Memory policy of a mapping (mbind(2)), or of a thread. */
#define POLICY_NODES 1024
struct mem_policy {
	uint64_t start, end;
	uint32_t mode; /* with its flags */
	uint8_t nodes[POLICY_NODES / 8];
};
typedef VEC(struct mem_policy) policy_list;

enum task_life { TASK_ALIVE = 1, TASK_ZOMBIE = 2, TASK_STOPPED = 3 /* job-control stop */ };

struct thread {
	struct task *task;
	struct pid_levels tid;	/* dump: outermost is E's view; restore: one level, the image's */
	struct arch_regs regs;
	struct CoreEntry *core; /* of this thread; the leader's is the task's */
	struct proc_status *status; /* dump, but for a leader: that is the task's */
	uint64_t kflags;	    /* dump: PF_* of /proc/PID/stat */
	struct plan *plan;	/* restore */
	uint64_t sigmask;
	struct StasisThread *extra; /* what the core image has no field for; part of the task's; NULL: nothing is known */
};

struct task {
	struct task *parent;  /* NULL: root */
	struct task *sibling; /* next child of the same parent */
	struct task *child;   /* first child */
	struct task *next;    /* all tasks, parents before children */
	uint32_t birth;	       /* enum birth: how it is created (birth.h) */
	struct task *creator;  /* who creates it, NULL: E */
	struct task *mem_from; /* restore: whose final address space it inherits at birth; NULL: E's */
	struct pid_levels pid;
	pid_t vsid, vpgid;    /* as in the images; 0: outside the pid namespace */
	uint32_t life;	      /* enum task_life */
	uint32_t stop_signo;
	int exit_code;	      /* zombie: wait status */
	int exit_signal;
	uint32_t news;	      /* what wait(2) has still to tell its parent: CLD_STOPPED, CLD_CONTINUED or 0 */
	struct proc_stat stat;	   /* dump */
	struct proc_status status; /* dump */
	uint64_t brk;		   /* dump: current break */
	int dumpable;		   /* dump: prctl PR_GET_DUMPABLE */
	uint32_t lock_all, pkeys;  /* dump: see struct mem_facts */
	policy_list policies;	   /* dump: of mappings that have one, by address */
	VEC(struct thread *) threads; /* [0] is the leader; a zombie has only that */
	struct TaskKobjIdsEntry *ids;
	struct mem *mem;	/* core/mem */
	struct fdtable *fds;	/* core/fd; shared (CLONE_FILES) between tasks with the same files_id */
	uint32_t cwd_id, root_id, umask; /* file objects; CLONE_FS sharing by fs_id */
	uint32_t exe_id;
	struct StasisTask *extra;  /* as in x-stasis-tasks.img; NULL: nothing is known */
	uint32_t filters_together; /* restore: seccomp filters that all its threads begin with */
};

struct tree {
	struct task *root;
	struct task *all; /* list through next */
	size_t ntasks, nthreads;
	struct SeccompEntry *seccomp; /* all system call filters, NULL: none */
	uint64_t *seccomp_at;	      /* restore: struct sock_fprog of each in the arena, 0: not there yet */
	bool has_seccomp;	      /* restore: some thread has a filter or strict mode */
	kcmp_list by_vm, by_fs; /* dump: who has memory and directories of its own */
	struct asking *asking;	/* dump: tree_ask_begin() */
};

static inline pid_t task_pid(const struct task *t) { return t->pid.nr[0]; }
static inline pid_t task_vpid(const struct task *t) { return t->pid.nr[t->pid.n - 1]; }
static inline pid_t thread_tid(const struct thread *th) { return th->tid.nr[0]; }
static inline pid_t thread_vtid(const struct thread *th) { return th->tid.nr[th->tid.n - 1]; }
#define FOR_EACH_TASK(t, tree) for (struct task *t = (tree)->all; t; t = t->next)
struct task *tree_by_vpid(struct tree *tree, pid_t vpid);
void tree_free(struct tree *tree);

/* ---- dump; E ---- */

/*
 * Finds the tasks below root (as E sees it) in /proc. Frozen: everything must be readable; running (check):
 * what vanishes is left out. Shapes that cannot be dumped are refused by name.
 */
int tree_collect(struct session *s, pid_t root);
/* Before the freeze of the tree below root: since when threads wait in calls with a time limit (waits.c). */
void waits_read(struct session *s, pid_t root);
void waits_free(struct session *s);
/*
 * Registers, signals and what only injected calls tell, of every thread: fills the core messages.  Frozen.  W needs most of
 * the time that this takes, so E can do other things between begin and end, and takes what has been answered every now and
 * then (tree_ask_on()): calls of ours must not be noticed, so nothing of a task's memory is looked at before all its threads
 * have answered (tree_ask_until()).  All but begin do nothing when nothing is being asked.  0 or -errno recorded.
 */
int tree_ask_begin(struct session *s);
int tree_ask_on(struct session *s);
int tree_ask_until(struct session *s, struct task *t);
int tree_ask_end(struct session *s);
void tree_ask_free(struct tree *tree);
/*
 * Dump, frozen, after tree_ask_end(): refuses the tasks that are found to be in a Landlock domain, or warns (--landlock).
 * 0 or -errno recorded.
 */
int landlock_collect(struct session *s);
/* Which objects tasks share, their namespaces, and whether the tree can be made again (birth.h). After the files. */
int tree_collect_ids(struct session *s);
/* Memory of t; -EFAULT when not all of it is there. */
int tree_read(struct task *t, uint64_t addr, void *buf, size_t len);
/* core-*, ids-*, fs-*, pstree, inventory, seccomp. */
int tree_dump(struct session *s);
/* Which plugins took part, so that a restore can ask for them. After everything that plugins write. */
int tree_dump_plugins(struct session *s);

/* ---- restore; E, no effects ---- */

/* inventory, pstree, core-*, ids-*, fs-*: read and validated. */
int tree_load(struct session *s);

/* Facts found by injection that other parts write (mm-*.img). */
struct mem_facts;
void tree_mem_facts(const struct task *t, struct mem_facts *ret);
static inline struct task *task_of(const struct cr_task *t) { return (struct task *)t; }
static inline struct cr_task *cr_task_of(const struct task *t) { return (struct cr_task *)t; }

#endif
