/* SPDX-License-Identifier: MIT */
/*
 * plan.c: building plans.  Operations grow in E's heap; what they point to (paths,
 * arrays, clone_args) goes to the arena at once, where its address is final.
 */
#include "plan.h"

#include <linux/sched.h>
#include <stdarg.h>
#include <string.h>

/* Enough for any loop a plan makes over descriptors or timers, few enough to end soon. */
#define PLAN_FUEL (1u << 20)

struct plan_set *plan_set_new(struct session *s, struct arena *a)
{
	struct plan_set *ps = xcalloc(1, sizeof(*ps));

	ps->s = s;
	ps->arena = a;
	*vec_push(&ps->prov) = xstrdup("core");
	return ps;
}

void plan_set_free(struct plan_set *ps)
{
	if (!ps)
		return;
	for (size_t i = 0; i < ps->plans.n; i++) {
		vec_free(&ps->plans.v[i]->ops);
		free(ps->plans.v[i]->name);
		free(ps->plans.v[i]);
	}
	for (size_t i = 0; i < ps->prov.n; i++)
		free(ps->prov.v[i]);
	vec_free(&ps->plans);
	vec_free(&ps->prov);
	free(ps);
}

static char *format(const char *fmt, va_list ap)
{
	char *text = NULL;

	return vasprintf(&text, fmt, ap) < 0 ? xstrdup("?") : text;
}

struct plan *plan_new(struct plan_set *ps, const char *name_fmt, ...)
{
	struct plan *p = xcalloc(1, sizeof(*p));
	struct blob_thread *t = arena_alloc(ps->arena, sizeof(*t), 64);
	va_list ap;

	va_start(ap, name_fmt);
	p->name = format(name_fmt, ap);
	va_end(ap);
	p->set = ps;
	p->index = (uint32_t)ps->plans.n;
	p->thread = t;
	t->index = p->index;
	t->shared = (uint64_t)ps->arena->shared;
	t->stack = (uint64_t)arena_alloc(ps->arena, BLOB_STACK, 4096);
	t->fuel = PLAN_FUEL;
	*vec_push(&ps->plans) = p;
	return p;
}

void plan_origin(struct plan_set *ps, const char *fmt, ...)
{
	char *text;
	va_list ap;

	va_start(ap, fmt);
	text = format(fmt, ap);
	va_end(ap);
	if (strcmp(text, ps->prov.v[ps->prov.n - 1]) == 0) {
		free(text);
	} else {
		*vec_push(&ps->prov) = text;
	}
	ps->cur_prov = (uint32_t)ps->prov.n - 1;
}

void *plan_mem(struct plan *p, size_t bytes, size_t align)
{
	return arena_alloc(p->set->arena, bytes, align);
}

void *plan_put(struct plan *p, const void *data, size_t bytes)
{
	void *at = plan_mem(p, bytes, 16);

	memcpy(at, data, bytes);
	return at;
}

static struct blob_op *plan_push(struct plan *p, enum blob_code code, enum blob_want want)
{
	struct blob_op *op = vec_push(&p->ops);

	*op = (struct blob_op){
		.code = (uint16_t)code,
		.want = (uint8_t)want,
		.slot = BLOB_NO_SLOT,
		.prov = p->set->cur_prov,
	};
	return op;
}

struct blob_op *plan_sysv(struct plan *p, enum blob_want want, long nr, const uint64_t a[6])
{
	struct blob_op *op = plan_push(p, BLOB_SYS, want);

	op->nr = (uint32_t)nr;
	memcpy(op->a, a, sizeof(op->a));
	return op;
}

struct blob_op *plan_op(struct plan *p, enum blob_code code, uint64_t a0, uint64_t a1, uint64_t a2)
{
	struct blob_op *op = plan_push(p, code, BLOB_ANY);

	op->a[0] = a0;
	op->a[1] = a1;
	op->a[2] = a2;
	return op;
}

void plan_barrier(struct plan *p, uint32_t stage)
{
	plan_op(p, BLOB_BARRIER, stage, 0, 0);
}

void plan_fork(struct plan *p, struct plan *child, uint64_t flags, int exit_signal, const pid_t *set_tid, size_t n)
{
	struct clone_args *ca = plan_mem(p, sizeof(*ca), 16);
	struct blob_op *op;

	ca->flags = flags;
	ca->exit_signal = (uint64_t)exit_signal;
	ca->stack = child->thread->stack;
	ca->stack_size = BLOB_STACK;
	if (n) {
		ca->set_tid = (uint64_t)plan_put(p, set_tid, n * sizeof(*set_tid));
		ca->set_tid_size = n;
	}
	op = plan_op(p, BLOB_FORK, (uint64_t)ca, (uint64_t)child->thread, 0);
	op->want = BLOB_NONNEG;
}
