/* SPDX-License-Identifier: MIT */
#include "progress.h"

#include <stdio.h>
#include <unistd.h>

#include "util.h"

#define QUIET_US 500000
#define EVERY_US 100000

void progress_start(struct progress *p, const char *what, size_t total)
{
	*p = (struct progress){ .what = what, .total = total, .since = now_us() };
}

void progress_step(struct progress *p, size_t done)
{
	uint64_t now = now_us();

	if (now - p->since < QUIET_US || now - p->last < EVERY_US || !isatty(STDERR_FILENO))
		return;
	p->last = now;
	p->shown = true;
	/* the total may be an estimate */
	done = done < p->total ? done : p->total;
	fprintf(stderr, "\r%s: %zu of %zu (%zu%%), %.1f s\033[K", p->what, done, p->total,
		p->total ? done * 100 / p->total : 100, (now - p->since) / 1e6);
	fflush(stderr);
}

void progress_add(struct progress *p, size_t n)
{
	p->done += n;
	progress_step(p, p->done);
}

void progress_end(struct progress *p)
{
	if (p->shown)
		fprintf(stderr, "\r\033[K");
}
