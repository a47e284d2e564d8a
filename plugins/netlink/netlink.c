/* SPDX-License-Identifier: MIT */
/*
 * netlink.c: netlink(7) sockets.
 *
 * A socket is its protocol, its address, the groups that it listens to and its
 * options.  What the kernel has sent and nobody has read is lost, see unread.c.  Protocols of which the
 * kernel keeps more about a socket (queues of netfilter, the audit daemon) are refused.
 */
#include "netlink.h"

#include <errno.h>
#include <linux/netlink.h>
#include <string.h>
#include <unistd.h>

#include "sk-netlink.pb-c.h"

enum { STATE_CONNECTED = 1, STATE_CLOSE = 7 };
#define GROUP_WORDS_MAX 128

struct netlink_priv {
	NetlinkSkEntry *e; /* memory of the session */
};

struct facts {
	int protocol;
	struct sockaddr_nl src, dst;
};

static const struct cr_img_type img_extra = { sizeof(img_extra), "x-netlink-options", 0x584e4c4f, 0 };

static const struct sock_extra extra_netlink[] = {
	{ SOL_NETLINK, NETLINK_PKTINFO, 4 },
	{ SOL_NETLINK, NETLINK_BROADCAST_ERROR, 4 },
	{ SOL_NETLINK, NETLINK_NO_ENOBUFS, 4 },
	{ SOL_NETLINK, NETLINK_LISTEN_ALL_NSID, 4 },
	{ SOL_NETLINK, NETLINK_CAP_ACK, 4 },
	{ SOL_NETLINK, NETLINK_EXT_ACK, 4 },
	{ SOL_NETLINK, NETLINK_GET_STRICT_CHK, 4 },
	{ 0, 0, 0 },
};

static int netlink_match(const struct cr_file_info *info)
{
	return S_ISSOCK(info->st.st_mode) && info->sock_domain == AF_NETLINK ? CR_SPECIFIC : CR_NOT_MINE;
}

/* ---- dump ---- */

static int get_facts(int fd, struct facts *k)
{
	socklen_t len = sizeof(k->src);

	memset(k, 0, sizeof(*k));
	k->protocol = sock_get_int(fd, SOL_SOCKET, SO_PROTOCOL);
	if (getsockname(fd, (struct sockaddr *)&k->src, &len))
		return -errno;
	len = sizeof(k->dst);
	return getpeername(fd, (struct sockaddr *)&k->dst, &len) ? -errno : 0;
}

/* Protocols of which a socket has no state beyond its address, groups, options and queue. */
static int is_plain(int protocol)
{
	switch (protocol) {
	case NETLINK_ROUTE:
	case NETLINK_USERSOCK:
	case NETLINK_SOCK_DIAG:
	case NETLINK_XFRM:
	case NETLINK_SELINUX:
	case NETLINK_AUDIT: /* but for the one that is the audit daemon's: the kernel does not tell which */
	case NETLINK_FIB_LOOKUP:
	case NETLINK_CONNECTOR:
	case NETLINK_KOBJECT_UEVENT:
	case NETLINK_GENERIC:
	case NETLINK_SCSITRANSPORT:
	case NETLINK_RDMA:
	case NETLINK_CRYPTO:
		return 1;
	default:
		return 0;
	}
}

/* Whether a line of a file in /proc/net/netfilter has that number as its second word: the port of a socket. */
static int port_listed(const char *path, uint32_t port)
{
	FILE *f = fopen(path, "re");
	unsigned long queue, owner;
	char line[256];
	int found = 0;

	while (f && !found && fgets(line, sizeof(line), f))
		found = sscanf(line, "%lu %lu", &queue, &owner) == 2 && owner == port;
	if (f)
		fclose(f);
	return found;
}

/* A socket that netfilter sends packets to (NFQUEUE, NFLOG) is bound to queues, which cannot be bound for it again. */
static int is_bound_to_queue(int fd)
{
	struct sockaddr_nl a = { 0 };
	socklen_t len = sizeof(a);

	return getsockname(fd, (struct sockaddr *)&a, &len) == 0 && a.nl_pid &&
	       (port_listed("/proc/net/netfilter/nfnetlink_queue", a.nl_pid) ||
		port_listed("/proc/net/netfilter/nfnetlink_log", a.nl_pid));
}

static int netlink_check(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	if (info->sock_protocol == NETLINK_NETFILTER && lfd >= 0 && is_bound_to_queue(lfd))
		return cr_refuse(s, "close it first", "netlink socket that gets packets from netfilter (NFQUEUE or NFLOG)");
	if (!is_plain(info->sock_protocol) && info->sock_protocol != NETLINK_NETFILTER)
		return cr_refuse(s, "close it first", "netlink socket of protocol %d, of which the kernel keeps a state that it "
				 "does not show", info->sock_protocol);
	if (lfd < 0)
		return 0;
	if (sock_in_other_netns(lfd))
		return cr_refuse(s, NULL, "netlink socket that belongs to another network namespace");
	return unread_check(s, lfd);
}

/* Groups as words of bits, group 1 is bit 0 of the first; memory of the session. */
static uint32_t *get_groups(struct cr_session *s, int fd, const struct facts *k, size_t *ret_n)
{
	uint32_t *v = s->core->alloc(s, GROUP_WORDS_MAX * sizeof(*v));
	socklen_t len = GROUP_WORDS_MAX * sizeof(*v);
	size_t n;

	if (getsockopt(fd, SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, v, &len)) {
		v[0] = k->src.nl_groups;
		len = sizeof(*v);
	}
	for (n = MIN_OF(len / sizeof(*v), (size_t)GROUP_WORDS_MAX); n && !v[n - 1]; n--)
		;
	*ret_n = n;
	return v;
}

static int dump_extra(struct cr_session *s, struct cr_file *f, int fd, const struct cr_file_info *info)
{
	_cleanup_fd_ int fresh = socket(AF_NETLINK, info->sock_type | SOCK_CLOEXEC, info->sock_protocol);
	struct sock_extra all[32] = { 0 };
	size_t n = 0;

	if (fresh < 0)
		return cr_fail(s, errno, "making a socket like it to compare with: %s", strerror(errno));
	for (const struct sock_extra *o = sock_extra_common; o->name && n + 1 < ARRAY_SIZE(all); o++)
		all[n++] = *o;
	for (const struct sock_extra *o = extra_netlink; o->name && n + 1 < ARRAY_SIZE(all); o++)
		all[n++] = *o;
	return sock_extra_dump(s, &img_extra, f, fd, fresh, all);
}

static int netlink_dump(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	NetlinkSkEntry e = NETLINK_SK_ENTRY__INIT;
	SkOptsEntry opts;
	struct facts k;
	FownEntry fown;
	int err = get_facts(lfd, &k);

	if (err < 0)
		return cr_fail(s, -err, "asking the socket for its addresses: %s", strerror(-err));
	err = sock_opts_dump(s, lfd, &opts);
	if (!err)
		err = dump_extra(s, f, lfd, info);
	if (!err)
		err = unread_dump(s, f, lfd);
	if (err < 0)
		return err;
	opts.has_so_passcred = opts.has_so_passsec = 1;
	opts.so_passcred = sock_get_int(lfd, SOL_SOCKET, SO_PASSCRED);
	opts.so_passsec = sock_get_int(lfd, SOL_SOCKET, SO_PASSSEC);
	common_fown_dump(s, f, &fown);
	e.id = s->core->file_id(f);
	e.ino = info->st.st_ino;
	e.protocol = k.protocol;
	e.flags = info->flags;
	e.portid = k.src.nl_pid;
	e.groups = get_groups(s, lfd, &k, &e.n_groups);
	e.dst_portid = k.dst.nl_pid;
	e.dst_group = k.dst.nl_groups ? (uint32_t)__builtin_ctz(k.dst.nl_groups) + 1 : 0;
	e.state = e.dst_portid || e.dst_group ? STATE_CONNECTED : STATE_CLOSE;
	e.fown = &fown;
	e.opts = &opts;
	return common_emit_msg(s, f, &e);
}

/* ---- restore ---- */

static int netlink_load(struct cr_session *s, struct cr_file *f, const void *data, size_t len)
{
	struct netlink_priv *p = s->core->file_priv(f);

	p->e = common_load(s, &netlink_sk_entry__descriptor, data, len);
	if (!p->e)
		return -EPROTO;
	if (p->e->n_groups > GROUP_WORDS_MAX || p->e->dst_group > 32)
		return cr_fail(s, EPROTO, "the image has a netlink socket with %zu words of groups, group %u", p->e->n_groups,
			       p->e->dst_group);
	return 0;
}

static int restore_port(struct cr_session *s, int fd, const NetlinkSkEntry *e)
{
	const struct sockaddr_nl a = { .nl_family = AF_NETLINK, .nl_pid = e->portid };

	if (e->portid && bind(fd, (const struct sockaddr *)&a, sizeof(a)))
		return cr_fail(s, errno, "binding a netlink socket of protocol %u to port %u: %s%s", e->protocol, e->portid,
			       strerror(errno), errno == EADDRINUSE ? "; a running program has it" : "");
	return 0;
}

static int restore_name(struct cr_session *s, int fd, const NetlinkSkEntry *e)
{
	struct sockaddr_nl a = { .nl_family = AF_NETLINK, .nl_pid = e->portid };
	int err = restore_port(s, fd, e);

	if (err < 0)
		return err;
	for (size_t i = 0; i < e->n_groups * 32; i++) {
		int group = i + 1;

		if (e->groups[i / 32] >> (i % 32) & 1 &&
		    setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)))
			return cr_fail(s, errno, "joining group %d of netlink protocol %u: %s", group, e->protocol,
				       strerror(errno));
	}
	if (e->state != STATE_CONNECTED)
		return 0;
	a.nl_pid = e->dst_portid;
	a.nl_groups = e->dst_group ? 1u << (e->dst_group - 1) : 0;
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)))
		return cr_fail(s, errno, "connecting a netlink socket to port %u: %s", e->dst_portid, strerror(errno));
	return 0;
}

static int set_up(struct cr_session *s, struct cr_file *f, int fd, const NetlinkSkEntry *e)
{
	static const struct sock_extra *const lists[] = { sock_extra_common, extra_netlink, NULL };
	int err = sock_extra_restore(s, netlink_state(s)->extra, f, fd, lists);

	if (!err && unread_is_lost(s, f)) {
		err = restore_port(s, fd, e);
		if (!err)
			unread_tell(s, fd, e->protocol);
	}
	if (!err)
		err = sock_buffers_restore(s, fd, e->opts);
	/* the filter is there before the first message */
	if (!err)
		err = sock_opts_restore(s, fd, e->opts);
	if (!err)
		err = sock_lock_restore(s, netlink_state(s)->extra, f, fd);
	if (!err)
		err = restore_name(s, fd, e);
	return err ? err : common_set_flags(s, fd, e->flags);
}

static int netlink_open(struct cr_session *s, struct cr_file *f, int *ret_fd)
{
	const struct netlink_priv *p = s->core->file_priv(f);
	_cleanup_fd_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, p->e->protocol);
	int err;

	if (fd < 0)
		return cr_fail(s, errno, "making a netlink socket of protocol %u: %s", p->e->protocol, strerror(errno));
	err = set_up(s, f, fd, p->e);
	if (err < 0)
		return err;
	*ret_fd = fd;
	fd = -1;
	return CR_OK;
}

static int netlink_wire(struct cr_session *s, struct cr_file *f)
{
	const struct netlink_priv *p = s->core->file_priv(f);

	return common_fown_restore(s, f, p->e->fown);
}

static int netlink_key(struct cr_session *s, struct cr_file *f, char *buf, size_t size)
{
	const struct netlink_priv *p = s->core->file_priv(f);

	snprintf(buf, size, "socket:[%" PRIu32 "]", p->e->ino);
	return 0;
}

static int netlink_stage(struct cr_session *s)
{
	int err = unread_load(s);

	return err ? err : sock_extra_load(s, &img_extra, &netlink_state(s)->extra);
}

static void netlink_done(struct cr_session *s, int error)
{
	vec_free(&netlink_state(s)->lost_ids);
}

static const struct cr_option option_unread = {
	.size = sizeof(struct cr_option),
	.name = "netlink-unread",
	.kind = CR_OPT_STRING,
	.modes = 1u << CR_MODE_DUMP | 1u << CR_MODE_CHECK,
	.arg = "drop|fail",
	.fallback = "drop",
	.help = "What becomes of netlink messages that were not read: they are dropped, and the restored program is told by "
		"ENOBUFS that some were lost; or the dump fails.",
};

static const struct cr_file_kind netlink_kind = {
	.size = sizeof(struct cr_file_kind),
	.name = "netlink",
	.fd_type = 13,
	.field = 7,
	.priv_size = sizeof(struct netlink_priv),
	.match = netlink_match,
	.check = netlink_check,
	.dump = netlink_dump,
	.load = netlink_load,
	.open = netlink_open,
	.wire = netlink_wire,
	.inherit_key = netlink_key,
};
static const struct cr_file_kind *const netlink_kinds[] = { &netlink_kind, NULL };
static const struct cr_img_type *const netlink_images[] = { &img_extra, &netlink_img_lost, NULL };
static const struct cr_option *const netlink_options[] = { &option_unread, NULL };

static const struct cr_plugin netlink_plugin = {
	.size = sizeof(struct cr_plugin),
	.abi = CR_ABI,
	.name = "netlink",
	.version = "0.1",
	.summary = "Keeps netlink sockets with their groups.",
	.options = netlink_options,
	.files = netlink_kinds,
	.images = netlink_images,
	.prepare = unread_prepare,
	.dump_late = unread_summary,
	.stage = netlink_stage,
	.done = netlink_done,
};
CR_PLUGIN_REGISTER(netlink_plugin);
