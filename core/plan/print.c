/* SPDX-License-Identifier: MIT */
/*
 * print.c: plans as text, for restore --explain and for the message about the
 * operation that failed.  Slots print as s0..s15; in a failure message with the
 * value they had.
 */
#include <errno.h>
#include <linux/sched.h>
#include <string.h>
#include <sys/wait.h>

#include "names.h"
#include "plan.h"

#define TEXT_MAX 200

/* Text in the arena, quoted; an address otherwise. */
static void put_text(struct buf *b, const struct arena *a, uint64_t addr)
{
	size_t room;

	if (addr < a->base || addr - a->base >= a->used) {
		buf_printf(b, "%#lx", addr);
		return;
	}
	room = MIN_OF(a->used - (addr - a->base), (uint64_t)TEXT_MAX);
	buf_printf(b, "\"");
	for (const char *c = (const char *)addr; room-- && *c; c++)
		buf_printf(b, *c >= ' ' && *c < 127 && *c != '"' && *c != '\\' ? "%c" : "\\x%02x", (unsigned char)*c);
	buf_printf(b, "\"");
}

/* run: the thread that ran the operation, for the values of slots; or NULL. */
static void put_operand(struct buf *b, const struct plan *p, const struct blob_op *op, int i, char letter,
			const struct blob_thread *run)
{
	uint64_t value = op->a[i];

	if (op->slotmask & (1u << i)) {
		buf_printf(b, "s%lu", value);
		if (!run || value >= BLOB_SLOTS)
			return;
		buf_printf(b, "=");
		value = (uint64_t)run->slots[value];
	}
	if (letter == 's') {
		put_text(b, p->set->arena, value);
		return;
	}
	if (!names_value(b, letter, value))
		buf_printf(b, value < 10 ? "%lu" : "%#lx", value);
}

static void put_call(struct buf *b, const struct plan *p, const struct blob_op *op, const struct blob_thread *run)
{
	const struct call_name *call = names_call((long)op->nr);
	const char *args = call ? call->args : "xxxxxx";

	if (call)
		buf_printf(b, "%s(", call->name);
	else
		buf_printf(b, "syscall_%u(", op->nr);
	for (int i = 0; i < 6 && args[i]; i++) {
		buf_printf(b, "%s", i ? ", " : "");
		put_operand(b, p, op, i, args[i], run);
	}
	buf_printf(b, ")");
}

static void put_fork(struct buf *b, const struct plan *p, const struct blob_op *op)
{
	const struct clone_args *ca = (const struct clone_args *)op->a[0];
	const struct arena *a = p->set->arena;
	const char *child = "?";

	for (size_t i = 0; i < p->set->plans.n; i++)
		if ((uint64_t)p->set->plans.v[i]->thread == op->a[1])
			child = p->set->plans.v[i]->name;
	buf_printf(b, "clone3 \"%s\"", child);
	if (op->a[0] < a->base || op->a[0] - a->base + sizeof(*ca) > a->used)
		return;
	buf_printf(b, " flags %#llx", ca->flags);
	if (ca->set_tid >= a->base && ca->set_tid_size <= 32 &&
	    ca->set_tid - a->base + ca->set_tid_size * sizeof(pid_t) <= a->used)
		for (size_t i = 0; i < ca->set_tid_size; i++)
			buf_printf(b, " %s%d", i ? "" : "as ", ((const pid_t *)(uintptr_t)ca->set_tid)[i]);
}

static void put_jump(struct buf *b, const struct plan *p, const struct blob_op *op, size_t index)
{
	static const char *const how[] = { "==", "!=", "<", ">=" };

	/* a plan that was never checked may be printed too */
	buf_printf(b, "if s%lu %s %ld go to %ld", op->a[0], op->a[1] < 4 ? how[op->a[1]] : "?", (long)op->a[2],
		   (long)(index + op->a[3]));
}

static void put_simple(struct buf *b, const struct plan *p, const struct blob_op *op, const struct blob_thread *run)
{
	static const struct {
		uint16_t code;
		const char *name;
		const char *args;
	} simple[] = {
		{ BLOB_MOV, "move", "x" },     { BLOB_ADD, "add", "xx" },    { BLOB_COPY, "copy", "xxu" },
		{ BLOB_BARRIER, "barrier", "d" }, { BLOB_PARK, "park", "" }, { BLOB_EXIT, "exit", "d" },
		{ BLOB_KILL, "die by", "g" },  { BLOB_FAIL, "fail", "d" },   { BLOB_LOAD, "load", "x" },
		{ BLOB_STORE, "store", "xx" }, { BLOB_ASK, "ask the engine", "x" },
	};

	for (size_t k = 0; k < ARRAY_SIZE(simple); k++) {
		if (simple[k].code != op->code)
			continue;
		buf_printf(b, "%s", simple[k].name);
		for (int i = 0; simple[k].args[i]; i++) {
			buf_printf(b, "%s", i ? ", " : " ");
			put_operand(b, p, op, i, simple[k].args[i], run);
		}
		return;
	}
	buf_printf(b, "code %u", op->code);
}

static void put_op(struct buf *b, const struct plan *p, size_t index, const struct blob_thread *run)
{
	const struct blob_op *op = &p->ops.v[index];

	if (op->code == BLOB_SYS)
		put_call(b, p, op, run);
	else if (op->code == BLOB_FORK)
		put_fork(b, p, op);
	else if (op->code == BLOB_JMP)
		put_jump(b, p, op, index);
	else
		put_simple(b, p, op, run);
}

static void put_want(struct buf *b, const struct blob_op *op)
{
	if (op->slot != BLOB_NO_SLOT)
		buf_printf(b, " -> s%u", op->slot);
	if (op->code != BLOB_SYS)
		return;
	if (op->want == BLOB_NONNEG)
		buf_printf(b, " >= 0");
	else if (op->want == BLOB_ANY)
		buf_printf(b, " (any result)");
	else if (op->want == BLOB_EXPECT)
		buf_printf(b, " == %ld", (long)op->expect);
}

static const char *origin(const struct plan_set *ps, const struct blob_op *op)
{
	return op->prov < ps->prov.n ? ps->prov.v[op->prov] : "?";
}

void plan_print(const struct plan_set *ps, FILE *out)
{
	for (size_t k = 0; k < ps->plans.n; k++) {
		const struct plan *p = ps->plans.v[k];

		fprintf(out, "%s%s:\n", k ? "\n" : "", p->name);
		for (size_t i = 0; i < p->ops.n; i++) {
			_cleanup_buf_ struct buf b = { 0 };

			put_op(&b, p, i, NULL);
			put_want(&b, &p->ops.v[i]);
			fprintf(out, "%5zu  %-60s  [%s]\n", i, b.p, origin(ps, &p->ops.v[i]));
		}
	}
}

/* What E or W knows when no operation reported a failure. */
static void explain_death(const struct blob_shared *sh, struct buf *b)
{
	int status = sh->dead_status;

	if (!sh->dead_tid) {
		buf_printf(b, "the restore was aborted before any operation failed");
		return;
	}
	buf_printf(b, "the restored task %u died ", sh->dead_tid);
	if (WIFSIGNALED(status))
		buf_printf(b, "by SIG%s", sigabbrev_np(WTERMSIG(status)) ?: "?");
	else
		buf_printf(b, "with exit status %d", WEXITSTATUS(status));
	buf_printf(b, " while it was being restored");
}

static void explain_op(const struct plan *p, size_t index, const struct blob_shared *sh, struct buf *b)
{
	const char *name = strerrorname_np(sh->fail_errno);

	buf_printf(b, "%s: ", p->name);
	put_op(b, p, index, p->thread);
	if (sh->fail_result >= 0)
		buf_printf(b, " = %ld", (long)sh->fail_result);
	else
		buf_printf(b, " = %s (%s)", name ?: "?", strerror(sh->fail_errno));
	if (p->ops.v[index].want == BLOB_EXPECT)
		buf_printf(b, ", expected %ld", (long)p->ops.v[index].expect);
	buf_printf(b, " [%s]", origin(p->set, &p->ops.v[index]));
}

void plan_explain_failure(const struct plan_set *ps, char *buf, size_t size)
{
	/* a copy: tasks that are still dying share the page */
	struct blob_shared sh = *ps->arena->shared;
	_cleanup_buf_ struct buf b = { 0 };

	if (!sh.failed)
		explain_death(&sh, &b);
	else if (sh.fail_thread >= ps->plans.n || sh.fail_op >= ps->plans.v[sh.fail_thread]->ops.n)
		buf_printf(&b, "an unknown operation failed (plan %u, operation %u)", sh.fail_thread, sh.fail_op);
	else
		explain_op(ps->plans.v[sh.fail_thread], sh.fail_op, &sh, &b);
	if (size)
		snprintf(buf, size, "%s", b.p ?: "");
}
