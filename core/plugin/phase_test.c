/* SPDX-License-Identifier: MIT */
/* Unit tests of phase.c: what a plugin may ask for in which hook. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include "log.h"
#include "phase.h"

#include <cmocka.h> /* its fail() after ours */

#ifndef STASIS_DEBUG /* there a mistake ends the program */

static void test_services(void **state)
{
	static const struct {
		uint32_t mode;
		uint8_t tree;
		enum hook hook;
		enum service service;
		bool allowed;
	} cases[] = {
		{ CR_MODE_DUMP, TREE_FROZEN, HOOK_FILE_DUMP, SVC_FILE_MESSAGE, true },
		{ CR_MODE_DUMP, TREE_FROZEN, HOOK_FILE_DUMP, SVC_IMG_WRITE, true },
		{ CR_MODE_DUMP, TREE_FROZEN, HOOK_FILE_DUMP, SVC_FILE_NEED, false },
		{ CR_MODE_DUMP, TREE_FROZEN, HOOK_FILE_CHECK, SVC_FILE_MESSAGE, false },
		{ CR_MODE_DUMP, TREE_FROZEN, HOOK_FILE_CHECK, SVC_REFUSE, true },
		{ CR_MODE_CHECK, TREE_RUNNING, HOOK_FILE_CHECK, SVC_UNDO, false },
		{ CR_MODE_DUMP, TREE_RUNNING, HOOK_PREPARE, SVC_IMG_WRITE, false },
		{ CR_MODE_RESTORE, TREE_ABSENT, HOOK_STAGE, SVC_IMG_READ, true },
		{ CR_MODE_RESTORE, TREE_ABSENT, HOOK_FILE_LOAD, SVC_PLAN, false },
		{ CR_MODE_RESTORE, TREE_ABSENT, HOOK_FILE_WIRE, SVC_PLAN, true },
		{ CR_MODE_RESTORE, TREE_PARKED, HOOK_RESTORED, SVC_PLAN, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct session *s = session_new(cases[i].mode, NULL);
		struct hook_state before;

		s->tree_is = cases[i].tree;
		assert_int_equal(hook_enter(s, NULL, cases[i].hook, &before), 0);
		s->plugin = "odd";
		assert_int_equal(service_misused(s, cases[i].service, "the_service"), cases[i].allowed ? 0 : -EPERM);
		if (!cases[i].allowed) {
			assert_non_null(strstr(s->err.text, "plugin odd called the_service() in its hook"));
			assert_non_null(strstr(s->err.text, hook_name(cases[i].hook)));
		}
		hook_leave(s, &before);
		/* the core itself may do anything */
		assert_int_equal(service_misused(s, cases[i].service, "the_service"), 0);
		session_free(s);
	}
}

static void test_wrong_time(void **state)
{
	static const struct {
		uint32_t mode;
		uint8_t tree;
		enum hook hook;
	} cases[] = {
		{ CR_MODE_DUMP, TREE_RUNNING, HOOK_FILE_DUMP },
		{ CR_MODE_CHECK, TREE_RUNNING, HOOK_DUMP_LATE },
		{ CR_MODE_RESTORE, TREE_ABSENT, HOOK_RESTORED },
		{ CR_MODE_RESTORE, TREE_PARKED, HOOK_FILE_OPEN },
		{ CR_MODE_DUMP, TREE_FROZEN, HOOK_STAGE },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct session *s = session_new(cases[i].mode, NULL);
		struct hook_state before;

		s->tree_is = cases[i].tree;
		assert_int_equal(hook_enter(s, NULL, cases[i].hook, &before), -EPROTO);
		hook_leave(s, &before);
		assert_int_equal(s->hook, HOOK_NONE);
		session_free(s);
	}
}

static void test_nested(void **state)
{
	struct session *s = session_new(CR_MODE_DUMP, NULL);
	struct hook_state outer, inner;

	s->tree_is = TREE_FROZEN;
	assert_int_equal(hook_enter(s, NULL, HOOK_FILE_DUMP, &outer), 0);
	assert_int_equal(hook_enter(s, NULL, HOOK_PROBE, &inner), 0);
	assert_int_equal(s->hook, HOOK_PROBE);
	hook_leave(s, &inner);
	assert_int_equal(s->hook, HOOK_FILE_DUMP);
	hook_leave(s, &outer);
	assert_int_equal(s->hook, HOOK_NONE);
	session_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_services),
		cmocka_unit_test(test_wrong_time),
		cmocka_unit_test(test_nested),
	};

	log_init();
	log_set_level(0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

#else
int main(void)
{
	return 0;
}
#endif
