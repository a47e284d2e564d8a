/* SPDX-License-Identifier: MIT */
/*
 * inject.h: inside of the injection of system calls: the memory of a frozen
 * process, a thread on loan, and the two ways to make it call: step by step
 * (inject.c) and whole lists by code of ours (errand.c).
 */
#ifndef CORE_WARDEN_INJECT_H
#define CORE_WARDEN_INJECT_H

#include "server.h"

#define CALL_TIMEOUT_US 10000000
#define STOPS_MAX 64 /* unrelated stops that one call bears */

/* ---- space.c ---- */

/* /proc/PID/mem of a traced process: a descriptor that is kept until another is asked for, or -errno. */
int wd_memory(struct server *sv, pid_t tgid);
/* What is known of the address space of tgid so far. */
struct space *space_of(struct server *sv, pid_t tgid);
/* Moves memory, also where the process itself may not write. 0, -EFAULT or another -errno. */
int move_memory(struct server *sv, pid_t tgid, bool write, uint64_t addr, void *buf, size_t len);
/* Room for arguments: below the stack, else anywhere; its contents are kept in w. 0 or -errno, recorded. */
int take_scratch(struct server *sv, struct window *w);
int give_scratch_back(struct server *sv, struct window *w);

/* ---- inject.c ---- */

/* Which signals have handlers, in t; what is frozen does not change that. 0 or -errno. */
int learn_caught(struct tracee *t);
/*
 * Takes a HELD thread on loan: its registers are saved, filters suspended; signals are not blocked yet. w->caught is set
 * before; seen: what has just been read of the thread, or NULL.  window_close() puts everything back, also after what has
 * failed in between.
 */
int window_take(struct server *sv, struct tracee *t, const struct thread_state *seen, struct window *w);
/* The thread stays on W's CPU, where that is allowed, until the window is closed. */
void window_narrow(struct server *sv, struct window *w);
/* The thread is dispatched (system call user dispatch): it got SIGSYS instead of its call. */
bool is_dispatched(pid_t tid);

/* ---- errand.c ---- */

/*
 * All calls by the code of arch/x86_64/errand.h, in a window that window_take() has opened. 0, -EOPNOTSUPP: it cannot be
 * done this way, nothing has been called, or another -errno. In each case the window is to be closed next, then
 * errand_forget() called before anybody looks at the process.
 */
int errand_calls(struct server *sv, struct window *w, struct inject_call *calls, size_t n);
/*
 * The same for a fork: a child that shares no memory with the thread and is held before its first instruction: w->born, as
 * W sees it, w->inner, as its parent does.  Should W die before the window is closed, the child ends, and the thread reaps it.
 */
int errand_fork(struct server *sv, struct window *w);
/* Puts the bytes of the vDSO back that the code lies in. */
void errand_forget(struct server *sv);

#endif
