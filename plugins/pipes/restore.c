/* SPDX-License-Identifier: MIT */
/*
 * restore.c: makes pipes, fills them, and hands out their ends.
 *
 * A pipe is made with pipe2(2) once.  Its two descriptions are those of the first
 * reader and writer; further descriptions of an end, and ends with both accesses, are
 * opened through /proc/self/fd.  (An open(2) leaves O_LARGEFILE in the flags, which
 * tells at the dump which were opened.)  The ends stay open in the engine until all
 * descriptors are, then those that belong to nobody are closed, so that readers see
 * end of file and writers SIGPIPE as before.
 */
#include "pipes.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "pipe-data.pb-c.h"
#include "pipe-packets.pb-c.h"

#define USUAL_BYTES 65536 /* of a new pipe: 16 pages */
#define KERNEL_LARGEFILE 0100000 /* O_LARGEFILE is 0 in libc where it goes without saying */

/* ---- images ---- */

static struct pipe *pipe_at(struct cr_session *s, int fifo, uint32_t id)
{
	const uint32_t key[] = { fifo != 0, id };
	struct state *st = pipes_state(s);
	int is_new;
	uint32_t index = s->core->id(s, "pipe-restore", key, sizeof(key), &is_new) - 1;

	if (is_new)
		*vec_push(&st->pipes) = (struct pipe){ .id = id, .fifo = fifo, .ends = { -1, -1 } };
	return index < st->pipes.n ? &st->pipes.v[index] : NULL;
}

static int read_data(struct cr_session *s, struct cr_reader *r, int fifo)
{
	PipeDataEntry *e;
	int ret;

	while ((ret = common_next(s, r, &pipe_data_entry__descriptor, (void **)&e)) > 0) {
		_cleanup_msg_ PipeDataEntry *entry = e;
		struct pipe *p = pipe_at(s, fifo, entry->pipe_id);

		if (!p || p->data || entry->bytes > s->core->img_left(r))
			return cr_fail(s, EPROTO, "%s-data.img: the entry of pipe %u is broken",
				       fifo ? "fifo" : "pipes", entry->pipe_id);
		p->bytes = entry->bytes;
		p->size = entry->has_size ? entry->size : 0;
		p->data = xcalloc(1, p->bytes + 1ul);
		ret = s->core->img_extra(r, p->data, p->bytes);
		if (ret < 0)
			return ret;
	}
	return ret;
}

static int take_packets(struct pipe *p, const PipePacketsEntry *e)
{
	uint64_t sum = 0;

	if (!p || p->segs || e->n_length != e->n_packet)
		return -EPROTO;
	p->segs = xcalloc(e->n_length, sizeof(*p->segs));
	p->nsegs = e->n_length;
	for (size_t i = 0; i < e->n_length; i++) {
		p->segs[i] = (struct segment){ e->length[i], e->packet[i] };
		sum += e->length[i];
	}
	return sum == p->bytes ? 0 : -EPROTO;
}

static int read_packets(struct cr_session *s, struct cr_reader *r, int unused)
{
	PipePacketsEntry *e;
	int ret;

	while ((ret = common_next(s, r, &pipe_packets_entry__descriptor, (void **)&e)) > 0) {
		int err = take_packets(pipe_at(s, e->fifo, e->pipe_id), e);
		uint32_t id = e->pipe_id;

		common_free_msg(e);
		if (err < 0)
			return cr_fail(s, -err, "x-pipes-packets.img: the entry of pipe %u is broken", id);
	}
	return ret;
}

static int read_image(struct cr_session *s, const struct cr_img_type *type, int fifo,
		      int (*read_all)(struct cr_session *s, struct cr_reader *r, int fifo))
{
	struct cr_reader *r;
	int err = s->core->img_open(s, type, CR_IMG_NO_ID, &r);

	if (err < 0)
		return err == -ENOENT ? 0 : err;
	err = read_all(s, r, fifo);
	s->core->img_close(r);
	return err;
}

struct pipe *pipe_get(struct cr_session *s, int fifo, uint32_t id)
{
	struct state *st = pipes_state(s);
	int err = 0;

	if (!st->is_read) {
		st->is_read = 1;
		err = read_image(s, &img_pipe_data, 0, read_data);
		if (!err)
			err = read_image(s, &img_fifo_data, 1, read_data);
		if (!err)
			err = read_image(s, &img_packets, 0, read_packets);
	}
	return err < 0 ? NULL : pipe_at(s, fifo, id);
}

/* ---- contents ---- */

static int write_all(int fd, const char *data, size_t len, int packet)
{
	if (fcntl(fd, F_SETFL, O_NONBLOCK | (packet ? O_DIRECT : 0)))
		return -errno;
	return write_full(fd, data, len);
}

/*
 * A stream in front of a packet: the kernel would join the packet to the last page of the
 * stream.  It doesn't where that page came by tee(2).
 */
static int write_closed(int fd, const char *data, size_t len)
{
	while (len) {
		size_t part = MIN_OF(len, (size_t)PAGE_BYTES);
		int p[2], err;

		if (pipe2(p, O_CLOEXEC | O_NONBLOCK))
			return -errno;
		err = write_full(p[1], data, part);
		if (!err && tee(p[0], fd, part, SPLICE_F_NONBLOCK) != (ssize_t)part)
			err = -EAGAIN;
		close(p[0]);
		close(p[1]);
		if (err < 0)
			return err;
		data += part;
		len -= part;
	}
	return 0;
}

static int write_segments(int fd, const struct pipe *p)
{
	const char *data = p->data;
	int err = 0;

	if (!p->segs)
		return write_all(fd, data, p->bytes, 0);
	for (size_t i = 0; i < p->nsegs && !err; i++) {
		const struct segment *seg = &p->segs[i];

		if (!seg->packet && i + 1 < p->nsegs)
			err = write_closed(fd, data, seg->len);
		else
			err = write_all(fd, data, seg->len, seg->packet);
		data += seg->len;
	}
	return err;
}

/*
 * A user who has many pipes gets smaller ones than usual (fs.pipe-user-pages-soft), and may not make them larger.
 * The program never asked for the usual size: it is warned about, as long as the contents fit.
 */
static int set_size(struct cr_session *s, const struct pipe *p, int wfd)
{
	int now = fcntl(wfd, F_GETPIPE_SZ);

	if (!p->size || now == (int)p->size)
		return 0;
	if (p->size != USUAL_BYTES || now > (int)p->size || fcntl(wfd, F_SETPIPE_SZ, p->size) >= 0 || errno != EPERM)
		return pipe_set_size(s, wfd, p->size);
	cr_warn(s, "pipe %u is %d bytes large now and was %u: this user has too many pipes (fs.pipe-user-pages-soft)", p->id,
		now, p->size);
	return 0;
}

/* wfd: a description for writing that nobody else uses yet. */
static int fill(struct cr_session *s, const struct pipe *p, int wfd)
{
	int err = set_size(s, p, wfd);

	if (err < 0 || !p->bytes)
		return err;
	err = write_segments(wfd, p);
	if (err == -EAGAIN)
		return cr_fail(s, ENOBUFS,
			       "the %u bytes that were in pipe %u do not fit into a pipe of %d bytes", p->bytes,
			       p->id, fcntl(wfd, F_GETPIPE_SZ));
	if (err < 0)
		return cr_fail(s, -err, "filling pipe %u with %u bytes: %s", p->id, p->bytes, strerror(-err));
	return 0;
}

/* ---- ends ---- */

static int make(struct cr_session *s, struct pipe *p)
{
	int err;

	if (p->made)
		return 0;
	if (pipe2(p->ends, O_CLOEXEC | O_NONBLOCK)) {
		p->ends[0] = p->ends[1] = -1;
		return cr_fail(s, errno, "pipe2: %s", strerror(errno));
	}
	err = fill(s, p, p->ends[1]);
	if (err < 0)
		return err;
	p->made = 1;
	return 0;
}

int pipe_open_end(struct cr_session *s, struct pipe *p, uint32_t flags, int *ret_fd)
{
	uint32_t acc = flags & O_ACCMODE;
	int side = acc == O_WRONLY;
	int err = make(s, p);
	_cleanup_fd_ int fd = -1;

	if (err < 0)
		return err;
	if (flags & O_PATH) {
		fd = common_reopen(p->ends[0], O_PATH);
	} else if (acc != O_RDWR && !p->given[side] && !(flags & KERNEL_LARGEFILE)) {
		p->given[side] = 1;
		fd = fcntl(p->ends[side], F_DUPFD_CLOEXEC, 3);
		fd = fd < 0 ? -errno : fd;
	} else {
		fd = common_reopen(p->ends[side], acc | O_NONBLOCK);
	}
	if (fd < 0)
		return cr_fail(s, -fd, "an end of pipe %u cannot be opened: %s", p->id, strerror(-fd));
	err = flags & O_PATH ? 0 : common_set_flags(s, fd, flags);
	if (err < 0)
		return err;
	*ret_fd = fd;
	fd = -1;
	return 0;
}

int fifo_hold(struct cr_session *s, struct pipe *p, int fd)
{
	int there;

	if (p->made)
		return 0;
	p->ends[0] = common_reopen(fd, O_RDWR | O_NONBLOCK);
	if (p->ends[0] < 0)
		return cr_fail(s, -p->ends[0], "the FIFO cannot be opened for reading and writing: %s",
			       strerror(-p->ends[0]));
	p->made = 1;
	if (!ioctl(p->ends[0], FIONREAD, &there) && there > 0) {
		/* somebody outside kept it, and the kernel what is in it */
		cr_info(s, "the FIFO holds %d bytes already: it is not filled again", there);
		return 0;
	}
	return fill(s, p, p->ends[0]);
}

void pipes_release(struct cr_session *s)
{
	struct state *st = pipes_state(s);

	for (size_t i = 0; i < st->pipes.n; i++)
		for (int side = 0; side < 2; side++) {
			if (st->pipes.v[i].ends[side] >= 0)
				close(st->pipes.v[i].ends[side]);
			st->pipes.v[i].ends[side] = -1;
		}
}

void pipes_done(struct cr_session *s, int error)
{
	struct state *st = pipes_state(s);

	pipes_release(s);
	for (size_t i = 0; i < st->pipes.n; i++) {
		free(st->pipes.v[i].data);
		free(st->pipes.v[i].segs);
	}
	vec_free(&st->pipes);
	vec_free(&st->dumped);
	vec_free(&st->paths);
}
