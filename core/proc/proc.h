/* SPDX-License-Identifier: MIT */
/*
 * proc.h: parsers of /proc text.  Pure functions from text to struct, unit-tested
 * and fuzzed; all bounded, none trusts its input.  Beside each, a reader that
 * fetches the text of a live task.  0 or -errno; -EPROTO for text that makes no sense.
 */
#ifndef CORE_PROC_H
#define CORE_PROC_H

#include <stdbool.h>

#include "util.h"

#define PID_LEVELS 32 /* MAX_PID_NS_LEVEL of the kernel */
/* A pid with one number per pid-namespace level, outermost (ours) first. */
struct pid_levels {
	int n;
	pid_t nr[PID_LEVELS];
};

/* /proc/PID/stat (proc(5)); only what is used. */
struct proc_stat {
	pid_t pid, ppid, pgrp, session, tpgid;
	char comm[17];
	char state; /* R S D T t Z X I */
	uint32_t tty_nr; /* kernel's encoding of the controlling terminal */
	uint64_t flags;
	long nice, num_threads;
	uint64_t start_time;
	uint64_t start_code, end_code, start_stack;
	int exit_signal, processor;
	uint64_t start_data, end_data, start_brk, arg_start, arg_end, env_start, env_end;
	int exit_code;
};
int proc_parse_stat(const char *text, struct proc_stat *ret);
int proc_read_stat(pid_t pid, pid_t tid, struct proc_stat *ret); /* tid 0: the process */
/*
 * Whether tid is a thread that the kernel runs for the process pid, in kernel mode only (PF_IO_WORKER, Linux 5.12).  It
 * has no state of its own to be kept, and whoever made it can make it again; the leading thread is none.
 */
bool proc_is_worker(pid_t pid, pid_t tid);
bool proc_stat_is_worker(const struct proc_stat *st); /* the same of one that has been read, not of a leading thread */

/* /proc/PID/status */
struct proc_status {
	char comm[64 + 1];
	char state;
	pid_t tgid, ppid, tracer;
	uint32_t umask;
	bool has_umask;
	uint32_t uid[4], gid[4]; /* real, effective, saved, filesystem */
	VEC(uint32_t) groups;
	struct pid_levels nstgid, nspid, nspgid, nssid;
	uint64_t sigpnd, shdpnd, sigblk, sigign, sigcgt;
	uint64_t cap_inh, cap_prm, cap_eff, cap_bnd, cap_amb;
	uint32_t no_new_privs, seccomp, seccomp_filters, threads;
	int thp_enabled; /* -1: line absent */
	uint64_t sleeps; /* voluntary context switches */
	uint64_t untag_mask; /* bits of an address that count; 0: line absent */
};
int proc_parse_status(const char *text, struct proc_status *ret);
int proc_read_status(pid_t pid, pid_t tid, struct proc_status *ret);
void proc_status_free(struct proc_status *st);

/* One mapping, from /proc/PID/smaps (or maps: then vmflags is 0). */
struct proc_vma {
	uint64_t start, end, pgoff; /* bytes */
	uint32_t prot;		    /* PROT_* */
	uint32_t flags;		    /* MAP_SHARED or MAP_PRIVATE; MAP_{GROWSDOWN,LOCKED,NORESERVE,HUGETLB} from VmFlags */
	uint32_t dev_major, dev_minor;
	uint64_t ino;
	uint64_t vmflags; /* bit VMF_* */
	uint64_t rss, anonymous, swap; /* bytes; 0 from maps */
	uint64_t page_bytes; /* of a page of it; 0 from maps */
	uint32_t pkey;	  /* memory protection key; 0 where the CPU has none */
	char *path;	  /* "" when none; " (deleted)" kept */
};
/* VmFlags mnemonics: bit = 1 << index in this list. Unknown ones are ignored. */
enum { VMF_RD, VMF_WR, VMF_EX, VMF_SH, VMF_MR, VMF_MW, VMF_ME, VMF_MS, VMF_GD, VMF_PF, VMF_LO, VMF_IO,
       VMF_SR, VMF_RR, VMF_DC, VMF_DE, VMF_AC, VMF_NR, VMF_HT, VMF_SF, VMF_NL, VMF_AR, VMF_WF, VMF_DD,
       VMF_SD, VMF_MM, VMF_HG, VMF_NH, VMF_MG, VMF_UM, VMF_UW, VMF_UI, VMF_SS, VMF_SL, VMF_LF, VMF_DP, VMF_N };
#define VMF(x) (1ull << VMF_##x)
/*
 * " rd wr mr ", as in smaps, with a blank at both ends, into buf (of at least 3 * VMF_N + 2 bytes); and back, where
 * unknown ones are ignored.
 */
void proc_vmflags_text(uint64_t vmflags, char *buf, size_t size);
uint64_t proc_vmflags_parse(const char *text);
typedef VEC(struct proc_vma) vma_list;
int proc_parse_maps(const char *text, size_t len, vma_list *ret);
int proc_read_smaps(pid_t pid, vma_list *ret);
int proc_read_maps(pid_t pid, vma_list *ret); /* without what only smaps tells */
void proc_vmas_free(vma_list *l);

/* /proc/PID/fdinfo/N common lines. */
struct proc_fdinfo {
	int64_t pos;
	uint32_t flags; /* octal in the text; O_CLOEXEC included when the slot has it */
	int mnt_id;	/* -1 absent */
	uint64_t ino;
};
int proc_parse_fdinfo(const char *text, struct proc_fdinfo *ret);

/* /proc/PID/limits: RLIM_INFINITY for "unlimited"; index RLIMIT_*. */
#define PROC_NLIMITS 16
struct proc_limits {
	uint64_t cur[PROC_NLIMITS], max[PROC_NLIMITS];
};
int proc_parse_limits(const char *text, struct proc_limits *ret);
int proc_read_limits(pid_t pid, struct proc_limits *ret);

/* /proc/PID/timers: POSIX timers. */
struct proc_timer {
	int id, signo, notify; /* notify: SIGEV_* | SIGEV_THREAD_ID */
	uint64_t sival_ptr;
	pid_t target; /* pid or tid of the line "notify:" */
	int clockid;
};
typedef VEC(struct proc_timer) timer_list;
int proc_parse_timers(const char *text, timer_list *ret);

/* Numbers in /proc/PID/task, /proc/PID/task/TID/children, /proc/PID/fd; sorted, appended. */
typedef VEC(int) int_list;
int proc_list_threads(pid_t pid, int_list *ret);
int proc_list_children(pid_t pid, int_list *ret); /* of all threads of pid */
int proc_list_children_of(pid_t pid, const int_list *tids, int_list *ret); /* of those threads */
int proc_list_fds(pid_t pid, int_list *ret);

/* Processes in the order of kcmp(2) by one kind of object, each the first that has its object. (kcmp.c) */
typedef VEC(struct kcmp_item { pid_t pid; void *owner; }) kcmp_list;
/*
 * The owner in l whose object of kind what (KCMP_VM, KCMP_FILES, …) pid shares; NULL when there is none: then pid is
 * added with owner.  One that cannot be compared shares nothing.
 */
void *kcmp_find_or_add(kcmp_list *l, pid_t pid, int what, void *owner);

/* A task's own memory as /proc/PID/auxv, in 64-bit words, without the final AT_NULL pair. */
typedef VEC(uint64_t) u64_list;
int proc_read_auxv(pid_t pid, u64_list *ret);

#endif
