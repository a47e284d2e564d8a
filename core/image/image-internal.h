/* SPDX-License-Identifier: MIT */
/* image-internal.h: what the files of core/image share: names, framing, directories. */
#ifndef CORE_IMAGE_INTERNAL_H
#define CORE_IMAGE_INTERNAL_H

#include <limits.h>

#include "image.h"

#define IMG_NAME_MAX (NAME_MAX + 1)
#define IMG_HEADER_MAX 8 /* bytes: magic of the class, magic of the image */

/* File name of an image. 0, or -EINVAL (recorded) when the type's name cannot be one. */
int image_name(struct session *s, const struct cr_img_type *type, uint64_t id, char name[IMG_NAME_MAX]);
/* Bytes in front of the first entry; returns how many, 0 for a raw image. */
size_t image_header(const struct cr_img_type *type, unsigned char head[IMG_HEADER_MAX]);
/* Descriptor and path (for messages) of the directory that images of this type live in; -1: not opened. */
int image_dir(struct session *s, const struct cr_img_type *type, const char **ret_path);
/* Writes out what one image has in memory; nothing when it does not exist. 0 or -errno, recorded. */
int image_flush(struct session *s, const struct cr_img_type *type, uint64_t id);

#endif
