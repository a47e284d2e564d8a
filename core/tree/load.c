/* SPDX-License-Identifier: MIT */
/* load.c: the tree from its images, validated; nothing is created. */
#include "tree.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "arch/x86_64/cpu.h"
#include "cpuinfo.h"
#include "image.h"
#include "mem.h"
#include "plugin.h"
#include "tree_priv.h"
#include "attrs.h"
#include "policy.h"

#include "core.pb-c.h"
#include "fs.pb-c.h"
#include "inventory.pb-c.h"
#include "pstree.pb-c.h"
#include "seccomp.pb-c.h"
#include "stasis.pb-c.h"

#define PID_LIMIT (1 << 22) /* the kernel's PID_MAX_LIMIT */

static void set_pid(struct pid_levels *l, pid_t nr)
{
	l->n = 1;
	l->nr[0] = nr;
}

static struct task *add_task(struct session *s, const PstreeEntry *e)
{
	struct tree *tree = s->tree;
	struct task *t, *parent = NULL, **p;

	if (e->pid == 0 || e->pid > PID_LIMIT || e->n_threads == 0) {
		fail(s, EPROTO, "pstree.img: a task with pid %u and %zu threads", e->pid, e->n_threads);
		return NULL;
	}
	if (tree_by_vpid(tree, e->pid)) {
		fail(s, EPROTO, "pstree.img: pid %u twice", e->pid);
		return NULL;
	}
	if (tree->root) {
		parent = tree_by_vpid(tree, e->ppid);
		if (!parent) {
			fail(s, EPROTO, "pstree.img: the parent %u of pid %u is missing", e->ppid, e->pid);
			return NULL;
		}
	}
	t = xcalloc(1, sizeof(*t));
	set_pid(&t->pid, e->pid);
	t->parent = parent;
	t->mem_from = parent;
	t->vpgid = e->pgid;
	t->vsid = e->sid;
	t->exit_signal = SIGCHLD; /* unless x-stasis-tasks.img says otherwise */
	for (p = parent ? &parent->child : &tree->root; *p; p = &(*p)->sibling)
		;
	*p = t;
	for (p = &tree->all; *p; p = &(*p)->next)
		;
	*p = t;
	tree->ntasks++;
	return t;
}

static int read_core(struct session *s, struct thread *th)
{
	ProtobufCMessage *m;
	int err = img_read_one(s, &img_core, thread_vtid(th), &core_entry__descriptor, &m);

	if (err == -ENOENT)
		return fail(s, ENOENT, "core-%d.img is missing", thread_vtid(th));
	if (err < 0)
		return err;
	th->core = (CoreEntry *)m;
	if (th->core->mtype != CORE_ENTRY__MARCH__X86_64)
		return fail(s, EPROTO, "core-%d.img is for another machine architecture", thread_vtid(th));
	return 0;
}

/* What of the extended state this CPU cannot hold. */
static int check_components(struct session *s, struct thread *th)
{
	uint64_t missing = arch_regs_missing(th->core);
	char names[256];
	uint32_t caps;
	int err = missing ? cpu_cap(s, CPU_CAP_FPU, &caps, NULL) : 0;

	if (err < 0 || !missing)
		return err;
	cpu_component_names(missing, names, sizeof(names));
	if (caps & CPU_CAP_FPU)
		return fail(s, EOPNOTSUPP, "core-%d.img: the thread uses registers that this CPU or its kernel lacks: %s; "
			    "restore on a CPU that has them, or give their contents up with --cpu-cap=none",
			    thread_vtid(th), names);
	lost(s, "core-%d.img: registers that this CPU lacks are given up: %s", thread_vtid(th), names);
	arch_regs_drop(th->core, missing);
	return 0;
}

static int check_core(struct session *s, struct thread *th)
{
	uint64_t clear_tid;
	int err;

	if (!th->core->thread_info || !th->core->thread_core)
		return fail(s, EPROTO, "core-%d.img lacks registers or thread state", thread_vtid(th));
	err = check_components(s, th);
	if (err < 0)
		return s->collecting ? 0 : err;
	err = arch_regs_from_image(th->core, &th->regs, &clear_tid);
	if (err < 0)
		return fail(s, -err, "core-%d.img: its registers do not fit this CPU", thread_vtid(th));
	th->sigmask = th->core->thread_core->has_blk_sigset ? th->core->thread_core->blk_sigset :
		      th->core->tc			    ? th->core->tc->blk_sigset :
							      0;
	return 0;
}

static int load_threads(struct session *s, struct task *t, const PstreeEntry *e)
{
	TaskCoreEntry *tc;

	for (size_t i = 0; i < e->n_threads; i++) {
		struct thread *th = xcalloc(1, sizeof(*th));
		int err;

		th->task = t;
		*vec_push(&t->threads) = th;
		/* a zombie's thread number means nothing */
		set_pid(&th->tid, i == 0 ? e->pid : e->threads[i]);
		if (i && (e->threads[i] == 0 || e->threads[i] > PID_LIMIT))
			return fail(s, EPROTO, "pstree.img: pid %u has a thread %u", e->pid, e->threads[i]);
		err = read_core(s, th);
		if (err < 0)
			return err;
		tc = th->core->tc;
		if (i == 0 && !tc)
			return fail(s, EPROTO, "core-%u.img lacks the process state", e->pid);
		if (i == 0) {
			t->life = tc->task_state == 2 ? TASK_ZOMBIE : tc->task_state == 3 ? TASK_STOPPED : TASK_ALIVE;
			t->exit_code = tc->exit_code;
			t->stop_signo = tc->has_stop_signo ? tc->stop_signo : 0;
			if (t->life == TASK_ZOMBIE)
				return 0;
		}
		err = check_core(s, th);
		if (err < 0)
			return err;
		s->tree->nthreads++;
	}
	return 0;
}

static int load_ids(struct session *s, struct task *t)
{
	ProtobufCMessage *m;
	FsEntry *fs;
	int err;

	err = img_read_one(s, &img_ids, task_vpid(t), &task_kobj_ids_entry__descriptor, &m);
	if (err < 0)
		return err == -ENOENT ? fail(s, ENOENT, "ids-%d.img is missing", task_vpid(t)) : err;
	t->ids = (TaskKobjIdsEntry *)m;
	err = img_read_one(s, &img_fs, task_vpid(t), &fs_entry__descriptor, &m);
	if (err < 0)
		return err == -ENOENT ? fail(s, ENOENT, "fs-%d.img is missing", task_vpid(t)) : err;
	fs = (FsEntry *)m;
	t->cwd_id = fs->cwd_id;
	t->root_id = fs->root_id;
	t->umask = fs->has_umask ? fs->umask & 0777 : 022;
	protobuf_c_message_free_unpacked(m, NULL);
	return 0;
}

static int load_pstree(struct session *s)
{
	struct cr_reader *r;
	ProtobufCMessage *m;
	int err = img_open(s, &img_pstree, CR_IMG_NO_ID, &r);

	if (err < 0)
		return err == -ENOENT ? fail(s, ENOENT, "pstree.img is missing: is this an images directory (-D)?") : err;
	while ((err = img_next_msg(r, &pstree_entry__descriptor, &m)) == 1) {
		struct task *t = add_task(s, (PstreeEntry *)m);

		err = t ? load_threads(s, t, (PstreeEntry *)m) : -EPROTO;
		protobuf_c_message_free_unpacked(m, NULL);
		if (err == 0 && t->life != TASK_ZOMBIE)
			err = load_ids(s, t);
		if (err < 0)
			break;
	}
	img_close(r);
	if (err == 0 && (!s->tree->root || s->tree->root->life == TASK_ZOMBIE))
		return fail(s, EPROTO, "pstree.img has no living root task");
	return err;
}

static struct thread *thread_by_vtid(struct task *t, uint32_t tid)
{
	for (size_t i = 0; i < t->threads.n; i++)
		if ((uint32_t)thread_vtid(t->threads.v[i]) == tid)
			return t->threads.v[i];
	return NULL;
}

static int take_extras(struct session *s, struct task *t)
{
	const StasisTask *e = t->extra;

	if (e->has_autogroup_nice && (e->autogroup_nice < -20 || e->autogroup_nice > 19))
		return fail(s, EPROTO, "x-stasis-tasks.img: pid %u, autogroup nice %d", e->pid, e->autogroup_nice);
	for (size_t i = 0; i < e->n_threads; i++) {
		StasisThread *x = e->threads[i];
		/* in the order of the dump, unless somebody has edited them */
		struct thread *th = i < t->threads.n && (uint32_t)thread_vtid(t->threads.v[i]) == x->tid ? t->threads.v[i] :
												     thread_by_vtid(t, x->tid);

		if (!th || th->extra || (x->has_cpus && x->cpus.len > CPU_MASK_BYTES) || x->n_speculation > ATTR_SPECULATIONS ||
		    !policy_sane(x->policy))
			return fail(s, EPROTO, "x-stasis-tasks.img: pid %u, thread %u", e->pid, x->tid);
		th->extra = x;
	}
	return 0;
}

/* What our own dump has said beyond the well-known format. */
static int load_extras(struct session *s)
{
	struct cr_reader *r;
	ProtobufCMessage *m;
	int err = img_open(s, &img_stasis_tasks, CR_IMG_NO_ID, &r);

	if (err < 0)
		return err == -ENOENT ? 0 : err;
	while ((err = img_next_msg(r, &stasis_task__descriptor, &m)) == 1) {
		StasisTask *e = (StasisTask *)m;
		struct task *t = tree_by_vpid(s->tree, e->pid);

		if (!t || t->extra || (e->has_exit_signal && e->exit_signal > 64)) {
			err = fail(s, EPROTO, "x-stasis-tasks.img: pid %u, exit signal %u", e->pid, e->exit_signal);
			protobuf_c_message_free_unpacked(m, NULL);
			break;
		}
		if (e->has_exit_signal)
			t->exit_signal = e->exit_signal;
		t->news = e->has_news ? e->news : 0;
		t->extra = e;
		err = take_extras(s, t);
		if (err < 0)
			break;
	}
	img_close(r);
	return err;
}

static int by_number(const void *a, const void *b)
{
	return *(const pid_t *)a - *(const pid_t *)b;
}

static int unique_tids(struct session *s)
{
	VEC(pid_t) seen = { 0 };
	int err = 0;

	FOR_EACH_TASK(t, s->tree)
		for (size_t i = 0; i < t->threads.n; i++)
			*vec_push(&seen) = thread_vtid(t->threads.v[i]);
	if (seen.n)
		qsort(seen.v, seen.n, sizeof(*seen.v), by_number);
	for (size_t i = 1; i < seen.n && err == 0; i++)
		if (seen.v[i] == seen.v[i - 1])
			err = fail(s, EPROTO, "pstree.img: thread %d twice", seen.v[i]);
	vec_free(&seen);
	return err;
}

/* Namespaces of their own need plugins that come later: refuse instead of restoring into the wrong one. */
static int check_namespaces(struct session *s, const InventoryEntry *inv)
{
	const TaskKobjIdsEntry *own = inv->root_ids;

	FOR_EACH_TASK(t, s->tree) {
		const TaskKobjIdsEntry *i = t->ids;

		if (!own || !i)
			continue;
		if (i->pid_ns_id != own->pid_ns_id || i->net_ns_id != own->net_ns_id || i->ipc_ns_id != own->ipc_ns_id ||
		    i->uts_ns_id != own->uts_ns_id || i->mnt_ns_id != own->mnt_ns_id || i->user_ns_id != own->user_ns_id)
			return fail(s, EOPNOTSUPP, "pid %d lived in namespaces of its own, which are not restored yet",
				    task_vpid(t));
	}
	return 0;
}

static int load_plugins(struct session *s)
{
	struct cr_reader *r;
	ProtobufCMessage *m;
	int err = img_open(s, &img_stasis_plugins, CR_IMG_NO_ID, &r);

	if (err < 0)
		return err == -ENOENT ? 0 : err; /* written by another engine */
	while ((err = img_next_msg(r, &stasis_plugin__descriptor, &m)) == 1) {
		StasisPlugin *p = (StasisPlugin *)m;

		if (!plugins_find(s->plugins, p->name))
			err = fail(s, ENOENT, "the plugin %s (version %s) took part in the dump and is not loaded: see "
					      "stasis plugins, --plugin-dir, --plugins", p->name, p->version);
		protobuf_c_message_free_unpacked(m, NULL);
		if (err < 0 && !s->collecting)
			break;
	}
	img_close(r);
	return s->collecting ? 0 : err;
}

int tree_load(struct session *s)
{
	ProtobufCMessage *m;
	InventoryEntry *inv;
	int err;

	s->phase = "load";
	err = img_read_one(s, &img_inventory, CR_IMG_NO_ID, &inventory_entry__descriptor, &m);
	if (err < 0)
		return err == -ENOENT ? fail(s, ENOENT, "inventory.img is missing: is this an images directory (-D)?") : err;
	inv = (InventoryEntry *)m;
	s->tree = xcalloc(1, sizeof(*s->tree));
	if (inv->img_version < 1 || inv->img_version > 2)
		err = fail(s, EPROTO, "images of version %u cannot be read", inv->img_version);
	if (err == 0 && inv->plugins_entry && inv->plugins_entry->n_plugins)
		for (size_t i = 0; i < inv->plugins_entry->n_plugins && err == 0; i++)
			if (strcmp(inv->plugins_entry->plugins[i], "stasis"))
				err = fail(s, EOPNOTSUPP, "the images need the plugin %s of the engine that wrote them",
					   inv->plugins_entry->plugins[i]);
	if (err == 0)
		err = load_plugins(s);
	if (err == 0)
		err = load_pstree(s);
	if (err == 0)
		err = load_extras(s);
	if (err == 0)
		err = seccomp_load(s);
	if (err == 0)
		err = unique_tids(s);
	if (err == 0 && check_namespaces(s, inv) < 0 && !s->collecting)
		err = -EOPNOTSUPP;
	protobuf_c_message_free_unpacked(m, NULL);
	return err;
}

static void free_message(void *m)
{
	if (m)
		protobuf_c_message_free_unpacked(m, NULL);
}

void tree_free(struct tree *tree)
{
	struct task *t = tree ? tree->all : NULL, *next;

	for (; t; t = next) {
		next = t->next;
		for (size_t i = 0; i < t->threads.n; i++) {
			free_message(t->threads.v[i]->core);
			if (t->threads.v[i]->status)
				proc_status_free(t->threads.v[i]->status);
			free(t->threads.v[i]->status);
			free(t->threads.v[i]);
		}
		vec_free(&t->threads);
		vec_free(&t->policies);
		proc_status_free(&t->status);
		free_message(t->ids);
		free_message(t->extra);
		mem_free(t->mem);
		free(t);
	}
	if (tree) {
		vec_free(&tree->by_vm);
		vec_free(&tree->by_fs);
		tree_ask_free(tree);
	}
	if (tree) {
		free_message(tree->seccomp);
		free(tree->seccomp_at);
	}
	free(tree);
}
