/* SPDX-License-Identifier: MIT */
/* cpuinfo.h: does this CPU have what the tree was dumped with? (option --cpu-cap, image cpuinfo.img) */
#ifndef CORE_CPUINFO_H
#define CORE_CPUINFO_H

#include "session.h"

enum {
	CPU_CAP_FPU = 1, /* the extended state: components, and how it is kept */
	CPU_CAP_CPU = 2, /* all words of features exactly */
	CPU_CAP_INS = 4, /* instructions */
	CPU_CAP_ALL = 7,
};

/*
 * What --cpu-cap says: CPU_CAP_*.  dflt when it is not given; *ret_given (may be NULL): whether it is.
 * 0 or -EINVAL recorded.
 */
int cpu_cap(struct session *s, uint32_t dflt, uint32_t *ret, bool *ret_given);

/* Writes cpuinfo.img. 0 or -errno recorded. */
int cpuinfo_write(struct session *s);
/*
 * Compares cpuinfo.img with this CPU in the respects of caps: 0, or -EOPNOTSUPP recorded with the names of what is missing.
 * -ENOENT, not recorded: there is no such image.
 */
int cpuinfo_compare(struct session *s, uint32_t caps);

/* Dump: writes cpuinfo.img when --cpu-cap asks for it. */
int cpuinfo_dump(struct session *s);
/* Restore: compares it, before anything is created. The registers are the business of who reads them. */
int cpuinfo_check(struct session *s);

#endif
