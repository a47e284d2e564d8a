/* SPDX-License-Identifier: MIT */
/*
 * contents.c: what is in a pipe, without taking it out.
 *
 * tee(2) clones the buffers of the pipe into a private one, from which they are
 * read.  A pipe that was written with O_DIRECT holds packets, and a read stops
 * behind one.  So a byte is put behind the clones: a read that brings it has met no
 * packet.  Otherwise the buffers are taken one by one, through a pipe that has room
 * for just one, and each is asked whether it is a packet: of two clones of it in a
 * row, one read brings both unless it is.
 */
#include "pipes.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "pipe-data.pb-c.h"
#include "pipe-packets.pb-c.h"

struct fds {
	int r, w;
};

struct contents {
	char *data; /* malloced */
	size_t len;
	VEC(struct segment) segs;
	int packets; /* any segment is one */
};

static void fds_close(struct fds *p)
{
	if (p->r >= 0)
		close(p->r);
	if (p->w >= 0)
		close(p->w);
}
#define _cleanup_fds_ __attribute__((cleanup(fds_close)))

int pipe_set_size(struct cr_session *s, int fd, uint32_t size)
{
	if (fcntl(fd, F_GETPIPE_SZ) == (int)size)
		return 0;
	if (fcntl(fd, F_SETPIPE_SZ, size) >= 0)
		return 0;
	if (errno == EPERM)
		return cr_fail(s, EPERM,
			       "a pipe cannot be made %u bytes large: raise the sysctls fs.pipe-max-size and "
			       "fs.pipe-user-pages-soft, or run with CAP_SYS_RESOURCE",
			       size);
	return cr_fail(s, errno, "a pipe cannot be made %u bytes large: %s", size, strerror(errno));
}

static int make_pipe(struct cr_session *s, struct fds *ret, uint32_t size)
{
	int p[2], err;

	if (pipe2(p, O_CLOEXEC | O_NONBLOCK))
		return cr_fail(s, errno, "pipe2: %s", strerror(errno));
	err = pipe_set_size(s, p[1], size);
	if (err < 0) {
		close(p[0]);
		close(p[1]);
		return err;
	}
	*ret = (struct fds){ p[0], p[1] };
	return 0;
}

static int clone_pipe(struct cr_session *s, int rfd, struct fds *copy, size_t *ret_len)
{
	ssize_t n = tee(rfd, copy->w, INT_MAX, SPLICE_F_NONBLOCK);

	if (n < 0 && errno != EAGAIN)
		return cr_fail(s, errno, "copying the contents of the pipe (tee): %s", strerror(errno));
	*ret_len = n < 0 ? 0 : n;
	return 0;
}

/* 1: all is one stream, now in c; 0: there are packets, or no room for the extra byte. */
static int read_stream(struct fds *copy, size_t len, struct contents *c)
{
	ssize_t n;

	if (write(copy->w, "", 1) != 1)
		return 0;
	n = read(copy->r, c->data, len + 1);
	c->len = len;
	return n == (ssize_t)len + 1;
}

static void drain(struct fds *copy, void *room, size_t len)
{
	while (read(copy->r, room, len) > 0)
		;
}

/* Is the buffer in `one`, of len bytes, a packet? room: 2 * len bytes. */
static int is_packet(struct fds *one, struct fds *two, char *room, size_t len)
{
	ssize_t n = 0;

	for (int i = 0; i < 2; i++)
		if (tee(one->r, two->w, INT_MAX, SPLICE_F_NONBLOCK) != (ssize_t)len)
			return -EIO;
	n = read(two->r, room, 2 * len);
	if (n == (ssize_t)len)
		drain(two, room, len);
	else if (n != (ssize_t)(2 * len))
		return -EIO;
	return n == (ssize_t)len;
}

static void add_segment(struct contents *c, size_t len, int packet)
{
	struct segment *last = c->segs.n ? &c->segs.v[c->segs.n - 1] : NULL;

	c->packets |= packet;
	if (last && !packet && !last->packet)
		last->len += len;
	else
		*vec_push(&c->segs) = (struct segment){ len, packet };
}

/* One buffer after the other. 0 or -errno. */
static int read_buffers(struct fds *copy, struct fds *one, struct fds *two, size_t len, struct contents *c)
{
	_cleanup_free_ char *room = xcalloc(2, len);

	c->len = 0;
	while (c->len < len) {
		ssize_t n = splice(copy->r, NULL, one->w, NULL, len - c->len, SPLICE_F_NONBLOCK);
		int packet;

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		packet = is_packet(one, two, room, n);
		if (packet < 0)
			return packet;
		if (read(one->r, c->data + c->len, n) != n)
			return -EIO;
		add_segment(c, n, packet);
		c->len += n;
	}
	return 0;
}

static int read_packets(struct cr_session *s, int rfd, struct fds *copy, struct contents *c)
{
	_cleanup_fds_ struct fds one = { -1, -1 };
	_cleanup_fds_ struct fds two = { -1, -1 };
	size_t len;
	int err;

	err = make_pipe(s, &one, PAGE_BYTES);
	if (!err)
		err = make_pipe(s, &two, 2 * PAGE_BYTES);
	if (!err)
		err = clone_pipe(s, rfd, copy, &len);
	if (err < 0)
		return err;
	c->data = xrealloc(c->data, len + 1);
	err = read_buffers(copy, &one, &two, len, c);
	return err < 0 ? cr_fail(s, -err, "reading the packets of the pipe: %s", strerror(-err)) : 0;
}

/*
 * A private pipe that has room for all buffers of one with that capacity and contents, and for one more.  No larger than
 * that: a user who has many pipes gets small ones and may not make them larger.
 */
static int make_copy(struct cr_session *s, struct fds *ret, uint32_t size, size_t avail)
{
	uint32_t need = avail < size / PAGE_BYTES ? (avail + 1) * PAGE_BYTES : size;
	int p[2], has, err = 0;

	if (pipe2(p, O_CLOEXEC | O_NONBLOCK))
		return cr_fail(s, errno, "pipe2: %s", strerror(errno));
	has = fcntl(p[1], F_GETPIPE_SZ);
	if (has < 0 || (uint32_t)has < need)
		err = pipe_set_size(s, p[1], need);
	*ret = (struct fds){ p[0], p[1] };
	return err;
}

/* rfd: open for reading; size: its capacity; avail: bytes in it. */
static int read_contents(struct cr_session *s, int rfd, uint32_t size, size_t avail, struct contents *c)
{
	_cleanup_fds_ struct fds copy = { -1, -1 };
	size_t len;
	int now, err;

	err = make_copy(s, &copy, size, avail);
	if (!err)
		err = clone_pipe(s, rfd, &copy, &len);
	if (err < 0)
		return err;
	if (len < avail && !ioctl(rfd, FIONREAD, &now) && (size_t)now >= avail)
		return cr_fail(s, ENOBUFS, "only %zu of the %zu bytes in the pipe can be copied", len, avail);
	c->data = xrealloc(NULL, len + 1);
	if (!len || read_stream(&copy, len, c))
		return 0;
	drain(&copy, c->data, len + 1);
	return read_packets(s, rfd, &copy, c);
}

static int write_packets(struct cr_session *s, const struct dumped *d, const struct contents *c)
{
	PipePacketsEntry e = PIPE_PACKETS_ENTRY__INIT;
	_cleanup_free_ uint32_t *len = xcalloc(c->segs.n, sizeof(*len));
	_cleanup_free_ protobuf_c_boolean *packet = xcalloc(c->segs.n, sizeof(*packet));

	for (size_t i = 0; i < c->segs.n; i++) {
		len[i] = c->segs.v[i].len;
		packet[i] = c->segs.v[i].packet;
	}
	e.pipe_id = d->id;
	e.fifo = d->fifo;
	e.n_length = e.n_packet = c->segs.n;
	e.length = len;
	e.packet = packet;
	return common_append(s, &img_packets, CR_IMG_NO_ID, &e.base);
}

static int write_contents(struct cr_session *s, const struct dumped *d, uint32_t size, const struct contents *c)
{
	const struct cr_img_type *type = d->fifo ? &img_fifo_data : &img_pipe_data;
	PipeDataEntry e = PIPE_DATA_ENTRY__INIT;
	int err;

	e.pipe_id = d->id;
	e.bytes = c->len;
	e.has_size = 1;
	e.size = size;
	err = common_append(s, type, CR_IMG_NO_ID, &e.base);
	if (!err && c->len)
		err = s->core->img_raw(s, type, CR_IMG_NO_ID, c->data, c->len);
	if (!err && c->packets)
		err = write_packets(s, d, c);
	return err;
}

static int dump_contents(struct cr_session *s, const struct dumped *d, int lfd, uint32_t flags)
{
	_cleanup_fd_ int own = -1;
	struct contents c = { 0 };
	int size, avail, err;

	/* a mere path can tell nothing, a write end can tell how much there is */
	if (flags & O_PATH) {
		lfd = own = common_reopen(lfd, O_RDONLY | O_NONBLOCK);
		if (own < 0)
			return cr_fail(s, -own, "the pipe cannot be opened for reading: %s", strerror(-own));
	}
	size = fcntl(lfd, F_GETPIPE_SZ);
	if (size < 0 || ioctl(lfd, FIONREAD, &avail))
		return cr_fail(s, errno, "reading the size of the pipe: %s", strerror(errno));
	if (avail && own < 0 && (flags & O_ACCMODE) == O_WRONLY) {
		lfd = own = common_reopen(lfd, O_RDONLY | O_NONBLOCK);
		if (own < 0)
			return cr_fail(s, -own, "the pipe cannot be opened for reading: %s", strerror(-own));
	}
	err = avail ? read_contents(s, lfd, size, avail, &c) : 0;
	if (!err)
		err = write_contents(s, d, size, &c);
	free(c.data);
	vec_free(&c.segs);
	return err;
}

/* The inode number, as everybody writes; the next free one where another pipe has it. */
static uint32_t unique_id(struct cr_session *s, int fifo, uint64_t ino)
{
	uint32_t id = ino;
	int is_new;

	for (;; id++) {
		s->core->id(s, fifo ? "fifo-number" : "pipe-number", &id, sizeof(id), &is_new);
		if (is_new)
			return id;
	}
}

static void note_end(struct dumped *d, int lfd, uint32_t flags)
{
	struct pollfd p = { .fd = lfd };
	uint32_t acc = flags & O_ACCMODE;

	if (flags & O_PATH)
		return;
	d->reader |= acc != O_WRONLY;
	d->writer |= acc != O_RDONLY;
	if (poll(&p, 1, 0) < 0)
		return;
	d->no_reader |= acc == O_WRONLY && (p.revents & POLLERR);
	d->no_writer |= acc == O_RDONLY && (p.revents & POLLHUP);
}

int pipe_dump(struct cr_session *s, int lfd, const struct cr_file_info *info, struct dumped **ret)
{
	const uint64_t key[] = { info->st.st_dev, info->st.st_ino };
	struct state *st = pipes_state(s);
	int is_new, err = 0;
	uint32_t index = s->core->id(s, "pipe", key, sizeof(key), &is_new) - 1;
	struct dumped *d;

	if (is_new) {
		d = vec_push(&st->dumped);
		d->link = info->link;
		d->fifo = strncmp(info->link, "pipe:", 5) != 0;
		d->id = unique_id(s, d->fifo, info->st.st_ino);
	}
	if (index >= st->dumped.n)
		return cr_fail(s, EINVAL, "ids of pipes are not in sequence");
	d = &st->dumped.v[index];
	note_end(d, lfd, info->flags);
	if (is_new)
		err = dump_contents(s, d, lfd, info->flags);
	*ret = d;
	return err;
}
