/* SPDX-License-Identifier: MIT */
/*
 * trust.c: what the options --verify, --sign-key, --verify-key, --encrypt-key and --decrypt-key do with the images directory.
 *
 * The signature covers the manifest's bytes, the manifest every file's. An encrypted dump has a key of its own,
 * sealed to the recipient's public key in x-stasis-key.img; with it the manifest gets a code too, so that also the set
 * of files is bound to that key.
 */
#include "trust.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fault.h"
#include "manifest.pb-c.h"
#include "options.h"

#define MANIFEST_MOST (512u << 20)
#define THREADS_MOST 16
#define KEY_BYTES crypto_aead_xchacha20poly1305_ietf_KEYBYTES

_Static_assert(KEY_BYTES == SEALED_BYTES - crypto_box_SEALBYTES, "the key fills the sealed box");

const struct cr_img_type img_stasis_manifest = { .size = sizeof(img_stasis_manifest),
	.name = "x-stasis-manifest", .magic = 0x53544d46 };
const struct cr_img_type img_stasis_signature = { .size = sizeof(img_stasis_signature),
	.name = "x-stasis-signature", .magic = 0x53545347 };
const struct cr_img_type img_stasis_key = { .size = sizeof(img_stasis_key), .name = "x-stasis-key", .magic = 0x53544b59 };

/* What the signature is over: no other program's signature with the same key can be taken for one. */
static const char sign_context[] = "stasis images manifest 1";

bool trust_own_image(const struct cr_img_type *type)
{
	return type == &img_stasis_manifest || type == &img_stasis_signature || type == &img_stasis_key;
}

void trust_free(struct trust *t)
{
	if (!t)
		return;
	trust_secret_free(t->sign);
	trust_secret_free(t->key);
	for (size_t i = 0; i < t->plain.n; i++) {
		cleanup_fd(&t->plain.v[i].fd);
		free(t->plain.v[i].name);
	}
	vec_free(&t->plain);
	free(t);
}

int trust_open(const struct trust *t, const char *name)
{
	for (size_t i = 0; i < t->plain.n; i++) {
		int fd;

		if (strcmp(t->plain.v[i].name, name) != 0)
			continue;
		fd = fcntl(t->plain.v[i].fd, F_DUPFD_CLOEXEC, 3);
		return fd < 0 ? -errno : fd;
	}
	return -ENOENT;
}

/* ---- dump ---- */

/* A new key for this dump, sealed to the recipient. */
static int new_dump_key(struct session *s, struct trust *t, const char *path)
{
	unsigned char *recipient;
	int err = key_read(s, "encrypt-key", path, KEY_ENCRYPT_PUBLIC, &recipient);

	if (err < 0)
		return err;
	memcpy(t->recipient, recipient, sizeof(t->recipient));
	trust_secret_free(recipient);
	t->key = trust_secret(KEY_BYTES);
	if (!t->key)
		return fail(s, ENOMEM, "no memory for keys");
	crypto_aead_xchacha20poly1305_ietf_keygen(t->key);
	if (crypto_box_seal(t->sealed, t->key, KEY_BYTES, t->recipient) != 0)
		return fail(s, EINVAL, "--encrypt-key: the key in %s is not usable", path);
	return 0;
}

int trust_prepare(struct session *s, struct trust **ret)
{
	const char *sign = opt_str(s->opts, "sign-key"), *encrypt = opt_str(s->opts, "encrypt-key");
	struct trust *t = xcalloc(1, sizeof(*t));
	int err = sodium_init() < 0 ? fail(s, EIO, "the cryptographic library cannot be used") : 0;

	t->hash = sign ? HASH_BLAKE2B : HASH_XXH3;
	if (!err && sign)
		err = key_read(s, "sign-key", sign, KEY_SIGN_SECRET, &t->sign);
	if (!err && encrypt)
		err = new_dump_key(s, t, encrypt);
	if (err < 0)
		trust_free(t);
	else
		*ret = t;
	return err;
}

/* ---- restore ---- */

/* A file of our own, not larger than most. -ENOENT, not recorded. */
static int read_own(struct session *s, int dirfd, const char *path, const char *name, size_t most, struct buf *ret)
{
	_cleanup_fd_ int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;
	int err;

	if (fd < 0 && errno == ENOENT)
		return -ENOENT;
	if (fd < 0 || fstat(fd, &st) < 0)
		return fail(s, errno, "cannot open %s/%s: %s", path, name, strerror(errno));
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > most)
		return fail(s, EPROTO, "%s/%s is damaged: it is no file, or too large", path, name);
	ret->p = xrealloc(NULL, st.st_size + 1);
	ret->cap = st.st_size + 1;
	ret->len = st.st_size;
	ret->p[ret->len] = 0;
	err = FAULT("reading %s", name);
	if (!err)
		err = pread_full(fd, ret->p, ret->len, 0);
	return err ? fail(s, -err, "cannot read %s/%s: %s", path, name, strerror(-err)) : 0;
}

/* The only message of one of our small files. -ENOENT, not recorded. */
static int read_message(struct session *s, int dirfd, const char *path, const struct cr_img_type *type,
			const ProtobufCMessageDescriptor *d, ProtobufCMessage **ret)
{
	unsigned char head[IMG_HEADER_MAX];
	size_t len = image_header(type, head);
	_cleanup_free_ char *name = xasprintf("%s.img", type->name);
	_cleanup_buf_ struct buf b = { 0 };
	int err = read_own(s, dirfd, path, name, 4096, &b);

	if (err < 0)
		return err;
	/* one entry, which fills the file: of its size two bytes matter */
	if (b.len >= len + 4 && memcmp(b.p, head, len) == 0 && !b.p[len + 2] && !b.p[len + 3] &&
	    (unsigned char)b.p[len] + 256u * (unsigned char)b.p[len + 1] == b.len - len - 4)
		*ret = protobuf_c_message_unpack(d, NULL, b.len - len - 4, (uint8_t *)b.p + len + 4);
	else
		*ret = NULL;
	return *ret ? 0 : fail(s, EPROTO, "%s/%s is damaged", path, name);
}

/* What is signed: the context and the hash of the manifest. */
static void signed_text(const struct buf *manifest, unsigned char out[sizeof(sign_context) + HASH_MOST])
{
	memcpy(out, sign_context, sizeof(sign_context));
	crypto_generichash(out + sizeof(sign_context), HASH_MOST, (unsigned char *)manifest->p, manifest->len, NULL, 0);
}

static int check_signature(struct session *s, const char *path, const char *key_path, const ManifestSignature *m,
			   const struct buf *manifest)
{
	unsigned char text[sizeof(sign_context) + HASH_MOST], *key;
	int err;

	err = key_read(s, "verify-key", key_path, KEY_SIGN_PUBLIC, &key);
	if (err < 0)
		return err;
	signed_text(manifest, text);
	if (!m || !m->has_signature)
		err = fail(s, EKEYREJECTED, "the images in %s are not signed: --verify-key wants a signature", path);
	else if (m->signature.len != crypto_sign_BYTES || !m->has_public_key || m->public_key.len != crypto_sign_PUBLICKEYBYTES ||
		 memcmp(m->public_key.data, key, crypto_sign_PUBLICKEYBYTES) != 0 ||
		 crypto_sign_verify_detached(m->signature.data, text, sizeof(text), key) != 0)
		err = fail(s, EKEYREJECTED, "the images in %s are not signed with the key of %s, or the manifest was changed",
			   path,
			   key_path);
	trust_secret_free(key);
	return err;
}

/* Key of the dump, by the recipient's secret key. */
static int unseal(struct session *s, int dirfd, const char *path, const char *key_path, struct trust *t)
{
	unsigned char public[crypto_box_PUBLICKEYBYTES], *secret = NULL;
	ProtobufCMessage *m = NULL;
	const ImageKey *k;
	int err = read_message(s, dirfd, path, &img_stasis_key, &image_key__descriptor, &m);

	if (err == -ENOENT)
		return fail(s, ENOENT, "the images in %s are not encrypted: restore them without --decrypt-key if you trust them",
			    path);
	if (err == 0)
		err = key_read(s, "decrypt-key", key_path, KEY_ENCRYPT_SECRET, &secret);
	if (err == 0) {
		k = (const ImageKey *)m;
		t->key = trust_secret(KEY_BYTES);
		crypto_scalarmult_base(public, secret);
		if (!t->key)
			err = fail(s, ENOMEM, "no memory for keys");
		else if (k->version != 1)
			err = fail(s, EPROTO, "the images in %s are encrypted in a way that only a newer version knows", path);
		else if (k->sealed.len != SEALED_BYTES ||
			 crypto_box_seal_open(t->key, k->sealed.data, k->sealed.len, public, secret) != 0)
			err = fail(s, EKEYREJECTED, "the images in %s are encrypted for another key than that of %s", path,
				   key_path);
	}
	trust_secret_free(secret);
	if (m)
		protobuf_c_message_free_unpacked(m, NULL);
	return err;
}

static int check_code(struct session *s, const char *path, const struct trust *t, const ManifestSignature *m,
		      const struct buf *manifest)
{
	unsigned char code[HASH_MOST];

	crypto_generichash(code, sizeof(code), (unsigned char *)manifest->p, manifest->len, t->key, KEY_BYTES);
	if (m && m->has_code && m->code.len == sizeof(code) && sodium_memcmp(code, m->code.data, sizeof(code)) == 0)
		return 0;
	return fail(s, EBADMSG, "the manifest of %s was changed after the dump", path);
}

/* Files being decrypted by several threads. */
struct decryptions {
	struct trust *t;
	int dirfd;
	atomic_size_t next;
	int *err;
};

static void *decrypt_some(void *arg)
{
	struct decryptions *d = arg;
	size_t i;

	while ((i = atomic_fetch_add(&d->next, 1)) < d->t->plain.n)
		d->err[i] = decrypt_image(d->t->key, d->dirfd, d->t->plain.v[i].name, &d->t->plain.v[i].fd);
	return NULL;
}

static int decrypt_all(struct session *s, int dirfd, const char *path, struct trust *t, const struct buf *manifest)
{
	struct decryptions d = { .t = t, .dirfd = dirfd };
	pthread_t thread[THREADS_MOST];
	name_list names = { 0 };
	size_t n = 0, want;
	sigset_t all, old;
	cpu_set_t cpus;
	int err = 0;

	manifest_names(manifest, &names);
	for (size_t i = 0; i < names.n; i++) {
		if (!strcmp(names.v[i], "x-stasis-key.img")) {
			free(names.v[i]);
			continue;
		}
		vec_push(&t->plain);
		t->plain.v[t->plain.n - 1].name = names.v[i];
		t->plain.v[t->plain.n - 1].fd = -1;
	}
	vec_free(&names);
	d.err = xcalloc(t->plain.n + 1, sizeof(*d.err));
	want = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
	want = MIN_OF(MIN_OF(want, t->plain.n), (size_t)THREADS_MOST);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	while (n + 1 < want && pthread_create(&thread[n], NULL, decrypt_some, &d) == 0)
		n++;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	decrypt_some(&d);
	while (n)
		pthread_join(thread[--n], NULL);
	for (size_t i = 0; i < t->plain.n; i++)
		if (d.err[i])
			err = fail(s, -d.err[i], "cannot decrypt %s/%s: %s", path, t->plain.v[i].name,
				   d.err[i] == -EBADMSG ? "it was changed, or is of another dump" : strerror(-d.err[i]));
	free(d.err);
	return err;
}

/* Contents that were compared must not be exchanged before they are used. */
static int check_directory(struct session *s, int dirfd, const char *path)
{
	struct stat st;

	if (fstat(dirfd, &st) < 0)
		return fail(s, errno, "cannot examine the images directory %s: %s", path, strerror(errno));
	if (st.st_mode & 022)
		return fail(s, EPERM, "others may write to the images directory %s (mode %04o), so what was verified could be "
				      "exchanged: "
			    "take the permission away", path, st.st_mode & 07777);
	return 0;
}

static int check(struct session *s, int dirfd, const char *path, const char *verify_key, const char *decrypt_key, struct trust *t)
{
	_cleanup_buf_ struct buf manifest = { 0 };
	ProtobufCMessage *m = NULL;
	int err = check_directory(s, dirfd, path);

	if (err == 0) {
		err = read_own(s, dirfd, path, "x-stasis-manifest.img", MANIFEST_MOST, &manifest);
		if (err == -ENOENT)
			err = fail(s, ENOENT, "there is no x-stasis-manifest.img in %s: these images cannot be verified", path);
	}
	if (err == 0) {
		err = read_message(s, dirfd, path, &img_stasis_signature, &manifest_signature__descriptor, &m);
		err = err == -ENOENT ? 0 : err;
	}
	if (err == 0 && verify_key)
		err = check_signature(s, path, verify_key, (ManifestSignature *)m, &manifest);
	if (err == 0)
		err = manifest_compare(s, dirfd, path, &manifest);
	if (err == 0 && decrypt_key)
		err = unseal(s, dirfd, path, decrypt_key, t);
	if (err == 0 && decrypt_key)
		err = check_code(s, path, t, (ManifestSignature *)m, &manifest);
	if (err == 0 && decrypt_key)
		err = decrypt_all(s, dirfd, path, t, &manifest);
	if (m)
		protobuf_c_message_free_unpacked(m, NULL);
	return err;
}

int trust_check(struct session *s, int dirfd, const char *path, struct trust **ret)
{
	const char *verify_key = opt_str(s->opts, "verify-key"), *decrypt_key = opt_str(s->opts, "decrypt-key");
	struct trust *t;
	int err;

	if (!decrypt_key && faccessat(dirfd, "x-stasis-key.img", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return fail(s, EKEYREJECTED, "the images in %s are encrypted: give the secret key with --decrypt-key", path);
	if (!opt_flag(s->opts, "verify") && !verify_key && !decrypt_key)
		return 0;
	if (sodium_init() < 0)
		return fail(s, EIO, "the cryptographic library cannot be used");
	t = xcalloc(1, sizeof(*t));
	err = check(s, dirfd, path, verify_key, decrypt_key, t);
	trust_secret_free(t->key);
	t->key = NULL;
	if (err < 0 || !decrypt_key)
		trust_free(t);
	else
		*ret = t;
	return err;
}

/* ---- the end of a dump ---- */

void trust_sign(const struct trust *t, const struct buf *manifest, unsigned char signature[crypto_sign_BYTES],
		unsigned char code[HASH_MOST])
{
	unsigned char text[sizeof(sign_context) + HASH_MOST];

	signed_text(manifest, text);
	if (t->sign)
		crypto_sign_detached(signature, NULL, text, sizeof(text), t->sign);
	if (t->key)
		crypto_generichash(code, HASH_MOST, (unsigned char *)manifest->p, manifest->len, t->key, KEY_BYTES);
}
