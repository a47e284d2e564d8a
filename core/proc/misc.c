/* SPDX-License-Identifier: MIT */
/*
 * misc.c: the smaller texts of /proc/PID (fdinfo, limits, timers), numbers that are
 * names of directory entries, and the auxiliary vector.
 */
#include "proc_priv.h"

#include <ctype.h>
#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

/* ---- fdinfo ---- */

static bool line_done(const char *p)
{
	return *p == 0 || *p == '\n';
}

static int fdinfo_line(const char *p, struct proc_fdinfo *fi, unsigned *seen)
{
	const char *val;
	uint64_t v;

	if ((val = proc_key(p, "pos"))) {
		*seen |= 1;
		return proc_signed(&val, &fi->pos) || !line_done(val) ? -EPROTO : 0;
	}
	if ((val = proc_key(p, "flags"))) {
		if (proc_number(&val, 8, &v) || v > UINT32_MAX || !line_done(val))
			return -EPROTO;
		*seen |= 2;
		fi->flags = v;
	} else if ((val = proc_key(p, "mnt_id"))) {
		return proc_int(&val, &fi->mnt_id) || !line_done(val) ? -EPROTO : 0;
	} else if ((val = proc_key(p, "ino"))) {
		return proc_number(&val, 10, &fi->ino) || !line_done(val) ? -EPROTO : 0;
	}
	return 0;
}

/* The common lines come first; what a kind of file adds behind them may use the same keys. */
int proc_parse_fdinfo(const char *text, struct proc_fdinfo *ret)
{
	static const char *const common[] = { "pos", "flags", "mnt_id", "ino" };
	struct proc_fdinfo fi = { .mnt_id = -1 };
	const char *p = text;
	unsigned seen = 0;

	for (size_t i = 0; i < ARRAY_SIZE(common); i++) {
		if (!proc_key(p, common[i]))
			continue;
		if (fdinfo_line(p, &fi, &seen))
			return -EPROTO;
		p = proc_next_line(p);
	}
	if (seen != 3)
		return -EPROTO;
	*ret = fi;
	return 0;
}

/* ---- limits ---- */

static const struct {
	const char *name;
	int resource;
} limit_names[] = {
	{ "Max cpu time", RLIMIT_CPU },		    { "Max file size", RLIMIT_FSIZE },
	{ "Max data size", RLIMIT_DATA },	    { "Max stack size", RLIMIT_STACK },
	{ "Max core file size", RLIMIT_CORE },	    { "Max resident set", RLIMIT_RSS },
	{ "Max processes", RLIMIT_NPROC },	    { "Max open files", RLIMIT_NOFILE },
	{ "Max locked memory", RLIMIT_MEMLOCK },    { "Max address space", RLIMIT_AS },
	{ "Max file locks", RLIMIT_LOCKS },	    { "Max pending signals", RLIMIT_SIGPENDING },
	{ "Max msgqueue size", RLIMIT_MSGQUEUE },   { "Max nice priority", RLIMIT_NICE },
	{ "Max realtime priority", RLIMIT_RTPRIO }, { "Max realtime timeout", RLIMIT_RTTIME },
};

static int limit_value(const char **p, uint64_t *ret)
{
	static const char unlimited[] = "unlimited";

	while (**p == ' ')
		(*p)++;
	if (strncmp(*p, unlimited, sizeof(unlimited) - 1))
		return proc_number(p, 10, ret);
	*p += sizeof(unlimited) - 1;
	*ret = RLIM_INFINITY;
	return 0;
}

int proc_parse_limits(const char *text, struct proc_limits *ret)
{
	struct proc_limits lim = { 0 };
	unsigned seen = 0;

	for (const char *p = text; *p; p = proc_next_line(p)) {
		for (size_t i = 0; i < ARRAY_SIZE(limit_names); i++) {
			size_t n = strlen(limit_names[i].name);
			int r = limit_names[i].resource;
			const char *q = p + n;

			if (strncmp(p, limit_names[i].name, n) || *q != ' ')
				continue;
			if (limit_value(&q, &lim.cur[r]) || *q != ' ' || limit_value(&q, &lim.max[r]) ||
			    (*q != ' ' && !line_done(q)))
				return -EPROTO;
			seen |= 1u << r;
		}
	}
	if (seen != (1u << PROC_NLIMITS) - 1)
		return -EPROTO;
	*ret = lim;
	return 0;
}

int proc_read_limits(pid_t pid, struct proc_limits *ret)
{
	_cleanup_buf_ struct buf b = { 0 };
	int err = proc_read_text(pid, 0, "limits", &b);

	return err ? err : proc_parse_limits(b.p, ret);
}

/* ---- timers ---- */

/* "signal/pid.812": how, whom. */
static int timer_notify(const char *p, struct proc_timer *t)
{
	static const struct {
		const char *name;
		int notify;
	} ways[] = { { "signal/", SIGEV_SIGNAL }, { "none/", SIGEV_NONE }, { "thread/", SIGEV_THREAD } };

	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		size_t n = strlen(ways[i].name);

		if (strncmp(p, ways[i].name, n))
			continue;
		p += n;
		t->notify = ways[i].notify;
		if (!strncmp(p, "tid.", 4))
			t->notify |= SIGEV_THREAD_ID;
		else if (strncmp(p, "pid.", 4))
			return -EPROTO;
		p += 4;
		return proc_int(&p, &t->target) || !line_done(p) ? -EPROTO : 0;
	}
	return -EPROTO;
}

/* The four lines of one timer; *p moves behind them. */
static int parse_timer(const char **p, struct proc_timer *t)
{
	const char *q = proc_key(*p, "ID");

	if (!q || proc_int(&q, &t->id) || !line_done(q))
		return -EPROTO;
	*p = proc_next_line(*p);
	q = proc_key(*p, "signal");
	if (!q || proc_int(&q, &t->signo) || *q++ != '/' || proc_number(&q, 16, &t->sival_ptr) || !line_done(q))
		return -EPROTO;
	*p = proc_next_line(*p);
	q = proc_key(*p, "notify");
	if (!q || timer_notify(q, t))
		return -EPROTO;
	*p = proc_next_line(*p);
	q = proc_key(*p, "ClockID");
	if (!q || proc_int(&q, &t->clockid) || *q != '\n')
		return -EPROTO;
	*p = proc_next_line(*p);
	return 0;
}

int proc_parse_timers(const char *text, timer_list *ret)
{
	timer_list list = { 0 };
	const char *p = text;

	while (*p) {
		struct proc_timer t = { 0 };

		if (parse_timer(&p, &t)) {
			vec_free(&list);
			return -EPROTO;
		}
		*vec_push(&list) = t;
	}
	*ret = list;
	return 0;
}

/* ---- lists of numbers ---- */

static int compare_ints(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return (x > y) - (x < y);
}

/* Sorts what was appended behind the first n. */
static void sort_tail(int_list *l, size_t n)
{
	if (l->n > n)
		qsort(l->v + n, l->n - n, sizeof(*l->v), compare_ints);
}

static int list_numbers(const char *path, int_list *ret)
{
	_cleanup_dir_ DIR *d = opendir(path);
	size_t before = ret->n;
	struct dirent *e;

	if (!d)
		return -errno;
	while ((errno = 0, e = readdir(d))) {
		const char *p = e->d_name;
		int v;

		if (isdigit((unsigned char)*p) && !proc_int(&p, &v) && !*p)
			*vec_push(ret) = v;
	}
	if (errno) {
		ret->n = before;
		return -errno;
	}
	sort_tail(ret, before);
	return 0;
}

int proc_list_threads(pid_t pid, int_list *ret)
{
	char path[48];

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	return list_numbers(path, ret);
}

int proc_list_fds(pid_t pid, int_list *ret)
{
	char path[48];

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	return list_numbers(path, ret);
}

static int parse_children(const char *p, int_list *ret)
{
	while (*p) {
		int v;

		if (*p == ' ' || *p == '\n') {
			p++;
		} else if (proc_int(&p, &v) || v <= 0) {
			return -EPROTO;
		} else {
			*vec_push(ret) = v;
		}
	}
	return 0;
}

int proc_list_children(pid_t pid, int_list *ret)
{
	int_list tids = { 0 };
	int err = proc_list_threads(pid, &tids);

	if (!err)
		err = proc_list_children_of(pid, &tids, ret);
	vec_free(&tids);
	return err;
}

int proc_list_children_of(pid_t pid, const int_list *tids, int_list *ret)
{
	size_t before = ret->n;
	int err = 0;

	for (size_t i = 0; !err && i < tids->n; i++) {
		_cleanup_buf_ struct buf b = { 0 };

		err = proc_read_text(pid, tids->v[i], "children", &b);
		if (!err)
			err = parse_children(b.p, ret);
		else if (err == -ENOENT || err == -ESRCH)
			err = 0; /* the thread is gone, its children are another thread's */
	}
	if (err)
		ret->n = before;
	else
		sort_tail(ret, before);
	return err;
}

/* ---- auxv ---- */

int proc_read_auxv(pid_t pid, u64_list *ret)
{
	_cleanup_buf_ struct buf b = { 0 };
	int err = proc_read_text(pid, 0, "auxv", &b);

	if (err)
		return err;
	for (size_t off = 0; off + 16 <= b.len; off += 16) {
		uint64_t pair[2];

		memcpy(pair, b.p + off, sizeof(pair));
		if (pair[0] == AT_NULL)
			return 0;
		*vec_push(ret) = pair[0];
		*vec_push(ret) = pair[1];
	}
	return b.len % 16 ? -EPROTO : 0;
}
