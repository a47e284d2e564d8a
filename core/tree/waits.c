/* SPDX-License-Identifier: MIT */
/*
 * waits.c: how long threads have waited in calls with a time limit.
 *
 * A freeze interrupts the call, and of most calls the kernel keeps the time left to itself.  But before the freeze
 * /proc/PID/task/TID/sched tells when a sleeping thread last ran (se.exec_start, by the clock of its CPU), and how often it has
 * gone to sleep: when it has slept once more by the time it is frozen, it was that same wait all the time.  The clocks of
 * CPUs differ, so the engine goes to each to look at what time it is.  They stand still while a CPU belongs to the hypervisor
 * or serves interrupts: then, and where nothing can be told, a wait counts for shorter than it was, and the thread waits
 * longer, never less.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tree_priv.h"

#define LIMIT_NS (1ull << 62)

struct wait {
	pid_t tid;
	int cpu;
	long nr;
	uint64_t args[6];
	uint64_t last_ran; /* ns of its CPU's clock; then of the monotonic clock */
	uint64_t sleeps;
	bool known;
};

struct waits {
	VEC(struct wait) v; /* by tid, once sorted */
};

/* ---- before the freeze ---- */

static bool read_text(pid_t pid, pid_t tid, const char *name, struct buf *b)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", pid, tid, name);
	b->len = 0;
	return read_file(AT_FDCWD, path, b) == 0 && b->len;
}

/* "se.exec_start   :   1239173.200843", in ns; other values as they are. */
static bool sched_value(const char *text, const char *key, uint64_t *ret)
{
	const char *p = strstr(text, key), *dot;
	char *end;

	p = p ? strchr(p, ':') : NULL;
	if (!p)
		return false;
	*ret = strtoull(p + 1, &end, 10);
	dot = *end == '.' ? end : NULL;
	if (dot)
		*ret = *ret * 1000000 + strtoull(dot + 1, NULL, 10);
	return true;
}

/* "35 0x7ffc... (six arguments, in hexadecimal) sp pc" of a thread that sleeps in a call. */
static bool parse_call(const char *text, struct wait *w)
{
	char *p;

	w->nr = strtol(text, &p, 10);
	if (p == text || w->nr < 0)
		return false;
	for (int i = 0; i < 6; i++)
		w->args[i] = strtoull(p, &p, 16);
	return true;
}

static void look_at(struct waits *ws, pid_t pid, pid_t tid, struct buf *b)
{
	struct wait w = { .tid = tid };
	struct proc_stat st;

	if (!read_text(pid, tid, "syscall", b) || !parse_call(b->p, &w))
		return;
	if (w.nr != SYS_restart_syscall && !arch_time_limit(w.nr, w.args, NULL))
		return;
	if (!read_text(pid, tid, "sched", b) || !sched_value(b->p, "se.exec_start", &w.last_ran) ||
	    !sched_value(b->p, "nr_voluntary_switches", &w.sleeps) || proc_read_stat(pid, tid, &st) < 0)
		return;
	w.cpu = st.processor;
	*vec_push(&ws->v) = w;
}

/* What the clock of the CPU says at what time; both in ns. E runs there. */
static bool look_at_clock(uint64_t *ret_cpu, uint64_t *ret_now)
{
	_cleanup_buf_ struct buf b = { 0 };
	struct timespec ts;
	bool known;

	/* it is taken when a thread begins to run: again, when others run in between, so the time is asked for behind it */
	nanosleep(&(struct timespec){ 0, 1000 }, NULL);
	known = read_text(getpid(), getpid(), "sched", &b) && sched_value(b.p, "se.exec_start", ret_cpu);
	clock_gettime(CLOCK_MONOTONIC, &ts);
	*ret_now = ts.tv_sec * 1000000000ull + ts.tv_nsec;
	return known;
}

static void to_monotonic(struct waits *ws)
{
	uint64_t on_cpu, now;
	cpu_set_t usual, one;

	if (!ws->v.n || sched_getaffinity(0, sizeof(usual), &usual) < 0)
		return;
	for (size_t i = 0; i < ws->v.n; i++) {
		int cpu = ws->v.v[i].cpu;

		if (ws->v.v[i].known || cpu < 0 || cpu >= CPU_SETSIZE)
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		if (sched_setaffinity(0, sizeof(one), &one) < 0 || !look_at_clock(&on_cpu, &now))
			continue;
		for (size_t k = i; k < ws->v.n; k++) {
			struct wait *w = &ws->v.v[k];

			if (w->cpu != cpu || w->known || w->last_ran > on_cpu || on_cpu - w->last_ran > now)
				continue;
			w->last_ran = now - (on_cpu - w->last_ran);
			w->known = true;
		}
	}
	sched_setaffinity(0, sizeof(usual), &usual);
}

static int by_tid(const void *a, const void *b)
{
	return ((const struct wait *)a)->tid - ((const struct wait *)b)->tid;
}

void waits_read(struct session *s, pid_t root)
{
	struct waits *ws = s->waits = xcalloc(1, sizeof(*ws));
	_cleanup_buf_ struct buf b = { 0 };
	int_list pids = { 0 }, tids = { 0 };

	*vec_push(&pids) = root;
	for (size_t i = 0; i < pids.n; i++) {
		tids.n = 0;
		if (proc_list_threads(pids.v[i], &tids) < 0)
			continue;
		for (size_t k = 0; k < tids.n; k++)
			look_at(ws, pids.v[i], tids.v[k], &b);
		proc_list_children_of(pids.v[i], &tids, &pids);
	}
	vec_free(&pids);
	vec_free(&tids);
	to_monotonic(ws);
	if (ws->v.n)
		qsort(ws->v.v, ws->v.n, sizeof(*ws->v.v), by_tid);
}

void waits_free(struct session *s)
{
	if (s->waits)
		vec_free(&s->waits->v);
	free(s->waits);
	s->waits = NULL;
}

/* ---- frozen ---- */

static const struct wait *find(const struct session *s, pid_t tid)
{
	struct wait key = { .tid = tid };

	return s->waits && s->waits->v.n ?
		bsearch(&key, s->waits->v.v, s->waits->v.n, sizeof(key), by_tid) : NULL;
}

static uint64_t limit_ns(struct task *t, const struct arch_limit *l)
{
	struct timespec ts;

	if (l->ms)
		return (uint64_t)l->value * 1000000;
	if (tree_read(t, l->value, &ts, sizeof(ts)) < 0 || ts.tv_sec < 0 || ts.tv_nsec < 0 || ts.tv_nsec > 999999999 ||
	    (uint64_t)ts.tv_sec > LIMIT_NS / 1000000000)
		return 0;
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

/* Still the wait that was seen before the freeze? */
static bool same_wait(const struct wait *w, const struct proc_status *st, const struct user_regs_struct *gp)
{
	uint64_t args[6];

	arch_call_args(gp, args);
	return w->known && st->sleeps == w->sleeps + 1 && (w->nr == (long)gp->orig_rax || w->nr == SYS_restart_syscall) &&
	       !memcmp(args, w->args, sizeof(args));
}

uint64_t waits_left(struct session *s, struct thread *th, const struct proc_status *st)
{
	const struct user_regs_struct *gp = &th->regs.gp;
	const struct wait *w = find(s, thread_tid(th));
	struct arch_limit l;
	uint64_t args[6], limit, now = s->stats.t_frozen_since * 1000;

	arch_call_args(gp, args);
	if (!arch_time_limit(gp->orig_rax, args, &l))
		return 0;
	limit = limit_ns(th->task, &l);
	if (!limit || !w || !same_wait(w, st, gp) || w->last_ran > now)
		return limit;
	/* it has run out while the freeze was under way: 0 would mean that nothing is known */
	return limit > now - w->last_ran ? limit - (now - w->last_ran) : 1;
}
