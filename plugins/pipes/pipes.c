/* SPDX-License-Identifier: MIT */
/*
 * pipes.c: pipe(2) ends and FIFOs.
 *
 * A description of an end is a message with the number of its pipe; size and unread
 * bytes of the pipe go to pipes-data.img, once.  A FIFO has a path besides: its
 * message names a file object of the path, which the files plugin owns.  That object
 * is made from a second description of the FIFO, with the same access, flags and
 * owner, because the FIFO's own message has no room for these; at restore the files
 * plugin opens and validates it, and it becomes the FIFO's description.
 */
#include "pipes.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <string.h>
#include <unistd.h>

#include "fifo.pb-c.h"
#include "pipe.pb-c.h"

struct end {
	uint32_t pipe_id;
	uint32_t flags;
	FownEntry fown;
};

struct fifo {
	uint32_t pipe_id;
	struct cr_file *path;
};

const struct cr_img_type img_pipe_data = {
	.size = sizeof(struct cr_img_type),
	.name = "pipes-data",
	.magic = 0x56453709,
};
const struct cr_img_type img_fifo_data = {
	.size = sizeof(struct cr_img_type),
	.name = "fifo-data",
	.magic = 0x59333054,
};
const struct cr_img_type img_packets = {
	.size = sizeof(struct cr_img_type),
	.name = "x-pipes-packets",
	.magic = 0x50504b31,
};

static const struct cr_file_kind fifo_kind;

/* ---- pipes ---- */

static int pipe_match(const struct cr_file_info *info)
{
	return S_ISFIFO(info->st.st_mode) && info->fs_magic == PIPEFS_MAGIC ? CR_SPECIFIC : CR_NOT_MINE;
}

static int end_dump(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	PipeEntry e = PIPE_ENTRY__INIT;
	struct dumped *d;
	FownEntry fown;
	int err = pipe_dump(s, lfd, info, &d);

	if (err < 0)
		return err;
	common_fown_dump(s, f, &fown);
	e.id = s->core->file_id(f);
	e.pipe_id = d->id;
	e.flags = info->flags;
	e.fown = &fown;
	return common_emit_msg(s, f, &e);
}

static int end_load(struct cr_session *s, struct cr_file *f, const void *data, size_t len)
{
	_cleanup_msg_ PipeEntry *e = common_unpack(s, &pipe_entry__descriptor, data, len);
	struct end *end = s->core->file_priv(f);

	if (!e)
		return -EPROTO;
	end->pipe_id = e->pipe_id;
	end->flags = e->flags;
	end->fown = *e->fown;
	return 0;
}

static int end_open(struct cr_session *s, struct cr_file *f, int *ret_fd)
{
	const struct end *end = s->core->file_priv(f);
	struct pipe *p = pipe_get(s, 0, end->pipe_id);

	return p ? pipe_open_end(s, p, end->flags, ret_fd) : -EPROTO;
}

static int end_wire(struct cr_session *s, struct cr_file *f)
{
	const struct end *end = s->core->file_priv(f);

	return common_fown_restore(s, f, &end->fown);
}

static int end_key(struct cr_session *s, struct cr_file *f, char *buf, size_t size)
{
	const struct end *end = s->core->file_priv(f);

	snprintf(buf, size, "pipe:[%" PRIu32 "]", end->pipe_id);
	return 0;
}

/* ---- FIFOs ---- */

static int is_fifo(const struct cr_file_info *info)
{
	return S_ISFIFO(info->st.st_mode) && info->fs_magic != PIPEFS_MAGIC && !(info->flags & O_PATH);
}

static int fifo_match(const struct cr_file_info *info)
{
	return is_fifo(info) && info->source == CR_SRC_FD ? CR_SPECIFIC : CR_NOT_MINE;
}

/* FIFOs that plugins hand over are FIFOs too (queued in a socket, say), except our path objects. */
static int pipes_match(struct cr_session *s, const struct cr_file_info *info,
		       const struct cr_file_kind **ret_kind)
{
	struct state *st = pipes_state(s);

	if (!is_fifo(info) || info->source != CR_SRC_PLUGIN)
		return CR_NOT_MINE;
	for (size_t i = 0; i < st->paths.n; i++)
		if (st->paths.v[i] == info->link)
			return CR_NOT_MINE;
	*ret_kind = &fifo_kind;
	return CR_SPECIFIC;
}

/* Another description of the same FIFO with the same access: descriptor or -errno. */
static int open_twin(int lfd, int acc)
{
	int fd = common_reopen(lfd, acc | O_NONBLOCK);

	if (fd == -ENXIO) { /* writers need a reader */
		_cleanup_fd_ int both = common_reopen(lfd, O_RDWR | O_NONBLOCK);

		fd = both < 0 ? both : common_reopen(lfd, acc | O_NONBLOCK);
	}
	return fd;
}

static int copy_owner(struct cr_session *s, int from, int to)
{
	struct f_owner_ex owner;
	int sig = fcntl(from, F_GETSIG);

	if (fcntl(from, F_GETOWN_EX, &owner) == 0 && owner.pid && fcntl(to, F_SETOWN_EX, &owner))
		return cr_fail(s, errno, "the owner of the FIFO cannot be copied: %s", strerror(errno));
	if (sig > 0 && fcntl(to, F_SETSIG, sig))
		return cr_fail(s, errno, "the signal of the FIFO cannot be copied: %s", strerror(errno));
	return 0;
}

static int collect_path(struct cr_session *s, int lfd, const struct cr_file_info *info, struct cr_file **ret)
{
	_cleanup_fd_ int fd = open_twin(lfd, info->flags & O_ACCMODE);
	int err;

	if (fd < 0)
		return cr_fail(s, -fd, "the FIFO cannot be opened once more: %s", strerror(-fd));
	err = copy_owner(s, lfd, fd);
	if (!err)
		err = common_set_flags(s, fd, info->flags);
	if (!err)
		err = s->core->file_collect(s, info->task, fd, ret);
	if (err < 0)
		return err;
	*vec_push(&pipes_state(s)->paths) = s->core->file_info(*ret)->link;
	return 0;
}

static int fifo_dump(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	FifoEntry e = FIFO_ENTRY__INIT;
	struct cr_file *path;
	struct dumped *d;
	int err = pipe_dump(s, lfd, info, &d);

	if (err < 0)
		return err;
	e.id = s->core->file_id(f);
	e.pipe_id = d->id;
	err = collect_path(s, lfd, info, &path);
	if (err < 0)
		return err;
	e.has_regf_id = 1;
	e.regf_id = s->core->file_id(path);
	return common_emit_msg(s, f, &e);
}

static int fifo_load(struct cr_session *s, struct cr_file *f, const void *data, size_t len)
{
	_cleanup_msg_ FifoEntry *e = common_unpack(s, &fifo_entry__descriptor, data, len);
	struct fifo *fifo = s->core->file_priv(f);

	if (!e)
		return -EPROTO;
	fifo->pipe_id = e->pipe_id;
	fifo->path = e->has_regf_id ? s->core->file_by_id(s, e->regf_id) : NULL;
	if (!fifo->path || fifo->path == f)
		return cr_fail(s, EPROTO, "the image has a FIFO without a path: file %u does not exist",
			       e->regf_id);
	return s->core->file_need(s, f, fifo->path);
}

static int fifo_open(struct cr_session *s, struct cr_file *f, int *ret_fd)
{
	const struct fifo *fifo = s->core->file_priv(f);
	struct pipe *p = pipe_get(s, 1, fifo->pipe_id);
	int path = s->core->file_fd(fifo->path);
	struct stat st;
	int fd, err;

	if (!p)
		return -EPROTO;
	if (path < 0)
		return CR_AGAIN;
	if (fstat(path, &st))
		return cr_fail(s, errno, "fstat: %s", strerror(errno));
	/* the user may have put something else in its place (--inherit-fd) */
	err = S_ISFIFO(st.st_mode) ? fifo_hold(s, p, path) : 0;
	if (err < 0)
		return err;
	fd = fcntl(path, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return cr_fail(s, errno, "out of descriptors: raise the limit of open files (ulimit -n)");
	*ret_fd = fd;
	return CR_OK;
}

/* ---- the plugin ---- */

/* Pipes that lead out of the tree: the other end is lost at restore, unless the user gives one. */
static int pipes_late(struct cr_session *s)
{
	struct state *st = pipes_state(s);

	for (size_t i = 0; i < st->dumped.n; i++) {
		const struct dumped *d = &st->dumped.v[i];

		if (d->fifo || d->reader == d->writer || d->no_reader || d->no_writer)
			continue;
		cr_lost(s, NULL,
			"%s: a process outside the tree has its %s end; restore makes a new pipe without one, "
			"unless "
			"another is passed with --inherit-fd fd[N]:%s",
			d->link, d->reader ? "write" : "read", d->link);
	}
	return 0;
}

static int pipes_opened(struct cr_session *s)
{
	pipes_release(s);
	return 0;
}

static const struct cr_file_kind pipe_kind = {
	.size = sizeof(struct cr_file_kind),
	.name = "pipe",
	.fd_type = 2,
	.field = 18,
	.priv_size = sizeof(struct end),
	.match = pipe_match,
	.dump = end_dump,
	.load = end_load,
	.open = end_open,
	.wire = end_wire,
	.inherit_key = end_key,
};
static const struct cr_file_kind fifo_kind = {
	.size = sizeof(struct cr_file_kind),
	.name = "fifo",
	.fd_type = 3,
	.field = 17,
	.priv_size = sizeof(struct fifo),
	.match = fifo_match,
	.dump = fifo_dump,
	.load = fifo_load,
	.open = fifo_open,
};
static const struct cr_file_kind *const pipes_kinds[] = { &pipe_kind, &fifo_kind, NULL };
static const struct cr_img_type *const pipes_images[] = { &img_pipe_data, &img_fifo_data, &img_packets, NULL };
static const char *const pipes_externals[] = { "pipe:[", NULL };

static const struct cr_plugin pipes_plugin = {
	.size = sizeof(struct cr_plugin),
	.abi = CR_ABI,
	.name = "pipes",
	.version = "0.1",
	.summary = "Keeps pipes and FIFOs with what is in them.",
	.files = pipes_kinds,
	.images = pipes_images,
	.externals = pipes_externals,
	.dump_late = pipes_late,
	.opened = pipes_opened,
	.done = pipes_done,
	.match = pipes_match,
	.caps = (const char *const[]){ "CAP_SYS_RESOURCE: pipes larger than fs.pipe-max-size", NULL },
};
CR_PLUGIN_REGISTER(pipes_plugin);
