/* SPDX-License-Identifier: MIT */
/* Scheduling policy, real-time priority and nice value, thread by thread. */
#include "prog.h"

#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>

static const struct want {
	int policy, prio, nice, root;
} want[] = {
	{ SCHED_OTHER, 0, 5, 0 }, { SCHED_BATCH, 0, 7, 0 }, { SCHED_IDLE, 0, 0, 0 },
	{ SCHED_FIFO, 3, 0, 1 },  { SCHED_RR, 9, 0, 1 },    { SCHED_OTHER, 0, -4, 1 },
};
enum { N = sizeof(want) / sizeof(want[0]) };
static int up, leave, skipped[N];

static void look(const struct want *w)
{
	struct sched_param p;

	CHECK(sched_getscheduler(0) == w->policy);
	CHECK(sched_getparam(0, &p) == 0 && p.sched_priority == w->prio);
	errno = 0;
	CHECK(getpriority(PRIO_PROCESS, 0) == w->nice && errno == 0);
}

static void *thread(void *arg)
{
	int n = (int)(long)arg;
	const struct want *w = &want[n];
	struct sched_param p = { .sched_priority = w->prio };

	/* in a container or as an ordinary user the better ones are not to be had */
	if (sched_setscheduler(0, w->policy, &p) < 0 || setpriority(PRIO_PROCESS, 0, w->nice) < 0) {
		CHECK(w->root && (errno == EPERM || errno == EACCES));
		skipped[n] = 1;
	}
	prog_count(&up);
	while (!__atomic_load_n(&leave, __ATOMIC_SEQ_CST))
		prog_nap(10);
	if (!skipped[n])
		look(w);
	return NULL;
}

int main(int argc, char **argv)
{
	static const struct want mine = { SCHED_BATCH, 0, 2, 0 };
	struct sched_param p = { 0 };
	pthread_t t[N];

	prog_init(argc, argv);
	for (long i = 0; i < N; i++)
		CHECK(pthread_create(&t[i], NULL, thread, (void *)i) == 0);
	CHECK(sched_setscheduler(0, SCHED_BATCH, &p) == 0);
	CHECK(setpriority(PRIO_PROCESS, 0, 2) == 0);
	prog_wait_count(&up, N);
	prog_ready();
	look(&mine);
	__atomic_store_n(&leave, 1, __ATOMIC_SEQ_CST);
	for (int i = 0; i < N; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
	prog_ok();
}
