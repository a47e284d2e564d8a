/* SPDX-License-Identifier: MIT */
/*
 * Memory policies: of threads (set_mempolicy), of ranges of private and shared memory (mbind), with flags; one that a child
 * has inherited and changed; of the last of more mappings than are asked about at once.  Compared with get_mempolicy(2).
 */
#include "prog.h"

#include <pthread.h>
#include <sys/syscall.h>

#define PAGE 4096
enum { DEFAULT, PREFERRED, BIND, INTERLEAVE, LOCAL, PREFERRED_MANY, WEIGHTED };
#define STATIC_NODES (1 << 15)
#define RELATIVE_NODES (1 << 14)
#define F_NODE_ADDR 2
#define MANY 700 /* mappings */

static int up, leave;
static int *shared_up;
static char *mem, *shm, *many;

static void expect(const char *what, void *addr, int mode, unsigned long nodes)
{
	unsigned long mask[16] = { 0 };
	int got = -1;

	CHECK(syscall(SYS_get_mempolicy, &got, mask, 1024, addr, addr ? F_NODE_ADDR : 0) == 0);
	if (got != mode || (nodes && mask[0] != nodes))
		prog_fail("%s: policy %#x of nodes %#lx, it was %#x of %#lx", what, got, mask[0], mode, nodes);
}

static void set(int mode)
{
	unsigned long node0 = 1;
	int any = mode == DEFAULT || mode == LOCAL;

	CHECK(syscall(SYS_set_mempolicy, mode, any ? NULL : &node0, any ? 0 : 64) == 0);
}

static void bind_to(void *p, size_t len, int mode)
{
	unsigned long node0 = 1;
	int any = mode == DEFAULT || mode == LOCAL;

	CHECK(syscall(SYS_mbind, p, len, mode, any ? NULL : &node0, any ? 0 : 64, 0) == 0);
}

static void *thread(void *arg)
{
	set(INTERLEAVE | STATIC_NODES);
	prog_count(&up);
	while (!__atomic_load_n(&leave, __ATOMIC_SEQ_CST))
		prog_nap(10);
	expect("a thread", NULL, INTERLEAVE | STATIC_NODES, 1);
	return NULL;
}

static void look(void)
{
	expect("page 0", mem, DEFAULT, 0);
	expect("page 1", mem + PAGE, BIND, 1);
	expect("page 2", mem + 2 * PAGE, INTERLEAVE, 1);
	expect("page 3", mem + 3 * PAGE, PREFERRED | RELATIVE_NODES, 1);
	expect("page 4", mem + 4 * PAGE, LOCAL, 0);
	expect("page 5", mem + 5 * PAGE, DEFAULT, 0);
	expect("one of many", many + (MANY - 3) * PAGE, DEFAULT, 0);
	expect("the last but one of many", many + (MANY - 2) * PAGE, INTERLEAVE, 1);
	expect("the first of many", many, BIND, 1);
	expect("shared page 0", shm, DEFAULT, 0);
	expect("shared page 1", shm + PAGE, BIND | STATIC_NODES, 1);
}

static void child(void *arg)
{
	set(LOCAL);
	bind_to(mem + 6 * PAGE, PAGE, BIND);
	bind_to(mem + 2 * PAGE, PAGE, DEFAULT);
	prog_count(shared_up);
	prog_wait_go();
	expect("child", NULL, LOCAL, 0);
	expect("child page 1", mem + PAGE, BIND, 1);
	expect("child page 2", mem + 2 * PAGE, DEFAULT, 0);
	expect("child page 6", mem + 6 * PAGE, BIND, 1);
}

int main(int argc, char **argv)
{
	pthread_t t;
	pid_t pid;

	prog_init(argc, argv);
	if (syscall(SYS_set_mempolicy, DEFAULT, NULL, 0ul) < 0 && errno == ENOSYS)
		prog_skip("this kernel has no memory policies (CONFIG_NUMA)");
	shared_up = prog_shared(PAGE);
	mem = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	shm = prog_shared(4 * PAGE);
	many = mmap(NULL, MANY * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(mem != MAP_FAILED && many != MAP_FAILED);
	for (int i = 0; i < MANY; i += 2)
		CHECK(mprotect(many + i * PAGE, PAGE, PROT_READ) == 0);
	bind_to(many, PAGE, BIND);
	bind_to(many + (MANY - 2) * PAGE, PAGE, INTERLEAVE);
	set(PREFERRED);
	bind_to(mem + PAGE, PAGE, BIND);
	bind_to(mem + 2 * PAGE, PAGE, INTERLEAVE);
	bind_to(mem + 3 * PAGE, PAGE, PREFERRED | RELATIVE_NODES);
	bind_to(mem + 4 * PAGE, PAGE, LOCAL);
	bind_to(shm + PAGE, PAGE, BIND | STATIC_NODES);
	memset(mem, 'm', 4 * PAGE);
	CHECK(pthread_create(&t, NULL, thread, NULL) == 0);
	prog_wait_count(&up, 1);
	pid = prog_child(child, NULL);
	prog_wait_count(shared_up, 1);
	look();
	prog_ready();
	look();
	expect("the process", NULL, PREFERRED, 1);
	CHECK(mem[3 * PAGE] == 'm');
	__atomic_store_n(&leave, 1, __ATOMIC_SEQ_CST);
	CHECK(pthread_join(t, NULL) == 0);
	prog_reap(pid);
	prog_ok();
}
