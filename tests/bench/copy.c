/* SPDX-License-Identifier: MIT */
/*
 * copy.c out|in|both DIR MIB THREADS: what a plain copy of so many bytes costs, in seconds on stdout.
 *
 *   out   memory to new files in DIR, one a thread, write(2) a megabyte at a time
 *   in    those files to fresh memory, read(2)
 *   both  those files to other new files, read(2) and write(2)
 *   rm    removes all of them
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define STEP (1ul << 20)
#define THREADS_MAX 64

static const char *how, *dir;
static size_t bytes; /* of a thread */
static char *memory;

static int open_part(const char *kind, long i, int flags)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/%s%ld", dir, kind, i);
	fd = open(path, flags, 0600);
	if (fd < 0) {
		perror(path);
		exit(1);
	}
	return fd;
}

static void check(ssize_t n)
{
	if (n != (ssize_t)STEP) {
		perror("copy");
		exit(1);
	}
}

static void *part(void *arg)
{
	long i = (long)arg;
	char *mine = memory + i * bytes, *buf = malloc(STEP);
	int out = strcmp(how, "in") ? open_part(*how == 'o' ? "part" : "copy", i, O_WRONLY | O_CREAT | O_TRUNC) : -1;
	int in = strcmp(how, "out") ? open_part("part", i, O_RDONLY) : -1;

	memset(buf, 1, STEP);
	for (size_t at = 0; at < bytes; at += STEP) {
		if (in >= 0)
			check(read(in, out < 0 ? mine + at : buf, STEP));
		if (out >= 0)
			check(write(out, in < 0 ? mine + at : buf, STEP));
	}
	free(buf);
	return NULL;
}

static void remove_all(int threads)
{
	char path[512];

	for (int i = 0; i < threads; i++) {
		snprintf(path, sizeof(path), "%s/part%d", dir, i);
		unlink(path);
		snprintf(path, sizeof(path), "%s/copy%d", dir, i);
		unlink(path);
	}
}

int main(int argc, char **argv)
{
	int threads = argc > 4 ? atoi(argv[4]) : 0;
	pthread_t t[THREADS_MAX];
	struct timespec a, b;

	if (threads < 1 || threads > THREADS_MAX)
		return 2;
	how = argv[1];
	dir = argv[2];
	bytes = atol(argv[3]) * STEP / threads / STEP * STEP;
	if (!strcmp(how, "rm")) {
		remove_all(threads);
		return 0;
	}
	memory = mmap(NULL, bytes * threads, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED)
		return 1;
	if (!strcmp(how, "out"))
		memset(memory, 7, bytes * threads);
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (long i = 0; i < threads; i++)
		pthread_create(&t[i], NULL, part, (void *)i);
	for (int i = 0; i < threads; i++)
		pthread_join(t[i], NULL);
	clock_gettime(CLOCK_MONOTONIC, &b);
	printf("%.3f\n", (b.tv_sec - a.tv_sec) + (b.tv_nsec - a.tv_nsec) / 1e9);
	return 0;
}
