/* SPDX-License-Identifier: MIT */
/* names.h: names of the system calls that plans make, and of their flags; for messages only. */
#ifndef CORE_PLAN_NAMES_H
#define CORE_PLAN_NAMES_H

#include <stdbool.h>

#include "util.h"

/*
 * How a call is shown: one letter an argument.  x address or unknown, d signed number, u size, p PROT_*,
 * m MAP_*, a MADV_*, o O_*, s text, g signal, r prctl option, c F_* command, t AT_* flags, f descriptor.
 */
struct call_name {
	long nr;
	const char *name;
	const char *args;
};

/* NULL: a call that the table lacks. */
const struct call_name *names_call(long nr);
/* Appends value as flags or name according to letter; false when the letter has no names. */
bool names_value(struct buf *b, char letter, uint64_t value);

#endif
