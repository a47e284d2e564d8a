/* SPDX-License-Identifier: MIT */
/*
 * pids.c: are the numbers free that the tasks had?  A zombie is waited for: those of the dump are reaped soon.  A number
 * can also be in use without a process, as that of a process group or session whose first member is gone.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "proc.h"
#include "restore_priv.h"

static bool is_dead(const struct proc_stat *st)
{
	return st->state == 'Z' || st->state == 'X';
}

static bool in_use(pid_t pid)
{
	return kill(pid, 0) == 0 || errno != ESRCH;
}

static bool is_group(pid_t nr)
{
	return nr > 1 && (kill(-nr, 0) == 0 || errno != ESRCH);
}

static const char *comm_of(pid_t pid, struct proc_stat *st)
{
	return proc_read_stat(pid, 0, st) < 0 ? "?" : st->comm;
}

static int taken(struct session *s, pid_t pid, const struct proc_stat *st)
{
	struct proc_stat parent;

	if (is_dead(st))
		return fail(s, EEXIST, "pid %d is taken by a zombie (%s): its parent, pid %d (%s), does not wait for it; end "
			    "that one, "
			    "or restore in a pid namespace of its own", pid, st->comm, st->ppid, comm_of(st->ppid, &parent));
	return fail(s, EEXIST, "pid %d is taken by %s (state %c): end that process, or restore in a pid namespace of its own",
		    pid, st->comm, st->state);
}

/* A process in the group or the session with this number; false: there is none. */
static bool find_member(pid_t nr, pid_t *ret_pid, struct proc_stat *ret)
{
	_cleanup_dir_ DIR *d = opendir("/proc");
	struct dirent *e;

	while (d && (e = readdir(d))) {
		*ret_pid = atoi(e->d_name);
		if (*ret_pid > 0 && proc_read_stat(*ret_pid, 0, ret) == 0 && (ret->pgrp == nr || ret->session == nr))
			return true;
	}
	return false;
}

/* What holds the number, as text; false: nothing that can be seen. */
static bool describe_holder(pid_t nr, struct buf *b)
{
	struct proc_stat st;
	pid_t member;

	if (proc_read_stat(nr, 0, &st) == 0)
		buf_printf(b, "%s (%s)", is_dead(&st) ? "a zombie" : "a process", st.comm);
	else if (find_member(nr, &member, &st))
		buf_printf(b, "the process %s of pid %d (%s)", st.pgrp == nr ? "group" : "session", member, st.comm);
	return b->len > 0;
}

int restore_pid_held(struct session *s, pid_t pid)
{
	_cleanup_buf_ struct buf b = { 0 };

	if (!describe_holder(pid, &b))
		buf_printf(&b, "somebody who cannot be seen from here");
	return fail(s, EEXIST, "the number %d is in use by %s: end that, or restore in a pid namespace of its own", pid, b.p);
}

void restore_note_held(struct session *s)
{
	FOR_EACH_TASK(t, s->tree)
		for (size_t i = 0; i < t->threads.n; i++) {
			pid_t nr = thread_vtid(t->threads.v[i]), member;
			struct proc_stat st;

			if (!in_use(nr) && find_member(nr, &member, &st))
				log_error("the number %d is in use by the process %s of pid %d (%s)", nr,
					  st.pgrp == nr ? "group" : "session", member, st.comm);
		}
}

static long pid_max(void)
{
	_cleanup_buf_ struct buf b = { 0 };

	return read_file(AT_FDCWD, "/proc/sys/kernel/pid_max", &b) == 0 && b.len ? atol(b.p) : 0;
}

int restore_pid_beyond(struct session *s, pid_t pid)
{
	return fail(s, EINVAL, "pid %d: numbers here end at %ld: raise kernel.pid_max", pid, pid_max() - 1);
}

void restore_check_pids(struct session *s)
{
	long max = pid_max();

	FOR_EACH_TASK(t, s->tree) {
		for (size_t i = 0; i < t->threads.n; i++) {
			pid_t pid = thread_vtid(t->threads.v[i]);
			struct proc_stat st;

			if (max && pid >= max)
				restore_pid_beyond(s, pid);
			else if (!in_use(pid) && is_group(pid))
				restore_pid_held(s, pid);
			else if (in_use(pid) && proc_read_stat(pid, 0, &st) == 0 && !is_dead(&st))
				taken(s, pid, &st); /* a zombie is waited for */
		}
	}
}

/* Waits for pid to be free as long as only a zombie has it, or a group whose last members may just be ending. */
static int wait_pid_free(struct session *s, pid_t pid, uint64_t *deadline)
{
	const struct timespec nap = { 0, 10000000 };
	struct proc_stat st;

	for (;;) {
		bool late = now_us() > *deadline;

		if (!in_use(pid)) {
			if (!is_group(pid))
				return 0;
			if (late)
				return restore_pid_held(s, pid);
		} else if (proc_read_stat(pid, 0, &st) == 0 && (!is_dead(&st) || late)) {
			return taken(s, pid, &st);
		}
		nanosleep(&nap, NULL);
	}
}

int restore_wait_pids(struct session *s)
{
	uint64_t deadline = now_us() + PID_WAIT_US;
	int err = 0;

	FOR_EACH_TASK(t, s->tree)
		for (size_t i = 0; i < t->threads.n && err == 0; i++)
			err = wait_pid_free(s, thread_vtid(t->threads.v[i]), &deadline);
	for (size_t i = 0; i < s->restore->exits.n && err == 0; i++)
		err = wait_pid_free(s, s->restore->exits.v[i], &deadline);
	return err;
}
