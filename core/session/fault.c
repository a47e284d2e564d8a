/* SPDX-License-Identifier: MIT */
/*
 * Fault points: counted, and one of them made to fail.  The counters and the list of points lie in memory
 * that the warden shares, since it is the engine that prints them.
 */
#include "fault.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "log.h"

#define LIST_MAX 16384
#define WHAT_BYTES 60
#define ERRNO_MAX 4095

struct shared {
	_Atomic uint32_t passed[FAULT_SIDES];
	char what[FAULT_SIDES][LIST_MAX][WHAT_BYTES];
};

static const char *const side_names[FAULT_SIDES] = { "engine", "warden", "task" };

bool fault_on;
static struct {
	struct shared *shared;
	enum fault_side side; /* what this process is */
	bool list;
	enum fault_side at_side; /* which point fails: */
	uint32_t at;
	int err;
} state;

/* "ENOSPC" or "28"; 0: no such error */
static int errno_of(const char *name)
{
	long n = strtol(name, NULL, 10);

	for (int e = 1; e < 200; e++)
		if (strerrorname_np(e) && !strcmp(strerrorname_np(e), name))
			return e;
	return n > 0 && n <= ERRNO_MAX ? (int)n : 0;
}

static bool parse(const char *spec)
{
	const char *colon = strchr(spec, ':');
	char *end;

	if (!strcmp(spec, "list"))
		return state.list = true;
	for (unsigned i = 0; colon && i < FAULT_SIDES; i++) {
		if (strlen(side_names[i]) != (size_t)(colon - spec) || strncmp(spec, side_names[i], colon - spec))
			continue;
		state.at_side = i;
		state.at = strtoul(colon + 1, &end, 10);
		state.err = *end == ':' ? errno_of(end + 1) : *end ? 0 : EIO;
		return state.at && state.err;
	}
	return false;
}

int fault_set(const char *spec)
{
	if (!parse(spec)) {
		log_error("--fault %s: 'list' or SIDE:NUMBER[:ERROR] is needed, SIDE one of engine, warden, task", spec);
		return -EINVAL;
	}
	state.shared = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (state.shared == MAP_FAILED)
		return -errno;
	fault_on = true;
	return 0;
}

void fault_set_side(enum fault_side side)
{
	state.side = side;
}

static int pass(enum fault_side side, const char *fmt, va_list ap)
{
	uint32_t n = atomic_fetch_add(&state.shared->passed[side], 1);
	char what[WHAT_BYTES];

	if (state.list && n < LIST_MAX)
		vsnprintf(state.shared->what[side][n], WHAT_BYTES, fmt, ap);
	if (state.list || side != state.at_side || n + 1 != state.at)
		return 0;
	vsnprintf(what, sizeof(what), fmt, ap);
	log_warn("fault: %s %u (%s) fails with %s, as --fault asks", side_names[side], state.at, what,
		 strerrorname_np(state.err) ? strerrorname_np(state.err) : "that error");
	return -state.err;
}

int fault_point(const char *fmt, ...)
{
	va_list ap;
	int err;

	va_start(ap, fmt);
	err = pass(state.side, fmt, ap);
	va_end(ap);
	return err;
}

int fault_point_of(enum fault_side side, const char *fmt, ...)
{
	va_list ap;
	int err;

	if (!fault_on)
		return 0;
	va_start(ap, fmt);
	err = pass(side, fmt, ap);
	va_end(ap);
	return err;
}

bool fault_errno(int err)
{
	if (err)
		errno = -err;
	return err != 0;
}

void fault_report(FILE *out)
{
	const struct shared *sh = state.shared;

	if (!fault_on || !state.list)
		return;
	for (unsigned i = 0; i < FAULT_SIDES; i++)
		for (uint32_t n = 0; n < sh->passed[i]; n++)
			fprintf(out, "%s %u %s\n", side_names[i], n + 1, n < LIST_MAX ? sh->what[i][n] : "");
	fprintf(out, "fault points:");
	for (unsigned i = 0; i < FAULT_SIDES; i++)
		fprintf(out, "%s %s %u", i ? "," : "", side_names[i], sh->passed[i]);
	fprintf(out, "\n");
}
