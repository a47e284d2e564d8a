/* SPDX-License-Identifier: MIT */
/*
 * Parent-death signal (of a task and of a thread), dumpable, names of tasks, subreaper; and the death signal comes.
 * The root has signals that do nothing: a detached restore ends as its parent.
 */
#include "prog.h"

#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>

static int *up;
static pid_t *ids;

static int pdeathsig(void)
{
	int sig = -1;

	CHECK(prctl(PR_GET_PDEATHSIG, &sig) == 0);
	return sig;
}

static void *thread(void *arg)
{
	CHECK(prctl(PR_SET_PDEATHSIG, SIGURG) == 0);
	prog_count(up);
	prog_wait_go();
	CHECK(pdeathsig() == SIGURG);
	return NULL;
}

/* Its parent ends after the restore. */
static void grandchild(void *arg)
{
	sigset_t set;
	int sig;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	CHECK(prctl(PR_SET_PDEATHSIG, SIGUSR2) == 0);
	prog_count(up);
	prog_wait_go();
	CHECK(pdeathsig() == SIGUSR2);
	prog_count(&up[1]);
	CHECK(sigwait(&set, &sig) == 0 && sig == SIGUSR2);
	if (getppid() != ids[1])
		prog_fail("the new parent is %d, not %d", getppid(), ids[1]);
}

static void child(void *arg)
{
	char name[16] = "";

	CHECK(prctl(PR_SET_NAME, "(a) b\n\x01") == 0);
	CHECK(prctl(PR_SET_DUMPABLE, 0) == 0);
	ids[0] = prog_child(grandchild, NULL);
	prog_count(up);
	prog_wait_go();
	CHECK(prctl(PR_GET_NAME, name) == 0 && !strcmp(name, "(a) b\n\x01"));
	CHECK(prctl(PR_GET_DUMPABLE) == 0);
	prog_wait_count(&up[1], 1);
}

int main(int argc, char **argv)
{
	int sub = 0;
	pthread_t t;
	pid_t pid;

	prog_init(argc, argv);
	up = prog_shared(4096);
	ids = prog_shared(4096);
	ids[1] = getpid();
	CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
	pid = prog_child(child, NULL);
	CHECK(prctl(PR_SET_PDEATHSIG, SIGWINCH) == 0);
	CHECK(pthread_create(&t, NULL, thread, NULL) == 0);
	prog_wait_count(up, 3);
	prog_ready();
	CHECK(pdeathsig() == SIGWINCH);
	CHECK(prctl(PR_GET_DUMPABLE) == 1);
	CHECK(prctl(PR_GET_CHILD_SUBREAPER, &sub) == 0 && sub == 1);
	CHECK(pthread_join(t, NULL) == 0);
	prog_reap(pid);
	prog_reap(ids[0]);
	prog_ok();
}
