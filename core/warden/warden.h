/* SPDX-License-Identifier: MIT */
/*
 * warden.h: the tracer process W, as E sees it.
 *
 * W is forked before the first side effect, in its own session with all signals
 * blocked, and is the only ptracer.  E talks to it over a SEQPACKET socket, one
 * request at a time.  End of file without a commit makes W undo everything in
 * reverse order and let the tree run: the death of E is an ordinary abort.  A copy
 * of the journal lies in /run/stasis/<id> while W lives; `stasis recover` replays
 * what a dead W left there.  W runs no plugin code; a child of it does, where an
 * undo record asks for that.
 *
 * All functions run in E, return 0 or -errno recorded in the session.
 */
#ifndef CORE_WARDEN_H
#define CORE_WARDEN_H

#include <signal.h>
#include <stdbool.h>

#include "arch/x86_64/regs.h"
#include "session.h"

/* Forks W. Nothing is traced yet. */
int warden_start(struct session *s);
/* Cheap look whether W still lives, for loops that wait for something else. 0, or -ECHILD recorded. */
int warden_check(struct session *s);
/* W has been started. */
pid_t warden_pid(const struct session *s);

/* ---- dump ---- */

/*
 * Seize and interrupt every thread of the tree below root (a pid as E sees it), to a fixpoint: until a
 * pass over all /proc/PID/task and children finds nothing new. freeze_cgroup: path of a cgroup directory (v1 freezer or v2),
 * frozen first so that nothing forks meanwhile, thawed once all are held by ptrace; its former state is restored
 * at the end; or NULL. Tasks traced by somebody else are refused by name. timeout in seconds
 * (option "timeout", 10).
 */
int warden_freeze(struct session *s, pid_t root, const char *freeze_cgroup, unsigned timeout);

/* System call user dispatch of a thread (prctl(2)), as ptrace gives and takes it. mode 0: none. */
struct syscall_dispatch {
	uint64_t mode, selector, offset, len;
};

/* What only the tracer can read of a stopped thread. */
#define THREAD_SIGNALS 8192
struct thread_state {
	/*
	 * As frozen, but for two cases: a thread inside a restartable sequence (rseq) stands at its abort
	 * address, and orig_ax of a call that is being continued by restart_syscall names that call where it
	 * can be told.
	 */
	struct arch_regs regs;
	uint64_t sigmask;	   /* PTRACE_GETSIGMASK */
	uint64_t rseq_ptr;	   /* PTRACE_GET_RSEQ_CONFIGURATION; 0: none */
	uint32_t rseq_len, rseq_sig;
	struct syscall_dispatch dispatch;
	uint32_t group_stop;	   /* 1: the process was stopped (T) before the freeze; stop_signo */
	uint32_t stop_signo;
	uint32_t nsig_private, nsig_shared; /* siginfos below */
	siginfo_t sig[THREAD_SIGNALS]; /* first the private ones, then the shared; more: -E2BIG, recorded */
};
int warden_thread_state(struct session *s, pid_t tid, struct thread_state *ret);

/* A seccomp filter as it was installed. */
#define SECCOMP_INSNS 4096 /* BPF_MAXINSNS */
struct seccomp_prog {
	uint32_t flags; /* SECCOMP_FILTER_FLAG_* that the kernel remembers */
	uint32_t n;	/* instructions used */
	uint64_t insn[SECCOMP_INSNS]; /* struct sock_filter */
};
/*
 * The nth filter of a frozen thread, 0 is the oldest; ret->n is 0 when it has no more. Needs CAP_SYS_ADMIN in the
 * initial user namespace.
 */
int warden_seccomp(struct session *s, pid_t tid, uint32_t nth, struct seccomp_prog *ret);

/* One injected call. Pointers are offsets into a scratch area of WARDEN_SCRATCH bytes in the task. */
#define WARDEN_SCRATCH 4096
struct inject_call {
	long nr;
	uint64_t args[6];
	uint32_t ptrmask; /* bit i: args[i] is an offset into the scratch area */
	uint32_t out_off, out_len; /* bytes of the scratch area to copy out after the call */
	uint32_t in_off, in_len;   /* bytes of in[] to copy there before the call */
	uint8_t in[128];
	int64_t ret;	  /* result, -errno */
	uint8_t out[256]; /* out_len bytes */
};
/*
 * Runs the calls in thread tid, in order, in one go; registers, signal mask, scratch contents and the restart state are
 * exactly as before when it returns, also after an error. Calls must be read-only. A call that fails has ret < 0, that is
 * not an error of inject itself. tgid: its process (scratch space is chosen from its mappings: below the stack's red zone).
 */
int warden_inject(struct session *s, pid_t tgid, pid_t tid, struct inject_call *calls, size_t n);
/* What is asked of one frozen thread, and what it answers. */
#define THREAD_LOOK_CALLS 4096
struct thread_look {
	pid_t tgid, tid;
	uint64_t caught; /* signals that have handlers (SigCgt of its status) */
	const struct inject_call *calls;
	size_t n; /* at most THREAD_LOOK_CALLS */
	const struct thread_state *state;
	const struct inject_call *answers; /* the calls with their results */
};
/*
 * warden_thread_state() and warden_inject() of many threads in one request; those of one process best follow each other.
 * It is begun and ended, so that E can do something else meanwhile; there are two boards for it, each with one request at a
 * time, which W takes up in the order in which they were begun.  Between the two, E may ask for everything else, which waits
 * until W is done.
 * *ret_done: how many of them have been looked at, at least one: as many as there is room for. state and answers stay where
 * they are until the next look of this board.
 */
#define LOOK_BOARDS 2
int warden_look_begin(struct session *s, unsigned board, const struct thread_look *looks, size_t n);
int warden_look_end(struct session *s, unsigned board, struct thread_look *looks, size_t *ret_done);
/* Would warden_look_end() return at once? */
bool warden_look_ready(const struct session *s, unsigned board);
/* Both at once, with the first board. */
int warden_look(struct session *s, struct thread_look *looks, size_t n, size_t *ret_done);
/*
 * Reads len bytes (at most 1 MiB) of a frozen process at addr, also where it has no access itself: since 6.12 a kernel
 * may leave that to the tracer (proc_mem.force_override=ptrace). One caller at a time. 0 or -errno recorded.
 */
int warden_read(struct session *s, pid_t tgid, uint64_t addr, void *buf, size_t len);

/*
 * A frozen copy of the memory of a frozen process, as a child of it that never runs: *ret_pid, to be read like the process
 * itself until the end.  -errno not recorded: a limit of processes or memory (-EAGAIN, -ENOMEM), nothing has happened then.
 */
int warden_copy(struct session *s, pid_t tgid, pid_t *ret_pid);
/* Lets the tree run on; the copies stay until warden_commit() or warden_abort(). */
int warden_thaw(struct session *s);

/* As cr_core.undo: write-ahead undo record. */
int warden_undo(struct session *s, uint32_t op, int fd, const char *text, int always);

enum warden_end {
	WARDEN_RUN = 1, /* --leave-running: detach; tasks that were stopped stay stopped */
	WARDEN_STOP,	/* --leave-stopped: stop (SIGSTOP) and detach */
	WARDEN_KILL,	/* kill every task, wait until they are gone from the tracer's side */
};
/* The dump succeeded: the point of no return. W exits. */
int warden_commit(struct session *s, enum warden_end how);
/* Undo everything and let the tree run; W exits. Also called by session_free() when neither was. */
void warden_abort(struct session *s);

/* ---- restore ---- */

/* W maps the arena; from now on end of file sets shared->abort and kills every adopted task. */
struct arena;
int warden_arena(struct session *s, const struct arena *a);
/*
 * Seize the restored root, which waits at its first barrier, with EXITKILL and tracing of every
 * fork, vfork and clone: all its descendants are adopted at birth and run on at once; signals they get are passed
 * on. Deaths: expected ones (tids announced with warden_expect_exit: zombies, helpers) are
 * reaped silently so that the real parent sees them; any other sets shared->dead_tid and wakes E.
 */
int warden_adopt(struct session *s, pid_t root);
int warden_expect_exit(struct session *s, const pid_t *tids, size_t n);

/* Final state of one thread; array in the arena. */
struct warden_final {
	pid_t tgid, tid;     /* as E sees them */
	uint32_t leader;     /* unmaps the arena for its process */
	uint32_t stop_signo; /* leader: the process shall be stopped with this signal, 0: running */
	uint64_t syscall_ip; /* leader: address of a syscall instruction outside the arena */
	uint64_t sigmask;
	uint64_t unmap_addr, unmap_len; /* leader */
	struct syscall_dispatch dispatch;
	/*
	 * leader: its parent among the tasks, 0: none; what that one shall yet learn from wait(2): CLD_STOPPED, CLD_CONTINUED
	 * or 0
	 */
	pid_t parent;
	uint32_t news;
	/* leader: a SIGCHLD is queued; the arguments with which it takes one away that comes from the restore */
	uint32_t has_sigchld;
	struct {
		uint64_t set;
		struct timespec zero;
	} take;
	/* the call that the thread makes again has still so long to wait: this argument is to be the address of it; -1: none */
	int32_t late_arg;
	struct timespec left;
	struct arch_regs regs;
};
/*
 * All n threads are parked: stop them, unmap the arena, write registers and signal masks. The tree is complete but still
 * held; an error here kills it. stop_all: leave every process stopped (--leave-stopped).
 */
int warden_finalize(struct session *s, const struct warden_final *table, size_t n, bool stop_all);
/* Clear EXITKILL everywhere, then detach: the point of no return. W exits. */
int warden_release(struct session *s);

/* ---- recovery ---- */

/*
 * `stasis recover`: replays journals in /run/stasis whose W is dead; prints each. plugins: for the records that
 * are theirs. Returns count or -errno.
 */
int warden_recover(struct plugins *plugins, FILE *out);

#endif
