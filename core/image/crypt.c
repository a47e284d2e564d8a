/* SPDX-License-Identifier: MIT */
/* crypt.c: the ledger of an image being written, with encryption of its pieces; and decryption of a file. */
#include "trust.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define FILE_MAGIC "StasisE1"
#define FILE_HEADER 32 /* magic, 8 bytes of zero, salt */
#define RECORD_HEADER 16
#define TAG_BYTES crypto_aead_xchacha20poly1305_ietf_ABYTES
#define NONCE_BYTES crypto_aead_xchacha20poly1305_ietf_NPUBBYTES

enum record_kind { RECORD_DATA = 0, RECORD_END = 1 };

static void put_le(unsigned char *p, uint64_t v, int bytes)
{
	for (int n = 0; n < bytes; n++)
		p[n] = v >> (8 * n);
}

static uint64_t get_le(const unsigned char *p, int bytes)
{
	uint64_t v = 0;

	for (int n = 0; n < bytes; n++)
		v |= (uint64_t)p[n] << (8 * n);
	return v;
}

size_t piece_hash(enum hash_kind kind, const struct iovec *v, size_t n, unsigned char *out)
{
	crypto_generichash_state b2;
	XXH128_canonical_t c;
	XXH3_state_t x;

	if (kind == HASH_BLAKE2B) {
		crypto_generichash_init(&b2, NULL, 0, HASH_MOST);
		for (size_t i = 0; i < n; i++)
			crypto_generichash_update(&b2, v[i].iov_base, v[i].iov_len);
		crypto_generichash_final(&b2, out, HASH_MOST);
		return HASH_MOST;
	}
	XXH3_INITSTATE(&x);
	XXH3_128bits_reset(&x);
	for (size_t i = 0; i < n; i++)
		XXH3_128bits_update(&x, v[i].iov_base, v[i].iov_len);
	XXH128_canonicalFromHash(&c, XXH3_128bits_digest(&x));
	memcpy(out, c.digest, sizeof(c.digest));
	return sizeof(c.digest);
}

void ledger_init(struct ledger *l)
{
	pthread_mutex_init(&l->lock, NULL);
	randombytes_buf(l->salt, sizeof(l->salt));
}

void ledger_fini(struct ledger *l)
{
	vec_free(&l->pieces);
	pthread_mutex_destroy(&l->lock);
}

/* Nonce, and what else a record is bound to; *aad to be freed. Returns the bytes of aad. */
static size_t bind_record(const unsigned char *salt, const char *name, const unsigned char *head,
			  unsigned char nonce[NONCE_BYTES], unsigned char **aad)
{
	size_t len = strlen(name) + 1;

	memcpy(nonce, salt, 16);
	memcpy(nonce + 16, head, 8);
	*aad = xrealloc(NULL, len + RECORD_HEADER);
	memcpy(*aad, name, len);
	memcpy(*aad + len, head, RECORD_HEADER);
	return len + RECORD_HEADER;
}

/* Appends one record to out, of which bytes are the n of v. */
static void seal_record(const struct trust *t, const struct ledger *l, const char *name, const struct iovec *v, size_t n,
			size_t bytes, uint64_t off, enum record_kind kind, struct buf *out)
{
	_cleanup_free_ unsigned char *aad = NULL;
	unsigned char head[RECORD_HEADER], nonce[NONCE_BYTES], *p, *text;
	size_t naad;

	put_le(head, off, 8);
	put_le(head + 8, bytes, 4);
	put_le(head + 12, kind, 4);
	naad = bind_record(l->salt, name, head, nonce, &aad);
	out->cap = out->len + RECORD_HEADER + bytes + TAG_BYTES + 1;
	out->p = xrealloc(out->p, out->cap);
	p = (unsigned char *)out->p + out->len;
	memcpy(p, head, RECORD_HEADER);
	text = p + RECORD_HEADER;
	for (size_t i = 0, at = 0; i < n; at += v[i++].iov_len)
		if (v[i].iov_len)
			memcpy(text + at, v[i].iov_base, v[i].iov_len);
	/* in place: the text is only in memory */
	crypto_aead_xchacha20poly1305_ietf_encrypt(text, NULL, text, bytes, aad, naad, NULL, nonce, t->key);
	out->len += RECORD_HEADER + bytes + TAG_BYTES;
	out->p[out->len] = 0;
}

int ledger_add(const struct trust *t, struct ledger *l, const char *name, const struct iovec *v, size_t n, uint64_t *off,
	       bool last, struct buf *sealed)
{
	unsigned char hash[HASH_MOST] = { 0 };
	struct iovec all = { 0 };
	uint64_t at = *off;
	size_t bytes = 0;

	for (size_t i = 0; i < n; i++)
		bytes += v[i].iov_len;
	if (bytes > PIECE_BYTES)
		return -EFBIG;
	if (!bytes && !last)
		return 0;
	pthread_mutex_lock(&l->lock);
	l->bytes = MAX_OF(l->bytes, at + bytes);
	if (t->key && !l->disk) {
		unsigned char head[FILE_HEADER] = FILE_MAGIC;

		memcpy(head + FILE_HEADER - sizeof(l->salt), l->salt, sizeof(l->salt));
		buf_add(sealed, head, sizeof(head));
	}
	if (t->key) {
		*off = l->disk;
		l->disk += sealed->len + RECORD_HEADER + bytes + TAG_BYTES;
	} else {
		l->disk = l->bytes;
	}
	pthread_mutex_unlock(&l->lock);
	if (t->key) {
		seal_record(t, l, name, v, n, bytes, last ? l->bytes : at, last ? RECORD_END : RECORD_DATA, sealed);
		all = (struct iovec){ sealed->p, sealed->len };
		v = &all;
		n = 1;
		bytes = sealed->len;
	}
	piece_hash(t->hash, v, n, hash);
	pthread_mutex_lock(&l->lock);
	vec_push(&l->pieces);
	l->pieces.v[l->pieces.n - 1].off = *off;
	l->pieces.v[l->pieces.n - 1].bytes = bytes;
	memcpy(l->pieces.v[l->pieces.n - 1].hash, hash, sizeof(hash));
	pthread_mutex_unlock(&l->lock);
	return 0;
}

/* ---- decryption ---- */

struct range {
	uint64_t off, bytes;
};

static int by_offset(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	return x->off < y->off ? -1 : x->off > y->off;
}

/* The records are the whole image, each byte once. */
static bool covers(struct range *v, size_t n, uint64_t size)
{
	uint64_t at = 0;

	if (n)
		qsort(v, n, sizeof(*v), by_offset);
	for (size_t i = 0; i < n; at += v[i++].bytes)
		if (v[i].off != at)
			return false;
	return at == size;
}

struct decryption {
	const unsigned char *key;
	const char *name;
	int in, out;
	uint64_t size, pos; /* of the file */
	unsigned char salt[16];
	unsigned char *buf; /* PIECE_BYTES + TAG_BYTES */
	VEC(struct range) ranges;
};

/* The record at d->pos. 0, 1: it was the last one, or -errno. */
static int open_record(struct decryption *d, uint64_t *ret_total)
{
	unsigned char head[RECORD_HEADER], nonce[NONCE_BYTES];
	_cleanup_free_ unsigned char *aad = NULL;
	uint64_t off, bytes, kind;
	size_t naad;
	int err;

	if (d->size - d->pos < RECORD_HEADER + TAG_BYTES)
		return -EBADMSG;
	err = pread_full(d->in, head, sizeof(head), d->pos);
	if (err)
		return err;
	off = get_le(head, 8);
	bytes = get_le(head + 8, 4);
	kind = get_le(head + 12, 4);
	d->pos += RECORD_HEADER;
	if (bytes > PIECE_BYTES || bytes > d->size - d->pos - TAG_BYTES || off > INT64_MAX - bytes || kind > RECORD_END ||
	    (kind == RECORD_END) != !bytes)
		return -EBADMSG;
	err = pread_full(d->in, d->buf, bytes + TAG_BYTES, d->pos);
	if (err)
		return err;
	d->pos += bytes + TAG_BYTES;
	naad = bind_record(d->salt, d->name, head, nonce, &aad);
	if (crypto_aead_xchacha20poly1305_ietf_decrypt(d->buf, NULL, NULL, d->buf, bytes + TAG_BYTES, aad, naad, nonce,
						       d->key) != 0)
		return -EBADMSG;
	*ret_total = off;
	if (kind == RECORD_END)
		return 1;
	*vec_push(&d->ranges) = (struct range){ off, bytes };
	return pwrite_full(d->out, d->buf, bytes, off);
}

static int decrypt(struct decryption *d)
{
	unsigned char head[FILE_HEADER];
	uint64_t total = 0;
	struct stat st;
	int err;

	if (fstat(d->in, &st) < 0)
		return -errno;
	d->size = st.st_size;
	if (!S_ISREG(st.st_mode) || d->size < FILE_HEADER)
		return -EBADMSG;
	err = pread_full(d->in, head, sizeof(head), 0);
	if (err)
		return err;
	if (memcmp(head, FILE_MAGIC, 8) != 0)
		return -EBADMSG;
	memcpy(d->salt, head + FILE_HEADER - sizeof(d->salt), sizeof(d->salt));
	d->pos = FILE_HEADER;
	do {
		err = open_record(d, &total);
	} while (!err);
	if (err < 0)
		return err == -ENODATA ? -EBADMSG : err;
	return d->pos == d->size && covers(d->ranges.v, d->ranges.n, total) ? 0 : -EBADMSG;
}

int decrypt_image(const unsigned char *key, int dirfd, const char *name, int *ret_fd)
{
	struct decryption d = { .key = key, .name = name, .in = -1, .out = -1 };
	int err = 0;

	d.in = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (d.in >= 0)
		d.out = memfd_create("image", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (d.out < 0)
		err = -errno;
	if (!err) {
		d.buf = xrealloc(NULL, PIECE_BYTES + TAG_BYTES);
		err = decrypt(&d);
		sodium_memzero(d.buf, PIECE_BYTES + TAG_BYTES);
		free(d.buf);
	}
	if (!err && fcntl(d.out, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
		err = -errno;
	vec_free(&d.ranges);
	cleanup_fd(&d.in);
	if (err)
		cleanup_fd(&d.out);
	else
		*ret_fd = d.out;
	return err;
}
