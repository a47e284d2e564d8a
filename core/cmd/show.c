/* SPDX-License-Identifier: MIT */
/*
 * stasis show [DIR]: what an image directory (DIR or --images-dir) holds, as text or,
 * with --json, as one object.  Works on images of any engine that writes this
 * format, also on incomplete sets (a pre-dump has no core images): what has no
 * image is left out, what is damaged is an error.  Everything is read before
 * anything is printed.
 *
 * The images may be hostile, so every table is read once however many tasks refer
 * to it, and the task tree is walked without recursion.
 */
#include "show.h"

#include <errno.h>
#include <string.h>

#include "cmd.h"
#include "core.pb-c.h"
#include "fdinfo.pb-c.h"
#include "image.h"
#include "inventory.pb-c.h"
#include "mem.h"
#include "mm.pb-c.h"
#include "options.h"
#include "pagemap.pb-c.h"
#include "pstree.pb-c.h"
#include "stats.pb-c.h"

#define NAME_BYTES 4096 /* longer names of files are cut */

/* Message freed at the end of the scope. */
static void cleanup_message(ProtobufCMessage **m)
{
	if (*m)
		protobuf_c_message_free_unpacked(*m, NULL);
}
#define _cleanup_message_ __attribute__((cleanup(cleanup_message)))

static void add(uint64_t *sum, uint64_t n)
{
	if (__builtin_add_overflow(*sum, n, sum))
		*sum = UINT64_MAX;
}

/*
 * Calls each() for every message of an image: 0, or -errno recorded.  An image that does
 * not exist is an error with required, otherwise it has no messages.
 */
static int each_message(struct session *s, const struct cr_img_type *type, uint64_t id, bool required,
			const ProtobufCMessageDescriptor *d,
			int (*each)(struct session *s, const void *msg, void *arg), void *arg)
{
	struct cr_reader *r;
	int n = img_open(s, type, id, &r);

	if (n == -ENOENT && required)
		return fail(s, ENOENT, "there is no %s.img: not an image directory, or the dump did not finish",
			    type->name);
	if (n < 0)
		return n == -ENOENT ? 0 : n;
	do {
		_cleanup_message_ ProtobufCMessage *m = NULL;

		n = img_next_msg(r, d, &m);
		if (n > 0 && each(s, m, arg) < 0)
			n = -EPROTO;
	} while (n > 0);
	img_close(r);
	return n;
}

/* ---- inventory, tree ---- */

static int take_inventory(struct session *s, const void *msg, void *arg)
{
	const InventoryEntry *e = msg;
	struct show *sh = arg;

	sh->version = e->img_version;
	sh->fdinfo_per_id = e->has_fdinfo_per_id && e->fdinfo_per_id;
	free(sh->run_id);
	sh->run_id = e->dump_criu_run_id ? xstrdup(e->dump_criu_run_id) : NULL;
	return 0;
}

static int take_pstree(struct session *s, const void *msg, void *arg)
{
	const PstreeEntry *e = msg;
	struct show *sh = arg;
	struct show_task *t = vec_push(&sh->tasks);

	t->pid = e->pid;
	t->ppid = e->ppid;
	t->pgid = e->pgid;
	t->sid = e->sid;
	for (size_t i = 0; i < e->n_threads; i++)
		*vec_push(&t->threads) = e->threads[i];
	t->table = t->parent = t->child = t->last_child = t->sibling = SHOW_NONE;
	return 0;
}

struct by_pid {
	uint32_t pid;
	size_t task;
};

static int compare_pids(const void *a, const void *b)
{
	uint32_t x = ((const struct by_pid *)a)->pid, y = ((const struct by_pid *)b)->pid;

	return x < y ? -1 : x > y;
}

static void add_child(struct show *sh, size_t parent, size_t child)
{
	struct show_task *p = &sh->tasks.v[parent], *c = &sh->tasks.v[child];

	c->parent = parent;
	c->depth = p->depth + 1;
	if (p->child == SHOW_NONE)
		p->child = child;
	else
		sh->tasks.v[p->last_child].sibling = child;
	p->last_child = child;
}

/* Parents come before children in the image; one that does not counts as outside. */
static int link_tasks(struct session *s, struct show *sh)
{
	size_t n = sh->tasks.n, last_root = SHOW_NONE;
	_cleanup_free_ struct by_pid *index = xcalloc(n, sizeof(*index));

	for (size_t i = 0; i < n; i++)
		index[i] = (struct by_pid){ sh->tasks.v[i].pid, i };
	qsort(index, n, sizeof(*index), compare_pids);
	for (size_t i = 1; i < n; i++)
		if (index[i].pid == index[i - 1].pid)
			return fail(s, EPROTO, "pstree.img is damaged: pid %u is there twice", index[i].pid);
	for (size_t i = 0; i < n; i++) {
		struct by_pid key = { sh->tasks.v[i].ppid, 0 };
		const struct by_pid *p = bsearch(&key, index, n, sizeof(*index), compare_pids);

		if (p && p->task < i) {
			add_child(sh, p->task, i);
			continue;
		}
		if (last_root != SHOW_NONE)
			sh->tasks.v[last_root].sibling = i;
		last_root = i;
	}
	return 0;
}

size_t show_next_task(const struct show *sh, size_t prev)
{
	if (prev == SHOW_NONE)
		return sh->tasks.n ? 0 : SHOW_NONE;
	if (sh->tasks.v[prev].child != SHOW_NONE)
		return sh->tasks.v[prev].child;
	while (prev != SHOW_NONE && sh->tasks.v[prev].sibling == SHOW_NONE)
		prev = sh->tasks.v[prev].parent;
	return prev == SHOW_NONE ? SHOW_NONE : sh->tasks.v[prev].sibling;
}

/* ---- one task ---- */

struct core_facts {
	struct show_task *t;
	uint32_t files_id;
	bool has_files_id;
};

static int take_core(struct session *s, const void *msg, void *arg)
{
	const CoreEntry *e = msg;
	struct core_facts *f = arg;

	if (e->tc && !f->t->comm) {
		f->t->state = e->tc->task_state;
		f->t->exit_code = e->tc->exit_code;
		f->t->comm = xstrdup(e->tc->comm);
	}
	if (e->ids) {
		f->files_id = e->ids->files_id;
		f->has_files_id = true;
	}
	return 0;
}

static int take_ids(struct session *s, const void *msg, void *arg)
{
	const TaskKobjIdsEntry *e = msg;
	struct core_facts *f = arg;

	f->files_id = e->files_id;
	f->has_files_id = true;
	return 0;
}

static int take_mm(struct session *s, const void *msg, void *arg)
{
	const MmEntry *e = msg;
	struct show_mem *m = arg;

	m->mapped = true;
	m->exe_id = e->exe_file_id;
	for (size_t i = 0; i < e->n_vmas; i++) {
		const VmaEntry *v = e->vmas[i];

		if (v->end < v->start)
			return fail(s, EPROTO, "the memory image is damaged: a mapping ends before its start");
		m->mappings++;
		add(&m->bytes, v->end - v->start);
		if (v->status & VMA_HEAP)
			add(&m->heap, v->end - v->start);
		/* not every engine marks the stack */
		if (v->status & VMA_STACK || (v->start <= e->mm_start_stack && e->mm_start_stack < v->end))
			add(&m->stack, v->end - v->start);
	}
	return 0;
}

static void count_pages(const PagemapEntry *e, struct show_mem *m)
{
	uint64_t n = e->has_nr_pages ? e->nr_pages : e->compat_nr_pages;
	bool in_parent = e->has_flags ? e->flags & PE_PARENT : e->has_in_parent && e->in_parent;

	if (e->has_flags && e->flags & PE_ELSEWHERE)
		add(&m->shared_pages, n);
	else if (in_parent)
		add(&m->parent_pages, n);
	else if (!e->has_flags || e->flags & PE_PRESENT)
		add(&m->pages, n);
}

/* A head, then entries. */
static int read_pagemap(struct session *s, const struct show_task *t, struct show_mem *m)
{
	struct cr_reader *r;
	bool head = true;
	int n = img_open(s, &img_pagemap, t->pid, &r);

	if (n < 0)
		return n == -ENOENT ? 0 : n;
	do {
		_cleanup_message_ ProtobufCMessage *msg = NULL;

		n = img_next_msg(r, head ? &pagemap_head__descriptor : &pagemap_entry__descriptor, &msg);
		if (n > 0 && !head)
			count_pages((const PagemapEntry *)msg, m);
		m->stored |= n > 0;
		head = false;
	} while (n > 0);
	img_close(r);
	return n;
}

static int take_fdinfo(struct session *s, const void *msg, void *arg)
{
	const FdinfoEntry *e = msg;
	struct show_table *table = arg;

	*vec_push(&table->fds) = (struct show_fd){ e->fd, e->type, e->id, e->flags };
	return 0;
}

/* The descriptor table with this id, read when it is met first. */
static int read_table(struct session *s, struct show *sh, size_t task, uint32_t files_id)
{
	struct show_table *table;
	int new = 0;
	/* ids of the space count from 1 in the order of the tables */
	uint32_t n = session_id(s, "show-tables", &files_id, sizeof(files_id), &new);

	sh->tasks.v[task].table = n - 1;
	if (!new)
		return 0;
	table = vec_push(&sh->tables);
	table->files_id = files_id;
	table->owner = task;
	return each_message(s, &img_fdinfo, files_id, false, &fdinfo_entry__descriptor, take_fdinfo, table);
}

static int read_task(struct session *s, struct show *sh, size_t i)
{
	struct show_task *t = &sh->tasks.v[i];
	struct core_facts f = { .t = t };
	int r;

	at_object(s, "pid %u", t->pid);
	r = each_message(s, &img_core, t->pid, false, &core_entry__descriptor, take_core, &f);
	if (r == 0)
		r = each_message(s, &img_ids, t->pid, false, &task_kobj_ids_entry__descriptor, take_ids, &f);
	if (r == 0)
		r = each_message(s, &img_mm, t->pid, false, &mm_entry__descriptor, take_mm, &t->mem);
	if (r == 0)
		r = read_pagemap(s, t, &t->mem);
	if (r == 0 && !sh->fdinfo_per_id)
		r = read_table(s, sh, i, t->pid);
	else if (r == 0 && f.has_files_id)
		r = read_table(s, sh, i, f.files_id);
	at_object(s, NULL);
	return r;
}

/* ---- files ---- */

static int compare_files(const void *a, const void *b)
{
	uint32_t x = ((const struct show_file *)a)->id, y = ((const struct show_file *)b)->id;

	return x < y ? -1 : x > y;
}

const char *show_file_name(const struct show *sh, uint32_t id)
{
	struct show_file key = { .id = id }, *f = NULL;

	if (sh->files.n)
		f = bsearch(&key, sh->files.v, sh->files.n, sizeof(key), compare_files);
	return f ? f->name : NULL;
}

/* An envelope is taken apart without knowing the kind of the file. */
static int take_file(struct session *s, struct show *sh, const void *data, size_t len)
{
	uint32_t type, id, field;
	const void *msg;
	const char *text;
	size_t msg_len, text_len;
	struct show_file *f;

	if (img_split_file(data, len, &type, &id, &field, &msg, &msg_len) < 0)
		return fail(s, EPROTO, "files.img is damaged: an entry is not a file");
	f = vec_push(&sh->files);
	f->id = id;
	if (field && img_first_text(msg, msg_len, &text, &text_len))
		f->name = xasprintf("%.*s", (int)MIN_OF(text_len, NAME_BYTES), text);
	return 0;
}

static int read_files(struct session *s, struct show *sh)
{
	struct cr_reader *r;
	const void *data;
	size_t len;
	int n = img_open(s, &img_files, CR_IMG_NO_ID, &r);

	if (n < 0)
		return n == -ENOENT ? 0 : n;
	while ((n = img_next(r, &data, &len)) > 0) {
		n = take_file(s, sh, data, len);
		if (n < 0)
			break;
	}
	img_close(r);
	if (n == 0 && sh->files.n)
		qsort(sh->files.v, sh->files.n, sizeof(*sh->files.v), compare_files);
	return n;
}

/* ---- statistics: in the work directory, which may be another one ---- */

static int take_stats(struct session *s, const void *msg, void *arg)
{
	const StatsEntry *e = msg;
	struct show *sh = arg;

	for (size_t i = 0; i < e->n_lost; i++)
		*vec_push(&sh->losses) = (struct show_loss){ xstrdup(e->lost[i]->plugin), xstrdup(e->lost[i]->object),
							     xstrdup(e->lost[i]->text), e->restore != NULL };
	return 0;
}

static int read_stats(struct session *s, struct show *sh)
{
	int r = each_message(s, &img_stats_dump, CR_IMG_NO_ID, false, &stats_entry__descriptor, take_stats, sh);

	return r ? r : each_message(s, &img_stats_restore, CR_IMG_NO_ID, false, &stats_entry__descriptor, take_stats, sh);
}

/* ---- the command ---- */

static void show_free(struct show *sh)
{
	for (size_t i = 0; i < sh->tasks.n; i++) {
		free(sh->tasks.v[i].comm);
		vec_free(&sh->tasks.v[i].threads);
	}
	for (size_t i = 0; i < sh->tables.n; i++)
		vec_free(&sh->tables.v[i].fds);
	for (size_t i = 0; i < sh->files.n; i++)
		free(sh->files.v[i].name);
	vec_free(&sh->tasks);
	vec_free(&sh->tables);
	for (size_t i = 0; i < sh->losses.n; i++) {
		free(sh->losses.v[i].plugin);
		free(sh->losses.v[i].object);
		free(sh->losses.v[i].text);
	}
	vec_free(&sh->files);
	vec_free(&sh->losses);
	free(sh->run_id);
}

static int read_all(struct session *s, struct show *sh)
{
	int r = each_message(s, &img_inventory, CR_IMG_NO_ID, true, &inventory_entry__descriptor,
			     take_inventory, sh);

	if (r == 0)
		r = each_message(s, &img_pstree, CR_IMG_NO_ID, true, &pstree_entry__descriptor, take_pstree, sh);
	if (r == 0)
		r = link_tasks(s, sh);
	if (r == 0)
		r = read_files(s, sh);
	for (size_t i = 0; i < sh->tasks.n && r == 0; i++)
		r = read_task(s, sh, i);
	if (r == 0)
		r = read_stats(s, sh);
	return r;
}

static int print(struct session *s, const struct show *sh)
{
	_cleanup_buf_ struct buf out = { 0 };

	if (opt_flag(s->opts, "json"))
		show_json(sh, &out);
	else
		show_text(sh, &out);
	if (fwrite(out.p, 1, out.len, stdout) != out.len || fflush(stdout) != 0)
		return fail(s, errno, "cannot write to standard output: %s", strerror(errno));
	return 0;
}

int cmd_show(struct session *s, int argc, char **argv)
{
	struct show sh = { 0 };
	int r = 0;

	s->phase = "show";
	if (argc > 1)
		r = fail(s, EINVAL, "show takes one images directory, %d were given", argc);
	else if (argc == 1 && options_set(s->opts, "images-dir", argv[0]) < 0)
		r = fail(s, EINVAL, "%s is not usable as images directory", argv[0]);
	if (r == 0)
		r = images_open(s);
	if (r == 0) {
		sh.dir = opt_str(s->opts, "images-dir");
		sh.dir = sh.dir ? sh.dir : ".";
		r = read_all(s, &sh);
	}
	if (r == 0)
		r = print(s, &sh);
	show_free(&sh);
	return r;
}
