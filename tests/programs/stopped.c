/* SPDX-License-Identifier: MIT */
/* Tasks in a job control stop, one of them with threads: stopped afterwards too, and SIGCONT lets them go on. */
#include "prog.h"

#include <pthread.h>
#include <signal.h>

static int *turns, *up;

static void *other(void *arg)
{
	for (;;) {
		prog_count(&turns[2]);
		prog_nap(5);
	}
	return NULL;
}

static void child(void *arg)
{
	int n = (int)(long)arg;
	pthread_t t;

	if (n == 1) {
		/* a group of its own: SIGTSTP does nothing in an orphaned one */
		CHECK(setpgid(0, 0) == 0);
		CHECK(pthread_create(&t, NULL, other, NULL) == 0);
	}
	prog_count(up);
	while (!prog_has("go2")) {
		prog_count(&turns[n]);
		prog_nap(5);
	}
}

int main(int argc, char **argv)
{
	static const int sig[2] = { SIGSTOP, SIGTSTP };
	int st, was[3];
	pid_t pid[2];

	prog_init(argc, argv);
	turns = prog_shared(4096);
	up = prog_shared(4096);
	for (long i = 0; i < 2; i++)
		pid[i] = prog_child(child, (void *)i);
	prog_wait_count(up, 2);
	prog_wait_count(&turns[2], 2);
	for (int i = 0; i < 2; i++) {
		CHECK(kill(pid[i], sig[i]) == 0);
		CHECK(waitpid(pid[i], &st, WUNTRACED) == pid[i] && WIFSTOPPED(st) && WSTOPSIG(st) == sig[i]);
	}
	memcpy(was, turns, sizeof(was));
	prog_ready();
	prog_nap(100);
	for (int i = 0; i < 2; i++)
		CHECK(prog_state(pid[i], pid[i]) == 'T');
	CHECK(memcmp(was, turns, sizeof(was)) == 0);
	prog_write("go2", "1");
	for (int i = 0; i < 2; i++)
		CHECK(kill(pid[i], SIGCONT) == 0);
	prog_reap(pid[0]);
	prog_reap(pid[1]);
	prog_ok();
}
