/* SPDX-License-Identifier: MIT */
/*
 * image.h: the only code that opens image files.  Container framing (magic, then
 * u32 size + protobuf bytes an entry, little-endian), created 0600, bounded when
 * read: an entry larger than what is left of the file is refused before memory is
 * allocated for it.  Names never contain '/'; files are opened relative to the
 * image directory, with O_NOFOLLOW.
 */
#ifndef CORE_IMAGE_H
#define CORE_IMAGE_H

#include <protobuf-c/protobuf-c.h>
#include <sys/uio.h>

#include "session.h"

struct image;

/* Images of the core; declared in image.c from the wire tables. */
extern const struct cr_img_type img_inventory, img_pstree, img_core, img_ids, img_mm, img_pagemap,
	img_shmem_pagemap, img_pages, img_fdinfo, img_files, img_fs, img_seccomp, img_timens,
	img_stats_dump, img_stats_restore, img_cpuinfo, img_stasis_mem, img_stasis_mappings, img_stasis_plugins,
	img_stasis_tasks, img_stasis_pages;

/*
 * Opens (restore) or creates when absent (dump, 0700) the images directory and the work directory
 * from options images-dir (default ".") and work-dir (default images-dir). 0 or -errno, recorded.
 */
int images_open(struct session *s);
void images_free(struct images *i);
int images_dirfd(struct session *s);
int images_workdirfd(struct session *s);

int img_append(struct session *s, const struct cr_img_type *type, uint64_t id, const void *data, size_t len);
int img_append_msg(struct session *s, const struct cr_img_type *type, uint64_t id, const ProtobufCMessage *msg);
int img_raw(struct session *s, const struct cr_img_type *type, uint64_t id, const void *data, size_t len);
int img_raw_fd(struct session *s, const struct cr_img_type *type, uint64_t id, int fd, uint64_t off, uint64_t len);
/* A raw image (pages-N) opened for direct writing or reading; caller closes. -ENOENT when absent, not recorded. */
int img_create_fd(struct session *s, const struct cr_img_type *type, uint64_t id, int *ret_fd);
/* The same for a dump, which tells img_piece() of everything that it writes. */
int img_create_direct(struct session *s, const struct cr_img_type *type, uint64_t id, int *ret_fd, struct image **ret);
/*
 * The bytes v, at most 1 MiB, are about to be written at *off: they get into the manifest. When images are encrypted,
 * sealed (empty before) has what must be written instead, at the changed *off. Any thread may call. 0 or -errno, not recorded.
 */
int img_piece(struct image *img, const struct iovec *v, size_t n, uint64_t *off, struct buf *sealed);
int img_open_fd(struct session *s, const struct cr_img_type *type, uint64_t id, int *ret_fd);

int img_open(struct session *s, const struct cr_img_type *type, uint64_t id, struct cr_reader **ret);
int img_next(struct cr_reader *r, const void **ret_data, size_t *ret_len);
/* 1 with a message to be freed with protobuf_c_message_free_unpacked; 0 at the end; -errno recorded. */
int img_next_msg(struct cr_reader *r, const ProtobufCMessageDescriptor *d, ProtobufCMessage **ret);
int img_extra(struct cr_reader *r, void *buf, size_t len);
int img_extra_fd(struct cr_reader *r, int fd, uint64_t off, uint64_t len);
uint64_t img_left(struct cr_reader *r);
void img_close(struct cr_reader *r);
/* The only entry of an image: opens, reads one message, closes. -ENOENT when absent, not recorded. */
int img_read_one(struct session *s, const struct cr_img_type *type, uint64_t id,
		 const ProtobufCMessageDescriptor *d, ProtobufCMessage **ret);

/* Everything has been written: adds the manifest, and with --sign-key its signature. 0 or -errno, recorded. */
int images_seal(struct session *s);
/* Flush and close all images being written (fsync with durable). 0 or -errno recorded. */
int images_finish(struct session *s);
/* Remove every image that this session created, and its directory if that was made by it too (a dump that failed). */
void images_discard(struct session *s);

/*
 * Envelope: file_entry is {type = 1, id = 2, message in a field of its kind}.  field 0: no message.
 * The core splices bytes; it knows no kind.
 */
int img_append_file(struct session *s, uint32_t type, uint32_t id, uint32_t field, const void *msg, size_t len);
/* Takes one file_entry apart; *ret_msg points into data; field 0 when it has none. 0 or -EPROTO. */
int img_split_file(const void *data, size_t len, uint32_t *ret_type, uint32_t *ret_id,
		   uint32_t *ret_field, const void **ret_msg, size_t *ret_len);
/*
 * The first field of any message that is printable text (UTF-8, no control characters, not empty):
 * a name to show for an object of a kind that the core doesn't know. *ret_text points into msg and
 * has no NUL behind it. False: there is none.
 */
bool img_first_text(const void *msg, size_t len, const char **ret_text, size_t *ret_len);

/*
 * Makes a pair of keys, to sign (Ed25519) or to encrypt (X25519): the secret one in path, which must not exist, mode 0600; the
 * public one in path.pub. 0 or -errno, recorded.
 */
int key_generate(struct session *s, bool sign, const char *path);

/* stats-dump and stats-restore in the work directory (images directory when equal). */
int stats_write(struct session *s);

#endif
