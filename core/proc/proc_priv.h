/* SPDX-License-Identifier: MIT */
/* proc_priv.h: helpers shared by the parsers of core/proc. */
#ifndef CORE_PROC_PRIV_H
#define CORE_PROC_PRIV_H

#include "proc.h"

#include <fcntl.h>

/* Undoes the escapes of a task name (\n, \\, \012) into out, at most size - 1 bytes and a NUL. */
void proc_unescape(const char *p, size_t len, char *out, size_t size);

/* Numbers at *p, which moves behind them: unsigned in a base (10 or 16), signed, int. 0 or -EPROTO (none, or too large). */
int proc_number(const char **p, int base, uint64_t *ret);
int proc_signed(const char **p, int64_t *ret);
int proc_int(const char **p, int *ret);

/* /proc/PID/NAME, or /proc/PID/task/TID/NAME when tid is not 0, appended to b, never NULL on success. 0 or -errno. */
int proc_read_text(pid_t pid, pid_t tid, const char *name, struct buf *b);

/* Start of the next line, or the terminating NUL. */
const char *proc_next_line(const char *p);
/* When the line at p starts with "KEY:": what is behind it and its blanks; else NULL. */
const char *proc_key(const char *p, const char *key);

#endif
