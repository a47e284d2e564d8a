/* SPDX-License-Identifier: MIT */
/*
 * Stacks in unusual places: a main thread whose stack has been moved to another address, one that
 * runs on memory of its own while its first stack is unmapped, threads whose stacks are a file's,
 * shared, and of a few pages between guards, at the edges of what may be mapped.
 */
#include "prog.h"

#include <pthread.h>
#include <ucontext.h>

#define PAGE 4096ul
#define TOP ((1ul << 47) - 2 * PAGE)
#define SIZE (64 * PAGE)

static int *up;
static int threads_up;

/* Frames with contents above each other; the deepest one waits. */
static int deep(int n, void (*wait)(void))
{
	volatile char frame[1000];

	for (int i = 0; i < 1000; i++)
		frame[i] = n + i;
	if (n)
		deep(n - 1, wait);
	else
		wait();
	for (int i = 0; i < 1000; i++)
		if (frame[i] != (char)(n + i))
			prog_fail("pid %d: a frame on the stack has changed", (int)getpid());
	return 1;
}

static void child_waits(void)
{
	prog_count(up);
	prog_wait_go();
}

static void thread_waits(void)
{
	prog_count(&threads_up);
	prog_wait_go();
}

/* The mapping of the main stack; the kernel calls it so wherever it is. */
static int main_stack(unsigned long *start, unsigned long *end)
{
	char line[512];
	int found = 0;
	FILE *f = fopen("/proc/self/maps", "r");

	CHECK(f);
	while (!found && fgets(line, sizeof(line), f))
		found = strstr(line, "[stack]") && sscanf(line, "%lx-%lx", start, end) == 2;
	fclose(f);
	return found;
}

static ucontext_t away, back;

/* Runs elsewhere while the main stack is moved, or goes: what lies there is not used any more. */
static void mover(int keep)
{
	unsigned long start, end;
	void *to;

	CHECK(main_stack(&start, &end));
	if (keep) {
		to = mmap(NULL, end - start, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		CHECK(to != MAP_FAILED);
		CHECK(mremap((void *)start, end - start, end - start, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
	} else {
		CHECK(munmap((void *)start, end - start) == 0);
	}
	deep(20, child_waits);
	prog_child_ok();
}

static void *at(unsigned long where, int flags, int fd)
{
	void *p = mmap((void *)where, SIZE, PROT_READ | PROT_WRITE, flags | (where ? MAP_FIXED_NOREPLACE : 0), fd, 0);

	if (p == MAP_FAILED)
		prog_fail("no stack at %#lx: %s", where, strerror(errno));
	return p;
}

static void elsewhere(void *arg)
{
	CHECK(getcontext(&away) == 0);
	away.uc_stack.ss_sp = at(0x200000000000, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	away.uc_stack.ss_size = SIZE;
	makecontext(&away, (void (*)(void))mover, 1, *(int *)arg);
	swapcontext(&back, &away);
}

static void *thread(void *arg)
{
	char here;

	CHECK(&here >= (char *)arg && &here < (char *)arg + SIZE);
	deep(30, thread_waits);
	return NULL;
}

static pthread_t on(void *stack)
{
	pthread_attr_t a;
	pthread_t t;

	pthread_attr_init(&a);
	CHECK(pthread_attr_setstack(&a, stack, SIZE) == 0);
	CHECK(pthread_create(&t, &a, thread, stack) == 0);
	return t;
}

int main(int argc, char **argv)
{
	int keep[2] = { 0, 1 }, fd;
	char path[4200], *guarded;
	pthread_t t[4];
	pid_t pid[2];

	prog_init(argc, argv);
	up = prog_shared(PAGE);
	for (int i = 0; i < 2; i++)
		pid[i] = prog_child(elsewhere, &keep[i]);
	snprintf(path, sizeof(path), "%s/stack", prog_dir);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	CHECK(fd >= 0 && ftruncate(fd, SIZE) == 0);
	t[0] = on(at(TOP - SIZE, MAP_PRIVATE | MAP_ANONYMOUS, -1));
	t[1] = on(at(0, MAP_SHARED, fd));
	t[2] = on(at(0, MAP_SHARED | MAP_ANONYMOUS, -1));
	guarded = mmap(NULL, SIZE + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(guarded != MAP_FAILED && mprotect(guarded + PAGE, SIZE, PROT_READ | PROT_WRITE) == 0);
	t[3] = on(guarded + PAGE);
	prog_wait_count(&threads_up, 4);
	prog_wait_count(up, 2);
	prog_ready();
	for (int i = 0; i < 4; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
	prog_reap(pid[0]);
	prog_reap(pid[1]);
	prog_ok();
}
