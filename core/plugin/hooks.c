/* SPDX-License-Identifier: MIT */
/*
 * Calling plugins: claims, broadcasts, feature probes.  Around each hook the
 * session knows whose it is, so that a message can say so.
 */
#include "phase.h"
#include "plugin_impl.h"

#include <errno.h>
#include <string.h>

struct plugin *plugins_nth(struct plugins *ps, size_t i)
{
	/* the usable ones come first */
	return ps && i < ps->all.n && plugin_usable(ps->all.v[i]) ? ps->all.v[i] : NULL;
}

struct plugin *plugins_find(struct plugins *ps, const char *name)
{
	struct plugin *p;

	for (size_t i = 0; (p = plugins_nth(ps, i)); i++)
		if (!strcmp(p->name, name))
			return p;
	return NULL;
}

struct plugin *plugin_enter(struct session *s, struct plugin *p)
{
	struct plugin *previous = s->plugins ? s->plugins->current : NULL;

	if (s->plugins)
		s->plugins->current = p;
	s->plugin = p ? p->name : NULL;
	return previous;
}

void plugin_leave(struct session *s, struct plugin *previous)
{
	plugin_enter(s, previous);
}

/* ---- claims ---- */

struct claim {
	int strength;
	struct plugin *plugin, *rival;
	const struct cr_file_kind *kind, *rival_kind; /* of equal strength; NULL: none */
};

static void consider(struct claim *c, int strength, struct plugin *p, const struct cr_file_kind *k)
{
	if (strength <= CR_NOT_MINE || strength < c->strength || (strength == c->strength && k == c->kind))
		return;
	if (strength == c->strength) {
		c->rival = p;
		c->rival_kind = k;
		return;
	}
	*c = (struct claim){ .strength = strength, .plugin = p, .kind = k };
}

/* The core's copy of a kind that the plugin named. */
static const struct cr_file_kind *our_kind(const struct plugin *p, const struct cr_file_kind *own)
{
	for (size_t i = 0; p->def->files && p->def->files[i]; i++)
		if (p->own_files[i] == own)
			return p->def->files[i];
	return NULL;
}

static int ask_plugin(struct session *s, struct plugin *p, const struct cr_file_info *info, struct claim *c)
{
	const struct cr_file_kind *own = NULL, *kind;
	int strength;

	for (size_t i = 0; p->def->files && p->def->files[i]; i++)
		if (p->def->files[i]->match)
			consider(c, p->def->files[i]->match(info), p, p->def->files[i]);
	if (!p->def->match)
		return 0;
	strength = HOOK(s, p, HOOK_MATCH, p->def->match(&s->pub, info, &own));
	if (strength < 0)
		return s->err.errnum ? strength : fail(s, -strength, "match of plugin %s failed", p->name);
	if (strength == CR_NOT_MINE)
		return 0;
	kind = our_kind(p, own);
	if (!kind)
		return fail(s, EINVAL, "plugin %s claims %s with a kind that it has not declared", p->name,
			    info->link ? info->link : "a file");
	consider(c, strength, p, kind);
	return 0;
}

int plugins_claim(struct session *s, const struct cr_file_info *info, struct plugin **ret_plugin,
		  const struct cr_file_kind **ret_kind)
{
	struct claim c = { 0 };
	struct plugin *p;
	int err;

	for (size_t i = 0; (p = plugins_nth(s->plugins, i)); i++) {
		err = ask_plugin(s, p, info, &c);
		if (err)
			return err;
	}
	if (!c.kind)
		return -ENOENT;
	if (c.rival_kind)
		return fail(s, EEXIST, "both plugin %s (%s) and plugin %s (%s) claim %s: use one of them, see --no-plugin",
			    c.plugin->name, c.kind->name, c.rival->name, c.rival_kind->name,
			    info->link ? info->link : "this file");
	*ret_plugin = c.plugin;
	*ret_kind = c.kind;
	return 0;
}

int plugins_kind_by_type(struct session *s, uint32_t fd_type, uint32_t field, struct plugin **ret_plugin,
			 const struct cr_file_kind **ret_kind)
{
	struct plugin *p;

	for (size_t i = 0; (p = plugins_nth(s->plugins, i)); i++) {
		for (size_t k = 0; p->def->files && p->def->files[k]; k++) {
			if (p->def->files[k]->fd_type != fd_type || p->def->files[k]->field != field)
				continue;
			*ret_plugin = p;
			*ret_kind = p->def->files[k];
			return 0;
		}
	}
	return -ENOENT;
}

/* ---- broadcasts ---- */

typedef int (*hook_fn)(struct cr_session *s);

/* Which hook lies at an offset in struct cr_plugin. */
static enum hook hook_at(size_t offset)
{
	static const struct {
		size_t offset;
		enum hook hook;
	} table[] = {
		{ offsetof(struct cr_plugin, look), HOOK_LOOK },
		{ offsetof(struct cr_plugin, prepare), HOOK_PREPARE },	   { offsetof(struct cr_plugin, check), HOOK_CHECK },
		{ offsetof(struct cr_plugin, collect), HOOK_COLLECT },	   { offsetof(struct cr_plugin, stage), HOOK_STAGE },
		{ offsetof(struct cr_plugin, dump_late), HOOK_DUMP_LATE }, { offsetof(struct cr_plugin, opened), HOOK_OPENED },
		{ offsetof(struct cr_plugin, restored), HOOK_RESTORED },   { offsetof(struct cr_plugin, resume), HOOK_RESUME },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (table[i].offset == offset)
			return table[i].hook;
	return HOOK_OTHER;
}

static int call_hook(struct session *s, struct plugin *p, const char *phase, size_t hook_offset)
{
	struct plugin *before;
	hook_fn hook;
	int err;

	memcpy(&hook, (const char *)p->def + hook_offset, sizeof(hook));
	if (!hook)
		return 0;
	err = HOOK(s, p, hook_at(hook_offset), hook(&s->pub));
	before = plugin_enter(s, p);
	if (err < 0 && !s->err.errnum && !s->blockers.n)
		fail(s, -err, "%s of the plugin failed without a reason", phase);
	plugin_leave(s, before);
	return err < 0 ? err : 0;
}

/* A refusal does not end the phase: the user wants to see all of them. */
int plugins_broadcast(struct session *s, const char *phase, size_t hook_offset)
{
	const char *old_phase = s->phase;
	struct plugin *p;
	int err = 0, refused = 0;

	s->phase = phase;
	for (size_t i = 0; !err && (p = plugins_nth(s->plugins, i)); i++) {
		if (hook_offset == offsetof(struct cr_plugin, prepare) ||
		    hook_offset == offsetof(struct cr_plugin, stage))
			p->begun = true;
		err = call_hook(s, p, phase, hook_offset);
		if (err == -EOPNOTSUPP && s->blockers.n && !s->err.errnum) {
			refused = err;
			err = 0;
		}
	}
	s->phase = old_phase;
	return err ? err : refused;
}

void plugins_done(struct session *s, int error)
{
	const char *old_phase = s->phase;

	s->phase = "done";
	for (size_t i = s->plugins ? s->plugins->all.n : 0; i-- > 0;) {
		struct plugin *p = s->plugins->all.v[i];
		struct hook_state before;

		if (!p->begun)
			continue;
		p->begun = false;
		if (!p->def->done)
			continue;
		hook_enter(s, p, HOOK_DONE, &before);
		p->def->done(&s->pub, error);
		hook_leave(s, &before);
	}
	s->phase = old_phase;
}

/* ---- features ---- */

const struct cr_feature *plugins_find_feature(struct plugins *ps, const char *name, const char **ret_owner)
{
	struct plugin *p;

	if (ret_owner)
		*ret_owner = "core";
	for (size_t i = 0; core_features[i]; i++)
		if (!strcmp(core_features[i]->name, name))
			return core_features[i];
	for (size_t i = 0; (p = plugins_nth(ps, i)); i++) {
		for (size_t k = 0; p->def->features && p->def->features[k]; k++) {
			if (strcmp(p->def->features[k]->name, name))
				continue;
			if (ret_owner)
				*ret_owner = p->name;
			return p->def->features[k];
		}
	}
	return NULL;
}

/* A probe that fails takes away its feature, never the whole operation: what it recorded is dropped. */
static uint64_t run_probe(struct session *s, const struct cr_feature *f, const char *owner)
{
	struct error_record err = s->err;
	uint64_t value = 0;
	int r = HOOK(s, plugins_find(s->plugins, owner), HOOK_PROBE, f->probe(&s->pub, &value));

	if (r < 0) {
		log_info("feature %s of %s could not be probed: %s", f->name, owner, strerror(-r));
		value = 0;
	}
	if (!err.errnum && s->err.errnum) {
		free(s->err.plugin);
		free(s->err.text);
		s->err = err;
	}
	return value;
}

uint64_t plugins_feature(struct session *s, const char *name)
{
	const char *owner;
	const struct cr_feature *f;
	struct feature_value fv;

	for (size_t i = 0; s->plugins && i < s->plugins->probed.n; i++)
		if (!strcmp(s->plugins->probed.v[i].name, name))
			return s->plugins->probed.v[i].value;
	f = plugins_find_feature(s->plugins, name, &owner);
	if (!f)
		return 0;
	fv.name = f->name;
	fv.value = run_probe(s, f, owner);
	if (s->plugins)
		*vec_push(&s->plugins->probed) = fv;
	return fv.value;
}
