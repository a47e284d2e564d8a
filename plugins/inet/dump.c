/* SPDX-License-Identifier: MIT */
/*
 * dump.c: a socket becomes a message.
 *
 * Everything is asked of the socket itself: TCP_INFO tells the state and the backlog,
 * getsockname(2) and getpeername(2) the addresses, poll(2) whether it was shut down.
 * Addresses are stored as the words they have in memory, ports as numbers.
 */
#include "inet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>

#include "dgram.h"
#include "diag.h"
#include "lock.h"
#include "tcp.h"
#include "util.h"

static uint32_t *addr_words(struct cr_session *s, const union addr *a, size_t *ret_n)
{
	size_t n = a->any.sa_family == AF_INET6 ? 4 : 1;
	uint32_t *v = s->core->alloc(s, n * sizeof(*v));

	memcpy(v, n == 4 ? (const void *)&a->in6.sin6_addr : (const void *)&a->in.sin_addr, n * sizeof(*v));
	*ret_n = n;
	return v;
}

static uint32_t port_of(const union addr *a)
{
	return ntohs(a->any.sa_family == AF_INET6 ? a->in6.sin6_port : a->in.sin_port);
}

/* Addresses of the link that are the same on every link need the device. */
static void dump_scope(struct cr_session *s, const struct facts *k, InetSkEntry *e)
{
	char name[IF_NAMESIZE];
	uint32_t scope = 0;

	if (k->family == AF_INET6)
		scope = k->src.in6.sin6_scope_id ? k->src.in6.sin6_scope_id : k->dst.in6.sin6_scope_id;
	if (scope && if_indextoname(scope, name))
		e->ifname = common_strdup(s, name);
}

/* Datagram sockets: where the kernel lists them it tells; an end for sending that alone is shut cannot be seen otherwise. */
static void dump_shutdown(struct cr_session *s, int fd, const struct facts *k, InetSkEntry *e)
{
	struct pollfd p = { .fd = fd, .events = POLLRDHUP };
	struct diag_facts d;

	if (e->type == SOCK_STREAM || k->state != SK_ESTABLISHED)
		return;
	if ((k->proto == IPPROTO_UDP || k->proto == IPPROTO_UDPLITE) && !inet_diag_facts(s, fd, k, &d)) {
		e->has_shutdown = d.shutdown != 0;
		e->shutdown = (SkShutdown)d.shutdown;
		return;
	}
	if (poll(&p, 1, 0) <= 0 || !(p.revents & POLLRDHUP))
		return;
	e->has_shutdown = 1;
	e->shutdown = p.revents & POLLHUP ? SK_SHUTDOWN__BOTH : SK_SHUTDOWN__READ;
}

static void encode(struct cr_session *s, const struct facts *k, InetSkEntry *e)
{
	e->family = k->family;
	e->type = k->type;
	e->proto = k->proto;
	e->state = k->state;
	e->backlog = k->backlog;
	e->src_port = port_of(&k->src);
	e->dst_port = port_of(&k->dst);
	e->src_addr = addr_words(s, &k->src, &e->n_src_addr);
	e->dst_addr = addr_words(s, &k->dst, &e->n_dst_addr);
}

/* The end for reading of a connection that the program has shut down itself; all else is told by the state. */
static void dump_tcp_shutdown(int fd, const struct facts *k, InetSkEntry *e)
{
	struct pollfd p = { .fd = fd, .events = POLLRDHUP };

	if (tcp_got_fin(k->state) || poll(&p, 1, 0) <= 0 || !(p.revents & POLLRDHUP))
		return;
	e->has_shutdown = 1;
	e->shutdown = SK_SHUTDOWN__READ;
}

/* --tcp-close: what is left of a connection is a socket without one. */
static void forget_connection(struct facts *k)
{
	k->state = SK_CLOSE;
	memset(&k->src, 0, sizeof(k->src));
	memset(&k->dst, 0, sizeof(k->dst));
	k->src.any.sa_family = k->dst.any.sa_family = k->family;
}

/* What becomes of a TCP socket that is connected, or about to be: k as the image shall have it.  1: its connection is kept. */
static int choose_connection(struct cr_session *s, struct cr_file *f, struct facts *k)
{
	if (inet_reconnects(s, f, k)) {
		inet_to_reconnect(s, f, k);
		return 0;
	}
	/* check() has seen to it that the user wants it */
	if (s->core->option_flag(s, "tcp-close")) {
		forget_connection(k);
		return 0;
	}
	if (tcp_is_connected(k->state))
		return 1;
	if (k->state != TCP_ST_SYN_SENT)
		forget_connection(k);
	return 0;
}

/*
 * A connection that is dropped ends as the program's end makes it: what is left of it for a minute (TIME_WAIT) must not keep
 * the port from the restored listener.  That is so when both were bound for reuse; the listener is, at restore.
 * The option of a connected MPTCP socket cannot be changed.
 */
static int leave_port(struct cr_session *s, int fd, const struct facts *k)
{
	char text[40];
	int err;

	if (k->proto != IPPROTO_TCP || sock_get_int(fd, SOL_SOCKET, SO_REUSEADDR) > 0)
		return 0;
	snprintf(text, sizeof(text), "%d %d 0", SOL_SOCKET, SO_REUSEADDR);
	err = s->core->undo(s, CR_UNDO_SOCKOPT, fd, text, 1);
	return err < 0 ? err : sock_set_int(s, fd, SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR");
}

/*
 * Several sockets with SO_REUSEPORT on a port may have a program that chooses among them.  It cannot be read, and asking
 * whether there is one takes it away.
 */
static void tell_shared(struct cr_session *s, const struct facts *k, const SkOptsEntry *opts)
{
	const uint32_t key[] = { k->proto, port_of(&k->src) };
	int is_new = 1;

	if (!opts->has_so_reuseport || !opts->so_reuseport || !port_of(&k->src) || k->state == SK_ESTABLISHED)
		return;
	s->core->id(s, "inet-shared-port", key, sizeof(key), &is_new);
	if (is_new || inet_state(s)->shared_told)
		return;
	inet_state(s)->shared_told = 1;
	cr_lost(s, NULL, "a program that chooses among the sockets of %s port %u (SO_ATTACH_REUSEPORT_CBPF, _EBPF), if there "
		"is one", inet_proto_name(k->type, k->proto), key[1]);
}

int inet_dump(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	InetSkEntry e = INET_SK_ENTRY__INIT;
	SkOptsEntry opts;
	struct facts k;
	FownEntry fown;
	int err = inet_facts(lfd, &k), keep = 0, dropped = 0;

	if (err < 0)
		return cr_fail(s, -err, "asking the socket for its addresses: %s", strerror(-err));
	if (inet_is_tcp(k.type, k.proto) && k.state == SK_CLOSE) {
		tcp_closed_mark(s, f, lfd, &k);
	} else if (inet_is_tcp(k.type, k.proto) && k.state != SK_LISTEN) {
		keep = choose_connection(s, f, &k);
		dropped = !keep;
		err = keep ? lock_dump(s) : 0; /* of one that is dropped the other side shall hear */
	}
	if (err < 0)
		return err;
	err = inet_queue_dump(s, f, lfd, &k);
	if (err < 0)
		return err;
	err = sock_opts_dump(s, lfd, &opts);
	if (err < 0)
		return err;
	tell_shared(s, &k, &opts);
	common_fown_dump(s, f, &fown);
	e.id = s->core->file_id(f);
	e.ino = info->st.st_ino;
	e.flags = info->flags;
	e.fown = &fown;
	e.opts = &opts;
	encode(s, &k, &e);
	dump_scope(s, &k, &e);
	dump_shutdown(s, lfd, &k, &e);
	if (keep)
		dump_tcp_shutdown(lfd, &k, &e);
	err = inet_opts_dump(s, f, lfd, &k, &e);
	if (!err)
		err = members_dump(s, f, lfd, &k);
	if (!err && inet_is_tcp(k.type, k.proto))
		err = keys_dump(s, f, lfd, &k);
	if (!err)
		err = sock_owner_dump(s, &inet_img_extra, f, &info->st);
	if (!err && keep)
		err = tcp_dump(s, f, lfd, &k, info->st.st_ino);
	if (!err && dropped)
		err = leave_port(s, lfd, &k);
	return err < 0 ? err : common_emit_msg(s, f, &e);
}
