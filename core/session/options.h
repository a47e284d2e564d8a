/* SPDX-License-Identifier: MIT */
/*
 * options.h: the registry of options.  An option is declared once (struct
 * cr_option, in a command, the core or a plugin) and feeds the command line, the
 * configuration files, RPC, --help and the man page.
 *
 * Order of parsing: core options are registered, the command line is scanned for
 * the plugin selection (--plugin-dir, --plugins, --no-plugin, --config,
 * --no-default-config), plugins are loaded and register theirs, then
 * configuration files and the command line are parsed, later ones winning.
 *
 * An option whose arg is written in brackets ("[CAPS]") has an optional value:
 * --name or --name=VALUE, never --name VALUE; without one the value is "".
 * Errors go to the log; before it is open they are kept there and reach stderr.
 */
#ifndef CORE_OPTIONS_H
#define CORE_OPTIONS_H

#include <stdbool.h>

#include "cr-plugin.h"
#include "util.h"

struct options;

struct options *options_new(void); /* with the core's own options registered */
void options_free(struct options *o);
/* owner: plugin name or "core". -EEXIST (logged) when the name is taken. */
int options_register(struct options *o, const char *owner, const struct cr_option *opt);
/* Sets as if given; value NULL for a flag. name may carry the "no-" form. 0 or -errno, logged. */
int options_set(struct options *o, const char *name, const char *value);
/*
 * /etc/criu/default.conf, $HOME/.criu/default.conf (neither must exist), $CRIU_CONFIG_FILE, --config. Forgets
 * first what options_parse_early() has set. A privileged program (setuid, file capabilities) ignores the environment.
 */
int options_read_configs(struct options *o);
/* One configuration file. 0 or -errno, logged with file and line. */
int options_read_file(struct options *o, const char *path);
/* The same for the options that select plugins alone, after options_parse_early(). */
int options_read_file_early(struct options *o, const char *path);
/* The name of the option that declares this field of RPC's options, or NULL. */
const char *options_by_rpc_field(const struct options *o, const char *field);
/* What is missing here that a command of CRIU is about; NULL: it has no such command. */
const char *command_later(const char *name);
/* Plain arguments (command, pid) are left in *ret_argv, NULL-terminated, to be freed. 0 or -errno, printed. */
int options_parse(struct options *o, int argc, char **argv, int *ret_argc, char ***ret_argv);
/*
 * Only the options that select plugins and configuration files, from the configuration files and the command line;
 * all others are skipped. What it sets holds until options_read_configs() or options_parse().
 */
int options_parse_early(struct options *o, int argc, char **argv);
/* Who declared the option, or NULL. */
const char *options_owner(const struct options *o, const char *name);

bool opt_flag(const struct options *o, const char *name);
const char *opt_str(const struct options *o, const char *name); /* value or fallback, else NULL */
uint64_t opt_size(const struct options *o, const char *name);
long opt_int(const struct options *o, const char *name);
const char *opt_item(const struct options *o, const char *name, size_t i);
bool opt_given(const struct options *o, const char *name);

/* Help for one command's mode (enum cr_mode), 0: only what applies to all; and the options part of the man page (asciidoc). */
void options_help(const struct options *o, FILE *out, uint32_t mode);
void options_man(const struct options *o, FILE *out);

#endif
