/* SPDX-License-Identifier: MIT */
/*
 * errand.h: the code that a frozen thread runs on the warden's behalf, and what it has to know.
 *
 * It lies, with its data behind it, in bytes of the vDSO that nothing uses, and makes a whole list of system calls in
 * one go.  Each phase ends with a signal that the thread sends itself: a traced thread stops for it, whatever its
 * action is; for one that nobody traces any more it is a signal that is ignored, and the thread goes back by itself to
 * what it was doing.  So the death of the tracer at any time does no harm.
 *
 *	entry	all signals but that one are blocked, room is mapped
 *	run	the calls of the list at rbx are made
 *	copy	a child is made that shares nothing and has no exit signal; by itself it only exits
 *	finish	the room is unmapped
 *	stopped	behind each of them: what follows is only reached without a tracer
 *
 * The way back waits for the copy, whose tracer is the same: it is dying too.
 *
 * The code leaves the stack and the floating point state alone, and restores every register by itself, without
 * rt_sigreturn(2), which would make the kernel forget a call that waits to be continued by restart_syscall.
 */
#ifndef ARCH_ERRAND_H
#define ARCH_ERRAND_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/user.h>

/*
 * One call of the list; a number below 0 ends it.  The result takes the place of the number.  In a list for the entry the
 * upper half of nr says which arguments are offsets in the room (bit 0: a[0]); the results lie at the beginning of the room,
 * 8 bytes each.
 */
struct errand_call {
	int64_t nr;
	uint64_t a[6];
};

#define ERRAND_CPU_BYTES 64
/* Behind the code, at the same offsets as in errand_code.S. */
struct errand_data {
	uint64_t room;	   /* bytes to map, readable and writable */
	uint64_t signo;	   /* the signal */
	uint64_t blocked;  /* signal mask meanwhile */
	/* the way back; all but the registers and the two masks may be 0 */
	uint64_t sigmask;
	uint64_t cpus_len; /* bytes of cpus, the thread's affinity */
	uint64_t dispatch[4]; /* system call user dispatch: mode, offset, length, selector */
	uint64_t interrupts; /* signals with handlers: when one of them is pending, the interrupted call has ended, */
	uint64_t restarts; /* 1: unless the handler has SA_RESTART */
	uint64_t again_ax, again_ip; /* the call goes on */
	uint64_t ended_ax, ended_ip; /* the call has ended with EINTR */
	uint64_t flags, sp, bx, cx, dx, si, di, bp, r8, r9, r10, r11, r12, r13, r14, r15;
	uint8_t cpus[ERRAND_CPU_BYTES];
};

/* The code; its size is a multiple of 8, the data lies right behind it. */
extern const uint8_t arch_errand_code[];
extern const uint32_t arch_errand_size, arch_errand_run, arch_errand_copy, arch_errand_finish,
	arch_errand_stopped; /* bytes; offsets */

/*
 * Fills the registers of d so that the way back leads to gp, the registers of a frozen thread, with the interrupted call
 * restarted as the kernel would. handled: signals that have a handler and are not blocked. False when there is no such
 * way: the thread is stepping through its own code.
 */
bool arch_errand_back(struct errand_data *d, const struct user_regs_struct *gp, uint64_t handled);
/*
 * Registers (from those of the frozen thread) that begin at ip, an entry of the code; list: address of the calls, or 0;
 * child: the copy that has been made, or 0.
 */
void arch_errand_go(struct user_regs_struct *gp, uint64_t ip, uint64_t room, uint64_t list, int64_t child);
/* The address of the room that was mapped, at a stop. 0: there is none. */
uint64_t arch_errand_room(const struct user_regs_struct *gp);
/* The copy that was made, as its parent numbers it, or -errno, at the stop after that. */
int64_t arch_errand_child(const struct user_regs_struct *gp);

#endif
