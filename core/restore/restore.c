/* SPDX-License-Identifier: MIT */
/* restore.c: the restore command: the order of the phases, and what comes after the tree runs. */
#include <errno.h>
#include <stdio.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "action.h"
#include "cmd/cmd.h"
#include "cpuinfo.h"
#include "files.h"
#include "image.h"
#include "job.h"
#include "kinds.h"
#include "mem.h"
#include "options.h"
#include "plugin.h"
#include "own.h"
#include "restore_priv.h"
#include "signals.h"
#include "states.h"
#include "warden.h"

static int load_memory(struct session *s)
{
	FOR_EACH_TASK(t, s->tree) {
		int err = t->life == TASK_ZOMBIE ? 0 : mem_load(s, t);

		if (err < 0)
			return err;
	}
	return 0;
}

int restore_load(struct session *s)
{
	int err;

	s->phase = "load";
	log_debug("phase: load");
	err = cpuinfo_check(s);
	if (err == 0 || s->collecting)
		err = BROADCAST(s, stage);
	if (err == 0)
		err = tree_load(s);
	if (err == 0)
		err = load_memory(s);
	if (err == 0)
		err = files_load(s);
	if (err == 0)
		err = mappings_load(s);
	if (err == 0)
		err = task_states_load(s);
	return err;
}

/* From images to plans; no effects but descriptors of E. */
static int prepare(struct session *s)
{
	struct restore *r = s->restore;
	uint64_t base, size = 0;
	int err;

	err = restore_load(s);
	if (err == 0)
		err = mem_pick_arena(s, &base, &size);
	if (err == 0)
		err = arena_new(s, base, size, &r->arena);
	if (err < 0)
		return err;
	r->plans = plan_set_new(s, &r->arena);
	log_debug("phase: open");
	err = files_open(s);
	s->phase = "open";
	if (err == 0)
		err = mem_open(s);
	if (err == 0)
		err = BROADCAST(s, opened);
	if (err == 0)
		err = mappings_plan(s);
	if (err == 0)
		err = task_states_plan(s);
	s->phase = "plan";
	log_debug("phase: plan");
	if (err == 0)
		err = restore_plan_tasks(s);
	if (err == 0)
		err = plan_link(r->plans);
	return err;
}

void restore_free(struct restore *r)
{
	if (!r)
		return;
	plan_set_free(r->plans);
	if (r->arena.base)
		arena_free(&r->arena);
	for (size_t i = 0; i < r->queued.n; i++)
		free(r->queued.v[i].origin);
	vec_free(&r->queued);
	vec_free(&r->exits);
	restore_own_free(r->own);
	restore_free_late(r);
	free(r);
}

static bool in_foreground(struct session *s)
{
	return !s->served && !opt_flag(s->opts, "restore-detached") && !opt_flag(s->opts, "restore-sibling") &&
	       !opt_flag(s->opts, "exec-cmd");
}

static int run(struct session *s, struct job *job)
{
	int err;

	err = prepare(s);
	if (err == 0 && opt_flag(s->opts, "explain")) {
		plan_print(s->restore->plans, stdout);
		return 0;
	}
	if (err == 0)
		err = action_run(s, "pre-restore", 0);
	if (err == 0)
		err = warden_start(s);
	if (err == 0)
		err = restore_run(s);
	if (err == 0)
		err = losses_check(s);
	if (err == 0)
		err = action_run(s, "post-restore", s->restore->root);
	s->stats.restore_time = now_us() - s->stats.t_restore;
	s->phase = "commit";
	log_debug("phase: commit");
	if (err == 0)
		err = stats_write(s);
	if (err == 0)
		err = action_run(s, "network-unlock", s->restore->root);
	if (err == 0)
		err = action_run(s, "pre-resume", s->restore->root);
	if (err == 0)
		err = BROADCAST(s, resume);
	if (err == 0)
		err = losses_check(s);
	if (err == 0 && in_foreground(s))
		job_take_terminal(job, s->restore->root);
	if (err == 0)
		err = signals_check(s);
	if (err == 0)
		signals_ignore();
	if (err == 0)
		err = warden_release(s);
	else if (s->warden)
		warden_abort(s);
	/* too late to stop anything: a failure of the script is in the log */
	if (err == 0)
		action_run(s, "post-resume", s->restore->root);
	return err;
}

int cmd_restore(struct session *s, int argc, char **argv)
{
	bool exec = opt_flag(s->opts, "exec-cmd");
	struct job job = { .tty = -1 };
	int err;

	if (exec && argc == 0)
		return fail(s, EINVAL, "--exec-cmd needs a command after --");
	if (!exec && argc > 0)
		return fail(s, EINVAL, "restore takes no argument: the images directory is named with -D");
	s->stats.t_restore = now_us();
	s->restore = xcalloc(1, sizeof(*s->restore));
	err = run(s, &job);
	plugins_done(s, err);
	if (err < 0 || opt_flag(s->opts, "explain"))
		return err;
	if (opt_flag(s->opts, "display-stats"))
		display_stats(s);
	log_info("Restore finished successfully. Tasks resumed.");
	signals_catch(NULL);
	if (exec) {
		log_close();
		signals_default();
		execvp(argv[0], argv);
		return fail(s, errno, "--exec-cmd %s: %s", argv[0], strerror(errno));
	}
	if (!in_foreground(s))
		return 0;
	heap_ahead(); /* its pages are shared with the root since the fork */
	files_close(s);
	return job_wait(&job);
}
