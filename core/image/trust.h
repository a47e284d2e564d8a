/* SPDX-License-Identifier: MIT */
/*
 * trust.h: what makes images trustworthy: the manifest with a hash of every file, its signature, and encryption.
 *
 * At dump everything that goes to an image of ours passes ledger_add(), in pieces of at most PIECE_BYTES: it encrypts the
 * piece, when that is wanted, and remembers the hash of what reaches the disk; so no file is read again. At the end
 * trust_seal() writes the manifest and signs it. At restore trust_check() compares, before anything is parsed,
 * and decrypts every image into memory; readers are given those.
 *
 * An encrypted file is a header of 32 bytes (magic, salt) and records in any order: a header of 16 bytes
 * (le64 offset in the image, le32 bytes, le32 kind) and the bytes with a tag of 16, XChaCha20-Poly1305 with the salt and the
 * offset as nonce; authenticated with the name of the file and the record's header. The last record, of kind 1, has no
 * bytes and the size of the image as its offset. So no record can be changed, left out, or moved within or between files.
 */
#ifndef CORE_IMAGE_TRUST_H
#define CORE_IMAGE_TRUST_H

#include <pthread.h>
#include <sodium.h>
#include <sys/uio.h>

#include "image-internal.h"

#define PIECE_BYTES (1u << 20)
#define HASH_MOST crypto_generichash_BYTES
#define SEALED_BYTES (crypto_secretstream_xchacha20poly1305_KEYBYTES + crypto_box_SEALBYTES)

enum hash_kind { HASH_XXH3 = 1, HASH_BLAKE2B = 2 };

struct trust {
	enum hash_kind hash;
	/* secrets are in memory of libsodium's own: locked, surrounded by guard pages, zeroed when freed; NULL: not wanted */
	unsigned char *sign; /* dump: Ed25519 secret key */
	unsigned char *key;  /* of this dump's images */
	unsigned char recipient[crypto_box_PUBLICKEYBYTES], sealed[SEALED_BYTES];
	/* restore: the images, decrypted */
	VEC(struct { char *name; int fd; }) plain;
};

/* What is known of an image being written. */
struct ledger {
	pthread_mutex_t lock;
	uint64_t bytes; /* of the image: end of what has been written */
	uint64_t disk;	/* of its file; differs when it is encrypted */
	unsigned char salt[16];
	VEC(struct { uint64_t off; uint32_t bytes; unsigned char hash[HASH_MOST]; }) pieces;
};

void ledger_init(struct ledger *l);
void ledger_fini(struct ledger *l);
/*
 * The bytes v, at most PIECE_BYTES, are about to be written to the image called name at *off. With encryption: appends what shall
 * be written instead to sealed, and sets *off to its place in the file. Any thread. last: the end of the image, no bytes.
 * Returns -EFBIG, not recorded, for more than PIECE_BYTES.
 */
int ledger_add(const struct trust *t, struct ledger *l, const char *name, const struct iovec *v, size_t n, uint64_t *off,
	       bool last, struct buf *sealed);

/* Dump: reads the keys that the options name. *ret to be freed. 0 or -errno, recorded. */
int trust_prepare(struct session *s, struct trust **ret);
/* Restore: does all that the options ask for. *ret: NULL when nothing is encrypted. 0 or -errno, recorded. */
int trust_check(struct session *s, int dirfd, const char *path, struct trust **ret);
void trust_free(struct trust *t);
/* Restore of encrypted images: descriptor of the decrypted image, the caller's; -ENOENT, not recorded: there is none. */
int trust_open(const struct trust *t, const char *name);
/* Signs the manifest's bytes and makes its code, as far as t has the keys for it. */
void trust_sign(const struct trust *t, const struct buf *manifest, unsigned char signature[crypto_sign_BYTES],
		unsigned char code[HASH_MOST]);
/* What images of this type are read from instead of the directory, or NULL. (image.c) */
const struct trust *images_decrypted(struct session *s, const struct cr_img_type *type);
/* Is this image neither encrypted nor in the manifest? */
bool trust_own_image(const struct cr_img_type *type);

/* The manifest, entry by entry, as it will be in its file. */
void manifest_begin(struct buf *b, enum hash_kind hash, uint64_t files);
void manifest_add(struct buf *b, enum hash_kind hash, const char *name, struct ledger *l);
/* Compares the files in dirfd with the manifest, its file's contents; each that differs is recorded. 0 or -errno. */
int manifest_compare(struct session *s, int dirfd, const char *path, const struct buf *manifest);
/* Names of all files in it; it has been compared. */
typedef VEC(char *) name_list;
void manifest_names(const struct buf *manifest, name_list *ret);
/* Hash of v, out has room for HASH_MOST bytes; returns how many it has. */
size_t piece_hash(enum hash_kind kind, const struct iovec *v, size_t n, unsigned char *out);

/* Decrypts the image called name, in dirfd, into a file in memory. Not recorded: -EBADMSG when it is not authentic. */
int decrypt_image(const unsigned char *key, int dirfd, const char *name, int *ret_fd);

/* ---- key files (keys.c) ---- */

enum key_kind { KEY_SIGN_SECRET, KEY_SIGN_PUBLIC, KEY_ENCRYPT_SECRET, KEY_ENCRYPT_PUBLIC };
/* Memory for a secret; trust_secret_free() zeroes it. NULL when there is none left. */
unsigned char *trust_secret(size_t bytes);
void trust_secret_free(unsigned char *secret);
/*
 * Reads a key that keygen has written; option: which names it, for messages. *ret is of trust_secret(). A secret that others may
 * read is refused. 0 or -errno, recorded.
 */
int key_read(struct session *s, const char *option, const char *path, enum key_kind kind, unsigned char **ret);
extern const struct cr_img_type img_stasis_manifest, img_stasis_signature, img_stasis_key;

#endif
