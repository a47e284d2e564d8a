/* SPDX-License-Identifier: MIT */
/*
 * dump.c: the order of a dump.
 *
 *   prepare    E, tree running: plugins probe and allocate
 *   freeze     W seizes every thread of the tree
 *   collect    E, frozen, read only: tasks, registers, mappings, descriptors; then all
 *              blockers are known and the dump stops here if there are any
 *   dump       E, frozen: images
 *   seal       E, frozen: what plugins write last, flush
 *   commit     W: the tree is killed, runs on or stays stopped: the point of no return
 *
 * An error anywhere before commit makes W undo everything; the images written
 * so far are removed.
 */
#include "dump.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "action.h"
#include "cmd/cmd.h"
#include "files.h"
#include "image.h"
#include "mem.h"
#include "options.h"
#include "plugin.h"
#include "progress.h"
#include "tree.h"
#include "warden.h"

static int collect_tasks(struct session *s)
{
	int err = 0;

	s->phase = "collect";
	FOR_EACH_TASK(t, s->tree) {
		if (t->life == TASK_ZOMBIE)
			continue;
		err = files_collect_task(s, t);
		if (err == 0)
			err = mem_collect(s, t);
		if (err < 0)
			break;
	}
	at_object(s, NULL);
	return err;
}

int check_tree(struct session *s, pid_t pid)
{
	int err = BROADCAST(s, prepare);

	if (err == 0)
		err = tree_collect(s, pid);
	if (err == 0)
		err = collect_tasks(s);
	if (err == 0)
		err = tree_collect_ids(s);
	if (err == 0)
		err = files_dump(s); /* in check mode: claims and checks only */
	plugins_done(s, err);
	return err;
}

static int dump_memory(struct session *s)
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
		err = mem_dump(s, t, &facts);
		if (err < 0)
			break;
	}
	s->progress = NULL;
	progress_end(p);
	at_object(s, NULL);
	return err;
}

/* Everything between freeze and commit. */
static int dump_frozen(struct session *s, pid_t pid)
{
	int err = tree_collect(s, pid);

	if (err == 0 && !s->blockers.n)
		err = tree_collect_state(s);
	if (err == 0)
		err = collect_tasks(s);
	if (err == 0)
		err = tree_collect_ids(s);
	if (err == 0)
		err = files_dump(s);
	if (err == 0 && s->blockers.n)
		err = -EOPNOTSUPP;
	s->phase = "dump";
	if (err == 0)
		err = tree_dump(s);
	if (err == 0)
		err = dump_memory(s);
	s->phase = "seal";
	if (err == 0)
		err = BROADCAST(s, dump_late);
	if (err == 0 && s->blockers.n)
		err = -EOPNOTSUPP;
	if (err == 0)
		err = tree_dump_plugins(s);
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
	uint64_t t0;
	int err;

	s->phase = "prepare";
	err = BROADCAST(s, prepare);
	if (err == 0)
		err = action_run(s, "pre-dump", 0);
	s->phase = "freeze";
	if (err == 0)
		err = warden_start(s);
	t0 = now_us();
	if (err == 0)
		err = warden_freeze(s, pid, opt_str(s->opts, "freeze-cgroup"), opt_int(s->opts, "timeout"));
	s->stats.t_frozen_since = now_us();
	s->stats.freezing_time = s->stats.t_frozen_since - t0;
	if (err == 0)
		err = dump_frozen(s, pid);
	s->phase = "commit";
	s->stats.frozen_time = now_us() - s->stats.t_frozen_since;
	if (err == 0)
		err = action_run(s, "post-dump", 0);
	if (err == 0)
		err = stats_write(s);
	if (err == 0)
		err = warden_commit(s, wanted_end(s));
	else if (s->warden)
		warden_abort(s);
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
