/* SPDX-License-Identifier: MIT */
/*
 * How likely the kernel is to kill a process when memory is short (oom_score_adj), of a parent, a
 * child that is likelier, one that is as its parent was; and whether a thread writes pages back
 * (PR_SET_IO_FLUSHER), where that may be said.
 */
#include "prog.h"

#include <pthread.h>
#include <sys/prctl.h>

static int *up, threads_up, flusher = 1;

static int score(void)
{
	char text[32] = "";
	int fd = open("/proc/self/oom_score_adj", O_RDONLY);

	CHECK(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && close(fd) == 0);
	return atoi(text);
}

static void set_score(int n)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY);

	CHECK(fd >= 0 && dprintf(fd, "%d", n) > 0 && close(fd) == 0);
	CHECK(score() == n);
}

static void likelier(void *arg)
{
	set_score(900);
	prog_count(up);
	prog_wait_go();
	CHECK(score() == 900);
}

static void same(void *arg)
{
	int was = score();

	prog_count(up);
	prog_wait_go();
	CHECK(score() == was);
}

static void *flushes(void *arg)
{
	flusher = prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) == 0;
	if (!flusher)
		printf("PR_SET_IO_FLUSHER is not allowed here: %s\n", strerror(errno));
	prog_count(&threads_up);
	prog_wait_go();
	CHECK(!flusher || prctl(PR_GET_IO_FLUSHER, 0, 0, 0, 0) == 1);
	return NULL;
}

int main(int argc, char **argv)
{
	pid_t pid[2];
	pthread_t t;

	prog_init(argc, argv);
	up = prog_shared(4096);
	CHECK(pthread_create(&t, NULL, flushes, NULL) == 0);
	set_score(score() > 300 ? score() : 300);
	pid[0] = prog_child(likelier, NULL);
	pid[1] = prog_child(same, NULL);
	prog_wait_count(up, 2);
	prog_wait_count(&threads_up, 1);
	set_score(600);
	prog_ready();
	CHECK(score() == 600);
	CHECK(!flusher || prctl(PR_GET_IO_FLUSHER, 0, 0, 0, 0) == 0);
	CHECK(pthread_join(t, NULL) == 0);
	prog_reap(pid[0]);
	prog_reap(pid[1]);
	prog_ok();
}
