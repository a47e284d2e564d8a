/* SPDX-License-Identifier: MIT */
#include "watch.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define JOURNALS "/run/stasis"
#define TASKS_MAX 16
#define FACTS (1 << 16)

struct watch w = { .kind = "tree" };
static struct kill_state *st;
static pid_t tasks[TASKS_MAX];
static int threads[TASKS_MAX];
static int ntasks;
static char facts[TASKS_MAX][FACTS]; /* of the undisturbed tasks */
static bool restored;		     /* since then */
static char group[4096];	     /* cgroup of kind frozen */

int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ll + ts.tv_nsec / 1000000;
}

void nap(int ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000l };

	nanosleep(&ts, NULL);
}

void die(const char *fmt, ...)
{
	int err = errno;
	va_list ap;

	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf(" (%s)\n", strerror(err));
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

static bool kind_is(const char *kind)
{
	return !strcmp(w.kind, kind);
}

/* ---- the engine ---- */

bool watch_action(const char *name)
{
	static const char *const names[] = { "run", "copy", "dump", "restore" };

	for (unsigned i = 0; i < 4; i++)
		if (!strcmp(names[i], name)) {
			w.action = i;
			return true;
		}
	return false;
}

void engine_exec(enum action action, const char *arg1, const char *arg2)
{
	int null = open("/dev/null", O_RDWR), out = open("out", O_WRONLY | O_CREAT | O_TRUNC, 0600);
	const char *argv[32] = { "stasis" };
	char pid[16];
	int n = 1;

	for (int i = 0; i < 3; i++)
		dup2(i < 1 || out < 0 ? null : out, i);
	close(null);
	close(out);
	snprintf(pid, sizeof(pid), "%d", (int)w.root);
	argv[n++] = action == RESTORE ? "restore" : "dump";
	argv[n++] = action == RESTORE ? "-d" : action <= COPY ? "--leave-running" : "--no-leave-running";
	if (action == COPY)
		argv[n++] = "--snapshot=always";
	if (action != RESTORE) {
		argv[n++] = "-t";
		argv[n++] = pid;
		if (kind_is("frozen")) {
			argv[n++] = "--freeze-cgroup";
			argv[n++] = group;
		}
	}
	if (target_has_client())
		argv[n++] = "--tcp-established";
	argv[n++] = "-D";
	argv[n++] = "img";
	argv[n++] = "-o";
	argv[n++] = "engine.log";
	argv[n++] = "-v4";
	argv[n++] = "--no-default-config";
	argv[n++] = arg1;
	argv[n] = arg2;
	execv(w.stasis, (char **)argv);
	_exit(121);
}

void engine_prepare(enum action action)
{
	int64_t end = now_ms() + PATIENCE;

	/* the pids must be free, also of zombies */
	for (int i = 0; action == RESTORE && i < ntasks; i++)
		while (kill(tasks[i], 0) == 0 && now_ms() < end)
			if (waitpid(-1, NULL, WNOHANG | __WALL) <= 0)
				nap(1);
}

int engine_run(enum action action, const char *arg1, const char *arg2)
{
	int status;
	pid_t pid;

	engine_prepare(action);
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0)
		engine_exec(action, arg1, arg2);
	while (waitpid(pid, &status, 0) != pid)
		if (errno != EINTR)
			die("waiting for the engine");
	if (!status && action > COPY)
		restored = true; /* what there will be */
	return status;
}

bool engine_said(const char *text)
{
	static char buf[1 << 20];

	slurp("img/engine.log", buf, sizeof(buf));
	if (strstr(buf, text))
		return true;
	slurp("out", buf, sizeof(buf));
	return strstr(buf, text) != NULL;
}

void empty_images(void)
{
	struct dirent *e;
	DIR *d = opendir("img");

	while (d && (e = readdir(d)))
		if (e->d_name[0] != '.')
			unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
}

/* ---- the state of the target ---- */

bool target_has_client(void)
{
	return kind_is("redis");
}

/* Mappings, descriptors and signal sets of a task as text. */
static void task_facts(pid_t pid, char *buf, size_t size)
{
	char path[64], text[32768], to[512];
	size_t at = 0;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	slurp(path, text, sizeof(text));
	/* the heap of a program that works changes by itself */
	for (char *line = kind_is("redis") ? NULL : strtok(text, "\n"); line && at < size; line = strtok(NULL, "\n"))
		at += snprintf(buf + at, size - at, "%s\n", line);
	for (int fd = 0; fd < 64 && at < size; fd++) {
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, fd);
		n = readlink(path, to, sizeof(to) - 1);
		if (n < 0)
			continue;
		to[n] = 0;
		at += snprintf(buf + at, size - at, "fd %d %s\n", fd, to);
	}
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	slurp(path, text, sizeof(text));
	for (char *line = strtok(text, "\n"); line && at < size; line = strtok(NULL, "\n"))
		if (!strncmp(line, "Sig", 3) && strncmp(line, "SigQ", 4))
			at += snprintf(buf + at, size - at, "%s\n", line);
}

/* How many threads; -1 with the reason when one is not as it should be: nobody traces it, and it runs or waits by itself. */
static int threads_at_large(pid_t pid, char *why, size_t size)
{
	const char *wrong = kind_is("stopped") ? "RSDtZX" : "tTZX";
	char path[64], text[8192];
	struct dirent *e;
	int n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	d = opendir(path);
	while (d && n >= 0 && (e = readdir(d))) {
		char *state, *tracer;

		if (e->d_name[0] == '.')
			continue;
		n++;
		snprintf(path, sizeof(path), "/proc/%d/task/%.20s/status", (int)pid, e->d_name);
		slurp(path, text, sizeof(text));
		state = strstr(text, "State:\t");
		tracer = strstr(text, "TracerPid:\t");
		if (state && tracer && !strchr(wrong, state[7]) && tracer[11] == '0')
			continue;
		snprintf(why, size, "thread %.20s of %d: %.18s, %.20s", e->d_name, (int)pid, state ? state : "no state",
			 tracer ? tracer : "no tracer");
		n = -1;
	}
	if (!d)
		snprintf(why, size, "task %d is gone", (int)pid);
	else
		closedir(d);
	return d ? n : -1;
}

static bool all_at_large(char *why, size_t size)
{
	for (int i = 0; i < ntasks; i++) {
		int n = threads_at_large(tasks[i], why, size);

		if (n != threads[i]) {
			if (n >= 0)
				snprintf(why, size, "task %d has %d threads instead of %d", (int)tasks[i], n, threads[i]);
			return false;
		}
	}
	return true;
}

/* Every thread finishes at least the round it is in and one more. */
static bool all_move(char *why, size_t size)
{
	int64_t end = now_ms() + PATIENCE;
	struct kill_state was = *st;

	for (unsigned i = 0; i < st->movers; i++)
		while (__atomic_load_n(&st->beat[i], __ATOMIC_SEQ_CST) < was.beat[i] + 2) {
			if (now_ms() >= end || !target_count()) {
				snprintf(why, size, "thread %u does not move", i);
				return false;
			}
			nap(1);
		}
	return true;
}

static bool wait_until(bool (*check)(char *why, size_t size), char *why, size_t size)
{
	int64_t end = now_ms() + PATIENCE;

	while (!check(why, size)) {
		if (now_ms() >= end)
			return false;
		nap(1);
	}
	return true;
}

/* ---- stopped and frozen ones ---- */

static void set_frozen(bool on)
{
	char path[5000];
	int fd;

	snprintf(path, sizeof(path), "%s/cgroup.freeze", group);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, on ? "1" : "0", 1) != 1)
		die("%s", path);
	close(fd);
}

static bool is_frozen(char *why, size_t size)
{
	char path[5000], text[256];

	snprintf(path, sizeof(path), "%s/cgroup.events", group);
	slurp(path, text, sizeof(text));
	snprintf(why, size, "its cgroup is not frozen any more");
	return strstr(text, "frozen 1") != NULL;
}

/* For the kinds that stand still: lets them move, or brings them back. */
static void let_move(bool on)
{
	char why[256];

	if (kind_is("stopped"))
		kill(w.root, on ? SIGCONT : SIGSTOP);
	if (kind_is("frozen") && !restored)
		set_frozen(!on);
	if (!on && !wait_until(kind_is("frozen") && !restored ? is_frozen : all_at_large, why, sizeof(why)))
		die("the target cannot be brought back into its state: %s", why);
}

/*
 * Mappings, descriptors and signals are those of the undisturbed tasks.  The warden of a killed engine may hold a thread
 * once more, to have it reap a copy: what it sees then passes.
 */
static bool same_facts(char *why, size_t size)
{
	static char text[FACTS];

	if (!all_at_large(why, size))
		return false;
	for (int i = 0; i < ntasks && !restored && !kind_is("restless"); i++) {
		memset(text, 0, sizeof(text));
		task_facts(tasks[i], text, sizeof(text));
		if (strcmp(text, facts[i])) {
			snprintf(why, size, "mappings, descriptors or signals of task %d changed", i);
			return false;
		}
	}
	return true;
}

bool target_well(char *why, size_t size)
{
	if (!wait_until(same_facts, why, size))
		return false;
	if (kind_is("frozen") && !restored && !wait_until(is_frozen, why, size))
		return false;
	let_move(true);
	if (!all_move(why, size))
		return false;
	if (__atomic_load_n(&st->bad, __ATOMIC_SEQ_CST)) {
		nap(5);
		snprintf(why, size, "%s", st->why);
		return false;
	}
	let_move(false);
	return true;
}

static bool exists(pid_t pid)
{
	char path[64], text[1024], *p;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	return slurp(path, text, sizeof(text)) && (p = strrchr(text, ')')) && p[2] != 'Z' && p[2] != 'X';
}

int target_count(void)
{
	int n = 0;

	while (waitpid(-1, NULL, WNOHANG | __WALL) > 0)
		;
	for (int i = 0; i < ntasks; i++)
		n += exists(tasks[i]);
	return n;
}

int target_whole(char *why, size_t size)
{
	int64_t end = now_ms() + PATIENCE;
	int n;

	while ((n = target_count()) != 0 && now_ms() < end) {
		/* one that was just made, and is not traced yet, looks well until it ends */
		if (n == ntasks && all_at_large(why, size)) {
			if (target_well(why, size))
				return 1;
			if (target_count())
				return -1;
		}
		nap(2);
	}
	if (n == 0)
		return 0;
	if (n < ntasks)
		snprintf(why, size, "%d tasks of %d are left", n, ntasks);
	return -1;
}

/* ---- its life ---- */

/* Every process here but this one and the first; false when there are too many. */
static int others(pid_t *ret, int max)
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	int n = 0;

	while (d && (e = readdir(d))) {
		pid_t pid = atoi(e->d_name);

		if (!isdigit(e->d_name[0]) || pid == 1 || pid == getpid() || pid == st->client || !exists(pid))
			continue;
		if (n < max)
			ret[n] = pid;
		n++;
	}
	if (d)
		closedir(d);
	return n;
}

static void join_group(void)
{
	char path[5000];
	int fd;

	snprintf(path, sizeof(path), "%s/cgroup.procs", group);
	fd = open(path, O_WRONLY);
	if (fd < 0 || write(fd, "0", 1) != 1)
		_exit(121);
	close(fd);
}

static void target_exec(void)
{
	int null = open("/dev/null", O_RDWR);

	for (int i = 0; i < 3; i++)
		dup2(null, i);
	close(null);
	setsid();
	if (kind_is("frozen"))
		join_group();
	execl(w.target, "target", w.kind, w.dir, (char *)NULL);
	_exit(121);
}

static void learn_tasks(void)
{
	char why[256];
	struct dirent *e;

	ntasks = kind_is("restless") ? 1 : others(tasks, TASKS_MAX);
	tasks[0] = ntasks == 1 ? w.root : tasks[0];
	if (ntasks < 1 || ntasks > TASKS_MAX)
		die("%d tasks", ntasks);
	for (int i = 0; i < ntasks; i++) {
		char path[64];
		DIR *d;

		threads[i] = 0;
		snprintf(path, sizeof(path), "/proc/%d/task", (int)tasks[i]);
		d = opendir(path);
		while (d && (e = readdir(d)))
			threads[i] += e->d_name[0] != '.';
		if (d)
			closedir(d);
	}
	let_move(false);
	if (!wait_until(all_at_large, why, sizeof(why)))
		die("the target is not ready: %s", why);
	memset(facts, 0, sizeof(facts));
	for (int i = 0; i < ntasks; i++)
		task_facts(tasks[i], facts[i], sizeof(facts[i]));
}

void target_start(void)
{
	int status;
	int64_t end;

	memset(st, 0, sizeof(*st));
	st->tasks = 1;
	restored = false;
	w.root = fork();
	if (w.root < 0)
		die("fork");
	if (w.root == 0)
		target_exec();
	for (end = now_ms() + 10000; __atomic_load_n(&st->ready, __ATOMIC_SEQ_CST) < st->tasks; nap(2)) {
		if (waitpid(w.root, &status, WNOHANG) == w.root && WIFEXITED(status) && WEXITSTATUS(status) == 77) {
			printf("SKIP: target %s cannot run here\n", w.kind);
			exit(77);
		}
		if (now_ms() > end)
			die("the target does not get ready: %s", st->why);
	}
	nap(30);
	learn_tasks();
}

/* Before the target: else it would complain that its connection has ended. */
static void client_end(void)
{
	if (!st->client)
		return;
	kill(st->client, SIGKILL);
	while (waitpid(st->client, NULL, 0) < 0 && errno == EINTR)
		;
	st->client = 0;
}

void target_away(void)
{
	if (!target_has_client()) {
		target_end();
		return;
	}
	empty_images();
	if (engine_run(DUMP, NULL, NULL))
		die("the dump that makes room for a restore failed; see %s/out", w.dir);
}

void target_end(void)
{
	int64_t end = now_ms() + PATIENCE;

	client_end();
	if (group[0])
		set_frozen(false);
	while (target_count() && now_ms() < end) {
		for (int i = 0; i < ntasks; i++)
			if (exists(tasks[i]))
				kill(tasks[i], SIGKILL);
		nap(1);
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

static bool is_task(pid_t pid)
{
	for (int i = 0; i < ntasks; i++)
		if (tasks[i] == pid)
			return true;
	return false;
}

static bool no_strangers(char *why, size_t size)
{
	pid_t pids[TASKS_MAX * 2];
	int n = others(pids, TASKS_MAX * 2);

	while (waitpid(-1, NULL, WNOHANG | __WALL) > 0)
		;
	for (int i = 0; i < n && i < TASKS_MAX * 2; i++) {
		char path[64], comm[64];

		if (is_task(pids[i]))
			continue;
		snprintf(path, sizeof(path), "/proc/%d/comm", (int)pids[i]);
		slurp(path, comm, sizeof(comm));
		comm[strcspn(comm, "\n")] = 0;
		if (kind_is("restless") && strncmp(comm, "stasis", 6))
			continue; /* it has more than those that are known */
		snprintf(why, size, "process %d (%s) is left", (int)pids[i], comm);
		return false;
	}
	return true;
}

/* Connections of a tree that runs are not held back; those of one that is only in images are. */
static bool no_rules(char *why, size_t size)
{
	char text[256] = "";
	FILE *f;

	if (!target_has_client() || !target_count())
		return true;
	f = popen("nft list tables 2>/dev/null; ip -br link | grep -v '^lo '", "r");
	if (f && fgets(text, sizeof(text), f)) {
		text[strcspn(text, "\n")] = 0;
		snprintf(why, size, "in the network: %s", text);
	}
	if (f)
		pclose(f);
	return !text[0];
}

bool nothing_left(char *why, size_t size)
{
	int64_t end = now_ms() + PATIENCE;
	char name[256] = "";
	bool recovered;
	pid_t pid;

	if (!wait_until(no_strangers, why, size) || !wait_until(no_rules, why, size))
		return false;
	while (journals(name, sizeof(name)) && now_ms() < end)
		nap(1);
	if (!journals(name, sizeof(name)))
		return true;
	pid = fork();
	if (pid == 0) {
		execl(w.stasis, "stasis", "recover", (char *)NULL);
		_exit(121);
	}
	waitpid(pid, NULL, 0);
	recovered = !journals(name, sizeof(name));
	snprintf(why, size, "%s was left behind, recover %s it", name, recovered ? "removes" : "does not remove");
	return false;
}

/* ---- begin and end ---- */

static void remove_group(void)
{
	for (int i = 0; i < 100 && rmdir(group) < 0 && errno == EBUSY; i++)
		nap(20);
}

/* A cgroup of version 2, wherever that is mounted: here. */
static void make_group(void)
{
	char path[4000];

	snprintf(path, sizeof(path), "%s/cgroup", w.dir);
	mkdir(path, 0700);
	snprintf(group, sizeof(group), "%s/stasis-%d", path, (int)getpid());
	if (mount("cgroup2", path, "cgroup2", 0, NULL) < 0 || mkdir(group, 0700) < 0) {
		printf("SKIP: no cgroup can be made here\n");
		exit(77);
	}
	atexit(remove_group);
}

void watch_begin(void)
{
	int fd;

	setvbuf(stdout, NULL, _IOLBF, 0);
	mkdir("/run", 0755);
	mkdir(JOURNALS, 0700);
	if (mount("stasis", JOURNALS, "tmpfs", 0, "mode=700") < 0)
		die("cannot cover %s", JOURNALS);
	if (chdir(w.dir) < 0)
		die("%s", w.dir);
	mkdir("img", 0700);
	fd = open("state", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, sizeof(*st)) < 0)
		die("%s/state", w.dir);
	st = mmap(NULL, sizeof(*st), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (st == MAP_FAILED)
		die("mmap");
	close(fd);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (kind_is("frozen"))
		make_group();
	target_start();
}

int watch_end(void)
{
	target_end();
	printf("points tried %u, harmed %u, leftovers %u, failed %u\n", w.tried, w.harmed, w.leftovers, w.failed);
	return w.harmed || w.leftovers || w.failed || !w.tried;
}
