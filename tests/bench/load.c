/* SPDX-License-Identifier: MIT */
/*
 * load.c SCENARIO [N]: a program to be dumped by tests/bench/run.
 *
 * Makes its state, creates the file "ready" in the current directory and waits.  At
 * SIGUSR1 it looks at its state again and writes "result": "ok", or what is wrong;
 * the scenario "running" writes the largest gap it saw between two looks at the
 * clock, in microseconds.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096ul
#define MIB (1ul << 20)

static char *area;
static size_t area_pages, stride = 1; /* every stride-th page is written */

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void write_text(const char *name, const char *text)
{
	int fd = open("tmp", O_WRONLY | O_CREAT | O_TRUNC, 0644);

	if (fd < 0 || write(fd, text, strlen(text)) < 0 || close(fd) || rename("tmp", name))
		die(name);
}

static void make_area(size_t bytes, size_t step)
{
	area = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (area == MAP_FAILED)
		die("mmap");
	area_pages = bytes / PAGE;
	stride = step;
	for (size_t i = 0; i < area_pages; i += stride) {
		uint64_t *p = (uint64_t *)(area + i * PAGE);

		for (size_t k = 0; k < PAGE / 8; k++)
			p[k] = (i + 1) * 0x9e3779b97f4a7c15ull + k;
	}
}

static int area_good(void)
{
	for (size_t i = 0; i < area_pages; i += stride) {
		uint64_t *p = (uint64_t *)(area + i * PAGE);

		for (size_t k = 0; k < PAGE / 8; k++)
			if (p[k] != (i + 1) * 0x9e3779b97f4a7c15ull + k)
				return 0;
	}
	return 1;
}

static void make_processes(int n, int check)
{
	for (int i = 0; i < n; i++) {
		pid_t pid = fork();

		if (pid < 0)
			die("fork");
		if (pid)
			continue;
		while (!check)
			pause();
		sigset_t set;
		int sig;

		sigemptyset(&set);
		sigaddset(&set, SIGUSR1);
		while (sigwait(&set, &sig) != 0)
			;
		_exit(!area_good());
	}
}

static void *thread(void *arg)
{
	for (;;)
		pause();
	return arg;
}

static void make_threads(int n)
{
	pthread_attr_t a;
	pthread_t t;

	pthread_attr_init(&a);
	pthread_attr_setstacksize(&a, 64 << 10);
	for (int i = 0; i < n; i++)
		if (pthread_create(&t, &a, thread, NULL))
			die("pthread_create");
}

static void make_descriptors(int n)
{
	char name[32];

	for (int i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "file%d", i);
		if ((i & 1 ? eventfd(i, 0) : open(name, O_RDWR | O_CREAT, 0644)) < 0)
			die("descriptors");
	}
}

static void make_mappings(int n)
{
	area = mmap(NULL, n * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (area == MAP_FAILED)
		die("mmap");
	for (int i = 0; i < n; i++) {
		area[i * PAGE] = 1;
		if (i & 1 && mprotect(area + i * PAGE, PAGE, PROT_READ))
			die("mprotect");
	}
}

static volatile sig_atomic_t stop;

static void on_usr1(int sig)
{
	(void)sig;
	stop = 1;
}

static void stamp_clock(void)
{
	struct timespec a, b;
	long most = 0;
	char text[32];

	signal(SIGUSR1, on_usr1);
	clock_gettime(CLOCK_MONOTONIC, &a);
	while (!stop) {
		clock_gettime(CLOCK_MONOTONIC, &b);
		long us = (b.tv_sec - a.tv_sec) * 1000000 + (b.tv_nsec - a.tv_nsec) / 1000;

		most = us > most ? us : most;
		a = b;
	}
	snprintf(text, sizeof(text), "%ld", most);
	write_text("result", text);
	exit(0);
}

static const char *children_good(int n)
{
	signal(SIGUSR1, SIG_IGN);
	kill(0, SIGUSR1);
	for (int i = 0; i < n; i++) {
		int status;

		if (wait(&status) < 0 || status)
			return "the memory of a child is wrong";
	}
	return "ok";
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "idle", *result = "ok";
	int n = argc > 2 ? atoi(argv[2]) : 0, sig;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	if (strcmp(what, "running"))
		sigprocmask(SIG_BLOCK, &set, NULL);
	if (!strcmp(what, "processes"))
		make_processes(n, 0);
	else if (!strcmp(what, "threads"))
		make_threads(n);
	else if (!strcmp(what, "descriptors"))
		make_descriptors(n);
	else if (!strcmp(what, "mappings"))
		make_mappings(n);
	else if (!strcmp(what, "memory") || !strcmp(what, "running"))
		make_area(n * MIB, 1);
	else if (!strcmp(what, "sparse"))
		make_area(n * MIB, n * MIB / PAGE / 1024);
	else if (!strcmp(what, "forked")) {
		make_area(n * MIB, 1);
		make_processes(8, 1);
	}
	write_text("ready", "");
	if (!strcmp(what, "running"))
		stamp_clock();
	while (sigwait(&set, &sig) != 0)
		;
	if (strcmp(what, "mappings") && !area_good())
		result = "the memory is wrong";
	else if (!strcmp(what, "forked"))
		result = children_good(8);
	write_text("result", result);
	return 0;
}
