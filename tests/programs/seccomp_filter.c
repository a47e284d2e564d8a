/* SPDX-License-Identifier: MIT */
/*
 * Seccomp filters: stacked, inherited by a child, set in one thread only, and for all threads (TSYNC).  Each denies one
 * call with an error of its own.  After the restore TSYNC must still find all threads on the same chain.
 */
#include "prog.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static int up, added;
static int *children;

static long filter(long nr, int error, unsigned flags)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { sizeof(code) / sizeof(code[0]), code };

	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);
}

/* want 0: the call works. */
static void denied(long nr, int want)
{
	long r;

	errno = 0;
	r = syscall(nr, 0, 0, 0);
	if (want ? r != -1 || errno != want : r == -1)
		prog_fail("call %ld gave %ld, errno %d instead of %d", nr, r, errno, want);
}

static void common(void)
{
	denied(SYS_getpgid, EDOM);
	denied(SYS_getsid, ERANGE);
	CHECK(prog_status(getpid(), gettid(), "Seccomp", 10) == 2);
}

static void child(void *arg)
{
	CHECK(filter(SYS_getpriority, EXDEV, 0) == 0);
	prog_count(children);
	prog_wait_go();
	common();
	denied(SYS_getpriority, EXDEV);
	denied(SYS_getegid, 0);
	CHECK(prog_status(getpid(), gettid(), "Seccomp_filters", 10) == 3);
}

static void *thread(void *arg)
{
	prog_count(&up);
	prog_wait_go();
	common();
	denied(SYS_getgid, ENOTDIR);
	denied(SYS_getpriority, 0);
	while (!__atomic_load_n(&added, __ATOMIC_SEQ_CST))
		prog_nap(10);
	denied(SYS_getuid, EISDIR);
	return NULL;
}

/* Leaves the chain that the others share. */
static void *odd_thread(void *arg)
{
	CHECK(filter(SYS_getegid, ELOOP, 0) == 0);
	prog_count(&up);
	prog_wait_go();
	common();
	denied(SYS_getegid, ELOOP);
	denied(SYS_getgid, ENOTDIR);
	prog_count(&up);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t t[3], odd;
	pid_t pid;

	prog_init(argc, argv);
	if (!prog_all_ids())
		prog_skip("seccomp filters cannot be read in a user namespace");
	children = prog_shared(4096);
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(filter(SYS_getpgid, EDOM, 0) == 0);
	CHECK(filter(SYS_getsid, ERANGE, SECCOMP_FILTER_FLAG_LOG) == 0);
	pid = prog_child(child, NULL);
	for (int i = 0; i < 3; i++)
		CHECK(pthread_create(&t[i], NULL, thread, NULL) == 0);
	prog_wait_count(&up, 3);
	CHECK(filter(SYS_getgid, ENOTDIR, SECCOMP_FILTER_FLAG_TSYNC) == 0);
	CHECK(pthread_create(&odd, NULL, odd_thread, NULL) == 0);
	prog_wait_count(&up, 4);
	prog_wait_count(children, 1);
	prog_ready();
	common();
	denied(SYS_getgid, ENOTDIR);
	denied(SYS_getegid, 0);
	CHECK(prog_status(getpid(), getpid(), "Seccomp_filters", 10) == 3);
	CHECK(pthread_join(odd, NULL) == 0);
	CHECK(filter(SYS_getuid, EISDIR, SECCOMP_FILTER_FLAG_TSYNC) == 0);
	__atomic_store_n(&added, 1, __ATOMIC_SEQ_CST);
	for (int i = 0; i < 3; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
	prog_reap(pid);
	prog_ok();
}
