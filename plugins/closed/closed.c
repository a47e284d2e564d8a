/* SPDX-License-Identifier: MIT */
/*
 * closed.c: what the user gives up with --policy KIND=close.
 *
 * The number stays taken, or the next open(2) would get it and the program would read and write somebody else's file
 * with it.  Sockets and pipes look as if the other side had closed: reads find the end, writes fail with EPIPE, poll(2) tells
 * it, as programs expect of any peer.  A listening socket listens where nobody can connect.  Everything else becomes
 * /dev/null.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "closed.pb-c.h"
#include "common.h"
#include "util.h"

enum shape { SHAPE_FILE = 0, SHAPE_PIPE, SHAPE_SOCKET, SHAPE_LISTENER };

#define O_PATH_ 010000000
#define OWN_KEY "closed[" /* begins the keys of what the images have as closed */

struct closed_priv {
	ClosedEntry *e; /* memory of the session */
};

static const struct cr_file_kind closed_kind;

/* ---- dump ---- */

static int closed_match(const struct cr_file_info *info)
{
	return CR_NOT_MINE; /* only what the user gives up */
}

static uint32_t shape_of(int lfd, const struct cr_file_info *info)
{
	int listens = 0;
	socklen_t len = sizeof(listens);

	if (info->flags & O_PATH_)
		return SHAPE_FILE;
	if (S_ISFIFO(info->st.st_mode))
		return SHAPE_PIPE;
	if (!S_ISSOCK(info->st.st_mode))
		return SHAPE_FILE;
	return !getsockopt(lfd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) && listens ? SHAPE_LISTENER : SHAPE_SOCKET;
}

static int closed_dump(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	ClosedEntry e;
	FownEntry fown;

	closed_entry__init(&e);
	common_fown_dump(s, f, &fown);
	e.shape = shape_of(lfd, info);
	e.flags = info->flags;
	e.has_type = S_ISSOCK(info->st.st_mode);
	e.type = e.has_type ? (uint32_t)info->sock_type : 0;
	e.fown = &fown;
	return common_emit_msg(s, f, &e);
}

/* ---- restore ---- */

static int closed_load(struct cr_session *s, struct cr_file *f, const void *data, size_t len)
{
	struct closed_priv *p = s->core->file_priv(f);

	p->e = common_load(s, &closed_entry__descriptor, data, len);
	if (!p->e)
		return -EPROTO;
	if (p->e->shape > SHAPE_LISTENER)
		return cr_fail(s, EPROTO, "a closed descriptor of the unknown shape %u", p->e->shape);
	return 0;
}

/* The end that is left of a pair. */
static int dead_socket(uint32_t type)
{
	int sv[2];

	if (type != SOCK_STREAM && type != SOCK_SEQPACKET)
		type = SOCK_DGRAM;
	if (socketpair(AF_UNIX, (int)type | SOCK_CLOEXEC, 0, sv) < 0)
		return -errno;
	close(sv[1]);
	return sv[0];
}

static int dead_pipe(int writes)
{
	int pv[2];

	if (pipe2(pv, O_CLOEXEC) < 0)
		return -errno;
	close(pv[!writes]);
	return pv[!!writes];
}

/* A name of the kernel's choice, told to nobody. */
static int dead_listener(uint32_t type)
{
	struct sockaddr_un none = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, (type == SOCK_SEQPACKET ? SOCK_SEQPACKET : SOCK_STREAM) | SOCK_CLOEXEC, 0);

	if (fd >= 0 && !bind(fd, (struct sockaddr *)&none, sizeof(none.sun_family)) && !listen(fd, 1))
		return fd;
	if (fd >= 0)
		close(fd);
	return -errno;
}

static int dead(uint32_t shape, uint32_t flags, uint32_t type)
{
	int fd;

	switch (shape) {
	case SHAPE_PIPE:
		return dead_pipe((flags & O_ACCMODE) != O_RDONLY);
	case SHAPE_SOCKET:
		return dead_socket(type);
	case SHAPE_LISTENER:
		return dead_listener(type);
	}
	fd = open("/dev/null", (int)(flags & (O_ACCMODE | O_PATH_)) | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int closed_open(struct cr_session *s, struct cr_file *f, int *ret_fd)
{
	const ClosedEntry *e = ((struct closed_priv *)s->core->file_priv(f))->e;
	int fd = dead(e->shape, e->flags, e->type), err;

	if (fd < 0)
		return cr_fail(s, -fd, "making something that looks closed: %s", strerror(-fd));
	err = e->flags & O_PATH_ ? 0 : common_set_flags(s, fd, e->flags & (O_NONBLOCK | O_APPEND));
	if (err) {
		close(fd);
		return err;
	}
	*ret_fd = fd;
	return 0;
}

static int closed_wire(struct cr_session *s, struct cr_file *f)
{
	return common_fown_restore(s, f, ((struct closed_priv *)s->core->file_priv(f))->e->fown);
}

/* Images have it as another kind, and the user gives it up now: only its name tells what it was. */
static int closed_provide(struct cr_session *s, struct cr_file *f, const char *key, int *ret_fd)
{
	int fd;

	if (s->core->file_policy(s, f) != CR_POLICY_CLOSE || strcmp(s->core->file_kind(f), closed_kind.name) ||
	    !strncmp(key, OWN_KEY, strlen(OWN_KEY)))
		return 0;
	fd = dead(!strncmp(key, "socket", 6) || !strncmp(key, "pipe", 4) ? SHAPE_SOCKET : SHAPE_FILE, O_RDWR, SOCK_STREAM);
	if (fd < 0)
		return cr_fail(s, -fd, "making something that looks closed: %s", strerror(-fd));
	*ret_fd = fd;
	return 1;
}

/* ---- the plugin ---- */

static const struct cr_file_kind closed_kind = {
	.size = sizeof(closed_kind),
	.name = "closed",
	.fd_type = 16, /* EXT */
	.field = 100150,
	.priv_size = sizeof(struct closed_priv),
	.match = closed_match,
	.dump = closed_dump,
	.load = closed_load,
	.open = closed_open,
	.wire = closed_wire,
	.takes = CR_POLICY_CLOSE,
};
static const struct cr_file_kind *const kinds[] = { &closed_kind, NULL };

static const struct cr_plugin plugin = {
	.size = sizeof(plugin),
	.abi = CR_ABI,
	.name = "closed",
	.version = "0.1",
	.summary = "Descriptors that the user gives up: the program finds them closed.",
	.files = kinds,
	.provide = closed_provide,
};
CR_PLUGIN_REGISTER(plugin);
