/* SPDX-License-Identifier: MIT */
/*
 * unix.c: sockets of the family AF_UNIX.
 *
 * Both ends of a connection have to be in the tree, or be given up: a process outside
 * would not notice that its peer is another one now.  See unix.h for the parts.
 */
#include "unix.h"

static int unix_match(const struct cr_file_info *info)
{
	return S_ISSOCK(info->st.st_mode) && info->sock_domain == AF_UNIX ? CR_SPECIFIC : CR_NOT_MINE;
}

static void unix_done(struct cr_session *s, int error)
{
	struct unix_state *st = unix_state(s);

	if (s->core->mode(s) == CR_MODE_RESTORE)
		name_undo(s, error);
	for (size_t i = 0; i < st->facts.n; i++)
		free(st->facts.v[i].icons);
	for (size_t i = 0; i < st->packets.n; i++)
		free(st->packets.v[i].data);
	for (size_t i = 0; i < st->peeked.n; i++) {
		free(st->peeked.v[i].data);
		free(st->peeked.v[i].rights);
	}
	vec_free(&st->peeked);
	vec_free(&st->facts);
	vec_free(&st->files);
	vec_free(&st->socks);
	vec_free(&st->packets);
	vec_free(&st->peers);
	vec_free(&st->moved);
	vec_free(&st->creds);
	vec_free(&st->unfinished);
}

static const struct cr_option option_external = {
	.size = sizeof(struct cr_option),
	.name = "ext-unix-sk",
	.rpc_field = "ext_unix_sk",
	.kind = CR_OPT_FLAG,
	.help = "Allow datagram sockets that are connected to a named unix socket outside of the tree; restore connects "
		"them to that name.",
};

static const struct cr_option option_peer = {
	.size = sizeof(struct cr_option),
	.name = "unix-peer",
	.kind = CR_OPT_STRING,
	.modes = 1u << CR_MODE_DUMP | 1u << CR_MODE_CHECK,
	.arg = "fail|close",
	.fallback = "fail",
	.help = "What becomes of a unix socket whose peer is a process outside of the tree: the dump fails, or the restored "
		"socket finds that its peer has closed.",
};

static const struct cr_file_kind unix_kind = {
	.size = sizeof(struct cr_file_kind),
	.name = "unix",
	.fd_type = 5,
	.field = 16,
	.priv_size = 16,
	.match = unix_match,
	.check = unix_check,
	.dump = unix_dump,
	.load = unix_load,
	.open = unix_open,
	.wire = unix_wire,
	.inherit_key = unix_key,
	.check_image = unix_check_image,
	.policies = 1u << CR_POLICY_RESTORE | 1u << CR_POLICY_RECONNECT,
};
static const struct cr_file_kind *const unix_kinds[] = { &unix_kind, NULL };
static const struct cr_option *const unix_options[] = { &option_external, &option_peer, NULL };
static const struct cr_img_type *const unix_images[] = { &unix_img_queues, &unix_img_packets, &unix_img_moved,
	&unix_img_extra, &unix_img_peers, &unix_img_creds,
							   NULL };
static const char *const unix_externals[] = { "unix[", "socket[", NULL };

static const struct cr_plugin unix_plugin = {
	.size = sizeof(struct cr_plugin),
	.abi = CR_ABI,
	.name = "unix",
	.version = "0.1",
	.summary = "Keeps unix sockets, their connections and what is in their queues.",
	.options = unix_options,
	.files = unix_kinds,
	.images = unix_images,
	.externals = unix_externals,
	.prepare = check_prepare,
	.dump_late = check_summary,
	.stage = unix_stage,
	.restored = queue_fill_late,
	.done = unix_done,
	.caps = (const char *const[]){ "CAP_NET_ADMIN: relative names of sockets, queues beyond the limits",
				      "CAP_SYS_CHROOT: names whose file is gone or was renamed, names of senders",
				      "CAP_CHOWN: sockets of another user", NULL },
};
CR_PLUGIN_REGISTER(unix_plugin);
