/* SPDX-License-Identifier: MIT */
/*
 * Adopting a tree that is being restored.
 *
 * The root is seized while it waits at its first barrier; the kernel then attaches
 * every child and thread at its birth.  They run on at once, signals are passed on,
 * and a death that nobody announced is told to E through the arena.  Should E or W
 * die, the whole tree dies: EXITKILL for the one, adopt_abort() for the other.
 */
#include "server.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fault.h"

#define ROOT_WAIT_US 5000000
#define ADOPT_OPTIONS (PTRACE_O_EXITKILL | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACESYSGOOD)

static void wake(uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

int wd_arena(struct server *sv, int fd, uint64_t base, uint64_t size, uint64_t shared)
{
	void *p;

	if (fd < 0 || base % PAGE_BYTES || size % PAGE_BYTES || sv->shared)
		return wd_fail(sv, -EINVAL, "the arena cannot be given to the warden twice, or without a descriptor");
	if (shared < base || shared % sizeof(uint64_t) || shared - base > size ||
	    size - (shared - base) < sizeof(struct blob_shared))
		return wd_fail(sv, -EINVAL, "the arena's shared part lies outside of it");
	/* over E's mapping of it, which W inherited when it was forked after the arena was made */
	p = FAULTS("arena of the warden") ? MAP_FAILED :
	    mmap((void *)(uintptr_t)base, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	if (p == MAP_FAILED)
		return wd_fail(sv, -errno, "the warden cannot map the arena at %#jx: %s", (uintmax_t)base, strerror(errno));
	sv->base = base;
	sv->size = size;
	sv->shared = (struct blob_shared *)(uintptr_t)shared;
	return 0;
}

/* Filters that the tree installs must not stop its own restore; without privilege it has to do with them. */
static int seize(pid_t root)
{
	int err = pt(PTRACE_SEIZE, root, 0, ADOPT_OPTIONS | PTRACE_O_SUSPEND_SECCOMP);

	return err == -EPERM || err == -EINVAL ? pt(PTRACE_SEIZE, root, 0, ADOPT_OPTIONS) : err;
}

/* Yama may forbid it until the root has come to its first stage, and allowed it. */
static int seize_root(struct server *sv, pid_t root)
{
	uint64_t end = now_us() + ROOT_WAIT_US;

	for (;;) {
		bool arrived = __atomic_load_n(&sv->shared->arrived[BLOB_FIRST_STAGE], __ATOMIC_ACQUIRE);
		int err = seize(root);

		if (err != -EPERM || arrived || now_us() > end)
			return err;
		nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
	}
}

int wd_adopt(struct server *sv, pid_t root)
{
	int err;

	if (!sv->shared || sv->adopting)
		return wd_fail(sv, -EINVAL, "the warden has no arena yet, or a root already");
	err = seize_root(sv, root);
	if (err)
		return wd_fail(sv, err, "the new root task (pid %d) cannot be traced: %s%s", root, strerror(-err),
			       err == -EPERM ? yama_hint() : "");
	tracee_add(sv, root, root);
	sv->adopting = true;
	return 0;
}

int wd_expect(struct server *sv, const pid_t *tids, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct tracee *t = tracee_find(sv, tids[i]);

		*vec_push(&sv->expected) = tids[i];
		if (t)
			t->expected = true;
	}
	return 0;
}

static bool is_expected(const struct server *sv, pid_t tid)
{
	for (size_t i = 0; i < sv->expected.n; i++)
		if (sv->expected.v[i] == tid)
			return true;
	return false;
}

/* The first one is what E wants to know; only W writes these fields. */
static void tell_death(struct server *sv, pid_t tid, int status)
{
	struct blob_shared *sh = sv->shared;

	if (sh->dead_tid || __atomic_load_n(&sh->abort, __ATOMIC_SEQ_CST))
		return; /* after an abort everybody dies */
	sh->dead_status = status;
	__atomic_store_n(&sh->dead_tid, tid, __ATOMIC_SEQ_CST);
	__atomic_add_fetch(&sh->event, 1, __ATOMIC_SEQ_CST);
	wake(&sh->event);
}

/* One status of an adopted task: it runs on, or is forgotten. */
static void handle(struct server *sv, pid_t tid, int status)
{
	struct tracee *t = tracee_find(sv, tid);
	int sig;

	if (!t) {
		t = tracee_add(sv, 0, tid); /* just born */
		t->expected = is_expected(sv, tid);
	}
	switch (stop_kind_of(status, &sig)) {
	case STOP_DEAD:
		if (!t->expected)
			tell_death(sv, tid, status);
		tracee_gone(sv, t);
		break;
	case STOP_EVENT: /* also a job control stop: it is made up for in the end */
		t->stop_signo = sig;
		pt_sure(PTRACE_CONT, tid, 0, 0);
		break;
	default: /* fork events carry no signal */
		pt_sure(PTRACE_CONT, tid, 0, sig);
		break;
	}
}

void adopt_pump(struct server *sv)
{
	int status;
	pid_t tid;

	while ((tid = waitpid(-1, &status, __WALL | WNOHANG)) > 0)
		handle(sv, tid, status);
	tracees_sweep(sv);
}

void adopt_abort(struct server *sv)
{
	struct blob_shared *sh = sv->shared;

	if (!sh)
		return;
	__atomic_store_n(&sh->abort, 1, __ATOMIC_SEQ_CST);
	wake(&sh->abort);
	wake(&sh->released);
	__atomic_add_fetch(&sh->event, 1, __ATOMIC_SEQ_CST);
	wake(&sh->event);
	if (sv->adopting)
		tracees_kill(sv, now_us() + 10000000);
}
