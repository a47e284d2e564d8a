/* SPDX-License-Identifier: MIT */
/*
 * inet.c: sockets of IPv4 and IPv6.
 *
 * Listening TCP sockets, TCP sockets without a connection, UDP, ping and raw sockets
 * are kept.  A TCP connection is not: the other side would not know of it; the user
 * may ask for an unconnected socket in its place (--tcp-close).
 */
#include "inet.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "util.h"

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

static int check_tcp(struct cr_session *s, const struct facts *k)
{
	const char *name = inet_proto_name(k->type, k->proto);

	if (k->state == SK_LISTEN) {
		if (!k->waiting || s->core->option_flag(s, "skip-in-flight"))
			return 0;
		return cr_refuse(s, "--skip-in-flight, which drops them", "%u connections to the %s socket %s wait to be "
				 "accepted", k->waiting, name, inet_addr_text(s, &k->src));
	}
	if (k->state == SK_CLOSE || s->core->option_flag(s, "tcp-close"))
		return 0;
	return cr_refuse(s, "--tcp-close, which drops the connection, or close it first", "connected %s socket %s -> %s", name,
			 inet_addr_text(s, &k->src), inet_addr_text(s, &k->dst));
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
	return inet_is_tcp(k.type, k.proto) ? check_tcp(s, &k) : 0;
}

static int inet_stage(struct cr_session *s)
{
	return sock_extra_load(s, &inet_img_extra, &inet_state(s)->extra);
}

static const struct cr_option option_tcp_close = {
	.size = sizeof(struct cr_option),
	.name = "tcp-close",
	.rpc_field = "tcp_close",
	.kind = CR_OPT_FLAG,
	.help = "Make an unconnected socket of every connected TCP socket.",
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
};
static const struct cr_file_kind *const inet_kinds[] = { &inet_kind, NULL };
static const struct cr_option *const inet_options[] = { &option_tcp_close, &option_skip, NULL };
static const struct cr_img_type *const inet_images[] = { &inet_img_extra, NULL };
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
	.stage = inet_stage,
};
CR_PLUGIN_REGISTER(inet_plugin);
