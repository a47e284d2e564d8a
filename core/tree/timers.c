/* SPDX-License-Identifier: MIT */
/*
 * timers.c: interval timers and POSIX timers at dump.  Which POSIX timers there are
 * says /proc/PID/timers, how much time each has left an injected call.  The overrun
 * count of an expiration that has not been taken yet cannot be read from outside:
 * the image has that of the last one that was.
 */
#include "tree_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

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
