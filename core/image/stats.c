/* SPDX-License-Identifier: MIT */
/*
 * stats.c: the statistics of a dump or a restore, an image of one entry in the work
 * directory.  Written at once, so that it is there when the command has ended,
 * whether images_finish() came before or comes after.
 */
#include <errno.h>

#include "image-internal.h"
#include "stats.pb-c.h"

/* Times in the image have 32 bits: 71 minutes. */
static uint32_t micros(uint64_t us)
{
	return MIN_OF(us, UINT32_MAX);
}

static void fill_dump(const struct stats *st, DumpStatsEntry *e)
{
	e->freezing_time = micros(st->freezing_time);
	e->frozen_time = micros(st->frozen_time);
	e->memdump_time = micros(st->memdump_time);
	e->memwrite_time = micros(st->memwrite_time);
	e->pages_scanned = st->pages_scanned;
	e->pages_written = st->pages_written;
	e->has_shpages_scanned = e->has_shpages_written = e->has_shpages_skipped_parent = 1;
	/* of no meaning here, but readers expect them */
	e->has_irmap_resolve = e->has_page_pipes = e->has_page_pipe_bufs = 1;
	e->shpages_scanned = st->shpages_scanned;
	e->shpages_written = st->shpages_written;
}

static void fill_restore(const struct stats *st, RestoreStatsEntry *e)
{
	e->pages_compared = st->pages_compared;
	e->pages_skipped_cow = st->pages_skipped_cow;
	e->forking_time = micros(st->forking_time);
	e->restore_time = micros(st->restore_time);
	e->has_pages_restored = 1;
	e->pages_restored = st->pages_restored;
}

static void fill_losses(const struct session *s, StatsEntry *e, LossEntry *entries, LossEntry **list)
{
	for (size_t i = 0; i < s->losses.n; i++) {
		loss_entry__init(&entries[i]);
		entries[i].plugin = s->losses.v[i].plugin;
		entries[i].object = s->losses.v[i].object;
		entries[i].text = s->losses.v[i].text;
		list[i] = &entries[i];
	}
	e->n_lost = s->losses.n;
	e->lost = list;
}

int stats_write(struct session *s)
{
	bool dump = s->mode == CR_MODE_DUMP;
	const struct cr_img_type *type = dump ? &img_stats_dump : &img_stats_restore;
	StatsEntry e = STATS_ENTRY__INIT;
	DumpStatsEntry d = DUMP_STATS_ENTRY__INIT;
	RestoreStatsEntry rs = RESTORE_STATS_ENTRY__INIT;
	_cleanup_free_ LossEntry *entries = xcalloc(s->losses.n + 1, sizeof(*entries));
	_cleanup_free_ LossEntry **list = xcalloc(s->losses.n + 1, sizeof(*list));
	int r;

	fill_losses(s, &e, entries, list);
	if (dump) {
		fill_dump(&s->stats, &d);
		e.dump = &d;
	} else {
		fill_restore(&s->stats, &rs);
		e.restore = &rs;
	}
	r = img_append_msg(s, type, CR_IMG_NO_ID, &e.base);
	return r < 0 ? r : image_flush(s, type, CR_IMG_NO_ID);
}
