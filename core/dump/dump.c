/* SPDX-License-Identifier: MIT */
/*
 * dump.c: the order of a dump.
 *
 *   prepare    E, tree running: plugins probe and allocate
 *   freeze     W seizes every thread of the tree
 *   collect    E, frozen, read only: tasks, registers, mappings, descriptors; then all
 *              blockers are known and the dump stops here if there are any
 *   dump       E, frozen: images
 *   seal       E, frozen: what plugins write last, flush; with copies of the tree's memory
 *              (--leave-running) W lets the tree run here and the memory is written then
 *   commit     W: the tree is killed, runs on or stays stopped: the point of no return
 *
 * An error anywhere before commit makes W undo everything; the images written
 * so far are removed.
 */
#include "dump.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "action.h"
#include "cmd/cmd.h"
#include "cpuinfo.h"
#include "files.h"
#include "image.h"
#include "kinds.h"
#include "mem.h"
#include "options.h"
#include "plugin.h"
#include "progress.h"
#include "signals.h"
#include "states.h"
#include "tree.h"
#include "warden.h"

static int collect_descriptors(struct session *s)
{
	int err = 0;

	log_debug("phase: collect");
	s->phase = "collect";
	FOR_EACH_TASK(t, s->tree) {
		if (t->life != TASK_ZOMBIE)
			err = files_collect_slots(s, t);
		if (err == 0)
			err = tree_ask_on(s);
		if (err < 0)
			break;
	}
	if (err == 0)
		err = BROADCAST(s, look);
	s->phase = "collect";
	/* a tree that runs does not make anything hang */
	return err == -EOPNOTSUPP && s->mode == CR_MODE_CHECK ? 0 : err;
}

static int collect_links(struct session *s)
{
	int err = 0;

	FOR_EACH_TASK(t, s->tree) {
		if (t->life != TASK_ZOMBIE)
			err = files_collect_links(s, t);
		if (err == 0)
			err = tree_ask_on(s);
		if (err < 0)
			return err;
	}
	return 0;
}

static int collect_memory(struct session *s)
{
	int err = 0;

	FOR_EACH_TASK(t, s->tree) {
		if (t->life == TASK_ZOMBIE || err < 0)
			continue;
		err = tree_ask_until(s, t);
		if (err == 0)
			err = mem_collect(s, t);
	}
	at_object(s, NULL);
	if (err == 0)
		mem_collected(s);
	return err;
}

/* Everything about the tasks.  What W has to ask is asked meanwhile. */
static int collect_tasks(struct session *s)
{
	int err = collect_descriptors(s);

	if (err == 0)
		err = collect_links(s);
	if (err == 0)
		err = tree_collect_ids(s);
	if (err == 0)
		err = collect_memory(s);
	return err ? err : tree_ask_end(s);
}

int check_tree(struct session *s, pid_t pid)
{
	int err = BROADCAST(s, prepare);

	if (err == 0)
		err = tree_collect(s, pid);
	if (err == 0)
		err = collect_tasks(s);
	if (err == 0)
		err = mappings_check(s);
	if (err == 0)
		err = task_states_check(s);
	if (err == 0)
		err = files_dump(s); /* in check mode: claims and checks only */
	plugins_done(s, err);
	return err;
}

/* dump_one: mem_dump() or mem_dump_snapshot() */
static int dump_memory(struct session *s, int (*dump_one)(struct session *s, struct task *t, const struct mem_facts *facts))
{
	struct progress *p = session_alloc(s, sizeof(*p));
	size_t pages = 0;
	int err = 0;

	FOR_EACH_TASK(t, s->tree)
		pages += t->life == TASK_ZOMBIE ? 0 : mem_pages(t);
	progress_start(p, "dumping memory (pages)", pages);
	s->progress = p;
	FOR_EACH_TASK(t, s->tree) {
		struct mem_facts facts;

		if (t->life == TASK_ZOMBIE)
			continue;
		at_object(s, "pid %d", task_pid(t));
		tree_mem_facts(t, &facts);
		err = dump_one(s, t, &facts);
		if (err < 0)
			break;
	}
	s->progress = NULL;
	progress_end(p);
	at_object(s, NULL);
	return err;
}

/*
 * While the tree stands still E, and W all the time, go before what else runs on this machine, where that is allowed.
 * Returns the priority to be put back.
 */
static int hurry(void)
{
	int usual = getpriority(PRIO_PROCESS, 0);

	if (setpriority(PRIO_PROCESS, 0, PRIO_MIN) < 0)
		log_debug("priority: %s", strerror(errno));
	return usual;
}

/* The tree runs on from here; its memory is in copies that stand still. */
static int dump_running(struct session *s, int priority)
{
	int err = warden_thaw(s);

	log_debug("thawed");
	setpriority(PRIO_PROCESS, 0, priority);
	s->phase = "dump";
	s->stats.frozen_time = now_us() - s->stats.t_frozen_since;
	return err ? err : dump_memory(s, mem_dump_snapshot);
}

/* Everything between freeze and commit. */
static int dump_frozen(struct session *s, pid_t pid, int priority)
{
	int err;

	log_debug("frozen");
	err = tree_collect(s, pid);
	if (err == 0 && !s->blockers.n)
		err = tree_ask_begin(s);
	if (err == 0)
		err = collect_tasks(s);
	if (err == 0 && !s->blockers.n)
		err = landlock_collect(s);
	if (err == 0)
		err = mappings_check(s);
	if (err == 0)
		err = task_states_check(s);
	if (err == 0)
		err = files_dump(s);
	if (err == 0 && s->blockers.n)
		err = -EOPNOTSUPP;
	s->phase = "dump";
	log_debug("phase: dump");
	if (err == 0)
		err = cpuinfo_dump(s);
	if (err == 0)
		err = tree_dump(s);
	if (err == 0)
		err = mem_snapshot(s);
	if (err == 0)
		err = dump_memory(s, mem_dump);
	s->phase = "seal";
	log_debug("phase: seal");
	if (err == 0)
		err = task_states_dump(s);
	if (err == 0)
		err = BROADCAST(s, dump_late);
	if (err == 0 && s->blockers.n)
		err = -EOPNOTSUPP;
	if (err == 0)
		err = tree_dump_plugins(s);
	if (err == 0 && mem_has_snapshot(s))
		err = dump_running(s, priority);
	if (err == 0)
		err = images_seal(s);
	if (err == 0)
		err = images_finish(s);
	return err;
}

static enum warden_end wanted_end(struct session *s)
{
	if (opt_flag(s->opts, "leave-running"))
		return WARDEN_RUN;
	if (opt_flag(s->opts, "leave-stopped"))
		return WARDEN_STOP;
	return WARDEN_KILL;
}

static int dump(struct session *s, pid_t pid)
{
	bool locked = false;
	int err, priority;
	uint64_t t0;

	s->phase = "prepare";
	err = mem_prepare(s);
	if (err == 0)
		err = BROADCAST(s, prepare);
	if (err == 0)
		err = action_run(s, "pre-dump", 0);
	s->phase = "freeze";
	log_debug("phase: freeze");
	if (err == 0)
		mem_read_ahead(s, pid);
	if (err == 0)
		waits_read(s, pid);
	priority = hurry();
	if (err == 0)
		err = warden_start(s);
	t0 = now_us();
	if (err == 0)
		err = warden_freeze(s, pid, opt_str(s->opts, "freeze-cgroup"), opt_int(s->opts, "timeout"));
	s->stats.t_frozen_since = now_us();
	s->stats.freezing_time = s->stats.t_frozen_since - t0;
	if (err == 0) {
		/* before anything of connections is read: who locks the network by himself does it now */
		err = action_run(s, "network-lock", pid);
		locked = err == 0;
	}
	if (err == 0)
		err = dump_frozen(s, pid, priority);
	setpriority(PRIO_PROCESS, 0, priority);
	s->phase = "commit";
	log_debug("phase: commit");
	if (!s->stats.frozen_time)
		s->stats.frozen_time = now_us() - s->stats.t_frozen_since;
	if (err == 0)
		err = losses_check(s);
	if (err == 0)
		err = action_run(s, "post-dump", 0);
	if (err == 0)
		err = stats_write(s);
	if (err == 0)
		err = signals_check(s);
	if (err == 0)
		signals_ignore();
	if (err == 0)
		err = warden_commit(s, wanted_end(s));
	else if (s->warden)
		warden_abort(s);
	if (locked && (err < 0 || wanted_end(s) != WARDEN_KILL))
		action_run(s, "network-unlock", pid);
	plugins_done(s, err);
	return err;
}

int cmd_dump(struct session *s, int argc, char **argv)
{
	const char *tree = opt_str(s->opts, "tree");
	char *end;
	long pid;
	int err;

	(void)argv;
	if (argc > 0)
		return fail(s, EINVAL, "dump takes no argument: name the tree with --tree PID");
	if (!tree)
		return fail(s, EINVAL, "which process? name the root of the tree with --tree PID (-t PID)");
	pid = strtol(tree, &end, 10);
	if (*end || pid <= 0 || pid > 1 << 22)
		return fail(s, EINVAL, "--tree %s: not a pid", tree);
	if (pid == getpid())
		return fail(s, EINVAL, "cannot dump myself");
	err = dump(s, pid);
	if (err < 0) {
		images_discard(s);
		return err;
	}
	if (opt_flag(s->opts, "display-stats"))
		display_stats(s);
	log_info("Dumping finished successfully");
	return 0;
}
