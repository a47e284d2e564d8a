/* SPDX-License-Identifier: MIT */
/* uffd.h: what the two halves of this plugin share: userfaultfd.c (descriptors), range.c (registered memory). */
#ifndef PLUGINS_UFFD_H
#define PLUGINS_UFFD_H

#include "common.h"
#include "userfaultfd.pb-c.h"

#define UFFD_KIND "userfaultfd"

struct uffd {
	XUserfaultfdEntry *msg;
	struct cr_task *owner;
	int slot;	/* its first number there */
	uint32_t flags; /* of userfaultfd(2), as this machine allows it */
};

int uffd_match(const struct cr_file_info *info);
/* Dump: the only userfaultfd of t; NULL with *ret_many (not 0: it has several). */
struct cr_file *uffd_of(struct cr_session *s, const struct cr_task *t, int *ret_many);

/* The kind of registered memory. */
extern const struct cr_vma_kind uffd_range_kind;

#endif
