/* SPDX-License-Identifier: MIT */
/* image.c: the tree's images at dump: pstree, core, ids, fs, inventory and the small fixed ones. */
#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/kcmp.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "birth.h"
#include "fd/files_priv.h"
#include "image.h"

#include "core.pb-c.h"
#include "fs.pb-c.h"
#include "inventory.pb-c.h"
#include "pstree.pb-c.h"
#include "seccomp.pb-c.h"
#include "stasis.pb-c.h"
#include "timens.pb-c.h"

static uint32_t ns_id(struct session *s, pid_t pid, const char *name)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, name);
	if (stat(path, &st) < 0)
		return 0;
	return session_id(s, "namespace", &st.st_ino, sizeof(st.st_ino), NULL);
}

/* Namespaces of pid, in the order that other engines number them. */
static void ns_ids(struct session *s, pid_t pid, TaskKobjIdsEntry *ids)
{
	ids->has_pid_ns_id = ids->has_net_ns_id = ids->has_ipc_ns_id = ids->has_uts_ns_id = 1;
	ids->has_mnt_ns_id = ids->has_user_ns_id = ids->has_cgroup_ns_id = ids->has_time_ns_id = 1;
	ids->pid_ns_id = ns_id(s, pid, "pid");
	ids->net_ns_id = ns_id(s, pid, "net");
	ids->ipc_ns_id = ns_id(s, pid, "ipc");
	ids->uts_ns_id = ns_id(s, pid, "uts");
	ids->time_ns_id = ns_id(s, pid, "time");
	ids->mnt_ns_id = ns_id(s, pid, "mnt");
	ids->user_ns_id = ns_id(s, pid, "user");
	ids->cgroup_ns_id = ns_id(s, pid, "cgroup");
}

/* n: number of t in the tree, from 2: 1 is the engine's own in every kind of object. */
static void fill_ids(struct session *s, struct task *t, uint32_t n)
{
	const struct task *other = kcmp_find_or_add(&s->tree->by_fs, task_pid(t), KCMP_FS, t);
	TaskKobjIdsEntry *ids = xcalloc(1, sizeof(*ids));

	task_kobj_ids_entry__init(ids);
	ids->vm_id = ids->sighand_id = n;
	ids->files_id = t->fds->id;
	ids->fs_id = other ? other->ids->fs_id : n;
	ns_ids(s, task_pid(t), ids);
	t->ids = ids;
}

/* Namespaces of their own need plugins that come later. */
static void refuse_namespaces(struct session *s, const struct task *t, const TaskKobjIdsEntry *own)
{
	const struct {
		const char *name;
		uint32_t mine, its;
	} ns[] = {
		{ "network", own->net_ns_id, t->ids->net_ns_id },   { "ipc", own->ipc_ns_id, t->ids->ipc_ns_id },
		{ "uts", own->uts_ns_id, t->ids->uts_ns_id },	    { "mount", own->mnt_ns_id, t->ids->mnt_ns_id },
		{ "user", own->user_ns_id, t->ids->user_ns_id },    { "cgroup", own->cgroup_ns_id, t->ids->cgroup_ns_id },
		{ "time", own->time_ns_id, t->ids->time_ns_id },
	};

	at_object(s, "pid %d (%s)", task_pid(t), t->stat.comm);
	for (size_t i = 0; i < ARRAY_SIZE(ns); i++)
		if (ns[i].mine != ns[i].its)
			refuse(s, "run stasis inside that namespace (nsenter)",
			       "it lives in another %s namespace than stasis, which is not dumped yet", ns[i].name);
	at_object(s, NULL);
}

/* Does thread tid have what its process has, as threads do that never called unshare(2) or setns(2)? */
static bool thread_shares(pid_t pid, pid_t tid, int what)
{
	return syscall(SYS_kcmp, pid, tid, what, 0, 0) <= 0; /* where kcmp() is missing: believed */
}

/* The first kind of namespace that thread tid has for itself; NULL: none. */
static const char *thread_namespace(struct session *s, const struct task *t, pid_t tid)
{
	const struct {
		const char *name;
		uint32_t id;
	} ns[] = {
		{ "net", t->ids->net_ns_id }, { "ipc", t->ids->ipc_ns_id },
		{ "uts", t->ids->uts_ns_id }, { "cgroup", t->ids->cgroup_ns_id },
	};

	for (size_t i = 0; i < ARRAY_SIZE(ns); i++) {
		uint32_t id = ns_id(s, tid, ns[i].name);

		if (id && id != ns[i].id)
			return ns[i].name;
	}
	return NULL;
}

/* A restored thread shares everything with its process that threads normally share. */
static void refuse_thread_shapes(struct session *s, const struct task *t)
{
	for (size_t i = 1; i < t->threads.n; i++) {
		const struct thread *th = t->threads.v[i];
		pid_t tid = thread_tid(th);
		const char *ns;

		at_object(s, "pid %d (%s) thread %d", task_pid(t), t->stat.comm, tid);
		if (!thread_shares(task_pid(t), tid, KCMP_FS))
			refuse(s, NULL, "it has a working directory of its own (unshare with CLONE_FS), unlike other threads");
		if (!thread_shares(task_pid(t), tid, KCMP_FILES))
			refuse(s, NULL, "it has descriptors of its own (unshare with CLONE_FILES), unlike other threads");
		/* looking costs more than all the rest, and without this capability there is none */
		ns = th->status->cap_prm & 1ull << CAP_SYS_ADMIN ? thread_namespace(s, t, tid) : NULL;
		if (ns)
			refuse(s, NULL, "it is in a %s namespace of its own, unlike other threads", ns);
	}
	at_object(s, NULL);
}

static void own_ids(struct session *s, TaskKobjIdsEntry *own)
{
	task_kobj_ids_entry__init(own);
	own->vm_id = own->files_id = own->fs_id = own->sighand_id = 1;
	ns_ids(s, getpid(), own);
}

/* The first line of /proc/PID/cgroup that the engine's own lacks, without the hierarchy's number; NULL: none. */
static char *other_cgroup(const char *mine, pid_t pid)
{
	_cleanup_buf_ struct buf its = { 0 };
	char path[32], *line, *save = NULL;

	snprintf(path, sizeof(path), "/proc/%d/cgroup", pid);
	if (read_piece(AT_FDCWD, path, &its) < 0 || !strcmp(mine, its.p))
		return NULL;
	for (line = strtok_r(its.p, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		_cleanup_free_ char *whole = xasprintf("%s\n", line);
		const char *at = strstr(mine, whole);

		if (at && (at == mine || at[-1] == '\n'))
			continue;
		line += strspn(line, "0123456789");
		line += *line == ':';
		return xstrdup(*line == ':' ? line + 1 : line); /* version 2 has no controllers in between */
	}
	return NULL;
}

/* Membership is not kept yet: says so, once. */
static void warn_cgroup(struct session *s)
{
	_cleanup_buf_ struct buf mine = { 0 };

	if (read_piece(AT_FDCWD, "/proc/self/cgroup", &mine) < 0)
		return;
	FOR_EACH_TASK(t, s->tree) {
		_cleanup_free_ char *name = t->life == TASK_ZOMBIE ? NULL : other_cgroup(mine.p, task_pid(t));

		if (!name)
			continue;
		lost(s, "pid %d (%s): its cgroup %s is not restored: it will be in the caller's", task_pid(t),
			 t->stat.comm, name);
		return;
	}
}

int tree_collect_ids(struct session *s)
{
	TaskKobjIdsEntry own;
	uint32_t n = 1;

	warn_cgroup(s);
	own_ids(s, &own);
	FOR_EACH_TASK(t, s->tree) {
		n++;
		if (t->life == TASK_ZOMBIE)
			continue;
		fill_ids(s, t, n);
		refuse_namespaces(s, t, &own);
		refuse_thread_shapes(s, t);
	}
	return tree_births(s);
}

static int dump_fs(struct session *s, struct task *t)
{
	FsEntry e = FS_ENTRY__INIT;

	e.cwd_id = t->cwd_id;
	e.root_id = t->root_id;
	e.has_umask = 1;
	e.umask = t->umask;
	return img_append_msg(s, &img_fs, task_vpid(t), &e.base);
}

static int dump_pstree(struct session *s, struct task *t)
{
	PstreeEntry e = PSTREE_ENTRY__INIT;
	_cleanup_free_ uint32_t *tids = xcalloc(t->threads.n + 1, sizeof(*tids));

	e.pid = task_vpid(t);
	e.ppid = t->parent ? task_vpid(t->parent) : 0;
	e.pgid = t->vpgid;
	e.sid = t->vsid;
	e.n_threads = t->threads.n;
	e.threads = tids;
	for (size_t i = 0; i < t->threads.n; i++)
		tids[i] = thread_vtid(t->threads.v[i]);
	return img_append_msg(s, &img_pstree, CR_IMG_NO_ID, &e.base);
}

static int dump_task(struct session *s, struct task *t)
{
	int err = dump_pstree(s, t);

	for (size_t i = 0; i < t->threads.n && err == 0; i++) {
		struct thread *th = t->threads.v[i];

		err = img_append_msg(s, &img_core, thread_vtid(th), &th->core->base);
	}
	if (err < 0 || t->life == TASK_ZOMBIE)
		return err;
	err = img_append_msg(s, &img_ids, task_vpid(t), &t->ids->base);
	return err < 0 ? err : dump_fs(s, t);
}

static int dump_inventory(struct session *s, TaskKobjIdsEntry *own)
{
	InventoryEntry e = INVENTORY_ENTRY__INIT;
	PluginsEntry none = PLUGINS_ENTRY__INIT;
	struct buf run_id = { 0 };
	int err;

	e.img_version = 2;
	e.has_fdinfo_per_id = e.fdinfo_per_id = 1;
	e.root_ids = own;
	e.has_ns_per_id = e.ns_per_id = 1;
	e.has_root_cg_set = e.root_cg_set = 1;
	e.has_lsmtype = 1;
	e.lsmtype = LSMTYPE__NO_LSM;
	e.has_network_lock_method = 1;
	e.plugins_entry = &none;
	if (read_file(AT_FDCWD, "/proc/sys/kernel/random/uuid", &run_id) == 0 && run_id.len > 36) {
		run_id.p[36] = 0;
		e.dump_criu_run_id = run_id.p;
	}
	err = img_append_msg(s, &img_inventory, CR_IMG_NO_ID, &e.base);
	buf_free(&run_id);
	return err;
}

static int dump_clocks(struct session *s)
{
	TimensEntry e = TIMENS_ENTRY__INIT;
	Timespec mono = TIMESPEC__INIT, boot = TIMESPEC__INIT;
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	mono.tv_sec = ts.tv_sec;
	mono.tv_nsec = ts.tv_nsec;
	clock_gettime(CLOCK_BOOTTIME, &ts);
	boot.tv_sec = ts.tv_sec;
	boot.tv_nsec = ts.tv_nsec;
	e.monotonic = &mono;
	e.boottime = &boot;
	return img_append_msg(s, &img_timens, 0, &e.base);
}

/* What the well-known images cannot say. The exit signal of the root belongs to its new parent. */
static int dump_extras(struct session *s)
{
	FOR_EACH_TASK(t, s->tree) {
		StasisTask zombie = STASIS_TASK__INIT, *e = t->extra ? t->extra : &zombie;
		int err;

		e->pid = task_vpid(t);
		e->has_exit_signal = t->parent && t->exit_signal != SIGCHLD && t->exit_signal >= 0;
		e->exit_signal = e->has_exit_signal ? t->exit_signal : 0;
		e->has_news = t->news != 0;
		e->news = t->news;
		if (!t->extra && !e->has_exit_signal)
			continue;
		err = img_append_msg(s, &img_stasis_tasks, CR_IMG_NO_ID, &e->base);
		if (err < 0)
			return err;
	}
	return 0;
}

int tree_dump_plugins(struct session *s)
{
	struct files *fs = files_get(s);
	struct plugin *pl;

	for (size_t i = 0; (pl = plugins_nth(s->plugins, i)); i++) {
		StasisPlugin e = STASIS_PLUGIN__INIT;
		bool used = pl->wrote;
		int err;

		for (size_t j = 0; j < fs->all.n && !used; j++)
			used = fs->all.v[j]->plugin == pl;
		if (!used)
			continue;
		e.name = pl->name;
		e.version = (char *)(pl->def->version ? pl->def->version : "");
		err = img_append_msg(s, &img_stasis_plugins, CR_IMG_NO_ID, &e.base);
		if (err < 0)
			return err;
	}
	return 0;
}

int tree_dump(struct session *s)
{
	TaskKobjIdsEntry own;
	SeccompEntry no_filters = SECCOMP_ENTRY__INIT;
	int err = 0;

	s->phase = "dump";
	own_ids(s, &own);
	FOR_EACH_TASK(t, s->tree)
		if (err == 0)
			err = dump_task(s, t);
	if (err == 0)
		err = dump_inventory(s, &own);
	if (err == 0)
		err = img_append_msg(s, &img_seccomp, CR_IMG_NO_ID,
				     s->tree->seccomp ? &s->tree->seccomp->base : &no_filters.base);
	if (err == 0)
		err = dump_clocks(s);
	if (err == 0)
		err = dump_extras(s);
	return err;
}
