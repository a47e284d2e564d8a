/* SPDX-License-Identifier: MIT */
/* Probes: creating, tracing and comparing tasks. */
#include "probe.h"

#include <asm/prctl.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/kcmp.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util.h"

#ifndef PTRACE_GET_RSEQ_CONFIGURATION
#define PTRACE_GET_RSEQ_CONFIGURATION 0x420f
#endif
#ifndef PTRACE_O_SUSPEND_SECCOMP
#define PTRACE_O_SUSPEND_SECCOMP (1 << 21)
#endif
#ifndef PR_TIMER_CREATE_RESTORE_IDS
#define PR_TIMER_CREATE_RESTORE_IDS 77
#define PR_TIMER_CREATE_RESTORE_IDS_GET 2
#endif
#ifndef ARCH_MAP_VDSO_32
#define ARCH_MAP_VDSO_32 0x2002
#define ARCH_MAP_VDSO_64 0x2003
#endif

/* Asks for pid 1, which always exists: EEXIST is the answer of a kernel that would have obeyed. */
PROBE(clone3_set_tid)
{
	pid_t tid = 1;
	struct clone_args a = { .exit_signal = SIGCHLD, .set_tid = (uintptr_t)&tid, .set_tid_size = 1 };
	long pid = syscall(SYS_clone3, &a, sizeof(a));

	if (pid == 0)
		_exit(0);
	if (pid > 0)
		waitpid(pid, NULL, 0);
	*ret_value = pid > 0 || (pid < 0 && errno == EEXIST);
	return 0;
}

PROBE(pidfd_getfd)
{
	_cleanup_fd_ int pidfd = syscall(SYS_pidfd_open, getpid(), 0), fd = -1;

	if (pidfd >= 0)
		fd = syscall(SYS_pidfd_getfd, pidfd, pidfd, 0);
	*ret_value = fd >= 0;
	return 0;
}

/* ---- a traced child ---- */

static bool run_traced(void (*child)(void), unsigned long options, bool (*ask)(pid_t pid))
{
	int status;
	pid_t pid = fork();
	bool ok;

	if (pid == 0) {
		alarm(5);
		child();
		for (;;)
			pause();
	}
	if (pid < 0)
		return false;
	ok = ptrace(PTRACE_SEIZE, pid, 0, options) == 0;
	if (ok && ask)
		ok = ptrace(PTRACE_INTERRUPT, pid, 0, 0) == 0 && waitpid(pid, &status, __WALL) == pid &&
		     WIFSTOPPED(status) && ask(pid);
	kill(pid, SIGKILL);
	while (waitpid(pid, &status, __WALL) == pid && !WIFSIGNALED(status) && !WIFEXITED(status))
		;
	return ok;
}

static void child_idle(void)
{
}

PROBE(ptrace_seize)
{
	*ret_value = run_traced(child_idle, 0, NULL);
	return 0;
}

static bool ask_rseq(pid_t pid)
{
	unsigned char conf[64];

	return ptrace(PTRACE_GET_RSEQ_CONFIGURATION, pid, (void *)24, conf) > 0;
}

PROBE(get_rseq_conf)
{
	*ret_value = run_traced(child_idle, 0, ask_rseq);
	return 0;
}

PROBE(seccomp_suspend)
{
	*ret_value = run_traced(child_idle, PTRACE_O_SUSPEND_SECCOMP, NULL);
	return 0;
}

/* The filter must be there before the parent asks: it is installed, then the child stops itself. */
static bool filtered_child(void)
{
	struct sock_filter allow[] = { BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW) };
	struct sock_fprog prog = { .len = ARRAY_SIZE(allow), .filter = allow };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0) == 0;
}

static bool seccomp_filter_probe(void)
{
	bool ok = false;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, 0, 0) || !filtered_child())
			_exit(0);
		raise(SIGSTOP);
		_exit(0);
	}
	if (pid < 0)
		return false;
	if (waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status)) {
		ok = ptrace(PTRACE_SECCOMP_GET_FILTER, pid, 0, NULL) > 0;
		kill(pid, SIGKILL);
		waitpid(pid, &status, __WALL);
	}
	return ok;
}

PROBE(seccomp_filters)
{
	*ret_value = probe_in_child(seccomp_filter_probe);
	return 0;
}

/* ---- hardware breakpoints ---- */

__attribute__((noinline)) static void breakpoint_target(void)
{
	__asm__ volatile("" ::: "memory");
}

static bool poke_debug(pid_t pid, int reg, unsigned long val)
{
	return ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg) + reg * sizeof(val), val) == 0;
}

/* The child stops, gets an execution breakpoint on a function and calls it: it must stop with SIGTRAP. */
static bool breakpoint_probe(void)
{
	bool ok = false;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, 0, 0))
			_exit(0);
		raise(SIGSTOP);
		breakpoint_target();
		_exit(0);
	}
	if (pid < 0)
		return false;
	if (waitpid(pid, &status, __WALL) != pid || !WIFSTOPPED(status))
		return false;
	if (poke_debug(pid, 0, (unsigned long)breakpoint_target) && poke_debug(pid, 7, 1) &&
	    ptrace(PTRACE_CONT, pid, 0, 0) == 0 && waitpid(pid, &status, __WALL) == pid)
		ok = WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP;
	kill(pid, SIGKILL);
	waitpid(pid, &status, __WALL);
	return ok;
}

PROBE(breakpoints)
{
	*ret_value = probe_in_child(breakpoint_probe);
	return 0;
}

/* ---- system calls ---- */

PROBE(prctl_mm_map)
{
	unsigned int size = 0;

	*ret_value = prctl(PR_SET_MM, PR_SET_MM_MAP_SIZE, &size, 0, 0) == 0 && size >= sizeof(struct prctl_mm_map);
	return 0;
}

PROBE(timer_cr_ids)
{
	*ret_value = prctl(PR_TIMER_CREATE_RESTORE_IDS, PR_TIMER_CREATE_RESTORE_IDS_GET, 0, 0, 0) >= 0;
	return 0;
}

PROBE(kcmp)
{
	pid_t me = getpid();

	*ret_value = syscall(SYS_kcmp, me, me, KCMP_VM, 0, 0) == 0;
	return 0;
}

PROBE(kcmp_epoll)
{
	_cleanup_fd_ int ep = epoll_create1(EPOLL_CLOEXEC), rd = -1, wr = -1;
	struct epoll_event ev = { .events = EPOLLIN };
	struct kcmp_epoll_slot slot = { 0 };
	int p[2];

	*ret_value = 0;
	if (ep < 0 || pipe(p))
		return 0;
	rd = p[0];
	wr = p[1];
	slot.efd = ep;
	slot.tfd = rd;
	if (epoll_ctl(ep, EPOLL_CTL_ADD, rd, &ev) == 0)
		*ret_value = syscall(SYS_kcmp, getpid(), getpid(), KCMP_EPOLL_TFD, rd, &slot) == 0;
	return 0;
}

/* A second vDSO is refused with EEXIST by a kernel that could have mapped the first. */
static bool has_map_vdso(int code)
{
	return syscall(SYS_arch_prctl, code, 0) < 0 && errno == EEXIST;
}

PROBE(can_map_vdso)
{
	*ret_value = has_map_vdso(ARCH_MAP_VDSO_64);
	return 0;
}

PROBE(compat_cr)
{
	*ret_value = has_map_vdso(ARCH_MAP_VDSO_32);
	return 0;
}
