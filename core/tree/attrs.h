/* SPDX-License-Identifier: MIT */
/*
 * attrs.h: attributes of threads that dump and restore ask the kernel for in the
 * same way, and the numbers of kernel interfaces newer than the headers of the
 * oldest systems we are built on.
 */
#ifndef CORE_TREE_ATTRS_H
#define CORE_TREE_ATTRS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum {
	/* linux/prctl.h */
	ATTR_SET_MDWE = 65, ATTR_GET_MDWE = 66,		      /* 6.3 */
	ATTR_SET_MEMORY_MERGE = 67, ATTR_GET_MEMORY_MERGE = 68, /* 6.4 */
	ATTR_SPECULATIONS = 3, /* kinds: store bypass, indirect branches, L1D flush */
	ATTR_THP_DISABLED = 1, /* PR_GET_THP_DISABLE: this | flags of PR_SET_THP_DISABLE since 6.18 */
	/* asm/prctl.h */
	ATTR_GET_CPUID = 0x1011, ATTR_SET_CPUID = 0x1012,
	/* linux/membarrier.h, 6.3 */
	ATTR_MEMBARRIER_GET = 1 << 9,
	/* linux/ioprio.h */
	ATTR_IOPRIO_THREAD = 1, ATTR_IOPRIO_CLASS_SHIFT = 13,
	/* linux/sched.h */
	ATTR_SCHED_DEADLINE = 6,
	ATTR_SCHED_RESET_ON_FORK = 1, ATTR_SCHED_RECLAIM = 2, ATTR_SCHED_DL_OVERRUN = 4,
	ATTR_SCHED_UTIL_MIN = 0x20, ATTR_SCHED_UTIL_MAX = 0x40,
	ATTR_TIMER_SLACK = 50000,   /* ns, of init */
	ATTR_COREDUMP_FILTER = 0x33,
	ZOMBIE_IDS = 8, /* of stasis_task.zombie_ids */
	/* PF_MEMALLOC_NOIO | PF_LOCAL_THROTTLE of /proc/PID/stat: what PR_SET_IO_FLUSHER sets */
	ATTR_PF_IO_FLUSHER = 0x180000,
};

/* struct sched_attr of the kernel; glibc has it since 2.41 only */
struct sched_attr_kernel {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
	uint32_t util_min, util_max;
};

/* tid 0: the caller. flags: only those that a caller may have set. 0 or -errno. */
int attr_sched_get(pid_t tid, struct sched_attr_kernel *ret);

#define CPU_MASK_BYTES 1024 /* 8192 CPUs, the largest NR_CPUS there is */
struct cpu_mask {
	uint32_t len; /* bytes used */
	uint8_t bits[CPU_MASK_BYTES] __attribute__((aligned(8)));
};
/* tid 0: the caller. 0 or -errno. */
int attr_affinity_get(pid_t tid, struct cpu_mask *ret);
/* Every CPU that is online here is in the mask. */
bool attr_affinity_is_all(const struct cpu_mask *m);

#endif
