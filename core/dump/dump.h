/* SPDX-License-Identifier: MIT */
/* dump.h: what check --pid shares with the dump command (cmd.h). */
#ifndef CORE_DUMP_H
#define CORE_DUMP_H

#include "session.h"

/*
 * Everything in the tree below pid that could not be dumped, as blockers of the session; the tree is
 * never stopped. 0 also when there are blockers; -errno recorded when the question cannot be answered.
 */
int check_tree(struct session *s, pid_t pid);

#endif
