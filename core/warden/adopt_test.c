/* SPDX-License-Identifier: MIT */
/*
 * Tests of the warden at restore, with tasks that behave like the blob: they wait for
 * the engine, fork, park, and are then given the registers of a function that checks
 * what it finds.
 */
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "plan.h"
#include "proc.h"
#include "warden.h"

/* last: it defines fail() */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define NTASKS 4 /* root with two threads, child */
#define STACK 65536
#define MARK 0x4004000000000000 /* 2.5 */

/* Shared between the test and the tasks, and left to them. */
struct seen {
	int n, ran, good, handled;
	pid_t pid[NTASKS], tid[NTASKS];
	uint64_t sp[NTASKS];
};
static struct seen *seen;
static struct arena arena;

static long raw(long nr, long a, long b, long c, long d)
{
	register long r10 __asm__("r10") = d;
	long ret;

	__asm__ volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
	return ret;
}

/* What a task does when it has been released: no libc, its thread pointer is gone. */
__attribute__((noreturn, no_sanitize("address", "undefined"))) static void restored(long i, uint64_t want_mask)
{
	struct timespec ts = { .tv_nsec = 10000000 };
	uint64_t mask = 0, xmm5;

	__asm__ volatile("movq %%xmm5, %0" : "=r"(xmm5));
	raw(SYS_rt_sigprocmask, 0, 0, (long)&mask, 8);
	if (xmm5 == MARK && mask == want_mask && raw(SYS_msync, arena.base, 4096, MS_ASYNC, 0) == -ENOMEM)
		__atomic_add_fetch(&seen->good, 1, __ATOMIC_SEQ_CST);
	__atomic_add_fetch(&seen->ran, 1, __ATOMIC_SEQ_CST);
	for (;;)
		raw(SYS_nanosleep, (long)&ts, 0, 0, 0);
}

static int park(void *arg)
{
	int i = __atomic_fetch_add(&seen->n, 1, __ATOMIC_SEQ_CST);
	uint64_t all = ~0ull;
	char *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	seen->pid[i] = raw(SYS_getpid, 0, 0, 0, 0);
	seen->tid[i] = raw(SYS_gettid, 0, 0, 0, 0);
	seen->sp[i] = (uintptr_t)stack + STACK - 264;
	raw(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, 0, 8);
	__atomic_add_fetch(&arena.shared->parked, 1, __ATOMIC_SEQ_CST);
	while (!__atomic_load_n(&arena.shared->abort, __ATOMIC_SEQ_CST))
		raw(SYS_futex, (long)&arena.shared->abort, FUTEX_WAIT, 0, 0);
	raw(SYS_exit_group, 1, 0, 0, 0);
	return 0;
}

static void handler(int sig)
{
	seen->handled++;
}

static void thread(void)
{
	char *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	clone(park, stack + STACK, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM, NULL);
}

static void root_task(void)
{
	while (!__atomic_load_n(&arena.shared->released, __ATOMIC_SEQ_CST))
		usleep(1000);
	if (fork() == 0)
		park(NULL);
	if (fork() == 0) {
		while (__atomic_load_n(&arena.shared->released, __ATOMIC_SEQ_CST) < 2)
			usleep(1000);
		_exit(5);
	}
	thread();
	thread();
	park(NULL);
}

static char state_of(pid_t pid)
{
	struct proc_stat st;

	return proc_read_stat(pid, 0, &st) ? '-' : st.state;
}

/* Up to the point where all are parked; returns the root. */
static pid_t start_tree(struct session *s)
{
	pid_t root;

	memset(seen, 0, sizeof(*seen));
	memset(arena.shared, 0, sizeof(*arena.shared));
	assert_int_equal(warden_start(s), 0);
	assert_int_equal(warden_arena(s, &arena), 0);
	root = fork();
	if (root == 0) {
		root_task();
		_exit(1);
	}
	assert_int_equal(warden_adopt(s, root), 0);
	kill(root, SIGUSR1);
	__atomic_store_n(&arena.shared->released, 1, __ATOMIC_SEQ_CST);
	for (int i = 0; i < 5000 && arena.shared->parked < NTASKS; i++)
		usleep(1000);
	assert_int_equal(arena.shared->parked, NTASKS);
	assert_int_equal(arena.shared->dead_tid, 0);
	assert_int_equal(seen->handled, 1);
	return root;
}

/* The child that will exit. */
static pid_t find_helper(pid_t root)
{
	int_list children = { 0 };
	pid_t ret = 0;

	proc_list_children(root, &children);
	for (size_t i = 0; i < children.n; i++) {
		bool parked = false;

		for (int k = 0; k < NTASKS; k++)
			parked |= seen->pid[k] == children.v[i];
		if (!parked)
			ret = children.v[i];
	}
	vec_free(&children);
	return ret;
}

static struct warden_final *fill_table(pid_t root)
{
	struct warden_final *f = (void *)(uintptr_t)(arena.base + 65536);
	uint64_t mark = MARK, used = 3;
	uint32_t mxcsr = 0x1f80;
	uint16_t cwd = 0x37f;

	memset(f, 0, NTASKS * sizeof(*f));
	for (int i = 0; i < NTASKS; i++) {
		struct arch_regs *r = &f[i].regs;

		f[i].tgid = seen->pid[i];
		f[i].tid = seen->tid[i];
		f[i].leader = f[i].tgid == f[i].tid;
		f[i].stop_signo = f[i].leader && f[i].tid != root ? SIGTSTP : 0;
		f[i].syscall_ip = (uintptr_t)raw + arch_find_syscall((uint8_t *)raw, 1000);
		f[i].unmap_addr = arena.base;
		f[i].unmap_len = arena.size;
		f[i].sigmask = 0x1000 + i;
		r->gp = (struct user_regs_struct){ .cs = 0x33, .ss = 0x2b, .eflags = 0x202, .rip = (uintptr_t)restored,
						   .rsp = seen->sp[i], .rdi = i, .rsi = f[i].sigmask,
						   .orig_rax = -1ul, .rax = -516 };
		r->xsave_len = 576;
		memcpy(r->xsave, &cwd, sizeof(cwd));
		memcpy(r->xsave + 24, &mxcsr, sizeof(mxcsr));
		memcpy(r->xsave + 160 + 5 * 16, &mark, sizeof(mark));
		memcpy(r->xsave + 512, &used, sizeof(used));
	}
	return f;
}

static void wait_for(const int *what, int value)
{
	for (int i = 0; i < 5000 && __atomic_load_n(what, __ATOMIC_SEQ_CST) < value; i++)
		usleep(1000);
}

static void test_restore(void **state)
{
	struct session *s = session_new(CR_MODE_RESTORE, NULL);
	pid_t root = start_tree(s), helper = find_helper(root), child = 0;

	assert_true(helper > 0);
	assert_int_equal(warden_expect_exit(s, &helper, 1), 0);
	__atomic_store_n(&arena.shared->released, 2, __ATOMIC_SEQ_CST);
	for (int i = 0; i < 5000 && state_of(helper) != 'Z'; i++)
		usleep(1000);
	assert_int_equal(state_of(helper), 'Z'); /* its real parent has not reaped it */
	assert_int_equal(warden_finalize(s, fill_table(root), NTASKS, false), 0);
	assert_int_equal(seen->ran, 0);
	assert_int_equal(arena.shared->dead_tid, 0);
	assert_int_equal(warden_release(s), 0);
	wait_for(&seen->ran, NTASKS - 1);
	assert_int_equal(seen->ran, NTASKS - 1);
	for (int i = 0; i < NTASKS; i++)
		if (seen->pid[i] != root)
			child = seen->pid[i];
	assert_int_equal(state_of(child), 'T');
	kill(child, SIGCONT);
	wait_for(&seen->ran, NTASKS);
	assert_int_equal(seen->ran, NTASKS);
	assert_int_equal(seen->good, NTASKS);
	kill(child, SIGKILL);
	kill(root, SIGKILL);
	waitpid(root, NULL, 0);
	session_free(s);
}

static void test_unexpected_death(void **state)
{
	struct session *s = session_new(CR_MODE_RESTORE, NULL);
	pid_t root = start_tree(s), helper = find_helper(root);
	uint32_t before = arena.shared->event;

	__atomic_store_n(&arena.shared->released, 2, __ATOMIC_SEQ_CST);
	for (int i = 0; i < 5000 && !arena.shared->dead_tid; i++)
		usleep(1000);
	assert_int_equal(arena.shared->dead_tid, helper);
	assert_int_equal(WEXITSTATUS(arena.shared->dead_status), 5);
	assert_true(arena.shared->event > before);
	assert_int_equal(warden_finalize(s, (void *)(uintptr_t)(arena.base + arena.size - 8), 1, false), -EINVAL);
	session_free(s); /* aborts: all die */
	assert_int_equal(waitpid(root, NULL, 0), root);
	for (int i = 0; i < NTASKS; i++)
		assert_true(state_of(seen->tid[i]) == '-' || state_of(seen->tid[i]) == 'Z');
}

/* Without its engine the half-restored tree must vanish, also between finalize and release. */
static void test_engine_killed(void **state)
{
	for (int late = 0; late < 2; late++) {
		pid_t engine = fork();

		if (engine == 0) {
			struct session *s = session_new(CR_MODE_RESTORE, NULL);
			pid_t root = start_tree(s), helper = find_helper(root);

			if (late)
				warden_expect_exit(s, &helper, 1);
			if (late && warden_finalize(s, fill_table(root), NTASKS, false))
				_exit(1);
			raise(SIGKILL);
		}
		waitpid(engine, NULL, 0);
		for (int i = 0; i < NTASKS; i++)
			for (int k = 0; k < 5000 && state_of(seen->tid[i]) != '-' && state_of(seen->tid[i]) != 'Z'; k++)
				usleep(1000);
		for (int i = 0; i < NTASKS; i++)
			assert_true(state_of(seen->tid[i]) == '-' || state_of(seen->tid[i]) == 'Z');
		assert_int_equal(seen->ran, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_restore),
		cmocka_unit_test(test_unexpected_death),
		cmocka_unit_test(test_engine_killed),
	};

	log_init();
	log_set_level(-1);
	signal(SIGUSR1, handler);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	arena = (struct arena){ .base = 0x7e0000000000, .size = 1 << 20, .fd = memfd_create("arena", MFD_CLOEXEC) };
	if (ftruncate(arena.fd, arena.size) < 0 ||
	    mmap((void *)(uintptr_t)arena.base, arena.size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED_NOREPLACE,
		 arena.fd, 0) == MAP_FAILED)
		return 1;
	arena.shared = (void *)(uintptr_t)arena.base;
	seen = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
