/* SPDX-License-Identifier: MIT */
/*
 * exclude.c: memory that is left out of the images (--exclude-mem).
 *
 * Each value of the option is a rule: addresses, a pattern of the names of mappings, or what programs have marked with
 * MADV_DONTDUMP.  While mappings are collected it is noted what the rules mean: of private memory as addresses of
 * the task, of shared memory as a part of the object, whoever else has it mapped.  Runs of pages are cut by that
 * before they are written; the mapping itself is kept.  A page that is in no image is zero at restore, or what
 * the file has there.
 */
#include "mem_priv.h"

#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>

#include "options.h"

#define RULE_FORMS "[PID:]START-END in hexadecimal, a pattern that begins with / or [ or *, or dontdump"

struct rule {
	struct exclude_rule is;
	const char *text;
	bool used;
};

/* A part of a shared object. */
struct object_part {
	uint64_t dev, ino;
	struct span at;
};

struct exclude {
	VEC(struct rule) rules;
	VEC(struct object_part) parts;
};

void exclude_free(struct exclude *x)
{
	if (!x)
		return;
	vec_free(&x->rules);
	vec_free(&x->parts);
	free(x);
}

static bool parse_hex(const char **at, char end, uint64_t *ret)
{
	char *stop;

	if (!strchr("0123456789abcdefABCDEF", **at) || !**at)
		return false;
	errno = 0;
	*ret = strtoull(*at, &stop, 16);
	if (errno || *stop != end)
		return false;
	*at = stop + (end != 0);
	return true;
}

int exclude_parse(const char *text, struct exclude_rule *ret)
{
	struct exclude_rule r = { .kind = EXCLUDE_RANGE };
	const char *at = text, *colon = strchr(text, ':');
	char *stop;

	if (!strcmp(text, "dontdump")) {
		*ret = (struct exclude_rule){ .kind = EXCLUDE_DONTDUMP };
		return 0;
	}
	if (*text && strchr("/[*", *text)) {
		*ret = (struct exclude_rule){ .kind = EXCLUDE_NAME, .pattern = text };
		return 0;
	}
	if (colon) {
		long pid = strtol(text, &stop, 10);

		if (*text < '0' || *text > '9' || stop != colon || pid <= 0 || pid > 1 << 22)
			return -EINVAL;
		r.pid = pid;
		at = colon + 1;
	}
	if (!parse_hex(&at, '-', &r.at.start) || !parse_hex(&at, 0, &r.at.end))
		return -EINVAL;
	if (r.at.start >= r.at.end || r.at.start % PAGE_BYTES || r.at.end % PAGE_BYTES)
		return -ERANGE;
	*ret = r;
	return 0;
}

int mem_prepare(struct session *s)
{
	struct exclude **x = mem_exclude(s);
	const char *text;

	for (size_t i = 0; (text = opt_item(s->opts, "exclude-mem", i)); i++) {
		struct rule r = { .text = text };
		int err = exclude_parse(text, &r.is);

		if (err == -ERANGE)
			return fail(s, EINVAL, "--exclude-mem %s: not a range of whole pages of %lu bytes", text, PAGE_BYTES);
		if (err)
			return fail(s, EINVAL, "--exclude-mem %s: it is " RULE_FORMS, text);
		if (!*x)
			*x = xcalloc(1, sizeof(**x));
		*vec_push(&(*x)->rules) = r;
	}
	return 0;
}

bool exclude_by_advice(struct session *s)
{
	struct exclude *x = *mem_exclude(s);

	for (size_t i = 0; x && i < x->rules.n; i++)
		if (x->rules.v[i].is.kind == EXCLUDE_DONTDUMP)
			return true;
	return false;
}

/* What the rule means of a; false: nothing. */
static bool meant(const struct exclude_rule *r, pid_t pid, const struct vma_area *a, struct span *ret)
{
	*ret = (struct span){ a->v.start, a->v.end };
	switch (r->kind) {
	case EXCLUDE_NAME:
		return a->v.path[0] && fnmatch(r->pattern, a->v.path, 0) == 0;
	case EXCLUDE_DONTDUMP:
		return a->v.vmflags & VMF(DD);
	case EXCLUDE_RANGE:
		ret->start = MAX_OF(a->v.start, r->at.start);
		ret->end = MIN_OF(a->v.end, r->at.end);
		return ret->start < ret->end && (!r->pid || r->pid == pid);
	}
	return false;
}

static int by_start(const void *a, const void *b)
{
	const struct span *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

/* Sorts spans and makes one of those that overlap or touch. */
static void settle(span_list *l)
{
	size_t n = 0;

	if (l->n < 2)
		return;
	qsort(l->v, l->n, sizeof(*l->v), by_start);
	for (size_t i = 0; i < l->n; i++) {
		if (n && l->v[i].start <= l->v[n - 1].end)
			l->v[n - 1].end = MAX_OF(l->v[n - 1].end, l->v[i].end);
		else
			l->v[n++] = l->v[i];
	}
	l->n = n;
}

void exclude_cut(run_list *runs, const span_list *spans)
{
	run_list out = { 0 };
	size_t k = 0;

	if (!spans->n)
		return;
	for (size_t i = 0; i < runs->n; i++) {
		struct page_run r = runs->v[i];
		uint64_t at = r.start, end = r.start + r.bytes;

		while (k < spans->n && spans->v[k].end <= at)
			k++;
		for (size_t j = k; at < end; j++) {
			struct page_run piece = r;
			uint64_t stop = j < spans->n ? MIN_OF(end, MAX_OF(at, spans->v[j].start)) : end;

			piece.start = at;
			piece.bytes = stop - at;
			piece.off += at - r.start;
			if (piece.bytes)
				*vec_push(&out) = piece;
			at = j < spans->n ? MAX_OF(stop, MIN_OF(end, spans->v[j].end)) : end;
		}
	}
	vec_free(runs);
	*runs = out;
}

/* Not what the kernel gives to every task, nor what a plugin makes anew; a segment that it attaches is an object like others. */
static bool may_leave_out(const struct vma_area *a)
{
	return !vma_is_special(&a->v) && (!a->owned || (a->v.flags & MAP_SHARED && a->v.ino));
}

static void note(struct session *s, struct task *t, const struct vma_area *a, const struct rule *r, struct span sp)
{
	uint64_t into = sp.start - a->v.start + a->v.pgoff;

	log_info("pid %d: %" PRIx64 "-%" PRIx64 " %s is left out (--exclude-mem %s)", task_pid(t), sp.start, sp.end, a->v.path,
		 r->text);
	if (!(a->v.flags & MAP_SHARED))
		*vec_push(&t->mem->excluded) = sp;
	else
		*vec_push(&(*mem_exclude(s))->parts) = (struct object_part){
			makedev(a->v.dev_major, a->v.dev_minor), a->v.ino, { into, into + sp.end - sp.start },
		};
}

void exclude_collect(struct session *s, struct task *t)
{
	struct exclude *x = *mem_exclude(s);
	struct span sp;

	for (size_t i = 0; x && i < t->mem->areas.n; i++) {
		const struct vma_area *a = &t->mem->areas.v[i];

		for (size_t k = 0; k < x->rules.n; k++)
			if (may_leave_out(a) && meant(&x->rules.v[k].is, task_pid(t), a, &sp)) {
				x->rules.v[k].used = true;
				note(s, t, a, &x->rules.v[k], sp);
			}
	}
	settle(&t->mem->excluded);
}

void exclude_of_object(struct session *s, uint64_t dev, uint64_t ino, run_list *runs)
{
	struct exclude *x = *mem_exclude(s);
	span_list spans = { 0 };

	for (size_t i = 0; x && i < x->parts.n; i++)
		if (x->parts.v[i].dev == dev && x->parts.v[i].ino == ino)
			*vec_push(&spans) = x->parts.v[i].at;
	settle(&spans);
	exclude_cut(runs, &spans);
	vec_free(&spans);
}

void mem_collected(struct session *s)
{
	struct exclude *x = *mem_exclude(s);

	for (size_t i = 0; x && i < x->rules.n; i++)
		if (!x->rules.v[i].used && x->rules.v[i].is.kind != EXCLUDE_DONTDUMP)
			log_warn("--exclude-mem %s: the tree has no such memory", x->rules.v[i].text);
}
