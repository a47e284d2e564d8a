/* SPDX-License-Identifier: MIT */
/* plan_test.c: plans built by hand, linked, printed and run for real in child processes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#undef fail /* ours records an error */

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arch/x86_64/regs.h"
#include "plan.h"

#define ARENA_SIZE (64ull << 20)
#define THREAD_FLAGS (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM)

struct world {
	struct session s;
	struct arena arena;
	struct plan_set *ps;
	struct plan *root;
};

static uint64_t free_range(uint64_t size)
{
	void *p = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	munmap(p, size);
	return (uint64_t)p;
}

static int setup(void **state)
{
	struct world *w = xcalloc(1, sizeof(*w));

	assert_int_equal(arena_new(&w->s, free_range(ARENA_SIZE), ARENA_SIZE, &w->arena), 0);
	w->ps = plan_set_new(&w->s, &w->arena);
	w->root = plan_new(w->ps, "pid %d", 1);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	plan_set_free(w->ps);
	arena_free(&w->arena);
	free(w->s.err.plugin);
	free(w->s.err.text);
	free(w);
	return 0;
}

static pid_t start(struct world *w)
{
	struct clone_args ca = {
		.exit_signal = SIGCHLD,
		.stack = w->root->thread->stack,
		.stack_size = BLOB_STACK,
	};
	long pid;

	assert_int_equal(plan_link(w->ps), 0);
	pid = arch_clone3_enter(&ca, sizeof(ca), (blob_entry_t)w->arena.code, w->root->thread);
	assert_true(pid > 0);
	return (pid_t)pid;
}

static int finish(pid_t pid)
{
	int status = -1;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

/* Waits until *word reaches want, as the engine does: on the event futex. */
static void await(struct world *w, uint32_t *word, uint32_t want)
{
	struct blob_shared *sh = w->arena.shared;
	struct timespec ts = { .tv_nsec = 50000000 };

	for (int i = 0; i < 200; i++) {
		uint32_t seen = __atomic_load_n(&sh->event, __ATOMIC_SEQ_CST);

		if (__atomic_load_n(word, __ATOMIC_SEQ_CST) >= want)
			return;
		syscall(SYS_futex, &sh->event, FUTEX_WAIT, seen, &ts, NULL, 0);
	}
	assert_true(!"progress");
}

static void set_and_wake(uint32_t *word, uint32_t value)
{
	__atomic_store_n(word, value, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

static void sys_into(struct plan *p, long nr, int slot, uint64_t *word)
{
	struct blob_op *op = plan_sys(p, BLOB_NONNEG, nr, 0);

	op->slot = (uint8_t)slot;
	op = plan_op(p, BLOB_STORE, (uint64_t)word, (uint64_t)slot, 0);
	op->slotmask = 2;
}

static void test_system_call(void **state)
{
	struct world *w = *state;
	uint64_t *word = plan_mem(w->root, 8, 8);
	pid_t pid;

	sys_into(w->root, SYS_getpid, 3, word);
	plan_op(w->root, BLOB_EXIT, 5, 0, 0);
	pid = start(w);
	assert_int_equal(WEXITSTATUS(finish(pid)), 5);
	assert_int_equal(*word, pid);
	assert_int_equal(w->root->thread->slots[3], pid);
}

static void test_barrier_waits_for_release(void **state)
{
	struct world *w = *state;
	pid_t pid;

	plan_barrier(w->root, 3);
	plan_op(w->root, BLOB_EXIT, 0, 0, 0);
	pid = start(w);
	await(w, &w->arena.shared->arrived[3], 1);
	set_and_wake(&w->arena.shared->released, 2);
	usleep(20000);
	assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
	set_and_wake(&w->arena.shared->released, 3);
	assert_int_equal(finish(pid), 0);
}

static void test_ask(void **state)
{
	struct world *w = *state;
	uint32_t *word = plan_mem(w->root, 8, 8);
	pid_t pid;

	plan_op(w->root, BLOB_ASK, (uint64_t)word, 0, 0)->slot = 2;
	plan_op(w->root, BLOB_EXIT, 0, 0, 0);
	pid = start(w);
	await(w, word, BLOB_ASKED);
	usleep(20000);
	assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
	set_and_wake(word, BLOB_DO_IT);
	assert_int_equal(finish(pid), 0);
	assert_int_equal(w->root->thread->slots[2], BLOB_DO_IT);
}

static void test_child_process(void **state)
{
	struct world *w = *state;
	struct plan *child = plan_new(w->ps, "pid 2");
	uint64_t *word = plan_mem(child, 8, 8);
	struct blob_op *op;
	pid_t pid;

	sys_into(child, SYS_getppid, 0, word);
	plan_op(child, BLOB_EXIT, 0, 0, 0);
	plan_fork(w->root, child, 0, SIGCHLD, NULL, 0);
	w->root->ops.v[w->root->ops.n - 1].slot = 1;
	op = plan_sys(w->root, BLOB_NONNEG, SYS_wait4, 1, 0, 0, 0);
	op->slotmask = 1;
	plan_op(w->root, BLOB_EXIT, 0, 0, 0);
	pid = start(w);
	assert_int_equal(finish(pid), 0);
	assert_int_equal(*word, pid);
}

static void test_chosen_pid(void **state)
{
	struct world *w = *state;
	struct plan *child = plan_new(w->ps, "pid 2");
	pid_t want = 29999;

	if (geteuid() != 0 || kill(want, 0) == 0)
		skip();
	plan_op(child, BLOB_EXIT, 0, 0, 0);
	plan_fork(w->root, child, 0, SIGCHLD, &want, 1);
	w->root->ops.v[0].want = BLOB_EXPECT;
	w->root->ops.v[0].expect = (uint64_t)want;
	plan_sys(w->root, BLOB_EXPECT, SYS_wait4, (uint64_t)want)->expect = (uint64_t)want;
	plan_op(w->root, BLOB_EXIT, 0, 0, 0);
	assert_int_equal(finish(start(w)), 0);
}

static void test_thread_and_park(void **state)
{
	struct world *w = *state;
	struct plan *th = plan_new(w->ps, "pid 1 tid 2");
	uint64_t *words = plan_mem(th, 16, 8);
	pid_t pid;

	sys_into(th, SYS_getpid, 0, &words[0]);
	sys_into(th, SYS_gettid, 0, &words[1]);
	plan_op(th, BLOB_PARK, 0, 0, 0);
	plan_fork(w->root, th, THREAD_FLAGS, 0, NULL, 0);
	plan_op(w->root, BLOB_PARK, 0, 0, 0);
	pid = start(w);
	await(w, &w->arena.shared->parked, 2);
	assert_int_equal(w->root->thread->parked, 1);
	assert_int_equal(th->thread->parked, 1);
	assert_int_equal(words[0], pid);
	assert_int_not_equal(words[1], pid);
	set_and_wake(&w->arena.shared->abort, 1);
	assert_int_equal(WEXITSTATUS(finish(pid)), 1);
}

static void test_failure_is_explained(void **state)
{
	struct world *w = *state;
	const char path[] = "/nonexistent/x";
	char text[512];

	plan_origin(w->ps, "files: fd 3 %s", path);
	plan_sys(w->root, BLOB_NONNEG, SYS_openat, (uint64_t)AT_FDCWD, (uint64_t)plan_put(w->root, path, sizeof(path)),
		 O_RDWR | O_APPEND);
	plan_op(w->root, BLOB_PARK, 0, 0, 0);
	assert_int_equal(WEXITSTATUS(finish(start(w))), 1);
	plan_explain_failure(w->ps, text, sizeof(text));
	assert_string_equal(text, "pid 1: openat(-100, \"/nonexistent/x\", O_RDWR|O_APPEND, 0) = "
				  "ENOENT (No such file or directory) [files: fd 3 /nonexistent/x]");
	assert_int_equal(w->arena.shared->abort, 1);
	assert_int_equal(w->arena.shared->fail_errno, ENOENT);
}

static void test_wrong_positive_result(void **state)
{
	struct world *w = *state;
	char text[512];
	struct blob_op *op = plan_sys(w->root, BLOB_EXPECT, SYS_lseek, 2);

	op->slotmask = 1;
	op->expect = 12;
	op->nr = SYS_umask;
	w->root->thread->slots[2] = 077;
	plan_op(w->root, BLOB_EXIT, 0, 0, 0);
	finish(start(w));
	assert_int_equal(w->arena.shared->fail_errno, EPROTO);
	plan_explain_failure(w->ps, text, sizeof(text));
	assert_non_null(strstr(text, "umask(s2=0x3f) = "));
	assert_non_null(strstr(text, ", expected 12 [core]"));
}

/* Of two tasks one fails: the other, parked, leaves too, and so does one that waits at a barrier. */
static void test_failure_ends_everybody(void **state)
{
	struct world *w = *state;
	struct plan *parked = plan_new(w->ps, "pid 2");
	struct plan *waiting = plan_new(w->ps, "pid 3");
	struct blob_op *op;

	plan_op(parked, BLOB_PARK, 0, 0, 0);
	plan_barrier(waiting, 1);
	plan_op(waiting, BLOB_PARK, 0, 0, 0);
	plan_fork(w->root, parked, 0, SIGCHLD, NULL, 0);
	plan_fork(w->root, waiting, 0, SIGCHLD, NULL, 0);
	op = plan_sys(w->root, BLOB_ZERO, SYS_close, (uint64_t)-1);
	plan_op(w->root, BLOB_PARK, 0, 0, 0);
	assert_int_equal(op->code, BLOB_SYS);
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	finish(start(w));
	for (int i = 0; i < 2; i++) {
		int status = -1;

		assert_true(wait(&status) > 0);
		assert_int_equal(WEXITSTATUS(status), 1);
	}
	assert_int_equal(w->arena.shared->fail_thread, 0);
	assert_int_equal(w->arena.shared->fail_op, 2);
	assert_int_equal(w->arena.shared->fail_errno, EBADF);
}

static void build_loop(struct plan *p, int64_t until)
{
	struct blob_op *op;

	plan_op(p, BLOB_MOV, 0, 0, 0)->slot = 4;
	op = plan_op(p, BLOB_ADD, 4, 1, 0);
	op->slotmask = 1;
	op->slot = 4;
	plan_op(p, BLOB_JMP, 4, 2, (uint64_t)until)->a[3] = (uint64_t)-1;
	op = plan_op(p, BLOB_EXIT, 4, 0, 0);
	op->slotmask = 1;
}

static void test_loop(void **state)
{
	struct world *w = *state;

	build_loop(w->root, 10);
	assert_int_equal(WEXITSTATUS(finish(start(w))), 10);
}

static void test_loop_runs_out_of_fuel(void **state)
{
	struct world *w = *state;

	build_loop(w->root, 10);
	w->root->thread->fuel = 5;
	assert_int_equal(WEXITSTATUS(finish(start(w))), 1);
	assert_int_equal(w->arena.shared->fail_errno, ELOOP);
	assert_int_equal(w->arena.shared->fail_op, 2);
}

static void test_copy_load_store(void **state)
{
	struct world *w = *state;
	uint64_t *from = plan_mem(w->root, 64, 8), *to = plan_mem(w->root, 64, 8);
	struct blob_op *op;

	memset(from, 0x5a, 64);
	plan_op(w->root, BLOB_COPY, (uint64_t)to, (uint64_t)from, 60);
	plan_op(w->root, BLOB_LOAD, (uint64_t)&from[1], 0, 0)->slot = 0;
	op = plan_op(w->root, BLOB_STORE, (uint64_t)&to[7], 0, 0);
	op->slotmask = 2;
	plan_op(w->root, BLOB_EXIT, 0, 0, 0);
	assert_int_equal(finish(start(w)), 0);
	assert_memory_equal(to, from, 64);
}

static void test_dies_by_signal(void **state)
{
	struct world *w = *state;
	sigset_t block, old;
	int status;

	sigemptyset(&block);
	sigaddset(&block, SIGTERM);
	sigprocmask(SIG_BLOCK, &block, &old);
	signal(SIGTERM, SIG_IGN);
	plan_op(w->root, BLOB_KILL, SIGTERM, 0, 0);
	status = finish(start(w));
	signal(SIGTERM, SIG_DFL);
	sigprocmask(SIG_SETMASK, &old, NULL);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGTERM);
}

static void test_fail_operation(void **state)
{
	struct world *w = *state;
	char text[256];

	plan_op(w->root, BLOB_FAIL, EXDEV, 0, 0);
	assert_int_equal(WEXITSTATUS(finish(start(w))), 1);
	plan_explain_failure(w->ps, text, sizeof(text));
	assert_non_null(strstr(text, "EXDEV"));
}

static void refused(struct world *w)
{
	assert_int_equal(plan_link(w->ps), -EINVAL);
	w->root->ops.n = 0;
}

static void test_link_refuses(void **state)
{
	struct world *w = *state;
	struct plan *p = w->root, *child = plan_new(w->ps, "pid 2");
	struct blob_op *op;

	plan_op(child, BLOB_EXIT, 0, 0, 0);
	refused(w); /* empty */
	plan_sys(p, BLOB_ZERO, SYS_getpid, 0);
	refused(w); /* no end */
	plan_op(p, 99, 0, 0, 0);
	plan_op(p, BLOB_PARK, 0, 0, 0);
	refused(w);
	plan_op(p, BLOB_JMP, 0, 0, 0)->a[3] = 2;
	plan_op(p, BLOB_PARK, 0, 0, 0);
	refused(w);
	plan_op(p, BLOB_JMP, 0, 0, 0)->a[3] = (uint64_t)-1;
	plan_op(p, BLOB_PARK, 0, 0, 0);
	refused(w);
	plan_op(p, BLOB_JMP, BLOB_SLOTS, 0, 0)->a[3] = 1;
	plan_op(p, BLOB_PARK, 0, 0, 0);
	refused(w);
	op = plan_sys(p, BLOB_ZERO, SYS_close, BLOB_SLOTS);
	op->slotmask = 1;
	plan_op(p, BLOB_PARK, 0, 0, 0);
	refused(w);
	plan_sys(p, BLOB_ZERO, SYS_close, 0)->slot = BLOB_SLOTS;
	plan_op(p, BLOB_PARK, 0, 0, 0);
	refused(w);
	plan_barrier(p, BLOB_STAGES);
	plan_op(p, BLOB_PARK, 0, 0, 0);
	refused(w);
	plan_op(p, BLOB_KILL, 65, 0, 0);
	refused(w);
	plan_fork(p, child, 0, SIGCHLD, NULL, 0);
	plan_fork(p, child, 0, SIGCHLD, NULL, 0);
	plan_op(p, BLOB_PARK, 0, 0, 0);
	refused(w);
	plan_fork(p, p, 0, SIGCHLD, NULL, 0);
	plan_op(p, BLOB_PARK, 0, 0, 0);
	refused(w);
	plan_fork(p, child, 0, SIGCHLD, NULL, 0);
	p->ops.v[0].a[1] += 8;
	plan_op(p, BLOB_PARK, 0, 0, 0);
	refused(w);
	plan_fork(p, child, 0, SIGCHLD, NULL, 0);
	p->ops.v[0].a[0] = 4096;
	plan_op(p, BLOB_PARK, 0, 0, 0);
	refused(w);
	plan_op(p, BLOB_PARK, 0, 0, 0);
	assert_int_equal(plan_link(w->ps), 0);
}

/* A task may scribble over the shared page: messages about it must not follow wild numbers. */
static void test_hostile_shared_page(void **state)
{
	struct world *w = *state;
	char text[128];

	plan_op(w->root, BLOB_PARK, 0, 0, 0);
	assert_int_equal(plan_link(w->ps), 0);
	w->arena.shared->failed = 1;
	w->arena.shared->fail_thread = 0xffffffff;
	plan_explain_failure(w->ps, text, sizeof(text));
	assert_non_null(strstr(text, "unknown operation"));
	w->arena.shared->fail_thread = 0;
	w->arena.shared->fail_op = 1;
	plan_explain_failure(w->ps, text, 10);
	assert_int_equal(strlen(text), 9);
	w->arena.shared->fail_op = 0;
	w->arena.shared->fail_errno = -5;
	w->arena.shared->fail_result = -123456;
	plan_explain_failure(w->ps, text, sizeof(text));
	w->arena.shared->failed = 0;
	w->arena.shared->dead_tid = 77;
	w->arena.shared->dead_status = SIGSEGV;
	plan_explain_failure(w->ps, text, sizeof(text));
	assert_non_null(strstr(text, "77 died by SIGSEGV"));
}

static void test_print(void **state)
{
	struct world *w = *state;
	struct plan *child = plan_new(w->ps, "pid 2");
	pid_t tid = 812;
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	plan_origin(w->ps, "memory: heap");
	plan_sys(w->root, BLOB_EXPECT, SYS_mmap, 0x10000, 0x2000, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, (uint64_t)-1, 0)->expect = 0x10000;
	plan_sys(w->root, BLOB_ZERO, SYS_mprotect, 0x10000, 0x1000, PROT_NONE);
	plan_sys(w->root, BLOB_ANY, SYS_madvise, 0x10000, 0x1000, MADV_DONTFORK);
	plan_sys(w->root, BLOB_ZERO, 1000, 1);
	plan_fork(w->root, child, 0, SIGCHLD, &tid, 1);
	plan_op(w->root, BLOB_PARK, 0, 0, 0);
	plan_print(w->ps, out);
	fclose(out);
	assert_non_null(strstr(text, "mmap(0x10000, 0x2000, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_FIXED|MAP_ANONYMOUS, "
				     "-1, 0) == 65536  [memory: heap]"));
	assert_non_null(strstr(text, "mprotect(0x10000, 0x1000, PROT_NONE)"));
	assert_non_null(strstr(text, "MADV_DONTFORK) (any result)"));
	assert_non_null(strstr(text, "syscall_1000(1, 0, 0, 0, 0, 0)"));
	assert_non_null(strstr(text, "clone3 \"pid 2\" flags 0 as 812"));
	free(text);
}

static void test_arena_refuses_a_used_range(void **state)
{
	struct world *w = *state;
	struct arena other;

	assert_int_equal(arena_new(&w->s, w->arena.base + (1 << 20), ARENA_SIZE, &other), -EEXIST);
	assert_int_equal(arena_new(&w->s, w->arena.base + 1, ARENA_SIZE, &other), -EINVAL);
	assert_int_equal(arena_new(&w->s, 0, ARENA_SIZE, &other), -EINVAL);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_system_call), T(test_barrier_waits_for_release), T(test_ask), T(test_child_process), T(test_chosen_pid),
		T(test_thread_and_park), T(test_failure_is_explained), T(test_wrong_positive_result),
		T(test_failure_ends_everybody), T(test_loop), T(test_loop_runs_out_of_fuel), T(test_copy_load_store),
		T(test_dies_by_signal), T(test_fail_operation), T(test_link_refuses), T(test_hostile_shared_page),
		T(test_print), T(test_arena_refuses_a_used_range),
	};

	log_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
