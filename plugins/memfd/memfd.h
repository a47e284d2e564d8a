/* SPDX-License-Identifier: MIT */
/* memfd.h: inside of the memfd plugin: inodes of memfd_create(2), at restore. */
#ifndef PLUGINS_MEMFD_H
#define PLUGINS_MEMFD_H

#include "common.h"
#include "memfd.pb-c.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x8u
#define MFD_EXEC 0x10u
#endif
#ifndef MFD_HUGE_SHIFT
#define MFD_HUGE_SHIFT 26
#define MFD_HUGE_MASK 0x3f
#endif
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x10
#endif
#ifndef F_SEAL_EXEC
#define F_SEAL_EXEC 0x20
#endif

extern const struct cr_img_type img_inode;

/* An inode of memfd.img. */
struct inode {
	MemfdInodeEntry *entry;
	int created;
	int fd; /* when created: ours, read-write, until the last seal is set; then -1 */
};

/* The inode with that id; NULL, recorded, when memfd.img has none. Reads the image at the first call. */
struct inode *inode_get(struct cr_session *s, uint32_t id);
/* Creates it with its contents, unless that is done; ino->fd is open then. 0 or -errno recorded. */
int inode_create(struct cr_session *s, struct inode *ino);
/* All descriptions are open: owner, mode, the seals that need not wait. 0 or -errno recorded. */
int inodes_opened(struct cr_session *s);
/* All mappings exist: the other seals. 0 or -errno recorded. */
int inodes_restored(struct cr_session *s);
/* Frees what the session held. */
void inodes_done(struct cr_session *s);

#endif
