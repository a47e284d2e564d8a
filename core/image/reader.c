/* SPDX-License-Identifier: MIT */
/*
 * reader.c: reading of images.  Bytes come through a window of the file in memory,
 * so that an image of a million small entries costs few system calls.  The file is
 * read, never mapped: one that shrinks meanwhile is an error, not a signal.
 * Nothing in it is trusted: a length is compared with what is left of the file
 * and with ENTRY_MAX before memory is allocated.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fault.h"
#include "image-internal.h"
#include "trust.h"

#define WINDOW_BYTES (64u << 10)
#define ENTRY_MAX (64u << 20) /* an mm entry with 65530 mappings, the default limit, has about 4 MiB */

struct cr_reader {
	struct session *s;
	int fd;
	bool raw;	      /* no entries */
	uint64_t size, pos;   /* of the file; next byte to be read */
	uint64_t nentries;    /* read so far, for messages */
	unsigned char *win;   /* bytes [win_off, win_off + win_len) of the file */
	uint64_t win_off;
	size_t win_len, win_cap;
	char name[];
};

/* The file, or its decrypted contents in memory. -1 with errno. */
static int open_named(struct session *s, const struct cr_img_type *type, int dirfd, const char *name)
{
	const struct trust *t = images_decrypted(s, type);
	int fd;

	if (!t)
		return openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	fd = trust_open(t, name);
	if (fd < 0)
		errno = -fd;
	return fd < 0 ? -1 : fd;
}

/* Opens an image file. -ENOENT is not recorded. */
static int open_file(struct session *s, const struct cr_img_type *type, const char *name, int *ret_fd,
		     uint64_t *ret_size)
{
	const char *dir = NULL;
	int dirfd = image_dir(s, type, &dir);
	struct stat st;
	int fd;

	if (dirfd < 0)
		return fail(s, EBADF, "%s: the images directory is not open", name);
	fd = FAULTS("opening %s", name) ? -1 : open_named(s, type, dirfd, name);
	if (fd < 0 && errno == ENOENT)
		return -ENOENT;
	if (fd < 0)
		return fail(s, errno, "cannot open %s/%s: %s", dir, name,
			    errno == ELOOP ? "a symbolic link is not followed" : strerror(errno));
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return fail(s, EINVAL, "%s/%s is not a regular file", dir, name);
	}
	*ret_fd = fd;
	*ret_size = st.st_size;
	return 0;
}

int img_open_fd(struct session *s, const struct cr_img_type *type, uint64_t id, int *ret_fd)
{
	char name[IMG_NAME_MAX];
	uint64_t size;
	int r = image_name(s, type, id, name);

	if (r < 0)
		return r;
	if (type->magic)
		return fail(s, EINVAL, "%s is not a raw image", name);
	return open_file(s, type, name, ret_fd, &size);
}

uint64_t img_left(struct cr_reader *r)
{
	return r->size - r->pos;
}

/* The next len bytes, not more than img_left(), valid until the next call. 0 or -errno, recorded. */
static int fetch(struct cr_reader *r, size_t len, const void **ret)
{
	uint64_t skip = r->pos - r->win_off;
	int err;

	if (skip > r->win_len || r->win_len - skip < len) {
		size_t want = MAX_OF(len, (size_t)MIN_OF(img_left(r), WINDOW_BYTES));

		if (want > r->win_cap) {
			r->win = xrealloc(r->win, want);
			r->win_cap = want;
		}
		r->win_len = 0;
		err = FAULT("reading %s", r->name);
		if (!err)
			err = pread_full(r->fd, r->win, want, r->pos);
		if (err < 0)
			return fail(r->s, -err, "cannot read %s: %s", r->name,
				    err == -ENODATA ? "it became shorter meanwhile" : strerror(-err));
		r->win_off = r->pos;
		r->win_len = want;
		skip = 0;
	}
	*ret = r->win + skip;
	r->pos += len;
	return 0;
}

static int check_header(struct cr_reader *r, const struct cr_img_type *type)
{
	unsigned char head[IMG_HEADER_MAX];
	size_t len = image_header(type, head);
	const void *found;
	int err;

	if (len > img_left(r))
		return fail(r->s, EPROTO, "%s is too short for an image (%" PRIu64 " bytes)", r->name, r->size);
	err = fetch(r, len, &found);
	if (err < 0)
		return err;
	if (len && memcmp(head, found, len) != 0)
		return fail(r->s, EPROTO, "%s does not begin with the magic of its kind: it is damaged or not an image",
			    r->name);
	return 0;
}

int img_open(struct session *s, const struct cr_img_type *type, uint64_t id, struct cr_reader **ret)
{
	char name[IMG_NAME_MAX];
	struct cr_reader *r;
	uint64_t size = 0;
	int fd = -1, err = image_name(s, type, id, name);

	if (err < 0)
		return err;
	err = open_file(s, type, name, &fd, &size);
	if (err < 0)
		return err;
	r = xcalloc(1, sizeof(*r) + strlen(name) + 1);
	memcpy(r->name, name, strlen(name) + 1);
	r->s = s;
	r->fd = fd;
	r->size = size;
	r->raw = !type->magic;
	err = check_header(r, type);
	if (err < 0) {
		img_close(r);
		return err;
	}
	*ret = r;
	return 0;
}

void img_close(struct cr_reader *r)
{
	if (!r)
		return;
	close(r->fd);
	free(r->win);
	free(r);
}

int img_next(struct cr_reader *r, const void **ret_data, size_t *ret_len)
{
	const unsigned char *p = NULL;
	const void *data;
	uint32_t len;
	int err;

	if (r->raw)
		return fail(r->s, EINVAL, "%s is a raw image, it has no entries", r->name);
	if (!img_left(r))
		return 0;
	if (img_left(r) < 4)
		return fail(r->s, EPROTO, "%s is cut off after %" PRIu64 " entries", r->name, r->nentries);
	err = fetch(r, 4, &data);
	if (err < 0)
		return err;
	p = data;
	len = p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
	if (len > img_left(r) || len > ENTRY_MAX)
		return fail(r->s, EPROTO, "%s is damaged: entry %" PRIu64 " claims %u bytes, %" PRIu64 " are left",
			    r->name, r->nentries, len, img_left(r));
	err = fetch(r, len, &data);
	if (err < 0)
		return err;
	r->nentries++;
	*ret_data = data;
	*ret_len = len;
	return 1;
}

int img_next_msg(struct cr_reader *r, const ProtobufCMessageDescriptor *d, ProtobufCMessage **ret)
{
	const void *data;
	size_t len;
	ProtobufCMessage *msg;
	int n = img_next(r, &data, &len);

	if (n <= 0)
		return n;
	msg = protobuf_c_message_unpack(d, NULL, len, data);
	if (!msg)
		return fail(r->s, EPROTO, "%s is damaged: entry %" PRIu64 " is not a %s", r->name,
			    r->nentries - 1, d->name);
	*ret = msg;
	return 1;
}

static int check_extra(struct cr_reader *r, uint64_t len)
{
	if (len <= img_left(r))
		return 0;
	return fail(r->s, EPROTO, "%s is cut off: %" PRIu64 " bytes of data expected, %" PRIu64 " are left", r->name,
		    len, img_left(r));
}

int img_extra(struct cr_reader *r, void *buf, size_t len)
{
	int err = check_extra(r, len);

	for (size_t done = 0; done < len && err == 0;) {
		size_t n = MIN_OF(len - done, WINDOW_BYTES);
		const void *data;

		err = fetch(r, n, &data);
		if (err < 0)
			break;
		memcpy((char *)buf + done, data, n);
		done += n;
	}
	return err;
}

int img_extra_fd(struct cr_reader *r, int fd, uint64_t off, uint64_t len)
{
	int err = check_extra(r, len);

	if (err == 0 && (off > INT64_MAX || len > INT64_MAX - off))
		return fail(r->s, EPROTO, "%s: data for an offset past the largest one", r->name);
	for (uint64_t done = 0; done < len && err == 0;) {
		size_t n = MIN_OF(len - done, WINDOW_BYTES);
		const void *data;

		err = fetch(r, n, &data);
		if (err < 0)
			break;
		err = pwrite_full(fd, data, n, off + done);
		if (err < 0)
			return fail(r->s, -err, "cannot write the data of %s: %s", r->name, strerror(-err));
		done += n;
	}
	return err;
}

int img_read_one(struct session *s, const struct cr_img_type *type, uint64_t id,
		 const ProtobufCMessageDescriptor *d, ProtobufCMessage **ret)
{
	struct cr_reader *r;
	int n = img_open(s, type, id, &r);

	if (n < 0)
		return n;
	n = img_next_msg(r, d, ret);
	if (n == 0)
		n = fail(s, EPROTO, "%s is empty", r->name);
	img_close(r);
	return n < 0 ? n : 0;
}
