/* SPDX-License-Identifier: MIT */
/*
 * link.c: checks plans and copies their operations into the arena.  A plan that
 * links cannot leave its list of operations, wait for a stage that nobody releases,
 * or start a thread that is not a plan of the set; what its system calls do is not
 * judged here.
 */
#include "plan.h"

#include <errno.h>
#include <linux/sched.h>
#include <signal.h>
#include <string.h>

#include "fault.h"

#define SLOT_IS_ARG(op, i) ((op)->slotmask & (1u << (i)))

/* State of one check: which plans are started by a fork, indexed as the set. */
struct linker {
	struct plan_set *ps;
	bool *forked;
};

static int bad(const struct plan *p, size_t i, const char *what)
{
	const struct plan_set *ps = p->set;
	uint32_t prov = i < p->ops.n ? p->ops.v[i].prov : 0;

	return fail(ps->s, EINVAL, "the restore plan of %s is wrong at operation %zu (%s): %s", p->name, i,
		    prov < ps->prov.n ? ps->prov.v[prov] : "?", what);
}

static bool in_arena(const struct arena *a, uint64_t addr, uint64_t bytes)
{
	return addr >= a->base && addr - a->base <= a->used && bytes <= a->used - (addr - a->base);
}

static const struct plan *plan_of_thread(const struct plan_set *ps, uint64_t thread)
{
	for (size_t i = 0; i < ps->plans.n; i++)
		if ((uint64_t)ps->plans.v[i]->thread == thread)
			return ps->plans.v[i];
	return NULL;
}

static int check_fork(struct linker *l, const struct plan *p, size_t i)
{
	const struct blob_op *op = &p->ops.v[i];
	const struct plan *child;

	if (op->slotmask)
		return bad(p, i, "a fork takes no slots");
	if (!in_arena(l->ps->arena, op->a[0], sizeof(struct clone_args)))
		return bad(p, i, "clone_args outside the arena");
	child = plan_of_thread(l->ps, op->a[1]);
	if (!child || child == p)
		return bad(p, i, "forks a thread that is no plan of the set");
	if (l->forked[child->index])
		return bad(p, i, "forks a plan that another operation forks too");
	l->forked[child->index] = true;
	return 0;
}

static int check_jump(const struct plan *p, size_t i)
{
	const struct blob_op *op = &p->ops.v[i];
	int64_t by = (int64_t)op->a[3];

	if (op->slotmask)
		return bad(p, i, "a jump takes no slots as operands but its first");
	if (op->a[0] >= BLOB_SLOTS || op->a[1] > 3)
		return bad(p, i, "bad condition of a jump");
	if (by < -(int64_t)i || by >= (int64_t)(p->ops.n - i))
		return bad(p, i, "jumps out of the plan");
	return 0;
}

static int check_operands(const struct plan *p, size_t i)
{
	const struct blob_op *op = &p->ops.v[i];

	if (op->slot != BLOB_NO_SLOT && op->slot >= BLOB_SLOTS)
		return bad(p, i, "no such result slot");
	if (op->want > BLOB_EXPECT)
		return bad(p, i, "unknown expectation");
	if (op->slotmask >> 6)
		return bad(p, i, "no such operand");
	for (int k = 0; k < 6; k++)
		if (SLOT_IS_ARG(op, k) && op->a[k] >= BLOB_SLOTS)
			return bad(p, i, "no such slot");
	return 0;
}

static int check_op(struct linker *l, const struct plan *p, size_t i)
{
	const struct blob_op *op = &p->ops.v[i];
	int r = check_operands(p, i);

	if (r < 0)
		return r;
	switch (op->code) {
	case BLOB_SYS:
	case BLOB_MOV:
	case BLOB_ADD:
	case BLOB_COPY:
	case BLOB_LOAD:
	case BLOB_STORE:
	case BLOB_ASK:
	case BLOB_PARK:
	case BLOB_EXIT:
		return 0;
	case BLOB_JMP:
		return check_jump(p, i);
	case BLOB_FORK:
		return check_fork(l, p, i);
	case BLOB_BARRIER:
		if (op->slotmask || op->a[0] == 0 || op->a[0] >= BLOB_STAGES)
			return bad(p, i, "no such stage");
		return 0;
	case BLOB_KILL:
		if (op->slotmask || op->a[0] == 0 || op->a[0] >= NSIG)
			return bad(p, i, "no such signal");
		return 0;
	case BLOB_FAIL:
		if (op->slotmask || op->a[0] == 0 || op->a[0] > 4095)
			return bad(p, i, "no such error");
		return 0;
	}
	return bad(p, i, "unknown code");
}

static int check_plan(struct linker *l, const struct plan *p)
{
	uint16_t last = p->ops.n ? p->ops.v[p->ops.n - 1].code : 0;

	if (p->ops.n > UINT32_MAX)
		return bad(p, 0, "too many operations");
	for (size_t i = 0; i < p->ops.n; i++) {
		int r = check_op(l, p, i);

		if (r < 0)
			return r;
	}
	if (last != BLOB_PARK && last != BLOB_EXIT && last != BLOB_KILL && last != BLOB_FAIL)
		return bad(p, p->ops.n ? p->ops.n - 1 : 0, "does not end in park, exit, kill or fail");
	return 0;
}

/* A fault point for each operation that may fail: FAIL takes the place of the one that shall. */
static void may_fail(const struct plan *p, struct blob_op *op)
{
	int err;

	if (op->code != BLOB_FORK && (op->code != BLOB_SYS || op->want == BLOB_ANY))
		return;
	err = fault_point_of(FAULT_TASK, "%s: %s", p->name, p->set->prov.v[op->prov]);
	if (!err)
		return;
	op->code = BLOB_FAIL;
	op->slotmask = 0;
	op->a[0] = -err;
}

int plan_link(struct plan_set *ps)
{
	struct linker l = { .ps = ps, .forked = xcalloc(ps->plans.n, sizeof(bool)) };
	int r = 0;

	for (size_t i = 0; i < ps->plans.n && r == 0; i++)
		r = check_plan(&l, ps->plans.v[i]);
	free(l.forked);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ps->plans.n; i++) {
		struct plan *p = ps->plans.v[i];
		size_t bytes = p->ops.n * sizeof(p->ops.v[0]);
		struct blob_op *ops = arena_alloc(ps->arena, bytes, 64);

		memcpy(ops, p->ops.v, bytes);
		for (uint32_t n = 0; fault_on && n < p->ops.n; n++)
			may_fail(p, &ops[n]);
		p->thread->ops = (uint64_t)ops;
		p->thread->nops = (uint32_t)p->ops.n;
	}
	return 0;
}
