/* SPDX-License-Identifier: MIT */
/*
 * fsnotify.h: the file that a watch of inotify or a mark of fanotify is on.
 *
 * The kernel names it in fdinfo by inode, device and file handle.  At the dump it is found
 * again and becomes a file object, so that names, deleted files and mounts are
 * treated as those of any open file; the watch is set on that object's descriptor at restore.
 */
#ifndef PLUGINS_FSNOTIFY_H
#define PLUGINS_FSNOTIFY_H

#include "common.h"
#include "fh.pb-c.h"

#define FSN_HANDLE_BYTES 128 /* MAX_HANDLE_SZ */
#define FSN_HANDLE_WORDS (FSN_HANDLE_BYTES / sizeof(uint64_t))

struct fsn_object {
	uint64_t ino;
	uint32_t dev;	      /* as the kernel numbers devices: major << 20 | minor */
	uint32_t type, bytes; /* of the handle; bytes 0: it has none */
	uint8_t handle[FSN_HANDLE_BYTES];
};

/* Reads "ino:… sdev:… fhandle-bytes:…" of one line of fdinfo, which begins at line. 0 or -EPROTO. */
int fsn_parse(const char *line, struct fsn_object *ret);

/*
 * dump(), check(): finds the object that f, seen as info says, watches, and makes a file object of it. what names it
 * in messages: "watch 3". 0; -EOPNOTSUPP after refuse(); -errno recorded.
 */
int fsn_collect(struct cr_session *s, const struct cr_file_info *info, const struct fsn_object *o, const char *what,
		struct cr_file **ret);

/* dump(): the handle, and the name of target, as a message; words has room for FSN_HANDLE_WORDS. */
void fsn_pack(struct cr_session *s, const struct fsn_object *o, struct cr_file *target, FhEntry *ret, uint64_t *words);

/*
 * Restore, of images that have no file object for it: O_PATH descriptor of what e describes, on a file system of device
 * dev (kernel's numbering), by name or else by handle. 0 with *ret_fd, or -errno recorded.
 */
int fsn_open(struct cr_session *s, const FhEntry *e, uint32_t dev, int *ret_fd);

#endif
