/* SPDX-License-Identifier: MIT */
/*
 * seccomp.c: system call filters, at dump and when the images are read.
 *
 * A thread has a chain of filters, each with the older one that it was stacked on.
 * All chains of the tree lie in one table (seccomp.img); chains that begin alike
 * share their entries, for threads and children inherit filters.  Whether equal
 * filters were really one object the kernel does not tell.
 */
#include "tree_priv.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>

#include "image.h"

#include "seccomp.pb-c.h"

/* linux/seccomp.h; LOG and SPEC_ALLOW: the others are requests, not properties */
#define KEPT_FLAGS (SECCOMP_FILTER_FLAG_LOG | SECCOMP_FILTER_FLAG_SPEC_ALLOW)

#define NO_FILTER UINT32_MAX

/* The filter as the child of prev, known or new: its number. */
static uint32_t intern(SeccompEntry *table, uint32_t prev, const struct seccomp_prog *prog)
{
	size_t len = prog->n * sizeof(prog->insn[0]), n = table->n_seccomp_filters;
	SeccompFilter *f;

	for (size_t i = 0; i < n; i++) {
		f = table->seccomp_filters[i];
		if ((f->has_prev ? f->prev : NO_FILTER) == prev && f->flags == prog->flags && f->filter.len == len &&
		    memcmp(f->filter.data, prog->insn, len) == 0)
			return i;
	}
	f = NEW(SeccompFilter, seccomp_filter__init);
	f->filter.len = len;
	f->filter.data = xcalloc(1, len);
	memcpy(f->filter.data, prog->insn, len);
	f->has_prev = prev != NO_FILTER;
	f->prev = f->has_prev ? prev : 0;
	f->has_flags = 1;
	f->flags = prog->flags;
	table->seccomp_filters = xrealloc(table->seccomp_filters, (n + 1) * sizeof(f));
	table->seccomp_filters[n] = f;
	table->n_seccomp_filters++;
	return n;
}

/* A filter that asks a supervisor: the restored one would have nobody to ask. */
static bool has_supervisor(const struct seccomp_prog *prog)
{
	for (uint32_t i = 0; i < prog->n; i++) {
		struct sock_filter insn;

		memcpy(&insn, &prog->insn[i], sizeof(insn));
		if (insn.code == (BPF_RET | BPF_K) && (insn.k & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_USER_NOTIF)
			return true;
	}
	return false;
}

static int collect_chain(struct session *s, struct thread *th, ThreadCoreEntry *tc)
{
	_cleanup_free_ struct seccomp_prog *prog = xcalloc(1, sizeof(*prog));
	uint32_t last = NO_FILTER;

	if (!s->tree->seccomp)
		s->tree->seccomp = NEW(SeccompEntry, seccomp_entry__init);
	for (uint32_t nth = 0;; nth++) {
		int err = warden_seccomp(s, thread_tid(th), nth, prog);

		if (err < 0)
			return err;
		if (!prog->n)
			break;
		if (has_supervisor(prog))
			refuse(s, "start it without that supervisor", "thread %d has a seccomp filter that asks another process "
			       "(SECCOMP_RET_USER_NOTIF)", thread_tid(th));
		last = intern(s->tree->seccomp, last, prog);
	}
	if (last == NO_FILTER)
		return fail(s, EPROTO, "thread %d has filters and has none", thread_tid(th));
	tc->has_seccomp_filter = 1;
	tc->seccomp_filter = last;
	return 0;
}

int seccomp_collect(struct session *s, struct thread *th, uint32_t mode)
{
	ThreadCoreEntry *tc = th->core->thread_core;

	if (mode == SECCOMP_MODE_DISABLED)
		return 0;
	tc->has_seccomp_mode = 1;
	tc->seccomp_mode = mode == SECCOMP_MODE_STRICT ? SECCOMP_MODE__strict : SECCOMP_MODE__filter;
	return mode == SECCOMP_MODE_FILTER ? collect_chain(s, th, tc) : 0;
}

/* ---- restore ---- */

static int check_filter(struct session *s, const SeccompEntry *e, size_t i)
{
	const SeccompFilter *f = e->seccomp_filters[i];
	size_t steps = 0;

	if (!f->filter.len || f->filter.len % sizeof(struct sock_filter) ||
	    f->filter.len / sizeof(struct sock_filter) > SECCOMP_INSNS)
		return fail(s, EPROTO, "seccomp.img: filter %zu has %zu bytes", i, f->filter.len);
	if (f->has_flags && f->flags & ~KEPT_FLAGS)
		return fail(s, EPROTO, "seccomp.img: filter %zu has flags %#x", i, f->flags);
	for (; f->has_prev; f = e->seccomp_filters[f->prev])
		if (f->prev >= e->n_seccomp_filters || ++steps > e->n_seccomp_filters)
			return fail(s, EPROTO, "seccomp.img: filter %zu has no end", i);
	return 0;
}

/* Older images have it in the state of the process. */
static void take_old_fields(struct task *t)
{
	const TaskCoreEntry *tc = t->threads.v[0]->core->tc;

	for (size_t i = 0; tc->has_old_seccomp_mode && i < t->threads.n; i++) {
		ThreadCoreEntry *th = t->threads.v[i]->core->thread_core;

		if (th->has_seccomp_mode)
			continue;
		th->has_seccomp_mode = 1;
		th->seccomp_mode = tc->old_seccomp_mode;
		th->has_seccomp_filter = tc->has_old_seccomp_filter;
		th->seccomp_filter = tc->old_seccomp_filter;
	}
}

static int check_thread(struct session *s, struct thread *th)
{
	const ThreadCoreEntry *tc = th->core->thread_core;
	size_t n = s->tree->seccomp ? s->tree->seccomp->n_seccomp_filters : 0;

	if (!tc->has_seccomp_mode || tc->seccomp_mode == SECCOMP_MODE__disabled)
		return 0;
	s->tree->has_seccomp = true;
	if (tc->seccomp_mode == SECCOMP_MODE__strict)
		return 0;
	if (tc->seccomp_mode != SECCOMP_MODE__filter || !tc->has_seccomp_filter || tc->seccomp_filter >= n)
		return fail(s, EPROTO, "core-%d.img: seccomp mode %u, filter %u of %zu", thread_vtid(th), tc->seccomp_mode,
			    tc->seccomp_filter, n);
	return 0;
}

int seccomp_load(struct session *s)
{
	ProtobufCMessage *m;
	SeccompEntry *e;
	int err = img_read_one(s, &img_seccomp, CR_IMG_NO_ID, &seccomp_entry__descriptor, &m);

	if (err < 0 && err != -ENOENT)
		return err;
	if (err == 0) {
		s->tree->seccomp = e = (SeccompEntry *)m;
		for (size_t i = 0; i < e->n_seccomp_filters && err == 0; i++)
			err = check_filter(s, e, i);
		if (err < 0)
			return err;
	}
	err = 0;
	FOR_EACH_TASK(t, s->tree) {
		if (t->life == TASK_ZOMBIE)
			continue;
		take_old_fields(t);
		for (size_t i = 0; i < t->threads.n && err == 0; i++)
			err = check_thread(s, t->threads.v[i]);
	}
	return err;
}
