/* SPDX-License-Identifier: MIT */
/*
 * fault.h: fault points, for tests of the engine itself.
 *
 * Wherever the kernel or a plugin may fail, the code passes a fault point just before.  --fault picks one of
 * them, by its number, and it fails as if the call behind it had; --fault list prints those that a run passes.
 * Each side counts by itself, so that numbers stay the same however the two processes take turns:
 *	engine	the process that was called
 *	warden	the tracer process
 *	task	the operations of restore plans, in the order in which they are linked
 * Nothing fails twice: what puts things in order after a fault finds a kernel that works.
 *
 * The switch lives in file-scope state, because a fault point lies in places that know no session.
 */
#ifndef CORE_FAULT_H
#define CORE_FAULT_H

#include <stdbool.h>
#include <stdio.h>

#include "util.h"

enum fault_side { FAULT_ENGINE = 0, FAULT_WARDEN, FAULT_TASK, FAULT_SIDES };

extern bool fault_on; /* something was asked for */

/* The value of --fault: "list" or SIDE:NUMBER[:ERROR], "warden:12:ENOSPC"; ERROR is EIO if not given. 0 or -errno, logged. */
int fault_set(const char *spec);
/* This process is that side from now on. */
void fault_set_side(enum fault_side side);
/* Passes a point of this side, described by fmt: 0, or the -errno with which it shall fail. */
int fault_point(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* As fault_point(), but of the given side. */
int fault_point_of(enum fault_side side, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* With list: what was passed so far, one point a line, and the number of them. Else nothing. */
void fault_report(FILE *out);

/* int err = FAULT("journal"); */
#define FAULT(...) (fault_on ? fault_point(__VA_ARGS__) : 0)
/* For calls that give -1 and errno: if (FAULTS("fsync") || fsync(fd) < 0) return -errno; */
#define FAULTS(...) (fault_on && fault_errno(fault_point(__VA_ARGS__)))
/* Puts -err into errno; true when err is one. */
bool fault_errno(int err);

#endif
