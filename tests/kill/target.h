/* SPDX-License-Identifier: MIT */
/* target.h: what the parts of the target program share. */
#ifndef TESTS_KILL_TARGET_H
#define TESTS_KILL_TARGET_H

#include "kill.h"

extern struct kill_state *st;
extern const char *dir;

/* The first thing that somebody finds wrong. */
void bad(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* A place in st->beat for the caller. */
uint64_t *mover(void);
/* One task more is ready. */
void ready(void);

/* Never return. */
void be_rseq(void);
void be_pipes(void);
void be_redis(void);
void be_restless(void);

#endif
