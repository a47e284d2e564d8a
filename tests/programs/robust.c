/* SPDX-License-Identifier: MIT */
/*
 * The robust list: a thread, and a process, that die after the restore while they hold a robust mutex leave it to the
 * next with EOWNERDEAD.  A priority-inheriting mutex with a waiter changes hands.
 */
#include "prog.h"

#include <pthread.h>

struct shared {
	pthread_mutex_t thread_lock, process_lock, pi_lock;
	int up, end, got_pi;
};
static struct shared *sh;

static void init(pthread_mutex_t *m, int robust, int pi)
{
	pthread_mutexattr_t a;

	pthread_mutexattr_init(&a);
	pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
	if (robust)
		pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
	if (pi)
		CHECK(pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT) == 0);
	CHECK(pthread_mutex_init(m, &a) == 0);
}

static void hold(pthread_mutex_t *m)
{
	CHECK(pthread_mutex_lock(m) == 0);
	prog_count(&sh->up);
	while (!__atomic_load_n(&sh->end, __ATOMIC_SEQ_CST))
		prog_nap(10);
}

static void *holder(void *arg)
{
	hold(&sh->thread_lock);
	return NULL;
}

static void child(void *arg)
{
	hold(&sh->process_lock);
}

static void *pi_waiter(void *arg)
{
	prog_count(&sh->up);
	CHECK(pthread_mutex_lock(&sh->pi_lock) == 0);
	prog_count(&sh->got_pi);
	CHECK(pthread_mutex_unlock(&sh->pi_lock) == 0);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t t, w;
	pid_t pid;

	prog_init(argc, argv);
	sh = prog_shared(sizeof(*sh));
	init(&sh->thread_lock, 1, 0);
	init(&sh->process_lock, 1, 0);
	init(&sh->pi_lock, 0, 1);
	CHECK(pthread_mutex_lock(&sh->pi_lock) == 0);
	pid = prog_child(child, NULL);
	CHECK(pthread_create(&t, NULL, holder, NULL) == 0);
	CHECK(pthread_create(&w, NULL, pi_waiter, NULL) == 0);
	prog_wait_count(&sh->up, 3);
	prog_nap(50);
	prog_ready();
	prog_nap(50);
	CHECK(sh->got_pi == 0);
	CHECK(pthread_mutex_unlock(&sh->pi_lock) == 0);
	CHECK(pthread_join(w, NULL) == 0 && sh->got_pi == 1);
	CHECK(pthread_mutex_trylock(&sh->thread_lock) == EBUSY);
	CHECK(pthread_mutex_trylock(&sh->process_lock) == EBUSY);
	__atomic_store_n(&sh->end, 1, __ATOMIC_SEQ_CST);
	CHECK(pthread_join(t, NULL) == 0);
	prog_reap(pid);
	CHECK(pthread_mutex_lock(&sh->thread_lock) == EOWNERDEAD);
	CHECK(pthread_mutex_consistent(&sh->thread_lock) == 0);
	CHECK(pthread_mutex_unlock(&sh->thread_lock) == 0);
	CHECK(pthread_mutex_lock(&sh->process_lock) == EOWNERDEAD);
	prog_ok();
}
