/* SPDX-License-Identifier: MIT */
/*
 * log.h: the log.  Messages go to a ring in shared memory until log_open() says
 * where they belong; the ring is mapped shared, so the warden (forked) logs too.
 * Line format: "(00.123456) Error (inet): text\n", time since start; errors and
 * warnings carry that word, the rest only the tag.  Without log_init() errors and
 * warnings go straight to stderr.  The only mutable file-scope state of the engine.
 */
#ifndef CORE_LOG_H
#define CORE_LOG_H

#include <stdarg.h>
#include <stdbool.h>

#include "cr-plugin.h"
#include "util.h"

void log_init(void);
/* level: highest enum cr_log_level that is written (0..4). */
void log_set_level(int level);
int log_level(void);
/* --log-pid: every line names the process that wrote it. */
void log_show_pid(bool on);
/* True when messages go to a file. Otherwise they reach stderr, and what is logged need not be printed again. */
bool log_in_file(void);
/* Descriptor that messages go to, which a forked process must keep; -1: none yet, they go to the ring. */
int log_fd(void);
/* path relative to dirfd; NULL: stderr. Flushes the ring into it. 0 or -errno. */
int log_open(int dirfd, const char *path);
/* Flushes what is left; when no log was opened, errors and warnings go to stderr. */
void log_close(void);
void log_msg(int level, const char *tag, const char *fmt, ...) PRINTF_LIKE(3, 4);
void log_vmsg(int level, const char *tag, const char *fmt, va_list ap);

#define log_error(...) log_msg(CR_LOG_ERROR, NULL, __VA_ARGS__)
#define log_warn(...) log_msg(CR_LOG_WARN, NULL, __VA_ARGS__)
#define log_info(...) log_msg(CR_LOG_INFO, NULL, __VA_ARGS__)
#define log_debug(...) log_msg(CR_LOG_DEBUG, NULL, __VA_ARGS__)

#endif
