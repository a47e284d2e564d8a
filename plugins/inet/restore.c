/* SPDX-License-Identifier: MIT */
/*
 * restore.c: a message becomes a socket.
 *
 * Options that change what bind(2) does come first, then addresses, then all others.
 * A TCP socket is bound with SO_REUSEADDR, whatever it had: what is left of connections of
 * the killed tree (TIME_WAIT) would keep the port for a minute otherwise.  A port that
 * somebody listens on is taken all the same.
 */
#include "inet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <net/if.h>
#include <string.h>
#include <unistd.h>

#include "dgram.h"
#include "diag.h"
#include "lock.h"
#include "tcp.h"
#include "util.h"

int inet_key(struct cr_session *s, struct cr_file *f, char *buf, size_t size)
{
	const struct inet_priv *p = s->core->file_priv(f);

	snprintf(buf, size, "socket:[%" PRIu32 "]", p->e->ino);
	return 0;
}

int inet_make_addr(struct cr_session *s, const InetSkEntry *e, enum inet_end end, union addr *ret)
{
	const uint32_t *words = end == INET_LOCAL ? e->src_addr : e->dst_addr;
	uint32_t port = end == INET_LOCAL ? e->src_port : e->dst_port;

	memset(ret, 0, sizeof(*ret));
	ret->any.sa_family = e->family;
	if (e->family == AF_INET) {
		ret->in.sin_port = htons(port);
		memcpy(&ret->in.sin_addr, words, 4);
		inet_map(s, ret);
		return 0;
	}
	ret->in6.sin6_port = htons(port);
	memcpy(&ret->in6.sin6_addr, words, 16);
	inet_map(s, ret);
	if (!e->ifname || (!IN6_IS_ADDR_LINKLOCAL(&ret->in6.sin6_addr) && !IN6_IS_ADDR_MC_LINKLOCAL(&ret->in6.sin6_addr)))
		return 0;
	ret->in6.sin6_scope_id = if_nametoindex(e->ifname);
	if (!ret->in6.sin6_scope_id)
		return cr_fail(s, ENODEV, "the socket %s needs the network device %s, which does not exist here",
			       inet_addr_text(s, ret), common_quote(s, e->ifname));
	return 0;
}

static int is_any(const union addr *a)
{
	union addr none;

	memset(&none, 0, sizeof(none)); /* all of it: an initializer need not set what lies past the first member */
	none.any.sa_family = a->any.sa_family;
	/* NOLINTNEXTLINE(bugprone-suspicious-memory-comparison): both are zeroed, holes too */
	return !memcmp(a, &none, sizeof(none));
}

static int bind_failed(struct cr_session *s, const InetSkEntry *e, const union addr *a, int errnum)
{
	const char *name = inet_proto_name(e->type, e->proto), *text = inet_addr_text(s, a), *holder;

	switch (errnum) {
	case EADDRINUSE:
		holder = inet_is_tcp(e->type, e->proto) || e->proto == IPPROTO_UDP || e->proto == IPPROTO_UDPLITE ?
				 proc_net_holder(s, e->proto, a) : "";
		return cr_fail(s, errnum, "%s address %s is taken%s%s: end the program that has it (ss -anp 'sport = :%u' shows "
			       "it) and restore again", name, text, holder[0] ? " by " : "", holder, e->src_port);
	case EADDRNOTAVAIL:
		return cr_fail(s, errnum, "%s address %s does not exist on this machine: give it to a network device "
			       "(ip address add) or name another one with --map-ip OLD=NEW%s, then restore again", name, text,
			       tcp_is_connected(e->state) && inet_is_tcp(e->type, e->proto) ?
			       ", or drop the connection with --tcp-close" : "");
	case EACCES:
		return cr_fail(s, errnum, "%s address %s cannot be used: ports below the sysctl "
			       "net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE", name, text);
	}
	return cr_fail(s, errnum, "binding a %s socket to %s: %s", name, text, strerror(errnum));
}

int inet_bind(struct cr_session *s, int fd, const InetSkEntry *e)
{
	union addr a;
	int repaired = inet_is_tcp(e->type, e->proto) && tcp_is_connected(e->state);
	int err = inet_make_addr(s, e, INET_LOCAL, &a);

	/* raw sockets have their protocol as the port */
	if (e->type == SOCK_RAW)
		e->family == AF_INET ? (void)(a.in.sin_port = 0) : (void)(a.in6.sin6_port = 0);
	if (err < 0 || is_any(&a))
		return err;
	if (repaired) /* repair mode has a stronger form of it */
		err = 0;
	else if (inet_is_tcp(e->type, e->proto))
		err = sock_set_int(s, fd, SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR");
	else if (e->opts->has_reuseaddr && e->opts->reuseaddr)
		err = sock_set_int(s, fd, SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR");
	if (!err && e->opts->has_so_reuseport && e->opts->so_reuseport)
		err = sock_set_int(s, fd, SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT");
	if (err < 0)
		return err;
	return bind(fd, &a.any, inet_addr_len(&a)) ? bind_failed(s, e, &a, errno) : 0;
}

static int restore_connect(struct cr_session *s, int fd, const InetSkEntry *e)
{
	union addr a;
	int err = inet_make_addr(s, e, INET_PEER, &a);

	if (err < 0 || is_any(&a))
		return err;
	if (connect(fd, &a.any, inet_addr_len(&a)))
		return cr_fail(s, errno, "connecting a %s socket to %s: %s", inet_proto_name(e->type, e->proto),
			       inet_addr_text(s, &a), strerror(errno));
	if (e->has_shutdown && e->shutdown != SK_SHUTDOWN__NONE && shutdown(fd, (int)e->shutdown - 1))
		return cr_fail(s, errno, "shutting down a socket: %s", strerror(errno));
	return 0;
}

static int restore_state(struct cr_session *s, int fd, const InetSkEntry *e)
{
	int tcp = inet_is_tcp(e->type, e->proto);

	if (!tcp)
		return e->state == SK_ESTABLISHED ? restore_connect(s, fd, e) : 0;
	if (e->state != SK_LISTEN)
		return 0;
	return listen(fd, MIN_OF(e->backlog, (uint32_t)INT32_MAX)) ?
		       cr_fail(s, errno, "listening on port %u: %s", e->src_port, strerror(errno)) : 0;
}

int inet_bind_device(struct cr_session *s, int fd, const char *name)
{
	if (!name || !setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, strlen(name) + 1))
		return 0;
	return cr_fail(s, errno, "binding a socket to the network device %s: %s", common_quote(s, name), strerror(errno));
}

/* Is it connected, or about to be? */
static int has_connection(const InetSkEntry *e)
{
	return inet_is_tcp(e->type, e->proto) && e->state != SK_LISTEN && e->state != SK_CLOSE;
}

/* The connection of a socket that has one: kept or dropped, as the user wants. */
static int load_connection(struct cr_session *s, struct cr_file *f, const InetSkEntry *e)
{
	union addr src, dst;

	if (s->core->option_flag(s, "tcp-close") || !tcp_is_connected(e->state))
		return 0;
	if (e->proto == IPPROTO_TCP && s->core->option_flag(s, "tcp-established"))
		return tcp_load(s, f);
	inet_make_addr(s, e, INET_LOCAL, &src);
	inet_make_addr(s, e, INET_PEER, &dst);
	return cr_fail(s, EOPNOTSUPP, "the image has the TCP connection %s -> %s: --tcp-established restores it, --tcp-close "
		       "makes an unconnected socket of it", inet_addr_text(s, &src), inet_addr_text(s, &dst));
}

static int set_address(struct cr_session *s, struct cr_file *f, int fd, const InetSkEntry *e)
{
	struct inet_priv *p = s->core->file_priv(f);
	int err;

	if (p->stream)
		return tcp_open(s, f, fd);
	if (p->closed)
		return tcp_closed_open(s, f, fd);
	if (has_connection(e) && s->core->option_flag(s, "tcp-close"))
		return 0;
	err = inet_bind(s, fd, e);
	if (has_connection(e)) /* connect(2) follows at the very end */
		p->opened = !err && !inet_is_reconnect(e);
	else if (!err)
		err = restore_state(s, fd, e);
	return err;
}

/*
 * Of a socket without connections.  Its queue is filled first, when nothing is in the way; options, mark and
 * broadcast too, matter to bind(2) and connect(2), and the filter shall be there before the first datagram.
 */
static int set_up_dgram(struct cr_session *s, struct cr_file *f, int fd, const InetSkEntry *e)
{
	int err = queue_restore(s, f, fd, e);

	if (!err)
		err = inet_bind_device(s, fd, e->opts->so_bound_dev);
	if (!err)
		err = inet_opts_restore(s, f, fd, e);
	if (!err) /* IP_TOS has changed SO_PRIORITY */
		err = sock_opts_restore(s, fd, e->opts);
	if (!err)
		err = sock_buffers_restore(s, fd, e->opts);
	if (!err)
		err = members_restore(s, f, fd);
	return err ? err : set_address(s, f, fd, e);
}

static int set_up_stream(struct cr_session *s, struct cr_file *f, int fd, const InetSkEntry *e)
{
	const struct inet_priv *p = s->core->file_priv(f);
	int err = inet_bind_device(s, fd, e->opts->so_bound_dev);

	if (!err)
		err = inet_opts_restore(s, f, fd, e);
	if (!err) /* they make segments smaller */
		err = keys_restore(s, f, fd, e);
	if (!err)
		err = sock_buffers_restore(s, fd, e->opts);
	if (!err)
		err = set_address(s, f, fd, e);
	if (!err && !p->stream) /* a connection has them already */
		err = sock_opts_restore(s, fd, e->opts);
	return err;
}

static int set_up(struct cr_session *s, struct cr_file *f, int fd, const InetSkEntry *e)
{
	/* before bind(2): sockets share a port (SO_REUSEPORT) only with those of the same user */
	int err = sock_owner_restore(s, inet_state(s)->extra, f, fd);

	if (!err)
		err = e->type == SOCK_STREAM ? set_up_stream(s, f, fd, e) : set_up_dgram(s, f, fd, e);
	if (!err)
		err = sock_lock_restore(s, inet_state(s)->extra, f, fd);
	return err ? err : common_set_flags(s, fd, e->flags);
}

int inet_load(struct cr_session *s, struct cr_file *f, const void *data, size_t len)
{
	struct inet_priv *p = s->core->file_priv(f);
	InetSkEntry *e = common_load(s, &inet_sk_entry__descriptor, data, len);
	size_t words;

	if (!e)
		return -EPROTO;
	words = e->family == AF_INET6 ? 4 : 1;
	if ((e->family != AF_INET && e->family != AF_INET6) || e->n_src_addr != words || e->n_dst_addr != words ||
	    e->src_port > 65535 || e->dst_port > 65535 || e->type > SOCK_RAW)
		return cr_fail(s, EPROTO, "the image has a broken socket: family %u, type %u, %zu and %zu words of addresses, "
			       "ports %u and %u", e->family, e->type, e->n_src_addr, e->n_dst_addr, e->src_port, e->dst_port);
	p->e = e;
	if (has_connection(e))
		return load_connection(s, f, e);
	return inet_is_tcp(e->type, e->proto) && e->state == SK_CLOSE ? tcp_closed_load(s, f) : 0;
}

static int no_socket(struct cr_session *s, const InetSkEntry *e, int errnum)
{
	return cr_fail(s, errnum, "making a %s socket: %s", inet_proto_name(e->type, e->proto), strerror(errnum));
}

int inet_open(struct cr_session *s, struct cr_file *f, int *ret_fd)
{
	const struct inet_priv *p = s->core->file_priv(f);
	const InetSkEntry *e = p->e;
	_cleanup_fd_ int fd = -1;
	int err = p->stream ? lock_hold(s) : 0;

	if (err < 0)
		return err;
	fd = socket(e->family, e->type | SOCK_CLOEXEC, e->proto);
	if (fd < 0)
		return no_socket(s, e, errno);
	err = set_up(s, f, fd, e);
	if (err < 0)
		return err;
	*ret_fd = fd;
	fd = -1;
	return CR_OK;
}

/* ---- check --images ---- */

/* Datagrams of somebody else could come to a socket that shares a port with his. */
static int may_share(const InetSkEntry *e)
{
	return e->type == SOCK_DGRAM &&
	       ((e->opts->has_reuseaddr && e->opts->reuseaddr) || (e->opts->has_so_reuseport && e->opts->so_reuseport));
}

/* A socket gets the address for this moment only, and never listens; where that could disturb, only without the port. */
static int try_address(struct cr_session *s, struct cr_file *f, int fd, const InetSkEntry *e)
{
	const struct inet_priv *p = s->core->file_priv(f);
	InetSkEntry alone = *e;

	if (p->stream)
		return tcp_check_image(s, f, fd);
	if (p->closed)
		return tcp_closed_bind(s, f, fd);
	if (may_share(e))
		alone.src_port = 0;
	return inet_bind(s, fd, &alone);
}

int inet_check_image(struct cr_session *s, struct cr_file *f)
{
	const struct inet_priv *p = s->core->file_priv(f);
	const InetSkEntry *e = p->e;
	_cleanup_fd_ int fd = -1;
	int err;

	if (has_connection(e) && s->core->option_flag(s, "tcp-close"))
		return 0;
	fd = socket(e->family, e->type | SOCK_CLOEXEC, e->proto);
	if (fd < 0)
		return no_socket(s, e, errno);
	err = inet_bind_device(s, fd, e->opts->so_bound_dev);
	if (!err)
		err = inet_opts_restore(s, f, fd, e);
	if (!err)
		err = sock_opts_restore(s, fd, e->opts);
	return err ? err : try_address(s, f, fd, e);
}

int inet_wire(struct cr_session *s, struct cr_file *f)
{
	const struct inet_priv *p = s->core->file_priv(f);
	int err = tcp_wire(s, f);

	return err ? err : common_fown_restore(s, f, p->e->fown);
}
