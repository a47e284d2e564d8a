/* SPDX-License-Identifier: MIT */
/*
 * vsock.c: sockets between a virtual machine and its host, vsock(7).
 *
 * One that listens, is bound or new is its type, its address and its options.  A connection is known to the other
 * machine, and there is no way to take one over: it is refused, or dropped if the user says so.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "common.h"
#include "sock.h"
#include "util.h"
#include "vsock-sock.pb-c.h"

#define OPT_CONNECT_TIMEOUT 8 /* SO_VM_SOCKETS_CONNECT_TIMEOUT_NEW, Linux 5.11 */
#define BACKLOG 128	      /* the kernel does not tell it */

enum { NEW = 0, LISTENS = 1 };

struct vsock_state {
	struct sock_extra_image *extra; /* restore */
};

struct vsock_priv {
	VsockSockEntry *e; /* memory of the session */
};

struct facts {
	struct sockaddr_vm name, peer;
	int listens, connected;
};

static const struct cr_img_type img_extra = { sizeof(img_extra), "x-vsock-options", 0x5856534f, 0 };

/* The limits come before what they limit. */
static const struct sock_extra extra_vsock[] = {
	{ AF_VSOCK, SO_VM_SOCKETS_BUFFER_MAX_SIZE, 8 },
	{ AF_VSOCK, SO_VM_SOCKETS_BUFFER_MIN_SIZE, 8 },
	{ AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE, 8 },
	{ AF_VSOCK, OPT_CONNECT_TIMEOUT, 16 },
	{ 0, 0, 0 },
};

static struct vsock_state *state(struct cr_session *s)
{
	return s->core->plugin_priv(s, sizeof(struct vsock_state));
}

static int vsock_match(const struct cr_file_info *info)
{
	return S_ISSOCK(info->st.st_mode) && info->sock_domain == AF_VSOCK ? CR_SPECIFIC : CR_NOT_MINE;
}

static const char *addr_text(struct cr_session *s, uint32_t cid, uint32_t port)
{
	char *text = s->core->alloc(s, 48);

	if (cid == VMADDR_CID_ANY)
		snprintf(text, 48, "*:%u", port);
	else
		snprintf(text, 48, "%u:%u", cid, port);
	return text;
}

/* ---- dump ---- */

/* A connection that has ended still has an end to tell of; one that is being made is not ready for anything. */
static int is_under_way(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLRDHUP | POLLOUT };

	poll(&p, 1, 0);
	return p.revents & (POLLRDHUP | POLLHUP | POLLERR) || !(p.revents & POLLOUT);
}

static int get_facts(int fd, struct facts *k)
{
	socklen_t len = sizeof(k->name), plen = sizeof(k->peer);

	memset(k, 0, sizeof(*k));
	if (getsockname(fd, (struct sockaddr *)&k->name, &len))
		return -errno;
	k->listens = sock_get_int(fd, SOL_SOCKET, SO_ACCEPTCONN);
	if (k->listens)
		return 0;
	k->connected = !getpeername(fd, (struct sockaddr *)&k->peer, &plen) || is_under_way(fd);
	return 0;
}

static int drops(struct cr_session *s)
{
	const char *what = s->core->option(s, "vsock-connected");

	return what && !strcmp(what, "close");
}

static int vsock_prepare(struct cr_session *s)
{
	const char *what = s->core->option(s, "vsock-connected");

	if (!what || !strcmp(what, "fail") || !strcmp(what, "close"))
		return 0;
	return cr_fail(s, EINVAL, "--vsock-connected %s: expected fail or close", common_quote(s, what));
}

static int check_waiting(struct cr_session *s, int fd, const struct facts *k)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	if (s->core->option_flag(s, "skip-in-flight") || poll(&p, 1, 0) <= 0 || !(p.revents & POLLIN))
		return 0;
	return cr_refuse(s, "--skip-in-flight, which drops them", "connections to the vsock socket %s wait to be accepted",
			 addr_text(s, k->name.svm_cid, k->name.svm_port));
}

static int vsock_check(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	struct facts k;
	int err;

	if (lfd < 0)
		return 0;
	err = get_facts(lfd, &k);
	if (err < 0)
		return cr_refuse(s, NULL, "the vsock socket does not tell its address: %s", strerror(-err));
	if (k.listens)
		return check_waiting(s, lfd, &k);
	if (!k.connected || drops(s))
		return 0;
	return cr_refuse(s, "--vsock-connected close, which drops the connection, or let the program close it and connect again "
			 "after the restore", "vsock connection %s -> %s: the other machine knows of it",
			 addr_text(s, k.name.svm_cid, k.name.svm_port),
			 k.peer.svm_family ? addr_text(s, k.peer.svm_cid, k.peer.svm_port) : "(being made, or ended)");
}

static int dump_extra(struct cr_session *s, struct cr_file *f, int fd, const struct cr_file_info *info)
{
	_cleanup_fd_ int fresh = socket(AF_VSOCK, info->sock_type | SOCK_CLOEXEC, 0);
	struct sock_extra all[64] = { 0 };
	size_t n = 0;

	if (fresh < 0)
		return cr_fail(s, errno, "making a socket like it to compare with: %s", strerror(errno));
	for (const struct sock_extra *o = sock_extra_common; o->name && n + 1 < ARRAY_SIZE(all); o++)
		all[n++] = *o;
	for (const struct sock_extra *o = extra_vsock; o->level && n + 1 < ARRAY_SIZE(all); o++)
		all[n++] = *o;
	return sock_extra_dump(s, &img_extra, f, fd, fresh, all);
}

static int vsock_dump(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	VsockSockEntry e = VSOCK_SOCK_ENTRY__INIT;
	SkOptsEntry opts;
	FownEntry fown;
	struct facts k;
	int err = get_facts(lfd, &k);

	if (err < 0)
		return cr_fail(s, -err, "asking the socket for its address: %s", strerror(-err));
	err = sock_opts_dump(s, lfd, &opts);
	if (!err)
		err = dump_extra(s, f, lfd, info);
	if (err < 0)
		return err;
	common_fown_dump(s, f, &fown);
	e.id = s->core->file_id(f);
	e.ino = info->st.st_ino;
	e.type = info->sock_type;
	e.flags = info->flags;
	e.state = k.listens ? LISTENS : NEW;
	e.cid = k.name.svm_cid;
	e.port = k.name.svm_port;
	if (k.connected) { /* what is left is a new socket */
		cr_lost(s, f, "vsock connection %s -> %s is dropped (--vsock-connected close)", addr_text(s, e.cid, e.port),
			addr_text(s, k.peer.svm_cid, k.peer.svm_port));
		e.cid = VMADDR_CID_ANY;
		e.port = VMADDR_PORT_ANY;
	}
	e.fown = &fown;
	e.opts = &opts;
	return common_emit_msg(s, f, &e);
}

/* ---- restore ---- */

static int vsock_stage(struct cr_session *s)
{
	return sock_extra_load(s, &img_extra, &state(s)->extra);
}

static int vsock_load(struct cr_session *s, struct cr_file *f, const void *data, size_t len)
{
	struct vsock_priv *p = s->core->file_priv(f);

	p->e = common_load(s, &vsock_sock_entry__descriptor, data, len);
	if (!p->e)
		return -EPROTO;
	if ((p->e->type != SOCK_STREAM && p->e->type != SOCK_SEQPACKET && p->e->type != SOCK_DGRAM) || p->e->state > LISTENS)
		return cr_fail(s, EPROTO, "the image has a vsock socket of type %u in state %u", p->e->type, p->e->state);
	return 0;
}

static int bind_name(struct cr_session *s, int fd, const VsockSockEntry *e)
{
	struct sockaddr_vm a = { .svm_family = AF_VSOCK, .svm_cid = e->cid, .svm_port = e->port };
	const char *text = addr_text(s, e->cid, e->port);

	if (e->port == VMADDR_PORT_ANY || !bind(fd, (struct sockaddr *)&a, sizeof(a)))
		return 0;
	switch (errno) {
	case EADDRINUSE:
		return cr_fail(s, errno, "vsock address %s is taken: end the program that has it (ss --vsock -a shows it) and "
			       "restore again", text);
	case EADDRNOTAVAIL:
		return cr_fail(s, errno, "vsock address %s does not exist: this machine has another context id; restore where it "
			       "has that one", text);
	case EACCES:
		return cr_fail(s, errno, "vsock address %s cannot be used: ports below 1024 need CAP_NET_BIND_SERVICE", text);
	}
	return cr_fail(s, errno, "binding a vsock socket to %s: %s", text, strerror(errno));
}

static int set_up(struct cr_session *s, struct cr_file *f, int fd, const VsockSockEntry *e)
{
	static const struct sock_extra *const lists[] = { sock_extra_common, extra_vsock, NULL };
	int err = sock_extra_restore(s, state(s)->extra, f, fd, lists);

	if (!err)
		err = sock_buffers_restore(s, fd, e->opts);
	if (!err)
		err = sock_opts_restore(s, fd, e->opts);
	if (!err)
		err = bind_name(s, fd, e);
	if (!err && e->state == LISTENS && listen(fd, BACKLOG))
		err = cr_fail(s, errno, "listening on a vsock socket: %s", strerror(errno));
	return err ? err : common_set_flags(s, fd, e->flags);
}

static int vsock_open(struct cr_session *s, struct cr_file *f, int *ret_fd)
{
	const struct vsock_priv *p = s->core->file_priv(f);
	_cleanup_fd_ int fd = socket(AF_VSOCK, p->e->type | SOCK_CLOEXEC, 0);
	int err;

	if (fd < 0)
		return cr_fail(s, errno, "making a vsock socket: %s; the kernel needs CONFIG_VSOCKETS (modprobe vsock)",
			       strerror(errno));
	err = set_up(s, f, fd, p->e);
	if (err < 0)
		return err;
	*ret_fd = fd;
	fd = -1;
	return CR_OK;
}

static int vsock_wire(struct cr_session *s, struct cr_file *f)
{
	const struct vsock_priv *p = s->core->file_priv(f);

	return common_fown_restore(s, f, p->e->fown);
}

static int vsock_key(struct cr_session *s, struct cr_file *f, char *buf, size_t size)
{
	const struct vsock_priv *p = s->core->file_priv(f);

	snprintf(buf, size, "socket:[%" PRIu32 "]", p->e->ino);
	return 0;
}

static const struct cr_option option_connected = {
	.size = sizeof(struct cr_option),
	.name = "vsock-connected",
	.kind = CR_OPT_STRING,
	.modes = 1u << CR_MODE_DUMP | 1u << CR_MODE_CHECK,
	.arg = "fail|close",
	.fallback = "fail",
	.help = "What becomes of connections between virtual machine and host (AF_VSOCK): the dump fails, or the restored "
		"socket has none.",
};

static const struct cr_file_kind vsock_kind = {
	.size = sizeof(struct cr_file_kind),
	.name = "vsock",
	.fd_type = 16,
	.field = 100170,
	.priv_size = sizeof(struct vsock_priv),
	.match = vsock_match,
	.check = vsock_check,
	.dump = vsock_dump,
	.load = vsock_load,
	.open = vsock_open,
	.wire = vsock_wire,
	.inherit_key = vsock_key,
};
static const struct cr_file_kind *const vsock_kinds[] = { &vsock_kind, NULL };
static const struct cr_img_type *const vsock_images[] = { &img_extra, NULL };
static const struct cr_option *const vsock_options[] = { &option_connected, NULL };

static const struct cr_plugin vsock_plugin = {
	.size = sizeof(struct cr_plugin),
	.abi = CR_ABI,
	.name = "vsock",
	.version = "0.1",
	.summary = "Keeps listening and bound sockets between virtual machine and host.",
	.options = vsock_options,
	.files = vsock_kinds,
	.images = vsock_images,
	.prepare = vsock_prepare,
	.stage = vsock_stage,
	.caps = (const char *const[]){ "CAP_NET_BIND_SERVICE: ports below 1024", NULL },
};
CR_PLUGIN_REGISTER(vsock_plugin);
