/* SPDX-License-Identifier: MIT */
/*
 * The cpuid instruction as a fault (ARCH_SET_CPUID): in one thread, while another and the main one
 * may use it, and in a child that inherits it; it faults afterwards where it did, and can be
 * allowed again.
 */
#include "prog.h"

#include <cpuid.h>
#include <pthread.h>
#include <signal.h>
#include <setjmp.h>
#include <sys/syscall.h>

#define GET_CPUID 0x1011
#define SET_CPUID 0x1012

static __thread sigjmp_buf back;
static int up, *children;

static void on_fault(int sig)
{
	siglongjmp(back, 1);
}

static int faults(void)
{
	unsigned a, b, c, d;

	if (sigsetjmp(back, 1))
		return 1;
	__cpuid(0, a, b, c, d);
	CHECK(a || b || c || d);
	return 0;
}

static long set(int allowed)
{
	return syscall(SYS_arch_prctl, SET_CPUID, allowed);
}

static void check(int allowed)
{
	CHECK(syscall(SYS_arch_prctl, GET_CPUID, 0) == allowed && faults() == !allowed);
}

static void child(void *arg)
{
	check(0);
	prog_count(children);
	prog_wait_go();
	check(0);
}

static void *without(void *arg)
{
	pid_t pid;

	CHECK(set(0) == 0);
	check(0);
	pid = prog_child(child, NULL);
	prog_count(&up);
	prog_wait_go();
	check(0);
	CHECK(set(1) == 0);
	check(1);
	prog_reap(pid);
	return NULL;
}

static void *with(void *arg)
{
	prog_count(&up);
	prog_wait_go();
	check(1);
	return NULL;
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = on_fault };
	pthread_t t[2];

	prog_init(argc, argv);
	CHECK(sigaction(SIGSEGV, &sa, NULL) == 0);
	if (set(1) < 0)
		prog_skip("this CPU cannot make cpuid a fault (ARCH_SET_CPUID): %s", strerror(errno));
	children = prog_shared(4096);
	CHECK(pthread_create(&t[0], NULL, without, NULL) == 0 && pthread_create(&t[1], NULL, with, NULL) == 0);
	prog_wait_count(&up, 2);
	prog_wait_count(children, 1);
	prog_ready();
	check(1);
	CHECK(pthread_join(t[0], NULL) == 0 && pthread_join(t[1], NULL) == 0);
	prog_ok();
}
