/* SPDX-License-Identifier: MIT */
/* cmd.h: the commands, one file each; the table is in core/main.c. */
#ifndef CORE_CMD_H
#define CORE_CMD_H

#include "session.h"

enum {
	CMD_ENGINE = 1, /* images directory and log are opened before it runs */
	CMD_ARGS = 2,	/* takes plain arguments */
	CMD_HIDDEN = 4, /* not in --help */
	CMD_SERVES = 16, /* what is done comes in requests */
	CMD_LISTS_PLUGINS = 8, /* runs also when plugins named with --plugins cannot be used, and tells why */
};

struct command {
	const char *name;
	const char *summary; /* one line */
	uint32_t mode;	     /* enum cr_mode: which options apply; 0: only general ones */
	uint32_t flags;	     /* CMD_* */
	/*
	 * argv: the argc plain arguments behind the command, NULL-terminated. Returns the exit status, or -errno,
	 * recorded in the session or printed: then it is 1.
	 */
	int (*run)(struct session *s, int argc, char **argv);
};

/*
 * Runs c with what is around every command: images directory, log, the report on standard error.  Returns as c->run().
 */
int command_run(struct session *s, const struct command *c, int argc, char **argv);

int cmd_dump(struct session *s, int argc, char **argv);
int cmd_restore(struct session *s, int argc, char **argv);
int cmd_check(struct session *s, int argc, char **argv);
/* check.c: s->blockers to standard output, the parts of a JSON list with json. */
void print_blockers(struct session *s, bool json);
/* check_images.c: check --images DIR. 0: it can be restored, -EOPNOTSUPP: printed why not, other -errno recorded. */
int check_images(struct session *s, const char *dir);
int cmd_plugins(struct session *s, int argc, char **argv);
int cmd_show(struct session *s, int argc, char **argv);
int cmd_recover(struct session *s, int argc, char **argv);
int cmd_cpuinfo(struct session *s, int argc, char **argv);
int cmd_keygen(struct session *s, int argc, char **argv);
int cmd_swrk(struct session *s, int argc, char **argv);
int cmd_service(struct session *s, int argc, char **argv);
/* check.c: 0, or -EOPNOTSUPP recorded: the kernel lacks something that is always needed. Prints nothing. */
int check_required(struct session *s);

/* --display-stats: what s->stats has, to standard output. */
void display_stats(const struct session *s);

/* Prints text as a JSON string with its quotes; NULL as null. */
void json_string(FILE *out, const char *text);

#endif
