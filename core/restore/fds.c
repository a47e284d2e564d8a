/* SPDX-License-Identifier: MIT */
/*
 * fds.c: a task's descriptor table, directories, and the calls that plugins
 * queued, as operations.  E's descriptors of files lie above all numbers of the
 * table, so they can be put into place in any order; they go at the end.
 */
#include <errno.h>
#include <string.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "fd/files_priv.h"
#include "kinds.h"
#include "restore_priv.h"

#include "core.pb-c.h"

#define RESULT_SLOT 6 /* behind those of the arguments */
#define LOOP_SLOT 7

int restore_queue_data(struct session *s, struct task *t, const void *data, size_t len, uint64_t *ret_addr)
{
	void *at = arena_alloc(&s->restore->arena, len, 16);

	(void)t;
	memcpy(at, data, len);
	*ret_addr = (uintptr_t)at;
	return 0;
}

int restore_queue_syscall(struct session *s, struct task *t, uint32_t stage, long nr, const struct cr_arg args[6],
			  uint32_t want)
{
	struct queued_call *q;

	if (stage < CR_STAGE_SESSION || stage > CR_STAGE_OWN || want > CR_WANT_ANY)
		return fail(s, EINVAL, "a call was queued for stage %u, result %u", stage, want);
	q = vec_push(&s->restore->queued);
	q->task = t;
	q->stage = stage;
	q->want = want;
	q->nr = nr;
	memcpy(q->args, args, sizeof(q->args));
	q->origin = xasprintf("%s: pid %d, %s", s->plugin ? s->plugin : "core", task_vpid(t), s->object);
	return 0;
}

int restore_queue_call(struct session *s, struct task *t, uint32_t stage, long nr, const struct cr_arg args[6],
		       uint32_t want, uint64_t *ret_addr)
{
	int err = restore_queue_syscall(s, t, stage, nr, args, want);

	if (err < 0)
		return err;
	*ret_addr = (uintptr_t)arena_alloc(&s->restore->arena, sizeof(uint64_t), sizeof(uint64_t));
	s->restore->queued.v[s->restore->queued.n - 1].result = *ret_addr;
	return 0;
}

int restore_queue_place(struct session *s, const struct mapping *m, uint32_t stage, long nr, const struct cr_arg args[6])
{
	int err = restore_queue_syscall(s, m->task, stage, nr, args, CR_WANT_NONNEG);

	if (err == 0)
		s->restore->queued.v[s->restore->queued.n - 1].place = m;
	return err;
}

int restore_queue_write(struct session *s, struct task *t, uint32_t stage, uint64_t to, const void *data, size_t len)
{
	uint64_t from;
	int err = restore_queue_data(s, t, data, len, &from);

	return err < 0 ? err : restore_queue_copy(s, t, stage, to, from, len);
}

int restore_queue_copy(struct session *s, struct task *t, uint32_t stage, uint64_t to, uint64_t from, size_t len)
{
	const struct cr_arg args[6] = { CR_IMM(to), CR_IMM(from) };
	int err = len ? restore_queue_syscall(s, t, stage, 0, args, CR_WANT_ANY) : 0;

	if (err == 0 && len)
		s->restore->queued.v[s->restore->queued.n - 1].bytes = len;
	return err;
}

int restore_queue_repeat(struct session *s, struct task *t, uint32_t stage, size_t n, uint32_t times)
{
	struct queued_call *last = NULL, *first = NULL;

	for (size_t i = s->restore->queued.n; i > 0 && n; i--) {
		struct queued_call *q = &s->restore->queued.v[i - 1];

		if (q->task != t || q->stage != stage)
			continue;
		if (q->place || q->times || q->ends)
			break;
		last = last ? last : q;
		first = q;
		n--;
	}
	if (n || !first || !times || times > CR_TIMES_MAX)
		return fail(s, EINVAL, "%u rounds of a loop were queued around what cannot be in one", times);
	first->times = times;
	last->ends = true;
	return 0;
}

/* The operations of one queued call. */
static int plan_queued_call(struct session *s, const struct queued_call *q, struct plan *p)
{
	static const enum blob_want wants[] = { BLOB_ZERO, BLOB_NONNEG, BLOB_ANY };
	uint16_t slots = 0;
	struct blob_op *op;
	uint64_t a[6];

	plan_origin(p->set, "%s", q->origin);
	for (int j = 0; j < 6; j++) {
		a[j] = q->args[j].val;
		if (q->args[j].tag == CR_ARG_LOAD) {
			plan_op(p, BLOB_LOAD, a[j], 0, 0)->slot = (uint8_t)j;
			slots |= 1u << j;
			a[j] = j;
		}
		if (q->args[j].tag != CR_ARG_FILE)
			continue;
		if (!q->args[j].file || file_of((struct cr_file *)q->args[j].file)->fd < 0)
			return fail(s, EBADF, "%s: a call names a file that is not open", q->origin);
		a[j] = file_of((struct cr_file *)q->args[j].file)->fd;
	}
	if (q->bytes) {
		plan_op(p, BLOB_COPY, a[0], a[1], q->bytes);
		return 0;
	}
	if (q->place)
		mapping_plan_room(s, q->place, p, true);
	op = plan_sysv(p, wants[q->want], q->nr, a);
	op->slotmask = slots;
	if (q->place) {
		op->want = BLOB_EXPECT;
		op->expect = q->place->info.start;
		mapping_plan_room(s, q->place, p, false);
		return 0;
	}
	if (q->result) {
		op->slot = RESULT_SLOT;
		plan_op(p, BLOB_STORE, q->result, RESULT_SLOT, 0)->slotmask = 1u << 1;
	}
	return 0;
}

/* Returns the number of the first operation of the loop. */
static uint64_t plan_loop_begin(struct plan *p, const struct queued_call *q)
{
	plan_op(p, BLOB_MOV, q->times, 0, 0)->slot = LOOP_SLOT;
	p->thread->fuel = (uint32_t)MIN_OF((uint64_t)p->thread->fuel + q->times, (uint64_t)UINT32_MAX);
	return p->ops.n;
}

static void plan_loop_end(struct plan *p, uint64_t start)
{
	struct blob_op *op = plan_op(p, BLOB_ADD, LOOP_SLOT, (uint64_t)-1, 0);

	op->slot = LOOP_SLOT;
	op->slotmask = 1;
	op = plan_op(p, BLOB_JMP, LOOP_SLOT, 1, 0);
	op->a[3] = start - (p->ops.n - 1);
}

int restore_plan_queued(struct session *s, struct task *t, struct plan *p, uint32_t stage)
{
	uint64_t start = 0;
	int err = 0;

	for (size_t i = 0; i < s->restore->queued.n && err == 0; i++) {
		const struct queued_call *q = &s->restore->queued.v[i];

		if (q->task != t || q->stage != stage)
			continue;
		if (q->times)
			start = plan_loop_begin(p, q);
		err = plan_queued_call(s, q, p);
		if (q->ends)
			plan_loop_end(p, start);
	}
	return err;
}

static bool owns_fs(struct session *s, const struct task *t)
{
	FOR_EACH_TASK(o, s->tree) {
		if (o == t)
			return true;
		if (o->ids && o->ids->fs_id == t->ids->fs_id)
			return false;
	}
	return true;
}

/* Whether fd is the root directory that E itself has. */
static bool is_own_root(int fd)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && stat("/", &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static int plan_directories(struct session *s, struct task *t, struct plan *p)
{
	int root = files_fd(s, t->root_id), cwd = files_fd(s, t->cwd_id);

	if (root < 0 || cwd < 0)
		return fail(s, EBADF, "pid %d: its root or working directory is not open", task_vpid(t));
	plan_origin(p->set, "pid %d: root and working directory", task_vpid(t));
	plan_sys(p, BLOB_ZERO, SYS_fchdir, root);
	/* E's own root needs no chroot, which an ordinary user could not do */
	if (!is_own_root(root))
		plan_sys(p, BLOB_ZERO, SYS_chroot, (uintptr_t)plan_put(p, ".", 2));
	plan_sys(p, BLOB_ZERO, SYS_fchdir, cwd);
	plan_sys(p, BLOB_ANY, SYS_umask, t->umask);
	return 0;
}

/* Closes E's low descriptors, everything between the numbers of the table, so that dup3 finds them free. */
static void plan_close_gaps(struct fdtable *tab, struct plan *p, int base)
{
	int from = 0;

	for (size_t i = 0; i < tab->slots.n; i++) {
		int fd = tab->slots.v[i].fd;

		if (fd > from)
			plan_sys(p, BLOB_ZERO, SYS_close_range, from, fd - 1, 0);
		from = fd + 1;
	}
	if (from < base)
		plan_sys(p, BLOB_ZERO, SYS_close_range, from, base - 1, 0);
}

static int plan_table(struct session *s, struct task *t, struct plan *p)
{
	struct fdtable *tab = t->fds;

	plan_origin(p->set, "pid %d: closes the engine's descriptors", task_vpid(t));
	plan_close_gaps(tab, p, s->files->base);
	for (size_t i = 0; i < tab->slots.n; i++) {
		struct slot *sl = &tab->slots.v[i];

		plan_origin(p->set, "%s: pid %d fd %d", sl->file->kind->name, task_vpid(t), sl->fd);
		plan_sys(p, BLOB_EXPECT, SYS_dup3, sl->file->fd, sl->fd, sl->cloexec ? O_CLOEXEC : 0)->expect = sl->fd;
	}
	return 0;
}

int restore_plan_files(struct session *s, struct task *t, struct plan *p)
{
	bool owner = t->fds->owner == t;
	int err = owner ? restore_plan_late(s, t, p) : 0;

	if (err == 0)
		err = restore_plan_queued(s, t, p, CR_STAGE_SESSION);
	if (err == 0 && owns_fs(s, t))
		err = plan_directories(s, t, p);
	if (err == 0 && owner)
		err = plan_table(s, t, p);
	if (err == 0)
		err = restore_plan_queued(s, t, p, CR_STAGE_WIRE);
	return err;
}

void restore_plan_close(struct session *s, struct task *t, struct plan *p)
{
	if (t->fds->owner != t)
		return;
	plan_origin(p->set, "pid %d: closes the engine's descriptors", task_vpid(t));
	plan_sys(p, BLOB_ZERO, SYS_close_range, s->files->base, ~0u, 0);
}
