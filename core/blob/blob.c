/* SPDX-License-Identifier: MIT */
/*
 * blob.c: the interpreter that runs inside restored tasks.
 *
 * Freestanding and position independent: no libc, no relocations, no data of its
 * own, general registers only.  Its whole world is the arena: struct blob_thread
 * with the operations, and struct blob_shared through which E, W and all other
 * blobs see it.  Futexes are used without FUTEX_PRIVATE_FLAG because the waiters
 * are different processes.  Every wait has a timeout and looks at abort again, so
 * that a lost wake-up costs time only.
 */
#include <asm/errno.h>
#include <asm/unistd.h>
#include <linux/futex.h>
#include <stddef.h>

#include "blob.h"

#define STAGE_WAIT_S 1l
#define PARK_WAIT_S 1l
#define SIG_UNBLOCK_HOW 1
#define ERRNO_MAX 4095
#define CLONE_ARGS_BYTES 88
#define FORK_TRIES 3000
#define FORK_PAUSE_NS 1000000l

struct ktimespec {
	long sec, nsec;
};

/* struct sigaction as the kernel of x86-64 has it */
struct ksigaction {
	uint64_t handler, flags, restorer, mask;
};

/* core/arch: the child runs entry(arg) on the stack that args describe */
long arch_clone3_enter(void *args, size_t size, blob_entry_t entry, void *arg)
	__attribute__((visibility("hidden")));
__attribute__((section(".text.entry"), noreturn)) void blob_main(void *thread);

static inline int64_t sys6(uint64_t nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f)
{
	register uint64_t r10 __asm__("r10") = d;
	register uint64_t r8 __asm__("r8") = e;
	register uint64_t r9 __asm__("r9") = f;
	int64_t ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "0"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

static void wake(uint32_t *word)
{
	sys6(__NR_futex, (uintptr_t)word, FUTEX_WAKE, 0x7fffffff, 0, 0, 0);
}

static void wait_change(uint32_t *word, uint32_t seen, long sec, long nsec)
{
	struct ktimespec ts;

	ts.sec = sec;
	ts.nsec = nsec;
	sys6(__NR_futex, (uintptr_t)word, FUTEX_WAIT, seen, (uintptr_t)&ts, 0, 0);
}

static void tell_engine(struct blob_shared *sh)
{
	__atomic_add_fetch(&sh->event, 1, __ATOMIC_SEQ_CST);
	wake(&sh->event);
}

static __attribute__((noreturn)) void leave(uint64_t status)
{
	for (;;)
		sys6(__NR_exit_group, status, 0, 0, 0, 0, 0);
}

static uint32_t aborted(struct blob_shared *sh)
{
	return __atomic_load_n(&sh->abort, __ATOMIC_SEQ_CST);
}

/* Only the first failure of all tasks is described; every one of them aborts the restore. */
static __attribute__((noreturn)) void fail(struct blob_thread *t, int64_t result)
{
	struct blob_shared *sh = (struct blob_shared *)t->shared;
	uint32_t none = 0;

	if (__atomic_compare_exchange_n(&sh->failed, &none, 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
		sh->fail_thread = t->index;
		sh->fail_op = t->pc;
		sh->fail_errno = result < 0 && result >= -ERRNO_MAX ? (int32_t)-result : EPROTO;
		sh->fail_result = result;
	}
	__atomic_store_n(&sh->abort, 1, __ATOMIC_SEQ_CST);
	tell_engine(sh);
	wake(&sh->released);
	wake(&sh->abort);
	leave(1);
}

static void barrier(struct blob_thread *t, uint64_t stage)
{
	struct blob_shared *sh = (struct blob_shared *)t->shared;
	uint32_t seen;

	if (stage >= BLOB_STAGES)
		fail(t, -EINVAL);
	if (__atomic_add_fetch(&sh->arrived[stage], 1, __ATOMIC_SEQ_CST) >= sh->expected[stage])
		tell_engine(sh);
	for (;;) {
		if (aborted(sh))
			leave(1);
		seen = __atomic_load_n(&sh->released, __ATOMIC_SEQ_CST);
		if (seen >= stage)
			return;
		wait_change(&sh->released, seen, STAGE_WAIT_S, 0);
	}
}

/* What the engine answers. */
static int64_t ask(struct blob_thread *t, uint32_t *word)
{
	struct blob_shared *sh = (struct blob_shared *)t->shared;
	uint32_t seen;

	word[1] = (uint32_t)sys6(__NR_getpid, 0, 0, 0, 0, 0, 0);
	__atomic_store_n(word, BLOB_ASKED, __ATOMIC_SEQ_CST);
	tell_engine(sh);
	for (;;) {
		if (aborted(sh))
			leave(1);
		seen = __atomic_load_n(word, __ATOMIC_SEQ_CST);
		if (seen != BLOB_ASKED)
			return seen;
		wait_change(word, seen, STAGE_WAIT_S, 0);
	}
}

static __attribute__((noreturn)) void park(struct blob_thread *t)
{
	struct blob_shared *sh = (struct blob_shared *)t->shared;

	__atomic_store_n(&t->parked, 1, __ATOMIC_SEQ_CST);
	if (__atomic_add_fetch(&sh->parked, 1, __ATOMIC_SEQ_CST) >= sh->expected_parked)
		tell_engine(sh);
	while (!aborted(sh))
		wait_change(&sh->abort, 0, PARK_WAIT_S, 0);
	leave(1);
}

/* A signal that does not kill ends in a failure. */
static __attribute__((noreturn)) void die_by(struct blob_thread *t, uint64_t signo)
{
	struct ksigaction sa;
	uint64_t mask = 1ull << ((signo - 1) & 63);

	sa.handler = sa.flags = sa.restorer = sa.mask = 0;
	sys6(__NR_rt_sigaction, signo, (uintptr_t)&sa, 0, sizeof(mask), 0, 0);
	sys6(__NR_rt_sigprocmask, SIG_UNBLOCK_HOW, (uintptr_t)&mask, 0, sizeof(mask), 0, 0);
	sys6(__NR_tgkill, (uint64_t)sys6(__NR_getpid, 0, 0, 0, 0, 0, 0), (uint64_t)sys6(__NR_gettid, 0, 0, 0, 0, 0, 0),
	     signo, 0, 0, 0);
	fail(t, -ESRCH);
}

static void copy(uint64_t to, uint64_t from, uint64_t bytes)
{
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
}

static int condition(int64_t have, uint64_t how, int64_t than)
{
	if (how == 0)
		return have == than;
	if (how == 1)
		return have != than;
	if (how == 2)
		return have < than;
	return have >= than;
}

static int satisfied(const struct blob_op *op, int64_t result)
{
	if (op->want == BLOB_ZERO)
		return result == 0;
	if (op->want == BLOB_NONNEG)
		return result >= 0;
	if (op->want == BLOB_EXPECT)
		return result == (int64_t)op->expect;
	return 1;
}

/* Number of the next operation. */
static uint32_t jump(struct blob_thread *t, const uint64_t a[6])
{
	if (!condition(t->slots[a[0] & (BLOB_SLOTS - 1)], a[1], (int64_t)a[2]))
		return t->pc + 1;
	if (!t->fuel)
		fail(t, -ELOOP);
	t->fuel--;
	return (uint32_t)(t->pc + a[3]);
}

static void resolve(const struct blob_thread *t, const struct blob_op *op, uint64_t a[6])
{
	for (int i = 0; i < 6; i++)
		a[i] = op->slotmask & (1u << i) ? (uint64_t)t->slots[op->a[i] & (BLOB_SLOTS - 1)] : op->a[i];
}

/* The operations that have a result. */
/*
 * The kernel gives a number back a moment after its last process, or the last one of its session, has been reaped
 * (Linux 6.15: free_pids()): E has seen that nobody has it, and it cannot be had yet.
 */
static int64_t create(struct blob_thread *t, const uint64_t a[6])
{
	struct blob_shared *sh = (struct blob_shared *)t->shared;
	int64_t pid = -EEXIST;

	for (int i = 0; i < FORK_TRIES && pid == -EEXIST && !aborted(sh); i++) {
		if (i)
			wait_change(&sh->abort, 0, 0, FORK_PAUSE_NS);
		pid = arch_clone3_enter((void *)a[0], CLONE_ARGS_BYTES, blob_main, (void *)a[1]);
	}
	return pid;
}

static int64_t evaluate(struct blob_thread *t, const struct blob_op *op, const uint64_t a[6])
{
	switch (op->code) {
	case BLOB_SYS:
		return sys6(op->nr, a[0], a[1], a[2], a[3], a[4], a[5]);
	case BLOB_FORK:
		return create(t, a);
	case BLOB_MOV:
		return (int64_t)a[0];
	case BLOB_ADD:
		return (int64_t)(a[0] + a[1]);
	case BLOB_LOAD:
		return (int64_t)*(volatile uint64_t *)a[0];
	case BLOB_ASK:
		return ask(t, (uint32_t *)a[0]);
	default:
		fail(t, -ENOSYS);
	}
}

static void step(struct blob_thread *t, const struct blob_op *op, const uint64_t a[6])
{
	int64_t result;

	switch (op->code) {
	case BLOB_COPY:
		copy(a[0], a[1], a[2]);
		return;
	case BLOB_STORE:
		*(volatile uint64_t *)a[0] = a[1];
		return;
	case BLOB_BARRIER:
		barrier(t, a[0]);
		return;
	case BLOB_PARK:
		park(t);
	case BLOB_EXIT:
		leave(a[0]);
	case BLOB_KILL:
		die_by(t, a[0]);
	case BLOB_FAIL:
		fail(t, -(int64_t)a[0]);
	default:
		result = evaluate(t, op, a);
	}
	if (op->slot < BLOB_SLOTS)
		t->slots[op->slot] = result;
	if ((op->code == BLOB_SYS || op->code == BLOB_FORK) && !satisfied(op, result))
		fail(t, result);
}

void blob_main(void *thread)
{
	struct blob_thread *t = thread;
	struct blob_shared *sh = (struct blob_shared *)t->shared;
	uint64_t a[6];
	uint32_t pc = 0;

	for (;;) {
		const struct blob_op *op = (const struct blob_op *)t->ops + pc;

		__atomic_store_n(&t->pc, pc, __ATOMIC_RELAXED);
		if (pc >= t->nops)
			fail(t, -ENOEXEC);
		if (aborted(sh))
			leave(1);
		resolve(t, op, a);
		if (op->code == BLOB_JMP) {
			pc = jump(t, a);
			continue;
		}
		step(t, op, a);
		pc++;
	}
}
