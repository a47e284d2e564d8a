/* SPDX-License-Identifier: MIT */
/*
 * names.c: tables for printing plans.  A call that is missing here is printed by
 * number with hexadecimal arguments; nothing else depends on the tables.
 */
#include "names.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define CALL(name, args) { SYS_##name, #name, args }

static const struct call_name calls[] = {
	CALL(mmap, "xupmfx"), CALL(munmap, "xu"), CALL(mremap, "xuuxx"), CALL(mprotect, "xup"),
	CALL(madvise, "xua"), CALL(mlock, "xu"), CALL(mlock2, "xux"), CALL(munlock, "xu"), CALL(brk, "x"),
	CALL(preadv, "fxdx"), CALL(pread64, "fxux"), CALL(pwrite64, "fxux"), CALL(read, "fxu"),
	CALL(write, "fxu"), CALL(readv, "fxd"), CALL(writev, "fxd"), CALL(lseek, "fxd"),
	CALL(open, "sox"), CALL(openat, "dsox"), CALL(close, "f"), CALL(close_range, "ffx"), CALL(dup, "f"),
	CALL(dup2, "ff"), CALL(dup3, "ffo"), CALL(fcntl, "fcx"), CALL(ioctl, "fxx"), CALL(ftruncate, "fu"),
	CALL(fchdir, "f"), CALL(chdir, "s"), CALL(chroot, "s"), CALL(umask, "x"), CALL(flock, "fx"),
	CALL(unlinkat, "dst"), CALL(linkat, "dsdst"), CALL(pivot_root, "ss"),
	CALL(prctl, "rxxxx"), CALL(arch_prctl, "xx"), CALL(personality, "x"), CALL(rseq, "xuxx"),
	CALL(set_tid_address, "x"), CALL(set_robust_list, "xu"), CALL(membarrier, "dxd"),
	CALL(rt_sigaction, "gxxd"), CALL(rt_sigprocmask, "dxxd"), CALL(rt_sigqueueinfo, "dgx"),
	CALL(rt_tgsigqueueinfo, "ddgx"), CALL(sigaltstack, "xx"), CALL(kill, "dg"), CALL(tgkill, "ddg"),
	CALL(setitimer, "dxx"), CALL(timer_create, "dxx"), CALL(timer_settime, "dxxx"), CALL(timer_delete, "d"),
	CALL(timerfd_settime, "fxxx"), CALL(clock_gettime, "dx"), CALL(nanosleep, "xx"),
	CALL(getpid, ""), CALL(gettid, ""), CALL(getppid, ""), CALL(setsid, ""), CALL(getsid, "d"),
	CALL(setpgid, "dd"), CALL(getpgid, "d"), CALL(wait4, "dxxx"), CALL(waitid, "ddxxx"),
	CALL(clone3, "xu"), CALL(exit, "d"), CALL(exit_group, "d"), CALL(unshare, "x"), CALL(setns, "fx"),
	CALL(prlimit64, "ddxx"), CALL(setrlimit, "dx"), CALL(setpriority, "ddd"), CALL(sched_setscheduler, "ddx"),
	CALL(sched_setattr, "dxx"), CALL(sched_setaffinity, "dux"), CALL(ioprio_set, "ddx"),
	CALL(setresuid, "ddd"), CALL(setresgid, "ddd"), CALL(setfsuid, "d"), CALL(setfsgid, "d"),
	CALL(setuid, "d"), CALL(setgid, "d"), CALL(setgroups, "dx"), CALL(capset, "xx"), CALL(seccomp, "xxx"),
	CALL(sethostname, "su"), CALL(mount, "sssxx"), CALL(umount2, "st"), CALL(futex, "xxdxxx"),
	CALL(epoll_ctl, "fdfx"), CALL(inotify_add_watch, "fsx"), CALL(sendmsg, "fxx"), CALL(recvmsg, "fxx"),
	CALL(setsockopt, "fddxd"), CALL(connect, "fxu"), CALL(bind, "fxu"), CALL(listen, "fd"),
	CALL(tee, "ffux"), CALL(splice, "fxfxux"), CALL(vmsplice, "fxux"), CALL(eventfd2, "dx"), CALL(pipe2, "xo"),
};

struct flag_name {
	uint64_t value;
	const char *name;
};

#define FLAG(x) { x, #x }

static const struct flag_name prot_names[] = { FLAG(PROT_READ), FLAG(PROT_WRITE), FLAG(PROT_EXEC),
	FLAG(PROT_GROWSDOWN), FLAG(PROT_GROWSUP), { 0, NULL } };
static const struct flag_name map_names[] = { FLAG(MAP_SHARED), FLAG(MAP_PRIVATE), FLAG(MAP_FIXED),
	FLAG(MAP_ANONYMOUS), FLAG(MAP_GROWSDOWN), FLAG(MAP_LOCKED), FLAG(MAP_NORESERVE), FLAG(MAP_POPULATE),
	FLAG(MAP_STACK), FLAG(MAP_HUGETLB), FLAG(MAP_FIXED_NOREPLACE), { 0, NULL } };
static const struct flag_name open_names[] = { FLAG(O_WRONLY), FLAG(O_RDWR), FLAG(O_CREAT), FLAG(O_EXCL),
	FLAG(O_NOCTTY), FLAG(O_TRUNC), FLAG(O_APPEND), FLAG(O_NONBLOCK), FLAG(O_SYNC), FLAG(O_DIRECT),
	{ 0100000, "O_LARGEFILE" }, FLAG(O_DIRECTORY), FLAG(O_NOFOLLOW), FLAG(O_NOATIME), FLAG(O_CLOEXEC), FLAG(O_PATH),
	{ 0, NULL } };
static const struct flag_name at_names[] = { FLAG(AT_SYMLINK_NOFOLLOW), FLAG(AT_REMOVEDIR),
	FLAG(AT_SYMLINK_FOLLOW), FLAG(AT_EMPTY_PATH), { 0, NULL } };
static const struct flag_name advice_names[] = { FLAG(MADV_NORMAL), FLAG(MADV_RANDOM), FLAG(MADV_SEQUENTIAL),
	FLAG(MADV_WILLNEED), FLAG(MADV_DONTNEED), FLAG(MADV_FREE), FLAG(MADV_REMOVE), FLAG(MADV_DONTFORK),
	FLAG(MADV_DOFORK), FLAG(MADV_MERGEABLE), FLAG(MADV_UNMERGEABLE), FLAG(MADV_HUGEPAGE),
	FLAG(MADV_NOHUGEPAGE), FLAG(MADV_DONTDUMP), FLAG(MADV_DODUMP), FLAG(MADV_WIPEONFORK),
	FLAG(MADV_KEEPONFORK), FLAG(MADV_COLD), FLAG(MADV_PAGEOUT), { 0, NULL } };
static const struct flag_name prctl_names[] = { FLAG(PR_SET_PDEATHSIG), FLAG(PR_SET_DUMPABLE),
	FLAG(PR_SET_KEEPCAPS), FLAG(PR_SET_NAME), FLAG(PR_SET_SECCOMP), FLAG(PR_CAPBSET_DROP),
	FLAG(PR_SET_SECUREBITS), FLAG(PR_SET_TIMERSLACK), FLAG(PR_SET_MM), FLAG(PR_SET_CHILD_SUBREAPER),
	FLAG(PR_SET_NO_NEW_PRIVS), FLAG(PR_SET_THP_DISABLE), FLAG(PR_CAP_AMBIENT), FLAG(PR_SET_VMA),
	FLAG(PR_SET_PTRACER), { 0, NULL } };
static const struct flag_name fcntl_names[] = { FLAG(F_GETFD), FLAG(F_SETFD), FLAG(F_GETFL), FLAG(F_SETFL),
	FLAG(F_GETLK), FLAG(F_SETLK), FLAG(F_SETLKW), FLAG(F_SETOWN), FLAG(F_SETSIG), FLAG(F_SETOWN_EX),
	FLAG(F_DUPFD_CLOEXEC), FLAG(F_SETPIPE_SZ), FLAG(F_ADD_SEALS), FLAG(F_OFD_SETLK), { 0, NULL } };

const struct call_name *names_call(long nr)
{
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
		if (calls[i].nr == nr)
			return &calls[i];
	return NULL;
}

static void put_flags(struct buf *b, const struct flag_name *names, uint64_t value, const char *none)
{
	const char *sep = "";

	if (!value)
		buf_printf(b, "%s", none);
	for (; names->name; names++) {
		if ((value & names->value) != names->value)
			continue;
		buf_printf(b, "%s%s", sep, names->name);
		value &= ~names->value;
		sep = "|";
	}
	if (value)
		buf_printf(b, "%s%#lx", sep, value);
}

static void put_name(struct buf *b, const struct flag_name *names, uint64_t value)
{
	for (; names->name; names++) {
		if (names->value == value) {
			buf_printf(b, "%s", names->name);
			return;
		}
	}
	buf_printf(b, "%lu", value);
}

static void put_signal(struct buf *b, uint64_t value)
{
	const char *name = value < NSIG ? sigabbrev_np((int)value) : NULL;

	if (name)
		buf_printf(b, "SIG%s", name);
	else
		buf_printf(b, "%lu", value);
}

bool names_value(struct buf *b, char letter, uint64_t value)
{
	switch (letter) {
	case 'p':
		put_flags(b, prot_names, value, "PROT_NONE");
		return true;
	case 'm':
		put_flags(b, map_names, value, "0");
		return true;
	case 'o':
		put_flags(b, open_names, value, "O_RDONLY");
		return true;
	case 't':
		put_flags(b, at_names, value, "0");
		return true;
	case 'a':
		put_name(b, advice_names, value);
		return true;
	case 'r':
		put_name(b, prctl_names, value);
		return true;
	case 'c':
		put_name(b, fcntl_names, value);
		return true;
	case 'g':
		put_signal(b, value);
		return true;
	case 'd':
		buf_printf(b, (int64_t)value < 0 || value >> 32 == 0 ? "%ld" : "%#lx",
			   value >> 32 == 0 ? (long)(int32_t)value : (long)value);
		return true;
	case 'f':
		buf_printf(b, "%d", (int)value);
		return true;
	case 'u':
		buf_printf(b, value < 4096 ? "%lu" : "%#lx", value);
		return true;
	}
	return false;
}
