/* SPDX-License-Identifier: MIT */
/*
 * states.h: state of tasks that plugins keep (struct cr_task_state): each state of each plugin, for every task
 * that is not a zombie.  All of them run in E and stop at the first error, which is recorded.
 */
#ifndef CORE_TREE_STATES_H
#define CORE_TREE_STATES_H

struct session;

/* check, dump: what stands in the way is refused; that is no error here. Running or frozen. */
int task_states_check(struct session *s);
/* Frozen, after all files were dumped. */
int task_states_dump(struct session *s);
/* Restore: after files_load(), no effects. */
int task_states_load(struct session *s);
/* Restore: all files are open; calls are queued for the tasks. */
int task_states_plan(struct session *s);

#endif
