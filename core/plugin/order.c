/* SPDX-License-Identifier: MIT */
/*
 * Which of the loaded plugins can work together, and in which order.
 *
 * Of two that claim the same thing (name, type of file, image, option) the one that
 * was found later is disabled.  Needs are hard: a plugin whose need nobody meets is
 * disabled, which may leave others without theirs.  Wants only order, and give way
 * where they go in a circle.  A name of a plugin counts as a service it provides.
 */
#include "plugin_impl.h"

#include <string.h>

#include "options.h"

#define FD_TYPE_EXT 16 /* shared by all kinds that the format has no type for: these differ in their fields */

/* ---- clashes ---- */

static bool clash_kinds(struct plugin *p, const struct plugin *q)
{
	for (size_t i = 0; p->def->files && p->def->files[i]; i++) {
		const struct cr_file_kind *a = p->def->files[i];

		for (size_t k = 0; q->def->files && q->def->files[k]; k++) {
			const struct cr_file_kind *b = q->def->files[k];

			if (a->fd_type != b->fd_type || a->field != b->field || (a->fd_type == FD_TYPE_EXT && !a->field))
				continue;
			plugin_disable(p, "its kind of file %s has the same type %u, field %u as %s of plugin %s",
				       a->name, a->fd_type, a->field, b->name, q->name);
			return true;
		}
	}
	return false;
}

static bool clash_images(struct plugin *p, const struct plugin *q)
{
	for (size_t i = 0; p->def->images && p->def->images[i]; i++) {
		for (size_t k = 0; q->def->images && q->def->images[k]; k++) {
			if (strcmp(p->def->images[i]->name, q->def->images[k]->name))
				continue;
			plugin_disable(p, "its image %s is also declared by plugin %s",
				       p->def->images[i]->name, q->name);
			return true;
		}
	}
	return false;
}

static bool clash_options(struct plugin *p, const struct plugin *q)
{
	for (size_t i = 0; p->def->options && p->def->options[i]; i++) {
		for (size_t k = 0; q->def->options && q->def->options[k]; k++) {
			if (strcmp(p->def->options[i]->name, q->def->options[k]->name))
				continue;
			plugin_disable(p, "its option --%s is also declared by plugin %s",
				       p->def->options[i]->name, q->name);
			return true;
		}
	}
	return false;
}

static void find_clashes(struct plugins *ps, const struct options *o, size_t at)
{
	struct plugin *p = ps->all.v[at];

	for (size_t i = 0; p->def->options && p->def->options[i]; i++) {
		const char *owner = options_owner(o, p->def->options[i]->name);

		if (owner)
			plugin_disable(p, "its option --%s is also declared by the %s",
				       p->def->options[i]->name, owner);
	}
	for (size_t i = 0; i < at && !p->disabled; i++) {
		struct plugin *q = ps->all.v[i];

		if (!plugin_usable(q))
			continue;
		if (!strcmp(p->name, q->name))
			plugin_disable(p, "there is another plugin of this name: %s",
				       q->path ? q->path : "built into the engine");
		else if (!clash_kinds(p, q) && !clash_images(p, q))
			clash_options(p, q);
	}
}

/* ---- needs ---- */

static bool provides(const struct plugin *p, const char *service)
{
	const char *const *list = p->def->provides;

	if (!strcmp(p->name, service))
		return true;
	for (size_t i = 0; list && list[i]; i++)
		if (!strcmp(list[i], service))
			return true;
	return false;
}

/* Any usable plugin with the service; loaded but disabled ones go to *ret_disabled. */
static bool is_provided(const struct plugins *ps, const char *service, struct plugin **ret_disabled)
{
	*ret_disabled = NULL;
	for (size_t i = 0; i < ps->all.n; i++) {
		struct plugin *p = ps->all.v[i];

		if (plugin_usable(p) && provides(p, service))
			return true;
		if (p->disabled && (p->def ? provides(p, service) : !strcmp(p->name, service)))
			*ret_disabled = p;
	}
	return false;
}

/* Disables one plugin with an unmet need; false when there is none. */
static bool disable_unmet(struct plugins *ps)
{
	for (size_t i = 0; i < ps->all.n; i++) {
		struct plugin *p = ps->all.v[i], *q;
		const char *const *needs = plugin_usable(p) ? p->def->needs : NULL;

		for (size_t k = 0; needs && needs[k]; k++) {
			if (is_provided(ps, needs[k], &q))
				continue;
			if (q)
				plugin_disable(p, "it needs %s of plugin %s, which is disabled: %s", needs[k],
					       q->name, q->disabled);
			else
				plugin_disable(p, "it needs %s, which no plugin provides", needs[k]);
			return true;
		}
	}
	return false;
}

/* ---- order ---- */

/* First usable plugin not placed yet that provides one of the services, itself excepted. */
static struct plugin *waits_for(const struct plugins *ps, const bool *placed, const struct plugin *p,
				const char *const *services)
{
	for (size_t k = 0; services && services[k]; k++)
		for (size_t i = 0; i < ps->all.n; i++)
			if (!placed[i] && ps->all.v[i] != p && plugin_usable(ps->all.v[i]) &&
			    provides(ps->all.v[i], services[k]))
				return ps->all.v[i];
	return NULL;
}

/* The next one to place: strictly, or with wants ignored; -1: none. */
static ssize_t pick_next(const struct plugins *ps, const bool *placed, bool heed_wants)
{
	for (size_t i = 0; i < ps->all.n; i++) {
		struct plugin *p = ps->all.v[i];

		if (placed[i] || !plugin_usable(p) || waits_for(ps, placed, p, p->def->needs))
			continue;
		if (!heed_wants || !waits_for(ps, placed, p, p->def->wants))
			return i;
	}
	return -1;
}

/* "a needs b needs a" or, for one that only waits for a circle, "c needs a needs b needs a". */
static char *need_chain(const struct plugins *ps, const bool *placed, const struct plugin *first)
{
	const struct plugin *p = first;
	struct buf chain = { 0 };

	buf_printf(&chain, "%s", p->name);
	for (size_t n = 0; n < ps->all.n; n++) {
		p = waits_for(ps, placed, p, p->def->needs);
		if (p)
			buf_printf(&chain, " needs %s", p->name);
		if (!p || p == first)
			break;
	}
	return chain.p;
}

/* All usable ones that are left are in a circle of needs, or wait for one. */
static void disable_circle(struct plugins *ps, const bool *placed)
{
	char **chains = xcalloc(ps->all.n, sizeof(*chains));

	for (size_t i = 0; i < ps->all.n; i++)
		if (!placed[i] && plugin_usable(ps->all.v[i]))
			chains[i] = need_chain(ps, placed, ps->all.v[i]);
	for (size_t i = 0; i < ps->all.n; i++) {
		if (chains[i])
			plugin_disable(ps->all.v[i], "needs go in a circle: %s", chains[i]);
		free(chains[i]);
	}
	free(chains);
}

static void sort_plugins(struct plugins *ps)
{
	bool *placed = xcalloc(ps->all.n, sizeof(*placed));
	struct plugin **order = xcalloc(ps->all.n, sizeof(*order));
	size_t n = 0;
	ssize_t next;

	for (;;) {
		next = pick_next(ps, placed, true);
		if (next < 0)
			next = pick_next(ps, placed, false);
		if (next < 0)
			break;
		placed[next] = true;
		order[n++] = ps->all.v[next];
	}
	disable_circle(ps, placed);
	for (size_t i = 0; i < ps->all.n; i++)
		if (!placed[i])
			order[n++] = ps->all.v[i];
	if (n)
		memcpy(ps->all.v, order, n * sizeof(*order));
	free(order);
	free(placed);
}

void plugins_settle(struct plugins *ps, struct options *o)
{
	for (size_t i = 0; i < ps->all.n; i++)
		if (plugin_usable(ps->all.v[i]))
			find_clashes(ps, o, i);
	while (disable_unmet(ps))
		;
	sort_plugins(ps);
	for (size_t i = 0; i < ps->all.n; i++) {
		struct plugin *p = ps->all.v[i];

		for (size_t k = 0; plugin_usable(p) && p->def->options && p->def->options[k]; k++)
			options_register(o, p->name, p->def->options[k]);
	}
}
