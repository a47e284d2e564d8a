/* SPDX-License-Identifier: MIT */
/*
 * A filter that kills for nearly everything, without no_new_privs when root runs it: neither dump nor restore may run
 * into it, and after the restore it acts.
 */
#include "prog.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static int *shared;

static void install(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clock_nanosleep, 2, 0),
		/* what the kernel makes of a sleep that a stop has interrupted */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_restart_syscall, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { sizeof(code) / sizeof(code[0]), code };

	CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) == 0);
}

/* shared[1]: the parent lets it go on. */
static void child(void *arg)
{
	struct timespec ms = { 0, 10000000 };

	install();
	prog_count(shared);
	while (!__atomic_load_n(&shared[1], __ATOMIC_SEQ_CST))
		syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &ms, NULL);
	if (arg)
		syscall(SYS_getpid);
	syscall(SYS_exit_group, 7);
}

static pid_t filtered_child(void *arg)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0)
		child(arg);
	return pid;
}

int main(int argc, char **argv)
{
	pid_t quiet, bad;
	int st;

	prog_init(argc, argv);
	if (!prog_all_ids())
		prog_skip("seccomp filters cannot be read in a user namespace");
	if (geteuid() != 0)
		CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	shared = prog_shared(4096);
	quiet = filtered_child(NULL);
	bad = filtered_child(shared);
	prog_wait_count(shared, 2);
	prog_ready();
	CHECK(prog_status(quiet, quiet, "Seccomp", 10) == 2);
	CHECK(prog_status(quiet, quiet, "NoNewPrivs", 10) == (geteuid() != 0));
	__atomic_store_n(&shared[1], 1, __ATOMIC_SEQ_CST);
	CHECK(waitpid(quiet, &st, 0) == quiet && WIFEXITED(st) && WEXITSTATUS(st) == 7);
	CHECK(waitpid(bad, &st, 0) == bad && WIFSIGNALED(st) && WTERMSIG(st) == SIGSYS);
	prog_ok();
}
