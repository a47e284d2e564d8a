/* SPDX-License-Identifier: MIT */
/*
 * rights.h: what the caller may do, where the program file gives more than that (setuid, setgid, file capabilities).
 *
 * Such a program lends rights: whoever may start it would get them. So it becomes its caller first: real ids, and no
 * capability but CAP_CHECKPOINT_RESTORE, which is what a restore cannot do without. Who may be traced, which
 * files may be opened and which credentials a restored task may have is then decided by the kernel, for the caller.
 * Rights that the caller has anyway (root, ambient capabilities, a user namespace of his own) are his to use.
 */
#ifndef CORE_RIGHTS_H
#define CORE_RIGHTS_H

#include <stdbool.h>
#include <stdint.h>

#include "session.h"

/* Was the program started with rights that its caller, who is not root, lacks? */
bool rights_lent(void);
/*
 * First of all: gives up what is lent, but for the capability; lends: this command is one that it is lent for, else that goes
 * too. 0 or -errno, logged: then nothing may be done.
 */
int rights_settle(bool lends);
/* Effective in this process? cap: CAP_*. Rights in a user namespace count as what they are there. */
bool rights_has(int cap);
/* "CAP_SETUID"; NULL for one that nobody knows. */
const char *rights_name(int cap);
/*
 * Dump: may the caller have what is in the thread pid, whose permitted capabilities are these? A program that lends rights
 * refuses one with any: the kernel compares them with its own, not the caller's. 0 or -EPERM, recorded.
 */
int rights_check_task(struct session *s, pid_t pid, uint64_t permitted);

#endif
