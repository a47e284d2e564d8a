/* SPDX-License-Identifier: MIT */
/* Restartable sequences: the area that the C library registered is still registered, for every thread. */
#include "prog.h"

#include <pthread.h>
#include <sched.h>
#include <sys/rseq.h>
#include <sys/syscall.h>

static int up, leave;

static struct rseq *area(void)
{
	return (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
}

static void look(void)
{
	unsigned int cpu;
	int same = 0;

	CHECK((int)area()->cpu_id >= 0);
	for (int i = 0; i < 100 && !same; i++) {
		CHECK(syscall(SYS_getcpu, &cpu, NULL, NULL) == 0);
		same = cpu == area()->cpu_id && sched_getcpu() == (int)cpu;
	}
	CHECK(same);
	/* registered already: EBUSY for this area, nothing is taken away */
	CHECK(syscall(SYS_rseq, area(), 32, 0, RSEQ_SIG) < 0 && errno == EBUSY);
}

/* Whether the kernel keeps cpu_id up to date when the thread moves. */
static void move(void)
{
	cpu_set_t was, one;

	CHECK(sched_getaffinity(0, sizeof(was), &was) == 0);
	for (int i = 0; i < CPU_SETSIZE; i++) {
		if (!CPU_ISSET(i, &was))
			continue;
		CPU_ZERO(&one);
		CPU_SET(i, &one);
		CHECK(sched_setaffinity(0, sizeof(one), &one) == 0);
		CHECK((int)area()->cpu_id == i && (int)area()->cpu_id_start == i);
	}
	CHECK(sched_setaffinity(0, sizeof(was), &was) == 0);
}

static void *thread(void *arg)
{
	look();
	prog_count(&up);
	while (!__atomic_load_n(&leave, __ATOMIC_SEQ_CST))
		prog_nap(10);
	look();
	move();
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t t[3];

	prog_init(argc, argv);
	if (__rseq_size == 0)
		prog_skip("the C library uses no restartable sequences");
	look();
	for (int i = 0; i < 3; i++)
		CHECK(pthread_create(&t[i], NULL, thread, NULL) == 0);
	prog_wait_count(&up, 3);
	prog_ready();
	look();
	move();
	__atomic_store_n(&leave, 1, __ATOMIC_SEQ_CST);
	for (int i = 0; i < 3; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
	prog_ok();
}
