/* SPDX-License-Identifier: MIT */
/* errand.c: registers for the errands of errand.h. */
#include "errand.h"

#include <errno.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "regs.h"

#define TRAP_FLAG 0x100

_Static_assert(offsetof(struct errand_data, dispatch) == 40 && offsetof(struct errand_data, again_ax) == 88 &&
	       offsetof(struct errand_data, flags) == 120 && offsetof(struct errand_data, bx) == 136 &&
	       offsetof(struct errand_data, cpus) == 248, "errand_code.S has other offsets");

static void copy_registers(struct errand_data *d, const struct user_regs_struct *gp)
{
	d->flags = gp->eflags;
	d->sp = gp->rsp;
	d->bx = gp->rbx;
	d->cx = gp->rcx;
	d->dx = gp->rdx;
	d->si = gp->rsi;
	d->di = gp->rdi;
	d->bp = gp->rbp;
	d->r8 = gp->r8;
	d->r9 = gp->r9;
	d->r10 = gp->r10;
	d->r11 = gp->r11;
	d->r12 = gp->r12;
	d->r13 = gp->r13;
	d->r14 = gp->r14;
	d->r15 = gp->r15;
}

bool arch_errand_back(struct errand_data *d, const struct user_regs_struct *gp, uint64_t handled)
{
	struct user_regs_struct again = *gp, ended = *gp;

	arch_restart_call(&again);
	arch_interrupt_call(&ended, false);
	copy_registers(d, gp);
	d->again_ax = again.rax;
	d->again_ip = again.rip;
	d->ended_ax = ended.rax;
	d->ended_ip = ended.rip;
	d->interrupts = ended.rax == again.rax && ended.rip == again.rip ? 0 : handled;
	ended = *gp;
	arch_interrupt_call(&ended, true);
	d->restarts = ended.rip == again.rip && ended.rax == again.rax;
	return !(gp->eflags & TRAP_FLAG);
}

void arch_errand_go(struct user_regs_struct *gp, uint64_t ip, uint64_t room, uint64_t list, int64_t child)
{
	gp->rip = ip;
	gp->rax = 0;
	gp->orig_rax = -1ul; /* not inside a call: nothing to restart */
	gp->r12 = room;
	gp->r13 = child;
	gp->rbx = list;
}

uint64_t arch_errand_room(const struct user_regs_struct *gp)
{
	return gp->r12;
}

int64_t arch_errand_child(const struct user_regs_struct *gp)
{
	return (int64_t)gp->r13;
}
