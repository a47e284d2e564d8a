/* SPDX-License-Identifier: MIT */
/*
 * inet.c: sockets of IPv4 and IPv6.
 *
 * Listening TCP sockets, TCP sockets without a connection, UDP, ping and raw sockets
 * are kept.  A TCP connection is so if the user wants it (--tcp-established); else he
 * may ask for an unconnected socket in its place (--tcp-close).
 */
#include "inet.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "dgram.h"
#include "diag.h"
#include "lock.h"
#include "tcp.h"
#include "util.h"

int inet_is_ours(struct cr_session *s, const struct cr_file *f)
{
	const char *kind = s->core->file_kind(f);

	return kind && !strcmp(kind, "inet");
}

static int inet_match(const struct cr_file_info *info)
{
	if (!S_ISSOCK(info->st.st_mode) || (info->sock_domain != AF_INET && info->sock_domain != AF_INET6))
		return CR_NOT_MINE;
	return CR_SPECIFIC;
}

static int is_known(const struct facts *k)
{
	if (inet_is_tcp(k->type, k->proto) || k->type == SOCK_RAW)
		return 1;
	if (k->type != SOCK_DGRAM)
		return 0;
	return k->proto == IPPROTO_UDP || k->proto == IPPROTO_UDPLITE || k->proto == IPPROTO_ICMP ||
	       k->proto == IPPROTO_ICMPV6;
}

/* Connections that the program has not accepted. */
static int check_listener(struct cr_session *s, const struct facts *k)
{
	const char *name = inet_proto_name(k->type, k->proto), *src = inet_addr_text(s, &k->src);
	uint32_t half;

	if (s->core->option_flag(s, "skip-in-flight"))
		return 0;
	half = proc_net_half_open(&k->src);
	if (half)
		cr_refuse(s, "--skip-in-flight, which drops them", "%u connections to the %s socket %s are half open (SYN_RECV)",
			  half, name, src);
	return k->waiting ? cr_refuse(s, "--skip-in-flight, which drops them", "%u connections to the %s socket %s wait to be "
				      "accepted", k->waiting, name, src) : half ? -EOPNOTSUPP : 0;
}

static int check_tcp(struct cr_session *s, struct cr_file *f, int lfd, const struct facts *k)
{
	int err;

	if (k->state == SK_CLOSE || inet_reconnects(s, f, k))
		return 0;
	err = tcp_is_connected(k->state) ? inet_check_reconnect(s, f, k) : 0;
	if (err < 0)
		return err;
	err = s->core->option_flag(s, "tcp-close") && k->state != SK_LISTEN ? 0 : keys_check(s, lfd, k);
	if (err < 0)
		return err;
	return k->state == SK_LISTEN ? check_listener(s, k) : tcp_check(s, lfd, k);
}

static int inet_check(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	struct facts k;
	int err;

	if (lfd < 0)
		return 0;
	err = inet_facts(lfd, &k);
	if (err < 0)
		return cr_refuse(s, NULL, "the socket does not tell its addresses: %s", strerror(-err));
	if (!is_known(&k))
		return cr_refuse(s, "close it first", "%s socket of type %d: this protocol is not supported",
				 inet_proto_name(k.type, k.proto), k.type);
	if (sock_in_other_netns(lfd))
		return cr_refuse(s, NULL, "%s socket %s belongs to another network namespace",
				 inet_proto_name(k.type, k.proto), inet_addr_text(s, &k.src));
	return inet_is_tcp(k.type, k.proto) ? check_tcp(s, f, lfd, &k) : 0;
}

static int inet_stage(struct cr_session *s)
{
	int err = lock_options(s);

	if (!err)
		err = lock_load(s);
	if (!err)
		err = dgram_load(s);
	if (!err)
		err = inet_map_stage(s);
	return err ? err : sock_extra_load(s, &inet_img_extra, &inet_state(s)->extra);
}

static int inet_prepare(struct cr_session *s)
{
	int err = lock_options(s);

	return err ? err : dgram_options(s);
}

static int inet_dump_late(struct cr_session *s)
{
	int err = tcp_dump_late(s);

	queue_dump_late(s);
	if (!err)
		err = tcp_closed_dump(s);
	return err ? err : lock_seal(s);
}

/* Packets pass before repair mode ends, which may send some. */
static int inet_resume(struct cr_session *s)
{
	int err = lock_resume(s);

	return err ? err : tcp_restored(s);
}

static void inet_done(struct cr_session *s, int error)
{
	tcp_done(s, error);
	lock_done(s);
	dgram_done(s);
}

static const struct cr_option option_tcp_close = {
	.size = sizeof(struct cr_option),
	.name = "tcp-close",
	.rpc_field = "tcp_close",
	.kind = CR_OPT_FLAG,
	.help = "Make an unconnected socket of every connected TCP socket; goes before --tcp-established.",
};
static const struct cr_option option_tcp_established = {
	.size = sizeof(struct cr_option),
	.name = "tcp-established",
	.rpc_field = "tcp_established",
	.kind = CR_OPT_FLAG,
	.help = "Keep TCP connections.",
};
static const struct cr_option option_map_ip = {
	.size = sizeof(struct cr_option),
	.name = "map-ip",
	.kind = CR_OPT_LIST,
	.modes = 1 << CR_MODE_RESTORE | 1 << CR_MODE_CHECK,
	.arg = "OLD=NEW",
	.help = "Sockets get the address NEW where they, or their other side, had OLD.",
};
static const struct cr_option option_skip = {
	.size = sizeof(struct cr_option),
	.name = "skip-in-flight",
	.rpc_field = "tcp_skip_in_flight",
	.kind = CR_OPT_FLAG,
	.modes = 1 << CR_MODE_DUMP | 1 << CR_MODE_CHECK,
	.help = "Drop TCP connections that the tree has not accepted yet.",
};

static const struct cr_file_kind inet_kind = {
	.size = sizeof(struct cr_file_kind),
	.name = "inet",
	.fd_type = 4,
	.field = 4,
	.priv_size = sizeof(struct inet_priv),
	.match = inet_match,
	.check = inet_check,
	.dump = inet_dump,
	.load = inet_load,
	.open = inet_open,
	.wire = inet_wire,
	.inherit_key = inet_key,
	.check_image = inet_check_image,
	.policies = 1u << CR_POLICY_RESTORE | 1u << CR_POLICY_RECONNECT,
};
static const struct cr_file_kind *const inet_kinds[] = { &inet_kind, NULL };
static const struct cr_option *const inet_options[] = { &option_tcp_established, &option_tcp_close, &option_skip,
							 &option_map_ip, &inet_option_lock, &inet_option_cork, NULL };
static const struct cr_img_type *const inet_images[] = { &inet_img_stream, &inet_img_closed, &inet_img_extra, &inet_img_lock,
							 &inet_img_dgrams, &inet_img_members, &inet_img_keys, NULL };
static const char *const inet_externals[] = { "socket[", NULL };

static const struct cr_plugin inet_plugin = {
	.size = sizeof(struct cr_plugin),
	.abi = CR_ABI,
	.name = "inet",
	.version = "0.1",
	.summary = "Keeps TCP, UDP and raw sockets of IPv4 and IPv6.",
	.options = inet_options,
	.files = inet_kinds,
	.images = inet_images,
	.externals = inet_externals,
	.prepare = inet_prepare,
	.dump_late = inet_dump_late,
	.stage = inet_stage,
	.restored = inet_reconnect_all,
	.done = inet_done,
	.resume = inet_resume,
	.undo = lock_undo,
	.caps = (const char *const[]){ "CAP_NET_ADMIN: TCP connections, locking them, socket options beyond the limits",
				      "CAP_NET_RAW: half closed connections, datagrams that wait",
				      "CAP_NET_BIND_SERVICE: ports below net.ipv4.ip_unprivileged_port_start",
				      "CAP_CHOWN: sockets of another user", NULL },
};
CR_PLUGIN_REGISTER(inet_plugin);
