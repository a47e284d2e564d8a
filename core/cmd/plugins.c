/* SPDX-License-Identifier: MIT */
/* plugins: every plugin that was found, what it does, and why it is disabled. */
#include "cmd.h"
#include "files.h"
#include "options.h"
#include "plugin.h"

#include <errno.h>

typedef VEC(char *) names;

static void names_free(names *n)
{
	for (size_t i = 0; i < n->n; i++)
		free(n->v[i]);
	vec_free(n);
}

static void kinds_of(const struct plugin *p, names *ret)
{
	for (size_t i = 0; p->def && p->def->files && p->def->files[i]; i++)
		*vec_push(ret) = xstrdup(p->def->files[i]->name);
}

static void policies_of(const struct plugin *p, names *ret)
{
	for (size_t i = 0; p->def && p->def->files && p->def->files[i]; i++) {
		struct buf b = { 0 };

		if (p->def->files[i]->takes)
			continue;
		buf_printf(&b, "%s=", p->def->files[i]->name);
		policy_actions(p->def->files[i], &b);
		*vec_push(ret) = b.p;
	}
}

static void options_of(const struct plugin *p, names *ret)
{
	for (size_t i = 0; p->def && p->def->options && p->def->options[i]; i++)
		*vec_push(ret) = xstrdup(p->def->options[i]->name);
}

static void features_of(const struct plugin *p, names *ret)
{
	for (size_t i = 0; p->def && p->def->features && p->def->features[i]; i++)
		*vec_push(ret) = xstrdup(p->def->features[i]->name);
}

static void externals_of(const struct plugin *p, names *ret)
{
	for (size_t i = 0; p->def && p->def->externals && p->def->externals[i]; i++)
		*vec_push(ret) = xstrdup(p->def->externals[i]);
}

static void caps_of(const struct plugin *p, names *ret)
{
	for (size_t i = 0; p->def && p->def->caps && p->def->caps[i]; i++)
		*vec_push(ret) = xstrdup(p->def->caps[i]);
}

/* What is listed of a plugin, as text and as JSON. */
static const struct part {
	const char *title, *prefix;
	void (*get)(const struct plugin *p, names *ret);
	const char *title_each; /* text: one a line, with this before it */
} parts[] = {
	{ "files", "", kinds_of, NULL },
	{ "policies", "", policies_of, "policy" },
	{ "options", "--", options_of, NULL },
	{ "externals", "", externals_of, NULL },
	{ "features", "", features_of, NULL },
	{ "capabilities", "", caps_of, "needs" },
};

static const char *version_of(const struct plugin *p)
{
	return p->def && p->def->version ? p->def->version : "";
}

/* ---- text ---- */

static void print_part(const struct part *part, const struct plugin *p)
{
	names n = { 0 };

	part->get(p, &n);
	for (size_t i = 0; i < n.n; i++) {
		if (part->title_each)
			printf("    %-10s %s\n", part->title_each, n.v[i]);
		else if (i == 0)
			printf("    %-10s", part->title);
		if (!part->title_each)
			printf(" %s%s", part->prefix, n.v[i]);
	}
	if (n.n && !part->title_each)
		putchar('\n');
	names_free(&n);
}

static void print_text(const struct plugin *p)
{
	printf("%-12s %-8s %-8s %s\n", p->name, version_of(p), p->disabled ? "disabled" : "enabled",
	       p->path ? p->path : "(built in)");
	if (p->disabled)
		printf("    %-10s %s\n", "because", p->disabled);
	else if (p->def->summary)
		printf("    %s\n", p->def->summary);
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		print_part(&parts[i], p);
}

/* ---- JSON ---- */

static void print_json(const struct plugin *p)
{
	printf("{\"name\":");
	json_string(stdout, p->name);
	printf(",\"version\":");
	json_string(stdout, p->def ? p->def->version : NULL);
	printf(",\"state\":\"%s\",\"path\":", p->disabled ? "disabled" : "enabled");
	json_string(stdout, p->path);
	printf(",\"summary\":");
	json_string(stdout, p->def ? p->def->summary : NULL);
	printf(",\"reason\":");
	json_string(stdout, p->disabled);
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		names n = { 0 };

		parts[i].get(p, &n);
		printf(",\"%s\":[", parts[i].title);
		for (size_t k = 0; k < n.n; k++) {
			fputs(k ? "," : "", stdout);
			json_string(stdout, n.v[k]);
		}
		putchar(']');
		names_free(&n);
	}
	putchar('}');
}

int cmd_plugins(struct session *s, int argc, char **argv)
{
	struct plugins *ps = s->plugins;
	bool json = opt_flag(s->opts, "json");

	if (json)
		putchar('[');
	for (size_t i = 0; i < ps->all.n; i++) {
		if (json) {
			fputs(i ? ",\n" : "", stdout);
			print_json(ps->all.v[i]);
		} else {
			print_text(ps->all.v[i]);
		}
	}
	if (json)
		puts("]");
	else if (!ps->all.n)
		printf("There are no plugins in %s.\n", ps->dirs.n ? ps->dirs.v[0] : "the engine");
	return ps->error ? fail(s, EINVAL, "%s", ps->error) : 0;
}
