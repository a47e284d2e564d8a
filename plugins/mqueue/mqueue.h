/* SPDX-License-Identifier: MIT */
/* mqueue.h: inside of the mqueue plugin: what its two halves, dump.c and mqueue.c, share. */
#ifndef PLUGINS_MQUEUE_H
#define PLUGINS_MQUEUE_H

#include "common.h"
#include "mqueue.pb-c.h"
#include "util.h"
#include "x-mqueue.pb-c.h"

extern const struct cr_img_type mqueue_img;

int mqueue_check(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info);
int mqueue_dump(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info);

#endif
