/* SPDX-License-Identifier: MIT */
/* What --display-stats prints at the end of a dump or a restore: the numbers of the statistics images. */
#include "cmd.h"

#include <inttypes.h>

#include "text.h"

struct line {
	const char *title;
	uint64_t value;
	const char *unit;
};

static void print_lines(const char *what, const struct line *lines, size_t n)
{
	printf("Displaying %s stats:\n", what);
	for (size_t i = 0; i < n; i++)
		printf("%s: %" PRIu64 " %s\n", lines[i].title, lines[i].value, lines[i].unit);
}

void display_stats(const struct session *s)
{
	const struct stats *st = &s->stats;
	const struct line dump[] = {
		{ "Freezing time", st->freezing_time, "us" },
		{ "Frozen time", st->frozen_time, "us" },
		{ "Memory dump time", st->memdump_time, "us" },
		{ "Memory write time", st->memwrite_time, "us" },
		{ "Memory pages scanned", st->pages_scanned, "pages" },
		{ "Memory pages written", st->pages_written, "pages" },
		{ "Shared memory pages scanned", st->shpages_scanned, "pages" },
		{ "Shared memory pages written", st->shpages_written, "pages" },
	};
	const struct line restore[] = {
		{ "Pages compared", st->pages_compared, "pages" },
		{ "Pages skipped COW", st->pages_skipped_cow, "pages" },
		{ "Pages restored", st->pages_restored, "pages" },
		{ "Restore time", st->restore_time, "us" },
		{ "Forking time", st->forking_time, "us" },
	};

	if (s->mode == CR_MODE_DUMP)
		print_lines("dump", dump, ARRAY_SIZE(dump));
	else
		print_lines("restore", restore, ARRAY_SIZE(restore));
	printf("State lost: %zu\n", s->losses.n);
	for (size_t i = 0; i < s->losses.n; i++) {
		const struct loss *l = &s->losses.v[i];

		_cleanup_buf_ struct buf line = { 0 };

		buf_add_visible(&line, l->object);
		buf_printf(&line, "%s", l->object[0] ? ": " : "");
		buf_add_visible(&line, l->text);
		printf("  %s: %s\n", l->plugin, line.p);
	}
}
