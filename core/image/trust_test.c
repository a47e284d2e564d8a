/* SPDX-License-Identifier: MIT */
/* Unit tests of encrypted files, written in any order, and of what must not decrypt; of the manifest; of key files. */
#include "trust.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define BLOCK 5000u
#define BLOCKS 3u

struct work {
	char dir[64];
	int dirfd;
	struct trust t;
	struct ledger l;
	struct session *s;
	unsigned char text[BLOCK * BLOCKS];
	size_t at[BLOCKS + 1]; /* where the records of the file begin, in its order, and the last one */
	size_t size;
};

static void put(struct work *w, int fd, uint64_t from, size_t bytes, bool last)
{
	struct iovec v = { w->text + from, bytes };
	struct buf sealed = { 0 };
	uint64_t off = from;

	assert_int_equal(ledger_add(&w->t, &w->l, "a.img", &v, 1, &off, last, &sealed), 0);
	assert_int_equal(pwrite_full(fd, sealed.p, sealed.len, off), 0);
	w->size = off + sealed.len;
	buf_free(&sealed);
}

static int setup(void **state)
{
	struct work *w = xcalloc(1, sizeof(*w));
	int fd;

	assert_true(sodium_init() >= 0);
	strcpy(w->dir, "/tmp/trust-test-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	w->dirfd = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	w->s = session_new(CR_MODE_RESTORE, NULL);
	w->t.hash = HASH_BLAKE2B;
	w->t.key = trust_secret(32);
	randombytes_buf(w->t.key, 32);
	randombytes_buf(w->text, sizeof(w->text));
	ledger_init(&w->l);
	fd = openat(w->dirfd, "a.img", O_RDWR | O_CREAT, 0600);
	for (size_t i = 0; i < BLOCKS; i++) { /* backwards */
		put(w, fd, (BLOCKS - 1 - i) * BLOCK, BLOCK, false);
		w->at[i + 1] = w->size;
	}
	w->at[0] = 32;
	put(w, fd, 0, 0, true);
	close(fd);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct work *w = *state;
	char cmd[96];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", w->dir);
	assert_int_equal(system(cmd), 0);
	ledger_fini(&w->l);
	trust_secret_free(w->t.key);
	session_free(w->s);
	close(w->dirfd);
	free(w);
	return 0;
}

static int decrypts(struct work *w, const char *name)
{
	int fd = -1, err = decrypt_image(w->t.key, w->dirfd, name, &fd);

	if (!err)
		close(fd);
	return err;
}

static void reads_back(void **state)
{
	struct work *w = *state;
	unsigned char got[sizeof(w->text)];
	struct stat st;
	int fd;

	assert_int_equal(decrypt_image(w->t.key, w->dirfd, "a.img", &fd), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, sizeof(got));
	assert_int_equal(pread_full(fd, got, sizeof(got), 0), 0);
	assert_memory_equal(got, w->text, sizeof(got));
	assert_int_equal(write(fd, "x", 1), -1); /* it cannot be changed any more */
	close(fd);
}

static void refuses_changes(void **state)
{
	struct work *w = *state;
	int fd = openat(w->dirfd, "a.img", O_RDWR);
	unsigned char *file = xcalloc(1, w->size), c;

	assert_int_equal(pread_full(fd, file, w->size, 0), 0);
	for (size_t i = 0; i < w->size; i += i < 64 || i + 64 > w->size ? 1 : 97) {
		if (i >= 8 && i < 16)
			continue; /* reserved */
		c = file[i] ^ 1;
		assert_int_equal(pwrite_full(fd, &c, 1, i), 0);
		assert_int_equal(decrypts(w, "a.img"), -EBADMSG);
		assert_int_equal(pwrite_full(fd, &file[i], 1, i), 0);
	}
	/* the second record twice, instead of the first */
	assert_int_equal(pwrite_full(fd, file + w->at[1], w->at[2] - w->at[1], w->at[0]), 0);
	assert_int_equal(decrypts(w, "a.img"), -EBADMSG);
	assert_int_equal(pwrite_full(fd, file, w->size, 0), 0);
	/* without its end, without some bytes, with more */
	for (size_t cut = w->size - 1; cut; cut = cut > 200 ? cut / 2 : cut - 1) {
		assert_int_equal(ftruncate(fd, cut), 0);
		assert_int_equal(decrypts(w, "a.img"), -EBADMSG);
	}
	assert_int_equal(pwrite_full(fd, file, w->size, 0), 0);
	assert_int_equal(ftruncate(fd, w->size + 40), 0);
	assert_int_equal(decrypts(w, "a.img"), -EBADMSG);
	assert_int_equal(ftruncate(fd, w->size), 0);
	assert_int_equal(decrypts(w, "a.img"), 0);
	/* under another name */
	assert_int_equal(renameat(w->dirfd, "a.img", w->dirfd, "b.img"), 0);
	assert_int_equal(decrypts(w, "b.img"), -EBADMSG);
	assert_int_equal(decrypts(w, "a.img"), -ENOENT);
	free(file);
	close(fd);
}

static void manifest_tells(void **state)
{
	struct work *w = *state;
	struct buf m = { 0 }, bad = { 0 };
	int fd = openat(w->dirfd, "a.img", O_RDWR);

	manifest_begin(&m, w->t.hash, 1);
	manifest_add(&m, w->t.hash, "a.img", &w->l);
	assert_int_equal(manifest_compare(w->s, w->dirfd, w->dir, &m), 0);
	assert_int_equal(pwrite_full(fd, "changed", 7, 100), 0);
	assert_int_equal(manifest_compare(w->s, w->dirfd, w->dir, &m), -EBADMSG);
	/* a manifest of any other bytes may be refused only */
	for (size_t i = 0; i < m.len; i++) {
		buf_free(&bad);
		buf_add(&bad, m.p, i);
		assert_true(manifest_compare(w->s, w->dirfd, w->dir, &bad) < 0);
		buf_add(&bad, m.p + i, m.len - i);
		bad.p[i] ^= 0x81;
		assert_true(manifest_compare(w->s, w->dirfd, w->dir, &bad) < 0);
	}
	buf_free(&bad);
	buf_free(&m);
	close(fd);
}

static void keys_are_files(void **state)
{
	struct work *w = *state;
	char path[96], public[104];
	unsigned char *key;
	struct stat st;

	for (int sign = 0; sign < 2; sign++) {
		enum key_kind secret = sign ? KEY_SIGN_SECRET : KEY_ENCRYPT_SECRET, open_one = secret + 1;

		snprintf(path, sizeof(path), "%s/key%d", w->dir, sign);
		snprintf(public, sizeof(public), "%s.pub", path);
		assert_int_equal(key_generate(w->s, sign, path), 0);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_mode & 07777, 0600);
		assert_int_equal(key_generate(w->s, sign, path), -EEXIST);
		assert_int_equal(key_read(w->s, "key", path, secret, &key), 0);
		trust_secret_free(key);
		assert_int_equal(key_read(w->s, "key", public, open_one, &key), 0);
		trust_secret_free(key);
		assert_int_equal(key_read(w->s, "key", path, open_one, &key), -EINVAL);
		assert_int_equal(key_read(w->s, "key", public, secret, &key), -EINVAL);
		assert_int_equal(chmod(path, 0640), 0);
		assert_int_equal(key_read(w->s, "key", path, secret, &key), -EPERM);
		assert_int_equal(truncate(path, 40), 0);
		assert_int_equal(chmod(path, 0600), 0);
		assert_int_equal(key_read(w->s, "key", path, secret, &key), -EINVAL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(reads_back, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_changes, setup, teardown),
		cmocka_unit_test_setup_teardown(manifest_tells, setup, teardown),
		cmocka_unit_test_setup_teardown(keys_are_files, setup, teardown),
	};

	log_set_level(0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
