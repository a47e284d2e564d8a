/* SPDX-License-Identifier: MIT */
/*
 * Freezing a tree to a fixpoint.
 *
 * A pass walks /proc from the root and seizes and interrupts every thread that is
 * new; then all that were interrupted are waited for.  When a pass that began with
 * everybody held finds nothing new, nobody was left who could have made something
 * new: the tree is frozen.  With a cgroup freezer the first pass already sees a
 * tree that stands still.
 *
 * A thread that vforked cannot stop before its child has executed another program
 * or exited: then the child is let go for a moment.
 */
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define LEADER_WAIT_MS 300
#define STOP_WAIT_US 5000 /* for one thread, before the others are asked */

/* Children of one thread, appended; taskdir: /proc/PID/task. One that vanished has none. */
static void add_children(int taskdir, pid_t tid, int_list *ret)
{
	char name[32], text[4096];
	_cleanup_fd_ int fd = -1;
	size_t left = 0;
	ssize_t n;

	snprintf(name, sizeof(name), "%d/children", tid);
	fd = openat(taskdir, name, O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && (n = read(fd, text + left, sizeof(text) - 1 - left)) > 0) {
		char *p = text, *sp;

		text[left + n] = 0;
		for (; (sp = strchr(p, ' ')); p = sp + 1)
			*vec_push(ret) = atoi(p);
		left = strlen(p); /* a number that goes on in the next piece */
		memmove(text, p, left);
	}
}

/* Seizes the new threads of pid and appends its children. Number of new threads, or -errno. */
static int scan_process(struct server *sv, pid_t pid, int_list *pids)
{
	_cleanup_fd_ int taskdir = -1;
	int_list tids = { 0 };
	int found = 0, err = 0;
	char path[32];

	if (pid == getpid() || pid == sv->engine)
		return wd_fail(sv, -EINVAL, "the tree contains this program itself (pid %d); start it elsewhere", pid);
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	taskdir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (taskdir < 0)
		return 0; /* gone */
	proc_list_threads(pid, &tids);
	for (size_t i = 0; i < tids.n && err >= 0; i++) {
		/* stopped, it would give up what it does for the program */
		if (!tracee_find(sv, tids.v[i]) && !proc_is_worker(pid, tids.v[i])) {
			err = tracee_seize(sv, pid, tids.v[i]);
			found += err == 1;
		}
		add_children(taskdir, tids.v[i], pids);
	}
	vec_free(&tids);
	return err < 0 ? err : found;
}

/* One pass: number of new threads, or -errno. */
static int scan(struct server *sv, pid_t root, uint64_t deadline)
{
	int_list pids = { 0 };
	int found = 0, n = 0;

	*vec_push(&pids) = root;
	seizes_begin(sv, deadline);
	for (size_t i = 0; i < pids.n && n >= 0; i++) {
		n = scan_process(sv, pids.v[i], &pids);
		found += MAX_OF(n, 0);
	}
	waits_end();
	vec_free(&pids);
	return n < 0 ? n : found;
}

/*
 * Takes what has been reported; returns how many still run.  The first that has not stopped yet is waited for, until the
 * timer of waits_begin(): most of the others stop meanwhile, and asking each of them at each stop would cost too much.
 */
static size_t poll_running(struct server *sv)
{
	int status, flags = __WALL;
	size_t running = 0;

	FOR_EACH_TRACEE(t, sv) {
		pid_t r = 1;

		while (t->state == TR_RUNNING && r) {
			r = waitpid(t->tid, &status, flags);
			if (r > 0)
				tracee_settle(sv, t, status);
			else if (r < 0 && errno == EINTR)
				flags |= WNOHANG;
			else if (r < 0)
				tracee_gone(sv, t);
		}
		running += t->state == TR_RUNNING;
	}
	return running;
}

static void let_go(struct server *sv, pid_t pid)
{
	FOR_EACH_TRACEE(t, sv)
		if (t->tgid == pid && t->state == TR_HELD && pt(PTRACE_DETACH, t->tid, 0, 0) == 0)
			tracee_gone(sv, t);
}

/* Zombies drop out; children that a vfork waits for run on, the next pass finds them again. */
static void help_stragglers(struct server *sv)
{
	FOR_EACH_TRACEE(t, sv) {
		struct proc_stat st = { 0 };
		int_list children = { 0 };

		if (t->state != TR_RUNNING)
			continue;
		if (proc_read_stat(t->tgid, t->tid, &st) < 0 || st.state == 'Z' || st.state == 'X') {
			tracee_gone(sv, t);
			continue;
		}
		if (st.state != 'D')
			continue;
		proc_list_children(t->tgid, &children);
		for (size_t i = 0; i < children.n; i++)
			let_go(sv, children.v[i]);
		vec_free(&children);
	}
}

static int timed_out(struct server *sv, unsigned timeout)
{
	struct proc_stat st = { 0 };
	char others[40] = "";
	size_t more = 0;
	pid_t pid = 0, tid = 0;

	FOR_EACH_TRACEE(t, sv) {
		if (t->state != TR_RUNNING)
			continue;
		if (tid) {
			more++;
			continue;
		}
		pid = t->tgid;
		tid = t->tid;
	}
	if (!tid)
		return wd_fail(sv, -ETIMEDOUT, "the tree makes new tasks faster than they can be stopped "
			       "(%u s); try --freeze-cgroup", timeout);
	proc_read_stat(pid, tid, &st);
	if (more)
		snprintf(others, sizeof(others), " and %zu more threads", more);
	return wd_fail(sv, -ETIMEDOUT, "pid %d tid %d (%s)%s could not be stopped within %u s: state %c%s; see --timeout",
		       pid, tid, st.comm, others, timeout, st.state ? st.state : '?',
		       st.state == 'D' ? ", waiting in the kernel" : "");
}

static int collect(struct server *sv, uint64_t deadline, unsigned timeout)
{
	int err = 0;

	waits_begin(STOP_WAIT_US);
	for (unsigned idle = 0; !err && poll_running(sv); idle++) {
		if (now_us() >= deadline)
			err = timed_out(sv, timeout);
		else if (idle % 8 == 7)
			help_stragglers(sv);
	}
	waits_end();
	return err;
}

/*
 * False when one of those held is not what it was: an exec in another thread gives the
 * leader's number to that thread.
 */
static bool all_held(struct server *sv)
{
	unsigned long msg;
	bool all = true;

	FOR_EACH_TRACEE(t, sv) {
		if (t->state == TR_HELD && pt_sure(PTRACE_GETEVENTMSG, t->tid, 0, (uintptr_t)&msg) == 0)
			continue;
		tracee_gone(sv, t); /* the next pass takes it up again */
		all = false;
	}
	tracees_sweep(sv);
	return all;
}

/*
 * Why a root without a running leader cannot be dumped.  While another thread than the leader executes a program there is
 * no leader for a moment: 0 when it has come back.
 */
static int dead_root(struct server *sv, pid_t root)
{
	struct proc_stat st = { 0 };

	for (int i = 0; i < LEADER_WAIT_MS; i++) {
		if (proc_read_stat(root, 0, &st) < 0 || st.num_threads < 2)
			break;
		if (st.state != 'Z' && st.state != 'X')
			return 0;
		usleep(1000);
	}
	if (proc_read_stat(root, 0, &st) == 0 && st.num_threads > 1)
		return wd_fail(sv, -EOPNOTSUPP, "the leading thread of process %d has exited but other threads live on: "
			       "let its threads end first", root);
	return wd_fail(sv, -ESRCH, "process %d has exited and waits to be reaped", root);
}

static int check_root(struct server *sv, pid_t root)
{
	struct proc_status st = { 0 };
	int err = proc_read_status(root, 0, &st);

	if (err && err != -ENOENT && err != -ESRCH)
		err = wd_fail(sv, err, "cannot read /proc/%d/status: %s", root, strerror(-err));
	else if (err)
		err = wd_fail(sv, -ESRCH, "there is no process %d", root);
	else if (st.tgid != root)
		err = wd_fail(sv, -EINVAL, "%d is a thread of process %d; give that number", root, st.tgid);
	else if (st.state == 'Z' || st.state == 'X')
		err = dead_root(sv, root);
	proc_status_free(&st);
	return err;
}

/* The passes. */
static int freeze_tree(struct server *sv, pid_t root, const char *cgroup, unsigned timeout)
{
	uint64_t deadline = now_us() + timeout * 1000000ull;
	int err = 0, found;

	if (*cgroup)
		err = freezer_freeze(sv, cgroup, deadline);
	while (!err) {
		bool held = all_held(sv);
		pid_t dog = freezer_watchdog(sv);

		found = dog < 0 ? dog : scan(sv, root, deadline);
		freezer_watchdog_end(dog);
		err = found < 0 ? found : 0;
		if (!err)
			err = freezer_thaw(sv);
		if (!err)
			err = collect(sv, deadline, timeout);
		if (!err && held && !found && sv->t.n)
			return 0;
		if (!err && !found && !sv->t.n)
			err = wd_fail(sv, -ESRCH, "process %d is gone", root);
		if (!err && now_us() >= deadline)
			err = timed_out(sv, timeout);
	}
	return err;
}

int wd_freeze(struct server *sv, pid_t root, const char *cgroup, unsigned timeout)
{
	int err = check_root(sv, root);

	if (!err && sv->t.n)
		err = wd_fail(sv, -EALREADY, "a tree is frozen already");
	if (!err)
		err = freeze_tree(sv, root, cgroup, timeout ? timeout : 10);
	if (err) {
		freezer_restore(sv);
		tracees_detach(sv);
		return err;
	}
	journal_note(sv, "held: tree %d, %zu threads, by pid %d", root, sv->t.n, getpid());
	FOR_EACH_TRACEE(t, sv)
		if (t->tid == t->tgid && sv->fz.dirfd >= 0)
			journal_note(sv, "held: pid %d", t->tid);
	return 0;
}
