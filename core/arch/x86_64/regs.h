/* SPDX-License-Identifier: MIT */
/*
 * regs.h: registers of a stopped thread, the system call convention, and how an
 * interrupted call is restarted.  Only files under arch/ know the architecture.
 */
#ifndef ARCH_REGS_H
#define ARCH_REGS_H

#include <asm/ldt.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

#include "util.h"

/* Largest xsave area we carry: AMX makes it about 11 KiB. */
#define ARCH_XSAVE_MAX 16384

#define ARCH_TLS_FIRST 12 /* GDT_ENTRY_TLS_MIN on x86-64 */
#define ARCH_TLS_ENTRIES 3
struct arch_regs {
	struct user_regs_struct gp; /* PTRACE_GETREGSET NT_PRSTATUS */
	/* thread areas: entries of the global descriptor table (set_thread_area(2)), for 32-bit code and for selectors */
	struct user_desc tls[ARCH_TLS_ENTRIES];
	uint32_t xsave_len;	    /* bytes used of xsave; 0: none */
	uint8_t xsave[ARCH_XSAVE_MAX] __attribute__((aligned(64))); /* NT_X86_XSTATE, standard format */
};

/*
 * Caller is the tracer, tid is in a ptrace stop. 0 or -errno: -ESRCH when it is not (any more),
 * -EOPNOTSUPP for 32-bit tasks, -EINVAL when this CPU lacks a component that regs use.
 */
int arch_get_gp(pid_t tid, struct user_regs_struct *ret);
int arch_set_gp(pid_t tid, const struct user_regs_struct *gp);
int arch_get_regs(pid_t tid, struct arch_regs *ret);
int arch_set_regs(pid_t tid, const struct arch_regs *regs);

/* Prepare gp for an injected call through the syscall instruction at ip; no restart will happen. */
void arch_call_setup(struct user_regs_struct *gp, uint64_t ip, long nr, const uint64_t args[6]);
int64_t arch_call_result(const struct user_regs_struct *gp);
uint64_t arch_sp(const struct user_regs_struct *gp);
uint64_t arch_ip(const struct user_regs_struct *gp);
/* Bytes below the stack pointer that belong to the running function. */
#define ARCH_REDZONE 128
/* Offset of a system call instruction in code, or -ENOENT. */
ssize_t arch_find_syscall(const uint8_t *code, size_t len);

/*
 * Registers for the image: a thread that a freeze interrupted inside a system
 * call (-ERESTARTSYS, NOINTR, NOHAND, RESTART_RESTARTBLOCK) gets registers that
 * make the call again, so that a new task needs no kernel state of the old one.
 * For nanosleep and clock_nanosleep with a remainder pointer the second argument
 * becomes the first: the kernel has just written the time left there.  Others
 * have the limit that the program has given: what is left of it must be set
 * (arch_time_limit()).  None ends with EINTR, and so do those not that the kernel
 * ends so although no handler runs (signal(7): epoll_wait, semtimedop, sigtimedwait,
 * io_getevents, calls on sockets with a time limit; io_uring_enter).
 */
int arch_rewrite_restart(struct user_regs_struct *gp);
/*
 * arch_rewrite_restart() returns how the call was interrupted (an error number that only the kernel knows), 0: there is none.
 * With it this undoes the rewriting: a thread with these registers makes the call again, but for a handler that runs first,
 * after which the call has ended as the kernel would have it. False: no such number.
 */
bool arch_resume_call(struct user_regs_struct *gp, unsigned how);
/* Arguments of the call that a frozen thread was in, and as they are set. */
void arch_call_args(const struct user_regs_struct *gp, uint64_t args[6]);
void arch_set_arg(struct user_regs_struct *gp, int arg, uint64_t value);
/* The relative time limit of a call, in time that goes on while it waits. */
struct arch_limit {
	int arg;	/* which argument has it, */
	bool ms;	/* as a number of ms; else it is the address of a struct timespec */
	uint64_t value; /* that argument */
};
/* Whether the call has one: ret (may be NULL). */
bool arch_time_limit(long nr, const uint64_t args[6], struct arch_limit *ret);
/*
 * What the kernel makes of an interrupted call when a signal handler runs next: EINTR, or, when the handler has
 * SA_RESTART (sa_restart) and for calls that heed it, the call made again afterwards.
 */
void arch_interrupt_call(struct user_regs_struct *gp, bool sa_restart);
/* What the kernel makes of an interrupted call when no handler runs, in the very thread that it was interrupted in. */
void arch_restart_call(struct user_regs_struct *gp);

/*
 * Calls that wait without a time limit but that the kernel ends with EINTR whenever a thread is
 * interrupted (epoll_wait, semop, sigwaitinfo, io_getevents, io_uring_enter; signal(7)): makes the kernel restart them
 * unless a signal handler runs. True when gp has changed. Where there is a time limit EINTR
 * stays: the caller then computes anew how long to wait.
 */
bool arch_restart_endless(struct user_regs_struct *gp);
/*
 * A call that was interrupted twice shows as restart_syscall, which only this very
 * thread can continue.  Tells from the code_len bytes of code that end at ip, and from the
 * arguments, which call it was: its number, or 0 when neither says so clearly.
 */
long arch_restarted_call(const struct user_regs_struct *gp, const uint8_t *code, size_t code_len);
/* True when gp says that a call waits to be continued by restart_syscall. */
bool arch_in_restart(const struct user_regs_struct *gp);

/* Conversion to and from the x86 part of the core image. */
struct ThreadInfoX86;
struct CoreEntry;
/*
 * Fills core->thread_info (allocated; freed with the message) and core->mtype. -EOPNOTSUPP when a
 * component is in use that the format has no place for (AMX tiles).
 */
int arch_regs_to_image(const struct arch_regs *regs, uint64_t clear_tid_addr, struct CoreEntry *core);
/*
 * -EINVAL when the image makes no sense or carries components that this CPU lacks,
 * -EOPNOTSUPP for 32-bit tasks and shadow stacks.
 */
int arch_regs_from_image(const struct CoreEntry *core, struct arch_regs *ret, uint64_t *ret_clear_tid_addr);
/*
 * Components of the extended state (bits as XCR0; cpu.h has their names) that the image's registers use and this CPU, or
 * its kernel, lacks.  One that is as it begins is not in use.
 */
uint64_t arch_regs_missing(const struct CoreEntry *core);
/* Components in use that the format has no place for: those of which arch_regs_to_image() says -EOPNOTSUPP. */
uint64_t arch_regs_unstorable(const struct arch_regs *regs);
/* Takes components out of the image's registers. */
void arch_regs_drop(struct CoreEntry *core, uint64_t mask);

/*
 * clone3(2) whose child continues at entry(arg) on the stack that args describe and
 * never returns here.  Returns the child's pid or -errno.  Used by E and by the blob.
 */
struct clone_args;
long arch_clone3_enter(struct clone_args *args, size_t size, void (*entry)(void *), void *arg);

#endif
