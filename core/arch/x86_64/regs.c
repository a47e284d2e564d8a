/* SPDX-License-Identifier: MIT */
/*
 * Registers of a stopped thread, by ptrace, and the convention of system calls.
 *
 * The extended state travels as the kernel shows it (standard xsave format).  Its
 * size depends on the CPU and the kernel, and the kernel takes nothing but exactly
 * its own size; arch_set_regs() therefore asks for the size first.
 */
#include "regs.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>

#include "fault.h"
#include "xsave.h"

#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif

#ifndef SYS_io_uring_enter
#define SYS_io_uring_enter 426
#endif
#define URING_ENTER_EXT_ARG (1u << 3) /* linux/io_uring.h since 5.11: there may be a time limit */

#ifndef NT_X86_XSTATE
#define NT_X86_XSTATE 0x202
#endif

/* Results with which the kernel marks an interrupted call; never seen by user code (linux/errno.h). */
enum {
	ERESTARTSYS = 512,
	ERESTARTNOINTR = 513,
	ERESTARTNOHAND = 514,
	ERESTART_RESTARTBLOCK = 516,
};

static int get_set(pid_t tid, unsigned long note, void *buf, size_t *len)
{
	struct iovec iov = { .iov_base = buf, .iov_len = *len };

	if (FAULTS("ptrace GETREGSET %#lx of %d", note, tid) || ptrace(PTRACE_GETREGSET, tid, note, &iov) < 0)
		return -errno;
	*len = iov.iov_len;
	return 0;
}

static int set_set(pid_t tid, unsigned long note, const void *buf, size_t len)
{
	struct iovec iov = { .iov_base = (void *)buf, .iov_len = len };

	return FAULTS("ptrace SETREGSET %#lx of %d", note, tid) || ptrace(PTRACE_SETREGSET, tid, note, &iov) < 0 ? -errno : 0;
}

int arch_get_gp(pid_t tid, struct user_regs_struct *ret)
{
	struct user_regs_struct gp;
	size_t len = sizeof(gp);
	int err = get_set(tid, NT_PRSTATUS, &gp, &len);

	if (err)
		return err;
	if (len != sizeof(gp))
		return -EOPNOTSUPP; /* the shorter set of a 32-bit task */
	*ret = gp;
	return 0;
}

int arch_set_gp(pid_t tid, const struct user_regs_struct *gp)
{
	return set_set(tid, NT_PRSTATUS, gp, sizeof(*gp));
}

/* CPUs without xsave have only the old registers. */
static int get_fp(pid_t tid, uint8_t *buf, size_t *len)
{
	int err = get_set(tid, NT_X86_XSTATE, buf, len);

	if (err == -ENODEV) {
		*len = XSAVE_LEGACY;
		err = get_set(tid, NT_PRFPREG, buf, len);
	}
	return err;
}

#define GET_THREAD_AREA 25 /* asm/ptrace-abi.h, which does not get along with sys/ptrace.h */
#define SET_THREAD_AREA 26

static bool is_empty(const struct user_desc *d)
{
	return d->seg_not_present && d->read_exec_only && !d->base_addr && !d->limit;
}

/* Kernels without 32-bit emulation (EIO) have none. */
static int get_areas(pid_t tid, struct arch_regs *ret)
{
	for (int i = 0; i < ARCH_TLS_ENTRIES; i++) {
		struct user_desc *d = &ret->tls[i];

		memset(d, 0, sizeof(*d));
		if (FAULTS("ptrace GET_THREAD_AREA of %d", tid))
			return -errno;
		if (ptrace(GET_THREAD_AREA, tid, ARCH_TLS_FIRST + i, d) < 0) {
			if (errno != EIO)
				return -errno;
			d->seg_not_present = d->read_exec_only = 1;
		}
		d->entry_number = ARCH_TLS_FIRST + i;
	}
	return 0;
}

static int set_areas(pid_t tid, const struct arch_regs *regs)
{
	for (int i = 0; i < ARCH_TLS_ENTRIES; i++) {
		struct user_desc d = regs->tls[i];

		/* a new task has none of its own */
		if (!d.entry_number || is_empty(&d))
			continue;
		d.entry_number = ARCH_TLS_FIRST + i;
		if (FAULTS("ptrace SET_THREAD_AREA of %d", tid) || ptrace(SET_THREAD_AREA, tid, d.entry_number, &d) < 0)
			return -errno;
	}
	return 0;
}

int arch_get_regs(pid_t tid, struct arch_regs *ret)
{
	size_t len = sizeof(ret->xsave);
	int err = arch_get_gp(tid, &ret->gp);

	if (!err)
		err = get_areas(tid, ret);

	if (!err)
		err = get_fp(tid, ret->xsave, &len);
	if (err)
		return err;
	if (len >= sizeof(ret->xsave))
		return -E2BIG; /* possibly cut */
	ret->xsave_len = len;
	return 0;
}

/* Fits src into the kernel's size: what lies behind may only be cut off when it is unused. */
static int fit_xsave(const struct arch_regs *regs, uint8_t *area, size_t len)
{
	size_t n = MIN_OF(len, regs->xsave_len);

	for (size_t i = n; i < regs->xsave_len; i++)
		if (regs->xsave[i])
			return -EINVAL;
	memset(area, 0, len);
	memcpy(area, regs->xsave, n);
	return 0;
}

int arch_set_regs(pid_t tid, const struct arch_regs *regs)
{
	uint8_t area[ARCH_XSAVE_MAX] __attribute__((aligned(64)));
	size_t len = sizeof(area);
	int err = set_areas(tid, regs);

	if (regs->xsave_len > sizeof(regs->xsave))
		return -EINVAL;
	if (!err && regs->xsave_len) {
		err = get_fp(tid, area, &len);
		if (!err)
			err = fit_xsave(regs, area, len);
		if (!err)
			err = set_set(tid, len == XSAVE_LEGACY ? NT_PRFPREG : NT_X86_XSTATE, area, len);
	}
	return err ? err : arch_set_gp(tid, &regs->gp);
}

void arch_call_setup(struct user_regs_struct *gp, uint64_t ip, long nr, const uint64_t args[6])
{
	gp->rip = ip;
	gp->rax = nr;
	gp->orig_rax = -1ul; /* not inside a call: nothing to restart */
	gp->eflags &= ~0x100ul; /* no single steps */
	gp->rdi = args[0];
	gp->rsi = args[1];
	gp->rdx = args[2];
	gp->r10 = args[3];
	gp->r8 = args[4];
	gp->r9 = args[5];
}

int64_t arch_call_result(const struct user_regs_struct *gp)
{
	return gp->rax;
}

uint64_t arch_sp(const struct user_regs_struct *gp)
{
	return gp->rsp;
}

uint64_t arch_ip(const struct user_regs_struct *gp)
{
	return gp->rip;
}

ssize_t arch_find_syscall(const uint8_t *code, size_t len)
{
	for (size_t i = 0; i + 1 < len; i++)
		if (code[i] == 0x0f && code[i + 1] == 0x05)
			return i;
	return -ENOENT;
}

bool arch_restart_endless(struct user_regs_struct *gp)
{
	bool endless = false;

	if ((int64_t)gp->rax != -EINTR)
		return false;
	switch ((int64_t)gp->orig_rax) {
	case SYS_epoll_wait:
	case SYS_epoll_pwait:
		endless = (int)gp->r10 < 0;
		break;
	case SYS_epoll_pwait2:
	case SYS_semtimedop:
		endless = !gp->r10;
		break;
	case SYS_rt_sigtimedwait:
		endless = !gp->rdx;
		break;
	case SYS_io_getevents:
	case SYS_io_pgetevents:
		endless = !gp->r8;
		break;
	case SYS_io_uring_enter:
		endless = !(gp->r10 & URING_ENTER_EXT_ARG);
		break;
	case SYS_semop:
		endless = true;
		break;
	}
	if (endless)
		gp->rax = -ERESTARTNOHAND;
	return endless;
}

bool arch_in_restart(const struct user_regs_struct *gp)
{
	return gp->orig_rax == SYS_restart_syscall && (int64_t)gp->rax == -ERESTART_RESTARTBLOCK;
}

/* The only calls that leave a restart block. */
static bool may_restart(long nr)
{
	return nr == SYS_poll || nr == SYS_nanosleep || nr == SYS_futex || nr == SYS_clock_nanosleep;
}

static bool is_pointer(uint64_t v)
{
	return v >= 65536 && v < 1ull << 47;
}

static long by_arguments(const struct user_regs_struct *gp)
{
	int op = gp->rsi & 127;

	if ((int)gp->rdi < 16 && gp->rdi <= UINT32_MAX && gp->rsi <= TIMER_ABSTIME && is_pointer(gp->rdx))
		return SYS_clock_nanosleep;
	if (!is_pointer(gp->rdi))
		return gp->rdi == 0 && gp->rsi == 0 ? SYS_poll : 0;
	if (is_pointer(gp->rsi))
		return SYS_nanosleep;
	/* 0: FUTEX_WAIT, 9: FUTEX_WAIT_BITSET */
	if (gp->rsi <= 511 && (op == 0 || op == 9) && is_pointer(gp->r10) && gp->rsi & 128)
		return SYS_futex;
	return 0;
}

long arch_restarted_call(const struct user_regs_struct *gp, const uint8_t *code, size_t code_len)
{
	/* mov $nr, %eax or %rax shortly before the call */
	for (size_t i = 5; i <= code_len; i++) {
		const uint8_t *p = code + code_len - i;
		int32_t nr;

		memcpy(&nr, p + 1, sizeof(nr));
		if ((*p == 0xb8 || (*p == 0xc0 && i < code_len - 1 && p[-1] == 0xc7)) && may_restart(nr))
			return nr;
	}
	return by_arguments(gp);
}

/* The time left, just written by the kernel, becomes the time to wait. */
static void sleep_the_rest(struct user_regs_struct *gp)
{
	if (gp->orig_rax == SYS_nanosleep && gp->rsi)
		gp->rdi = gp->rsi;
	if (gp->orig_rax == SYS_clock_nanosleep && !(gp->rsi & TIMER_ABSTIME) && gp->r10)
		gp->rdx = gp->r10;
}

/* Calls that end with EINTR at any interruption, and that can be made again as if nothing had been. */
static bool may_repeat(long nr)
{
	static const uint16_t calls[] = {
		SYS_epoll_wait, SYS_epoll_pwait, SYS_epoll_pwait2, SYS_semop, SYS_semtimedop, SYS_rt_sigtimedwait,
		SYS_io_getevents, SYS_io_pgetevents,
		SYS_io_uring_enter, /* when requests have been taken it says how many instead */
		/* on sockets with SO_RCVTIMEO or SO_SNDTIMEO; nothing has been moved yet */
		SYS_read, SYS_readv, SYS_write, SYS_writev, SYS_connect, SYS_accept, SYS_accept4, SYS_recvfrom, SYS_recvmsg,
		SYS_recvmmsg, SYS_sendto, SYS_sendmsg, SYS_sendmmsg,
	};

	for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
		if (nr == calls[i])
			return true;
	return false;
}

void arch_interrupt_call(struct user_regs_struct *gp, bool sa_restart)
{
	if ((int64_t)gp->orig_rax < 0)
		return;
	switch (-(int64_t)gp->rax) {
	case ERESTARTSYS:
		if (sa_restart)
			break;
		/* fall through */
	case ERESTARTNOHAND:
	case ERESTART_RESTARTBLOCK:
		gp->rax = -EINTR;
		return;
	case ERESTARTNOINTR:
		break;
	default:
		return;
	}
	gp->rax = gp->orig_rax;
	gp->rip -= 2;
}

void arch_restart_call(struct user_regs_struct *gp)
{
	if ((int64_t)gp->orig_rax < 0)
		return;
	switch (-(int64_t)gp->rax) {
	case ERESTART_RESTARTBLOCK:
		gp->rax = SYS_restart_syscall;
		break;
	case ERESTARTSYS:
	case ERESTARTNOINTR:
	case ERESTARTNOHAND:
		gp->rax = gp->orig_rax;
		break;
	default:
		return;
	}
	gp->rip -= 2;
}

int arch_rewrite_restart(struct user_regs_struct *gp)
{
	int how = -(int64_t)gp->rax;

	if ((int64_t)gp->orig_rax < 0)
		return 0;
	switch (how) {
	case ERESTART_RESTARTBLOCK:
		if (gp->orig_rax == SYS_restart_syscall) {
			gp->rax = -EINTR; /* nobody can tell any more which call it was */
			return 0;
		}
		sleep_the_rest(gp);
		how = ERESTARTNOHAND;
		break;
	case EINTR:
		if (!may_repeat(gp->orig_rax))
			return 0;
		how = ERESTARTNOHAND;
		break;
	case ERESTARTSYS:
	case ERESTARTNOINTR:
	case ERESTARTNOHAND:
		break;
	default:
		return 0;
	}
	gp->rax = gp->orig_rax;
	gp->rip -= 2;
	return how;
}

void arch_call_args(const struct user_regs_struct *gp, uint64_t args[6])
{
	const uint64_t v[6] = { gp->rdi, gp->rsi, gp->rdx, gp->r10, gp->r8, gp->r9 };

	memcpy(args, v, sizeof(v));
}

void arch_set_arg(struct user_regs_struct *gp, int arg, uint64_t value)
{
	switch (arg) {
	case 0: gp->rdi = value; break;
	case 1: gp->rsi = value; break;
	case 2: gp->rdx = value; break;
	case 3: gp->r10 = value; break;
	case 4: gp->r8 = value; break;
	case 5: gp->r9 = value; break;
	}
}

/* Calls with a relative limit, and in which argument it is. */
static const struct {
	uint16_t nr;
	uint8_t arg;
	bool ms;
} limits[] = {
	{ SYS_poll, 2, true },		{ SYS_nanosleep, 0, false },	{ SYS_clock_nanosleep, 2, false },
	{ SYS_futex, 3, false },	{ SYS_epoll_wait, 3, true },	{ SYS_epoll_pwait, 3, true },
	{ SYS_epoll_pwait2, 3, false }, { SYS_semtimedop, 3, false },	{ SYS_rt_sigtimedwait, 2, false },
	{ SYS_io_getevents, 4, false }, { SYS_io_pgetevents, 4, false },
};

/* CPU time does not go on while a thread waits: nobody can tell how much of it is left. */
static bool by_cpu_time(uint64_t clock)
{
	return (int)clock < 0 || (int)clock == CLOCK_PROCESS_CPUTIME_ID || (int)clock == CLOCK_THREAD_CPUTIME_ID;
}

bool arch_time_limit(long nr, const uint64_t args[6], struct arch_limit *ret)
{
	struct arch_limit l = { 0 };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(limits) && limits[i].nr != nr; i++)
		;
	if (i == ARRAY_SIZE(limits))
		return false;
	l = (struct arch_limit){ .arg = limits[i].arg, .ms = limits[i].ms, .value = args[limits[i].arg] };
	if (l.ms && (int)l.value < 0)
		return false;
	if (l.ms)
		l.value = (uint32_t)l.value;
	if (!l.value && !l.ms)
		return false;
	/* others than FUTEX_WAIT take a point of time */
	if ((nr == SYS_futex && args[1] & 127) || (nr == SYS_clock_nanosleep && args[1] & TIMER_ABSTIME))
		return false;
	if (nr == SYS_clock_nanosleep && by_cpu_time(args[0]))
		return false;
	if (ret)
		*ret = l;
	return true;
}

bool arch_resume_call(struct user_regs_struct *gp, unsigned how)
{
	if (how != ERESTARTSYS && how != ERESTARTNOINTR && how != ERESTARTNOHAND)
		return false;
	gp->orig_rax = gp->rax;
	gp->rax = -(uint64_t)how;
	gp->rip += 2;
	return true;
}
