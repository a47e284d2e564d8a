/* SPDX-License-Identifier: MIT */
/* progress.h: one line on stderr for long work, only when stderr is a terminal and it takes over half a second. */
#ifndef CORE_PROGRESS_H
#define CORE_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct progress {
	const char *what; /* static text */
	size_t total, done;
	uint64_t since, last; /* microseconds, now_us() */
	bool shown;
};

void progress_start(struct progress *p, const char *what, size_t total);
/* done of total; cheap, may be called often. */
void progress_step(struct progress *p, size_t done);
/* n more. */
void progress_add(struct progress *p, size_t n);
/* Erases the line. */
void progress_end(struct progress *p);

#endif
