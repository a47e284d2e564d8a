/* SPDX-License-Identifier: MIT */
/*
 * stat.c: /proc/PID/stat.
 *
 * The name of the task stands in parentheses and may itself contain spaces and
 * parentheses; it ends at the last ')' of the text, because everything behind it
 * is numeric.  Newline and backslash in it are escaped by the kernel.
 */
#include "proc_priv.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fault.h"

/* Fields of proc(5) behind the state (field 3), by number. */
enum {
	F_PPID = 4, F_PGRP, F_SESSION, F_TTY, F_TPGID, F_FLAGS, F_NICE = 19, F_NTHREADS = 20, F_START = 22,
	F_START_CODE = 26, F_END_CODE, F_START_STACK, F_EXIT_SIGNAL = 38, F_PROCESSOR, F_START_DATA = 45,
	F_END_DATA, F_START_BRK, F_ARG_START, F_ARG_END, F_ENV_START, F_ENV_END, F_EXIT_CODE, F_END
};

void proc_unescape(const char *p, size_t len, char *out, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < len && n + 1 < size; i++) {
		if (p[i] != '\\' || i + 1 >= len) {
			out[n++] = p[i];
		} else if (p[i + 1] == 'n' || p[i + 1] == '\\') {
			out[n++] = p[++i] == 'n' ? '\n' : '\\';
		} else if (i + 3 < len && p[i + 1] == '0' && p[i + 2] == '1' && p[i + 3] == '2') {
			out[n++] = '\n';
			i += 3;
		} else {
			out[n++] = p[i];
		}
	}
	out[n] = 0;
}

int proc_number(const char **p, int base, uint64_t *ret)
{
	unsigned long long v;
	char *end;

	if (!isxdigit((unsigned char)**p)) /* no sign, no blanks, no empty text */
		return -EPROTO;
	errno = 0;
	v = strtoull(*p, &end, base);
	if (errno || end == *p)
		return -EPROTO;
	*p = end;
	*ret = v;
	return 0;
}

int proc_signed(const char **p, int64_t *ret)
{
	bool minus = **p == '-';
	const char *q = *p + minus;
	uint64_t v;

	if (proc_number(&q, 10, &v))
		return -EPROTO;
	if (v > (uint64_t)INT64_MAX)
		return -EPROTO;
	*p = q;
	*ret = minus ? -(int64_t)v : (int64_t)v;
	return 0;
}

int proc_int(const char **p, int *ret)
{
	const char *q = *p;
	int64_t v;

	if (proc_signed(&q, &v) || v < INT32_MIN || v > INT32_MAX)
		return -EPROTO;
	*p = q;
	*ret = v;
	return 0;
}

/* The numbers from field 4 on, as two's complement. */
static int stat_fields(const char *p, uint64_t v[F_END])
{
	for (int i = F_PPID; i < F_END; i++) {
		int64_t neg;

		if (*p++ != ' ')
			return -EPROTO;
		if (*p == '-') {
			if (proc_signed(&p, &neg))
				return -EPROTO;
			v[i] = neg;
		} else if (proc_number(&p, 10, &v[i])) {
			return -EPROTO;
		}
	}
	return *p == 0 || *p == '\n' || *p == ' ' ? 0 : -EPROTO;
}

static bool fits_int(uint64_t v)
{
	return (int64_t)v >= INT32_MIN && (int64_t)v <= INT32_MAX;
}

static int stat_assign(const uint64_t v[F_END], struct proc_stat *st)
{
	static const int ints[] = { F_PPID, F_PGRP, F_SESSION, F_TTY, F_TPGID, F_NICE, F_NTHREADS,
				    F_EXIT_SIGNAL, F_PROCESSOR, F_EXIT_CODE };

	for (size_t i = 0; i < ARRAY_SIZE(ints); i++)
		if (!fits_int(v[ints[i]]))
			return -EPROTO;
	st->ppid = v[F_PPID];
	st->pgrp = v[F_PGRP];
	st->session = v[F_SESSION];
	st->tty_nr = v[F_TTY];
	st->tpgid = v[F_TPGID];
	st->flags = v[F_FLAGS];
	st->nice = v[F_NICE];
	st->num_threads = v[F_NTHREADS];
	st->start_time = v[F_START];
	st->start_code = v[F_START_CODE];
	st->end_code = v[F_END_CODE];
	st->start_stack = v[F_START_STACK];
	st->exit_signal = v[F_EXIT_SIGNAL];
	st->processor = v[F_PROCESSOR];
	st->start_data = v[F_START_DATA];
	st->end_data = v[F_END_DATA];
	st->start_brk = v[F_START_BRK];
	st->arg_start = v[F_ARG_START];
	st->arg_end = v[F_ARG_END];
	st->env_start = v[F_ENV_START];
	st->env_end = v[F_ENV_END];
	st->exit_code = v[F_EXIT_CODE];
	return 0;
}

int proc_parse_stat(const char *text, struct proc_stat *ret)
{
	const char *p = text, *open, *close;
	struct proc_stat st = { 0 };
	uint64_t v[F_END];

	if (proc_int(&p, &st.pid) || st.pid < 0 || p[0] != ' ' || p[1] != '(')
		return -EPROTO;
	open = p + 1;
	close = strrchr(open, ')');
	if (!close || close[1] != ' ' || !isalpha((unsigned char)close[2]))
		return -EPROTO;
	proc_unescape(open + 1, close - open - 1, st.comm, sizeof(st.comm));
	st.state = close[2];
	if (stat_fields(close + 3, v) || stat_assign(v, &st))
		return -EPROTO;
	*ret = st;
	return 0;
}

int proc_read_text(pid_t pid, pid_t tid, const char *name, struct buf *b)
{
	char path[96];
	int err;

	if (tid)
		snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", pid, tid, name);
	else
		snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	err = FAULT("reading %s", path);
	/* the kernel makes the list of children entry by entry, the others in one piece */
	if (!err)
		err = strcmp(name, "children") ? read_piece(AT_FDCWD, path, b) : read_file(AT_FDCWD, path, b);
	if (!err)
		buf_add(b, "", 0); /* an empty file: still a string */
	return err;
}

int proc_read_stat(pid_t pid, pid_t tid, struct proc_stat *ret)
{
	_cleanup_buf_ struct buf b = { 0 };
	int err = proc_read_text(pid, tid, "stat", &b);

	return err ? err : proc_parse_stat(b.p, ret);
}

#define FLAG_IO_WORKER 0x10u /* PF_IO_WORKER */

bool proc_stat_is_worker(const struct proc_stat *st)
{
	return st->flags & FLAG_IO_WORKER;
}

bool proc_is_worker(pid_t pid, pid_t tid)
{
	struct proc_stat st = { 0 };

	return pid != tid && proc_read_stat(pid, tid, &st) == 0 && proc_stat_is_worker(&st);
}
