/* SPDX-License-Identifier: MIT */
/*
 * check: can this kernel do the work (features), can this tree be dumped (--pid), can these images be restored
 * (--images, in check_images.c).
 * All of it only looks; nothing is stopped or changed.
 */
#include "cmd.h"
#include "dump/dump.h"
#include "options.h"
#include "plugin.h"

#include <errno.h>
#include <string.h>

/* ---- features ---- */

typedef void (*feature_fn)(struct session *s, const struct cr_feature *f, const char *owner, void *arg);

/* Every feature, of the core and of the plugins, each name once. */
static void each_feature(struct session *s, feature_fn fn, void *arg)
{
	struct plugin *p;
	const char *owner;

	for (size_t i = 0; core_features[i]; i++)
		fn(s, core_features[i], "core", arg);
	for (size_t i = 0; (p = plugins_nth(s->plugins, i)); i++)
		for (size_t k = 0; p->def->features && p->def->features[k]; k++)
			if (plugins_find_feature(s->plugins, p->def->features[k]->name, &owner) == p->def->features[k])
				fn(s, p->def->features[k], p->name, arg);
}

static void print_name(struct session *s, const struct cr_feature *f, const char *owner, void *arg)
{
	fprintf(arg, "%s ", f->name);
}

static int check_named(struct session *s)
{
	const char *name;
	int err = 0;

	for (size_t i = 0; (name = opt_item(s->opts, "feature", i)); i++) {
		const struct cr_feature *f = plugins_find_feature(s->plugins, name, NULL);

		if (!strcmp(name, "list")) {
			each_feature(s, print_name, stdout);
			putchar('\n');
		} else if (!f) {
			fprintf(stderr, "Unknown feature %s. Known features are: ", name);
			each_feature(s, print_name, stderr);
			fputc('\n', stderr);
			err = -EINVAL;
		} else if (!plugins_feature(s, name)) {
			fprintf(stderr, "Feature %s is missing: %s.\n", name, f->cost ? f->cost : "no more is known");
			err = -EOPNOTSUPP;
		}
	}
	return err;
}

struct tally {
	bool extra, json;
	unsigned required, optional, n; /* missing, missing, listed */
};

static void check_one(struct session *s, const struct cr_feature *f, const char *owner, void *arg)
{
	struct tally *t = arg;
	uint64_t value;

	if (f->extra && !t->extra)
		return;
	value = plugins_feature(s, f->name);
	if (t->json) {
		fputs(t->n++ ? ",\n" : "", stdout);
		printf("{\"name\":");
		json_string(stdout, f->name);
		printf(",\"owner\":");
		json_string(stdout, owner);
		printf(",\"required\":%s,\"value\":%llu,\"cost\":", f->extra ? "false" : "true", (unsigned long long)value);
		json_string(stdout, f->cost);
		putchar('}');
	}
	if (value)
		return;
	if (f->extra)
		t->optional++;
	else
		t->required++;
	if (!t->json)
		printf("%s %s (%s): %s\n", f->extra ? "Warn  missing" : "Error missing", f->name, owner, f->cost ? f->cost : "");
}

static int check_kernel(struct session *s)
{
	struct tally t = { .extra = opt_flag(s->opts, "extra") || opt_flag(s->opts, "all"),
			   .json = opt_flag(s->opts, "json") };

	if (t.json)
		printf("{\"features\":[");
	each_feature(s, check_one, &t);
	if (t.json)
		printf("],\"good\":%s}\n", t.required || t.optional ? "false" : "true");
	else if (t.required)
		puts("Does not look good.");
	else if (t.optional)
		puts("Looks good but some kernel features are missing, which some programs need.");
	else
		puts("Looks good.");
	return t.required || t.optional ? -EOPNOTSUPP : 0;
}

static void require_one(struct session *s, const struct cr_feature *f, const char *owner, void *arg)
{
	if (!f->extra && !plugins_feature(s, f->name))
		*(int *)arg = fail(s, EOPNOTSUPP, "the kernel lacks %s (%s): %s", f->name, owner, f->cost ? f->cost : "");
}

int check_required(struct session *s)
{
	int err = 0;

	each_feature(s, require_one, &err);
	return err;
}

/* ---- a tree ---- */

static void print_blocker(const struct blocker *b, bool json)
{
	if (!json) {
		printf("%s%s%s (%s)", b->object, b->object[0] ? ": " : "", b->text, b->plugin);
		if (b->remedy)
			printf(", try %s", b->remedy);
		putchar('\n');
		return;
	}
	printf("{\"plugin\":");
	json_string(stdout, b->plugin);
	printf(",\"object\":");
	json_string(stdout, b->object);
	printf(",\"text\":");
	json_string(stdout, b->text);
	printf(",\"remedy\":");
	json_string(stdout, b->remedy);
	putchar('}');
}

void print_blockers(struct session *s, bool json)
{
	for (size_t i = 0; i < s->blockers.n; i++) {
		if (json && i)
			puts(",");
		print_blocker(&s->blockers.v[i], json);
	}
}

static int check_pid(struct session *s, pid_t pid)
{
	bool json = opt_flag(s->opts, "json");
	int err = check_tree(s, pid);

	if (s->err.errnum) /* the question could not be answered */
		return err ? err : -s->err.errnum;
	if (json)
		printf("{\"pid\":%d,\"dumpable\":%s,\"blockers\":[", (int)pid, s->blockers.n ? "false" : "true");
	print_blockers(s, json);
	if (json)
		puts("]}");
	else if (s->blockers.n)
		printf("pid %d: cannot be dumped\n", (int)pid);
	else
		printf("pid %d: can be dumped\n", (int)pid);
	s->reported = true;
	return s->blockers.n ? -EOPNOTSUPP : err;
}

int cmd_check(struct session *s, int argc, char **argv)
{
	const char *which = opt_given(s->opts, "pid") ? "pid" : "tree";

	if (opt_given(s->opts, "images"))
		return check_images(s, opt_str(s->opts, "images"));
	if (opt_given(s->opts, which)) {
		long pid = opt_int(s->opts, which);

		if (pid <= 0)
			return fail(s, EINVAL, "--%s %ld: not a pid", which, pid);
		return check_pid(s, pid);
	}
	if (opt_given(s->opts, "feature"))
		return check_named(s);
	return check_kernel(s);
}
