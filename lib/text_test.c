/* SPDX-License-Identifier: MIT */
/* What is shown of hostile names. */
#include "text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void utf8(void **state)
{
	assert_int_equal(utf8_char_bytes("a", 1), 1);
	assert_int_equal(utf8_char_bytes("", 0), 0);
	assert_int_equal(utf8_char_bytes("\xc3\xa4", 2), 2);
	assert_int_equal(utf8_char_bytes("\xe2\x82\xac", 3), 3);
	assert_int_equal(utf8_char_bytes("\xf0\x9f\x98\x80", 4), 4);
	assert_int_equal(utf8_char_bytes("\xf0\x9f\x98\x80", 3), 0);
	assert_int_equal(utf8_char_bytes("\x80", 1), 0);
	assert_int_equal(utf8_char_bytes("\xc0\x80", 2), 0);
	assert_int_equal(utf8_char_bytes("\xe0\x80\x80", 3), 0);
	assert_int_equal(utf8_char_bytes("\xed\xa0\x80", 3), 0);
	assert_int_equal(utf8_char_bytes("\xf4\x90\x80\x80", 4), 0);
	assert_int_equal(utf8_char_bytes("\xff\xff\xff\xff", 4), 0);
}

static void visible(void **state)
{
	static const char *const cases[][2] = {
		{ "", "" },
		{ "/tmp/a b", "/tmp/a b" },
		{ "\xc3\xa4\xe2\x82\xac", "\xc3\xa4\xe2\x82\xac" },
		{ "\x1b]0;title\a", "\\x1b]0;title\\x07" },
		{ "one\nError (core): two\r\x7f", "one\\x0aError (core): two\\x0d\\x7f" },
		{ "\xc2\x9b" "31m", "\\xc2\\x9b31m" },
		{ "\x9b\xff\xc3", "\\x9b\\xff\\xc3" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct buf b = { 0 };
		char out[64];

		buf_add_visible(&b, cases[i][0]);
		assert_string_equal(b.p ? b.p : "", cases[i][1]);
		assert_int_equal(text_visible(out, sizeof(out), cases[i][0]), strlen(cases[i][1]));
		assert_string_equal(out, cases[i][1]);
		/* cut anywhere, but never inside of a character */
		for (size_t size = 1; size < sizeof(out); size++) {
			size_t n = text_visible(out, size, cases[i][0]);

			assert_true(n < size && strlen(out) == n && !strncmp(out, cases[i][1], n));
			assert_true(n + 4 >= size || n == strlen(cases[i][1]));
		}
		buf_free(&b);
	}
}

static void json(void **state)
{
	struct buf b = { 0 };

	buf_add_json(&b, "a\"\\\n\x1b\xff\xc3\xa4");
	buf_add_json(&b, NULL);
	buf_add_json(&b, "");
	assert_string_equal(b.p, "\"a\\\"\\\\\\u000a\\u001b\\ufffd\xc3\xa4\"null\"\"");
	buf_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(utf8),
		cmocka_unit_test(visible),
		cmocka_unit_test(json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
