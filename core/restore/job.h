/* SPDX-License-Identifier: MIT */
/*
 * job.h: the restored tree as a job of the terminal that restore was called from
 * (--shell-job without -d): E does for it what a shell does for a foreground job.
 */
#ifndef CORE_JOB_H
#define CORE_JOB_H

#include <sys/types.h>

struct job {
	int tty;     /* our controlling terminal, -1: none, or the job shares our group */
	pid_t root, group;
};

/* The terminal's foreground group becomes root's, if it is ours now. Tree complete but held. Cannot fail: no terminal, no job. */
void job_take_terminal(struct job *j, pid_t root);
/* Waits for the end of root, stopping and continuing with it; gives the terminal back. Its exit status as a shell gives it. */
int job_wait(struct job *j);

#endif
