/* SPDX-License-Identifier: MIT */
/*
 * pipes.h: what the files of the plugin "pipes" share.
 *
 *   pipes.c     the plugin table, claims, messages of the ends
 *   contents.c  dump: sizes and unread bytes, without taking them from the readers
 *   restore.c   making pipes, filling them, handing out their ends
 */
#ifndef PLUGINS_PIPES_H
#define PLUGINS_PIPES_H

#include "common.h"
#include "util.h"

/* A run of bytes in a pipe: a packet (O_DIRECT), or a stream. */
struct segment {
	uint32_t len;
	uint32_t packet;
};

/* A pipe or FIFO, dump. */
struct dumped {
	const char *link;
	uint32_t id; /* pipe_id in images: the inode number, changed where two file systems have the same */
	int fifo;
	int reader, writer; /* the tree has such an end */
	int no_reader, no_writer; /* nobody has such an end */
};

/* A pipe or FIFO, restore. */
struct pipe {
	uint32_t id;
	int fifo;
	int made;
	uint32_t size; /* capacity in bytes, 0: the default */
	uint32_t bytes;
	char *data; /* malloced */
	struct segment *segs; /* malloced; NULL: one stream */
	size_t nsegs;
	/*
	 * Of the engine, -1 when closed. A pipe's two ends; given: that very description has been
	 * handed out. A FIFO: ends[0] is open for both.
	 */
	int ends[2];
	int given[2];
};

struct state {
	VEC(struct dumped) dumped; /* [i]: id i + 1 in the space "pipe" */
	VEC(const char *) paths; /* link texts of the path objects behind FIFOs */
	VEC(struct pipe) pipes; /* [i]: id i + 1 in the space "pipe-restore" */
	int is_read;
};

static inline struct state *pipes_state(struct cr_session *s)
{
	return s->core->plugin_priv(s, sizeof(struct state));
}

extern const struct cr_img_type img_pipe_data, img_fifo_data, img_packets;

/*
 * Dump: the record of the pipe behind lfd; at its first end the contents are written.
 * *ret is valid until the next call.  0 or -errno recorded.
 */
int pipe_dump(struct cr_session *s, int lfd, const struct cr_file_info *info, struct dumped **ret);

/* Restore: the pipe of that number; the images are read at the first call.  NULL, recorded, when they are
 * broken. */
struct pipe *pipe_get(struct cr_session *s, int fifo, uint32_t id);
/*
 * A descriptor of an end with these open(2) flags; the pipe is made and filled at the first
 * call.  0 with *ret_fd or -errno recorded.
 */
int pipe_open_end(struct cr_session *s, struct pipe *p, uint32_t flags, int *ret_fd);
/* fd is open on the FIFO: fills it, once, and keeps it from blocking its openers.  0 or -errno recorded. */
int fifo_hold(struct cr_session *s, struct pipe *p, int fd);
/* Closes the ends that only the restore had. */
void pipes_release(struct cr_session *s);
/* Frees what the session had. */
void pipes_done(struct cr_session *s, int error);

/* fcntl(F_SETPIPE_SZ) with an explanation. 0 or -errno recorded. */
int pipe_set_size(struct cr_session *s, int fd, uint32_t size);

#endif
