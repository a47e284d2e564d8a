/* SPDX-License-Identifier: MIT */
/*
 * seccomp.c: system call filters, as operations.
 *
 * W has suspended seccomp in every task since its birth (PTRACE_O_SUSPEND_SECCOMP),
 * so filters are installed while the engine's privileges are there and act when W
 * lets go.  What all threads of a process have in common the leader installs before
 * it makes them: it stays one chain, so that SECCOMP_FILTER_FLAG_TSYNC works as
 * before.  Longer chains that only some of the threads share become equal copies.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cmd/probe.h"
#include "restore_priv.h"

#include "core.pb-c.h"
#include "seccomp.pb-c.h"

typedef VEC(uint32_t) chain; /* numbers of filters, the oldest first */

static uint32_t mode_of(const struct thread *th)
{
	const ThreadCoreEntry *tc = th->core->thread_core;

	return tc->has_seccomp_mode ? tc->seccomp_mode : SECCOMP_MODE__disabled;
}

static void chain_of(const struct session *s, const struct thread *th, chain *ret)
{
	const SeccompFilter *f;
	uint32_t nr;

	ret->n = 0;
	if (mode_of(th) != SECCOMP_MODE__filter)
		return;
	nr = th->core->thread_core->seccomp_filter;
	for (;;) {
		*vec_push(ret) = nr;
		f = s->tree->seccomp->seccomp_filters[nr];
		if (!f->has_prev)
			break;
		nr = f->prev;
	}
	for (size_t i = 0; i < ret->n / 2; i++) {
		nr = ret->v[i];
		ret->v[i] = ret->v[ret->n - 1 - i];
		ret->v[ret->n - 1 - i] = nr;
	}
}

int restore_check_seccomp(struct session *s)
{
	uint64_t may = 0;

	if (!s->tree->has_seccomp)
		return 0;
	if (probe_seccomp_suspend((struct cr_session *)s, &may) == 0 && may)
		return 0;
	return fail(s, EPERM, "the tree has seccomp filters, which only a restore with CAP_SYS_ADMIN outside of any container, "
			      "and without such filters of its own, can give back");
}

/* The program in the arena, once for all who use it. */
static uint64_t prog_at(struct session *s, struct plan *p, uint32_t nr)
{
	struct tree *tree = s->tree;
	const SeccompFilter *f = tree->seccomp->seccomp_filters[nr];
	struct sock_fprog prog = { .len = f->filter.len / sizeof(struct sock_filter) };

	if (!tree->seccomp_at)
		tree->seccomp_at = xcalloc(tree->seccomp->n_seccomp_filters, sizeof(*tree->seccomp_at));
	if (!tree->seccomp_at[nr]) {
		prog.filter = plan_put(p, f->filter.data, f->filter.len);
		tree->seccomp_at[nr] = (uintptr_t)plan_put(p, &prog, sizeof(prog));
	}
	return tree->seccomp_at[nr];
}

static void install(struct session *s, const struct thread *th, struct plan *p, const chain *c, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		const SeccompFilter *f = s->tree->seccomp->seccomp_filters[c->v[i]];
		uint32_t flags = f->has_flags ? f->flags : 0;

		/* speculation is restored as it was seen; without that the kernel's default for filters stays */
		if (th->extra)
			flags |= SECCOMP_FILTER_FLAG_SPEC_ALLOW;
		plan_origin(p->set, "pid %d tid %d: seccomp filter %u", task_vpid(th->task), thread_vtid(th), c->v[i]);
		plan_sys(p, BLOB_ZERO, SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, prog_at(s, p, c->v[i]));
	}
}

void restore_plan_seccomp_together(struct session *s, struct task *t, struct plan *p)
{
	chain first = { 0 }, other = { 0 };
	size_t n;

	if (!s->tree->has_seccomp)
		return;
	chain_of(s, t->threads.v[0], &first);
	n = first.n;
	for (size_t i = 1; i < t->threads.n && n; i++) {
		size_t same = 0;

		chain_of(s, t->threads.v[i], &other);
		while (same < n && same < other.n && first.v[same] == other.v[same])
			same++;
		n = same;
	}
	install(s, t->threads.v[0], p, &first, 0, n);
	t->filters_together = n;
	vec_free(&first);
	vec_free(&other);
}

void restore_plan_seccomp(struct session *s, struct thread *th, struct plan *p)
{
	chain c = { 0 };

	if (!s->tree->has_seccomp)
		return;
	chain_of(s, th, &c);
	install(s, th, p, &c, th->task->filters_together, c.n);
	vec_free(&c);
	plan_origin(p->set, "pid %d tid %d: strict seccomp", task_vpid(th->task), thread_vtid(th));
	if (mode_of(th) == SECCOMP_MODE__strict)
		plan_sys(p, BLOB_ZERO, SYS_seccomp, SECCOMP_SET_MODE_STRICT, 0, 0);
}
