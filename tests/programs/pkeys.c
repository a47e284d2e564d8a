/* SPDX-License-Identifier: MIT */
/*
 * Protection keys: which are allocated, which memory has them, the rights of each thread; contents behind a closed key;
 * execute-only memory beside them; a child with other keys.
 */
#include "prog.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/syscall.h>

#define PAGE 4096
#define NO_ACCESS 1
#define NO_WRITE 2

static sigjmp_buf back;
static int *up, fault_key;
static char *closed, *readable;

static void on_fault(int sig, siginfo_t *si, void *ctx)
{
	fault_key = si->si_code == SEGV_PKUERR ? (int)si->si_pkey : -1;
	siglongjmp(back, 1);
}

/* The rights of the calling thread, all at once. */
static unsigned rights(void)
{
	unsigned v, d;

	__asm__ volatile(".byte 0x0f, 0x01, 0xee" : "=a"(v), "=d"(d) : "c"(0));
	return v;
}

static void set_rights(unsigned v)
{
	__asm__ volatile(".byte 0x0f, 0x01, 0xef" : : "a"(v), "c"(0), "d"(0) : "memory");
}

/* The key that keeps p, 0: none does. A handler begins with the kernel's own rights, which a jump out of it would leave. */
static int faults(char *p, int write)
{
	unsigned was = rights();

	fault_key = 0;
	if (sigsetjmp(back, 1) == 0) {
		if (write)
			*(volatile char *)p = *(volatile char *)p;
		else
			(void)*(volatile char *)p;
	}
	set_rights(was);
	return fault_key;
}

static int is_allocated(int key)
{
	/* of a hole: EINVAL for the key, ENOMEM for the memory */
	CHECK(syscall(SYS_pkey_mprotect, 16 * PAGE * 16, PAGE, PROT_NONE, key) < 0);
	return errno == ENOMEM;
}

static void *thread(void *arg)
{
	CHECK(pkey_set(*(int *)arg, NO_WRITE) == 0);
	prog_count(up);
	prog_wait_go();
	CHECK(pkey_get(*(int *)arg) == NO_WRITE);
	CHECK(closed[1] == 'c' && faults(closed, 1) == *(int *)arg);
	return NULL;
}

static void child(void *arg)
{
	int key = *(int *)arg;

	CHECK(munmap(closed, PAGE) == 0 && pkey_free(key) == 0);
	prog_count(up);
	prog_wait_go();
	CHECK(!is_allocated(key) && faults(readable, 1) > 0 && faults(readable, 0) == 0 && readable[5] == 'r');
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
	int spare, gone, key, ro, was[16];
	pthread_t t;
	char *exec;
	pid_t pid;

	prog_init(argc, argv);
	up = prog_shared(PAGE);
	CHECK(sigaction(SIGSEGV, &sa, NULL) == 0);
	spare = pkey_alloc(0, 0);
	if (spare < 0)
		prog_skip("no protection keys here: %s", strerror(errno));
	gone = pkey_alloc(0, 0);
	key = pkey_alloc(0, 0);
	ro = pkey_alloc(0, NO_WRITE);
	CHECK(gone > 0 && key > 0 && ro > 0 && pkey_free(gone) == 0);
	closed = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	readable = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	exec = mmap(NULL, PAGE, PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(closed != MAP_FAILED && readable != MAP_FAILED && exec != MAP_FAILED);
	closed[1] = 'c';
	readable[5] = 'r';
	CHECK(pkey_mprotect(closed, PAGE, PROT_READ | PROT_WRITE, key) == 0);
	CHECK(pkey_mprotect(readable, PAGE, PROT_READ | PROT_WRITE, ro) == 0);
	CHECK(pthread_create(&t, NULL, thread, &key) == 0);
	pid = prog_child(child, &key);
	CHECK(pkey_set(key, NO_ACCESS) == 0 && faults(closed, 0) == key && faults(exec, 0) != 0);
	prog_wait_count(up, 2);
	for (int i = 1; i < 16; i++)
		was[i] = is_allocated(i);
	prog_ready();
	for (int i = 1; i < 16; i++)
		if (was[i] != is_allocated(i))
			prog_fail("key %d was %sallocated", i, was[i] ? "" : "not ");
	CHECK(pkey_get(key) == NO_ACCESS && pkey_get(ro) == NO_WRITE && pkey_get(spare) == 0);
	CHECK(faults(closed, 0) == key && faults(readable, 1) == ro && faults(exec, 0) != 0);
	CHECK(pkey_set(key, 0) == 0 && closed[1] == 'c' && readable[5] == 'r');
	CHECK(pthread_join(t, NULL) == 0);
	prog_reap(pid);
	prog_ok();
}
