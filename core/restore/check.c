/* SPDX-License-Identifier: MIT */
/* check.c: whether the tree of the images can live here: for check --images. Nothing is made or changed. */
#include <errno.h>
#include <inttypes.h>
#include <sys/resource.h>
#include <unistd.h>

#include "mem.h"
#include "restore_priv.h"
#include "rights.h"

#include <linux/capability.h>

/* Credentials differ from process to process, and seldom inside of one: one message a process. */
static void check_rights(struct session *s)
{
	FOR_EACH_TASK(t, s->tree) {
		if (t->life == TASK_ZOMBIE)
			continue;
		for (size_t i = 0; i < t->threads.n; i++)
			if (restore_check_creds(s, t->threads.v[i]) < 0)
				break;
		restore_check_timers(s, t);
	}
	if (getuid() && !rights_has(CAP_CHECKPOINT_RESTORE) && !rights_has(CAP_SYS_ADMIN))
		fail(s, EPERM, "choosing pids needs CAP_CHECKPOINT_RESTORE; without it: in a user and pid namespace of one's "
		     "own, "
		     "unshare -Urpf --mount-proc");
	restore_check_seccomp(s);
}

static void check_counts(struct session *s)
{
	uint64_t room = mem_task_room();
	size_t n = 0;
	struct rlimit rl;

	FOR_EACH_TASK(t, s->tree)
		n += t->threads.n;
	if (n > room)
		fail(s, EAGAIN, "the tree has %zu tasks and threads, and the cgroup of this process has room for %" PRIu64
		     ": raise pids.max", n, room);
	/* only what cannot be is certain: how many the user has already does not matter for who may ignore the limit */
	if (getuid() && getrlimit(RLIMIT_NPROC, &rl) == 0 && n > rl.rlim_cur && !rights_has(CAP_SYS_RESOURCE) &&
	    !rights_has(CAP_SYS_ADMIN))
		fail(s, EAGAIN, "the tree has %zu tasks and threads, and the limit of processes of this user is %lu: raise "
		     "it with "
		     "ulimit -u", n, (unsigned long)rl.rlim_cur);
}

static void check_memory(struct session *s)
{
	uint64_t need = 0, room = mem_room(getpid());

	FOR_EACH_TASK(t, s->tree)
		need += mem_stored_bytes(t);
	if (need > room)
		fail(s, ENOMEM, "the tree has %" PRIu64 " MiB of memory in the images, and %" PRIu64 " MiB are free here, "
		     "for this "
		     "machine or the cgroup of this process", need >> 20, room >> 20);
}

void restore_check_here(struct session *s)
{
	restore_check_pids(s);
	check_rights(s);
	check_counts(s);
	check_memory(s);
}
