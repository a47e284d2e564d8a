/* SPDX-License-Identifier: MIT */
#include "job.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void give(const struct job *j, pid_t group)
{
	if (j->tty >= 0)
		tcsetpgrp(j->tty, group);
}

void job_take_terminal(struct job *j, pid_t root)
{
	j->root = root;
	j->group = getpgid(root);
	j->tty = -1;
	if (j->group < 0 || j->group == getpgrp() || getsid(root) != getsid(0))
		return;
	j->tty = open("/dev/tty", O_RDWR | O_CLOEXEC);
	if (j->tty < 0)
		return;
	if (tcgetpgrp(j->tty) != getpgrp()) {
		/* we run in the background ourselves */
		close(j->tty);
		j->tty = -1;
		return;
	}
	signal(SIGTTOU, SIG_IGN); /* for taking it back */
	give(j, j->group);
}

/* The job has stopped: so do we, until somebody continues us. */
static void stop_together(const struct job *j)
{
	give(j, getpgrp());
	raise(SIGSTOP);
	if (j->tty >= 0 && tcgetpgrp(j->tty) == getpgrp())
		give(j, j->group);
	kill(-j->group, SIGCONT);
}

int job_wait(struct job *j)
{
	int status;

	for (;;) {
		if (waitpid(j->root, &status, j->tty >= 0 ? WUNTRACED : 0) < 0) {
			if (errno == EINTR)
				continue;
			status = 1 << 8;
			break;
		}
		if (!WIFSTOPPED(status))
			break;
		stop_together(j);
	}
	give(j, getpgrp());
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
