/* SPDX-License-Identifier: MIT */
/* The session: first cause, blockers, report, ids. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#undef fail /* cmocka has one of its own */

#include "session.h"

static int setup(void **state)
{
	log_init();
	log_open(AT_FDCWD, "/dev/null");
	*state = session_new(CR_MODE_DUMP, NULL);
	return 0;
}

static int teardown(void **state)
{
	session_free(*state);
	log_close();
	return 0;
}

static void test_first_cause(void **state)
{
	struct session *s = *state;

	s->phase = "dump";
	s->plugin = "files";
	at_object(s, "pid %d fd %d", 812, 7);
	assert_int_equal(fail(s, ENOENT, "cannot open %s", "/tmp/x"), -ENOENT);
	s->plugin = NULL;
	at_object(s, NULL);
	assert_int_equal(fail(s, EIO, "later"), -EIO);
	assert_int_equal(s->err.errnum, ENOENT);
	assert_string_equal(s->err.plugin, "files");
	assert_string_equal(s->err.text, "dump: pid 812 fd 7: cannot open /tmp/x (No such file or directory)");
}

static const char *text_of(int errnum, const char *msg)
{
	static char text[200];
	struct session *s = session_new(CR_MODE_DUMP, NULL);

	fail(s, errnum, "%s", msg);
	snprintf(text, sizeof(text), "%s", s->err.text);
	session_free(s);
	return text;
}

static void test_errno_text(void **state)
{
	assert_string_equal(text_of(EPERM, "x"), "x (Operation not permitted)");
	assert_string_equal(text_of(EPERM, "x: Operation not permitted"), "x: Operation not permitted");
	assert_string_equal(text_of(EPROTO, "the image is cut off"), "the image is cut off");
	assert_string_equal(text_of(EINVAL, "--tree x: not a pid"), "--tree x: not a pid");
	assert_string_equal(text_of(EINVAL, "cannot map"), "cannot map (Invalid argument)");
	assert_string_equal(text_of(0, "x"), "x (Input/output error)");
	assert_string_equal(text_of(-EPERM, "x"), "x (Operation not permitted)");
}

static void test_blockers(void **state)
{
	struct session *s = *state;

	s->plugin = "files";
	at_object(s, "pid 1 fd 3");
	assert_int_equal(refuse(s, "--ghost-limit", "file of %d bytes", 9), -EOPNOTSUPP);
	assert_int_equal(refuse(s, "--ghost-limit", "file of %d bytes", 9), -EOPNOTSUPP); /* the same once more */
	at_object(s, "pid 1 fd 4");
	assert_int_equal(refuse(s, NULL, "file of %d bytes", 9), -EOPNOTSUPP);
	assert_int_equal(s->blockers.n, 2);
	assert_string_equal(s->blockers.v[0].plugin, "files");
	assert_string_equal(s->blockers.v[0].object, "pid 1 fd 3");
	assert_string_equal(s->blockers.v[0].text, "file of 9 bytes");
	assert_string_equal(s->blockers.v[0].remedy, "--ghost-limit");
	assert_null(s->blockers.v[1].remedy);
	assert_int_equal(s->err.errnum, 0);
}

/* What session_report() writes to stderr. */
static char *report(struct session *s)
{
	int saved = dup(STDERR_FILENO), p[2];
	char *text = xcalloc(1, 4096);

	assert_int_equal(pipe2(p, O_NONBLOCK), 0);
	dup2(p[1], STDERR_FILENO);
	session_report(s);
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(p[1]);
	assert_true(read(p[0], text, 4095) >= 0);
	close(p[0]);
	return text;
}

static void test_report(void **state)
{
	struct session *s = *state;
	char *text;

	at_object(s, "pid 1");
	refuse(s, "--x", "no");
	s->phase = "dump";
	fail(s, EPROTO, "bad");
	text = report(s);
	assert_string_equal(text, "Error (core): pid 1: no (try --x)\nError (core): dump: pid 1: bad\n");
	free(text);
	text = report(s);
	assert_string_equal(text, "");
	free(text);
}

static void test_long_object(void **state)
{
	struct session *s = *state;
	char long_name[600];

	memset(long_name, 'a', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = 0;
	at_object(s, "%s", long_name);
	assert_int_equal(strlen(s->object), sizeof(s->object) - 1);
	assert_int_equal(fail(s, EIO, "%s", long_name), -EIO);
}

static void test_ids(void **state)
{
	struct session *s = *state;
	int is_new;

	assert_int_equal(session_id(s, "files", "abc", 3, &is_new), 1);
	assert_true(is_new);
	assert_int_equal(session_id(s, "files", "abd", 3, NULL), 2);
	assert_int_equal(session_id(s, "files", "ab", 2, NULL), 3);
	assert_int_equal(session_id(s, "files", "", 0, NULL), 4);
	assert_int_equal(session_id(s, "mounts", "abd", 3, &is_new), 1);
	assert_int_equal(session_id(s, "files", "abc", 3, &is_new), 1);
	assert_false(is_new);
	for (uint32_t i = 0; i < 5000; i++)
		assert_int_equal(session_id(s, "many", &i, sizeof(i), NULL), i + 1);
	for (uint32_t i = 0; i < 5000; i++)
		assert_int_equal(session_id(s, "many", &i, sizeof(i), NULL), i + 1);
}

static void test_alloc(void **state)
{
	unsigned char *p = session_alloc(*state, 100);

	for (int i = 0; i < 100; i++)
		assert_int_equal(p[i], 0);
	assert_non_null(session_alloc(*state, 0));
}

int main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_first_cause), T(test_errno_text), T(test_blockers), T(test_report), T(test_long_object), T(test_ids),
		T(test_alloc),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
