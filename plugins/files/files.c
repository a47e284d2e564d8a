/* SPDX-License-Identifier: MIT */
/*
 * files.c: regular files, directories, harmless character devices, everything opened with
 * O_PATH, and the paths of FIFOs.
 *
 * All of these are opened again by name.  What has lost its name is handled in
 * ghost.c, revive.c and remap.c.  The claim is the weakest there is: a plugin that
 * knows a device, a terminal or a kind of memory file better takes it over.
 */
#include <errno.h>
#include <string.h>

#include "reg.h"

const struct cr_img_type reg_img_ghost = { sizeof(reg_img_ghost), "ghost-file", 0x52583605, CR_IMG_HEX_ID };
const struct cr_img_type reg_img_remap = { sizeof(reg_img_remap), "remap-fpath", 0x59133954, 0 };
const struct cr_img_type reg_img_more = { sizeof(reg_img_more), "x-files-ghost", 0x58464748, 0 };

struct reg_state *reg_state(struct cr_session *s)
{
	return s->core->plugin_priv(s, sizeof(struct reg_state));
}

/* Files of the kernel's own mounts: memory that looks like a deleted file. */
static int is_memory_object(const struct cr_file_info *info)
{
	static const char *const names[] = {
		"/memfd:", "/SYSV", "/dev/zero (deleted)", "/[aio]", "/anon_hugepage", "/secretmem", "/drm mm object", "/i915",
	};

	if (!S_ISREG(info->st.st_mode) || !info->nlink_gone)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strncmp(info->link, names[i], strlen(names[i])))
			return 1;
	return 0;
}

static int reg_match(const struct cr_file_info *info)
{
	if (info->link[0] != '/' && strncmp(info->link, "(unreachable)", 13))
		return CR_NOT_MINE;
	if (is_memory_object(info))
		return CR_NOT_MINE;
	if (info->flags & O_PATH)
		return CR_DEVICE; /* a name, not a device or terminal that is in use */
	switch (info->st.st_mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
	case S_IFCHR:
	case S_IFBLK:
		return CR_GENERIC;
	case S_IFIFO: /* the name behind a FIFO; its descriptors are the pipes plugin's */
		return info->source == CR_SRC_PLUGIN ? CR_GENERIC : CR_NOT_MINE;
	default:
		return CR_NOT_MINE;
	}
}

static int reg_stage(struct cr_session *s)
{
	const char *how = s->core->option(s, "file-validation");

	if (!how || !strcmp(how, "filesize") || !strcmp(how, "buildid") || !strcmp(how, "none"))
		return changed_check_option(s);
	return cr_fail(s, EINVAL, "--file-validation %s: known are filesize, buildid and none", common_quote(s, how));
}

/* From here on the restore can no longer be repeated with what the dump left behind. */
static int reg_restored(struct cr_session *s)
{
	reg_state(s)->restored = 1;
	return procfiles_restored(s) ?: pressure_restored(s);
}

static void reg_done(struct cr_session *s, int error)
{
	changed_done(s, error);
	remap_done(s, error);
}

#define DUMP (1u << CR_MODE_DUMP | 1u << CR_MODE_CHECK)
#define RESTORE (1u << CR_MODE_RESTORE)

static const struct cr_option opt_ghost_limit = {
	.size = sizeof(opt_ghost_limit), .name = "ghost-limit", .rpc_field = "ghost_limit", .kind = CR_OPT_SIZE, .modes = DUMP,
	.arg = "SIZE", .fallback = "1M", .help = "Largest amount of data of a deleted file that goes into the images.",
};
static const struct cr_option opt_fiemap = {
	.size = sizeof(opt_fiemap), .name = "ghost-fiemap", .kind = CR_OPT_FLAG, .modes = DUMP,
	.help = "Accepted for old callers: holes of deleted files are always left out.",
};
static const struct cr_option opt_link_remap = {
	.size = sizeof(opt_link_remap), .name = "link-remap", .rpc_field = "link_remap", .kind = CR_OPT_FLAG,
	.help = "Make a hard link for an open file whose name was deleted while it has others.",
};
static const struct cr_option opt_validation = {
	.size = sizeof(opt_validation), .name = "file-validation", .kind = CR_OPT_STRING, .modes = 0,
	.arg = "filesize|buildid|none", .fallback = "filesize",
	.help = "How to tell at restore that an open file is the one that was dumped.",
};
static const struct cr_option opt_changed = {
	.size = sizeof(opt_changed), .name = "file-changed", .kind = CR_OPT_LIST, .modes = RESTORE | 1u << CR_MODE_CHECK,
	.arg = "POLICY",
	.help = "What to do with a file that has another size, or is missing: 'fail', 'truncate' it to what it had, 'append' "
	"to what "
		"it has, 'ignore' the difference; for those whose names match, with PATTERN= before it. May be repeated.",
};
static const struct cr_option opt_skip_rwx = {
	.size = sizeof(opt_skip_rwx), .name = "skip-file-rwx-check", .rpc_field = "skip_file_rwx_check", .kind = CR_OPT_FLAG,
	.help = "Accept files whose permissions have changed since the dump.",
};

static const struct cr_file_kind reg_kind = {
	.size = sizeof(reg_kind),
	.name = REG_KIND,
	.fd_type = REG_TYPE,
	.field = REG_FIELD,
	.priv_size = sizeof(struct reg_priv),
	.match = reg_match,
	.check = reg_check,
	.dump = reg_dump,
	.load = reg_load,
	.open = reg_open,
	.wire = reg_wire,
	.inherit_key = reg_inherit_key,
	.open_late = reg_open_late,
	.check_image = reg_check_image,
};

static const struct cr_option *const options[] = {
	&opt_ghost_limit, &opt_fiemap, &opt_link_remap, &opt_validation, &opt_changed, &opt_skip_rwx, NULL,
};
static const struct cr_img_type *const images[] = { &reg_img_ghost, &reg_img_remap, &reg_img_more, &reg_img_pressure, NULL };
static const struct cr_file_kind *const kinds[] = { &reg_kind, NULL };

static const struct cr_plugin plugin = {
	.size = sizeof(plugin),
	.abi = CR_ABI,
	.name = "files",
	.version = "0.1",
	.summary = "Regular files, directories and paths, deleted ones too.",
	.options = options,
	.images = images,
	.files = kinds,
	.stage = reg_stage,
	.restored = reg_restored,
	.resume = changed_resume,
	.done = reg_done,
	.caps = (const char *const[]){ "CAP_DAC_OVERRIDE: files that the user of stasis may not open",
				      "CAP_CHOWN: deleted files of another user",
				      "CAP_FOWNER: modes of deleted files of another user", NULL },
};

CR_PLUGIN_REGISTER(plugin);
