/* SPDX-License-Identifier: MIT */
/*
 * sweep [-t SECONDS] [-s STRIDE] [-f FIRST] [-n COUNT] [-r] STASIS TARGET DIR: kills the engine at its N-th system call, for N = 1, 2, 3, …
 *
 * For each N the driver starts a dump (--leave-running; -r: a restore), counts the system calls of the engine process
 * alone with ptrace, kills it with SIGKILL when the N-th begins, and then looks at what is left:
 *	harmed	   a task of the target is gone, stopped, still traced, finds something wrong with itself, no longer
 *		   moves, or has other mappings or descriptors than before; -r: the restore left some tasks behind
 *		   but not all, or the restored ones are not well
 *	leftover   something in /run/stasis that does not go by itself within some seconds, or not even by `recover`
 * -t bounds the time: the points are then a stride apart; -f and -n choose the first one and how many.  Prints what is wrong with each, and a last line.
 *
 * Needs mount and pid namespaces of its own (tests/kill/run.sh): it covers /run/stasis and kills what it finds.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kill.h"

#define JOURNALS "/run/stasis"
#define PATIENCE 8000 /* ms */

static const char *stasis, *target, *dir;
static struct kill_state *st;
static char facts[KILL_TASKS][1 << 16]; /* mappings and descriptors of the undisturbed tasks */
static bool restoring;
static pid_t root;
static unsigned tried, harmed, leftovers;

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ll + ts.tv_nsec / 1000000;
}

static void nap(int ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000l };

	nanosleep(&ts, NULL);
}

__attribute__((format(printf, 1, 2), noreturn)) static void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf(" (%s)\n", strerror(errno));
	exit(2);
}

static size_t slurp(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t have = 0;
	ssize_t n = 0;

	while (fd >= 0 && have < size - 1 && (n = read(fd, buf + have, size - 1 - have)) > 0)
		have += n;
	if (fd >= 0)
		close(fd);
	buf[have] = 0;
	return have;
}

/* ---- the engine ---- */

/* Runs the engine and kills it at system call n (0: never). Returns how many it made; *ret_status: wait status. */
static unsigned engine(unsigned n, int *ret_status)
{
	unsigned calls = 0;
	bool inside = false;
	char pid_text[16];
	int status;
	pid_t pid;

	snprintf(pid_text, sizeof(pid_text), "%d", (int)root);
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR);

		for (int i = 0; i < 3; i++)
			dup2(null, i);
		if (chdir(dir) < 0 || ptrace(PTRACE_TRACEME, 0, 0, 0) < 0)
			_exit(120);
		raise(SIGSTOP);
		if (restoring)
			execl(stasis, "stasis", "restore", "-d", "-D", "img", "-o", "restore.log", "-v4", (char *)NULL);
		else
			execl(stasis, "stasis", "dump", "-t", pid_text, "--leave-running", "-D", "img", "-o", "dump.log", "-v4",
			      (char *)NULL);
		_exit(121);
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

/* ---- the target ---- */

/* The mappings and descriptors of a task as text. The heap and stacks may grow by themselves: only their starts count. */
static void task_facts(pid_t pid, char *buf, size_t size)
{
	char path[64], link[64], text[32768], to[512];
	size_t at = 0;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	slurp(path, text, sizeof(text));
	for (char *line = strtok(text, "\n"); line && at < size; line = strtok(NULL, "\n"))
		at += snprintf(buf + at, size - at, "%s\n", line);
	for (int fd = 0; fd < 64 && at < size; fd++) {
		ssize_t n;

		snprintf(link, sizeof(link), "/proc/%d/fd/%d", (int)pid, fd);
		n = readlink(link, to, sizeof(to) - 1);
		if (n < 0)
			continue;
		to[n] = 0;
		at += snprintf(buf + at, size - at, "fd %d %s\n", fd, to);
	}
}

/* Whether every thread of the task runs or waits by itself and nobody traces it; else why not. */
static bool at_large(pid_t pid, char *why, size_t size)
{
	char path[64], text[8192];
	struct dirent *e;
	int threads = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	d = opendir(path);
	if (!d) {
		snprintf(why, size, "task %d is gone", (int)pid);
		return false;
	}
	while ((e = readdir(d))) {
		char *state, *tracer;

		if (e->d_name[0] == '.')
			continue;
		threads++;
		snprintf(path, sizeof(path), "/proc/%d/task/%.20s/status", (int)pid, e->d_name);
		slurp(path, text, sizeof(text));
		state = strstr(text, "State:\t");
		tracer = strstr(text, "TracerPid:\t");
		if (!state || !tracer || strchr("tTZX", state[7]) || tracer[11] != '0') {
			snprintf(why, size, "thread %.20s of %d: %.18s, %.20s", e->d_name, (int)pid, state ? state : "no state",
				 tracer ? tracer : "no tracer");
			closedir(d);
			return false;
		}
	}
	closedir(d);
	if (threads != KILL_THREADS)
		snprintf(why, size, "task %d has %d threads", (int)pid, threads);
	return threads == KILL_THREADS;
}

static bool all_at_large(char *why, size_t size)
{
	int64_t end = now_ms() + PATIENCE;

	for (;;) {
		bool ok = true;

		for (int i = 0; i < KILL_TASKS && ok; i++)
			ok = at_large(st->pid[i], why, size);
		if (ok || now_ms() >= end)
			return ok;
		nap(1);
	}
}

/* Every thread finishes at least the wait it is in and one more. */
static bool all_move(char *why, size_t size)
{
	int64_t end = now_ms() + PATIENCE;
	struct kill_state was = *st;

	for (int i = 0; i < KILL_TASKS; i++)
		for (int j = 0; j < KILL_THREADS; j++)
			while (__atomic_load_n(&st->beat[i][j], __ATOMIC_SEQ_CST) < was.beat[i][j] + 2) {
				if (now_ms() >= end) {
					snprintf(why, size, "thread %d of task %d does not move", j, i);
					return false;
				}
				nap(1);
			}
	return true;
}

static bool target_well(char *why, size_t size)
{
	char text[sizeof(facts[0])];

	if (!all_at_large(why, size) || !all_move(why, size))
		return false;
	if (__atomic_load_n(&st->bad, __ATOMIC_SEQ_CST)) {
		nap(5);
		snprintf(why, size, "%s", st->why);
		return false;
	}
	for (int i = 0; i < KILL_TASKS && !restoring; i++) {
		task_facts(st->pid[i], text, sizeof(text));
		if (strcmp(text, facts[i])) {
			snprintf(why, size, "mappings or descriptors of task %d changed", i);
			return false;
		}
	}
	return true;
}

static void target_start(void)
{
	int64_t end;

	memset(st, 0, sizeof(*st));
	root = fork();
	if (root < 0)
		die("fork");
	if (root == 0) {
		int null = open("/dev/null", O_RDWR);

		for (int i = 0; i < 3; i++)
			dup2(null, i);
		setsid();
		execl(target, "target", dir, (char *)NULL);
		_exit(121);
	}
	for (end = now_ms() + 10000; __atomic_load_n(&st->ready, __ATOMIC_SEQ_CST) < KILL_TASKS; nap(5))
		if (now_ms() > end)
			die("the target does not get ready");
	nap(100);
	for (int i = 0; i < KILL_TASKS; i++)
		task_facts(st->pid[i], facts[i], sizeof(facts[i]));
}

/* How many tasks of the target exist, zombies not counted. */
static int target_count(void)
{
	int n = 0;

	while (waitpid(-1, NULL, WNOHANG | __WALL) > 0)
		;
	for (int i = 0; i < KILL_TASKS; i++) {
		char path[64], text[1024], *p;

		snprintf(path, sizeof(path), "/proc/%d/stat", (int)st->pid[i]);
		if (slurp(path, text, sizeof(text)) && (p = strrchr(text, ')')) && p[2] != 'Z' && p[2] != 'X')
			n++;
	}
	return n;
}

static void target_end(void)
{
	int64_t end = now_ms() + PATIENCE;

	while (target_count() && now_ms() < end) {
		for (int i = 0; i < KILL_TASKS; i++)
			kill(st->pid[i], SIGKILL);
		nap(2);
	}
	if (target_count())
		die("the target does not die");
}

/* ---- leftovers ---- */

static int journals(char *name, size_t size)
{
	DIR *d = opendir(JOURNALS);
	struct dirent *e;
	int n = 0;

	while (d && (e = readdir(d)))
		if (e->d_name[0] != '.') {
			snprintf(name, size, "%s/%.200s", JOURNALS, e->d_name);
			n++;
		}
	if (d)
		closedir(d);
	return n;
}

static bool nothing_left(char *why, size_t size)
{
	int64_t end = now_ms() + PATIENCE;
	char name[256] = "";
	bool recovered;
	pid_t pid;

	while (journals(name, sizeof(name)) && now_ms() < end)
		nap(1);
	if (!journals(name, sizeof(name)))
		return true;
	pid = fork();
	if (pid == 0) {
		execl(stasis, "stasis", "recover", (char *)NULL);
		_exit(121);
	}
	waitpid(pid, NULL, 0);
	recovered = !journals(name, sizeof(name));
	snprintf(why, size, "%s was left behind, recover %s it", name, recovered ? "removes" : "does not remove");
	return false;
}

/* ---- the sweep ---- */

static void empty_images(void)
{
	char path[4096];
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "%s/img", dir);
	d = opendir(path);
	while (d && (e = readdir(d)))
		if (e->d_name[0] != '.')
			unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
}

/* A restore that was killed: all tasks are there and well, or, soon, none. */
static bool restored_or_nothing(char *why, size_t size)
{
	int64_t end = now_ms() + PATIENCE;
	int n;

	while ((n = target_count()) != 0 && now_ms() < end) {
		char unused[256];

		if (n == KILL_TASKS && at_large(st->pid[0], unused, sizeof(unused)) && target_well(why, size)) {
			target_end();
			return true;
		}
		nap(2);
	}
	if (n == 0)
		return true;
	if (n < KILL_TASKS)
		snprintf(why, size, "%d tasks of %d are left", n, KILL_TASKS);
	target_end();
	return false;
}

/* The engine dies at call n. False when it ended before. */
static bool point(unsigned n)
{
	char why[512] = "";
	int status;
	bool ok;

	if (!restoring)
		empty_images();
	engine(n, &status);
	if (WIFEXITED(status)) {
		if (WEXITSTATUS(status) != 0) {
			printf("call %u: the engine failed, exit status %d; see %s/img\n", n, WEXITSTATUS(status), dir);
			harmed++;
		}
		if (restoring)
			target_end();
		return false;
	}
	tried++;
	ok = restoring ? restored_or_nothing(why, sizeof(why)) : target_well(why, sizeof(why));
	if (!ok) {
		printf("call %u: harmed: %s\n", n, why);
		harmed++;
		if (!restoring) {
			target_end();
			target_start();
		}
	}
	if (!nothing_left(why, sizeof(why))) {
		printf("call %u: leftover: %s\n", n, why);
		leftovers++;
	}
	return true;
}

static void prepare_images(void)
{
	char pid_text[16];
	int status;
	pid_t pid;

	snprintf(pid_text, sizeof(pid_text), "%d", (int)root);
	pid = fork();
	if (pid == 0) {
		if (chdir(dir) < 0)
			_exit(120);
		execl(stasis, "stasis", "dump", "-t", pid_text, "-D", "img", "-o", "dump.log", "-v4", (char *)NULL);
		_exit(121);
	}
	if (waitpid(pid, &status, 0) != pid || status)
		die("the dump for the restore failed");
	while (target_count())
		nap(2);
}

static void set_up(void)
{
	char path[4096];
	int fd;

	mkdir("/run", 0755);
	mkdir(JOURNALS, 0700);
	if (mount("stasis", JOURNALS, "tmpfs", 0, NULL) < 0)
		die("cannot cover %s", JOURNALS);
	snprintf(path, sizeof(path), "%s/img", dir);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/state", dir);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, sizeof(*st)) < 0)
		die("%s", path);
	st = mmap(NULL, sizeof(*st), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (st == MAP_FAILED)
		die("mmap");
	close(fd);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
}

int main(int argc, char **argv)
{
	unsigned total, stride = 1, first = 1, count = ~0u;
	int64_t start, budget = 0;
	char why[512];
	int opt, status;

	setvbuf(stdout, NULL, _IOLBF, 0);
	while ((opt = getopt(argc, argv, "t:s:f:n:r")) != -1)
		switch (opt) {
		case 't':
			budget = atoi(optarg) * 1000ll;
			break;
		case 's':
			stride = atoi(optarg) > 0 ? atoi(optarg) : 1;
			break;
		case 'f':
			first = atoi(optarg);
			break;
		case 'n':
			count = atoi(optarg);
			break;
		case 'r':
			restoring = true;
			break;
		default:
			return 2;
		}
	if (argc - optind != 3)
		die("usage: sweep [-t SECONDS] [-s STRIDE] [-f FIRST] [-n COUNT] [-r] STASIS TARGET DIR");
	stasis = argv[optind];
	target = argv[optind + 1];
	dir = argv[optind + 2];
	set_up();
	target_start();
	if (restoring)
		prepare_images();
	start = now_ms();
	total = engine(0, &status);
	if (status)
		die("the engine fails when nobody kills it, status %#x; see %s/img", status, dir);
	if (!target_well(why, sizeof(why)))
		die("the target is not well after an undisturbed run: %s", why);
	if (restoring)
		target_end();
	if (budget) {
		int64_t each = now_ms() - start + 1;

		stride = total * each / budget + 1;
	}
	printf("the engine makes %u system calls; killed at every %u\n", total, stride);
	for (unsigned n = first; count-- && point(n); n += stride)
		if (budget && now_ms() - start > budget)
			break;
	if (!restoring)
		target_end();
	printf("points tried %u, harmed %u, leftovers %u\n", tried, harmed, leftovers);
	return harmed || leftovers || !tried;
}
