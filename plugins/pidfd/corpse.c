/* SPDX-License-Identifier: MIT */
/*
 * corpse.c: descriptors of processes that have been reaped before the dump.
 *
 * pidfd_open(2) needs a process: a child of the engine lives until all descriptors of the
 * dead one are open, ends as that one did, and is reaped, all before the first task exists.
 */
#include "pidfd.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* The child: waits for the end of the pipe, or of the engine, and ends as status says. */
static void __attribute__((noreturn)) be_dead(int pipe, uint32_t status)
{
	const struct rlimit none = { 0, 0 };
	int sig = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	sigset_t set;
	char c;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (read(pipe, &c, 1) < 0 && errno == EINTR)
		;
	if (!sig)
		_exit(WEXITSTATUS(status));
	setrlimit(RLIMIT_CORE, &none);
	signal(sig, SIG_DFL);
	sigemptyset(&set);
	sigaddset(&set, sig);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	raise(sig);
	_exit(0);
}

static int corpse_new(struct cr_session *s, struct pidfd_state *st, const struct pidfd *p, struct corpse **ret)
{
	struct corpse c = { .ino = p->ino };
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return cr_fail(s, errno, "pipe2: %s", strerror(errno));
	c.pid = fork();
	if (c.pid == 0) {
		close(ends[1]);
		/* an older one's end is open here too: they go in reverse */
		be_dead(ends[0], p->status);
	}
	close(ends[0]);
	if (c.pid < 0) {
		close(ends[1]);
		return cr_fail(s, EAGAIN, "a process that stands in for one that has ended cannot be made");
	}
	c.pipe = ends[1];
	*ret = vec_push(&st->corpses);
	**ret = c;
	return 0;
}

int corpse_open(struct cr_session *s, struct pidfd_state *st, const struct pidfd *p, int *ret_fd)
{
	struct corpse *c = NULL;
	int fd, err;

	for (size_t i = 0; i < st->corpses.n && !c; i++)
		if (st->corpses.v[i].ino == p->ino)
			c = &st->corpses.v[i];
	if (!c) {
		err = corpse_new(s, st, p, &c);
		if (err < 0)
			return err;
	}
	fd = syscall(SYS_pidfd_open, c->pid, p->flags & (PIDFD_FLAG_NONBLOCK | PIDFD_FLAG_THREAD));
	if (fd < 0)
		return cr_fail(s, errno, "pidfd_open: %s", strerror(errno));
	*ret_fd = fd;
	return CR_OK;
}

void corpses_end(struct pidfd_state *st)
{
	while (st->corpses.n) {
		struct corpse *c = &st->corpses.v[--st->corpses.n];

		close(c->pipe);
		while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	vec_free(&st->corpses);
}
