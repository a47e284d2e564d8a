/* SPDX-License-Identifier: MIT */
/*
 * keys.c: key files. A file is one line of text: "stasis KIND BASE64". Secret keys live in memory of libsodium's own, which is
 * locked, surrounded by guard pages, left out of core dumps, empty in children, and zeroed when it is freed.
 */
#include "trust.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_MOST 256

static const struct {
	const char *name, *text;
	size_t bytes;
	bool secret;
} kinds[] = {
	[KEY_SIGN_SECRET] = { "sign-secret", "a secret key for signing", crypto_sign_SECRETKEYBYTES, true },
	[KEY_SIGN_PUBLIC] = { "sign-public", "a public key for signatures", crypto_sign_PUBLICKEYBYTES, false },
	[KEY_ENCRYPT_SECRET] = { "encrypt-secret", "a secret key for decryption", crypto_box_SECRETKEYBYTES, true },
	[KEY_ENCRYPT_PUBLIC] = { "encrypt-public", "a public key for encryption", crypto_box_PUBLICKEYBYTES, false },
};

unsigned char *trust_secret(size_t bytes)
{
	unsigned char *p = sodium_malloc(bytes);

	/* the warden and the tasks to be are children */
	if (p)
		madvise((void *)PAGE_DOWN((uintptr_t)p), PAGE_UP((uintptr_t)p + bytes) - PAGE_DOWN((uintptr_t)p),
			MADV_WIPEONFORK);
	return p;
}

void trust_secret_free(unsigned char *secret)
{
	sodium_free(secret);
}

/* The line in text, of len bytes, is a key of this kind. 0 or -errno, recorded. */
static int parse(struct session *s, const char *option, const char *path, enum key_kind kind, const char *text, size_t len,
		 unsigned char *out)
{
	size_t got = 0, words;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		words = strlen("stasis ") + strlen(kinds[i].name) + 1;
		if (len <= words || memcmp(text, "stasis ", 7) != 0 || text[words - 1] != ' ' ||
		    memcmp(text + 7, kinds[i].name, words - 8) != 0)
			continue;
		if (i != kind)
			return fail(s, EINVAL, "--%s: %s holds %s, but %s is needed%s", option, path, kinds[i].text,
				    kinds[kind].text,
				    kinds[i].secret && !kinds[kind].secret ? ": give the file that ends in .pub" : "");
		while (len && (text[len - 1] == '\n' || text[len - 1] == '\r' || text[len - 1] == ' '))
			len--;
		if (sodium_base642bin(out, kinds[i].bytes, text + words, len - MIN_OF(words, len), NULL, &got, NULL,
				      sodium_base64_VARIANT_ORIGINAL) == 0 && got == kinds[i].bytes)
			return 0;
		return fail(s, EINVAL, "--%s: the key in %s is damaged", option, path);
	}
	return fail(s, EINVAL, "--%s: %s is no key: 'keygen' makes them", option, path);
}

int key_read(struct session *s, const char *option, const char *path, enum key_kind kind, unsigned char **ret)
{
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	unsigned char *line, *key;
	struct stat st;
	ssize_t n;
	int err;

	if (fd < 0 || fstat(fd, &st) < 0)
		return fail(s, errno, "--%s: cannot open the key %s: %s", option, path, strerror(errno));
	if (!S_ISREG(st.st_mode) && !S_ISFIFO(st.st_mode))
		return fail(s, EINVAL, "--%s: %s is not a file", option, path);
	fcntl(fd, F_SETFL, 0);
	line = trust_secret(LINE_MOST);
	key = trust_secret(kinds[kind].bytes);
	if (!line || !key) {
		trust_secret_free(line);
		trust_secret_free(key);
		return fail(s, ENOMEM, "no memory for keys");
	}
	n = read(fd, line, LINE_MOST);
	err = n < 0 ? fail(s, errno, "--%s: cannot read %s: %s", option, path, strerror(errno))
		    : parse(s, option, path, kind, (char *)line, n, key);
	trust_secret_free(line);
	if (err == 0 && kinds[kind].secret && S_ISREG(st.st_mode) && st.st_mode & 077)
		err = fail(s, EPERM, "--%s: others may read the secret key %s (mode %04o): make it 0600", option, path,
			   st.st_mode & 07777);
	if (err < 0)
		trust_secret_free(key);
	else
		*ret = key;
	return err;
}

/* A new file. 0 or -errno, recorded. */
static int key_write(struct session *s, const char *path, mode_t mode, enum key_kind kind, const unsigned char *key)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode), err;
	char *line = (char *)trust_secret(LINE_MOST);
	size_t n;

	if (fd < 0 || !line) {
		err = fail(s, line ? errno : ENOMEM, "cannot create the key %s: %s", path,
			   errno == EEXIST ? "it exists, and keys are not replaced" : strerror(errno));
	} else {
		n = sprintf(line, "stasis %s ", kinds[kind].name);
		sodium_bin2base64(line + n, LINE_MOST - n - 1, key, kinds[kind].bytes, sodium_base64_VARIANT_ORIGINAL);
		n += strlen(line + n);
		line[n++] = '\n';
		err = write_full(fd, line, n);
		if (err == 0 && fsync(fd) < 0)
			err = -errno;
		if (err < 0) {
			fail(s, -err, "cannot write the key %s: %s", path, strerror(-err));
			unlink(path);
		}
	}
	trust_secret_free((unsigned char *)line);
	cleanup_fd(&fd);
	return err;
}

int key_generate(struct session *s, bool sign, const char *path)
{
	_cleanup_free_ char *public_path = xasprintf("%s.pub", path);
	enum key_kind kind = sign ? KEY_SIGN_SECRET : KEY_ENCRYPT_SECRET;
	unsigned char public[crypto_sign_PUBLICKEYBYTES], *secret;
	int err;

	_Static_assert(sizeof(public) >= crypto_box_PUBLICKEYBYTES, "either public key has room");
	secret = sodium_init() < 0 ? NULL : trust_secret(kinds[kind].bytes);
	if (!secret)
		return fail(s, ENOMEM, "no memory for keys");
	if (sign)
		crypto_sign_keypair(public, secret);
	else
		crypto_box_keypair(public, secret);
	err = key_write(s, path, 0600, kind, secret);
	trust_secret_free(secret);
	if (err == 0) {
		err = key_write(s, public_path, 0644, sign ? KEY_SIGN_PUBLIC : KEY_ENCRYPT_PUBLIC, public);
		if (err < 0)
			unlink(path);
	}
	return err;
}
