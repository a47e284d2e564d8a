/* SPDX-License-Identifier: MIT */
/*
 * Registers to and from the x86 part of the core image.
 *
 * The image has one array for each extended component; where a component lies in
 * the xsave area differs between CPUs and comes from CPUID leaf 13.  A component
 * that the CPU has is written even while unused: xstate_bv says which are.
 */
#include "regs.h"

#include <cpuid.h>
#include <errno.h>
#include <string.h>

#include "core.pb-c.h"
#include "cpu.h"
#include "xsave.h"

#define USER_CS 0x33
#define USER_DS 0x2b

/* Components that the image can carry: bytes, and the array in the message. */
static const struct component {
	uint8_t bit, elem_bytes;
	uint16_t bytes;
	size_t n_off, v_off;
} components[] = {
#define COMPONENT(bit, bytes, field, type) \
	{ bit, sizeof(type), bytes, offsetof(UserX86XsaveEntry, n_##field), offsetof(UserX86XsaveEntry, field) }
	COMPONENT(XC_AVX, 256, ymmh_space, uint32_t),
	COMPONENT(XC_BNDREGS, 64, bndreg_state, uint64_t),
	COMPONENT(XC_BNDCSR, 64, bndcsr_state, uint64_t),
	COMPONENT(XC_OPMASK, 64, opmask_reg, uint64_t),
	COMPONENT(XC_ZMM_HI256, 512, zmm_upper, uint64_t),
	COMPONENT(XC_HI16_ZMM, 1024, hi16_zmm, uint64_t),
	COMPONENT(XC_PKRU, 8, pkru, uint32_t),
};

static size_t *count_of(const struct component *c, const UserX86XsaveEntry *x)
{
	return (size_t *)((char *)x + c->n_off);
}

static void **array_of(const struct component *c, const UserX86XsaveEntry *x)
{
	return (void **)((char *)x + c->v_off);
}

/* As cpu_xfeatures(), once: in a virtual machine every CPUID goes to the hypervisor and takes 20 us and more. */
static uint64_t enabled_components(void)
{
	static uint64_t xcr0;
	static bool known;

	if (!known)
		xcr0 = cpu_xfeatures();
	known = true;
	return xcr0;
}

static size_t find_component(const struct component *c)
{
	uint32_t size, off, ecx, edx;

	if (!(enabled_components() >> c->bit & 1) || !__get_cpuid_count(13, c->bit, &size, &off, &ecx, &edx))
		return 0;
	if (size < c->bytes || off < XSAVE_LEGACY + XSAVE_HEADER || off + c->bytes > ARCH_XSAVE_MAX)
		return 0;
	return off;
}

/* Offset of a component in the xsave area, 0 when this CPU lacks it. Asked for once. */
static size_t component_offset(const struct component *c)
{
	static size_t offsets[ARRAY_SIZE(components)];
	static bool known;

	for (size_t i = 0; !known && i < ARRAY_SIZE(components); i++)
		offsets[i] = find_component(&components[i]);
	known = true;
	return offsets[c - components];
}

/* ---- dump ---- */

static UserX86RegsEntry *gp_to_image(const struct user_regs_struct *gp)
{
	UserX86RegsEntry *e = xcalloc(1, sizeof(*e));

	user_x86_regs_entry__init(e);
	e->r15 = gp->r15, e->r14 = gp->r14, e->r13 = gp->r13, e->r12 = gp->r12;
	e->r11 = gp->r11, e->r10 = gp->r10, e->r9 = gp->r9, e->r8 = gp->r8;
	e->bp = gp->rbp, e->bx = gp->rbx, e->ax = gp->rax, e->cx = gp->rcx;
	e->dx = gp->rdx, e->si = gp->rsi, e->di = gp->rdi, e->orig_ax = gp->orig_rax;
	e->ip = gp->rip, e->cs = gp->cs, e->flags = gp->eflags, e->sp = gp->rsp, e->ss = gp->ss;
	e->fs_base = gp->fs_base, e->gs_base = gp->gs_base;
	e->ds = gp->ds, e->es = gp->es, e->fs = gp->fs, e->gs = gp->gs;
	e->has_mode = 1;
	e->mode = USER_X86_REGS_MODE__NATIVE;
	return e;
}

static UserX86XsaveEntry *xsave_to_image(const uint8_t *area, size_t len)
{
	UserX86XsaveEntry *x = xcalloc(1, sizeof(*x));

	user_x86_xsave_entry__init(x);
	memcpy(&x->xstate_bv, area + XSAVE_LEGACY, sizeof(x->xstate_bv));
	for (size_t i = 0; i < ARRAY_SIZE(components); i++) {
		const struct component *c = &components[i];
		size_t off = component_offset(c);

		if (!off || off + c->bytes > len)
			continue;
		*count_of(c, x) = c->bytes / c->elem_bytes;
		*array_of(c, x) = xcalloc(1, c->bytes);
		memcpy(*array_of(c, x), area + off, c->bytes);
	}
	return x;
}

static UserX86FpregsEntry *fp_to_image(const struct arch_regs *regs)
{
	UserX86FpregsEntry *e = xcalloc(1, sizeof(*e));
	struct user_fpregs_struct fx = { 0 };

	user_x86_fpregs_entry__init(e);
	if (regs->xsave_len >= XSAVE_LEGACY)
		memcpy(&fx, regs->xsave, sizeof(fx));
	e->cwd = fx.cwd, e->swd = fx.swd, e->twd = fx.ftw, e->fop = fx.fop;
	e->rip = fx.rip, e->rdp = fx.rdp;
	e->mxcsr = fx.mxcsr, e->mxcsr_mask = fx.mxcr_mask;
	e->n_st_space = ARRAY_SIZE(fx.st_space);
	e->st_space = xcalloc(1, sizeof(fx.st_space));
	memcpy(e->st_space, fx.st_space, sizeof(fx.st_space));
	e->n_xmm_space = ARRAY_SIZE(fx.xmm_space);
	e->xmm_space = xcalloc(1, sizeof(fx.xmm_space));
	memcpy(e->xmm_space, fx.xmm_space, sizeof(fx.xmm_space));
	if (regs->xsave_len >= XSAVE_LEGACY + XSAVE_HEADER)
		e->xsave = xsave_to_image(regs->xsave, regs->xsave_len);
	return e;
}

/* The format wants the empty ones too. */
static void tls_to_image(const struct arch_regs *regs, ThreadInfoX86 *ti)
{
	ti->n_tls = ARCH_TLS_ENTRIES;
	ti->tls = xcalloc(ARCH_TLS_ENTRIES, sizeof(*ti->tls));
	for (size_t i = 0; i < ARCH_TLS_ENTRIES; i++) {
		UserDescT *d = ti->tls[i] = xcalloc(1, sizeof(*d));
		const struct user_desc *u = &regs->tls[i];

		user_desc_t__init(d);
		d->entry_number = ARCH_TLS_FIRST + i;
		d->read_exec_only = d->seg_not_present = 1;
		if (!u->entry_number)
			continue;
		d->base_addr = u->base_addr;
		d->limit = u->limit;
		d->seg_32bit = u->seg_32bit;
		d->contents_h = u->contents >> 1 & 1;
		d->contents_l = u->contents & 1;
		d->read_exec_only = u->read_exec_only;
		d->limit_in_pages = u->limit_in_pages;
		d->seg_not_present = u->seg_not_present;
		d->usable = u->useable;
	}
}

/* What the kernel would not take (no code, no 16 bits) W finds out. */
static int tls_from_image(const ThreadInfoX86 *ti, struct arch_regs *ret)
{
	for (size_t i = 0; i < ti->n_tls; i++) {
		const UserDescT *d = ti->tls[i];
		struct user_desc *u;

		if (d->entry_number < ARCH_TLS_FIRST || d->entry_number >= ARCH_TLS_FIRST + ARCH_TLS_ENTRIES)
			return -EINVAL;
		u = &ret->tls[d->entry_number - ARCH_TLS_FIRST];
		u->entry_number = d->entry_number;
		u->base_addr = d->base_addr;
		u->limit = d->limit;
		u->seg_32bit = d->seg_32bit;
		u->contents = d->contents_h << 1 | d->contents_l;
		u->read_exec_only = d->read_exec_only;
		u->limit_in_pages = d->limit_in_pages;
		u->seg_not_present = d->seg_not_present;
		u->useable = d->usable;
	}
	return 0;
}

static uint64_t known_components(void)
{
	uint64_t known = 1 << XC_X87 | 1 << XC_SSE;

	for (size_t i = 0; i < ARRAY_SIZE(components); i++)
		known |= 1ull << components[i].bit;
	return known;
}

uint64_t arch_regs_unstorable(const struct arch_regs *regs)
{
	uint64_t used = 0;

	if (regs->xsave_len >= XSAVE_LEGACY + XSAVE_HEADER)
		memcpy(&used, regs->xsave + XSAVE_LEGACY, sizeof(used));
	return used & ~known_components();
}

int arch_regs_to_image(const struct arch_regs *regs, uint64_t clear_tid_addr, struct CoreEntry *core)
{
	ThreadInfoX86 *ti;

	if (regs->xsave_len > ARCH_XSAVE_MAX)
		return -EINVAL;
	if (arch_regs_unstorable(regs))
		return -EOPNOTSUPP;
	ti = xcalloc(1, sizeof(*ti));
	thread_info_x86__init(ti);
	ti->clear_tid_addr = clear_tid_addr;
	ti->gpregs = gp_to_image(&regs->gp);
	ti->fpregs = fp_to_image(regs);
	tls_to_image(regs, ti);
	core->mtype = CORE_ENTRY__MARCH__X86_64;
	core->thread_info = ti;
	return 0;
}

/* ---- restore ---- */

static int gp_from_image(const UserX86RegsEntry *e, struct user_regs_struct *gp)
{
	if (e->has_mode && e->mode != USER_X86_REGS_MODE__NATIVE)
		return -EOPNOTSUPP;
	if (e->cs != USER_CS || e->ss != USER_DS)
		return -EINVAL;
	if (e->fs_base >> 56 || e->gs_base >> 56 || (e->ds | e->es | e->fs | e->gs) >> 16)
		return -EINVAL;
	memset(gp, 0, sizeof(*gp));
	gp->r15 = e->r15, gp->r14 = e->r14, gp->r13 = e->r13, gp->r12 = e->r12;
	gp->r11 = e->r11, gp->r10 = e->r10, gp->r9 = e->r9, gp->r8 = e->r8;
	gp->rbp = e->bp, gp->rbx = e->bx, gp->rax = e->ax, gp->rcx = e->cx;
	gp->rdx = e->dx, gp->rsi = e->si, gp->rdi = e->di, gp->orig_rax = e->orig_ax;
	gp->rip = e->ip, gp->cs = e->cs, gp->eflags = e->flags, gp->rsp = e->sp, gp->ss = e->ss;
	gp->fs_base = e->fs_base, gp->gs_base = e->gs_base;
	gp->ds = e->ds, gp->es = e->es, gp->fs = e->fs, gp->gs = e->gs;
	return 0;
}

/* Whether there is anything in it: all of them begin as zeros. */
static bool holds_something(const struct component *c, const UserX86XsaveEntry *x)
{
	const uint8_t *p = *array_of(c, x);

	for (size_t i = 0; *count_of(c, x) && i < c->bytes; i++)
		if (p[i])
			return true;
	return false;
}

/*
 * Components that are in use and that this CPU lacks.  Protection keys are never among them: every thread has rights
 * for them in the register, whether there are keys or not.
 */
static uint64_t missing_components(const UserX86XsaveEntry *x)
{
	uint64_t missing = x->xstate_bv & ~known_components();

	for (size_t i = 0; i < ARRAY_SIZE(components); i++) {
		const struct component *c = &components[i];

		if (x->xstate_bv >> c->bit & 1 && c->bit != XC_PKRU && !component_offset(c) && holds_something(c, x))
			missing |= 1ull << c->bit;
	}
	return missing;
}

static bool counts_fit(const UserX86XsaveEntry *x)
{
	for (size_t i = 0; i < ARRAY_SIZE(components); i++) {
		size_t n = *count_of(&components[i], x);

		if (n != 0 && n != components[i].bytes / components[i].elem_bytes)
			return false;
	}
	return true;
}

uint64_t arch_regs_missing(const struct CoreEntry *core)
{
	const ThreadInfoX86 *ti = core->thread_info;
	const UserX86XsaveEntry *x = ti && ti->fpregs ? ti->fpregs->xsave : NULL;

	return x && counts_fit(x) ? missing_components(x) : 0;
}

void arch_regs_drop(struct CoreEntry *core, uint64_t mask)
{
	if (core->thread_info && core->thread_info->fpregs && core->thread_info->fpregs->xsave)
		core->thread_info->fpregs->xsave->xstate_bv &= ~mask;
}

/* Copies one component; *len grows to its end. */
static int component_from_image(const struct component *c, const UserX86XsaveEntry *x, uint8_t *area,
				size_t *len)
{
	size_t n = *count_of(c, x), off = component_offset(c);
	bool used = x->xstate_bv >> c->bit & 1;

	if (used && !n)
		return -EINVAL;
	if (!off || !n)
		return 0;
	memcpy(area + off, *array_of(c, x), c->bytes);
	*len = MAX_OF(*len, off + c->bytes);
	return 0;
}

static int xsave_from_image(const UserX86XsaveEntry *x, struct arch_regs *ret)
{
	size_t len = XSAVE_LEGACY + XSAVE_HEADER;
	uint64_t used;

	if (x->cet && x->cet->cet)
		return -EOPNOTSUPP;
	if (!counts_fit(x) || missing_components(x))
		return -EINVAL;
	/* what this CPU lacks is as it begins: the same as not in use */
	used = x->xstate_bv;
	for (size_t i = 0; i < ARRAY_SIZE(components); i++) {
		int err = component_from_image(&components[i], x, ret->xsave, &len);

		if (!component_offset(&components[i]))
			used &= ~(1ull << components[i].bit);

		if (err)
			return err;
	}
	memcpy(ret->xsave + XSAVE_LEGACY, &used, sizeof(used));
	ret->xsave_len = len;
	return 0;
}

/* Bits of mxcsr that this CPU knows, from an fxsave of our own; setting others faults. */
static uint32_t mxcsr_bits(void)
{
	uint8_t area[XSAVE_LEGACY] __attribute__((aligned(16))) = { 0 };
	uint32_t mask;

	__asm__ volatile("fxsave %0" : "+m"(area));
	memcpy(&mask, area + offsetof(struct user_fpregs_struct, mxcr_mask), sizeof(mask));
	return mask ? mask : 0xffbf;
}

static int fp_from_image(const UserX86FpregsEntry *e, struct arch_regs *ret)
{
	struct user_fpregs_struct fx = { 0 };
	uint64_t used = 1 << XC_X87 | 1 << XC_SSE;
	int err = 0;

	if (e->n_st_space != ARRAY_SIZE(fx.st_space) || e->n_xmm_space != ARRAY_SIZE(fx.xmm_space))
		return -EINVAL;
	if (e->cwd > UINT16_MAX || e->swd > UINT16_MAX || e->twd > UINT16_MAX || e->fop > UINT16_MAX)
		return -EINVAL;
	if (e->mxcsr & ~mxcsr_bits())
		return -EINVAL;
	fx.cwd = e->cwd, fx.swd = e->swd, fx.ftw = e->twd, fx.fop = e->fop;
	fx.rip = e->rip, fx.rdp = e->rdp;
	fx.mxcsr = e->mxcsr, fx.mxcr_mask = mxcsr_bits();
	memcpy(fx.st_space, e->st_space, sizeof(fx.st_space));
	memcpy(fx.xmm_space, e->xmm_space, sizeof(fx.xmm_space));
	if (e->xsave) {
		err = xsave_from_image(e->xsave, ret);
	} else {
		ret->xsave_len = XSAVE_LEGACY + XSAVE_HEADER;
		memcpy(ret->xsave + XSAVE_LEGACY, &used, sizeof(used));
	}
	memcpy(ret->xsave, &fx, sizeof(fx));
	/* the kernel takes mxcsr only when a component that needs it is in use */
	if (fx.mxcsr != MXCSR_DEFAULT)
		ret->xsave[XSAVE_LEGACY] |= 1 << XC_SSE;
	return err;
}

int arch_regs_from_image(const struct CoreEntry *core, struct arch_regs *ret, uint64_t *ret_clear_tid_addr)
{
	const ThreadInfoX86 *ti = core->thread_info;
	int err;

	if (core->mtype != CORE_ENTRY__MARCH__X86_64 || !ti || !ti->gpregs || !ti->fpregs)
		return -EINVAL;
	memset(ret, 0, sizeof(*ret));
	err = tls_from_image(ti, ret);
	if (!err)
		err = gp_from_image(ti->gpregs, &ret->gp);
	if (!err)
		err = fp_from_image(ti->fpregs, ret);
	if (!err)
		*ret_clear_tid_addr = ti->clear_tid_addr;
	return err;
}
