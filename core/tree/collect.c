/* SPDX-License-Identifier: MIT */
/*
 * collect.c: finds the tasks of a tree below /proc.
 *
 * Depth first through /proc/PID/task/TID/children; with the tree frozen one pass
 * is exact.  A task is refused by name when its shape cannot be restored: memory
 * shared with another task that is not its thread, a tracer of its own, 32-bit
 * code, a thread leader that has gone before its threads.
 */
#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "options.h"
#include "rights.h"

static struct task *task_new(struct tree *tree, struct task *parent)
{
	struct task *t = xcalloc(1, sizeof(*t));
	struct task **p;

	t->parent = parent;
	for (p = parent ? &parent->child : &tree->root; *p; p = &(*p)->sibling)
		;
	*p = t;
	for (p = &tree->all; *p; p = &(*p)->next)
		;
	*p = t;
	tree->ntasks++;
	return t;
}

static void task_unlink(struct tree *tree, struct task *t)
{
	struct task **p;

	for (p = t->parent ? &t->parent->child : &tree->root; *p && *p != t; p = &(*p)->sibling)
		;
	if (*p)
		*p = t->sibling;
	for (p = &tree->all; *p && *p != t; p = &(*p)->next)
		;
	if (*p)
		*p = t->next;
	tree->ntasks--;
	proc_status_free(&t->status);
	free(t);
}

/* Number that the tree itself uses: the innermost level the root lives in. */
static pid_t level_nr(const struct pid_levels *l, int level)
{
	return l->n > level ? l->nr[level] : 0;
}

/* The thread itself: what /proc says of it. 0, 1 for a worker of the kernel, -errno is not recorded. */
static int read_thread(struct task *t, pid_t tid, struct thread *th)
{
	struct proc_stat st;
	int err;

	th->task = t;
	if (tid == task_pid(t)) {
		th->tid = t->pid;
		th->kflags = t->stat.flags;
		return 0;
	}
	th->status = xcalloc(1, sizeof(*th->status));
	err = proc_read_stat(task_pid(t), tid, &st);
	if (err == 0)
		err = proc_read_status(task_pid(t), tid, th->status);
	if (err < 0)
		return err;
	th->tid = th->status->nspid;
	th->kflags = st.flags;
	return proc_stat_is_worker(&st);
}

static void thread_free(struct thread *th)
{
	if (th->status)
		proc_status_free(th->status);
	free(th->status);
	free(th);
}

static int collect_threads(struct session *s, struct task *t)
{
	int_list tids = { 0 };
	int err = proc_list_threads(task_pid(t), &tids);

	for (size_t i = 0; i < tids.n && err == 0; i++) {
		struct thread *th = xcalloc(1, sizeof(*th));

		err = read_thread(t, tids.v[i], th);
		if (err == 1 || (err < 0 && s->mode == CR_MODE_CHECK)) {
			err = 0;
			thread_free(th);
			continue;
		}
		*vec_push(&t->threads) = th;
		s->tree->nthreads++;
		if (err == 0 && th->status)
			err = rights_check_task(s, tids.v[i], th->status->cap_prm);
		/* the leader comes first */
		if (err == 0 && thread_tid(th) == task_pid(t) && t->threads.n > 1) {
			t->threads.v[t->threads.n - 1] = t->threads.v[0];
			t->threads.v[0] = th;
		}
	}
	vec_free(&tids);
	if (err == 0 && (!t->threads.n || thread_tid(t->threads.v[0]) != task_pid(t)))
		return s->mode == CR_MODE_CHECK ? 0 : fail(s, ESRCH, "pid %d has no leading thread", task_pid(t));
	return err < 0 ? fail(s, -err, "cannot list the threads of pid %d: %s", task_pid(t), strerror(-err)) : 0;
}

/* Things that make t impossible to restore today; all are reported. */
static void refuse_shape(struct session *s, struct task *t)
{
	const struct task *other;

	at_object(s, "pid %d (%s)", task_pid(t), t->stat.comm);
	if (t->life == TASK_ZOMBIE) {
		if (t->stat.num_threads > 1)
			refuse(s, "let its threads end", "its leading thread has exited but other threads live on");
		return;
	}
	if (t->status.untag_mask && ~t->status.untag_mask)
		refuse(s, NULL, "its addresses carry tags (linear address masking, ARCH_ENABLE_TAGGED_ADDR)");
	if (t->status.tracer && s->mode == CR_MODE_CHECK)
		refuse(s, "end the debugger", "it is traced by pid %d", t->status.tracer);
	other = kcmp_find_or_add(&s->tree->by_vm, task_pid(t), KCMP_VM, t);
	if (other)
		refuse(s, "wait until it has called exec or exited (vfork)",
		       "it shares its memory with pid %d without being its thread", task_pid(other));
}

/* Each pid namespace level below the root's own is one too many. */
static void refuse_nested(struct session *s, struct task *t)
{
	struct task *root = s->tree->root;

	if (t->status.nspid.n != root->status.nspid.n)
		refuse(s, "dump the inner tree on its own", "it lives in a pid namespace inside the tree's");
	if (t->parent)
		return;
	if (root->status.nspid.n > 1)
		refuse(s, "run stasis inside that namespace (nsenter -p -m)",
		       "it lives in another pid namespace than stasis, which is not dumped yet");
}

static int fill_task(struct session *s, struct task *t, pid_t pid)
{
	int err, level;

	err = proc_read_stat(pid, 0, &t->stat);
	if (err == 0)
		err = proc_read_status(pid, 0, &t->status);
	if (err == 0)
		err = rights_check_task(s, pid, t->status.cap_prm);
	if (err < 0)
		return err;
	t->pid = t->status.nspid;
	if (!t->pid.n) {
		t->pid.n = 1;
		t->pid.nr[0] = pid;
	}
	level = t->pid.n - 1;
	t->vsid = level_nr(&t->status.nssid, level);
	t->vpgid = level_nr(&t->status.nspgid, level);
	t->exit_signal = t->stat.exit_signal;
	t->umask = t->status.has_umask ? t->status.umask : 022;
	switch (t->stat.state) {
	case 'Z':
	case 'X':
		t->life = TASK_ZOMBIE;
		t->exit_code = t->stat.exit_code;
		t->vsid = t->stat.session;
		t->vpgid = t->stat.pgrp;
		return 0;
	case 'T':
		t->life = TASK_STOPPED;
		break;
	default:
		t->life = TASK_ALIVE;
	}
	return collect_threads(s, t);
}

static int list_children(const struct task *t, int_list *ret)
{
	int_list tids = { 0 };
	int err;

	for (size_t i = 0; i < t->threads.n; i++)
		*vec_push(&tids) = thread_tid(t->threads.v[i]);
	err = proc_list_children_of(task_pid(t), &tids, ret);
	vec_free(&tids);
	return err;
}

static int collect_below(struct session *s, struct task *parent, pid_t pid, int depth)
{
	struct task *t = task_new(s->tree, parent);
	int_list kids = { 0 };
	int err = fill_task(s, t, pid);

	if (err == -ENOENT || err == -ESRCH) {
		task_unlink(s->tree, t);
		if (s->mode == CR_MODE_CHECK && parent)
			return 0;
		return fail(s, ESRCH, "there is no process %d", pid);
	}
	if (err < 0)
		return s->err.errnum ? err : fail(s, -err, "cannot read /proc/%d: %s", pid, strerror(-err));
	refuse_shape(s, t);
	refuse_nested(s, t);
	if (t->life == TASK_ZOMBIE)
		return 0;
	err = list_children(t, &kids);
	if (err < 0 && s->mode != CR_MODE_CHECK) {
		vec_free(&kids);
		return fail(s, -err, "cannot list the children of pid %d: %s", pid, strerror(-err));
	}
	err = 0;
	for (size_t i = 0; i < kids.n && err == 0; i++)
		err = collect_below(s, t, kids.v[i], depth + 1);
	vec_free(&kids);
	return err;
}

struct task *tree_by_vpid(struct tree *tree, pid_t vpid)
{
	if (tree)
		FOR_EACH_TASK(t, tree)
			if (task_vpid(t) == vpid)
				return t;
	return NULL;
}

/* Sessions and groups whose numbers nobody in the tree has: allowed only below the user's shell. */
static void refuse_outside(struct session *s)
{
	struct task *root = s->tree->root;
	bool shell_job = opt_flag(s->opts, "shell-job");

	at_object(s, "pid %d (%s)", task_pid(root), root->stat.comm);
	if (root->vsid != task_vpid(root) && !shell_job)
		refuse(s, "--shell-job", "its session %d belongs to a process outside the tree", root->vsid);
	else if (root->vpgid != task_vpid(root) && !shell_job)
		refuse(s, "--shell-job", "its process group %d belongs to a process outside the tree", root->vpgid);
	at_object(s, NULL);
}

int tree_collect(struct session *s, pid_t root)
{
	int err;

	s->phase = "collect";
	s->tree = xcalloc(1, sizeof(*s->tree));
	err = collect_below(s, NULL, root, 0);
	if (err == 0 && s->tree->root->life == TASK_ZOMBIE)
		err = s->tree->root->stat.num_threads > 1 ?
			      fail(s, EOPNOTSUPP, "its leading thread has exited but other threads live on: let its threads "
				   "end first") :
			      fail(s, ESRCH, "process %d has exited already (zombie)", root);
	if (err == 0)
		refuse_outside(s);
	at_object(s, NULL);
	return err;
}

int tree_read(struct task *t, uint64_t addr, void *buf, size_t len)
{
	char path[32];
	_cleanup_fd_ int fd = -1;
	int err;

	snprintf(path, sizeof(path), "/proc/%d/mem", task_pid(t));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	err = fd < 0 ? -errno : pread_full(fd, buf, len, addr);
	return err == -EIO || err == -ENODATA ? -EFAULT : err;
}
