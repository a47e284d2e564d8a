/* SPDX-License-Identifier: MIT */
/*
 * parse.c: lines of the kernel about locks, in /proc/locks and in fdinfo:
 *
 *	1: POSIX  ADVISORY  WRITE 18512 fe:00:11012772 5 14
 *	2: LEASE  BREAKING  READ 18512 fe:00:11012783 0 EOF
 *	2: -> FLOCK  ADVISORY  WRITE 77 fe:00:11012770 0 EOF
 *
 * The arrow marks somebody who waits.  Of a lease that is being broken the kernel
 * shows the type that it will have.
 */
#include "locks.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static int parse_kind(const char *word, uint32_t *ret)
{
	static const struct {
		const char *word;
		uint32_t kind;
	} kinds[] = {
		{ "POSIX", LOCK_KIND_POSIX },
		{ "FLOCK", LOCK_KIND_FLOCK },
		{ "OFDLCK", LOCK_KIND_OFD },
		{ "LEASE", LOCK_KIND_LEASE },
	};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (!strcmp(word, kinds[i].word)) {
			*ret = kinds[i].kind;
			return 0;
		}
	return -EPROTO;
}

static int parse_type(const char *word, struct lock *l)
{
	if (!strcmp(word, "READ"))
		l->type = F_RDLCK;
	else if (!strcmp(word, "WRITE"))
		l->type = F_WRLCK;
	else if (!strcmp(word, "UNLCK") && l->breaking)
		l->type = F_UNLCK;
	else
		return -EPROTO;
	return 0;
}

static int parse_end(const char *word, struct lock *l)
{
	char *rest;
	int64_t end;

	l->len = 0;
	if (!strcmp(word, "EOF"))
		return 0;
	errno = 0;
	end = strtoll(word, &rest, 10);
	if (errno || *rest || l->start < 0 || end < l->start || end == INT64_MAX)
		return -EPROTO;
	l->len = end - l->start + 1;
	return 0;
}

int lock_parse(const char *line, struct lock *ret)
{
	char kind[16], state[16], type[16], end[32];
	struct lock l = { 0 };

	if (sscanf(line, " %*d: %15s", kind) == 1 && !strcmp(kind, "->"))
		return 0;
	if (sscanf(line, " %*d: %15s %15s %15s %d %x:%x:%" SCNu64 " %" SCNd64 " %31s", kind, state, type, &l.pid,
		   &l.major, &l.minor, &l.ino, &l.start, end) != 9)
		return -EPROTO;
	l.breaking = !strcmp(state, "BREAKING");
	if (!strcmp(state, "BREAKER"))
		return 0;
	if (parse_kind(kind, &l.kind) || parse_type(type, &l) || parse_end(end, &l))
		return -EPROTO;
	*ret = l;
	return 1;
}

const char *lock_text(const struct lock *l, char *buf, size_t size)
{
	char range[80];

	if (l->len)
		snprintf(range, sizeof(range), "bytes %" PRId64 "-%" PRId64, l->start, l->start + l->len - 1);
	else if (l->start)
		snprintf(range, sizeof(range), "bytes %" PRId64 " to the end", l->start);
	else
		snprintf(range, sizeof(range), "the whole file");
	switch (l->kind) {
	case LOCK_KIND_FLOCK:
		snprintf(buf, size, "%s flock", l->type == F_RDLCK ? "a shared" : "an exclusive");
		break;
	case LOCK_KIND_LEASE:
		snprintf(buf, size, "a %s lease", l->type == F_RDLCK ? "read" : "write");
		break;
	default:
		snprintf(buf, size, "a %s lock (%s) of %s", l->type == F_RDLCK ? "read" : "write",
			 l->kind == LOCK_KIND_OFD ? "OFD" : "fcntl", range);
	}
	return buf;
}
