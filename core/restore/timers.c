/* SPDX-License-Identifier: MIT */
/*
 * timers.c: interval timers and POSIX timers, as operations.
 *
 * The id of a POSIX timer matters.  Since Linux 6.16 the caller may choose it; before,
 * ids are given out one after the other, so timers are created and deleted until the
 * right one comes, in ascending order of their ids.
 */
#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#include "restore_priv.h"
#include "rights.h"

#include "core.pb-c.h"

#ifndef PR_TIMER_CREATE_RESTORE_IDS
#define PR_TIMER_CREATE_RESTORE_IDS 77 /* linux/prctl.h since 6.16 */
#define PR_TIMER_CREATE_RESTORE_IDS_GET 2
#endif

/* Ids of older kernels that are looked for; each costs two calls and one unit of the plan's fuel. */
#define SEARCH_MAX 500000
#define ID_SLOT 14
#define INTERVAL_MAX (1ull << 32) /* seconds */
#define FIRED UINT32_MAX /* in place of an overrun count */

static void plan_itimer(struct plan *p, int which, const ItimerEntry *e)
{
	struct itimerval v;

	if (!e)
		return;
	v.it_interval.tv_sec = e->isec;
	v.it_interval.tv_usec = e->iusec;
	v.it_value.tv_sec = e->vsec;
	v.it_value.tv_usec = e->vusec;
	/* a real timer that has fired starts again when its signal is taken: until then it shows no time left */
	if (which == ITIMER_REAL && !e->vsec && !e->vusec)
		v.it_value = v.it_interval;
	if (!v.it_value.tv_sec && !v.it_value.tv_usec)
		return;
	plan_sys(p, BLOB_ZERO, SYS_setitimer, which, (uintptr_t)plan_put(p, &v, sizeof(v)), 0);
}

/* Makes timers until one has the id, which an ascending counter gives sooner or later. */
static void search_id(struct plan *p, int clock, const void *sev, int want)
{
	uint64_t *id = plan_mem(p, sizeof(*id), 8); /* the kernel writes an int, the rest stays 0 */

	plan_sys(p, BLOB_ZERO, SYS_timer_create, clock, (uintptr_t)sev, (uintptr_t)id);
	plan_op(p, BLOB_LOAD, (uintptr_t)id, 0, 0)->slot = ID_SLOT;
	plan_op(p, BLOB_JMP, ID_SLOT, 0, want)->a[3] = 4; /* found */
	plan_sys(p, BLOB_ZERO, SYS_timer_delete, ID_SLOT)->slotmask = 1;
	plan_op(p, BLOB_JMP, ID_SLOT, 2, want)->a[3] = (uint64_t)-4;
	plan_op(p, BLOB_FAIL, EEXIST, 0, 0); /* the counter is past it */
}

static void create_timer(struct plan *p, const PosixTimerEntry *e, bool choose)
{
	struct sigevent sev = { 0 };
	int id = e->it_id;
	void *at;

	sev.sigev_notify = e->it_sigev_notify;
	sev.sigev_signo = e->si_signo;
	sev.sigev_value.sival_ptr = (void *)(uintptr_t)e->sival_ptr;
	sev._sigev_un._tid = e->has_notify_thread_id ? e->notify_thread_id : 0;
	at = plan_put(p, &sev, sizeof(sev));
	if (choose)
		plan_sys(p, BLOB_ZERO, SYS_timer_create, (int)e->clock_id, (uintptr_t)at,
			 (uintptr_t)plan_put(p, &id, sizeof(id)));
	else
		search_id(p, (int)e->clock_id, at, id);
}

/* The clock that tells the time of a timer's: those that wake the machine up go like others, but may not be there. */
static uint32_t plain_clock(uint32_t clock)
{
	return clock == CLOCK_REALTIME_ALARM ? CLOCK_REALTIME : clock == CLOCK_BOOTTIME_ALARM ? CLOCK_BOOTTIME : clock;
}

/* The clock stands for the same time in E. */
static bool is_common_clock(uint32_t clock)
{
	clock = plain_clock(clock);
	return clock == CLOCK_REALTIME || clock == CLOCK_MONOTONIC || clock == CLOCK_BOOTTIME || clock == CLOCK_TAI;
}

int restore_check_timers(struct session *s, const struct task *t)
{
	const TaskTimersEntry *all = t->threads.v[0]->core->tc->timers;
	struct timespec ts;

	for (size_t i = 0; all && i < all->n_posix; i++) {
		uint32_t id = all->posix[i]->it_id, clock = all->posix[i]->clock_id;

		if (clock == plain_clock(clock))
			continue;
		if (!rights_has(CAP_WAKE_ALARM))
			return fail(s, EPERM, "pid %d has a timer (%u) that wakes the machine up (clock %u), which needs "
				    "CAP_WAKE_ALARM", task_vpid(t), id, clock);
		if (clock_getres((clockid_t)clock, &ts) < 0)
			return fail(s, EOPNOTSUPP, "pid %d has a timer (%u) that wakes the machine up (clock %u), and "
				    "this machine has no real-time clock for it: restore on one that has", task_vpid(t), id,
				    clock);
	}
	return 0;
}

/*
 * Its signal waits: it has fired, and fires again without a second signal until that one is taken.  Such is a timer whose
 * last time lies behind it, one interval before the next.
 */
static void arm_fired(struct plan *p, const PosixTimerEntry *e)
{
	int64_t left = (int64_t)(e->vsec - e->isec) * 1000000000 + (int64_t)(e->vnsec - e->insec), at;
	struct itimerspec v = { .it_interval = { e->isec, e->insec } };
	struct timespec now;

	clock_gettime((clockid_t)plain_clock(e->clock_id), &now);
	at = now.tv_sec * 1000000000ll + now.tv_nsec + left;
	if (at < 1)
		at = 1;
	v.it_value = (struct timespec){ at / 1000000000, at % 1000000000 };
	plan_sys(p, BLOB_ZERO, SYS_timer_settime, e->it_id, TIMER_ABSTIME, (uintptr_t)plan_put(p, &v, sizeof(v)), 0);
}

/* The queued signal of the timer, which will come by itself. */
static SiginfoEntry *find_signal(const SignalQueueEntry *q, const PosixTimerEntry *e)
{
	for (size_t i = 0; q && i < q->n_signals; i++) {
		siginfo_t si = { 0 };

		memcpy(&si, q->signals[i]->siginfo.data, MIN_OF(q->signals[i]->siginfo.len, sizeof(si)));
		if (si.si_code == SI_TIMER && si.si_signo == (int)e->si_signo && si.si_timerid == (int)e->it_id)
			return q->signals[i];
	}
	return NULL;
}

static SiginfoEntry *queued_signal(const struct task *t, const PosixTimerEntry *e)
{
	SiginfoEntry *sig = find_signal(t->threads.v[0]->core->tc->signals_s, e);

	for (size_t i = 0; !sig && i < t->threads.n; i++)
		sig = find_signal(t->threads.v[i]->core->thread_core->signals_p, e);
	return sig;
}

void restore_settle_timers(struct task *t)
{
	const TaskTimersEntry *all = t->threads.v[0]->core->tc->timers;

	for (size_t i = 0; all && i < all->n_posix; i++) {
		PosixTimerEntry *e = all->posix[i];
		SiginfoEntry *sig = queued_signal(t, e);

		if (!sig || !is_common_clock(e->clock_id) || (!e->isec && !e->insec) || (!e->vsec && !e->vnsec) ||
		    e->isec > INTERVAL_MAX)
			continue;
		sig->siginfo.len = 0; /* not queued again */
		e->overrun = FIRED;
	}
}

static void arm_timer(struct plan *p, const PosixTimerEntry *e)
{
	struct itimerspec v;

	if (e->overrun == FIRED) {
		arm_fired(p, e);
		return;
	}
	v.it_interval.tv_sec = e->isec;
	v.it_interval.tv_nsec = e->insec;
	v.it_value.tv_sec = e->vsec;
	v.it_value.tv_nsec = e->vnsec;
	if (e->vsec || e->vnsec)
		plan_sys(p, BLOB_ZERO, SYS_timer_settime, e->it_id, 0, (uintptr_t)plan_put(p, &v, sizeof(v)), 0);
}

static int by_id(const void *a, const void *b)
{
	const PosixTimerEntry *x = *(PosixTimerEntry *const *)a, *y = *(PosixTimerEntry *const *)b;

	return x->it_id < y->it_id ? -1 : x->it_id > y->it_id;
}

static int plan_posix_timers(struct session *s, struct task *t, const TaskTimersEntry *e, struct plan *p)
{
	bool choose = prctl(PR_TIMER_CREATE_RESTORE_IDS, PR_TIMER_CREATE_RESTORE_IDS_GET, 0, 0, 0) >= 0;

	qsort(e->posix, e->n_posix, sizeof(*e->posix), by_id);
	for (size_t i = 0; i < e->n_posix; i++)
		if (e->posix[i]->it_id > INT32_MAX || (i && e->posix[i]->it_id == e->posix[i - 1]->it_id))
			return fail(s, EPROTO, "core-%d.img: a timer with id %u", task_vpid(t), e->posix[i]->it_id);
	if (!choose && e->posix[e->n_posix - 1]->it_id > SEARCH_MAX)
		return fail(s, EOPNOTSUPP, "pid %d has a timer with id %u, for which Linux 6.16 is needed", task_vpid(t),
			    e->posix[e->n_posix - 1]->it_id);
	if (choose)
		plan_sys(p, BLOB_ZERO, SYS_prctl, PR_TIMER_CREATE_RESTORE_IDS, 1, 0, 0, 0);
	for (size_t i = 0; i < e->n_posix; i++)
		create_timer(p, e->posix[i], choose);
	if (choose)
		plan_sys(p, BLOB_ZERO, SYS_prctl, PR_TIMER_CREATE_RESTORE_IDS, 0, 0, 0, 0);
	/* the search takes time, which armed timers would count */
	for (size_t i = 0; i < e->n_posix; i++)
		arm_timer(p, e->posix[i]);
	return 0;
}

int restore_plan_timers(struct session *s, struct task *t, const TaskCoreEntry *tc, struct plan *p)
{
	const TaskTimersEntry *e = tc->timers;
	int err = 0;

	if (!e)
		return 0;
	err = restore_check_timers(s, t);
	plan_origin(p->set, "pid %d: timers", task_vpid(t));
	if (e->n_posix && !err)
		err = plan_posix_timers(s, t, e, p);
	plan_itimer(p, ITIMER_REAL, e->real);
	plan_itimer(p, ITIMER_VIRTUAL, e->virt);
	plan_itimer(p, ITIMER_PROF, e->prof);
	return err;
}
