/* SPDX-License-Identifier: MIT */
/* The log: levels, the ring, several processes, what reaches stderr. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "log.h"

static char dir[32];

static int setup(void **state)
{
	strcpy(dir, "/tmp/log_testXXXXXX");
	log_init();
	log_set_level(CR_LOG_DEBUG);
	log_show_pid(false);
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	char *cmd = xasprintf("rm -rf '%s'", dir);
	int r;

	log_close();
	r = system(cmd);
	free(cmd);
	return r;
}

static int open_dir(void)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static char *log_text(void)
{
	struct buf b = { 0 };
	int fd = open_dir();

	assert_int_equal(read_file(fd, "log", &b), 0);
	close(fd);
	return b.p;
}

static void open_log(void)
{
	int fd = open_dir();

	assert_int_equal(log_open(fd, "log"), 0);
	close(fd);
}

static unsigned count(const char *text, const char *what)
{
	unsigned n = 0;

	for (const char *p = text; (p = strstr(p, what)); p++)
		n++;
	return n;
}

static void test_format(void **state)
{
	unsigned sec, usec;
	char *text;
	int len = 0;

	log_msg(CR_LOG_ERROR, "inet", "early %d\n", 1);
	open_log();
	assert_true(log_in_file());
	log_warn("late");
	log_info("plain");
	text = log_text();
	assert_int_equal(sscanf(text, "(%2u.%6u) Error (inet): early 1%n", &sec, &usec, &len), 2);
	assert_true(len > 0 && text[len] == '\n');
	assert_non_null(strstr(text, ") Warn  (core): late\n"));
	assert_non_null(strstr(text, ") core: plain\n"));
	assert_int_equal(count(text, "\n"), 3);
	free(text);
}

/* The level counts when the log is opened, not when the message was made. */
static void test_level(void **state)
{
	char *text;

	log_debug("early debug");
	log_error("early error");
	log_set_level(CR_LOG_WARN);
	open_log();
	log_info("late info");
	log_warn("late warn");
	log_set_level(0);
	log_error("silence");
	text = log_text();
	assert_null(strstr(text, "early debug"));
	assert_non_null(strstr(text, "early error"));
	assert_null(strstr(text, "late info"));
	assert_non_null(strstr(text, "late warn"));
	assert_null(strstr(text, "silence"));
	free(text);
}

/* A process that was forked before the log was opened: its messages reach the file through the ring. */
static void test_fork(void **state)
{
	int p[2];
	char *text, c;
	pid_t pid;

	assert_int_equal(pipe(p), 0);
	pid = fork();
	if (pid == 0) {
		close(p[1]);
		if (read(p[0], &c, 1) == 1)
			log_msg(CR_LOG_ERROR, "warden", "from the child");
		_exit(0);
	}
	open_log();
	assert_int_equal(write(p[1], "x", 1), 1);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	close(p[0]);
	close(p[1]);
	log_info("from the parent");
	text = log_text();
	assert_non_null(strstr(text, "Error (warden): from the child\n"));
	assert_true(strstr(text, "from the child") < strstr(text, "from the parent"));
	free(text);
}

/* The ring keeps the first messages, and says how many it lost; long ones are cut. */
static void test_overflow(void **state)
{
	char *text, *big = xcalloc(1, 20001);

	memset(big, 'x', 20000);
	log_info("first");
	log_info("%s", big);
	for (int i = 0; i < 1000; i++)
		log_info("number %d.", i);
	open_log();
	log_info("%s", big);
	log_info("last");
	text = log_text();
	assert_non_null(strstr(text, "first\n"));
	assert_non_null(strstr(text, "number 0.\n"));
	assert_null(strstr(text, "number 999.\n"));
	assert_non_null(strstr(text, "messages were lost\n"));
	assert_non_null(strstr(text, "x\n"));
	assert_non_null(strstr(text, "last\n"));
	free(text);
	free(big);
}

static void test_many_writers(void **state)
{
	pid_t pid[4];
	char *text;

	for (int i = 0; i < 4; i++) {
		pid[i] = fork();
		if (pid[i] == 0) {
			for (int n = 0; n < 25; n++)
				log_info("writer %d", i);
			_exit(0);
		}
	}
	for (int i = 0; i < 4; i++)
		waitpid(pid[i], NULL, 0);
	open_log();
	text = log_text();
	assert_int_equal(count(text, "core: writer "), 100);
	free(text);
}

static void test_pid(void **state)
{
	char *text, *want = xasprintf(") %d Error (core): x\n", (int)getpid());

	log_show_pid(true);
	open_log();
	log_error("x");
	text = log_text();
	assert_non_null(strstr(text, want));
	free(text);
	free(want);
}

/* Runs log_close() with stderr in a file. */
static void test_never_opened(void **state)
{
	char *path = xasprintf("%s/log", dir), *text;
	int saved = dup(STDERR_FILENO), fd = open(path, O_RDWR | O_CREAT, 0600);

	log_error("an error");
	log_info("information");
	dup2(fd, STDERR_FILENO);
	log_close();
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(fd);
	text = log_text();
	assert_string_equal(text, "Error (core): an error\n");
	free(text);
	free(path);
}

static void test_cannot_open(void **state)
{
	assert_true(log_open(AT_FDCWD, "/nonexistent/dir/log") < 0);
	assert_false(log_in_file());
}

int main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_format), T(test_level), T(test_fork), T(test_overflow), T(test_many_writers), T(test_pid),
		T(test_never_opened), T(test_cannot_open),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
