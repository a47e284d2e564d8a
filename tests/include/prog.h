/* SPDX-License-Identifier: MIT */
/*
 * prog.h: frame of a self-checking program (tests/prog.sh).
 *
 *	int main(int argc, char **argv)
 *	{
 *		prog_init(argc, argv);
 *		…set the state…
 *		prog_ready();		// waits until the harness has dumped and restored us
 *		CHECK(x == 3);		// "FAIL file:line: x == 3" on failure
 *		prog_ok();
 *	}
 *
 * The waiting holds no descriptor and makes no call that would change what is tested.
 * Children check themselves: prog_child() forks one that runs a function and ends with
 * prog_child_ok(); prog_reap() expects that.  The first result stays, whoever gives it.
 */
#ifndef TESTS_PROG_H
#define TESTS_PROG_H

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char prog_dir[4096];

static void prog_write(const char *name, const char *text)
{
	char path[4200], tmp[4300];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", prog_dir, name);
	snprintf(tmp, sizeof(tmp), "%s.%d", path, (int)gettid());
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC, 0666);
	if (fd < 0 || write(fd, text, strlen(text)) < 0 || close(fd) < 0)
		_exit(98);
	/* link() and not rename(): the first result stays */
	if (link(tmp, path) < 0 && errno != EEXIST)
		_exit(97);
	unlink(tmp);
}

__attribute__((format(printf, 1, 2), noreturn)) static inline void prog_fail(const char *fmt, ...)
{
	char text[2000];
	va_list ap;
	int n = snprintf(text, sizeof(text), "FAIL ");

	va_start(ap, fmt);
	vsnprintf(text + n, sizeof(text) - n, fmt, ap);
	va_end(ap);
	prog_write("result", text);
	_exit(1);
}

__attribute__((format(printf, 1, 2), noreturn)) static inline void prog_skip(const char *fmt, ...)
{
	char text[2000];
	va_list ap;
	int n = snprintf(text, sizeof(text), "SKIP ");

	va_start(ap, fmt);
	vsnprintf(text + n, sizeof(text) - n, fmt, ap);
	va_end(ap);
	prog_write("result", text);
	_exit(0);
}

#define CHECK(cond) \
	do { \
		if (!(cond)) \
			prog_fail("%s:%d: %s (errno %s)", __FILE__, __LINE__, #cond, strerror(errno)); \
	} while (0)

/* Field 22 of stat: when this process began, for the kernel. */
static inline unsigned long long prog_start_time(void)
{
	char text[1024] = "", *p;
	unsigned long long t = 0;
	int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);

	CHECK(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && close(fd) == 0);
	p = strrchr(text, ')');
	CHECK(p);
	for (int i = 2; i < 22 && p; i++)
		p = strchr(p + 1, ' ');
	CHECK(p && sscanf(p, "%llu", &t) == 1);
	return t;
}

static unsigned long long prog_first_start;

/* Another process than at the beginning, for the kernel. Of the process that called prog_init(). */
static inline int prog_restored(void)
{
	return prog_start_time() != prog_first_start;
}

static inline void prog_init(int argc, char **argv)
{
	if (argc < 2 || !realpath(argv[1], prog_dir)) {
		fprintf(stderr, "usage: %s DIR\n", argv[0]);
		exit(2);
	}
	setvbuf(stdout, NULL, _IONBF, 0);
	prog_first_start = prog_start_time();
}

static inline int prog_has(const char *name)
{
	char path[4200];

	snprintf(path, sizeof(path), "%s/%s", prog_dir, name);
	return access(path, F_OK) == 0;
}

/* Sleeps without a restart problem: absolute time, again until it has passed. */
static inline void prog_nap(int ms)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_nsec += ms * 1000000l;
	ts.tv_sec += ts.tv_nsec / 1000000000;
	ts.tv_nsec %= 1000000000;
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
		;
}

static inline void prog_wait_go(void)
{
	while (!prog_has("go"))
		prog_nap(20);
}

static inline void prog_ready(void)
{
	prog_write("ready", "1");
	prog_wait_go();
}

__attribute__((noreturn)) static inline void prog_ok(void)
{
	prog_write("result", "ok");
	exit(0);
}

/* ---- children ---- */

#define PROG_CHILD_OK 42

__attribute__((noreturn)) static inline void prog_child_ok(void)
{
	_exit(PROG_CHILD_OK);
}

static inline pid_t prog_child(void (*fn)(void *), void *arg)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		fn(arg);
		prog_child_ok();
	}
	return pid;
}

static inline void prog_reap(pid_t pid)
{
	int st = 0;
	pid_t got;

	while ((got = waitpid(pid, &st, 0)) < 0 && errno == EINTR)
		;
	if (got != pid || !WIFEXITED(st) || WEXITSTATUS(st) != PROG_CHILD_OK)
		prog_fail("child %d: waitpid gives %d, status %#x", (int)pid, (int)got, st);
}

/* Zeroed memory that children share with their parent. */
static inline void *prog_shared(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	return p;
}

/* Waits until *counter, which other threads or tasks raise, is at least n; some 20 s at most. */
static inline void prog_wait_count(const int *counter, int n)
{
	for (int i = 0; i < 2000; i++) {
		if (__atomic_load_n(counter, __ATOMIC_SEQ_CST) >= n)
			return;
		prog_nap(10);
	}
	prog_fail("waited in vain for a count of %d, it is %d", n, *counter);
}

static inline void prog_count(int *counter)
{
	__atomic_add_fetch(counter, 1, __ATOMIC_SEQ_CST);
}

/* ---- /proc ---- */

/* State letter of a task or thread in /proc (stat); 0: there is none. */
static inline char prog_state(pid_t pid, pid_t tid)
{
	char path[64], text[512], *p;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", (int)pid, (int)tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return 0;
	text[n] = 0;
	p = strrchr(text, ')');
	return p && p[1] ? p[2] : 0;
}

static inline void prog_wait_state(pid_t pid, pid_t tid, char state)
{
	for (int i = 0; i < 1000; i++) {
		if (prog_state(pid, tid) == state)
			return;
		prog_nap(10);
	}
	prog_fail("%d/%d does not get into state %c, it is in %c", (int)pid, (int)tid, state, prog_state(pid, tid));
}

/* Number behind "Name:" in /proc/PID/task/TID/status, in the given base; -1: none. */
static inline long long prog_status(pid_t pid, pid_t tid, const char *name, int base)
{
	char path[64], text[8192], want[64], *p;
	size_t have = 0;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", (int)pid, (int)tid);
	snprintf(want, sizeof(want), "\n%s:", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	while (have < sizeof(text) - 1 && (n = read(fd, text + have, sizeof(text) - 1 - have)) > 0)
		have += n;
	close(fd);
	text[have] = 0;
	p = strstr(text, want);
	return p ? (long long)strtoull(p + strlen(want), NULL, base) : -1;
}

/* Has this user namespace all ids, as the first one has? In inner ones there is much that no engine may do. */
static inline int prog_all_ids(void)
{
	unsigned long inside, outside, count;
	FILE *f = fopen("/proc/self/uid_map", "r");
	int all = f && fscanf(f, "%lu %lu %lu", &inside, &outside, &count) == 3 && count == 4294967295ul;

	if (f)
		fclose(f);
	return all;
}

/* Skips where no engine may open a mapped file that has neither a name nor a descriptor. */
static inline void prog_needs_map_files(void)
{
	if (!prog_all_ids())
		prog_skip("map_files may not be followed in this user namespace");
}

/* VmFlags of the mapping at addr, " rd wr …"; size: bytes of out. */
static inline void prog_vm_flags(const void *addr, char *out, size_t size)
{
	unsigned long start, end;
	char line[512];
	int in = 0;
	FILE *f = fopen("/proc/self/smaps", "r");

	CHECK(f);
	out[0] = 0;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			in = start <= (unsigned long)addr && (unsigned long)addr < end;
		else if (in && !strncmp(line, "VmFlags:", 8))
			snprintf(out, size, "%s", line + 8);
	}
	fclose(f);
	CHECK(out[0]);
}

#endif
