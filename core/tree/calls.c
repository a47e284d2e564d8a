/* SPDX-License-Identifier: MIT */
/* calls.c: the list of calls that a thread makes for us at dump. */
#include "tree_priv.h"

#include <fcntl.h>
#include <string.h>

#define BATCH 1024

void call_add(struct call_list *c, long nr, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4)
{
	struct inject_call *k = vec_push(c);

	memset(k, 0, sizeof(*k));
	k->nr = nr;
	k->args[0] = a0;
	k->args[1] = a1;
	k->args[2] = a2;
	k->args[3] = a3;
	k->args[4] = a4;
}

void call_wants_out(struct call_list *c, int arg, uint32_t len)
{
	struct inject_call *k = &c->v[c->n - 1];
	uint32_t room = (len + 15) & ~15u;

	if (c->scratch + room > WARDEN_SCRATCH)
		c->scratch = 0;
	k->ptrmask |= 1u << arg;
	k->args[arg] = k->out_off = c->scratch;
	k->out_len = len;
	c->scratch += room;
}

void call_append(struct call_list *c, const struct inject_call *calls, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		*vec_push(c) = calls[i];
		for (int arg = 0; arg < 6; arg++)
			if (calls[i].ptrmask >> arg & 1)
				call_wants_out(c, arg, calls[i].out_len);
	}
}

int calls_run(struct session *s, struct thread *th, struct call_list *c)
{
	int err = 0;

	for (size_t i = 0; i < c->n && err == 0; i += BATCH)
		err = warden_inject(s, task_pid(th->task), thread_tid(th), c->v + i, MIN_OF(c->n - i, (size_t)BATCH));
	return err;
}

long task_number(pid_t pid, const char *name, int base, long fallback)
{
	struct buf b = { 0 };
	char path[64];
	long n = fallback;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	if (read_piece(AT_FDCWD, path, &b) == 0 && b.len)
		n = strtol(b.p, NULL, base);
	buf_free(&b);
	return n;
}
