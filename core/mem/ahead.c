/* SPDX-License-Identifier: MIT */
/*
 * ahead.c: what smaps tells of large processes, read before the freeze.
 *
 * The kernel looks at every page of a process for /proc/PID/smaps: tens of milliseconds for a
 * gigabyte.  Only the flags of the mappings are wanted of it.  So, when memory is going to be
 * written from copies (snapshot.c), it is read while the tree runs, and /proc/PID/maps, which
 * costs nothing, afterwards.  A mapping has the flags of the one that was there before; if there is one without
 * a predecessor, smaps is read again.  When the tree runs on, the flags are compared with those of the copy, which are
 * exact: advice that was given in between is taken over.
 */
#include "mem_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "log.h"
#include "options.h"

#define LEAST_PAGES 8192 /* 32 MiB: below, smaps costs little */

struct ahead_task {
	pid_t pid;
	vma_list l;
};
struct ahead {
	VEC(struct ahead_task) tasks;
};

void ahead_free(struct ahead *ah)
{
	for (size_t i = 0; ah && i < ah->tasks.n; i++)
		proc_vmas_free(&ah->tasks.v[i].l);
	if (ah)
		vec_free(&ah->tasks);
	free(ah);
}

/* Pages in memory, 0 when it cannot be told. */
static unsigned long resident(pid_t pid)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/statm", pid);
	_cleanup_buf_ struct buf b = { 0 };
	unsigned long size, rss;

	if (read_file(AT_FDCWD, path, &b) < 0 || !b.p || sscanf(b.p, "%lu %lu", &size, &rss) != 2)
		return 0;
	return rss;
}

void mem_read_ahead(struct session *s, pid_t root)
{
	struct ahead **ah = mem_ahead(s);
	int_list pids = { 0 };

	if (!opt_flag(s->opts, "leave-running") || !strcmp(opt_str(s->opts, "snapshot"), "off") || exclude_by_advice(s))
		return; /* flags that decide what is left out have to be those of now */
	if (!*ah)
		*ah = xcalloc(1, sizeof(**ah));
	*vec_push(&pids) = root;
	for (size_t i = 0; i < pids.n; i++) {
		vma_list l = { 0 };

		proc_list_children(pids.v[i], &pids);
		if (resident(pids.v[i]) >= LEAST_PAGES && proc_read_smaps(pids.v[i], &l) == 0)
			*vec_push(&(*ah)->tasks) = (struct ahead_task){ pids.v[i], l };
	}
	vec_free(&pids);
}

/* b may be a grown a. */
static bool continues(const struct proc_vma *a, const struct proc_vma *b)
{
	return a->start < b->end && b->start < a->end && a->prot == b->prot && !((a->flags ^ b->flags) & MAP_SHARED) &&
	       a->dev_major == b->dev_major && a->dev_minor == b->dev_minor && a->ino == b->ino &&
	       (!a->ino || a->pgoff - a->start == b->pgoff - b->start) && !strcmp(a->path, b->path);
}

/* False: there is a mapping about which nothing is known. *ret_locked: bytes of those that are locked. */
static bool adopt_flags(const vma_list *old, vma_list *l, uint64_t *ret_locked)
{
	size_t k = 0;

	for (size_t i = 0; i < l->n; i++) {
		struct proc_vma *v = &l->v[i];

		while (k < old->n && old->v[k].end <= v->start)
			k++;
		if (k == old->n || !continues(&old->v[k], v))
			return false;
		/* two that had different flags have not become one */
		if (k + 1 < old->n && old->v[k + 1].start < v->end)
			return false;
		v->vmflags = old->v[k].vmflags;
		v->flags = old->v[k].flags;
		v->rss = old->v[k].rss;
		v->anonymous = old->v[k].anonymous;
		v->swap = old->v[k].swap;
		v->pkey = old->v[k].pkey;
		*ret_locked += v->vmflags & VMF(LO) ? v->end - v->start : 0;
	}
	return true;
}

/* Bytes that pid has locked; UINT64_MAX when it cannot be told. */
static uint64_t locked_bytes(pid_t pid)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/status", pid);
	_cleanup_buf_ struct buf b = { 0 };
	const char *at;

	if (read_file(AT_FDCWD, path, &b) < 0 || !b.p)
		return UINT64_MAX;
	at = strstr(b.p, "\nVmLck:");
	return at ? strtoull(at + 7, NULL, 10) << 10 : UINT64_MAX;
}

int ahead_vmas(struct session *s, pid_t pid, vma_list *ret, bool *ret_unsure)
{
	struct ahead *ah = *mem_ahead(s);

	for (size_t i = 0; ah && i < ah->tasks.n; i++) {
		vma_list l = { 0 };
		uint64_t locked = 0;

		if (ah->tasks.v[i].pid != pid || proc_read_maps(pid, &l) < 0)
			continue;
		if (adopt_flags(&ah->tasks.v[i].l, &l, &locked) && locked == locked_bytes(pid)) {
			*ret = l;
			*ret_unsure = true;
			return 0;
		}
		proc_vmas_free(&l);
	}
	*ret_unsure = false;
	return proc_read_smaps(pid, ret);
}

static int changed(struct session *s, const struct vma_area *a, const struct proc_vma *now)
{
	char name[200];

	if (now)
		log_info("before the freeze: flags %#" PRIx64 ", key %u; now %" PRIx64 "-%" PRIx64 ", flags %#" PRIx64 ", key %u",
			 a->v.vmflags, a->v.pkey, now->start, now->end, now->vmflags, now->pkey);
	return fail(s, EAGAIN, "the program changed its mapping %s (madvise, pkey_mprotect) in the moment before the freeze; try "
		    "again", vma_describe(&a->v, name, sizeof(name)));
}

/* now: the mapping in a copy, or in the task itself. */
static int settle_area(struct session *s, struct vma_area *a, const struct proc_vma *now, bool copy)
{
	/* what a fork changes */
	const uint64_t lost = copy ? VMF(LO) | VMF(LF) | VMF(UM) | VMF(UW) | VMF(UI) : 0;
	const uint64_t advice = VMF(RR) | VMF(SR) | VMF(MG) | VMF(HG) | VMF(NH) | VMF(DD) | VMF(NR) | VMF(AC) | VMF(SD) |
				(copy ? 0 : VMF(WF) | VMF(DC) | VMF(LO));
	uint64_t differ = (now->vmflags ^ a->v.vmflags) & ~lost;
	struct vma_area is = *a;

	if (!differ && now->pkey == a->v.pkey)
		return 0;
	if (differ & ~advice || now->pkey != a->v.pkey || a->owned)
		return changed(s, a, now);
	is.v.vmflags ^= differ;
	is.v.flags = (a->v.flags & ~MAP_NORESERVE) | (is.v.vmflags & VMF(NR) ? MAP_NORESERVE : 0);
	if (!copy)
		is.v.flags = (is.v.flags & ~MAP_LOCKED) | (is.v.vmflags & VMF(LO) ? MAP_LOCKED : 0);
	is.flags = is.madv = 0;
	if (vma_classify(&is, mem_shm_dev(s)) || is.status != a->status)
		return changed(s, a, now);
	a->v = is.v;
	a->flags = is.flags;
	a->madv = is.madv;
	return 0;
}

/* A copy also has the room of the errand that made it, which may have become one with a mapping beside it. */
static bool is_that(const struct proc_vma *now, const struct proc_vma *was, bool copy)
{
	return copy ? now->start <= was->start && was->end <= now->end : now->start == was->start && now->end == was->end;
}

/* The list of a process that is killed while it is read ends early. */
static bool is_dead(pid_t pid)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/maps", pid);
	_cleanup_buf_ struct buf b = { 0 };

	return read_file(AT_FDCWD, path, &b) < 0 || !b.len;
}

int ahead_settle(struct session *s, struct task *t, pid_t pid)
{
	bool copy = pid != task_pid(t);
	struct mem *m = t->mem;
	vma_list l = { 0 };
	size_t k = 0;
	int err;

	if (!m->unsure)
		return 0;
	err = proc_read_smaps(pid, &l);
	if (err)
		return fail(s, -err, "cannot read /proc/%d/smaps: %s", pid, strerror(-err));
	if (is_dead(pid)) {
		proc_vmas_free(&l);
		return fail(s, ESRCH, "%s pid %d was killed while its mappings were read%s",
			    copy ? "the copy of its memory," : "", pid,
			    copy ? "; memory is short, or somebody killed it; --snapshot off needs no copy" : "");
	}
	for (size_t i = 0; i < m->areas.n && !err; i++) {
		struct vma_area *a = &m->areas.v[i];

		if (vma_is_special(&a->v))
			continue;
		while (k < l.n && l.v[k].end <= a->v.start)
			k++;
		if (k < l.n && is_that(&l.v[k], &a->v, copy))
			err = settle_area(s, a, &l.v[k], copy);
		else if (!(a->v.vmflags & VMF(DC)))
			err = changed(s, a, k < l.n ? &l.v[k] : NULL);
	}
	proc_vmas_free(&l);
	m->unsure = false;
	return err;
}
