/* SPDX-License-Identifier: MIT */
/*
 * trouble [-k KIND] STASIS TARGET DIR: dumps and restores in circumstances that an engine meets: a full disk, low
 * limits, signals, a target that dies or never stands still.  Whatever comes of it, the target is to be well, nothing
 * may be left, the engine may not hang or crash, and a failure is to have its cause in the message.  With SANITIZED in
 * the environment memory is not limited.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "watch.h"

enum want { ANY = 0, SUCCESS, FAILURE };

struct trouble {
	const char *name;
	void (*child)(int n);	       /* in the engine's process, before it is executed */
	void (*during)(pid_t pid, int n);
	void (*before)(int n), (*after)(int n);
	enum want want;
	const char *text; /* in the message of a failure, NULL: any error */
	const char *arg1, *arg2;
	int n;		  /* what it means is the functions' business */
};

/* ---- circumstances ---- */

static void limit(int resource, rlim_t value)
{
	struct rlimit rl = { value, value };

	if (setrlimit(resource, &rl) < 0)
		_exit(120);
}

static void file_size(int n) { limit(RLIMIT_FSIZE, (rlim_t)n << 10); }
static void few_files(int n) { limit(RLIMIT_NOFILE, n); }
static void little_memory(int n) { limit(RLIMIT_AS, (rlim_t)n << 20); }

static void small_disk(int n)
{
	char size[32];

	snprintf(size, sizeof(size), "size=%dk", n);
	if (mount("stasis", "img", "tmpfs", 0, size) < 0)
		die("tmpfs");
}

static void no_disk(int n)
{
	if (umount2("img", MNT_DETACH) < 0)
		die("umount");
}

/* In tenths of a millisecond. */
static void later(int tenths)
{
	usleep(tenths * 100);
}

#define SIGNAL_AT(sig, tenths) ((sig) << 16 | (tenths))
static void signal_engine(pid_t pid, int n)
{
	later(n & 0xffff);
	kill(pid, n >> 16);
}

/* Not before the engine has begun to catch signals. */
static void signal_busy_engine(pid_t pid, int n)
{
	for (int i = 0; i < 10000 && access("img/engine.log", F_OK); i++)
		usleep(200);
	signal_engine(pid, n);
}

static void kill_task(pid_t pid, int n)
{
	later(n);
	kill(w.root, SIGKILL);
}

/* ---- one after the other ---- */

static void complain(const char *what, const char *why)
{
	printf("%s: %s: %s\n", w.kind, what, why);
	fflush(stdout);
	if (system("grep -h 'Error\\|Warn' img/engine.log out 2>/dev/null | sort -u | sed 's/^/  /' | head -5"))
		printf("  no message\n");
	w.harmed++;
}

static int run(const struct trouble *t)
{
	int64_t end = now_ms() + 30000;
	int status;
	pid_t pid;

	engine_prepare(w.action);
	unlink("img/engine.log");
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		if (t->child)
			t->child(t->n);
		engine_exec(w.action, t->arg1, t->arg2);
	}
	if (t->during)
		t->during(pid, t->n);
	while (waitpid(pid, &status, WNOHANG) != pid) {
		nap(1);
		if (now_ms() < end)
			continue;
		complain(t->name, "the engine hangs");
		kill(pid, SIGKILL);
		end = INT64_MAX;
	}
	return status;
}

static void judge_engine(const struct trouble *t, const char *name, int status)
{
	char why[100];

	snprintf(why, sizeof(why), "the engine ends with status %#x", (unsigned)status);
	/* before it has read its options a signal just ends it */
	if (WIFSIGNALED(status) && !(t->during == signal_engine && WTERMSIG(status) == t->n >> 16))
		complain(name, why);
	else if (t->want != ANY && (status == 0) != (t->want == SUCCESS))
		complain(name, why);
	else if (WIFEXITED(status) && status && !engine_said(t->text ? t->text : "rror") && !engine_said("ERROR: "))
		complain(name, "its message does not say why");
}

/* The target after it, and back to the state in which the next one expects it. */
static void judge_target(const char *name, bool success)
{
	char why[512] = "";
	int whole;

	if (w.action == RESTORE && !success) {
		whole = target_whole(why, sizeof(why));
		if (whole < 0)
			complain(name, why);
		if (whole == 0 && engine_run(RESTORE, NULL, NULL))
			complain(name, "the restore fails afterwards");
	}
	/* a dump that was ended too late has killed the tree */
	if (w.action == DUMP && (success || target_whole(why, sizeof(why)) == 0) && engine_run(RESTORE, NULL, NULL))
		complain(name, "the images do not restore");
	if (!target_well(why, sizeof(why))) {
		complain(name, why);
		target_end();
		target_start();
	} else if (!success && w.action != RESTORE && engine_run(RUN_ON, NULL, NULL)) {
		complain(name, "the next dump fails");
	}
	if (!nothing_left(why, sizeof(why)))
		complain(name, why);
	if (w.action == RESTORE) {
		empty_images();
		if (engine_run(DUMP, NULL, NULL))
			die("the dump for the restore failed");
	}
}

static void suffer(const struct trouble *t)
{
	static const char *const actions[] = { "run", "dump", "restore" };
	char name[128];
	int status;

	snprintf(name, sizeof(name), "%s %d, %s", t->name, t->n, actions[w.action]);
	w.tried++;
	if (w.action != RESTORE)
		empty_images();
	if (t->before)
		t->before(t->n);
	status = run(t);
	judge_engine(t, name, status);
	if (t->after)
		t->after(t->n);
	judge_target(name, status == 0);
}

/* ---- targets that do not stand still ---- */

/* One of its tasks dies sooner or later: the others are let go, and the engine says what it thinks of it. */
static void dying(int tenths)
{
	struct trouble t = { .name = "a task is killed", .during = kill_task, .n = tenths };
	char why[512] = "";

	w.tried++;
	empty_images();
	judge_engine(&t, t.name, run(&t));
	target_end(); /* complains when one cannot be killed */
	if (!nothing_left(why, sizeof(why)))
		complain(t.name, why);
	target_start();
}

static void each_action(struct trouble t, bool dumps, bool restores)
{
	for (w.action = RUN_ON; w.action <= DUMP && dumps; w.action++)
		if (w.action != COPY)
			suffer(&t);
	if (!restores)
		return;
	w.action = RESTORE;
	empty_images();
	if (engine_run(DUMP, NULL, NULL))
		die("the dump for the restore failed");
	suffer(&t);
	if (engine_run(RESTORE, NULL, NULL))
		die("the restore fails; see %s/out", w.dir);
}

static void sweep(struct trouble t, const int *values, bool restores)
{
	for (; *values; values++) {
		t.n = *values;
		each_action(t, true, restores);
	}
}

static void limits(void)
{
	static const int files[] = { 6, 8, 12, 20, 40, 64, 80, 0 }, mib[] = { 16, 24, 40, 64, 96, 160, 0 };

	each_action((struct trouble){ .name = "full disk (KiB)", .before = small_disk, .after = no_disk, .want = FAILURE,
				      .n = 200, .text = "No space left" }, true, false);
	each_action((struct trouble){ .name = "largest file (KiB)", .child = file_size, .want = FAILURE, .n = 100,
				      .text = "File too large" }, true, false);
	each_action((struct trouble){ .name = "largest file (KiB)", .child = file_size, .n = 100 }, false, true);
	sweep((struct trouble){ .name = "descriptors", .child = few_files }, files, true);
	if (!getenv("SANITIZED"))
		sweep((struct trouble){ .name = "address space (MiB)", .child = little_memory }, mib, true);
	each_action((struct trouble){ .name = "full disk for the log", .arg1 = "-o", .arg2 = "/dev/full", .want = SUCCESS },
		    true, true);
}

static void signals(void)
{
	static const int sigs[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };

	for (int i = 0; i < 20; i++)
		each_action((struct trouble){ .name = "signal", .during = signal_engine,
					      .n = SIGNAL_AT(sigs[i % 4], 10 + 12 * i) }, true, true);
	for (int i = 0; i < 4; i++)
		each_action((struct trouble){ .name = "SIGPIPE", .during = signal_busy_engine, .want = SUCCESS,
					      .n = SIGNAL_AT(SIGPIPE, 20 * i) }, true, true);
}

/* Again and again, whatever comes of it; it always moves on. */
static void restless(void)
{
	unsigned good = 0;

	w.action = RUN_ON;
	for (int i = 0; i < 30; i++) {
		struct trouble t = { .name = "restless" };
		char why[512] = "";
		int status;

		w.tried++;
		empty_images();
		status = run(&t);
		good += status == 0;
		judge_engine(&t, t.name, status);
		if (!target_well(why, sizeof(why)) || !nothing_left(why, sizeof(why)))
			complain(t.name, why);
	}
	printf("%u of 30 dumps of a restless tree succeeded\n", good);
	if (good < 15)
		complain("restless", "most dumps fail");
}

int main(int argc, char **argv)
{
	if (argc == 6 && !strcmp(argv[1], "-k")) {
		w.kind = argv[2];
		argc -= 2;
		argv += 2;
	}
	if (argc != 4)
		die("usage: trouble [-k KIND] STASIS TARGET DIR");
	w.stasis = argv[1];
	w.target = argv[2];
	w.dir = argv[3];
	watch_begin();
	if (!strcmp(w.kind, "restless")) {
		restless();
		return watch_end();
	}
	limits();
	signals();
	w.action = RUN_ON;
	for (int i = 0; i < 12; i++)
		dying(12 + 6 * i);
	return watch_end();
}
