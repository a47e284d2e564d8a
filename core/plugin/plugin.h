/* SPDX-License-Identifier: MIT */
/*
 * plugin.h: loading, ordering, claims, broadcasts, feature probes.
 *
 * States of a plugin: found -> loaded -> enabled | disabled (with the reason:
 * not selected, other ABI, needs something absent, file writable by others, …).
 */
#ifndef CORE_PLUGIN_H
#define CORE_PLUGIN_H

#include "session.h"

struct plugin {
	const struct cr_plugin *def; /* copied to our size, zero-filled; NULL if loading failed */
	char *name;
	char *path;	 /* NULL: built in */
	char *disabled;	 /* reason, NULL: enabled */
	void *handle;
	void *priv;	 /* plugin_priv() */
	size_t priv_bytes;
	bool begun;	 /* prepare() or stage() was called: done() is due */
	bool wrote;	 /* dump: it has images of its own */
	/* def->files as the plugin knows them, in the same order: what its match() answers with */
	const struct cr_file_kind *const *own_files;
	VEC(void *) copies; /* memory of def and its lists */
};

struct feature_value {
	const char *name;
	uint64_t value;
};

struct plugins {
	VEC(struct plugin *) all;     /* in dependency order once loaded, then the disabled ones */
	VEC(char *) dirs;
	VEC(struct feature_value) probed;
	struct plugin *current; /* plugin_enter() */
	char *error;		/* why plugins_load() failed, or NULL */
};

/* The kernel features that the core itself uses or knows of; NULL-terminated. */
extern const struct cr_feature *const core_features[];

/*
 * Finds, checks and loads per the early options; registers options. Default directory: $libdir/stasis
 * (PLUGIN_DIR), or <dir of the executable>/plugins when run from the build tree. A broken plugin is
 * disabled with its reason, it does not stop the others; one named with --plugins does. 0, or -errno with
 * the text in (*ret)->error, not logged; *ret is set in both cases.
 */
int plugins_load(struct options *o, struct plugins **ret);
void plugins_free(struct plugins *p);
struct plugin *plugins_find(struct plugins *p, const char *name); /* enabled ones only, or NULL */

/* Iterate the enabled ones: for (i = 0; (pl = plugins_nth(p, i)); i++) */
struct plugin *plugins_nth(struct plugins *p, size_t i);

/*
 * The kind that owns what info describes.  0 with *ret_kind and *ret_plugin; -ENOENT nobody (not recorded);
 * -EEXIST a tie, recorded with both names.
 */
int plugins_claim(struct session *s, const struct cr_file_info *info, struct plugin **ret_plugin,
		  const struct cr_file_kind **ret_kind);
/* The kind with that file_entry type (fd_type, and for shared types the field); -ENOENT. */
int plugins_kind_by_type(struct session *s, uint32_t fd_type, uint32_t field,
			 struct plugin **ret_plugin, const struct cr_file_kind **ret_kind);

/*
 * The kind that owns the mapping.  0 with *ret_kind and *ret_plugin; -ENOENT nobody (not recorded); -EEXIST a tie,
 * recorded with both names. (vmakinds.c)
 */
int plugins_claim_vma(struct session *s, const struct cr_vma_info *info, struct plugin **ret_plugin,
		      const struct cr_vma_kind **ret_kind);
/* The kind with that bit of vma_entry.status, or (status 0) that name of that plugin; -ENOENT. */
int plugins_vma_kind(struct session *s, uint32_t status, const char *plugin, const char *kind,
		     struct plugin **ret_plugin, const struct cr_vma_kind **ret_kind);

/* Runs a broadcast hook on every enabled plugin: offset of the hook in struct cr_plugin. */
int plugins_broadcast(struct session *s, const char *phase, size_t hook_offset);
#define BROADCAST(s, hook) plugins_broadcast((s), #hook, offsetof(struct cr_plugin, hook))
/* done() in reverse order for those begun. */
void plugins_done(struct session *s, int error);

/* Enter and leave a plugin's hook: sets session->plugin; returns the previous one. */
struct plugin *plugin_enter(struct session *s, struct plugin *p);
void plugin_leave(struct session *s, struct plugin *previous);

/* Names of plugins that contributed to the dump are kept in image x-stasis-plugins. */
uint64_t plugins_feature(struct session *s, const char *name);
/* The declaration of a feature, of the core or an enabled plugin; *ret_owner may be NULL. NULL: unknown. */
const struct cr_feature *plugins_find_feature(struct plugins *p, const char *name, const char **ret_owner);

#endif
