/* SPDX-License-Identifier: MIT */
/*
 * Images: what is written has exactly the bytes of the format and reads back; what
 * is damaged or hostile is refused.  KEEP_IMAGES=DIR writes into DIR and leaves the
 * images there, so that other tools can be tried on them.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "image.h"
#include "inventory.pb-c.h"
#include "options.h"
#include "pstree.pb-c.h"
#include "stats.pb-c.h"

/* last: it has a macro fail() */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define NO_ID CR_IMG_NO_ID

struct fixture {
	struct session *s;
	char *base, *dir;
};

static void start(struct fixture *f, uint32_t mode)
{
	struct options *o = options_new();

	log_set_level(0);
	assert_int_equal(options_set(o, "images-dir", f->dir), 0);
	f->s = session_new(mode, o);
	assert_int_equal(images_open(f->s), 0);
}

static void stop(struct fixture *f)
{
	struct options *o = f->s->opts;

	session_free(f->s);
	options_free(o);
	f->s = NULL;
}

static void restart(struct fixture *f, uint32_t mode)
{
	stop(f);
	start(f, mode);
}

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));

	f->base = xstrdup("/tmp/image-test-XXXXXX");
	assert_non_null(mkdtemp(f->base));
	f->dir = xasprintf("%s/images", f->base);
	start(f, CR_MODE_DUMP);
	*state = f;
	return 0;
}

static void remove_dir(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;

	while (d && (e = readdir(d)))
		unlinkat(dirfd(d), e->d_name, 0);
	cleanup_dir(&d);
	rmdir(path);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->s)
		stop(f);
	remove_dir(f->dir);
	remove_dir(f->base);
	free(f->dir);
	free(f->base);
	free(f);
	return 0;
}

static void put_file(struct fixture *f, const char *name, const void *data, size_t len)
{
	_cleanup_fd_ int fd = openat(images_dirfd(f->s), name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write_full(fd, data, len), 0);
}

static void expect_file(struct fixture *f, const char *name, const void *data, size_t len)
{
	_cleanup_buf_ struct buf b = { 0 };

	assert_int_equal(read_file(images_dirfd(f->s), name, &b), 0);
	assert_int_equal(b.len, len);
	assert_memory_equal(b.p, data, len);
}

static bool exists(struct fixture *f, const char *name)
{
	return faccessat(images_dirfd(f->s), name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* ---- writing ---- */

static void framing(void **state)
{
	static const struct cr_img_type ghost = { sizeof(ghost), "ghost-file", 0x52583605, CR_IMG_HEX_ID };
	struct fixture *f = *state;

	assert_int_equal(img_append(f->s, &img_inventory, NO_ID, "\x08\x02", 2), 0);
	assert_int_equal(img_append(f->s, &img_pstree, NO_ID, "ab", 2), 0);
	assert_int_equal(img_append(f->s, &img_pstree, NO_ID, "", 0), 0);
	assert_int_equal(img_append(f->s, &img_core, 812, "c", 1), 0);
	assert_int_equal(img_append(f->s, &ghost, 0xab, "g", 1), 0);
	assert_int_equal(img_raw(f->s, &ghost, 0xab, "content", 7), 0);
	assert_int_equal(img_raw(f->s, &img_pages, 1, "pp", 2), 0);
	assert_int_equal(img_raw(f->s, &img_pages, 2, "", 0), 0);
	assert_int_equal(images_finish(f->s), 0);
	expect_file(f, "inventory.img", "\x16\x31\x31\x58\2\0\0\0\x08\x02", 10);
	expect_file(f, "pstree.img", "\x19\x43\x56\x54\x30\x30\x27\x50\2\0\0\0ab\0\0\0\0", 18);
	expect_file(f, "core-812.img", "\x19\x43\x56\x54\x47\x38\x05\x55\1\0\0\0c", 13);
	expect_file(f, "ghost-file-ab.img", "\x19\x43\x56\x54\x05\x36\x58\x52\1\0\0\0gcontent", 20);
	expect_file(f, "pages-1.img", "pp", 2);
	expect_file(f, "pages-2.img", "", 0);
}

static void modes(void **state)
{
	struct fixture *f = *state;
	mode_t old = umask(0);
	struct stat st;

	assert_int_equal(img_append(f->s, &img_pstree, NO_ID, "", 0), 0);
	assert_int_equal(images_finish(f->s), 0);
	umask(old);
	assert_int_equal(fstat(images_dirfd(f->s), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(fstatat(images_dirfd(f->s), "pstree.img", &st, 0), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
	/* a directory that exists keeps its mode */
	assert_int_equal(chmod(f->dir, 0755), 0);
	restart(f, CR_MODE_DUMP);
	assert_int_equal(fstat(images_dirfd(f->s), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
}

static void many_images(void **state)
{
	enum { IMAGES = 300, ENTRIES = 40, BYTES = 3000 };
	struct fixture *f = *state;
	char data[BYTES];

	for (int e = 0; e < ENTRIES; e++) {
		for (int i = 0; i < IMAGES; i++) {
			memset(data, e + i, BYTES);
			assert_int_equal(img_append(f->s, &img_core, i, data, BYTES), 0);
		}
	}
	assert_int_equal(images_finish(f->s), 0);
	restart(f, CR_MODE_RESTORE);
	for (int i = 0; i < IMAGES; i++) {
		struct cr_reader *r;
		const void *p;
		size_t len;

		assert_int_equal(img_open(f->s, &img_core, i, &r), 0);
		for (int e = 0; e < ENTRIES; e++) {
			memset(data, e + i, BYTES);
			assert_int_equal(img_next(r, &p, &len), 1);
			assert_int_equal(len, BYTES);
			assert_memory_equal(p, data, BYTES);
		}
		assert_int_equal(img_next(r, &p, &len), 0);
		img_close(r);
	}
}

static void replaces_old_set(void **state)
{
	struct fixture *f = *state;
	int dir = images_dirfd(f->s);

	put_file(f, "pstree.img", "old", 3);
	put_file(f, "core-1.img", "old", 3);
	put_file(f, "target", "keep", 4);
	assert_int_equal(linkat(dir, "pstree.img", dir, "backup", 0), 0);
	assert_int_equal(symlinkat("target", dir, "fs-1.img"), 0);
	assert_int_equal(img_append(f->s, &img_pstree, NO_ID, "", 0), 0);
	assert_int_equal(img_append(f->s, &img_fs, 1, "", 0), 0);
	expect_file(f, "pstree.img", "old", 3); /* not before it is written out */
	assert_int_equal(images_finish(f->s), 0);
	expect_file(f, "pstree.img", "\x19\x43\x56\x54\x30\x30\x27\x50\0\0\0\0", 12);
	expect_file(f, "backup", "old", 3);
	expect_file(f, "target", "keep", 4);
	expect_file(f, "core-1.img", "old", 3);
}

static void discard(void **state)
{
	struct fixture *f = *state;
	int fd;

	put_file(f, "core-1.img", "old", 3);
	put_file(f, "core-2.img", "old", 3);
	assert_int_equal(img_append(f->s, &img_core, 2, "", 0), 0); /* never reaches the file */
	images_discard(f->s);
	expect_file(f, "core-2.img", "old", 3);
	assert_int_equal(img_append(f->s, &img_core, 3, "", 0), 0);
	assert_int_equal(img_create_fd(f->s, &img_pages, 1, &fd), 0);
	close(fd);
	assert_int_equal(images_finish(f->s), 0);
	assert_true(exists(f, "core-3.img") && exists(f, "pages-1.img"));
	images_discard(f->s);
	assert_false(exists(f, "core-3.img") || exists(f, "pages-1.img"));
	expect_file(f, "core-1.img", "old", 3);
}

static void direct(void **state)
{
	struct fixture *f = *state;
	int fd, again;

	assert_int_equal(img_open_fd(f->s, &img_pages, 7, &fd), -ENOENT);
	assert_int_equal(f->s->err.errnum, 0);
	assert_int_equal(img_create_fd(f->s, &img_pages, 7, &fd), 0);
	assert_int_equal(pwrite_full(fd, "data", 4, 0), 0);
	assert_int_equal(img_create_fd(f->s, &img_pages, 7, &again), 0);
	assert_int_equal(pwrite_full(again, "xx", 2, 4), 0);
	close(again);
	close(fd);
	assert_int_equal(images_finish(f->s), 0);
	expect_file(f, "pages-7.img", "dataxx", 6);
	assert_int_equal(img_open_fd(f->s, &img_pages, 7, &fd), 0);
	close(fd);
	assert_int_equal(img_raw(f->s, &img_pages, 7, "x", 1), -EINVAL);
	assert_int_equal(img_create_fd(f->s, &img_core, 7, &fd), -EINVAL);
	assert_int_equal(img_append(f->s, &img_pages, 8, "x", 1), -EINVAL);
}

static void raw_from_fd(void **state)
{
	enum { BYTES = 600 << 10 };
	struct fixture *f = *state;
	_cleanup_free_ char *data = xcalloc(1, BYTES), *back = xcalloc(1, BYTES);
	FILE *in = tmpfile(), *out = tmpfile();
	struct cr_reader *r;
	const void *p;
	size_t len;

	for (int i = 0; i < BYTES; i++)
		data[i] = i * 7 + (i >> 9);
	assert_int_equal(pwrite_full(fileno(in), data, BYTES, 5), 0);
	assert_int_equal(img_append(f->s, &img_fs, 1, "e", 1), 0);
	assert_int_equal(img_raw_fd(f->s, &img_fs, 1, fileno(in), 5, BYTES), 0);
	assert_int_equal(img_append(f->s, &img_fs, 1, "f", 1), 0);
	assert_int_equal(img_raw(f->s, &img_fs, 1, data, 100000), 0);
	assert_int_equal(images_finish(f->s), 0);
	assert_int_equal(img_open(f->s, &img_fs, 1, &r), 0);
	assert_int_equal(img_next(r, &p, &len), 1);
	assert_int_equal(img_left(r), BYTES + 5 + 100000);
	assert_int_equal(img_extra_fd(r, fileno(out), 3, BYTES), 0);
	assert_int_equal(pread_full(fileno(out), back, BYTES, 3), 0);
	assert_memory_equal(data, back, BYTES);
	assert_int_equal(img_next(r, &p, &len), 1);
	assert_memory_equal(p, "f", 1);
	assert_int_equal(img_extra(r, back, 100001), -EPROTO);
	assert_int_equal(img_extra(r, back, 100000), 0);
	assert_memory_equal(data, back, 100000);
	assert_int_equal(img_extra_fd(r, fileno(out), 0, 1), -EPROTO);
	img_close(r);
	assert_int_equal(img_raw_fd(f->s, &img_fs, 1, fileno(in), BYTES, BYTES), -ENODATA);
	fclose(in);
	fclose(out);
}

static void bad_use(void **state)
{
	static const struct cr_img_type slash = { sizeof(slash), "../x", 1, 0 };
	static const struct cr_img_type dots = { sizeof(dots), "..", 1, 0 };
	struct fixture *f = *state;
	struct cr_reader *r;

	assert_int_equal(img_append(f->s, &slash, 1, "", 0), -EINVAL);
	assert_int_equal(img_open(f->s, &dots, NO_ID, &r), -EINVAL);
	restart(f, CR_MODE_CHECK);
	assert_int_equal(img_append(f->s, &img_core, 1, "", 0), -EROFS);
}

/* ---- messages, statistics ---- */

static void messages(void **state)
{
	struct fixture *f = *state;
	InventoryEntry inv = INVENTORY_ENTRY__INIT;
	PstreeEntry e = PSTREE_ENTRY__INIT;
	uint32_t threads[] = { 10, 11 };
	ProtobufCMessage *m;
	struct cr_reader *r;

	inv.img_version = 2;
	inv.has_fdinfo_per_id = inv.fdinfo_per_id = 1;
	e.pid = 10;
	e.threads = threads;
	e.n_threads = 2;
	assert_int_equal(img_append_msg(f->s, &img_inventory, NO_ID, &inv.base), 0);
	assert_int_equal(img_append_msg(f->s, &img_pstree, NO_ID, &e.base), 0);
	assert_int_equal(images_finish(f->s), 0);
	restart(f, CR_MODE_RESTORE);
	assert_int_equal(img_read_one(f->s, &img_inventory, NO_ID, &inventory_entry__descriptor, &m), 0);
	assert_int_equal(((InventoryEntry *)m)->img_version, 2);
	protobuf_c_message_free_unpacked(m, NULL);
	assert_int_equal(img_open(f->s, &img_pstree, NO_ID, &r), 0);
	assert_int_equal(img_next_msg(r, &pstree_entry__descriptor, &m), 1);
	assert_int_equal(((PstreeEntry *)m)->n_threads, 2);
	assert_int_equal(((PstreeEntry *)m)->threads[1], 11);
	protobuf_c_message_free_unpacked(m, NULL);
	assert_int_equal(img_next_msg(r, &pstree_entry__descriptor, &m), 0);
	img_close(r);
	assert_int_equal(img_read_one(f->s, &img_fs, 1, &pstree_entry__descriptor, &m), -ENOENT);
	assert_int_equal(f->s->err.errnum, 0);
}

static void statistics(void **state)
{
	struct fixture *f = *state;
	_cleanup_buf_ struct buf b = { 0 };
	ProtobufCMessage *m;

	f->s->stats.frozen_time = 1ull << 40;
	f->s->stats.pages_written = 1ull << 40;
	assert_int_equal(stats_write(f->s), 0);
	assert_int_equal(read_file(images_workdirfd(f->s), "stats-dump", &b), 0);
	assert_memory_equal(b.p, "\x40\x59\x10\x55\x06\x33\x09\x57", 8);
	assert_int_equal(img_read_one(f->s, &img_stats_dump, NO_ID, &stats_entry__descriptor, &m), 0);
	assert_true(((StatsEntry *)m)->dump->frozen_time == UINT32_MAX);
	assert_true(((StatsEntry *)m)->dump->pages_written == 1ull << 40);
	protobuf_c_message_free_unpacked(m, NULL);
	restart(f, CR_MODE_RESTORE);
	assert_int_equal(stats_write(f->s), 0);
	assert_true(exists(f, "stats-restore"));
}

static void separate_work_dir(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(options_set(f->s->opts, "work-dir", f->base), 0);
	assert_int_equal(images_open(f->s), 0);
	assert_int_equal(stats_write(f->s), 0);
	assert_false(exists(f, "stats-dump"));
	assert_int_equal(faccessat(images_workdirfd(f->s), "stats-dump", F_OK, 0), 0);
	images_discard(f->s);
	assert_int_equal(faccessat(images_workdirfd(f->s), "stats-dump", F_OK, 0), -1);
}

static void missing_dir(void **state)
{
	struct fixture *f = *state;

	restart(f, CR_MODE_RESTORE);
	assert_int_equal(options_set(f->s->opts, "images-dir", "/nonexistent/images"), 0);
	assert_int_equal(images_open(f->s), -ENOENT);
	assert_int_equal(f->s->err.errnum, ENOENT);
}

/* ---- hostile images ---- */

#define PSTREE_MAGIC "\x19\x43\x56\x54\x30\x30\x27\x50"

/* Reads all of pstree.img; the first error, or the number of entries. */
static int read_all(struct fixture *f)
{
	ProtobufCMessage *m;
	struct cr_reader *r;
	int n, count = 0;

	n = img_open(f->s, &img_pstree, NO_ID, &r);
	if (n < 0)
		return n;
	while ((n = img_next_msg(r, &pstree_entry__descriptor, &m)) > 0) {
		protobuf_c_message_free_unpacked(m, NULL);
		count++;
	}
	img_close(r);
	return n < 0 ? n : count;
}

static void hostile(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		int want;
	} cases[] = {
		{ "", 0, -EPROTO },
		{ PSTREE_MAGIC, 7, -EPROTO },
		{ PSTREE_MAGIC, 8, 0 },
		{ "\x19\x43\x56\x54\x30\x30\x27\x51", 8, -EPROTO },
		{ "\x40\x59\x10\x55\x30\x30\x27\x50", 8, -EPROTO },
		{ PSTREE_MAGIC "\1", 9, -EPROTO },
		{ PSTREE_MAGIC "\1\0\0", 11, -EPROTO },
		{ PSTREE_MAGIC "\1\0\0\0", 12, -EPROTO },
		{ PSTREE_MAGIC "\xff\xff\xff\xff", 12, -EPROTO },
		{ PSTREE_MAGIC "\xff\xff\xff\x7f\x08\1\x10\0\x18\1\x20\1", 20, -EPROTO },
		{ PSTREE_MAGIC "\x08\0\0\0\x08\1\x10\0\x18\1\x20\1", 20, 1 },
		{ PSTREE_MAGIC "\x08\0\0\0\x08\1\x10\0\x18\1\x20\1\x08\0\0\0\x08", 25, -EPROTO },
		{ PSTREE_MAGIC "\x06\0\0\0\x08\1\x10\0\x18\1", 18, -EPROTO }, /* required field */
		{ PSTREE_MAGIC "\x04\0\0\0\xff\xff\xff\xff", 16, -EPROTO },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		put_file(f, "pstree.img", cases[i].bytes, cases[i].len);
		assert_int_equal(read_all(f), cases[i].want);
	}
}

/* A sparse file makes any length look plausible. */
static void huge_entry(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *path = xasprintf("%s/pstree.img", f->dir);

	put_file(f, "pstree.img", PSTREE_MAGIC "\xff\xff\xff\xff", 12);
	assert_int_equal(truncate(path, 1ll << 33), 0);
	assert_int_equal(read_all(f), -EPROTO);
}

static void not_a_file(void **state)
{
	struct fixture *f = *state;
	int dir = images_dirfd(f->s);

	put_file(f, "target", PSTREE_MAGIC, 8);
	assert_int_equal(symlinkat("target", dir, "pstree.img"), 0);
	assert_int_equal(read_all(f), -ELOOP);
	assert_int_equal(unlinkat(dir, "pstree.img", 0), 0);
	assert_int_equal(mkfifoat(dir, "pstree.img", 0600), 0);
	assert_int_equal(read_all(f), -EINVAL);
}

static void shrinks(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *path = xasprintf("%s/pages-1.img", f->dir);
	struct cr_reader *r;
	char buf[16];

	put_file(f, "pages-1.img", "0123456789abcdef", 16);
	assert_int_equal(img_open(f->s, &img_pages, 1, &r), 0);
	assert_int_equal(truncate(path, 4), 0);
	assert_int_equal(img_extra(r, buf, 16), -ENODATA);
	img_close(r);
}

/* ---- for other tools ---- */

static void keep(void)
{
	static const char reg[] = "\x08\1\x10\0\x18\0\x22\x0a\x08\0\x10\0\x18\0\x20\0\x28\0\x32\x09/tmp/file";
	PstreeEntry e = PSTREE_ENTRY__INIT;
	InventoryEntry inv = INVENTORY_ENTRY__INIT;
	struct fixture f = { .dir = getenv("KEEP_IMAGES") };
	uint32_t tid = 10;

	if (!f.dir)
		return;
	start(&f, CR_MODE_DUMP);
	inv.img_version = 2;
	e.pid = tid;
	e.threads = &tid;
	e.n_threads = 1;
	assert_int_equal(img_append_msg(f.s, &img_inventory, NO_ID, &inv.base), 0);
	assert_int_equal(img_append_msg(f.s, &img_pstree, NO_ID, &e.base), 0);
	assert_int_equal(img_append_file(f.s, 1, 1, 3, reg, sizeof(reg) - 1), 0);
	assert_int_equal(images_finish(f.s), 0);
	assert_int_equal(stats_write(f.s), 0);
	stop(&f);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(framing), T(modes), T(many_images), T(replaces_old_set), T(discard), T(direct),
		T(raw_from_fd), T(bad_use), T(messages), T(statistics), T(separate_work_dir),
		T(missing_dir), T(hostile), T(huge_entry), T(not_a_file), T(shrinks),
	};

	log_init();
	keep();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
