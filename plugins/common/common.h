/* SPDX-License-Identifier: MIT */
/*
 * common.h: what several plugins share, linked into each of them.
 *
 * Packing and unpacking of protobuf-c messages with the error record, owner and
 * signal of a description, reopening through /proc/self/fd, flags that only
 * fcntl(2) can set.  Everything works on the public header alone; lib/util.h
 * (growable arrays, buffers, cleanup attributes) may be included beside it.
 *
 * Memory: packed buffers come from malloc; unpacked messages belong to the
 * caller, who keeps them (file_priv) or frees them with common_free_msg().
 */
#ifndef PLUGINS_COMMON_H
#define PLUGINS_COMMON_H

#include <fcntl.h>
#include <protobuf-c/protobuf-c.h>
#include <sys/stat.h>

#include "cr-plugin.h"
#include "fown.pb-c.h"

/* m encoded into malloced memory of *ret_len bytes; never NULL, not even for an empty message. */
void *common_pack(const ProtobufCMessage *m, size_t *ret_len);

/* dump(): encode m and hand it to the engine as the message of f.  0 or -errno. */
int common_emit(struct cr_session *s, struct cr_file *f, const ProtobufCMessage *m);
#define common_emit_msg(s, f, m) common_emit((s), (f), &(m)->base)

/* Encode m and append it to the image NAME-id of type (CR_IMG_NO_ID: NAME).  0 or -errno. */
int common_append(struct cr_session *s, const struct cr_img_type *type, uint64_t id,
		  const ProtobufCMessage *m);

/*
 * Decode len bytes as a message of desc.  NULL when they are broken: then the
 * failure (EPROTO) is recorded, with desc's name.  Free with common_free_msg().
 */
void *common_unpack(struct cr_session *s, const ProtobufCMessageDescriptor *desc, const void *data,
		    size_t len);
void common_free_msg(void *msg); /* NULL is fine */

/*
 * As common_unpack(), into memory of the session: for what a load() hook keeps.
 * Never freed one by one.
 */
void *common_load(struct cr_session *s, const ProtobufCMessageDescriptor *desc, const void *data,
		  size_t len);

/* free at the end of the scope: _cleanup_msg_ RegFileEntry *e = NULL; */
void common_cleanup_msg(void *pp);
#define _cleanup_msg_ __attribute__((cleanup(common_cleanup_msg)))

/*
 * Next entry of r as a message of desc: 1 with *ret_msg (free it), 0 at the end,
 * -errno recorded.
 */
int common_next(struct cr_session *s, struct cr_reader *r, const ProtobufCMessageDescriptor *desc,
		void **ret_msg);
/*
 * All entries of an image as an array of messages of desc, which have numbers only, in memory of the session. 0 with
 * *ret_v and *ret_n, none when the image does not exist; -errno recorded.
 */
int common_read_list(struct cr_session *s, const struct cr_img_type *img, const ProtobufCMessageDescriptor *desc, void **ret_v,
		     size_t *ret_n);

/*
 * dump(): owner and signal of f into *ret, which is initialised here; set
 * message.fown to it before common_emit().
 */
void common_fown_dump(struct cr_session *s, struct cr_file *f, FownEntry *ret);
/* wire(): set owner and signal of f as e says; nothing when e has none or is NULL.  0 or -errno. */
int common_fown_restore(struct cr_session *s, struct cr_file *f, const FownEntry *e);

/* open("/proc/self/fd/<fd>", flags | O_CLOEXEC): descriptor or -errno, not recorded. */
int common_reopen(int fd, int flags);

/* Flags that open(2) of an image must never repeat: they act once, at creation. */
#define COMMON_OPEN_ONCE (O_CREAT | O_EXCL | O_TRUNC | O_NOCTTY | O_CLOEXEC)
/* Flags that F_SETFL changes. */
#define COMMON_SETFL (O_APPEND | O_NONBLOCK | O_ASYNC | O_DIRECT | O_NOATIME)

/*
 * wire(): queue for t, at stage, that the descriptor whose number the task finds at address made (plan_call()) takes
 * the place of slot, whose own flags (FD_CLOEXEC) stay.  0 or -errno recorded.
 */
int common_queue_move(struct cr_session *s, struct cr_task *t, uint32_t stage, uint64_t made, int slot);

/*
 * Give the description the status flags among COMMON_SETFL that flags has and take
 * the others away.  An fd without need of it is not touched.  0 or -errno recorded.
 */
int common_set_flags(struct cr_session *s, int fd, uint32_t flags);

/*
 * "--external file[MNT:INO]": how the user can leave this file to the restoring side, for refuse().  Memory of the
 * session; NULL when its mount is not known.
 */
const char *common_external_remedy(struct cr_session *s, const struct cr_file_info *info);

/* Same inode: device and number. */
int common_same_inode(const struct stat *a, const struct stat *b);

/*
 * A path or other text from outside as it may be printed in one line: control
 * bytes and backslashes become \ooo.  Memory of the session.
 */
const char *common_quote(struct cr_session *s, const char *text);

/* xstrdup() into memory that lives as long as the session. */
char *common_strdup(struct cr_session *s, const char *text);

#endif
