/* SPDX-License-Identifier: MIT */
/*
 * locks.c: file locks and leases that the tree holds; declares the plugin.
 *
 * It claims no kind of file: it looks at the descriptors of all (gather.c) and sets
 * the locks again when all are open (restore.c).  Without --file-locks a tree with
 * locks is refused, for somebody else might take them between dump and restore.
 */
#include "locks.h"

#include <errno.h>

const struct cr_img_type locks_img = {
	.size = sizeof(struct cr_img_type),
	.name = "filelocks",
	.magic = 0x54323616,
};
static const struct cr_img_type *const locks_images[] = { &locks_img, &locks_img_mapped, &locks_img_breaking, NULL };

static const struct cr_option opt_file_locks = {
	.size = sizeof(struct cr_option),
	.name = "file-locks",
	.rpc_field = "file_locks",
	.kind = CR_OPT_FLAG,
	.help = "Dump trees that hold file locks or leases; restore takes them again.",
};
static const struct cr_option *const locks_options[] = { &opt_file_locks, NULL };

struct locks *locks_get(struct cr_session *s)
{
	return s->core->plugin_priv(s, sizeof(struct locks));
}

static int locks_check(struct cr_session *s)
{
	int err = locks_gather(s);

	if (err < 0 && err != -EOPNOTSUPP)
		return err;
	return locks_find_mapped(s) < 0 ? -EOPNOTSUPP : err;
}

static int locks_late(struct cr_session *s)
{
	/* what other plugins came across while they dumped */
	int err = locks_gather(s);

	if (err == 0)
		err = locks_write(s);
	return err < 0 ? err : locks_write_mapped(s);
}

static void locks_done(struct cr_session *s, int error)
{
	struct locks *ls = locks_get(s);

	for (size_t i = 0; i < ls->entries.n; i++)
		common_free_msg(ls->entries.v[i]);
	vec_free(&ls->entries);
	vec_free(&ls->held);
	vec_free(&ls->mapped);
}

static int locks_read(struct cr_session *s)
{
	int err = locks_stage(s);

	return err < 0 ? err : locks_stage_mapped(s);
}

static int locks_take(struct cr_session *s)
{
	int err = locks_take_mapped(s);

	return err < 0 ? err : locks_opened(s);
}

static const struct cr_plugin locks_plugin = {
	.size = sizeof(struct cr_plugin),
	.abi = CR_ABI,
	.name = "locks",
	.version = "0.1",
	.summary = "Keeps file locks and leases.",
	.options = locks_options,
	.images = locks_images,
	.dump_late = locks_late,
	.stage = locks_read,
	.opened = locks_take,
	.restored = breaking_restored,
	.done = locks_done,
	.check = locks_check,
};
CR_PLUGIN_REGISTER(locks_plugin);
