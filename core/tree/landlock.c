/* SPDX-License-Identifier: MIT */
/*
 * landlock.c: is a task in a Landlock domain?
 *
 * The kernel tells nobody.  But a task in a domain may not look into one outside of it (ptrace(2) and whatever asks for
 * the same right), and get_robust_list(2) asks for that right and changes nothing.  So E makes a process that is
 * outside and otherwise stands open to the task (same ids, no capabilities, dumpable), and the task is made to
 * ask for its list: EPERM means a domain.
 *
 * Only tasks with no_new_privs are asked, as what restricts itself without privilege has to set that; one that did so with
 * privilege is not found.  Nor is a task that another security module confines asked: that could be the one that says no.
 */
#include "tree_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "options.h"

/* A process of these ids that anybody of the same may look into, and how to end it. */
struct stranger {
	uint32_t uid, gid;
	pid_t pid;
	int end; /* write end of a pipe that it waits on */
};

static void be_stranger(uint32_t uid, uint32_t gid, int ready, int wait)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct none[2] = { 0 };
	char c = 0;

	if (syscall(SYS_setresgid, gid, gid, gid) == 0 && syscall(SYS_setresuid, uid, uid, uid) == 0 &&
	    syscall(SYS_capset, &head, none) == 0 && prctl(PR_SET_DUMPABLE, 1) == 0)
		(void)!write(ready, &c, 1);
	close(ready);
	(void)!read(wait, &c, 1);
	_exit(0);
}

/* 0, or -errno: then there is none. */
static int make_stranger(uint32_t uid, uint32_t gid, struct stranger *ret)
{
	int ready[2], end[2], got;
	char c;

	*ret = (struct stranger){ .uid = uid, .gid = gid, .pid = -1, .end = -1 };
	if (pipe2(ready, O_CLOEXEC) < 0)
		return -errno;
	if (pipe2(end, O_CLOEXEC) < 0) {
		got = -errno;
		close(ready[0]);
		close(ready[1]);
		return got;
	}
	ret->pid = fork();
	if (ret->pid == 0) {
		close(ready[0]);
		close(end[1]);
		be_stranger(uid, gid, ready[1], end[0]);
	}
	close(ready[1]);
	close(end[0]);
	ret->end = end[1];
	got = ret->pid > 0 && read(ready[0], &c, 1) == 1 ? 0 : -EPERM;
	close(ready[0]);
	return got;
}

static void end_stranger(struct stranger *st)
{
	cleanup_fd(&st->end);
	if (st->pid > 0)
		while (waitpid(st->pid, NULL, 0) < 0 && errno == EINTR)
			;
	st->pid = -1;
}

/* Another module has a say in what the task may do. */
static bool confined(pid_t pid)
{
	_cleanup_buf_ struct buf b = { 0 };
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/attr/current", pid);
	return read_file(AT_FDCWD, path, &b) == 0 && b.len && strncmp(b.p, "unconfined", 10) != 0;
}

/* 1: it is in a domain; 0: not, or nobody can tell. */
static int ask(struct session *s, struct task *t, pid_t stranger)
{
	struct inject_call c = { .nr = SYS_get_robust_list, .args = { (uint64_t)stranger, 0, 8 }, .ptrmask = 6 };
	int err = warden_inject(s, task_pid(t), task_pid(t), &c, 1);

	return err < 0 ? err : c.ret == -EPERM;
}

static int report(struct session *s, struct task *t)
{
	const char *policy = opt_str(s->opts, "landlock");

	if (strcmp(policy, "drop") == 0) {
		lost(s, "pid %d: it is in a Landlock domain, which is not kept: restored it will be free of it", task_pid(t));
		return 0;
	}
	at_object(s, "pid %d", task_pid(t));
	refuse(s, "--landlock=drop, when it may be free of it in the restored tree",
	       "it is in a Landlock domain, which nobody can read");
	at_object(s, NULL);
	return 0;
}

int landlock_collect(struct session *s)
{
	const char *policy = opt_str(s->opts, "landlock");
	struct stranger st = { .pid = -1, .end = -1 };
	int r = 0;

	if (strcmp(policy, "drop") && strcmp(policy, "refuse"))
		return fail(s, EINVAL, "--landlock %s: neither refuse nor drop", policy);
	FOR_EACH_TASK(t, s->tree) {
		const struct proc_status *own = &t->status;

		if (r < 0 || t->life == TASK_ZOMBIE || !own->no_new_privs || confined(task_pid(t)))
			continue;
		if (st.pid < 0 || st.uid != own->uid[0] || st.gid != own->gid[0]) {
			end_stranger(&st);
			/* without the privilege to become another user E knows only its own kind */
			if (make_stranger(own->uid[0], own->gid[0], &st) < 0)
				continue;
		}
		r = ask(s, t, st.pid);
		if (r > 0)
			r = report(s, t);
	}
	end_stranger(&st);
	return r < 0 ? r : 0;
}
