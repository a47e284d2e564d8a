/* SPDX-License-Identifier: MIT */
/*
 * timers.c: interval timers and POSIX timers at dump.  Which POSIX timers there are
 * says /proc/PID/timers, how much time each has left an injected call.  The overrun
 * count of an expiration that has not been taken yet cannot be read from outside:
 * the image has that of the last one that was.
 *
 * A timer of CLOCK_THREAD_CPUTIME_ID counts the time of the thread that made it, and nothing tells which that was.  But an
 * armed one goes on when just that thread runs: so each runs for a moment.  In the image it has the clock of that thread.
 */
#include "tree_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#define CPU_CLOCK_KIND 7u
#define CPU_CLOCK_THREAD 4u
#define SPENT_CALLS 100 /* enough to be seen in its CPU time */

void timers_itimer_calls(struct call_list *c)
{
	for (int i = 0; i < 3; i++) {
		call_add(c, SYS_getitimer, i, 0, 0, 0, 0);
		call_wants_out(c, 1, sizeof(struct itimerval));
	}
}

void timers_posix_calls(struct call_list *c, const timer_list *timers)
{
	for (size_t i = 0; i < timers->n; i++) {
		call_add(c, SYS_timer_gettime, timers->v[i].id, 0, 0, 0, 0);
		call_wants_out(c, 1, sizeof(struct itimerspec));
		call_add(c, SYS_timer_getoverrun, timers->v[i].id, 0, 0, 0, 0);
	}
}

static ItimerEntry *itimer_message(const struct inject_call *k)
{
	ItimerEntry *e = NEW(ItimerEntry, itimer_entry__init);
	struct itimerval v = { 0 };

	memcpy(&v, k->out, sizeof(v));
	e->isec = v.it_interval.tv_sec;
	e->iusec = v.it_interval.tv_usec;
	e->vsec = v.it_value.tv_sec;
	e->vusec = v.it_value.tv_usec;
	return e;
}

TaskTimersEntry *timers_message(struct task *t, const struct call_list *c, const timer_list *timers)
{
	TaskTimersEntry *e = NEW(TaskTimersEntry, task_timers_entry__init);

	e->real = itimer_message(&c->v[C_ITIMER]);
	e->virt = itimer_message(&c->v[C_ITIMER + 1]);
	e->prof = itimer_message(&c->v[C_ITIMER + 2]);
	e->n_posix = timers->n;
	e->posix = xcalloc(timers->n, sizeof(*e->posix));
	for (size_t i = 0; i < timers->n; i++) {
		PosixTimerEntry *p = NEW(PosixTimerEntry, posix_timer_entry__init);
		const struct proc_timer *pt = &timers->v[i];
		struct itimerspec v;

		memcpy(&v, c->v[C_PTIMER + 2 * i].out, sizeof(v));
		p->it_id = pt->id;
		p->clock_id = pt->clockid;
		p->si_signo = pt->signo;
		p->it_sigev_notify = pt->notify;
		p->sival_ptr = pt->sival_ptr;
		p->overrun = MAX_OF(c->v[C_PTIMER + 2 * i + 1].ret, 0);
		p->isec = v.it_interval.tv_sec;
		p->insec = v.it_interval.tv_nsec;
		p->vsec = v.it_value.tv_sec;
		p->vnsec = v.it_value.tv_nsec;
		if (pt->notify & SIGEV_THREAD_ID) {
			p->has_notify_thread_id = 1;
			p->notify_thread_id = pt->target;
			for (size_t j = 0; j < t->threads.n; j++)
				if (thread_tid(t->threads.v[j]) == pt->target)
					p->notify_thread_id = thread_vtid(t->threads.v[j]);
		}
		e->posix[i] = p;
	}
	return e;
}

/* ---- CPU time of which thread? ---- */

/* The clock of a thread's CPU time, by its number: MAKE_THREAD_CPUCLOCK() of linux/posix-timers_types.h. */
static uint32_t cpu_clock_of(const struct thread *th, uint32_t kind)
{
	return ~(uint32_t)thread_vtid(th) << 3 | (kind & CPU_CLOCK_KIND);
}

/* "Of thread 0", which is the caller; this is what the kernel makes of CLOCK_THREAD_CPUTIME_ID. */
static bool counts_own_time(const PosixTimerEntry *e)
{
	return (e->clock_id & ~(uint32_t)CPU_CLOCK_KIND) == ~(uint32_t)CPU_CLOCK_KIND && e->clock_id & CPU_CLOCK_THREAD;
}

/* The time that each timer has left, by the leader. */
static int times_left(struct session *s, struct task *t, const TaskTimersEntry *e, struct itimerspec *ret)
{
	struct call_list c = { 0 };
	int err;

	for (size_t i = 0; i < e->n_posix; i++) {
		call_add(&c, SYS_timer_gettime, e->posix[i]->it_id, 0, 0, 0, 0);
		call_wants_out(&c, 1, sizeof(struct itimerspec));
	}
	err = calls_run(s, t->threads.v[0], &c);
	for (size_t i = 0; i < e->n_posix && err == 0; i++)
		memcpy(&ret[i], c.v[i].out, sizeof(ret[i]));
	vec_free(&c);
	return err;
}

/* th runs for a moment. */
static int spend_time(struct session *s, struct thread *th)
{
	struct call_list c = { 0 };
	int err;

	for (int i = 0; i < SPENT_CALLS; i++)
		call_add(&c, SYS_getppid, 0, 0, 0, 0, 0);
	err = calls_run(s, th, &c);
	vec_free(&c);
	return err;
}

/* Timers that have less left than before, when only the leader and th (may be it) have run: those of th. */
static void assign(TaskTimersEntry *e, const struct itimerspec *was, const struct itimerspec *now,
		   const struct thread *th, bool *known)
{
	for (size_t i = 0; i < e->n_posix; i++) {
		if (known[i] || !memcmp(&was[i].it_value, &now[i].it_value, sizeof(now[i].it_value)))
			continue;
		known[i] = true;
		if (th)
			e->posix[i]->clock_id = cpu_clock_of(th, e->posix[i]->clock_id);
	}
}

static struct thread *target_of(struct task *t, const PosixTimerEntry *e)
{
	for (size_t i = 0; i < t->threads.n; i++)
		if (e->has_notify_thread_id && thread_vtid(t->threads.v[i]) == (pid_t)e->notify_thread_id)
			return t->threads.v[i];
	return NULL;
}

/* Disarmed ones do not tell: most likely the thread has made it for itself that gets its signal. */
static void guess(struct task *t, TaskTimersEntry *e, const bool *known)
{
	for (size_t i = 0; i < e->n_posix; i++) {
		struct thread *th = target_of(t, e->posix[i]);

		if (known[i] || !counts_own_time(e->posix[i]))
			continue;
		if (th)
			e->posix[i]->clock_id = cpu_clock_of(th, e->posix[i]->clock_id);
		else
			log_warn("pid %d: of its threads one counts its CPU time with timer %u, which is not armed and does "
				 "not tell "
				 "which: restored it counts that of the first", task_pid(t), e->posix[i]->it_id);
	}
}

static int find_owners(struct session *s, struct task *t, TaskTimersEntry *e)
{
	_cleanup_free_ struct itimerspec *was = xcalloc(e->n_posix, sizeof(*was)), *now = xcalloc(e->n_posix, sizeof(*now));
	_cleanup_free_ bool *known = xcalloc(e->n_posix, sizeof(*known));
	int err;

	for (size_t i = 0; i < e->n_posix; i++)
		known[i] = !counts_own_time(e->posix[i]);
	err = times_left(s, t, e, was);
	if (err == 0)
		err = times_left(s, t, e, now);
	if (err == 0)
		assign(e, was, now, NULL, known); /* the leader's */
	for (size_t k = 1; k < t->threads.n && err == 0; k++) {
		err = times_left(s, t, e, was);
		if (err == 0)
			err = spend_time(s, t->threads.v[k]);
		if (err == 0)
			err = times_left(s, t, e, now);
		if (err == 0)
			assign(e, was, now, t->threads.v[k], known);
	}
	if (err == 0)
		guess(t, e, known);
	return err;
}

int timers_find_owners(struct session *s, struct task *t)
{
	TaskTimersEntry *e = t->threads.v[0]->core->tc->timers;

	for (size_t i = 0; t->threads.n > 1 && i < e->n_posix; i++)
		if (counts_own_time(e->posix[i]))
			return find_owners(s, t, e);
	return 0;
}

int timers_read(struct session *s, struct task *t, timer_list *ret)
{
	struct buf b = { 0 };
	char path[64];
	int err;

	snprintf(path, sizeof(path), "/proc/%d/timers", task_pid(t));
	err = read_file(AT_FDCWD, path, &b);
	if (err == 0)
		err = proc_parse_timers(b.p, ret);
	buf_free(&b);
	if (err < 0)
		return fail(s, -err, "%s: %s", path, strerror(-err));
	return 0;
}

/* ts, c: room to work in, left in any state. */
