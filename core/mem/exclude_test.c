/* SPDX-License-Identifier: MIT */
/* What --exclude-mem may say, and how runs of pages are cut by it. */
#include <errno.h>
#include <string.h>

#include "mem_priv.h"

/* last: it has a macro fail() */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void forms(void **state)
{
	struct exclude_rule r;

	assert_int_equal(exclude_parse("1000-3000", &r), 0);
	assert_true(r.kind == EXCLUDE_RANGE && !r.pid && r.at.start == 0x1000 && r.at.end == 0x3000);
	assert_int_equal(exclude_parse("12:7f0000001000-7f0000003000", &r), 0);
	assert_true(r.pid == 12 && r.at.start == 0x7f0000001000 && r.at.end == 0x7f0000003000);
	assert_int_equal(exclude_parse("0x1000-0x3000", &r), 0);
	assert_true(r.at.start == 0x1000 && r.at.end == 0x3000);
	assert_int_equal(exclude_parse("dontdump", &r), 0);
	assert_int_equal(r.kind, EXCLUDE_DONTDUMP);
	assert_int_equal(exclude_parse("[heap]", &r), 0);
	assert_true(r.kind == EXCLUDE_NAME && !strcmp(r.pattern, "[heap]"));
	assert_int_equal(exclude_parse("/a:b-c", &r), 0);
	assert_int_equal(r.kind, EXCLUDE_NAME);
}

static void refused(void **state)
{
	static const char *const bad[] = {
		"", "heap", "-", "1000", "1000-", "-1000", "1000-2000x", " 1000-2000", "1000- 2000", "-1:1000-2000",
		"0:1000-2000",
		"x:1000-2000", "1:2:1000-2000", ":1000-2000", "99999999999999:1000-2000", "1000-10000000000000000",
		"dontdump ", "1000-2000-3000",
	};
	static const char *const ranges[] = { "2000-1000", "1000-1000", "1001-2000", "1000-2001" };
	struct exclude_rule r;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (exclude_parse(bad[i], &r) != -EINVAL)
			fail_msg("'%s' is accepted", bad[i]);
	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++)
		assert_int_equal(exclude_parse(ranges[i], &r), -ERANGE);
}

/* Every page from 1 to 30 is in the runs exactly when it was there and no span has it. */
static void cut(uint32_t there, uint32_t out)
{
	run_list runs = { 0 };
	span_list spans = { 0 };
	uint32_t got = 0;
	uint64_t end = 0;

	for (unsigned i = 1; i < 31; i++) {
		if (there >> i & 1 && (i % 7 == 0 || !runs.n ||
				       runs.v[runs.n - 1].start + runs.v[runs.n - 1].bytes != i * PAGE_BYTES))
			*vec_push(&runs) = (struct page_run){ .start = i * PAGE_BYTES, .bytes = PAGE_BYTES, .file = 1, .off = i };
		else if (there >> i & 1)
			runs.v[runs.n - 1].bytes += PAGE_BYTES;
		if (out >> i & 1 && spans.n && spans.v[spans.n - 1].end == i * PAGE_BYTES)
			spans.v[spans.n - 1].end += PAGE_BYTES;
		else if (out >> i & 1)
			*vec_push(&spans) = (struct span){ i * PAGE_BYTES, (i + 1) * PAGE_BYTES };
	}
	exclude_cut(&runs, &spans);
	for (size_t i = 0; i < runs.n; i++) {
		assert_true(runs.v[i].start >= end && runs.v[i].bytes);
		end = runs.v[i].start + runs.v[i].bytes;
		for (uint64_t a = runs.v[i].start; a < end; a += PAGE_BYTES)
			got |= 1u << (a / PAGE_BYTES);
	}
	if (got != (there & ~out))
		fail_msg("%#x without %#x gives %#x", there, out, got);
	vec_free(&runs);
	vec_free(&spans);
}

static void cuts(void **state)
{
	uint32_t x = 12345;

	for (int i = 0; i < 5000; i++) {
		uint32_t there = x = x * 1664525 + 1013904223, out = x = x * 1664525 + 1013904223;

		cut((there | there >> 3) & 0x7ffffffe, (i % 3 ? out & out << 1 : out) & 0x7ffffffe);
	}
	cut(0x7ffffffe, 0);
	cut(0x7ffffffe, 0x7ffffffe);
	cut(0, 0x7ffffffe);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(forms),
		cmocka_unit_test(refused),
		cmocka_unit_test(cuts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
