/* SPDX-License-Identifier: MIT */
/*
 * birth.h: how each task of a tree is to be created so that it ends up with the
 * right parent and in the right session.
 *
 * A session number is inherited at fork and changed only by setsid(2), which
 * makes the caller its leader.  For a task T with parent P:
 *   own      T leads its session, or has P's: P forks it after its own setsid
 *   before   T has the session P had before P became a leader: P forks it first
 *   sibling  T's session leader is P's child too: the leader creates T with CLONE_PARENT
 *   helper   the leader has gone: a helper with its pid, child of P, leads the session, creates T with
 *            CLONE_PARENT and exits
 *   orphan   the leader lives elsewhere below P, which is T's reaper: the leader forks a go-between, that forks T
 *            and exits, and T falls to P
 */
#ifndef CORE_BIRTH_H
#define CORE_BIRTH_H

#include "session.h"
#include "tree.h"

enum birth { BIRTH_OWN = 1, BIRTH_BEFORE, BIRTH_SIBLING, BIRTH_HELPER, BIRTH_ORPHAN };

/*
 * Sets birth, creator and mem_from of every task; creator is the task that executes (or whose helper executes) the clone. At
 * dump a shape that cannot be made is refused by name, at restore it fails. Pure but for that.
 */
int tree_births(struct session *s);

#endif
