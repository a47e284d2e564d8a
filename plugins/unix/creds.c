/* SPDX-License-Identifier: MIT */
/*
 * creds.c: whom SO_PEERCRED names.
 *
 * The kernel notes pid, uid and gid of the process that calls socketpair(2), listen(2)
 * or connect(2), for ever; it keeps the number of a process that has ended.  So at
 * restore these calls are made by a short-lived child with that pid, which is free as
 * yet, and those ids; it shares the descriptors with the engine.
 */
#include "unix.h"

#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "x-unix-cred.pb-c.h"

const struct cr_img_type unix_img_creds = { sizeof(unix_img_creds), "x-unix-creds", 0x58554e43, 0 };

/* ---- dump ---- */

pid_t creds_tree_pid(struct cr_session *s, pid_t pid)
{
	for (struct cr_task *t = s->core->task_next(s, NULL); t; t = s->core->task_next(s, t))
		if (s->core->task_pid(t) == pid)
			return s->core->task_vpid(t);
	return pid;
}

int creds_dump(struct cr_session *s, struct cr_file *f, int lfd)
{
	UnixCredEntry e = UNIX_CRED_ENTRY__INIT;
	struct ucred c = { 0 };
	socklen_t len = sizeof(c);

	if (getsockopt(lfd, SOL_SOCKET, SO_PEERCRED, &c, &len) || c.uid == (uid_t)-1)
		return 0;
	e.id = s->core->file_id(f);
	e.pid = c.pid > 0 ? creds_tree_pid(s, c.pid) : 0;
	e.uid = c.uid;
	e.gid = c.gid;
	return common_append(s, &unix_img_creds, CR_IMG_NO_ID, &e.base);
}

/* ---- restore ---- */

#define PID_WAIT_US 10000000

static int read_creds(struct cr_session *s, struct cr_reader *r)
{
	struct unix_state *st = unix_state(s);
	UnixCredEntry *e;
	int ret;

	while ((ret = common_next(s, r, &unix_cred_entry__descriptor, (void **)&e)) > 0) {
		*vec_push(&st->creds) = (struct sk_cred){ e->id, (pid_t)e->pid, e->uid, e->gid, 0 };
		ret = e->pid > INT32_MAX ? -EPROTO : 0;
		common_free_msg(e);
		if (ret < 0)
			return cr_fail(s, EPROTO, "x-unix-creds.img: no such pid");
	}
	return ret;
}

int creds_load(struct cr_session *s)
{
	struct cr_reader *r;
	int err = s->core->img_open(s, &unix_img_creds, CR_IMG_NO_ID, &r);

	if (err < 0)
		return err == -ENOENT ? 0 : err;
	err = read_creds(s, r);
	s->core->img_close(r);
	return err;
}

const struct sk_cred *creds_of(struct cr_session *s, struct cr_file *f)
{
	struct unix_state *st = unix_state(s);

	for (size_t i = 0; f && i < st->creds.n; i++)
		if (st->creds.v[i].id == s->core->file_id(f)) {
			st->creds.v[i].in_tree = s->core->task_by_vpid(s, st->creds.v[i].pid) != NULL;
			return &st->creds.v[i];
		}
	return NULL;
}

#define CANNOT_BECOME 255 /* exit status of a child that is not who it should be */

static pid_t fork_as(pid_t pid)
{
	struct clone_args a = { .flags = CLONE_FILES, .exit_signal = SIGCHLD };

	if (pid > 0) {
		a.set_tid = (uintptr_t)&pid;
		a.set_tid_size = 1;
	}
	return syscall(SYS_clone3, &a, sizeof(a));
}

static int become_and_call(const struct sk_cred *c, int (*fn)(void *arg), void *arg)
{
	/* raw: libc's wrappers may look for threads that this child lacks */
	if (syscall(SYS_setresgid, c->gid, c->gid, c->gid) || syscall(SYS_setresuid, c->uid, c->uid, c->uid))
		return -CANNOT_BECOME;
	return fn(arg);
}

static int call_as(struct cr_session *s, const struct sk_cred *c, int (*fn)(void *arg), void *arg)
{
	uint64_t *deadline = &unix_state(s)->pid_deadline;
	pid_t pid = fork_as(c->pid);
	int status = 0;

	/* what is left of the killed tree may take a while to go */
	if (pid < 0 && errno == EEXIST && c->in_tree && !*deadline)
		*deadline = now_us() + PID_WAIT_US;
	while (pid < 0 && errno == EEXIST && c->in_tree && now_us() < *deadline) {
		usleep(10000);
		pid = fork_as(c->pid);
	}
	if (pid < 0 && c->pid) /* taken: at least the user is right */
		pid = fork_as(0);
	if (pid == 0)
		_exit(-become_and_call(c, fn, arg) & 0xff);
	if (pid < 0)
		return -ECANCELED;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
}

int creds_call(struct cr_session *s, const struct sk_cred *c, int (*fn)(void *arg), void *arg)
{
	int err = c ? call_as(s, c, fn, arg) : -EPERM;

	/* an unmapped user, a path that is not the user's: it works without */
	return err ? fn(arg) : 0;
}

int creds_send(struct cr_session *s, const struct sk_cred *c, int (*fn)(void *arg), void *arg)
{
	int err = call_as(s, c, fn, arg);

	return err == -CANNOT_BECOME || err == -ECANCELED ? fn(arg) : err;
}
