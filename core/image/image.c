/* SPDX-License-Identifier: MIT */
/*
 * image.c: the image directory, the core's image types, and writing.
 *
 * An image that is written is an object in memory, found by its file name.  What
 * is appended gathers in its buffer and reaches the file when the buffer is full,
 * when all buffers together are large, or in images_finish().  A dump writes
 * several images a task; so a file is opened for a flush and stays open only
 * while few others are.
 *
 * The first flush replaces a file of that name left by an earlier dump: it is
 * unlinked and created anew, never truncated, so that an older set of images that
 * shares files by hard links, or a restore that still reads them, is not damaged.
 */
#include "image.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "fault.h"
#include "image-internal.h"
#include "options.h"
#include "signals.h"
#include "trust.h"

#include "manifest.pb-c.h"

#define MAGIC_COMMON 0x54564319u
#define MAGIC_SERVICE 0x55105940u

#define FLUSH_BYTES (64u << 10)	  /* an image with that much in memory is written out */
#define PENDING_BYTES (32u << 20) /* all images together */
#define COPY_BYTES (256u << 10)	  /* step of img_raw_fd() */
#define OPEN_MAX_FILES 16	  /* files kept open between flushes */
#define HASH_LEAST 256	  /* buckets; a power of two */

#define CORE_IMAGE(var, file, number) \
	const struct cr_img_type var = { .size = sizeof(var), .name = (file), .magic = (number) }

CORE_IMAGE(img_inventory, "inventory", 0x58313116);
CORE_IMAGE(img_pstree, "pstree", 0x50273030);
CORE_IMAGE(img_core, "core", 0x55053847);
CORE_IMAGE(img_ids, "ids", 0x54432030);
CORE_IMAGE(img_mm, "mm", 0x57492820);
CORE_IMAGE(img_pagemap, "pagemap", 0x56084025);
CORE_IMAGE(img_shmem_pagemap, "pagemap-shmem", 0x56084025);
CORE_IMAGE(img_pages, "pages", 0);
CORE_IMAGE(img_fdinfo, "fdinfo", 0x56213732);
CORE_IMAGE(img_files, "files", 0x56303138);
CORE_IMAGE(img_fs, "fs", 0x51403912);
CORE_IMAGE(img_seccomp, "seccomp", 0x64413049);
CORE_IMAGE(img_timens, "timens", 0x43114433);
/* Of memory, what mm-*.img cannot say (mem/extras.c). */
CORE_IMAGE(img_stasis_mem, "x-stasis-mem", 0x5354584d);
CORE_IMAGE(img_cpuinfo, "cpuinfo", 0x61404013);
CORE_IMAGE(img_stats_dump, "stats-dump", 0x57093306);
CORE_IMAGE(img_stats_restore, "stats-restore", 0x57093306);
/* Which plugins contributed, with versions; no other program reads it. */
CORE_IMAGE(img_stasis_plugins, "x-stasis-plugins", 0x53544153);
CORE_IMAGE(img_stasis_tasks, "x-stasis-tasks", 0x5354544b);
/* Pages of a task that are in another pages file than its own (mem/same.c). */
CORE_IMAGE(img_stasis_pages, "x-stasis-pages", 0x53545047);

/* Mappings that plugins have claimed (mem/kinds.c). */
CORE_IMAGE(img_stasis_mappings, "x-stasis-mappings", 0x53544d50);

/* An image that this session writes. */
struct image {
	struct image *next; /* same hash */
	struct buf pending; /* not in the file yet */
	const char *dir;    /* path, for messages */
	int dirfd;
	int fd;		    /* -1: closed */
	bool created;	    /* the file exists and is ours */
	bool direct;	    /* handed out by img_create_fd() */
	const struct trust *trust; /* NULL: not in the manifest */
	struct ledger ledger;
	char name[];
};

struct images {
	char *path, *workpath; /* as the user gave them */
	int dirfd, workfd;     /* equal when both are the same directory */
	bool made, made_work;  /* the directories did not exist */
	VEC(struct image *) out;
	struct image **hash; /* buckets; */
	size_t nhash;	     /* a power of two */
	size_t nopen;	 /* images with a descriptor */
	size_t npending; /* bytes in all buffers */
	struct trust *trust; /* dump: what shall be done; restore: the decrypted images, or NULL */
	struct trust clear;  /* for what is in the manifest, but never encrypted */
};

/* ---- directories ---- */

/* Images have memory and secrets in them; they must not be exchanged either. */
static void warn_of_others(struct session *s, const struct images *i)
{
	struct stat st;

	if (fstat(i->dirfd, &st) == 0 && st.st_mode & 022)
		log_warn("others may write to the images directory %s (mode %04o): %s", i->path, st.st_mode & 07777,
			 s->mode == CR_MODE_DUMP ? "they can exchange the images" :
						      "images can be exchanged while they are read");
	if (s->mode == CR_MODE_RESTORE && geteuid() == 0 && fstat(i->dirfd, &st) == 0 && st.st_uid != 0)
		log_warn("the images directory %s belongs to user %u, who decides what is restored here, and as whom "
			 "(--verify-key)",
			 i->path, st.st_uid);
}

/* What the options want with the images, before anything is read or written. 0 or -errno, recorded. */
static int prepare_trust(struct session *s, struct images *i)
{
	int r;

	if (s->mode != CR_MODE_DUMP)
		return trust_check(s, i->dirfd, i->path, &i->trust);
	r = trust_prepare(s, &i->trust);
	if (r == 0)
		i->clear.hash = i->trust->hash;
	return r;
}

static int open_dir(struct session *s, const char *what, const char *path, int *ret_fd, bool *ret_made)
{
	int fd;

	*ret_made = s->mode == CR_MODE_DUMP && mkdir(path, 0700) == 0;
	if (s->mode == CR_MODE_DUMP && !*ret_made && errno != EEXIST)
		return fail(s, errno, "cannot create the %s directory %s: %s", what, path, strerror(errno));
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return fail(s, errno, "cannot open the %s directory %s: %s", what, path, strerror(errno));
	*ret_fd = fd;
	return 0;
}

/* Those that we made, unless there is something in them, like a log. */
static void remove_dirs(const struct images *i)
{
	if (i->made_work)
		rmdir(i->workpath);
	if (i->made)
		rmdir(i->path);
}

int images_open(struct session *s)
{
	const char *path = opt_str(s->opts, "images-dir");
	const char *work = opt_str(s->opts, "work-dir");
	struct images *i = xcalloc(1, sizeof(*i));
	int r;

	i->path = xstrdup(path ? path : ".");
	i->workpath = xstrdup(work ? work : i->path);
	i->dirfd = i->workfd = -1;
	r = open_dir(s, "images", i->path, &i->dirfd, &i->made);
	if (r == 0 && strcmp(i->path, i->workpath) == 0)
		i->workfd = i->dirfd;
	else if (r == 0)
		r = open_dir(s, "work", i->workpath, &i->workfd, &i->made_work);
	if (r == 0 && (s->mode == CR_MODE_DUMP || s->mode == CR_MODE_RESTORE))
		warn_of_others(s, i);
	if (r == 0)
		r = prepare_trust(s, i);
	if (r < 0) {
		remove_dirs(i);
		images_free(i);
		return r;
	}
	images_free(s->imgs);
	s->imgs = i;
	return 0;
}

void images_free(struct images *i)
{
	if (!i)
		return;
	for (size_t n = 0; n < i->out.n; n++) {
		cleanup_fd(&i->out.v[n]->fd);
		buf_free(&i->out.v[n]->pending);
		ledger_fini(&i->out.v[n]->ledger);
		free(i->out.v[n]);
	}
	vec_free(&i->out);
	free(i->hash);
	if (i->workfd != i->dirfd)
		cleanup_fd(&i->workfd);
	cleanup_fd(&i->dirfd);
	trust_free(i->trust);
	free(i->path);
	free(i->workpath);
	free(i);
}

int images_dirfd(struct session *s)
{
	return s->imgs ? s->imgs->dirfd : -1;
}

int images_workdirfd(struct session *s)
{
	return s->imgs ? s->imgs->workfd : -1;
}

static bool is_stats(const struct cr_img_type *type)
{
	return type == &img_stats_dump || type == &img_stats_restore;
}

const struct trust *images_decrypted(struct session *s, const struct cr_img_type *type)
{
	return s->mode != CR_MODE_DUMP && !is_stats(type) ? s->imgs->trust : NULL;
}

/* ---- names and framing ---- */

int image_dir(struct session *s, const struct cr_img_type *type, const char **ret_path)
{
	if (!s->imgs)
		return -1;
	*ret_path = is_stats(type) ? s->imgs->workpath : s->imgs->path;
	return is_stats(type) ? s->imgs->workfd : s->imgs->dirfd;
}

int image_name(struct session *s, const struct cr_img_type *type, uint64_t id, char name[IMG_NAME_MAX])
{
	int n;

	if (!type->name || !type->name[0] || type->name[0] == '.' || strchr(type->name, '/'))
		return fail(s, EINVAL, "an image type has the unusable name \"%s\"",
			    type->name ? type->name : "");
	if (is_stats(type))
		n = snprintf(name, IMG_NAME_MAX, "%s", type->name);
	else if (id == CR_IMG_NO_ID)
		n = snprintf(name, IMG_NAME_MAX, "%s.img", type->name);
	else if (type->flags & CR_IMG_HEX_ID)
		n = snprintf(name, IMG_NAME_MAX, "%s-%" PRIx64 ".img", type->name, id);
	else
		n = snprintf(name, IMG_NAME_MAX, "%s-%" PRIu64 ".img", type->name, id);
	if (n < 0 || n >= IMG_NAME_MAX)
		return fail(s, EINVAL, "the image name %.64s… is too long", type->name);
	return 0;
}

static void put_le32(unsigned char *p, uint32_t v)
{
	for (int n = 0; n < 4; n++)
		p[n] = v >> (8 * n);
}

size_t image_header(const struct cr_img_type *type, unsigned char head[IMG_HEADER_MAX])
{
	if (!type->magic)
		return 0;
	if (type == &img_inventory) {
		put_le32(head, type->magic);
		return 4;
	}
	put_le32(head, is_stats(type) ? MAGIC_SERVICE : MAGIC_COMMON);
	put_le32(head + 4, type->magic);
	return 8;
}

/* ---- files being written ---- */

static void close_image(struct images *i, struct image *img)
{
	if (img->fd < 0)
		return;
	close(img->fd);
	img->fd = -1;
	i->nopen--;
}

/* A new, empty file in place of what has this name. Descriptor or -errno, recorded. */
static int create_file(struct session *s, struct image *img, int access)
{
	int flags = access | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, fd;

	fd = FAULTS("creation of %s", img->name) ? -1 : openat(img->dirfd, img->name, flags, 0600);
	if (fd < 0 && errno == EEXIST) {
		if (unlinkat(img->dirfd, img->name, 0) < 0)
			return fail(s, errno, "cannot replace %s/%s: %s", img->dir, img->name, strerror(errno));
		fd = openat(img->dirfd, img->name, flags, 0600);
	}
	if (fd < 0)
		return fail(s, errno, "cannot create %s/%s: %s", img->dir, img->name, strerror(errno));
	img->created = true;
	return fd;
}

static int reopen_file(struct session *s, struct image *img, int access)
{
	int fd = FAULTS("opening %s again", img->name) ? -1 : openat(img->dirfd, img->name, access | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return fail(s, errno, "cannot open %s/%s again: %s", img->dir, img->name, strerror(errno));
	return fd;
}

static int open_image(struct session *s, struct image *img)
{
	struct images *i = s->imgs;
	int fd;

	if (img->fd >= 0)
		return 0;
	if (i->nopen >= OPEN_MAX_FILES)
		for (size_t n = 0; n < i->out.n; n++)
			close_image(i, i->out.v[n]);
	fd = img->created ? reopen_file(s, img, O_WRONLY | O_APPEND)
			  : create_file(s, img, O_WRONLY | O_APPEND);
	if (fd < 0)
		return fd;
	img->fd = fd;
	i->nopen++;
	return 0;
}

int img_piece(struct image *img, const struct iovec *v, size_t n, uint64_t *off, struct buf *sealed)
{
	return img->trust ? ledger_add(img->trust, &img->ledger, img->name, v, n, off, false, sealed) : 0;
}

/* Writes len bytes, encrypted when that is wanted; last: the end of an encrypted image. */
static int write_pieces(struct image *img, const void *data, size_t len, bool last)
{
	int r = 0;

	if (!img->trust)
		return write_full(img->fd, data, len);
	for (size_t done = 0, n; r == 0 && (done < len || last); done += n) {
		struct iovec v = { (char *)data + done, MIN_OF(len - done, PIECE_BYTES) };
		uint64_t off = img->ledger.bytes;
		_cleanup_buf_ struct buf sealed = { 0 };

		n = v.iov_len;
		r = ledger_add(img->trust, &img->ledger, img->name, &v, 1, &off, last, &sealed);
		if (r == 0)
			r = sealed.len ? write_full(img->fd, sealed.p, sealed.len) : write_full(img->fd, v.iov_base, n);
		last = false;
	}
	return r;
}

static int write_image(struct session *s, struct image *img, const void *data, size_t len, bool last)
{
	int r = open_image(s, img);

	if (r < 0)
		return r;
	r = signals_check(s);
	if (r < 0)
		return r;
	r = FAULT("write of %s", img->name);
	if (!r)
		r = write_pieces(img, data, len, last);
	if (r < 0)
		return fail(s, -r, "cannot write %s/%s: %s", img->dir, img->name, strerror(-r));
	return 0;
}

/* Writes out what is in memory (an empty image: creates it); the file stays open for a next time. */
static int flush(struct session *s, struct image *img)
{
	size_t len = img->pending.len;
	int r;

	if (!len && (img->created || img->direct))
		return 0;
	r = write_image(s, img, img->pending.p, len, false);
	if (r < 0)
		return r;
	buf_free(&img->pending);
	s->imgs->npending -= len;
	return 0;
}

static int flush_all(struct session *s)
{
	for (size_t n = 0; n < s->imgs->out.n; n++) {
		int r = flush(s, s->imgs->out.v[n]);

		if (r < 0)
			return r;
		close_image(s->imgs, s->imgs->out.v[n]);
	}
	return 0;
}

static int put(struct session *s, struct image *img, const void *data, size_t len)
{
	int r;

	if (img->pending.len + len >= FLUSH_BYTES) {
		r = flush(s, img);
		if (r < 0)
			return r;
	}
	if (len >= FLUSH_BYTES)
		return write_image(s, img, data, len, false);
	buf_add(&img->pending, data, len);
	s->imgs->npending += len;
	return s->imgs->npending >= PENDING_BYTES ? flush_all(s) : 0;
}

static struct image **bucket_of(struct images *i, const char *name)
{
	uint32_t h = 2166136261u;

	for (const char *c = name; *c; c++)
		h = (h ^ (unsigned char)*c) * 16777619u;
	return &i->hash[h & (i->nhash - 1)];
}

static void grow_hash(struct images *i)
{
	free(i->hash);
	i->nhash = i->nhash ? i->nhash * 4 : HASH_LEAST;
	i->hash = xcalloc(i->nhash, sizeof(struct image *));
	for (size_t n = 0; n < i->out.n; n++) {
		struct image **p = bucket_of(i, i->out.v[n]->name);

		i->out.v[n]->next = *p;
		*p = i->out.v[n];
	}
}

static struct image **find_slot(struct images *i, const char *name)
{
	struct image **p;

	if (i->out.n >= i->nhash)
		grow_hash(i);
	for (p = bucket_of(i, name); *p; p = &(*p)->next)
		if (strcmp((*p)->name, name) == 0)
			break;
	return p;
}

/* The image of this name; a new one begins with its magic. 0 or -errno, recorded. */
static int get_image(struct session *s, const struct cr_img_type *type, uint64_t id, bool direct,
		     struct image **ret)
{
	unsigned char head[IMG_HEADER_MAX];
	char name[IMG_NAME_MAX];
	const char *dir = NULL;
	int dirfd = image_dir(s, type, &dir);
	struct image **slot, *img;
	int r = image_name(s, type, id, name);

	if (r < 0)
		return r;
	if (dirfd < 0 || s->mode == CR_MODE_CHECK)
		return fail(s, EROFS, "%s: no image may be written now", name);
	slot = find_slot(s->imgs, name);
	img = *slot;
	if (!img) {
		img = xcalloc(1, sizeof(*img) + strlen(name) + 1);
		memcpy(img->name, name, strlen(name) + 1);
		img->dir = dir;
		img->dirfd = dirfd;
		img->fd = -1;
		img->direct = direct;
		ledger_init(&img->ledger);
		if (s->mode == CR_MODE_DUMP && !is_stats(type))
			img->trust = trust_own_image(type) ? NULL : s->imgs->trust;
		*slot = img;
		*vec_push(&s->imgs->out) = img;
		*ret = img;
		return put(s, img, head, image_header(type, head));
	}
	if (img->direct != direct)
		return fail(s, EINVAL, "%s is written both directly and by appending", name);
	*ret = img;
	return 0;
}

int img_append(struct session *s, const struct cr_img_type *type, uint64_t id, const void *data, size_t len)
{
	unsigned char size[4];
	struct image *img;
	int r;

	if (!type->magic)
		return fail(s, EINVAL, "%s is a raw image, it has no entries", type->name);
	if (len > UINT32_MAX)
		return fail(s, EFBIG, "an entry of %zu bytes is too large for image %s", len, type->name);
	r = get_image(s, type, id, false, &img);
	if (r < 0)
		return r;
	put_le32(size, len);
	r = put(s, img, size, sizeof(size));
	return r < 0 ? r : put(s, img, data, len);
}

int img_append_msg(struct session *s, const struct cr_img_type *type, uint64_t id, const ProtobufCMessage *msg)
{
	size_t len = protobuf_c_message_get_packed_size(msg);
	_cleanup_free_ uint8_t *data = xcalloc(1, len);

	protobuf_c_message_pack(msg, data);
	return img_append(s, type, id, data, len);
}

int img_raw(struct session *s, const struct cr_img_type *type, uint64_t id, const void *data, size_t len)
{
	struct image *img;
	int r = get_image(s, type, id, false, &img);

	return r < 0 ? r : put(s, img, data, len);
}

int img_raw_fd(struct session *s, const struct cr_img_type *type, uint64_t id, int fd, uint64_t off,
	       uint64_t len)
{
	_cleanup_free_ char *chunk = NULL;
	struct image *img;
	int r = get_image(s, type, id, false, &img);

	if (r < 0)
		return r;
	if (off > INT64_MAX || len > INT64_MAX - off)
		return fail(s, EINVAL, "%s: bytes past the largest file offset were asked for", img->name);
	chunk = xrealloc(NULL, MIN_OF(len, COPY_BYTES));
	for (uint64_t done = 0; done < len && r == 0;) {
		size_t n = MIN_OF(len - done, COPY_BYTES);

		r = pread_full(fd, chunk, n, off + done);
		if (r < 0)
			return fail(s, -r, "cannot read the data for %s: %s", img->name,
				    r == -ENODATA ? "there is less than expected" : strerror(-r));
		r = put(s, img, chunk, n);
		done += n;
	}
	return r;
}

int img_create_fd(struct session *s, const struct cr_img_type *type, uint64_t id, int *ret_fd)
{
	struct image *img;

	return img_create_direct(s, type, id, ret_fd, &img);
}

int img_create_direct(struct session *s, const struct cr_img_type *type, uint64_t id, int *ret_fd, struct image **ret)
{
	struct image *img;
	int fd, r;

	if (type->magic)
		return fail(s, EINVAL, "%s is not a raw image", type->name);
	r = get_image(s, type, id, true, &img);
	if (r < 0)
		return r;
	fd = img->created ? reopen_file(s, img, O_RDWR) : create_file(s, img, O_RDWR);
	if (fd < 0)
		return fd;
	*ret_fd = fd;
	*ret = img;
	return 0;
}

/* ---- the end of a dump ---- */

/* The key of an encrypted dump, for its recipient. */
static int write_key(struct session *s)
{
	const struct trust *t = s->imgs->trust;
	ImageKey m = IMAGE_KEY__INIT;
	struct image *img;
	int r = get_image(s, &img_stasis_key, CR_IMG_NO_ID, false, &img);

	if (r < 0)
		return r;
	img->trust = &s->imgs->clear;
	m.version = 1;
	m.recipient = (ProtobufCBinaryData){ sizeof(t->recipient), (uint8_t *)t->recipient };
	m.sealed = (ProtobufCBinaryData){ sizeof(t->sealed), (uint8_t *)t->sealed };
	r = img_append_msg(s, &img_stasis_key, CR_IMG_NO_ID, &m.base);
	return r < 0 ? r : flush(s, img);
}

static int write_signature(struct session *s, const struct buf *manifest)
{
	unsigned char signature[crypto_sign_BYTES], code[HASH_MOST];
	const struct trust *t = s->imgs->trust;
	ManifestSignature m = MANIFEST_SIGNATURE__INIT;

	if (!t->sign && !t->key)
		return 0;
	trust_sign(t, manifest, signature, code);
	m.has_signature = m.has_public_key = t->sign != NULL;
	m.signature = (ProtobufCBinaryData){ sizeof(signature), signature };
	if (t->sign) /* the second half of an Ed25519 secret key is the public one */
		m.public_key = (ProtobufCBinaryData){ crypto_sign_PUBLICKEYBYTES, t->sign + crypto_sign_SEEDBYTES };
	m.has_code = t->key != NULL;
	m.code = (ProtobufCBinaryData){ sizeof(code), code };
	return img_append_msg(s, &img_stasis_signature, CR_IMG_NO_ID, &m.base);
}

/* A stale one of an earlier dump says nothing about these images. */
static int remove_stale(struct session *s, const struct cr_img_type *type)
{
	char name[IMG_NAME_MAX];
	int r = image_name(s, type, CR_IMG_NO_ID, name);

	if (r == 0 && unlinkat(s->imgs->dirfd, name, 0) < 0 && errno != ENOENT)
		r = fail(s, errno, "cannot remove %s/%s: %s", s->imgs->path, name, strerror(errno));
	return r;
}

int images_seal(struct session *s)
{
	struct images *i = s->imgs;
	_cleanup_buf_ struct buf manifest = { 0 };
	unsigned char head[IMG_HEADER_MAX];
	struct image *img;
	uint64_t files = 0;
	int r = flush_all(s);

	for (size_t n = 0; i->trust->key && n < i->out.n && r == 0; n++)
		if (i->out.v[n]->trust == i->trust)
			r = write_image(s, i->out.v[n], NULL, 0, true);
	if (r == 0)
		r = i->trust->key ? write_key(s) : remove_stale(s, &img_stasis_key);
	if (r < 0)
		return r;
	for (size_t n = 0; n < i->out.n; n++)
		files += i->out.v[n]->trust ? 1 : 0;
	manifest_begin(&manifest, i->trust->hash, files);
	for (size_t n = 0; n < i->out.n; n++)
		if (i->out.v[n]->trust)
			manifest_add(&manifest, i->trust->hash, i->out.v[n]->name, &i->out.v[n]->ledger);
	r = get_image(s, &img_stasis_manifest, CR_IMG_NO_ID, false, &img);
	if (r == 0) {
		size_t skip = image_header(&img_stasis_manifest, head); /* it is there already */

		r = put(s, img, manifest.p + skip, manifest.len - skip);
	}
	if (r == 0 && !i->trust->sign && !i->trust->key)
		r = remove_stale(s, &img_stasis_signature);
	return r < 0 ? r : write_signature(s, &manifest);
}

int image_flush(struct session *s, const struct cr_img_type *type, uint64_t id)
{
	char name[IMG_NAME_MAX];
	struct image *img;
	int r = image_name(s, type, id, name);

	if (r < 0 || !s->imgs)
		return r;
	img = *find_slot(s->imgs, name);
	if (!img)
		return 0;
	r = flush(s, img);
	close_image(s->imgs, img);
	return r;
}

static int sync_all(struct session *s)
{
	struct images *i = s->imgs;

	for (size_t n = 0; n < i->out.n; n++) {
		struct image *img = i->out.v[n];
		_cleanup_fd_ int fd = -1;

		if (!img->created)
			continue;
		fd = reopen_file(s, img, O_RDONLY);
		if (fd < 0)
			return fd;
		if (FAULTS("sync of %s", img->name) || fsync(fd) < 0)
			return fail(s, errno, "cannot sync %s/%s: %s", img->dir, img->name, strerror(errno));
	}
	if (FAULTS("sync of the directory") || fsync(i->dirfd) < 0 || (i->workfd != i->dirfd && fsync(i->workfd) < 0))
		return fail(s, errno, "cannot sync the images directory %s: %s", i->path, strerror(errno));
	return 0;
}

int images_finish(struct session *s)
{
	int r;

	if (!s->imgs)
		return 0;
	r = flush_all(s);
	if (r < 0)
		return r;
	return opt_flag(s->opts, "durable") ? sync_all(s) : 0;
}

void images_discard(struct session *s)
{
	struct images *i = s->imgs;

	for (size_t n = 0; i && n < i->out.n; n++) {
		struct image *img = i->out.v[n];

		close_image(i, img);
		i->npending -= img->pending.len;
		buf_free(&img->pending);
		if (img->created && unlinkat(img->dirfd, img->name, 0) < 0 && errno != ENOENT)
			log_warn("cannot remove %s/%s: %s", img->dir, img->name, strerror(errno));
		img->created = false;
	}
	if (i)
		remove_dirs(i);
}
