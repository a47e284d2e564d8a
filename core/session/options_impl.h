/* SPDX-License-Identifier: MIT */
/* options_impl.h: what options.c, options_core.c, options_help.c and config.c share; nobody else includes it. */
#ifndef CORE_OPTIONS_IMPL_H
#define CORE_OPTIONS_IMPL_H

#include "options.h"

/* A declared option with what was given for it. */
struct option_entry {
	const struct cr_option *def;
	char *owner;
	VEC(char *) values; /* as text, checked; a flag has "1" or "0" */
	bool given;
};

struct options {
	VEC(struct option_entry) all;
	bool early;	      /* values are those of the early pass */
	bool skip_unknown;    /* early pass: read, but keep only selecting options */
	bool no_default_files; /* --no-default-config, from the early pass */
	char *config;	      /* --config, from the early pass */
};

/* One-letter spellings; a letter may stand for an option that some plugin declares. */
struct short_option {
	char letter;
	const char *name;
};
extern const struct short_option short_options[]; /* ends with letter 0 */
/* Options by which configuration files and plugins are chosen. */
extern const char *const early_options[]; /* ends with NULL */
extern const struct cr_option *const core_options[]; /* ends with NULL */

/* Other names of an option ("libdir" for "plugin-dir"); returns name itself when it is none. */
const char *option_alias(const char *name);
/* What is missing here that an undeclared option of CRIU is about; NULL: CRIU has no such option. */
const char *option_later(const char *name);
struct option_entry *option_find(const struct options *o, const char *name);
bool option_takes_value(const struct cr_option *def);
bool option_value_optional(const struct cr_option *def);
char option_letter(const char *name); /* 0: none */
/* As options_set(); where ("/etc/x.conf:3", or NULL) goes into messages. */
int option_store(struct options *o, const char *where, const char *name, const char *value);
/* The configuration files in their order. */
int config_read_all(struct options *o, const char *config, bool no_defaults);

#endif
