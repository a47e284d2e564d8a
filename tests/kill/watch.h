/* SPDX-License-Identifier: MIT */
/*
 * watch.h: what the drivers sweep.c and faults.c share: the target, how it fares, the engine, what is left behind.
 *
 * A driver needs mount and pid namespaces of its own (tests/kill/run.sh): it covers /run/stasis, takes every process
 * that it did not start for a leftover, and kills what it finds.
 */
#ifndef TESTS_KILL_WATCH_H
#define TESTS_KILL_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "kill.h"

#define PATIENCE 8000 /* ms */

enum action { RUN_ON = 0, COPY, DUMP, RESTORE }; /* dump --leave-running, the same with --snapshot always, dump, restore */

struct watch {
	const char *stasis, *target, *dir, *kind;
	enum action action;
	pid_t root;
	unsigned tried, harmed, leftovers, failed; /* points */
};
extern struct watch w;

int64_t now_ms(void);
void nap(int ms);
void die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Namespaces, state, directories; ends the program with 77 where the kind cannot be had. */
void watch_begin(void);
/* The action that is named "run", "copy", "dump" or "restore"; false: none is. */
bool watch_action(const char *name);

/* Starts the target and waits until it is ready. */
void target_start(void);
void target_end(void);
/*
 * Whether somebody who is not of the tree is connected to it: then it must be dumped, not killed, to be gone, and what is
 * restored has to go on with that connection.
 */
bool target_has_client(void);
/* From the running target, as its last dump left it, to the state before a restore: there are only images. */
void target_away(void);
/* How many of its tasks exist, zombies not counted. */
int target_count(void);
/* Alive, let go, consistent and moving, in the state in which it was; else why not. */
bool target_well(char *why, size_t size);
/* What is left of it after a dump that kills it, or a restore that did not end: 1 all, and well, 0 nothing, -1: why. */
int target_whole(char *why, size_t size);

/* Before the engine is started by other means than engine_run(). */
void engine_prepare(enum action action);
/* The engine's program for an action, with up to two arguments more; never returns. What it prints goes to DIR/out. */
void engine_exec(enum action action, const char *arg1, const char *arg2) __attribute__((noreturn));
/* Runs it to its end: wait status. */
int engine_run(enum action action, const char *arg1, const char *arg2);
/* Whether the log of the last run of the engine, or what it said, has this text. */
bool engine_said(const char *text);
void empty_images(void);

/* No journal, no process that is not of the target; else what. */
bool nothing_left(char *why, size_t size);
/* The last line. Exit status of the driver. */
int watch_end(void);

#endif
