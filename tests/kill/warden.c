/* SPDX-License-Identifier: MIT */
/*
 * warden [-k KIND] [-a run|copy] [-t SECONDS] [-s STRIDE] [-f FIRST] [-n COUNT] [-r] STASIS TARGET DIR: kills the warden of a
 * dump (--leave-running; copy: with --snapshot always) at its N-th system call, for N = 1, 2, 3, …
 *
 * Its death leaves nobody who could put the tasks back, so they must come back by themselves: alive, consistent,
 * moving, with their own mappings, descriptors and signals.  What the journal has is undone by `stasis recover`,
 * after which nothing may be left.  Options and verdicts are those of sweep.c.
 * -r: at a random time instead, while the target's threads may run code of the engine.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "watch.h"

static bool random_time;

static bool is_warden(pid_t pid)
{
	char path[64], name[32] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	f = fopen(path, "r");
	if (f && !fgets(name, sizeof(name), f))
		name[0] = 0;
	if (f)
		fclose(f);
	return !strcmp(name, "stasis-warden\n");
}

static pid_t start_engine(bool traced)
{
	pid_t pid;

	engine_prepare(w.action);
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		if (traced && ptrace(PTRACE_TRACEME, 0, 0, 0) < 0)
			_exit(120);
		if (traced)
			raise(SIGSTOP);
		engine_exec(w.action, NULL, NULL);
	}
	return pid;
}

static bool is_event(int status, int event)
{
	return status >> 8 == (SIGTRAP | event << 8);
}

/* The warden dies at its call n (0: never). Returns how many it made; *ret_status: of the engine. */
static unsigned engine(unsigned n, int *ret_status)
{
	pid_t pid = start_engine(true), warden = 0;
	bool inside = false;
	unsigned calls = 0;
	int status;

	if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
		die("the engine does not start");
	ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL | PTRACE_O_TRACEFORK);
	ptrace(PTRACE_CONT, pid, 0, 0);
	for (;;) {
		pid_t who = waitpid(-1, &status, __WALL);
		int sig = 0;

		if (who < 0)
			die("waiting for the engine");
		if (!WIFSTOPPED(status)) {
			if (who != pid)
				continue;
			*ret_status = status;
			return calls;
		}
		if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
			if (!warden && is_warden(who))
				warden = who;
			inside = !inside;
			if (who == warden && inside && ++calls == n)
				kill(who, SIGKILL);
		} else if (WSTOPSIG(status) != SIGTRAP && WSTOPSIG(status) != SIGSTOP) {
			sig = WSTOPSIG(status);
		} else if (is_event(status, PTRACE_EVENT_FORK) && who == pid) {
			inside = false;
		}
		ptrace(who == pid ? PTRACE_CONT : PTRACE_SYSCALL, who, 0, sig);
	}
}

/* The warden dies us microseconds after its birth. Returns how long the engine took. */
static unsigned engine_random(unsigned us, int *ret_status)
{
	struct timespec ts = { us / 1000000, us % 1000000 * 1000l };
	int64_t start = now_ms();
	pid_t pid = start_engine(false), warden = 0;
	char path[64], text[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
	while (us && !warden && waitpid(pid, ret_status, WNOHANG) == 0) {
		FILE *f = fopen(path, "r");

		if (f && fgets(text, sizeof(text), f) && is_warden(atoi(text)))
			warden = atoi(text);
		if (f)
			fclose(f);
	}
	if (warden) {
		nanosleep(&ts, NULL);
		kill(warden, SIGKILL);
	}
	if (!us || warden)
		while (waitpid(pid, ret_status, 0) != pid)
			if (errno != EINTR)
				die("waiting for the engine");
	return (now_ms() - start) * 1000;
}

static void recover(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		if (!freopen("/dev/null", "w", stdout))
			_exit(121);
		execl(w.stasis, "stasis", "recover", (char *)NULL);
		_exit(121);
	}
	while (waitpid(pid, NULL, 0) != pid)
		if (errno != EINTR)
			die("waiting for the recovery");
}

/* The way back takes a moment. */
static bool comes_back(char *why, size_t size)
{
	int64_t end = now_ms() + 3000;

	while (!target_well(why, size)) {
		if (now_ms() >= end)
			return false;
		nap(5);
	}
	return true;
}

/* The warden dies at n. False when the dump ended before. */
static bool point(unsigned n)
{
	char why[512] = "";
	int status = 0;

	empty_images();
	if (random_time)
		engine_random(n, &status);
	else
		engine(n, &status);
	if (!random_time && WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return false;
	w.tried++;
	recover();
	if (!comes_back(why, sizeof(why))) {
		printf("%s: point %u: harmed: %s\n", w.kind, n, why);
		w.harmed++;
		target_end();
		target_start();
	}
	if (!nothing_left(why, sizeof(why))) {
		printf("%s: point %u: leftover: %s\n", w.kind, n, why);
		w.leftovers++;
	}
	return true;
}

int main(int argc, char **argv)
{
	unsigned total, stride = 1, first = 1, count = ~0u;
	int64_t start, budget = 0;
	int opt, status;

	while ((opt = getopt(argc, argv, "k:a:t:s:f:n:r")) != -1) {
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
		else if (opt == 'r')
			random_time = true;
		else if (opt != 'a' || !watch_action(optarg) || w.action > COPY)
			return 2;
	}
	if (argc - optind != 3)
		die("usage: warden [-k KIND] [-a run|copy] [-t SECONDS] [-s STRIDE] [-f FIRST] [-n COUNT] [-r] STASIS "
		    "TARGET DIR");
	w.stasis = argv[optind];
	w.target = argv[optind + 1];
	w.dir = argv[optind + 2];
	watch_begin();
	start = now_ms();
	total = random_time ? engine_random(0, &status) : engine(0, &status);
	if (status)
		die("the engine fails when nobody kills its warden, status %#x", status);
	if (budget && !random_time)
		stride = total * (now_ms() - start + 1) / budget + 1;
	printf("%s: %s\n", w.kind, random_time ? "the warden is killed at random times" :
	       "the warden is killed at its system calls");
	srand(getpid() ^ now_ms());
	for (unsigned n = first; count--; n += stride)
		if (!point(random_time ? 1 + rand() % total : n) || (budget && now_ms() - start > budget))
			break;
	return watch_end();
}
