/* SPDX-License-Identifier: MIT */
/*
 * The registry of options and the parser of the command line.
 *
 * Every source (configuration files, command line, RPC) ends in option_store():
 * name and text.  The text is checked there, once, and kept as text; the typed
 * getters convert it again, which cannot fail any more.
 */
#include "options_impl.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "log.h"

struct options *options_new(void)
{
	struct options *o = xcalloc(1, sizeof(*o));

	for (size_t i = 0; core_options[i]; i++)
		options_register(o, "core", core_options[i]);
	return o;
}

static void clear_values(struct option_entry *e)
{
	for (size_t i = 0; i < e->values.n; i++)
		free(e->values.v[i]);
	e->values.n = 0;
	e->given = false;
}

void options_free(struct options *o)
{
	if (!o)
		return;
	for (size_t i = 0; i < o->all.n; i++) {
		clear_values(&o->all.v[i]);
		vec_free(&o->all.v[i].values);
		free(o->all.v[i].owner);
	}
	vec_free(&o->all);
	free(o->config);
	free(o);
}

struct option_entry *option_find(const struct options *o, const char *name)
{
	for (size_t i = 0; i < o->all.n; i++)
		if (!strcmp(o->all.v[i].def->name, name))
			return &o->all.v[i];
	return NULL;
}

const char *options_owner(const struct options *o, const char *name)
{
	const struct option_entry *e = option_find(o, option_alias(name));

	return e ? e->owner : NULL;
}

int options_register(struct options *o, const char *owner, const struct cr_option *opt)
{
	struct option_entry e = { .def = opt };
	const char *other = options_owner(o, opt->name);

	if (other) {
		log_error("option --%s of %s is already declared by %s", opt->name, owner, other);
		return -EEXIST;
	}
	e.owner = xstrdup(owner);
	*vec_push(&o->all) = e;
	return 0;
}

bool option_takes_value(const struct cr_option *def)
{
	return def->kind != CR_OPT_FLAG;
}

bool option_value_optional(const struct cr_option *def)
{
	return def->kind == CR_OPT_FLAG || (def->arg && def->arg[0] == '[');
}

/* ---- values ---- */

static int parse_int(const char *text, long *ret)
{
	char *end;
	long v;

	errno = 0;
	v = strtol(text, &end, 10);
	if (errno || end == text || *end || v < INT_MIN || v > INT_MAX)
		return -EINVAL;
	*ret = v;
	return 0;
}

static int parse_size(const char *text, uint64_t *ret)
{
	unsigned long long v;
	unsigned shift = 0;
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return -EINVAL;
	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno)
		return -EINVAL;
	switch (*end) {
	case 'g': case 'G':
		shift += 10;
		/* fallthrough */
	case 'm': case 'M':
		shift += 10;
		/* fallthrough */
	case 'k': case 'K':
		shift += 10;
		end++;
	}
	if (*end || v > UINT64_MAX >> shift)
		return -EINVAL;
	*ret = v << shift;
	return 0;
}

static int parse_flag(const char *text, bool *ret)
{
	static const char *const yes[] = { "1", "yes", "true", "on" }, *const no[] = { "0", "no", "false", "off" };

	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		if (!strcasecmp(text, yes[i]) || !strcasecmp(text, no[i])) {
			*ret = !strcasecmp(text, yes[i]);
			return 0;
		}
	}
	return -EINVAL;
}

static const char *check_value(const struct cr_option *def, const char *value)
{
	uint64_t size;
	bool flag;
	long num;

	switch (def->kind) {
	case CR_OPT_FLAG:
		return parse_flag(value, &flag) ? "takes yes or no" : NULL;
	case CR_OPT_INT:
		return parse_int(value, &num) ? "wants a number" : NULL;
	case CR_OPT_SIZE:
		return parse_size(value, &size) ? "wants a size in bytes, with K, M or G" : NULL;
	}
	return NULL;
}

static void put_value(struct option_entry *e, const char *value)
{
	if (e->def->kind != CR_OPT_LIST)
		clear_values(e);
	*vec_push(&e->values) = xstrdup(value);
	e->given = true;
}

/* -v counts up from what holds: "" is one more, "vv" (of -vvv) three more. */
static int put_verbosity(struct options *o, struct option_entry *e, const char *value)
{
	char text[24];
	size_t vs = strspn(value, "v");

	if (value[vs])
		return -EINVAL;
	snprintf(text, sizeof(text), "%ld", opt_int(o, "verbosity") + 1 + (long)vs);
	put_value(e, text);
	return 0;
}

static int complain(int err, const char *where, const char *name, const char *what)
{
	if (where)
		log_error("%s: option %s %s", where, name, what);
	else
		log_error("option --%s %s", name, what);
	return err;
}

static int unknown(const char *where, const char *dashes, const char *name)
{
	const char *later = option_later(name);

	if (later)
		log_error("%s%soption %s%s is not supported yet: it is about %s", where ? where : "", where ? ": " : "",
			  where ? "" : dashes, name, later);
	else if (where)
		log_error("%s: unknown option %s; see %s --help", where, name, program_invocation_short_name);
	else
		log_error("unknown option %s%s; see %s --help", dashes, name, program_invocation_short_name);
	return -EINVAL;
}

/* The option behind name; *ret_no is set for the "no-" form of a flag. */
static struct option_entry *resolve(const struct options *o, const char *name, bool *ret_no)
{
	struct option_entry *e = option_find(o, option_alias(name));

	*ret_no = false;
	if (e || strncmp(name, "no-", 3))
		return e;
	e = option_find(o, option_alias(name + 3));
	*ret_no = true;
	return e && e->def->kind == CR_OPT_FLAG ? e : NULL;
}

static bool selects(const char *name)
{
	for (size_t i = 0; early_options[i]; i++)
		if (!strcmp(early_options[i], name))
			return true;
	return false;
}

int option_store(struct options *o, const char *where, const char *name, const char *value)
{
	struct option_entry *e;
	const char *wrong;
	bool no;

	e = resolve(o, name, &no);
	if (!e)
		return o->skip_unknown ? 0 : unknown(where, "--", name);
	if (o->skip_unknown && !selects(e->def->name))
		return 0;
	if (no && value)
		return complain(-EINVAL, where, name, "takes no value");
	if (!value && !option_value_optional(e->def))
		return complain(-EINVAL, where, name, "wants a value");
	if (!value)
		value = e->def->kind != CR_OPT_FLAG ? "" : no ? "0" : "1";
	if (!strcmp(e->def->name, "verbosity") && !put_verbosity(o, e, value))
		return 0;
	wrong = check_value(e->def, value);
	if (wrong)
		return complain(-EINVAL, where, name, wrong);
	put_value(e, value);
	return 0;
}

int options_set(struct options *o, const char *name, const char *value)
{
	return option_store(o, NULL, name, value);
}

/* ---- command line ---- */

struct cmdline {
	struct options *o;
	int argc, at;
	char **argv;
	VEC(char *) plain;
};

/* The next argument as the value of an option, or NULL. */
static const char *next_value(struct cmdline *c)
{
	return c->at < c->argc ? c->argv[c->at++] : NULL;
}

static int parse_long(struct cmdline *c, const char *text)
{
	const char *eq = strchr(text, '='), *value = eq ? eq + 1 : NULL;
	_cleanup_free_ char *name = eq ? strndup(text, eq - text) : xstrdup(text);
	struct option_entry *e;
	bool no;

	if (!name)
		return -ENOMEM;
	e = resolve(c->o, name, &no);
	if (e && !value && !option_value_optional(e->def))
		value = next_value(c);
	/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it does not know cleanup attributes */
	return option_store(c->o, NULL, name, value);
}

/* "-jt812", "-v4", "-vvvv", "-verbosity=4": letters up to the one that takes the rest as its value. */
static int parse_short(struct cmdline *c, const char *text)
{
	if (!strncmp(text, "verbosity=", 10))
		return parse_long(c, text);
	for (; *text; text++) {
		const struct short_option *so = short_options;
		struct option_entry *e;
		const char *value;

		while (so->letter && so->letter != *text)
			so++;
		e = so->letter ? option_find(c->o, so->name) : NULL;
		if (!e) {
			char name[2] = { *text, 0 };

			if (c->o->skip_unknown)
				continue;
			return so->letter ? unknown(NULL, "--", so->name) : unknown(NULL, "-", name);
		}
		if (e->def->kind == CR_OPT_FLAG) {
			option_store(c->o, NULL, so->name, NULL);
			continue;
		}
		value = text[1] ? text + 1 : option_value_optional(e->def) ? NULL : next_value(c);
		return option_store(c->o, NULL, so->name, value);
	}
	return 0;
}

static int parse_all(struct cmdline *c)
{
	for (c->at = 1; c->at < c->argc;) {
		char *arg = c->argv[c->at++];
		int err = 0;

		if (!strcmp(arg, "--")) {
			while (c->at < c->argc)
				*vec_push(&c->plain) = c->argv[c->at++];
		} else if (!strncmp(arg, "--", 2)) {
			err = parse_long(c, arg + 2);
		} else if (arg[0] == '-' && arg[1]) {
			err = parse_short(c, arg + 1);
		} else {
			*vec_push(&c->plain) = arg;
		}
		if (err)
			return err;
	}
	return 0;
}

static void forget_early(struct options *o)
{
	for (size_t i = 0; o->early && i < o->all.n; i++)
		clear_values(&o->all.v[i]);
	o->early = false;
}

int options_parse(struct options *o, int argc, char **argv, int *ret_argc, char ***ret_argv)
{
	struct cmdline c = { .o = o, .argc = argc, .argv = argv };
	int err;

	forget_early(o);
	err = parse_all(&c);
	if (err) {
		vec_free(&c.plain);
		return err;
	}
	*vec_push(&c.plain) = NULL;
	*ret_argc = c.plain.n - 1;
	*ret_argv = c.plain.v;
	return 0;
}

int options_parse_early(struct options *o, int argc, char **argv)
{
	struct cmdline c = { .o = o, .argc = argc, .argv = argv };
	int err;

	o->skip_unknown = true;
	err = parse_all(&c); /* once for the names of the configuration files */
	if (!err) {
		free(o->config);
		o->config = opt_str(o, "config") ? xstrdup(opt_str(o, "config")) : NULL;
		o->no_default_files = opt_flag(o, "no-default-config");
		o->early = true;
		forget_early(o);
		err = config_read_all(o, o->config, o->no_default_files);
	}
	if (!err) {
		c.plain.n = 0;
		err = parse_all(&c);
	}
	o->skip_unknown = false;
	o->early = true;
	vec_free(&c.plain);
	return err;
}

int options_read_file_early(struct options *o, const char *path)
{
	int err;

	o->skip_unknown = true;
	err = options_read_file(o, path);
	o->skip_unknown = false;
	return err;
}

const char *options_by_rpc_field(const struct options *o, const char *field)
{
	for (size_t i = 0; i < o->all.n; i++)
		if (o->all.v[i].def->rpc_field && !strcmp(o->all.v[i].def->rpc_field, field))
			return o->all.v[i].def->name;
	return NULL;
}

int options_read_configs(struct options *o)
{
	forget_early(o);
	return config_read_all(o, o->config, o->no_default_files);
}

/* ---- getters ---- */

const char *opt_str(const struct options *o, const char *name)
{
	const struct option_entry *e = o ? option_find(o, option_alias(name)) : NULL;

	if (!e)
		return NULL;
	return e->values.n ? e->values.v[e->values.n - 1] : e->def->fallback;
}

bool opt_flag(const struct options *o, const char *name)
{
	const char *text = opt_str(o, name);
	bool on = false;

	if (text)
		parse_flag(text, &on);
	return on;
}

uint64_t opt_size(const struct options *o, const char *name)
{
	const char *text = opt_str(o, name);
	uint64_t v = 0;

	if (text)
		parse_size(text, &v);
	return v;
}

long opt_int(const struct options *o, const char *name)
{
	const char *text = opt_str(o, name);
	long v = 0;

	if (text)
		parse_int(text, &v);
	return v;
}

const char *opt_item(const struct options *o, const char *name, size_t i)
{
	const struct option_entry *e = o ? option_find(o, option_alias(name)) : NULL;

	if (!e)
		return NULL;
	if (!e->values.n && e->def->kind == CR_OPT_LIST)
		return i == 0 ? e->def->fallback : NULL;
	return i < e->values.n ? e->values.v[i] : NULL;
}

bool opt_given(const struct options *o, const char *name)
{
	const struct option_entry *e = o ? option_find(o, option_alias(name)) : NULL;

	return e && e->given;
}
