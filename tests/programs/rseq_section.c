/* SPDX-License-Identifier: MIT */
/* A thread that is nearly always inside of a restartable sequence: interrupted there, it goes on at the abort handler. */
#include "prog.h"

#include <pthread.h>
#include <sys/rseq.h>

static int up, leave;
static volatile unsigned long started, aborted, finished;

static struct rseq *area(void)
{
	return (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
}

/* A long loop as the critical section; an abort starts it again. Stores 1 into *done at its end. */
static void section(unsigned long turns)
{
	struct rseq *rs = area();

	__asm__ volatile(
		".pushsection __rseq_cs, \"aw\"\n\t"
		".balign 32\n\t"
		"3: .long 0, 0\n\t"
		".quad 1f, 2f - 1f, 4f\n\t"
		".popsection\n\t"
		"jmp 5f\n\t"
		".byte 0x0f, 0xb9, 0x3d\n\t"
		".long 0x53053053\n\t" /* RSEQ_SIG in front of the abort handler */
		"4: incq %[aborted]\n\t"
		"5: mov %[turns], %%rcx\n\t"
		"lea 3b(%%rip), %%rax\n\t"
		"mov %%rax, %[cs]\n\t"
		"1: dec %%rcx\n\t"
		"jnz 1b\n\t"
		"incq %[finished]\n\t"
		"2:\n\t"
		: [cs] "+m"(rs->rseq_cs), [aborted] "+m"(aborted), [finished] "+m"(finished)
		: [turns] "r"(turns)
		: "rax", "rcx", "memory", "cc");
}

static void *thread(void *arg)
{
	prog_count(&up);
	while (!__atomic_load_n(&leave, __ATOMIC_SEQ_CST)) {
		started++;
		section(200000);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t t;

	prog_init(argc, argv);
	if (__rseq_size == 0)
		prog_skip("the C library uses no restartable sequences");
	CHECK(pthread_create(&t, NULL, thread, NULL) == 0);
	prog_wait_count(&up, 1);
	prog_nap(20);
	prog_ready();
	prog_nap(50);
	__atomic_store_n(&leave, 1, __ATOMIC_SEQ_CST);
	CHECK(pthread_join(t, NULL) == 0);
	CHECK(finished == started);
	prog_ok();
}
