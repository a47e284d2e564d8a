/* SPDX-License-Identifier: MIT */
/*
 * kcmp.c: which processes share an object of the kernel: memory, descriptor table,
 * directories.  kcmp(2) tells less from greater, so a sorted list finds the match for
 * one more process in a few calls, not in one for each process there is.
 */
#include "proc.h"

#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SAME = 0, LESS = 1 };

void *kcmp_find_or_add(kcmp_list *l, pid_t pid, int what, void *owner)
{
	size_t lo = 0, hi = l->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		long c = syscall(SYS_kcmp, pid, l->v[mid].pid, what, 0, 0);

		if (c == SAME)
			return l->v[mid].owner;
		if (c == LESS)
			hi = mid;
		else
			lo = mid + 1;
	}
	(void)vec_push(l);
	memmove(&l->v[lo + 1], &l->v[lo], (l->n - 1 - lo) * sizeof(l->v[0]));
	l->v[lo] = (struct kcmp_item){ pid, owner };
	return NULL;
}
