/* SPDX-License-Identifier: MIT */
/*
 * blocked.h: threads that wait in calls without a time limit.
 *	static const struct blocked calls[] = { BLOCKED("read from a pipe", read), … };
 *	int main(…) { prog_init(argc, argv); …; blocked_run(calls, N); }
 *
 *
 * Each thread makes its call and waits in it while it is dumped and restored.  None may come back
 * by itself, nor with EINTR. Afterwards release() makes happen what the call waits for, one after
 * the other: the others go on waiting, this one comes back with 0 for the right result.  setup()
 * comes first, by the main thread; each of the two may be NULL.
 *
 * What signal(7) says ends with EINTR at any stop (with a time limit, on sockets) may do so only
 * where the tree runs on: such a call is made again by blocked_again().
 */
#ifndef TESTS_BLOCKED_H
#define TESTS_BLOCKED_H

#include "prog.h"

#include <pthread.h>

struct blocked {
	const char *name;
	int (*call)(void); /* 0: came back as it should; -1: errno says why not */
	void (*release)(void);
	void (*setup)(void);
	int room; /* it waits for room, of which there may be more after a restore: then it may be back, with the right result */
};

/* do_FN() and free_FN() */
#define BLOCKED(name, fn) { name, do_##fn, free_##fn, NULL, 0 }
#define BLOCKED_ROOM(name, fn) { name, do_##fn, free_##fn, NULL, 1 }

#define BLOCKED_MAX 32
static struct {
	const struct blocked *what;
	pthread_t thread;
	pid_t tid;
	int freed, back, result, error;
} blocked_threads[BLOCKED_MAX];

/* After a call that has failed: it was ended by a stop, and this is the process that was stopped. */
static inline int blocked_again(void)
{
	return errno == EINTR && !prog_restored();
}

static void *blocked_thread(void *arg)
{
	int n = (int)(long)arg;

	__atomic_store_n(&blocked_threads[n].tid, gettid(), __ATOMIC_SEQ_CST);
	errno = 0;
	blocked_threads[n].result = blocked_threads[n].what->call();
	blocked_threads[n].error = errno;
	__atomic_store_n(&blocked_threads[n].back, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

/* None has come back that nobody has freed. */
static void blocked_still(int count, const char *when)
{
	for (int n = 0; n < count; n++)
		if (!blocked_threads[n].freed && __atomic_load_n(&blocked_threads[n].back, __ATOMIC_SEQ_CST) &&
		    (!blocked_threads[n].what->room || blocked_threads[n].result || !prog_has("go")))
			prog_fail("%s came back %s: %d (%s)", blocked_threads[n].what->name, when, blocked_threads[n].result,
				  strerror(blocked_threads[n].error));
}

static void blocked_free(int n)
{
	blocked_threads[n].freed = 1;
	if (blocked_threads[n].what->release)
		blocked_threads[n].what->release();
	prog_wait_count(&blocked_threads[n].back, 1);
	CHECK(pthread_join(blocked_threads[n].thread, NULL) == 0);
	if (blocked_threads[n].result)
		prog_fail("%s: %d (%s)", blocked_threads[n].what->name, blocked_threads[n].result,
			  strerror(blocked_threads[n].error));
}

static inline void blocked_run(const struct blocked *calls, int count)
{
	CHECK(count <= BLOCKED_MAX);
	for (int n = 0; n < count; n++)
		if (calls[n].setup)
			calls[n].setup();
	for (int n = 0; n < count; n++) {
		blocked_threads[n].what = &calls[n];
		CHECK(pthread_create(&blocked_threads[n].thread, NULL, blocked_thread, (void *)(long)n) == 0);
	}
	for (int n = 0; n < count; n++) {
		prog_wait_count(&blocked_threads[n].tid, 1);
		prog_wait_state(getpid(), blocked_threads[n].tid, 'S');
	}
	prog_nap(50);
	blocked_still(count, "at once");
	prog_ready();
	prog_nap(100);
	blocked_still(count, "by itself");
	for (int n = 0; n < count; n++) {
		blocked_free(n);
		blocked_still(count, "when another was freed");
	}
}

#endif
