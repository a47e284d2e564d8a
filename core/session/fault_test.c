/* SPDX-License-Identifier: MIT */
/* Unit tests of fault.c. Each test is a process of its own: the switch cannot be taken back. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "fault.h"
#include "log.h"

#define IN_CHILD(...) \
	do { \
		pid_t pid_ = fork(); \
		int status_; \
		if (pid_ == 0) { \
			bool ok_ = (__VA_ARGS__); \
			_exit(!ok_); \
		} \
		assert_int_equal(waitpid(pid_, &status_, 0), pid_); \
		assert_int_equal(status_, 0); \
	} while (0)

static void test_off(void **state)
{
	assert_false(fault_on);
	assert_int_equal(FAULT("nothing"), 0);
	assert_false(FAULTS("nothing"));
	assert_int_equal(fault_point_of(FAULT_TASK, "nothing"), 0);
}

static void test_bad_spec(void **state)
{
	static const char *const bad[] = { "", "x", "engine", "engine:", "engine:0", "engine:x", "engine:1:", "engine:1:EWHAT",
					   "engine:1x", "nobody:1", "engine:1:0" };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		IN_CHILD(fault_set(bad[i]) == -EINVAL && !fault_on);
}

static bool second_fails(const char *spec, int err)
{
	return fault_set(spec) == 0 && FAULT("one") == 0 && FAULT("two") == -err && FAULT("three") == 0;
}

static bool errno_is_set(void)
{
	errno = 0;
	return fault_set("engine:1:EMFILE") == 0 && FAULTS("one") && errno == EMFILE && !FAULTS("two");
}

static void test_nth(void **state)
{
	IN_CHILD(second_fails("engine:2", EIO));
	IN_CHILD(second_fails("engine:2:ENOSPC", ENOSPC));
	IN_CHILD(second_fails("engine:2:28", 28));
	IN_CHILD(errno_is_set());
}

static bool sides_are_apart(void)
{
	if (fault_set("warden:2") || FAULT("engine 1") || FAULT("engine 2") || fault_point_of(FAULT_TASK, "task 1"))
		return false;
	fault_set_side(FAULT_WARDEN);
	return !FAULT("warden 1") && FAULT("warden 2") == -EIO && !FAULT("warden 3");
}

static bool list_has_all(void)
{
	char text[512] = "";
	FILE *f = fmemopen(text, sizeof(text), "w");
	int status;

	if (!f || fault_set("list") || FAULT("a %d", 1))
		return false;
	if (fork() == 0) {
		fault_set_side(FAULT_WARDEN);
		_exit(FAULT("b") || FAULT("c"));
	}
	if (wait(&status) < 0 || status)
		return false;
	fault_report(f);
	fclose(f);
	return !strcmp(text, "engine 1 a 1\nwarden 1 b\nwarden 2 c\nfault points: engine 1, warden 2, task 0\n");
}

static void test_sides(void **state)
{
	IN_CHILD(sides_are_apart());
	IN_CHILD(list_has_all());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_off),
		cmocka_unit_test(test_bad_spec),
		cmocka_unit_test(test_nth),
		cmocka_unit_test(test_sides),
	};

	log_init();
	log_set_level(0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
