/* SPDX-License-Identifier: MIT */
/*
 * policy.c: memory policies: that of each thread (set_mempolicy(2)) and those of mappings (mbind(2)).
 *
 * get_mempolicy(2) tells them only to the task itself.  Almost no mapping has one, so the nodes are asked for in a second
 * round.  The home node of a policy (set_mempolicy_home_node(2)) the kernel does not tell anybody.
 */
#include "policy.h"

#include "tree_priv.h"

#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TOGETHER 256 /* mappings that are asked about at once, the first of them with everything else */
#define F_ADDR 2 /* MPOL_F_ADDR: of the mapping at this address */
#define MODE_ROOM 16 /* the nodes lie so far behind the mode */

/* False: this kernel has no policies. */
static bool have_policies(void)
{
	static int have = -1;

	if (have < 0)
		have = syscall(SYS_get_mempolicy, NULL, NULL, 0, NULL, 0) == 0;
	return have;
}

static void add_question(struct call_list *c, uint64_t addr)
{
	struct inject_call *k;

	call_add(c, SYS_get_mempolicy, 0, 0, POLICY_NODES, addr, addr ? F_ADDR : 0);
	call_wants_out(c, 0, MODE_ROOM + POLICY_NODES / 8);
	k = &c->v[c->n - 1];
	k->ptrmask |= 1u << 1;
	k->args[1] = k->args[0] + MODE_ROOM;
}

static void take(const struct inject_call *k, struct mem_policy *ret)
{
	ret->mode = 0;
	if (k->ret < 0)
		return;
	memcpy(&ret->mode, k->out, sizeof(ret->mode));
	memcpy(ret->nodes, k->out + MODE_ROOM, sizeof(ret->nodes));
}

StasisPolicy *policy_message(const struct mem_policy *p)
{
	StasisPolicy *e = NEW(StasisPolicy, stasis_policy__init);
	size_t n = sizeof(p->nodes);

	while (n && !p->nodes[n - 1])
		n--;
	e->mode = p->mode;
	e->has_nodes = n != 0;
	e->nodes.len = n;
	e->nodes.data = n ? xcalloc(1, n) : NULL;
	if (n)
		memcpy(e->nodes.data, p->nodes, n);
	return e;
}

void policy_thread_call(struct call_list *c)
{
	add_question(c, 0);
}

void policy_thread_answer(StasisThread *x, const struct call_list *c)
{
	struct mem_policy p;

	take(&c->v[C_POLICY], &p);
	if (p.mode)
		x->policy = policy_message(&p);
}

static void add_mode_questions(const struct task *t, size_t from, struct call_list *c)
{
	for (size_t i = from; i < t->policies.n && i < from + TOGETHER; i++) {
		call_add(c, SYS_get_mempolicy, 0, 0, 0, t->policies.v[i].start, F_ADDR);
		call_wants_out(c, 0, sizeof(uint32_t));
	}
}

int policy_calls(struct session *s, struct task *t, struct call_list *c)
{
	vma_list l = { 0 };
	int err;

	t->policies.n = 0;
	if (!have_policies())
		return 0;
	err = proc_read_maps(task_pid(t), &l);
	if (err < 0)
		return fail(s, -err, "cannot read its mappings (/proc/%d/maps): %s", task_pid(t), strerror(-err));
	for (size_t i = 0; i < l.n; i++)
		*vec_push(&t->policies) = (struct mem_policy){ .start = l.v[i].start, .end = l.v[i].end };
	add_mode_questions(t, 0, c);
	proc_vmas_free(&l);
	return 0;
}

/* The nodes of those that have a policy. */
static int ask_nodes(struct session *s, struct task *t)
{
	struct call_list c = { 0 };
	int err;

	for (size_t i = 0; i < t->policies.n; i++)
		add_question(&c, t->policies.v[i].start);
	err = calls_run(s, t->threads.v[0], &c);
	for (size_t i = 0; i < t->policies.n && err == 0; i++)
		take(&c.v[i], &t->policies.v[i]);
	vec_free(&c);
	return err;
}

/* Keeps those of the mappings [from, from + n) that have a policy, behind the first *kept. */
static void take_modes(struct task *t, const struct inject_call *answers, size_t from, size_t n, size_t *kept)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t mode = 0;

		memcpy(&mode, answers[i].out, sizeof(mode));
		if (answers[i].ret == 0 && mode)
			t->policies.v[(*kept)++] = t->policies.v[from + i];
	}
}

int policy_answers(struct session *s, struct task *t, const struct inject_call *answers)
{
	size_t n = MIN_OF(t->policies.n, (size_t)TOGETHER), kept = 0;
	struct call_list c = { 0 };
	int err = 0;

	take_modes(t, answers, 0, n, &kept);
	for (size_t from = n; from < t->policies.n && err == 0; from += n) {
		c.n = c.scratch = 0;
		add_mode_questions(t, from, &c);
		n = c.n;
		err = calls_run(s, t->threads.v[0], &c);
		if (err == 0)
			take_modes(t, c.v, from, n, &kept);
	}
	vec_free(&c);
	t->policies.n = kept;
	return err || !kept ? err : ask_nodes(s, t);
}

/* ---- restore ---- */

bool policy_sane(const StasisPolicy *p)
{
	return !p || !p->has_nodes || p->nodes.len <= POLICY_NODES / 8;
}

bool policy_same(const StasisPolicy *a, const StasisPolicy *b)
{
	struct policy_args x, y;

	policy_unpack(a, &x);
	policy_unpack(b, &y);
	return x.mode == y.mode && !memcmp(x.nodes, y.nodes, sizeof(x.nodes));
}

static void set_max(struct policy_args *a)
{
	a->max = 0;
	for (size_t i = 0; i < sizeof(a->nodes); i++)
		if (a->nodes[i])
			a->max = POLICY_NODES + 1; /* the kernel takes one less */
}

void policy_unpack(const StasisPolicy *p, struct policy_args *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (!p)
		return;
	ret->mode = p->mode;
	if (p->has_nodes)
		memcpy(ret->nodes, p->nodes.data, p->nodes.len);
	set_max(ret);
}

void policy_own(struct policy_args *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (syscall(SYS_get_mempolicy, &ret->mode, ret->nodes, (unsigned long)POLICY_NODES, NULL, 0) < 0)
		memset(ret, 0, sizeof(*ret));
	set_max(ret);
}

static bool set_own(const struct policy_args *a)
{
	return syscall(SYS_set_mempolicy, a->mode, a->max ? a->nodes : NULL, a->max) == 0;
}

bool policy_usable(const struct policy_args *a)
{
	struct policy_args own;
	bool ok;

	policy_own(&own);
	ok = set_own(a);
	set_own(&own);
	return ok;
}
