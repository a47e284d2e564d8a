/* SPDX-License-Identifier: MIT */
/* vmakinds.c: whose a mapping is, at dump by claims, at restore by what the image says. */
#include "plugin.h"

#include <errno.h>
#include <string.h>

struct vma_claim {
	int strength;
	struct plugin *plugin, *rival;
	const struct cr_vma_kind *kind, *rival_kind; /* of equal strength; NULL: none */
};

static void consider(struct vma_claim *c, int strength, struct plugin *p, const struct cr_vma_kind *k)
{
	if (strength <= CR_NOT_MINE || strength < c->strength)
		return;
	if (strength == c->strength) {
		c->rival = p;
		c->rival_kind = k;
		return;
	}
	*c = (struct vma_claim){ .strength = strength, .plugin = p, .kind = k };
}

int plugins_claim_vma(struct session *s, const struct cr_vma_info *info, struct plugin **ret_plugin,
		      const struct cr_vma_kind **ret_kind)
{
	struct vma_claim c = { 0 };
	struct plugin *p;

	for (size_t i = 0; (p = plugins_nth(s->plugins, i)); i++)
		for (size_t k = 0; p->def->vmas && p->def->vmas[k]; k++)
			if (p->def->vmas[k]->match)
				consider(&c, p->def->vmas[k]->match(info), p, p->def->vmas[k]);
	if (!c.kind)
		return -ENOENT;
	if (c.rival_kind)
		return fail(s, EEXIST, "both plugin %s (%s) and plugin %s (%s) claim it: use one of them, see --no-plugin",
			    c.plugin->name, c.kind->name, c.rival->name, c.rival_kind->name);
	*ret_plugin = c.plugin;
	*ret_kind = c.kind;
	return 0;
}

static bool is_kind(const struct plugin *p, const struct cr_vma_kind *k, uint32_t status, const char *plugin,
		    const char *kind)
{
	if (status)
		return k->status == status;
	return !strcmp(k->name, kind) && !strcmp(p->name, plugin);
}

int plugins_vma_kind(struct session *s, uint32_t status, const char *plugin, const char *kind,
		     struct plugin **ret_plugin, const struct cr_vma_kind **ret_kind)
{
	struct plugin *p;

	for (size_t i = 0; (p = plugins_nth(s->plugins, i)); i++)
		for (size_t k = 0; p->def->vmas && p->def->vmas[k]; k++) {
			if (!is_kind(p, p->def->vmas[k], status, plugin, kind))
				continue;
			*ret_plugin = p;
			*ret_kind = p->def->vmas[k];
			return 0;
		}
	return -ENOENT;
}
