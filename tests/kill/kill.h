/* SPDX-License-Identifier: MIT */
/*
 * kill.h: what the target tells the driver, in a file that both map (DIR/state).
 */
#ifndef TESTS_KILL_H
#define TESTS_KILL_H

#include <stdint.h>
#include <sys/types.h>

#define KILL_TASKS 3
#define KILL_THREADS 4 /* of each task, with its first */

struct kill_state {
	uint32_t ready;			/* tasks that have set everything up */
	pid_t pid[KILL_TASKS];
	uint64_t beat[KILL_TASKS][KILL_THREADS]; /* each round of a thread adds one */
	uint32_t bad;			/* somebody found something wrong: */
	char why[256];
};

#endif
