/* SPDX-License-Identifier: MIT */
/*
 * server.h: inside of the warden: what E and W say to each other, and the state
 * of W.  Only files of core/warden include it.
 *
 * E sends one struct wd_request and waits for one struct wd_reply; what is larger
 * lies in the box, memory that both have shared since before the fork.
 *
 * Life of a tracee, dump:      RUNNING (seized, interrupted) -> HELD -> detached
 *                   restore:   RUNNING (adopted)  -> HELD -> detached
 *                   any time:  -> GONE (it died; freed by tracees_sweep())
 * HELD is a stop inside the kernel's signal delivery, with the very registers, signal mask
 * and restart state that the thread had: a PTRACE_EVENT_STOP, or the one for a signal that
 * means nothing to the thread and that it has sent itself (inject.c).
 */
#ifndef CORE_WARDEN_SERVER_H
#define CORE_WARDEN_SERVER_H

#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/ptrace.h>

#include "blob.h"
#include "proc.h"
#include "util.h"
#include "warden.h"

/* ---- protocol ---- */

enum wd_op {
	WD_HELLO = 1,
	WD_FREEZE,   /* n: timeout in s; a: root; box: cgroup directory or "" */
	WD_STATE,    /* a: tid; box <- struct thread_state */
	WD_INJECT,   /* n: calls; a: tgid, tid; box <-> struct inject_call[n] */
	WD_UNDO,     /* n: op; a: always; box: text; with a descriptor or without */
	WD_COMMIT,   /* n: enum warden_end */
	WD_ABORT,
	WD_ARENA,    /* a: base, size, address of struct blob_shared; with a descriptor */
	WD_ADOPT,    /* a: root */
	WD_EXPECT,   /* n: tids; box: pid_t[n] */
	WD_FINALIZE, /* n: threads; a: table, stop_all */
	WD_RELEASE,
	WD_SECCOMP,  /* a: tid, number of the filter; box <- struct seccomp_prog */
	WD_READ,     /* n: bytes; a: tgid, address; box <- memory */
	WD_COPY,     /* a: tgid; box <- pid_t */
	WD_LOOK,     /* n: looks; a: board; board <-> struct wd_look[n] and what they refer to */
	WD_THAW,
};
#define WD_BOX_BYTES (2u << 20)
/* Behind the box: the boards, for what warden_look_begin() asks and warden_look_end() gets. */
#define WD_BOARD_BYTES (4u << 20)
#define WD_BOARDS_BYTES (LOOK_BOARDS * WD_BOARD_BYTES)
struct wd_look {
	pid_t tgid, tid;
	uint64_t caught;
	uint32_t calls, ncalls; /* offset in the board of struct inject_call[ncalls] */
	uint32_t state;		/* set by W: offset in the board of struct thread_state; 0: not done, for lack of room */
};
#define WD_TEXT 320

struct wd_request {
	uint32_t op, n;
	uint64_t a[3];
};
struct wd_reply {
	int32_t err; /* 0 or -errno */
	char text[WD_TEXT]; /* why; "" when err says all */
};

/* ---- tracees (trace.c) ---- */

enum tracee_state { TR_RUNNING = 1, TR_HELD, TR_GONE };
#define TRACEE_BUCKETS 1024

struct tracee {
	struct tracee *next;  /* all, in order of discovery: parents before children at a dump */
	struct tracee *chain; /* same bucket */
	pid_t tgid, tid;      /* tgid 0: not known yet (restore) */
	uint8_t state;	      /* enum tracee_state */
	uint8_t stop_signo;   /* job control stop: its signal; 0: none */
	bool expected;	      /* may die */
	bool listed;	      /* restore: in the table of warden_finalize() */
	bool told;	      /* dump: E has said which signals have handlers: */
	uint64_t caught;
};

struct tracees {
	struct tracee *first, **last;
	struct tracee *bucket[TRACEE_BUCKETS];
	size_t n; /* without those gone */
};

/* ---- journal (journal.c) ---- */

struct undo {
	uint32_t op; /* enum cr_undo_op */
	bool always;
	int fd; /* own duplicate, -1: text is an absolute path */
	char *text;
};

struct journal {
	char *dir;   /* /run/stasis/<id> */
	int dirfd;
	int fd;	     /* <dir>/journal, locked while W lives; -1: none */
	VEC(struct undo) undos;
};

/* ---- cgroup freezer (cgroup.c) ---- */

struct freezer {
	char *path;
	int dirfd; /* -1: no freezer in use */
	bool v2;
	bool was_frozen; /* as found */
	bool frozen;	 /* by us, right now */
	unsigned *seizes; /* shared with the watchdog: counts those that are done */
};

struct mem_range {
	uint64_t start, end;
};

/* What injection needs to know of an address space; of the process asked last. */
struct space {
	pid_t tgid;
	bool known; /* its mappings: */
	uint64_t syscall_ip;
	uint64_t code; /* address of errand.c's code; 0: not looked for yet */
	struct mem_range vdso;
	VEC(struct mem_range) rw; /* private, readable, writable */
	bool no_errand; /* errand.c cannot work there */
	bool changed;	/* the code lies there now */
};

/* A thread on loan (inject.c). */
struct window {
	struct tracee *t;
	struct user_regs_struct saved;
	uint64_t sigmask;
	struct syscall_dispatch dispatch; /* off meanwhile: it would turn our calls into SIGSYS */
	uint64_t ip; /* of a syscall instruction */
	uint64_t scratch;
	bool lent;	 /* its registers are ours */
	bool has_cpus;	 /* cpus is known: where it may run otherwise */
	bool narrowed;	 /* to one CPU */
	cpu_set_t cpus;
	/* errand.c */
	unsigned long born; /* a copy: its pid, */
	int64_t inner;	    /* and that which its parent sees, 0: there is none */
	uint64_t caught; /* signals with handlers */
	uint64_t code;	 /* address of the code */
	int signo;	 /* with which it stops; */
	bool at_own_stop; /* it has, and is there, */
	struct user_regs_struct stopped; /* with these registers */
	bool foreign;	 /* somebody else has sent that signal meanwhile: */
	siginfo_t info;
	uint8_t memory[WARDEN_SCRATCH]; /* what lay there */
};

/* A frozen copy of a process's memory (copy.c): a child of it that never runs. */
struct copy {
	pid_t of;    /* tgid */
	pid_t pid;   /* as W sees it */
	pid_t inner; /* as its parent does */
};

struct server {
	VEC(struct copy) copies;
	int sock, sigfd, engine_fd;
	int start_err; /* 0, or why one of them could not be had */
	pid_t engine;
	struct plugins *plugins; /* for undo_by_plugin() alone */
	void *box;
	char text[WD_TEXT]; /* first cause of the current request */
	struct tracees t;
	struct journal j;
	struct freezer fz;
	struct space space;
	pid_t mem_of; /* whose /proc/PID/mem memfd is, 0: nobody's */
	int memfd;
	cpu_set_t cpus; /* as found */
	bool pinned;	/* to `cpu`, near the thread that calls are injected into */
	int cpu;
	/* restore */
	struct blob_shared *shared;
	uint64_t base, size;
	bool adopting;
	VEC(pid_t) expected;
	bool finished; /* committed, aborted or released: leave */
};

/* Main of W; never returns. */
void warden_server(int sock, void *box, pid_t engine, int log_fd, struct plugins *plugins) __attribute__((noreturn));
/* Records the first cause of the current request; returns err (negative). */
int wd_fail(struct server *sv, int err, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* 0 or -errno */
int pt(int request, pid_t tid, uintptr_t addr, uintptr_t data);
/* The same for what puts a thread back as it was: a failure is not the last word. */
int pt_sure(int request, pid_t tid, uintptr_t addr, uintptr_t data);
int set_gp_sure(pid_t tid, const struct user_regs_struct *gp);
int get_gp_sure(pid_t tid, struct user_regs_struct *ret);
struct tracee *tracee_find(struct server *sv, pid_t tid); /* NULL: none, or gone */
struct tracee *tracee_add(struct server *sv, pid_t tgid, pid_t tid);
void tracee_gone(struct server *sv, struct tracee *t);
/* Frees those that are gone; pointers to them become invalid. */
void tracees_sweep(struct server *sv);
#define FOR_EACH_TRACEE(x, sv) \
	for (struct tracee *x = (sv)->t.first; x; x = x->next) \
		if (x->state != TR_GONE)

/*
 * Seizes and interrupts one thread, which becomes RUNNING.  Only between seizes_begin() and waits_end(); deadline: now_us().
 * 1: done, or it was ours already; 0: there is nothing to trace; -errno: recorded.
 */
int tracee_seize(struct server *sv, pid_t pid, pid_t tid);
void seizes_begin(struct server *sv, uint64_t deadline);
/* Next wait status of tid. 0, -ETIMEDOUT at deadline (now_us()), -ESRCH: dead and reaped, or a zombie. */
int tracee_wait(pid_t tid, int *ret_status, uint64_t deadline);
/*
 * The same for a stop that comes at once: sleeps in the kernel, which wakes W on the CPU where the thread stops.  Only
 * between waits_begin() and waits_end(), where a timer looks after the deadline.
 */
int tracee_wait_soon(pid_t tid, int *ret_status, uint64_t deadline);
#define WAITS_SECOND 1000000
void waits_begin(uint32_t us); /* each so many microseconds a wait ends, to look */
/* The same with a handler of one's own, installed with those flags of sigaction(2). */
void alarms_begin(uint32_t us, void (*handler)(int), int flags);
void waits_end(void);
enum stop_kind { STOP_DEAD = 1, STOP_EVENT, STOP_SYSCALL, STOP_SIGNAL, STOP_OTHER };
/* What a wait status means; *ret_sig: of STOP_SIGNAL the signal to pass on, of STOP_EVENT the job control signal or 0. */
enum stop_kind stop_kind_of(int status, int *ret_sig);
/*
 * Takes one status of an interrupted thread: 1 when it is HELD now, 0 when it runs on (signals
 * are passed on, the interrupt is renewed), -ESRCH when it is gone.
 */
int tracee_settle(struct server *sv, struct tracee *t, int status);
/* Waits until an interrupted thread is HELD. */
int tracee_hold(struct server *sv, struct tracee *t, uint64_t deadline);
int tracee_hold_soon(struct server *sv, struct tracee *t, uint64_t deadline); /* as tracee_wait_soon() */
/*
 * Puts the process of t (HELD) into a job control stop by signo, without running an instruction of it;
 * SIGSTOP instead when signo would not stop it. All threads must be HELD; they stop when they are detached.
 */
int tracee_group_stop(struct server *sv, struct tracee *t, int signo);
/* Detaches everybody; those that run are stopped first where possible. */
void tracees_detach(struct server *sv);
/* Kills every process and reaps it from the tracer's side. 0 or -ETIMEDOUT. */
int tracees_kill(struct server *sv, uint64_t deadline);

/* ---- dump ---- */
int wd_freeze(struct server *sv, pid_t root, const char *cgroup, unsigned timeout);
int wd_thread_state(struct server *sv, pid_t tid, struct thread_state *ret);
int wd_seccomp(struct server *sv, pid_t tid, uint64_t nth, struct seccomp_prog *ret);
int wd_inject(struct server *sv, pid_t tgid, pid_t tid, struct inject_call *calls, size_t n);
int wd_look(struct server *sv, struct wd_look *looks, size_t n);
/* Memory of a traced process into the box. -EFAULT and the like are not recorded. */
int wd_read(struct server *sv, pid_t tgid, uint64_t addr, size_t len);
/* how: enum warden_end, 0: abort. */
int wd_end(struct server *sv, uint32_t how);

/*
 * A thread on loan (inject.h): window_call() makes calls from w->ip; window_close() puts everything back.  window_report()
 * records an error of them.  know_space() finds w->ip.
 */
int know_space(struct server *sv, pid_t tgid);
int window_call(struct window *w, long nr, const uint64_t args[6], int64_t *ret);
int window_close(struct server *sv, struct window *w);
int window_report(struct server *sv, struct tracee *t, int err);
/* Makes a copy of tgid. 0 or -errno; *ret_pid: in W's pid namespace. The process is as it was, also after an error. */
int wd_copy(struct server *sv, pid_t tgid, pid_t *ret_pid);
/* Lets the tree run and keeps the copies; what is always undone is undone. An abort is possible still. */
int wd_thaw(struct server *sv);
/* Ends the copies and removes what is left of them from their parents. */
void copies_end(struct server *sv);
/* After the death of another W: the same for one copy, from its note in the journal; tells out. */
void copy_recover(const char *note, FILE *out);

/* W may run anywhere again. */
void leave_cpu(struct server *sv);
/*
 * One injected call in a thread that is HELD, without scratch space; for the restore side, between waits_begin() and
 * waits_end().
 */
int inject_one(struct server *sv, struct tracee *t, uint64_t syscall_ip, long nr, const uint64_t args[6],
	       int64_t *ret_result);
/* System call user dispatch of a stopped thread: 0 or -errno; a kernel that does not know it: none. */
int dispatch_get(pid_t tid, struct syscall_dispatch *ret);
extern bool dispatch_untold; /* by dispatch_get(): this kernel has it but does not show it (5.11 to 6.3) */
int dispatch_set(pid_t tid, const struct syscall_dispatch *d);
/* Address of a stopped thread's struct rseq, 0: none. */
uint64_t rseq_area(pid_t tid);
/* When gp->ip is in a restartable sequence (area: see above): moves it to the abort address, as the kernel would. */
void rseq_abort(struct server *sv, pid_t tgid, uint64_t area, struct user_regs_struct *gp);

/* path: directory of a v1 freezer or v2 cgroup. Freezes it, or finds it frozen; the undo record comes first. */
int freezer_freeze(struct server *sv, const char *path, uint64_t deadline);
/* Thaws, so that the threads can reach their stops. */
int freezer_thaw(struct server *sv);
/* As found. */
void freezer_restore(struct server *sv);
/*
 * v1 only: while the cgroup is frozen, seizing a stopped task blocks until it is thawed. Starts a child that
 * thaws it as soon as fz.seizes stands still. Its pid, 0: none is needed, -errno: recorded.
 */
pid_t freezer_watchdog(struct server *sv);
void freezer_watchdog_end(pid_t pid);

#define JOURNAL_NEW "new-" /* behind a dot: prefix of a directory that is being made */
int journal_open(struct server *sv);
/* The record is in the file when this returns. fd is taken over (closed by the journal). */
int journal_add(struct server *sv, uint32_t op, int fd, const char *text, bool always);
/* Free text for the reader of a leftover journal. */
void journal_note(struct server *sv, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Replays in reverse; how: enum warden_end, then only what is always undone; 0: everything. */
void journal_replay(struct server *sv, uint32_t how);
/* Undoes what is always undone, and keeps the rest. */
void journal_thaw(struct server *sv);
void journal_close(struct server *sv); /* removes the directory */
/* Directory of all journals, created when missing. fd or -errno; *ret_path to be freed. */
int journal_base(bool create, char **ret_path);
/* One undo step; fd -1: text is a path (WRITE: path_of_file is). 0 or -errno. */
int undo_step(uint32_t op, int fd, const char *path, const char *text);
/* CR_UNDO_SOCKOPT. fd -1: link is the socket's name in /proc/PID/fd; one that is gone is fine. 0 or -errno. */
int undo_sockopt(int fd, const char *link, const char *text);
/* CR_UNDO_PLUGIN: text is "PLUGIN TEXT"; fd may be -1. 0 or -errno: -ENOPKG: the plugin is not there. */
int undo_by_plugin(struct plugins *plugins, int fd, const char *text);

/* ---- restore ---- */
int wd_arena(struct server *sv, int fd, uint64_t base, uint64_t size, uint64_t shared);
int wd_adopt(struct server *sv, pid_t root);
/* EPERM of ptrace(2): " (kernel.yama.ptrace_scope is …)" where that may be why; "" elsewhere. (freeze.c) */
const char *yama_hint(void);
int wd_expect(struct server *sv, const pid_t *tids, size_t n);
int wd_finalize(struct server *sv, uint64_t table, size_t n, bool stop_all);
int wd_release(struct server *sv);
/* Handles all wait statuses that are there (restore). */
void adopt_pump(struct server *sv);
/* The restore failed: everybody adopted dies. */
void adopt_abort(struct server *sv);

#endif
