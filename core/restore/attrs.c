/* SPDX-License-Identifier: MIT */
/*
 * attrs.c: scheduling and the switches of prctl(2) and its like, as operations.
 *
 * Every task begins with E's values, so only what differs from those is set.  An
 * image without x-stasis-tasks.img (another engine's) says nothing about most of
 * this: then E's values stay.
 */
#include "tree/attrs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "own.h"
#include "restore_priv.h"
#include "warden.h"

#include "core.pb-c.h"
#include "stasis.pb-c.h"

#define FD_SLOT 15
#define AUTOGROUP_TRIES 50

/* ---- scheduling ---- */

/* All that the kernel may set at once, in its struct. True when it differs from what E has. */
static bool wanted_sched(struct session *s, const struct thread *th, const ThreadCoreEntry *tc, struct sched_attr_kernel *ret)
{
	const StasisThread *x = th->extra;
	struct sched_attr_kernel own = restore_own(s)->sched;
	bool differs;

	memset(ret, 0, sizeof(*ret));
	if (!restore_own(s)->has_sched || !tc->has_sched_policy)
		return false;
	ret->size = sizeof(*ret);
	ret->policy = tc->sched_policy;
	ret->nice = tc->has_sched_nice ? tc->sched_nice : own.nice;
	ret->priority = tc->has_sched_prio ? tc->sched_prio : 0;
	ret->flags = x ? x->sched_flags & (ATTR_SCHED_RESET_ON_FORK | ATTR_SCHED_RECLAIM | ATTR_SCHED_DL_OVERRUN) : 0;
	if (x) {
		ret->runtime = x->sched_runtime;
		ret->deadline = x->sched_deadline;
		ret->period = x->sched_period;
	}
	differs = ret->policy != own.policy || ret->priority != own.priority || ret->flags != own.flags ||
		  (ret->runtime && ret->runtime != own.runtime);
	if (x && x->has_util_min && (x->util_min != own.util_min || x->util_max != own.util_max)) {
		ret->util_min = x->util_min;
		ret->util_max = x->util_max;
		ret->flags |= ATTR_SCHED_UTIL_MIN | ATTR_SCHED_UTIL_MAX;
		differs = true;
	}
	return differs;
}

/* E tries a mask on itself, for no CPU of it may be there or allowed any more. */
static bool mask_usable(const ProtobufCBinaryData *want, const struct cpu_mask *own)
{
	bool ok = syscall(SYS_sched_setaffinity, 0, want->len, want->data) == 0;

	syscall(SYS_sched_setaffinity, 0, sizeof(own->bits), own->bits);
	return ok;
}

static int plan_affinity(struct session *s, const struct thread *th, struct plan *p)
{
	const StasisThread *x = th->extra;
	struct cpu_mask own = restore_own(s)->cpus, all;
	int err = restore_own(s)->cpus_err;

	if (!x)
		return 0;
	if (err < 0)
		return fail(s, -err, "cannot read the engine's own CPU affinity");
	if (!x->has_cpus) {
		memset(&all.bits, 0xff, sizeof(all.bits));
		if (!attr_affinity_is_all(&own)) /* not allowed in a cpuset: then what there is */
			plan_sys(p, BLOB_ANY, SYS_sched_setaffinity, 0, sizeof(all.bits),
				 (uintptr_t)plan_put(p, all.bits, sizeof(all.bits)));
		return 0;
	}
	if (x->cpus.len == own.len && memcmp(x->cpus.data, own.bits, own.len) == 0)
		return 0;
	if (mask_usable(&x->cpus, &own))
		plan_sys(p, BLOB_ZERO, SYS_sched_setaffinity, 0, x->cpus.len,
			 (uintptr_t)plan_put(p, x->cpus.data, x->cpus.len));
	else
		lost(s, "pid %d tid %d: none of the CPUs that it was bound to can be used here: it gets those of the engine",
			 task_vpid(th->task), thread_vtid(th));
	return 0;
}

int restore_plan_sched(struct session *s, struct thread *th, struct plan *p)
{
	const ThreadCoreEntry *tc = th->core->thread_core;
	const StasisThread *x = th->extra;
	struct sched_attr_kernel a;
	uint32_t ioprio;

	plan_origin(p->set, "pid %d tid %d: scheduling", task_vpid(th->task), thread_vtid(th));
	if (plan_affinity(s, th, p) < 0)
		return -s->err.errnum;
	if (tc->has_sched_nice && tc->sched_nice != restore_own(s)->nice)
		plan_sys(p, BLOB_ZERO, SYS_setpriority, PRIO_PROCESS, 0, tc->sched_nice);
	if (wanted_sched(s, th, tc, &a))
		plan_sys(p, BLOB_ZERO, SYS_sched_setattr, 0, (uintptr_t)plan_put(p, &a, sizeof(a)), 0);
	ioprio = x && x->has_ioprio ? x->ioprio : 0;
	if (x && ioprio != restore_own(s)->ioprio)
		plan_sys(p, BLOB_ZERO, SYS_ioprio_set, ATTR_IOPRIO_THREAD, 0, ioprio);
	return 0;
}

/* ---- switches of a thread ---- */

static void plan_speculation(const StasisThread *x, struct plan *p)
{
	for (size_t i = 0; i < x->n_speculation; i++) {
		int own = prctl(PR_GET_SPECULATION_CTRL, i, 0, 0, 0);
		uint32_t want = x->speculation[i] & ~PR_SPEC_PRCTL;

		/* only where both machines give the choice */
		if (own > 0 && own & PR_SPEC_PRCTL && x->speculation[i] & PR_SPEC_PRCTL && want != (own & ~PR_SPEC_PRCTL))
			plan_sys(p, BLOB_ZERO, SYS_prctl, PR_SET_SPECULATION_CTRL, i, want, 0, 0);
	}
}

static void plan_io_flusher(struct session *s, const struct thread *th, struct plan *p)
{
	const struct own *own = restore_own(s);

	if (!own->has_flags || th->extra->io_flusher == ((own->flags & ATTR_PF_IO_FLUSHER) == ATTR_PF_IO_FLUSHER))
		return;
	if (prctl(PR_CAPBSET_READ, CAP_SYS_RESOURCE) == 1)
		plan_sys(p, BLOB_ZERO, SYS_prctl, PR_SET_IO_FLUSHER, th->extra->io_flusher, 0, 0, 0);
	else
		lost(s, "pid %d tid %d: PR_SET_IO_FLUSHER needs CAP_SYS_RESOURCE: left as it is", task_vpid(th->task),
			 thread_vtid(th));
}

static void plan_policy(struct session *s, const struct thread *th, struct plan *p)
{
	const struct policy_args *own = &restore_own(s)->policy;
	struct policy_args want;

	policy_unpack(th->extra->policy, &want);
	if (own->mode == want.mode && !memcmp(own->nodes, want.nodes, sizeof(own->nodes)))
		return;
	if (policy_usable(&want))
		plan_sys(p, BLOB_ZERO, SYS_set_mempolicy, want.mode,
			 want.max ? (uintptr_t)plan_put(p, want.nodes, sizeof(want.nodes)) : 0, want.max);
	else
		lost(s, "pid %d tid %d: its memory policy (set_mempolicy, mode %#x) is for NUMA nodes that this machine "
		     "lacks: it "
			 "gets that of the engine", task_vpid(th->task), thread_vtid(th), want.mode);
}

void restore_plan_thread_attrs(struct session *s, struct thread *th, struct plan *p)
{
	const StasisThread *x = th->extra;
	unsigned long slack;

	if (!x)
		return;
	plan_origin(p->set, "pid %d tid %d: switches", task_vpid(th->task), thread_vtid(th));
	slack = x->has_timer_slack ? x->timer_slack : ATTR_TIMER_SLACK;
	if (slack != restore_own(s)->timer_slack)
		plan_sys(p, BLOB_ZERO, SYS_prctl, PR_SET_TIMERSLACK, slack);
	plan_io_flusher(s, th, p);
	plan_speculation(x, p);
	plan_policy(s, th, p);
	if (x->no_cpuid)
		plan_sys(p, BLOB_ZERO, SYS_arch_prctl, ATTR_SET_CPUID, 0);
	if (x->no_tsc)
		plan_sys(p, BLOB_ZERO, SYS_prctl, PR_SET_TSC, PR_TSC_SIGSEGV);
}

/* ---- switches of a process ---- */

/* The commands that register an intent; others are no property of a process. */
#define MEMBARRIER_REGISTER (1u << 2 | 1u << 4 | 1u << 6 | 1u << 8)

static int plan_membarrier(struct session *s, struct task *t, const TaskCoreEntry *tc, struct plan *p)
{
	uint32_t mask = tc->has_membarrier_registration_mask ? tc->membarrier_registration_mask : 0;

	if (mask & ~MEMBARRIER_REGISTER)
		return fail(s, EPROTO, "core-%d.img: membarrier registrations %#x", task_vpid(t), mask);
	for (int bit = 0; bit < 32; bit++)
		if (mask >> bit & 1)
			plan_sys(p, BLOB_ZERO, SYS_membarrier, 1u << bit, 0, 0);
	return 0;
}

int restore_plan_process_attrs(struct session *s, struct task *t, struct plan *p)
{
	const StasisTask *x = t->extra;
	int err;

	plan_origin(p->set, "pid %d: switches", task_vpid(t));
	err = plan_membarrier(s, t, t->threads.v[0]->core->tc, p);
	if (err < 0 || !x)
		return err;
	/* without flags the memory of the task has it from the start */
	if (x->thp_disabled & ~ATTR_THP_DISABLED)
		plan_sys(p, BLOB_ZERO, SYS_prctl, PR_SET_THP_DISABLE, 1, x->thp_disabled & ~ATTR_THP_DISABLED, 0, 0);
	if (x->memory_merge != restore_own(s)->memory_merge)
		plan_sys(p, BLOB_ZERO, SYS_prctl, ATTR_SET_MEMORY_MERGE, x->memory_merge, 0, 0, 0);
	/* never taken back, so it comes when nothing has to be made executable any more */
	if (x->mdwe)
		plan_sys(p, BLOB_ZERO, SYS_prctl, ATTR_SET_MDWE, x->mdwe, 0, 0, 0);
	return 0;
}

/* ---- /proc ---- */

long restore_number_in(const char *path, int base, long fallback)
{
	_cleanup_buf_ struct buf b = { 0 };

	return read_file(AT_FDCWD, path, &b) == 0 && b.len ? strtol(b.p, NULL, base) : fallback;
}

static const char loginuid_path[] = "/proc/self/loginuid";

void restore_plan_loginuid(struct session *s, struct task *t, struct plan *p)
{
	const TaskCoreEntry *tc = t->threads.v[0]->core->tc;
	long own = restore_own(s)->loginuid;
	char text[16];
	int n;

	if (!tc->has_loginuid || own < 0 || tc->loginuid == own)
		return;
	n = snprintf(text, sizeof(text), "%u", tc->loginuid);
	plan_origin(p->set, "pid %d: login uid", task_vpid(t));
	plan_sys(p, BLOB_ANY, SYS_openat, AT_FDCWD, (uintptr_t)plan_put(p, loginuid_path, sizeof(loginuid_path)),
		 O_WRONLY | O_CLOEXEC)->slot = FD_SLOT;
	plan_op(p, BLOB_JMP, FD_SLOT, 2, 0)->a[3] = 3; /* may be forbidden: looked at in the end */
	plan_sys(p, BLOB_ANY, SYS_write, FD_SLOT, (uintptr_t)plan_put(p, text, n), n)->slotmask = 1;
	plan_sys(p, BLOB_ANY, SYS_close, FD_SLOT)->slotmask = 1;
}

static void write_late(struct session *s, const char *path, const char *text)
{
	int err = write_file(AT_FDCWD, path, text);

	if (err < 0)
		lost(s, "%s: cannot write %s: %s", path, text, strerror(-err));
}

/* Without CAP_SYS_ADMIN the kernel takes one change in a tenth of a second, from all users together. */
static void write_autogroup(struct session *s, const char *path, const char *text)
{
	const struct timespec nap = { 0, 20000000 };
	int err = -EAGAIN;

	for (int i = 0; i < AUTOGROUP_TRIES && err == -EAGAIN; i++) {
		if (i)
			nanosleep(&nap, NULL);
		err = write_file(AT_FDCWD, path, text);
	}
	if (err < 0)
		lost(s, "%s: cannot write %s: %s", path, text, strerror(-err));
}

/* A session has one autogroup; a new one is neutral. */
static void set_autogroup(struct session *s, struct task *t)
{
	char path[64], text[16];

	if (!t->extra->has_autogroup_nice || !tree_by_vpid(s->tree, t->vsid))
		return;
	FOR_EACH_TASK(o, s->tree) {
		if (o == t)
			break;
		if (o->vsid == t->vsid && o->extra && o->extra->has_autogroup_nice)
			return;
	}
	snprintf(path, sizeof(path), "/proc/%d/autogroup", task_vpid(t));
	snprintf(text, sizeof(text), "%d", t->extra->autogroup_nice);
	write_autogroup(s, path, text);
}

static void check_loginuid(struct session *s, struct task *t)
{
	const TaskCoreEntry *tc = t->threads.v[0]->core->tc;
	char path[64];
	long now;

	snprintf(path, sizeof(path), "/proc/%d/loginuid", task_vpid(t));
	now = restore_number_in(path, 10, -1);
	if (tc->has_loginuid && now >= 0 && now != tc->loginuid)
		lost(s, "pid %d: its login uid was %d and is %d now: changing it needs CAP_AUDIT_CONTROL", task_vpid(t),
			 (int)tc->loginuid, (int)now);
}

void restore_late_attrs(struct session *s)
{
	long own = restore_number_in("/proc/self/coredump_filter", 16, ATTR_COREDUMP_FILTER);
	char path[64], text[16];

	FOR_EACH_TASK(t, s->tree) {
		const StasisTask *x = t->extra;

		if (t->life == TASK_ZOMBIE)
			continue;
		check_loginuid(s, t);
		if (!x)
			continue;
		set_autogroup(s, t);
		if (!x->has_coredump_filter || x->coredump_filter == own)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/coredump_filter", task_vpid(t));
		snprintf(text, sizeof(text), "0x%x", x->coredump_filter);
		write_late(s, path, text);
	}
}

void restore_final_attrs(const struct thread *th, struct warden_final *f)
{
	const StasisDispatch *d = th->extra ? th->extra->dispatch : NULL;

	if (d)
		f->dispatch = (struct syscall_dispatch){ d->mode, d->selector, d->offset, d->len };
}
