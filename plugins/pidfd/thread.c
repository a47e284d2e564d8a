/* SPDX-License-Identifier: MIT */
/*
 * thread.c: descriptors of single threads (PIDFD_THREAD).
 *
 * Threads are the last that a restored process makes, long after its descriptors.  So the process opens such a
 * descriptor itself, at CR_STAGE_OWN, when all of its threads are there, and puts it into the numbers that a placeholder
 * has had until then.
 */
#include "pidfd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define IMM(v) ((struct cr_arg)CR_IMM(v))
#define CALL(s, t, want, nr, ...) \
	((s)->core->plan_syscall((s), (t), CR_STAGE_OWN, (nr), (const struct cr_arg[6]){ __VA_ARGS__ }, (want)))

pid_t thread_field(pid_t tid, const char *name)
{
	_cleanup_buf_ struct buf b = { 0 };
	const char *line, *last;
	char path[48];

	snprintf(path, sizeof(path), "/proc/%d/status", tid);
	if (read_file(AT_FDCWD, path, &b) < 0)
		return 0;
	line = strstr(b.p, name);
	if (!line)
		return 0;
	/* the last of several: NSpid, as the innermost namespace has it */
	b.p[line - b.p + strlen(name) + strcspn(line + strlen(name), "\n")] = 0;
	last = strrchr(line, '\t');
	return last ? atoi(last + 1) : 0;
}

int thread_check(struct cr_session *s, struct cr_file *f, pid_t process, pid_t tid)
{
	struct cr_task *t;
	int fd;

	if (s->core->file_slot(s, f, 0, &t, &fd) < 0)
		return cr_refuse(s, "let the program receive it before the dump",
				 "the pidfd of thread %d is on its way through a socket: only its own process can make it "
				 "again", tid);
	for (size_t i = 0; !s->core->file_slot(s, f, i, &t, &fd); i++)
		if (s->core->task_pid(t) != process)
			return cr_refuse(s, "--policy pidfd=close, if it can do without",
					 "the pidfd is of thread %d of process %d, and process %d has it: only its own "
					 "process can "
					 "make it again", tid, process, s->core->task_pid(t));
	return 0;
}

int thread_open(struct cr_session *s, int *ret_fd)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return cr_fail(s, errno, "/dev/null: %s", strerror(errno));
	*ret_fd = fd;
	return CR_OK;
}

int thread_wire(struct cr_session *s, struct cr_file *f, const struct pidfd *p)
{
	const struct cr_arg args[6] = { IMM(p->nspid), IMM(p->flags & (PIDFD_FLAG_NONBLOCK | PIDFD_FLAG_THREAD)) };
	struct cr_task *t;
	uint64_t made;
	int fd, err = s->core->file_slot(s, f, 0, &t, &fd);

	if (err < 0)
		return cr_fail(s, EPROTO, "the image has a pidfd of thread %d that no process has", p->nspid);
	err = s->core->plan_call(s, t, CR_STAGE_OWN, SYS_pidfd_open, args, CR_WANT_NONNEG, &made);
	for (size_t i = 0; !err && !s->core->file_slot(s, f, i, &t, &fd); i++)
		err = common_queue_move(s, t, CR_STAGE_OWN, made, fd);
	return err ? err : CALL(s, t, CR_WANT_ZERO, SYS_close, CR_LOAD(made));
}

int thread_verify(struct cr_session *s, struct cr_file *f, const struct pidfd *p)
{
	pid_t process = thread_field(p->nspid, "\nTgid:");
	struct cr_task *t;
	int fd;

	if (!s->core->file_slot(s, f, 0, &t, &fd) && process && process == s->core->task_vpid(t))
		return 0;
	return cr_fail(s, EPROTO, "the image has a pidfd of thread %d, which is not one of its process", p->nspid);
}
