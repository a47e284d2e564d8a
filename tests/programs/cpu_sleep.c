/* SPDX-License-Identifier: MIT */
/*
 * Sleeps that are counted in CPU time, clock_nanosleep(2) by the clock of the process and by that
 * of another thread, with and without a remainder: they are no shorter for the time that passes
 * while the tree is idle, frozen or gone, and end when the work is done.
 */
#include "prog.h"

#include <pthread.h>
#include <sys/syscall.h>

#define SLEEP_MS 600
#define SLEEPERS 4

static int up, work, woken;
static pthread_t worker_thread;
static char why[SLEEPERS][200];

static long long cpu_ms(clockid_t clock)
{
	struct timespec ts;

	CHECK(clock_gettime(clock, &ts) == 0);
	return ts.tv_sec * 1000ll + ts.tv_nsec / 1000000;
}

/* Idle until work is set. */
static void *worker(void *arg)
{
	prog_count(&up);
	while (!__atomic_load_n(&work, __ATOMIC_SEQ_CST))
		prog_nap(50);
	while (__atomic_load_n(&woken, __ATOMIC_SEQ_CST) < SLEEPERS && cpu_ms(CLOCK_THREAD_CPUTIME_ID) < 60000)
		;
	return NULL;
}

static void *sleeper(void *arg)
{
	struct timespec ts = { 0, SLEEP_MS * 1000000 }, rem;
	long n = (long)arg;
	clockid_t clock = CLOCK_PROCESS_CPUTIME_ID;
	int r;

	CHECK(!(n & 1) || pthread_getcpuclockid(worker_thread, &clock) == 0);
	prog_count(&up);
	r = syscall(SYS_clock_nanosleep, clock, 0, &ts, n & 2 ? &rem : NULL);
	if (r < 0 || !__atomic_load_n(&work, __ATOMIC_SEQ_CST))
		snprintf(why[n], sizeof(why[n]), "sleeper %ld: %d (%s)%s", n, r, strerror(errno),
			 work ? "" : ", before anybody worked");
	prog_count(&woken);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t t[SLEEPERS];

	prog_init(argc, argv);
	CHECK(pthread_create(&worker_thread, NULL, worker, NULL) == 0);
	prog_wait_count(&up, 1);
	for (long i = 0; i < SLEEPERS; i++)
		CHECK(pthread_create(&t[i], NULL, sleeper, (void *)i) == 0);
	prog_wait_count(&up, SLEEPERS + 1);
	/* much more time than CPU time */
	prog_nap(2 * SLEEP_MS);
	prog_ready();
	prog_nap(100);
	CHECK(__atomic_load_n(&woken, __ATOMIC_SEQ_CST) == 0 || why[0][0] || why[1][0] || why[2][0] || why[3][0]);
	__atomic_store_n(&work, 1, __ATOMIC_SEQ_CST);
	CHECK(pthread_join(worker_thread, NULL) == 0);
	prog_wait_count(&woken, SLEEPERS);
	for (int i = 0; i < SLEEPERS; i++) {
		CHECK(pthread_join(t[i], NULL) == 0);
		if (why[i][0])
			prog_fail("%s", why[i]);
	}
	prog_ok();
}
