/* SPDX-License-Identifier: MIT */
/* proc.c: the parsers of /proc text. The first byte of the input chooses the parser, the rest is its text. */
#include "fuzz.h"

#include "proc.h"

static void maps(const char *text, size_t len)
{
	vma_list l = { 0 };

	proc_parse_maps(text, len, &l);
	proc_vmas_free(&l);
}

static void status(const char *text)
{
	struct proc_status st = { 0 };

	proc_parse_status(text, &st);
	proc_status_free(&st);
}

static void timers(const char *text)
{
	timer_list l = { 0 };

	proc_parse_timers(text, &l);
	vec_free(&l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct proc_stat stat;
	struct proc_fdinfo fdinfo;
	struct proc_limits limits;
	char *text;

	if (size < 1)
		return 0;
	text = fuzz_text(data + 1, size - 1);
	switch (data[0]) {
	case 's':
		proc_parse_stat(text, &stat);
		break;
	case 'u':
		status(text);
		break;
	case 'm':
		maps(text, size - 1);
		break;
	case 'f':
		proc_parse_fdinfo(text, &fdinfo);
		break;
	case 'l':
		proc_parse_limits(text, &limits);
		break;
	case 't':
		timers(text);
		break;
	}
	free(text);
	return 0;
}
