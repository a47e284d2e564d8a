/* SPDX-License-Identifier: MIT */
/*
 * check_images.c: check --images DIR: everything that would keep these images from being restored here and now, all at
 * once.  The images are loaded as for a restore; then pids, limits, kernel features and every file are looked at.  What
 * fail() is told on the way is collected instead of ending the check, except where nothing more could be read.
 */
#include "cmd.h"
#include "files.h"
#include "image.h"
#include "options.h"
#include "plugin.h"
#include "restore.h"

#include <errno.h>

static void check_features(struct session *s)
{
	for (size_t i = 0; core_features[i]; i++) {
		const struct cr_feature *f = core_features[i];

		if (!f->extra && (!f->modes || f->modes & 1u << CR_MODE_RESTORE) && !plugins_feature(s, f->name))
			fail(s, ENOSYS, "this kernel lacks %s: %s", f->name, f->cost);
	}
}

int check_images(struct session *s, const char *dir)
{
	bool json = opt_flag(s->opts, "json");
	int err;

	if (options_set(s->opts, "images-dir", dir) < 0)
		return fail(s, EINVAL, "%s is not usable as images directory", dir);
	s->mode = CR_MODE_RESTORE;
	s->tree_is = TREE_ABSENT;
	err = images_open(s);
	if (err < 0)
		return err;
	s->restore = xcalloc(1, sizeof(*s->restore));
	s->collecting = true;
	err = restore_load(s);
	s->phase = "check";
	check_features(s);
	if (err == 0) {
		restore_check_here(s);
		files_check_images(s);
	}
	s->collecting = false;
	if (json) {
		printf("{\"images\":");
		json_string(stdout, dir);
		printf(",\"restorable\":%s,\"blockers\":[", s->blockers.n ? "false" : "true");
	}
	print_blockers(s, json);
	if (json)
		puts("]}");
	else
		printf("%s: %s be restored here\n", dir, s->blockers.n ? "cannot" : "can");
	s->reported = true;
	return s->blockers.n ? -EOPNOTSUPP : err;
}
