/* SPDX-License-Identifier: MIT */
/* kattrs.c: see attrs.h. */
#include "attrs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util.h"

int attr_sched_get(pid_t tid, struct sched_attr_kernel *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (syscall(SYS_sched_getattr, tid, ret, sizeof(*ret), 0) < 0)
		return -errno;
	ret->flags &= ATTR_SCHED_RESET_ON_FORK | ATTR_SCHED_RECLAIM | ATTR_SCHED_DL_OVERRUN;
	return 0;
}

int attr_affinity_get(pid_t tid, struct cpu_mask *ret)
{
	long n;

	memset(ret, 0, sizeof(*ret));
	n = syscall(SYS_sched_getaffinity, tid, sizeof(ret->bits), ret->bits);
	if (n < 0)
		return -errno;
	while (n > 0 && !ret->bits[n - 1])
		n--;
	ret->len = n;
	return 0;
}

/* "0-3,5,8-9" */
bool attr_affinity_is_all(const struct cpu_mask *m)
{
	static struct buf b; /* read once: it is asked for every thread */
	char *p;

	if (!b.len && read_file(AT_FDCWD, "/sys/devices/system/cpu/online", &b) < 0)
		return false;
	for (p = b.p; *p >= '0' && *p <= '9'; p += *p == ',') {
		unsigned long first = strtoul(p, &p, 10), last = first;

		if (*p == '-')
			last = strtoul(p + 1, &p, 10);
		for (unsigned long cpu = first; cpu <= last; cpu++)
			if (cpu >= CPU_MASK_BYTES * 8ul || !(m->bits[cpu / 8] >> (cpu % 8) & 1))
				return false;
	}
	return b.len > 0;
}
