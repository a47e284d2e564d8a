/* SPDX-License-Identifier: MIT */
/*
 * Configuration files: one long option a line without its dashes, then, after
 * blanks or "=", its value, in double quotes when it has blanks; \" is a quote
 * inside quotes.  "#" starts a comment.
 */
#include "options_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "log.h"

#define SYSTEM_CONFIG "/etc/criu/default.conf"
#define USER_CONFIG ".criu/default.conf"

static bool blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* The value at in, where nothing but a comment may follow it; cut out in place. NULL, or what is wrong. */
static const char *cut_value(char *in, char **ret_value)
{
	char *out;

	*ret_value = out = in;
	if (*in == '"') {
		for (in++; *in && *in != '"'; in++) {
			if (in[0] == '\\' && in[1] == '"')
				in++;
			*out++ = *in;
		}
		if (!*in)
			return "the closing quote is missing";
		in++;
	} else {
		while (*in && !blank(*in) && *in != '#')
			in++;
		out = in;
	}
	while (blank(*in))
		in++;
	if (*in && *in != '#')
		return "more than one value; put a value with blanks in double quotes";
	*out = 0;
	return NULL;
}

/* One line, changed in place. */
static int config_line(struct options *o, const char *where, char *line)
{
	char *p = line, *name, *name_end, *value = NULL;
	const char *err;

	while (blank(*p))
		p++;
	if (!*p || *p == '#')
		return 0;
	name = p;
	while (*p && !blank(*p) && *p != '=' && *p != '#')
		p++;
	name_end = p;
	while (blank(*p) || *p == '=')
		p++;
	if (*p && *p != '#') {
		err = cut_value(p, &value);
		if (err) {
			log_error("%s: %s", where, err);
			return -EINVAL;
		}
	}
	*name_end = 0;
	return option_store(o, where, name, value);
}

int options_read_file(struct options *o, const char *path)
{
	_cleanup_buf_ struct buf text = { 0 };
	int err = read_file(AT_FDCWD, path, &text), nr = 0;
	char *next;

	if (err) {
		log_error("cannot read configuration file %s: %s", path, strerror(-err));
		return err;
	}
	for (char *line = text.p; line && !err; line = next) {
		_cleanup_free_ char *where = xasprintf("%s:%d", path, ++nr);

		next = strchr(line, '\n');
		if (next)
			*next++ = 0;
		err = config_line(o, where, line);
	}
	return err;
}

/* A file that need not exist, nor be ours to read (HOME may be another user's after su). */
static int read_default(struct options *o, const char *path)
{
	if (access(path, R_OK) < 0) {
		if (errno != ENOENT && errno != ENOTDIR)
			log_info("configuration file %s is left out: %s", path, strerror(errno));
		return 0;
	}
	return options_read_file(o, path);
}

int config_read_all(struct options *o, const char *config, bool no_defaults)
{
	const char *home = secure_getenv("HOME"), *env = secure_getenv("CRIU_CONFIG_FILE");
	int err = 0;

	if (!no_defaults)
		err = read_default(o, SYSTEM_CONFIG);
	if (!err && !no_defaults && home && *home) {
		_cleanup_free_ char *path = xasprintf("%s/%s", home, USER_CONFIG);

		err = read_default(o, path);
	}
	if (!err && env && *env)
		err = options_read_file(o, env);
	if (!err && config)
		err = options_read_file(o, config);
	return err;
}
