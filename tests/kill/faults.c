/* SPDX-License-Identifier: MIT */
/*
 * faults [-k KIND] [-a run|dump|restore] [-t SECONDS] [-p SIDE:N] STASIS TARGET DIR: makes one step of the engine fail
 * after the other (--fault; core/session/fault.h says what the points are).
 *
 * Afterwards
 *	harmed	   the target is not well: see sweep.c.  After a failed restore some of it is there
 *	leftover   a process, a journal, or images of a dump that failed
 *	failed	   the next action without a fault does not succeed, or the engine hangs or dies of a signal
 *	mute	   the engine failed, and its message does not say why
 * An action may also succeed in spite of a fault (borne): then the target, or what is restored from the images, is
 * to be well.  -t bounds the time: then only every so many points are tried; -p tries one.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "watch.h"

#define SIDES 3
#define SLOW 8000 /* ms: longer than any step waits for another */

static const char *const side_names[SIDES] = { "engine", "warden", "task" };
static unsigned mute, borne;

/* How many points of each side the action has. */
static void count_points(unsigned ret[SIDES])
{
	char line[256], *at;
	FILE *f = fopen("out", "r");

	memset(ret, 0, SIDES * sizeof(*ret));
	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, "fault points:", 13))
			continue;
		for (int i = 0; i < SIDES; i++)
			if ((at = strstr(line, side_names[i])))
				ret[i] = strtoul(at + strlen(side_names[i]), NULL, 10);
	}
	if (f)
		fclose(f);
}

/* A run that lists the points; afterwards everything is as each point expects it. */
static void rehearse(unsigned ret[SIDES])
{
	char why[512] = "";

	if (w.action == RESTORE && engine_run(DUMP, NULL, NULL))
		die("the dump for the restore failed");
	if (engine_run(w.action, "--fault", "list"))
		die("the engine fails without a fault; see %s/out", w.dir);
	count_points(ret);
	if (w.action == DUMP && engine_run(RESTORE, NULL, NULL))
		die("the restore fails without a fault; see %s/out", w.dir);
	if (!target_well(why, sizeof(why)))
		die("the target is not well after an undisturbed run: %s", why);
	if (w.action == RESTORE)
		target_away();
}

static bool no_images(char *why, size_t size)
{
	DIR *d = opendir("img");
	struct dirent *e;
	bool ok = true;

	while (d && (e = readdir(d))) {
		if (!strstr(e->d_name, ".img"))
			continue;
		snprintf(why, size, "image %.100s is left", e->d_name);
		ok = false;
	}
	if (d)
		closedir(d);
	return ok;
}

/* The next action works, and the target is as before the point. */
static bool next_works(char *why, size_t size)
{
	if (engine_run(w.action == RESTORE ? RESTORE : RUN_ON, NULL, NULL)) {
		snprintf(why, size, "the next time it fails too, without a fault");
		return false;
	}
	return !target_has_client() || target_well(why, size);
}

/* What the target should be. */
static bool outcome(bool success, char *why, size_t size)
{
	if (w.action == RESTORE && !success) {
		if (target_whole(why, size) == 0)
			return true;
		snprintf(why, size, "%d tasks are left", target_count());
		return false;
	}
	if (w.action == DUMP && success && engine_run(RESTORE, NULL, NULL)) {
		snprintf(why, size, "the images do not restore");
		return false;
	}
	return target_well(why, size);
}

static void complain(const char *point, const char *what, const char *why)
{
	char cmd[300];

	printf("%s: %s: %s: %s\n", w.kind, point, what, why);
	fflush(stdout);
	snprintf(cmd, sizeof(cmd), "grep -h 'fault:\\|Error' img/engine.log out | sort -u | sed 's/^/  /' | head -6");
	if (system(cmd))
		printf("  no message\n");
}

static void start_again(void)
{
	target_end();
	if (w.action != RESTORE) {
		target_start();
		return;
	}
	empty_images();
	target_start();
	if (engine_run(DUMP, NULL, NULL))
		die("the dump for the restore failed");
}

static void point(unsigned side, unsigned n)
{
	char name[32], why[512] = "";
	int64_t t0 = now_ms(), took;
	bool success, harmed;
	int status;

	snprintf(name, sizeof(name), "%s:%u", side_names[side], n);
	if (w.action != RESTORE)
		empty_images();
	status = engine_run(w.action, "--fault", name);
	took = now_ms() - t0;
	success = status == 0;
	w.tried++;
	borne += success;
	if (took > SLOW || WIFSIGNALED(status)) {
		snprintf(why, sizeof(why), "status %#x after %d ms", status, (int)took);
		complain(name, "failed", why);
		w.failed++;
	} else if (!success && !(engine_said("Error") && engine_said("Input/output error"))) {
		complain(name, "mute", "no cause");
		mute++;
	}
	if (!success && w.action != RESTORE && !no_images(why, sizeof(why))) {
		complain(name, "leftover", why);
		w.leftovers++;
	}
	harmed = !outcome(success, why, sizeof(why));
	if (harmed) {
		complain(name, "harmed", why);
		w.harmed++;
	}
	if (!nothing_left(why, sizeof(why))) {
		complain(name, "leftover", why);
		w.leftovers++;
	}
	if (!harmed && !success && !next_works(why, sizeof(why))) {
		complain(name, "failed", why);
		w.failed++;
		harmed = true;
	}
	if (harmed)
		start_again();
	else if (w.action == RESTORE)
		target_away();
}

int main(int argc, char **argv)
{
	unsigned points[SIDES], total = 0, stride = 1, at = 0;
	int64_t start, budget = 0, each;
	const char *only = NULL;
	int opt, rc;

	while ((opt = getopt(argc, argv, "k:a:t:p:")) != -1) {
		if (opt == 'k')
			w.kind = optarg;
		else if (opt == 't')
			budget = atoi(optarg) * 1000ll;
		else if (opt == 'p')
			only = optarg;
		else if (opt != 'a' || !watch_action(optarg))
			return 2;
	}
	if (argc - optind != 3)
		die("usage: faults [-k KIND] [-a run|dump|restore] [-t SECONDS] [-p SIDE:N] STASIS TARGET DIR");
	w.stasis = argv[optind];
	w.target = argv[optind + 1];
	w.dir = argv[optind + 2];
	watch_begin();
	start = now_ms();
	rehearse(points);
	each = 2 * (now_ms() - start) + 1;
	for (unsigned side = 0; side < SIDES; side++)
		total += points[side];
	if (budget)
		stride = total * each / budget + 1;
	printf("%s: %u points of the engine, %u of the warden, %u of the tasks; every %u\n", w.kind, points[0], points[1],
	       points[2], stride);
	for (unsigned side = 0; side < SIDES; side++)
		for (unsigned n = 1; n <= points[side]; n++, at++) {
			bool chosen = only ? !strncmp(only, side_names[side], strlen(side_names[side])) &&
					     strtoul(strchr(only, ':') + 1, NULL, 10) == n :
					     at % stride == 0;

			if (chosen && (!budget || now_ms() - start <= budget))
				point(side, n);
		}
	rc = watch_end();
	printf("%u failures without a cause in the message, %u faults borne\n", mute, borne);
	return rc || mute;
}
