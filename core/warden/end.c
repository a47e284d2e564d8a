/* SPDX-License-Identifier: MIT */
/*
 * The end of a dump: commit or abort.  Undo first, then let go, so that a task never
 * sees an effect of the dump; only a tree that shall die is killed before, because
 * a cgroup that was found frozen would keep it from dying.
 */
#include "server.h"

#include <errno.h>

#define KILL_TIMEOUT_US 30000000

/* Any thread of each process stops the process. */
static int stop_all(struct server *sv)
{
	pid_t done = 0;
	int err = 0;

	FOR_EACH_TRACEE(t, sv) {
		int e;

		if (t->tgid == done || t->state != TR_HELD)
			continue; /* the threads of a process follow each other */
		done = t->tgid;
		e = tracee_group_stop(sv, t, SIGSTOP);
		if (e && e != -ESRCH && !err)
			err = wd_fail(sv, e, "pid %d could not be left stopped", t->tgid);
	}
	return err;
}

int wd_thaw(struct server *sv)
{
	journal_note(sv, "thawed");
	journal_thaw(sv);
	freezer_restore(sv);
	tracees_detach(sv);
	return 0;
}

int wd_end(struct server *sv, uint32_t how)
{
	int err = 0;

	if (how > WARDEN_KILL)
		return wd_fail(sv, -EINVAL, "unknown end %u", how);
	sv->finished = true;
	if (how)
		journal_note(sv, "committed");
	if (how == WARDEN_KILL) {
		err = tracees_kill(sv, now_us() + KILL_TIMEOUT_US);
		if (err)
			err = wd_fail(sv, err, "some tasks do not die; they are waiting in the kernel");
	}
	if (how == WARDEN_STOP)
		err = stop_all(sv);
	copies_end(sv);
	journal_replay(sv, how);
	freezer_restore(sv);
	tracees_detach(sv);
	journal_close(sv);
	return err;
}
