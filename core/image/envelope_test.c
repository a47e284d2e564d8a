/* SPDX-License-Identifier: MIT */
/* The envelope of files.img: exact bytes, round trip, unknown fields, hostile bytes. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "image.h"
#include "options.h"

/* last: it has a macro fail() */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

struct parts {
	uint32_t type, id, field;
	const void *msg;
	size_t len;
};

static int split(const void *data, size_t len, struct parts *p)
{
	return img_split_file(data, len, &p->type, &p->id, &p->field, &p->msg, &p->len);
}

static void round_trip(void **state)
{
	static const char first[] = "\x19\x43\x56\x54\x38\x31\x30\x56\x09\0\0\0\x08\1\x10\xac\x02\x1a\2ab";
	char dir[] = "/tmp/envelope-test-XXXXXX", path[64];
	_cleanup_buf_ struct buf b = { 0 };
	struct options *o = options_new();
	struct cr_reader *r;
	struct session *s;
	struct parts p;
	const void *data;
	size_t len;

	assert_non_null(mkdtemp(dir));
	assert_int_equal(options_set(o, "images-dir", dir), 0);
	s = session_new(CR_MODE_DUMP, o);
	assert_int_equal(images_open(s), 0);
	assert_int_equal(img_append_file(s, 1, 300, 3, "ab", 2), 0);
	assert_int_equal(img_append_file(s, 65535, UINT32_MAX, 0, NULL, 0), 0);
	assert_int_equal(img_append_file(s, 16, 5, (1 << 29) - 1, "", 0), 0);
	assert_int_equal(img_append_file(s, 1, 1, 0, "x", 1), -EINVAL);
	assert_int_equal(img_append_file(s, 1, 1, 2, "x", 1), -EINVAL);
	assert_int_equal(img_append_file(s, 1, 1, 1 << 29, "x", 1), -EINVAL);
	assert_int_equal(images_finish(s), 0);
	assert_int_equal(read_file(images_dirfd(s), "files.img", &b), 0);
	assert_true(b.len > sizeof(first) - 1);
	assert_memory_equal(b.p, first, sizeof(first) - 1);

	assert_int_equal(img_open(s, &img_files, CR_IMG_NO_ID, &r), 0);
	assert_int_equal(img_next(r, &data, &len), 1);
	assert_int_equal(split(data, len, &p), 0);
	assert_true(p.type == 1 && p.id == 300 && p.field == 3 && p.len == 2);
	assert_memory_equal(p.msg, "ab", 2);
	assert_int_equal(img_next(r, &data, &len), 1);
	assert_int_equal(split(data, len, &p), 0);
	assert_true(p.type == 65535 && p.id == UINT32_MAX && p.field == 0 && p.len == 0);
	assert_int_equal(img_next(r, &data, &len), 1);
	assert_int_equal(split(data, len, &p), 0);
	assert_true(p.type == 16 && p.id == 5 && p.field == (1 << 29) - 1 && p.len == 0);
	assert_int_equal(img_next(r, &data, &len), 0);
	img_close(r);
	session_free(s);
	options_free(o);
	snprintf(path, sizeof(path), "%s/files.img", dir);
	unlink(path);
	rmdir(dir);
}

static void odd_forms(void **state)
{
	/* another order, an unknown varint (99), 64-bit (100), 32-bit (101) field, a second message (5) */
	static const char bytes[] = "\x98\x06\x07\xa1\x06STUVWXYZ\x1a\2ab\xad\x06PQRS\x10\7\x08\2\x2a\1x";
	struct parts p;

	assert_int_equal(split(bytes, sizeof(bytes) - 1, &p), 0);
	assert_true(p.type == 2 && p.id == 7 && p.field == 3 && p.len == 2);
	assert_memory_equal(p.msg, "ab", 2);
	/* a varint longer than needed; the last value counts */
	assert_int_equal(split("\x08\1\x08\x82\x80\0\x10\1", 8, &p), 0);
	assert_true(p.type == 2 && p.id == 1 && p.field == 0);
}

static void hostile(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} bad[] = {
		{ "", 0 },
		{ "\x08\1", 2 },			     /* no id */
		{ "\x10\1", 2 },			     /* no type */
		{ "\x08\1\x10", 3 },			     /* no value */
		{ "\x08\1\x10\x80", 4 },		     /* half a value */
		{ "\x08\1\x10\1\x1a", 5 },		     /* no length */
		{ "\x08\1\x10\1\x1a\2x", 7 },		     /* message cut off */
		{ "\x08\1\x10\1\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 15 },
		{ "\x08\1\x10\1\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 17 },
		{ "\x08\1\x10\xff\xff\xff\xff\x1f", 8 },     /* id of 33 bits */
		{ "\x0a\1x\x10\1", 5 },			     /* type is bytes */
		{ "\x08\1\x15xxxx", 7 },		     /* id is 32-bit */
		{ "\x08\1\x10\1\x1a\1x\x1a\1y", 10 },	     /* message twice */
		{ "\x08\1\x10\1\x1b", 5 },		     /* group */
		{ "\x08\1\x10\1\x1f", 5 },		     /* wire type 7 */
		{ "\x08\1\x10\1\x02\0", 6 },		     /* field 0 */
		{ "\x08\1\x10\1\xa1\x06" "1234567", 13 },    /* 64-bit cut off */
		{ "\x08\1\x10\1\xad\x06" "123", 9 },	     /* 32-bit cut off */
	};
	struct parts p;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		/* an exact copy, so that a sanitizer sees any read past the end */
		char *copy = xrealloc(NULL, bad[i].len);

		memcpy(copy, bad[i].bytes, bad[i].len);
		assert_int_equal(split(copy, bad[i].len, &p), -EPROTO);
		free(copy);
	}
}

static void first_text(void **state)
{
	/* a number, an embedded message with control characters, an empty string, a name, another */
	static const char msg[] = "\x08\1\x12\2\x08\0\x1a\0\x22\6/tmp/x\x2a\1y";
	static const char latin1[] = "\x0a\2a\xe4\x12\2\xc3\xa4";
	const char *text;
	size_t len;

	assert_true(img_first_text(msg, sizeof(msg) - 1, &text, &len));
	assert_true(len == 6 && memcmp(text, "/tmp/x", 6) == 0);
	assert_true(img_first_text(latin1, sizeof(latin1) - 1, &text, &len));
	assert_true(len == 2 && memcmp(text, "\xc3\xa4", 2) == 0);
	assert_false(img_first_text("", 0, &text, &len));
	assert_false(img_first_text("\x08\1", 2, &text, &len));
	assert_false(img_first_text("\x0a\5abc", 5, &text, &len)); /* cut off */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),
		cmocka_unit_test(odd_forms),
		cmocka_unit_test(hostile),
		cmocka_unit_test(first_text),
	};

	log_init();
	log_set_level(0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
