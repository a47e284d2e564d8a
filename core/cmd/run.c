/* SPDX-License-Identifier: MIT */
/* run.c: what is around every command: images directory, log, the report of what went wrong. */
#include <errno.h>
#include <fcntl.h>

#include "cmd.h"
#include "files.h"
#include "image.h"
#include "options.h"
#include "plugin.h"

/* The log belongs to the work directory, which may be missing when the images directory is. */
static int open_log(struct session *s)
{
	const char *path = opt_str(s->opts, "log-file");
	int err = log_open(s->imgs ? images_workdirfd(s) : AT_FDCWD, path);

	if (err)
		fail(s, -err, "cannot write the log %s", path);
	return err;
}

/* Whatever happens from here on is in the log. */
static int open_images_and_log(struct session *s, const struct command *c)
{
	const char *path = opt_str(s->opts, "log-file");
	int err = 0;

	if (c->flags & CMD_ENGINE)
		err = images_open(s);
	if (!err)
		return open_log(s);
	if (path && path[0] == '/')
		log_open(AT_FDCWD, path);
	return err;
}

int command_run(struct session *s, const struct command *c, int argc, char **argv)
{
	int err = open_images_and_log(s, c);

	if (!err && s->plugins->error && !(c->flags & CMD_LISTS_PLUGINS))
		err = fail(s, EINVAL, "%s", s->plugins->error);
	if (!err && argc && !(c->flags & CMD_ARGS))
		err = fail(s, EINVAL, "%s takes no argument %s: see %s %s --help", c->name, argv[0],
			   program_invocation_short_name, c->name);
	if (!err && c->mode)
		err = policies_read(s);
	if (!err)
		err = c->run(s, argc, argv);
	if (err < 0)
		session_report(s);
	return err;
}
