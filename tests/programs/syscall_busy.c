/* SPDX-License-Identifier: MIT */
/* Threads that call the kernel all the time: no result is wrong, no call is lost or made twice. */
#include "prog.h"

#include <pthread.h>
#include <sys/syscall.h>

#define THREADS 4

static int up, leave, p[2];
static volatile unsigned long wrote, readn;
static char bad[200];

static void *cheap(void *arg)
{
	pid_t pid = getpid();

	prog_count(&up);
	while (!__atomic_load_n(&leave, __ATOMIC_SEQ_CST))
		for (int i = 0; i < 100; i++)
			if (syscall(SYS_getpid) != pid || syscall(SYS_close, 1000) != -1 || errno != EBADF)
				snprintf(bad, sizeof(bad), "a wrong result (errno %d)", errno);
	return NULL;
}

/* Numbers go through a pipe, one after the other. */
static void *writer(void *arg)
{
	unsigned long n;

	prog_count(&up);
	for (n = 0; !__atomic_load_n(&leave, __ATOMIC_SEQ_CST); n++)
		if (write(p[1], &n, sizeof(n)) != sizeof(n))
			snprintf(bad, sizeof(bad), "write: %d", errno);
	wrote = n;
	close(p[1]);
	return NULL;
}

static void *reader(void *arg)
{
	unsigned long n, want = 0;
	ssize_t r;

	prog_count(&up);
	while ((r = read(p[0], &n, sizeof(n))) == sizeof(n))
		if (n != want++)
			snprintf(bad, sizeof(bad), "read %lu, not %lu", n, want - 1);
	if (r != 0)
		snprintf(bad, sizeof(bad), "read gives %zd, errno %d", r, errno);
	readn = want;
	return NULL;
}

int main(int argc, char **argv)
{
	static void *(*const fn[])(void *) = { cheap, writer, reader, cheap };
	pthread_t t[THREADS];

	prog_init(argc, argv);
	CHECK(pipe(p) == 0);
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_create(&t[i], NULL, fn[i], NULL) == 0);
	prog_wait_count(&up, THREADS);
	prog_ready();
	__atomic_store_n(&leave, 1, __ATOMIC_SEQ_CST);
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
	if (bad[0])
		prog_fail("%s", bad);
	CHECK(wrote == readn && wrote > 0);
	prog_ok();
}
