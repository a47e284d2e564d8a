/* SPDX-License-Identifier: MIT */
/*
 * Threads that wait for each other: in a mutex, a condition variable, a barrier, a semaphore, a read-write lock,
 * pthread_join(); all of them go on when what they wait for happens, not before.
 */
#include "prog.h"

#include <pthread.h>
#include <semaphore.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER, cond_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t recursive;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_rwlock_t rw = PTHREAD_RWLOCK_INITIALIZER;
static pthread_barrier_t barrier;
static sem_t sem;
static int up, done, signalled;
static pthread_t sleeper;
static pthread_key_t key;

static void *in_mutex(void *arg)
{
	prog_count(&up);
	pthread_mutex_lock(&lock);
	prog_count(&done);
	pthread_mutex_unlock(&lock);
	return NULL;
}

static void *in_cond(void *arg)
{
	pthread_mutex_lock(&cond_lock);
	prog_count(&up);
	while (!signalled)
		pthread_cond_wait(&cond, &cond_lock);
	signalled--;
	prog_count(&done);
	pthread_mutex_unlock(&cond_lock);
	return NULL;
}

static void *in_rw(void *arg)
{
	prog_count(&up);
	pthread_rwlock_rdlock(&rw);
	prog_count(&done);
	pthread_rwlock_unlock(&rw);
	return NULL;
}

static void *in_barrier(void *arg)
{
	prog_count(&up);
	pthread_barrier_wait(&barrier);
	prog_count(&done);
	return NULL;
}

static void *in_sem(void *arg)
{
	CHECK(pthread_setspecific(key, arg) == 0);
	prog_count(&up);
	CHECK(sem_wait(&sem) == 0);
	CHECK(pthread_getspecific(key) == arg);
	prog_count(&done);
	return NULL;
}

static void *in_join(void *arg)
{
	prog_count(&up);
	CHECK(pthread_join(sleeper, NULL) == 0);
	prog_count(&done);
	return NULL;
}

int main(int argc, char **argv)
{
	static void *(*const fn[])(void *) = { in_mutex, in_mutex, in_cond, in_cond, in_rw, in_barrier, in_sem, in_join };
	enum { N = sizeof(fn) / sizeof(fn[0]) };
	pthread_mutexattr_t attr;
	pthread_t t[N];

	prog_init(argc, argv);
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
	CHECK(pthread_mutex_init(&recursive, &attr) == 0);
	CHECK(pthread_key_create(&key, NULL) == 0);
	CHECK(pthread_barrier_init(&barrier, NULL, 2) == 0);
	CHECK(sem_init(&sem, 0, 0) == 0);
	pthread_mutex_lock(&recursive);
	pthread_mutex_lock(&recursive);
	pthread_mutex_lock(&lock);
	pthread_rwlock_wrlock(&rw);
	CHECK(pthread_create(&sleeper, NULL, in_sem, &sem) == 0);
	for (int i = 0; i < N; i++)
		CHECK(pthread_create(&t[i], NULL, fn[i], &up) == 0);
	prog_wait_count(&up, N + 1);
	prog_nap(50);
	prog_ready();
	prog_nap(50);
	CHECK(done == 0);
	/* the mutex knows its owner by thread id */
	CHECK(pthread_mutex_lock(&recursive) == 0);
	for (int i = 0; i < 3; i++)
		CHECK(pthread_mutex_unlock(&recursive) == 0);
	CHECK(pthread_mutex_trylock(&lock) == EBUSY);
	pthread_mutex_unlock(&lock);
	prog_wait_count(&done, 2);
	pthread_mutex_lock(&cond_lock);
	signalled = 2;
	pthread_cond_broadcast(&cond);
	pthread_mutex_unlock(&cond_lock);
	prog_wait_count(&done, 4);
	pthread_rwlock_unlock(&rw);
	prog_wait_count(&done, 5);
	pthread_barrier_wait(&barrier);
	prog_wait_count(&done, 6);
	sem_post(&sem);
	sem_post(&sem);
	for (int i = 0; i < N; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
	CHECK(done == N + 1);
	prog_ok();
}
