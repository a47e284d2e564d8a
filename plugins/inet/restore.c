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
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include "util.h"

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
	return 0;
}

int inet_key(struct cr_session *s, struct cr_file *f, char *buf, size_t size)
{
	const struct inet_priv *p = s->core->file_priv(f);

	snprintf(buf, size, "socket:[%" PRIu32 "]", p->e->ino);
	return 0;
}

static int make_addr(struct cr_session *s, const InetSkEntry *e, const uint32_t *words, uint32_t port, union addr *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->any.sa_family = e->family;
	if (e->family == AF_INET) {
		ret->in.sin_port = htons(port);
		memcpy(&ret->in.sin_addr, words, 4);
		return 0;
	}
	ret->in6.sin6_port = htons(port);
	memcpy(&ret->in6.sin6_addr, words, 16);
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
	const char *name = inet_proto_name(e->type, e->proto), *text = inet_addr_text(s, a);

	switch (errnum) {
	case EADDRINUSE:
		return cr_fail(s, errnum, "%s address %s is taken: end the program that has it (ss -anp 'sport = :%u' shows it) "
			       "and restore again", name, text, e->src_port);
	case EADDRNOTAVAIL:
		return cr_fail(s, errnum, "%s address %s does not exist on this machine: give it to a network device "
			       "(ip address add), then restore again", name, text);
	case EACCES:
		return cr_fail(s, errnum, "%s address %s cannot be used: ports below the sysctl "
			       "net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE", name, text);
	}
	return cr_fail(s, errnum, "binding a %s socket to %s: %s", name, text, strerror(errnum));
}

static int restore_bind(struct cr_session *s, int fd, const InetSkEntry *e)
{
	union addr a;
	int err = make_addr(s, e, e->src_addr, e->src_port, &a);

	/* raw sockets have their protocol as the port */
	if (e->type == SOCK_RAW)
		e->family == AF_INET ? (void)(a.in.sin_port = 0) : (void)(a.in6.sin6_port = 0);
	if (err < 0 || is_any(&a))
		return err;
	if (inet_is_tcp(e->type, e->proto))
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
	int err = make_addr(s, e, e->dst_addr, e->dst_port, &a);

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

static int bind_device(struct cr_session *s, int fd, const char *name)
{
	if (!name || !setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, strlen(name) + 1))
		return 0;
	return cr_fail(s, errno, "binding a socket to the network device %s: %s", common_quote(s, name), strerror(errno));
}

/* Was it connected? Then only a socket without the connection can be made, if the user wants that. */
static int lost_connection(struct cr_session *s, const InetSkEntry *e)
{
	union addr src, dst;

	if (!inet_is_tcp(e->type, e->proto) || e->state == SK_LISTEN || e->state == SK_CLOSE)
		return 0;
	if (s->core->option_flag(s, "tcp-close"))
		return 1;
	make_addr(s, e, e->src_addr, e->src_port, &src);
	make_addr(s, e, e->dst_addr, e->dst_port, &dst);
	return cr_fail(s, EOPNOTSUPP, "the TCP connection %s -> %s cannot be restored: --tcp-close makes an unconnected socket "
		       "of it", inet_addr_text(s, &src), inet_addr_text(s, &dst));
}

static int set_up(struct cr_session *s, struct cr_file *f, int fd, const InetSkEntry *e)
{
	int lost = lost_connection(s, e);
	int err = lost < 0 ? lost : bind_device(s, fd, e->opts->so_bound_dev);

	if (!err)
		err = inet_opts_restore(s, f, fd, e);
	if (!err)
		err = sock_buffers_restore(s, fd, e->opts);
	if (!err && !lost)
		err = restore_bind(s, fd, e);
	if (!err && !lost)
		err = restore_state(s, fd, e);
	if (!err)
		err = sock_opts_restore(s, fd, e->opts);
	return err ? err : common_set_flags(s, fd, e->flags);
}

int inet_open(struct cr_session *s, struct cr_file *f, int *ret_fd)
{
	const struct inet_priv *p = s->core->file_priv(f);
	const InetSkEntry *e = p->e;
	_cleanup_fd_ int fd = socket(e->family, e->type | SOCK_CLOEXEC, e->proto);
	int err;

	if (fd < 0)
		return cr_fail(s, errno, "making a %s socket: %s", inet_proto_name(e->type, e->proto), strerror(errno));
	err = set_up(s, f, fd, e);
	if (err < 0)
		return err;
	*ret_fd = fd;
	fd = -1;
	return CR_OK;
}

int inet_wire(struct cr_session *s, struct cr_file *f)
{
	const struct inet_priv *p = s->core->file_priv(f);

	return common_fown_restore(s, f, p->e->fown);
}
