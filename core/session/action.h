/* SPDX-License-Identifier: MIT */
/* action.h: --action-script: programs of the user that are run at stages of a dump or restore. */
#ifndef CORE_ACTION_H
#define CORE_ACTION_H

#include <sys/types.h>

struct session;

/*
 * Runs every --action-script, one after the other, with CRTOOLS_SCRIPT_ACTION=action, CRTOOLS_IMAGE_DIR and, when root > 0,
 * CRTOOLS_INIT_PID=root in its environment. E, host namespaces. One that cannot be run or ends with another status than 0
 * is a failure, recorded: before the commit it stops the operation.
 */
int action_run(struct session *s, const char *action, pid_t root);

#endif
