/* SPDX-License-Identifier: MIT */
/*
 * manifest.c: x-stasis-manifest.img, a list of the images of a dump with their sizes and the hashes of their pieces; writing
 * it, and comparing a directory with it. Pieces are compared by as many threads as there are CPUs.
 */
#include "trust.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "manifest.pb-c.h"

#define VERSION_KNOWN 1
#define PIECE_MOST (2u << 20) /* a piece with what encryption adds */
#define THREADS_MOST 16
#define THREAD_PIECES 8 /* for which a further thread is worth while */

static size_t hash_bytes(uint32_t kind)
{
	return kind == HASH_XXH3 ? 16 : kind == HASH_BLAKE2B ? HASH_MOST : 0;
}

/* ---- writing ---- */

static void add_entry(struct buf *b, const ProtobufCMessage *m)
{
	size_t len = protobuf_c_message_get_packed_size(m);
	_cleanup_free_ uint8_t *data = xcalloc(1, len + 1);
	unsigned char size[4] = { len, len >> 8, len >> 16, len >> 24 };

	protobuf_c_message_pack(m, data);
	buf_add(b, size, sizeof(size));
	buf_add(b, data, len);
}

void manifest_begin(struct buf *b, enum hash_kind hash, uint64_t files)
{
	unsigned char head[IMG_HEADER_MAX];
	ManifestHead h = MANIFEST_HEAD__INIT;

	h.version = VERSION_KNOWN;
	h.hash = hash;
	h.files = files;
	buf_add(b, head, image_header(&img_stasis_manifest, head));
	add_entry(b, &h.base);
}

void manifest_add(struct buf *b, enum hash_kind hash, const char *name, struct ledger *l)
{
	_cleanup_free_ uint32_t *bytes = xcalloc(l->pieces.n + 1, sizeof(*bytes));
	size_t each = hash_bytes(hash), n = l->pieces.n;
	_cleanup_free_ unsigned char *hashes = xcalloc(n + 1, each);
	ManifestFile f = MANIFEST_FILE__INIT;

	/* threads have added them almost in order */
	for (size_t i = 1; i < n; i++)
		for (size_t k = i; k && l->pieces.v[k - 1].off > l->pieces.v[k].off; k--) {
			typeof(*l->pieces.v) t = l->pieces.v[k];

			l->pieces.v[k] = l->pieces.v[k - 1];
			l->pieces.v[k - 1] = t;
		}
	for (size_t i = 0; i < n; i++) {
		bytes[i] = l->pieces.v[i].bytes;
		memcpy(hashes + i * each, l->pieces.v[i].hash, each);
	}
	f.name = (char *)name;
	f.size = l->disk;
	f.n_pieces = n;
	f.pieces = bytes;
	f.hashes = (ProtobufCBinaryData){ n * each, hashes };
	add_entry(b, &f.base);
}

/* ---- reading ---- */

/* A position in the manifest's bytes. */
struct cursor {
	const unsigned char *p;
	size_t left;
};

/* The next entry; NULL at the end or when it is none. */
static ProtobufCMessage *next_entry(struct cursor *c, const ProtobufCMessageDescriptor *d)
{
	ProtobufCMessage *m;
	size_t len;

	if (c->left < 4)
		return NULL;
	len = c->p[0] | c->p[1] << 8 | c->p[2] << 16 | (size_t)c->p[3] << 24;
	if (len > c->left - 4)
		return NULL;
	m = protobuf_c_message_unpack(d, NULL, len, c->p + 4);
	if (m) {
		c->p += 4 + len;
		c->left -= 4 + len;
	}
	return m;
}

static ManifestHead *open_manifest(const struct buf *b, struct cursor *c)
{
	unsigned char head[IMG_HEADER_MAX];
	size_t len = image_header(&img_stasis_manifest, head);

	if (b->len < len || memcmp(b->p, head, len) != 0)
		return NULL;
	*c = (struct cursor){ (const unsigned char *)b->p + len, b->len - len };
	return (ManifestHead *)next_entry(c, &manifest_head__descriptor);
}

/* Its numbers are consistent, and the name is one of an image in this directory. */
static bool file_is_sane(const ManifestFile *f, size_t each)
{
	size_t len = strlen(f->name);
	uint64_t size = 0;

	if (len < 5 || len >= IMG_NAME_MAX || f->name[0] == '.' || strchr(f->name, '/') || strcmp(f->name + len - 4, ".img") != 0)
		return false;
	for (size_t i = 0; i < f->n_pieces; i++) {
		if (!f->pieces[i] || f->pieces[i] > PIECE_MOST)
			return false;
		size += f->pieces[i];
	}
	return size == f->size && f->hashes.len == f->n_pieces * each;
}

/* ---- comparing ---- */

struct checked {
	ManifestFile *f;
	int fd; /* -1: reported already */
	atomic_int err; /* 0, -EBADMSG: it differs, or why it cannot be read */
};

struct piece {
	size_t file, piece;
	uint64_t off;
};

struct compare {
	uint32_t hash;
	size_t each;
	VEC(struct checked) files;
	atomic_size_t next; /* file to be taken */
	/* pieces, all files one after the other */
	VEC(struct piece) pieces;
};

static void *compare_pieces(void *arg)
{
	struct compare *c = arg;
	_cleanup_free_ unsigned char *data = xrealloc(NULL, PIECE_MOST);
	size_t i;

	while ((i = atomic_fetch_add(&c->next, 1)) < c->pieces.n) {
		struct checked *f = &c->files.v[c->pieces.v[i].file];
		size_t piece = c->pieces.v[i].piece;
		struct iovec v = { data, f->f->pieces[piece] };
		unsigned char hash[HASH_MOST];
		int err;

		if (f->err)
			continue;
		err = pread_full(f->fd, data, v.iov_len, c->pieces.v[i].off);
		if (!err) {
			piece_hash(c->hash, &v, 1, hash);
			err = memcmp(hash, f->f->hashes.data + piece * c->each, c->each) ? -EBADMSG : 0;
		}
		if (err)
			f->err = err == -ENODATA ? -EBADMSG : err;
	}
	return NULL;
}

static void run_threads(struct compare *c)
{
	pthread_t thread[THREADS_MOST];
	size_t n = 0, want;
	sigset_t all, old;
	cpu_set_t cpus;

	want = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
	want = MIN_OF(MIN_OF(want, c->pieces.n / THREAD_PIECES), (size_t)THREADS_MOST);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	while (n + 1 < want && pthread_create(&thread[n], NULL, compare_pieces, c) == 0)
		n++;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	compare_pieces(c);
	while (n)
		pthread_join(thread[--n], NULL);
}

/* Opens a file of the manifest; what can be said without reading it. 0 or -errno, recorded. */
static int open_listed(struct session *s, int dirfd, const char *path, struct checked *f)
{
	struct stat st;
	int fd = openat(dirfd, f->f->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	f->fd = -1;
	if (fd < 0 && errno == ENOENT)
		return fail(s, ENOENT, "%s/%s is missing: the manifest names it", path, f->f->name);
	if (fd < 0)
		return fail(s, errno, "cannot open %s/%s: %s", path, f->f->name, strerror(errno));
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return fail(s, EBADMSG, "%s/%s is not a regular file", path, f->f->name);
	}
	if ((uint64_t)st.st_size != f->f->size) {
		close(fd);
		return fail(s, EBADMSG, "%s/%s differs from the manifest: it has %jd bytes, not %" PRIu64, path, f->f->name,
			    (intmax_t)st.st_size, f->f->size);
	}
	f->fd = fd;
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct checked *)a)->f->name, ((const struct checked *)b)->f->name);
}

static int name_of(const void *name, const void *f)
{
	return strcmp(name, ((const struct checked *)f)->f->name);
}

/* Only names of images can be extra: nothing else is ever read. Files are sorted by name. 0 or -errno, recorded. */
static int find_extra(struct session *s, int dirfd, const char *path, const struct compare *c)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), err = 0;
	_cleanup_dir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!dir)
		return fail(s, errno, "cannot list the images directory %s: %s", path, strerror(errno));
	while ((e = readdir(dir))) {
		size_t len = strlen(e->d_name);

		if (len < 5 || strcmp(e->d_name + len - 4, ".img") != 0 || !strcmp(e->d_name, "x-stasis-manifest.img") ||
		    !strcmp(e->d_name, "x-stasis-signature.img") ||
		    (c->files.n && bsearch(e->d_name, c->files.v, c->files.n, sizeof(*c->files.v), name_of)))
			continue;
		err = fail(s, EBADMSG, "%s/%s is not in the manifest: it is of another dump, or was put there; remove it if "
			   "nothing needs it", path, e->d_name);
	}
	return err;
}

static int parse(struct session *s, const char *path, const struct buf *manifest, struct compare *c)
{
	struct cursor at;
	ManifestHead *h = open_manifest(manifest, &at);
	uint64_t files = h ? h->files : 0;
	uint32_t version = h ? h->version : 0;
	bool sane = h;

	c->hash = h ? h->hash : 0;
	c->each = hash_bytes(c->hash);
	if (h)
		manifest_head__free_unpacked(h, NULL);
	if (sane && (version != VERSION_KNOWN || !c->each))
		return fail(s, EPROTO, "%s/x-stasis-manifest.img is of a newer version of this program", path);
	while (sane && at.left) {
		ManifestFile *f = (ManifestFile *)next_entry(&at, &manifest_file__descriptor);

		if (f)
			*vec_push(&c->files) = (struct checked){ .f = f, .fd = -1 };
		sane = f && file_is_sane(f, c->each);
	}
	if (sane && c->files.n)
		qsort(c->files.v, c->files.n, sizeof(*c->files.v), by_name);
	for (size_t i = 1; sane && i < c->files.n; i++)
		sane = strcmp(c->files.v[i - 1].f->name, c->files.v[i].f->name) != 0;
	return sane && files == c->files.n ? 0 : fail(s, EPROTO, "%s/x-stasis-manifest.img is damaged", path);
}

static int compare(struct session *s, int dirfd, const char *path, struct compare *c)
{
	int err = 0, r;

	for (size_t i = 0; i < c->files.n; i++) {
		struct checked *f = &c->files.v[i];
		uint64_t off = 0;

		r = open_listed(s, dirfd, path, f);
		err = r ? r : err;
		for (size_t k = 0; !r && k < f->f->n_pieces; off += f->f->pieces[k++]) {
			vec_push(&c->pieces);
			c->pieces.v[c->pieces.n - 1].file = i;
			c->pieces.v[c->pieces.n - 1].piece = k;
			c->pieces.v[c->pieces.n - 1].off = off;
		}
	}
	run_threads(c);
	for (size_t i = 0; i < c->files.n; i++) {
		int bad = c->files.v[i].err;

		if (bad == -EBADMSG)
			err = fail(s, EBADMSG, "%s/%s differs from the manifest: its contents were changed or damaged", path,
				   c->files.v[i].f->name);
		else if (bad)
			err = fail(s, -bad, "cannot read %s/%s: %s", path, c->files.v[i].f->name, strerror(-bad));
	}
	r = find_extra(s, dirfd, path, c);
	return err ? err : r;
}

int manifest_compare(struct session *s, int dirfd, const char *path, const struct buf *manifest)
{
	struct compare c = { 0 };
	int err = parse(s, path, manifest, &c);

	if (!err)
		err = compare(s, dirfd, path, &c);
	for (size_t i = 0; i < c.files.n; i++) {
		cleanup_fd(&c.files.v[i].fd);
		if (c.files.v[i].f)
			manifest_file__free_unpacked(c.files.v[i].f, NULL);
	}
	vec_free(&c.files);
	vec_free(&c.pieces);
	return err;
}

void manifest_names(const struct buf *manifest, name_list *ret)
{
	struct cursor at = { 0 };
	ManifestHead *h = open_manifest(manifest, &at);

	if (h)
		manifest_head__free_unpacked(h, NULL);
	while (h && at.left) {
		ManifestFile *f = (ManifestFile *)next_entry(&at, &manifest_file__descriptor);

		if (!f)
			break;
		*vec_push(ret) = xstrdup(f->name);
		manifest_file__free_unpacked(f, NULL);
	}
}
