/* SPDX-License-Identifier: MIT */
/*
 * sweep [-k KIND] [-a run|copy|dump|restore] [-t SECONDS] [-s STRIDE] [-f FIRST] [-n COUNT] STASIS TARGET DIR: kills the
 * engine at its N-th system call, for N = 1, 2, 3, …
 *
 * For each N the driver starts the action (run: dump --leave-running; copy: with --snapshot always), counts the system calls of the engine process
 * alone with ptrace, kills it with SIGKILL when the N-th begins, and then looks at what is left:
 *	harmed	   a task of the target is gone, stopped, still traced, finds something wrong with itself, no longer
 *		   moves, or has other mappings, descriptors or signals than before.  Once a dump was told to kill the
 *		   tree all of it is gone, and the images restore it; a restore leaves all of it, well, or nothing.
 *	leftover   a process, or something in /run/stasis, that does not go by itself, or not even by `recover`
 *	failed	   the engine did not do its work although nobody killed it
 * -t bounds the time: the points are then a stride apart; -f and -n choose the first one and how many.  Prints what is
 * wrong with each, and a last line.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "watch.h"

/* Runs the engine and kills it at system call n (0: never). Returns how many it made; *ret_status: wait status. */
static unsigned engine(unsigned n, int *ret_status)
{
	unsigned calls = 0;
	bool inside = false;
	int status;
	pid_t pid;

	engine_prepare(w.action);
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, 0, 0) < 0)
			_exit(120);
		raise(SIGSTOP);
		engine_exec(w.action, NULL, NULL);
	}
	if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
		die("the engine does not start");
	ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
	ptrace(PTRACE_SYSCALL, pid, 0, 0);
	for (;;) {
		int sig = 0;

		if (waitpid(pid, &status, __WALL) != pid)
			die("waiting for the engine");
		if (!WIFSTOPPED(status))
			break;
		if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
			inside = !inside;
			if (inside && ++calls == n)
				kill(pid, SIGKILL);
		} else if (WSTOPSIG(status) != SIGTRAP) {
			sig = WSTOPSIG(status);
		}
		ptrace(PTRACE_SYSCALL, pid, 0, sig);
	}
	*ret_status = status;
	return calls;
}

/* After a killed restore: nothing of the tree is there, or all of it; then everything is as before it. */
static bool restore_outcome(char *why, size_t size)
{
	int whole = target_whole(why, size);

	/* the connection that waits has survived this, too */
	if (whole == 0 && target_has_client()) {
		if (engine_run(RESTORE, NULL, NULL)) {
			snprintf(why, size, "the next restore fails");
			return false;
		}
		if (!target_well(why, size))
			return false;
		whole = 1;
	}
	if (whole == 1)
		target_away();
	return whole >= 0;
}

/* What the target should be after the engine was killed. */
static bool outcome(char *why, size_t size)
{
	int whole;

	if (w.action <= COPY)
		return target_well(why, size);
	if (w.action == RESTORE)
		return restore_outcome(why, size);
	whole = target_whole(why, size);
	if (w.action == DUMP && whole == 0) {
		/* it was past the point of no return: then the images are all there is */
		if (engine_run(RESTORE, NULL, NULL)) {
			snprintf(why, size, "all tasks are gone, and the images do not restore");
			return false;
		}
		return target_well(why, size);
	}
	return whole >= 0;
}

static void start_again(void)
{
	target_end();
	if (w.action != RESTORE || target_has_client())
		target_start();
	if (w.action == RESTORE && target_has_client())
		target_away();
}

/* The engine dies at call n. False when it ended before. */
static bool point(unsigned n)
{
	char why[512] = "";
	int status;

	if (w.action != RESTORE)
		empty_images();
	engine(n, &status);
	if (WIFEXITED(status)) {
		if (WEXITSTATUS(status) != 0) {
			printf("call %u: the engine failed, exit status %d; see %s/img\n", n, WEXITSTATUS(status), w.dir);
			w.failed++;
		}
		return false;
	}
	w.tried++;
	if (!outcome(why, sizeof(why))) {
		printf("%s: call %u: harmed: %s\n", w.kind, n, why);
		w.harmed++;
		start_again();
	}
	if (!nothing_left(why, sizeof(why))) {
		printf("%s: call %u: leftover: %s\n", w.kind, n, why);
		w.leftovers++;
	}
	return true;
}

/* An undisturbed run; afterwards everything is as each point expects it. Returns how many calls there are. */
static unsigned rehearse(void)
{
	char why[512] = "";
	unsigned total;
	int status;

	if (w.action == RESTORE && engine_run(DUMP, NULL, NULL))
		die("the dump for the restore failed");
	total = engine(0, &status);
	if (status)
		die("the engine fails when nobody kills it, status %#x; see %s/img", status, w.dir);
	if (w.action == DUMP && engine_run(RESTORE, NULL, NULL))
		die("the restore fails when nobody kills it; see %s/img", w.dir);
	if (!target_well(why, sizeof(why)))
		die("the target is not well after an undisturbed run: %s", why);
	if (w.action == RESTORE)
		target_away();
	return total;
}

int main(int argc, char **argv)
{
	unsigned total, stride = 1, first = 1, count = ~0u;
	int64_t start, budget = 0;
	int opt;

	while ((opt = getopt(argc, argv, "k:a:t:s:f:n:")) != -1) {
		if (opt == 'k')
			w.kind = optarg;
		else if (opt == 't')
			budget = atoi(optarg) * 1000ll;
		else if (opt == 's')
			stride = atoi(optarg) > 0 ? atoi(optarg) : 1;
		else if (opt == 'f')
			first = atoi(optarg);
		else if (opt == 'n')
			count = atoi(optarg);
		else if (opt != 'a' || !watch_action(optarg))
			return 2;
	}
	if (argc - optind != 3)
		die("usage: sweep [-k KIND] [-a run|copy|dump|restore] [-t SECONDS] [-s STRIDE] [-f FIRST] [-n COUNT] "
		    "STASIS TARGET DIR");
	w.stasis = argv[optind];
	w.target = argv[optind + 1];
	w.dir = argv[optind + 2];
	watch_begin();
	start = now_ms();
	total = rehearse();
	if (budget) {
		int64_t each = now_ms() - start + 1;

		stride = total * each / budget + 1;
	}
	printf("%s: the engine makes %u system calls; killed at every %u\n", w.kind, total, stride);
	for (unsigned n = first; count-- && point(n); n += stride)
		if (budget && now_ms() - start > budget)
			break;
	return watch_end();
}
