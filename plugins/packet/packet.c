/* SPDX-License-Identifier: MIT */
/*
 * packet.c: packet(7) sockets, which see the frames of network devices.
 *
 * A socket is its protocol, the device that it is bound to, its memberships (promiscuous mode among them), its
 * fanout group, and options.  Devices are found again by name, for their numbers may differ.  What it has received and
 * the program has not read is lost: such a socket loses packets at any time.  Rings: ring.h.
 */
#include "packet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/if_packet.h>
#include <linux/packet_diag.h>
#include <net/if.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "common.h"
#include "packet-sock.pb-c.h"
#include "ring.h"
#include "sock.h"
#include "util.h"
#include "x-packet-more.pb-c.h"

#define NO_FANOUT UINT32_MAX
#define OPT_VNET_HDR_SZ 24

struct packet_state {
	struct sock_extra_image *extra;
	VEC(PacketMoreEntry *) more; /* memory of the session */
	uint32_t lost;
};

struct packet_priv {
	PacketSockEntry *e; /* memory of the session */
};

static const struct cr_img_type img_extra = { sizeof(img_extra), "x-packet-options", 0x58504b4f, 0 };
static const struct cr_img_type img_more = { sizeof(img_more), "x-packet-more", 0x58504b4d, 0 };

static const struct sock_extra extra_packet[] = {
	{ SOL_PACKET, PACKET_TX_HAS_OFF, 4 },
	{ SOL_PACKET, PACKET_QDISC_BYPASS, 4 },
	{ SOL_PACKET, PACKET_IGNORE_OUTGOING, 4 },
	{ SOL_PACKET, OPT_VNET_HDR_SZ, 4 },
	{ 0, 0, 0 },
};

static struct packet_state *state(struct cr_session *s)
{
	return s->core->plugin_priv(s, sizeof(struct packet_state));
}

static int packet_match(const struct cr_file_info *info)
{
	return S_ISSOCK(info->st.st_mode) && info->sock_domain == AF_PACKET ? CR_SPECIFIC : CR_NOT_MINE;
}

/* ---- dump ---- */

static int check_facts(struct cr_session *s, const struct packet_facts *k, int lfd)
{
	uint32_t fanout = sock_get_int(lfd, SOL_PACKET, PACKET_FANOUT), type = fanout >> 16 & 0xff;

	if (k->fanout && (type == PACKET_FANOUT_CBPF || type == PACKET_FANOUT_EBPF))
		return cr_refuse(s, "use another mode of fanout, or let the program close it",
				 "packet socket in a fanout group with a BPF program, which cannot be read back");
	if (k->too_many)
		return cr_refuse(s, "let the program drop some", "packet socket with more than %d memberships",
				 PACKET_MEMBERS_MAX);
	return ring_check(s, lfd, k);
}

static int packet_check(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	struct packet_facts *k = s->core->alloc(s, sizeof(*k));
	int err;

	if (info->sock_type != SOCK_RAW && info->sock_type != SOCK_DGRAM)
		return cr_refuse(s, "use SOCK_RAW or SOCK_DGRAM", "packet socket of the obsolete type SOCK_PACKET");
	if (lfd < 0)
		return 0;
	if (sock_in_other_netns(lfd))
		return cr_refuse(s, NULL, "packet socket that belongs to another network namespace");
	err = packet_facts(info->st.st_ino, k);
	if (err == -ENOENT && s->core->mode(s) == CR_MODE_CHECK)
		return 0; /* the tree runs: it may be gone */
	if (err < 0)
		return cr_refuse(s, "a kernel with CONFIG_PACKET_DIAG (modprobe af_packet_diag)",
				 "the kernel does not tell about a packet socket: %s", strerror(-err));
	return check_facts(s, k, lfd);
}

static void add_device(struct cr_session *s, PacketMoreEntry *m, uint32_t index)
{
	PacketDevice *d;
	char name[IF_NAMESIZE];

	for (size_t i = 0; i < m->n_device; i++)
		if (m->device[i]->index == index)
			return;
	if (!index || !if_indextoname(index, name))
		return;
	d = s->core->alloc(s, sizeof(*d));
	packet_device__init(d);
	d->index = index;
	d->name = common_strdup(s, name);
	m->device[m->n_device++] = d;
}

static int dump_more(struct cr_session *s, struct cr_file *f, const struct packet_facts *k, const struct cr_file_info *info)
{
	PacketMoreEntry m = PACKET_MORE_ENTRY__INIT;

	m.id = s->core->file_id(f);
	m.ino = info->st.st_ino;
	m.device = s->core->alloc(s, (k->nmembers + 1) * sizeof(*m.device));
	add_device(s, &m, k->ifindex);
	for (size_t i = 0; i < k->nmembers; i++)
		add_device(s, &m, k->members[i].index);
	return common_append(s, &img_more, CR_IMG_NO_ID, &m.base);
}

static int dump_extra(struct cr_session *s, struct cr_file *f, int fd, const struct cr_file_info *info)
{
	_cleanup_fd_ int fresh = socket(AF_PACKET, info->sock_type | SOCK_CLOEXEC, 0);
	struct sock_extra all[32] = { 0 };
	size_t n = 0;

	if (fresh < 0)
		return cr_fail(s, errno, "making a socket like it to compare with (needs CAP_NET_RAW): %s", strerror(errno));
	for (const struct sock_extra *o = sock_extra_common; o->name && n + 1 < ARRAY_SIZE(all); o++)
		all[n++] = *o;
	for (const struct sock_extra *o = extra_packet; o->name && n + 1 < ARRAY_SIZE(all); o++)
		all[n++] = *o;
	return sock_extra_dump(s, &img_extra, f, fd, fresh, all);
}

/* A membership that was asked for several times is there as often. */
static void fill_members(struct cr_session *s, struct packet_facts *k, PacketSockEntry *e)
{
	size_t max = 0;

	for (size_t i = 0; i < k->nmembers; i++)
		max += k->members[i].count = MIN_OF(k->members[i].count, 1024u);
	e->mclist = s->core->alloc(s, (max + 1) * sizeof(*e->mclist));
	for (size_t i = 0; i < k->nmembers; i++) {
		PacketMclist *m = s->core->alloc(s, sizeof(*m));

		packet_mclist__init(m);
		m->index = k->members[i].index;
		m->type = k->members[i].type;
		m->addr.data = k->members[i].addr;
		m->addr.len = k->members[i].len;
		for (uint32_t j = 0; j < k->members[i].count; j++)
			e->mclist[e->n_mclist++] = m;
	}
}

static void fill_facts(struct cr_session *s, struct packet_facts *k, int lfd, PacketSockEntry *e)
{
	e->protocol = htons(k->protocol);
	e->ifindex = k->ifindex;
	e->version = k->version;
	e->reserve = k->reserve;
	e->aux_data = !!(k->flags & PDI_AUXDATA);
	e->orig_dev = !!(k->flags & PDI_ORIGDEV);
	e->vnet_hdr = !!(k->flags & PDI_VNETHDR);
	e->loss = !!(k->flags & PDI_LOSS);
	e->timestamp = k->timestamp;
	e->copy_thresh = k->copy_thresh;
	e->has_fanout = k->fanout;
	if (k->fanout)
		e->fanout = sock_get_int(lfd, SOL_PACKET, PACKET_FANOUT);
	e->rx_ring = ring_encode(s, &k->rx);
	e->tx_ring = ring_encode(s, &k->tx);
	fill_members(s, k, e);
}

static void note_unread(struct cr_session *s, int lfd)
{
	struct pollfd p = { .fd = lfd, .events = POLLIN };

	if (poll(&p, 1, 0) > 0 && p.revents & POLLIN) {
		state(s)->lost++;
		cr_info(s, "packet socket: the frames that were not read are dropped");
	}
}

static int packet_dump(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	struct packet_facts *k = s->core->alloc(s, sizeof(*k));
	PacketSockEntry e = PACKET_SOCK_ENTRY__INIT;
	SkOptsEntry opts;
	FownEntry fown;
	int err = packet_facts(info->st.st_ino, k);

	if (err < 0)
		return cr_fail(s, -err, "asking the kernel about a packet socket: %s", strerror(-err));
	err = sock_opts_dump(s, lfd, &opts);
	if (!err)
		err = dump_extra(s, f, lfd, info);
	if (!err)
		err = dump_more(s, f, k, info);
	if (err < 0)
		return err;
	if (!k->rx.block_nr)
		note_unread(s, lfd);
	common_fown_dump(s, f, &fown);
	e.id = s->core->file_id(f);
	e.type = info->sock_type;
	e.flags = info->flags;
	e.fown = &fown;
	e.opts = &opts;
	fill_facts(s, k, lfd, &e);
	err = ring_dump(s, f, lfd, &e);
	return err ? err : common_emit_msg(s, f, &e);
}

static int packet_summary(struct cr_session *s)
{
	uint32_t n = state(s)->lost;

	if (n)
		cr_lost(s, NULL, "%" PRIu32 " packet socket%s had unread frames, which are lost", n, n == 1 ? "" : "s");
	return 0;
}

/* ---- restore ---- */

static int packet_stage(struct cr_session *s)
{
	struct cr_reader *r;
	const void *data;
	size_t len;
	int err = s->core->img_open(s, &img_more, CR_IMG_NO_ID, &r);

	if (err < 0 && err != -ENOENT)
		return err;
	while (!err && (err = s->core->img_next(r, &data, &len)) > 0) {
		PacketMoreEntry *e = common_load(s, &packet_more_entry__descriptor, data, len);

		err = e ? 0 : -EPROTO;
		if (e)
			*vec_push(&state(s)->more) = e;
	}
	if (err != -ENOENT)
		s->core->img_close(r);
	return err < 0 && err != -ENOENT ? err : sock_extra_load(s, &img_extra, &state(s)->extra);
}

static const PacketMoreEntry *more_of(struct cr_session *s, struct cr_file *f)
{
	struct packet_state *st = state(s);

	for (size_t i = 0; i < st->more.n; i++)
		if (st->more.v[i]->id == s->core->file_id(f))
			return st->more.v[i];
	return NULL;
}

static int packet_load(struct cr_session *s, struct cr_file *f, const void *data, size_t len)
{
	struct packet_priv *p = s->core->file_priv(f);

	p->e = common_load(s, &packet_sock_entry__descriptor, data, len);
	if (!p->e)
		return -EPROTO;
	if ((p->e->type != SOCK_RAW && p->e->type != SOCK_DGRAM) || p->e->protocol > UINT16_MAX)
		return cr_fail(s, EPROTO, "the image has a packet socket of type %u, protocol %u", p->e->type,
			       p->e->protocol);
	for (size_t i = 0; i < p->e->n_mclist; i++)
		if (p->e->mclist[i]->addr.len > sizeof(((struct packet_member *)0)->addr))
			return cr_fail(s, EPROTO, "the image has a membership with an address of %zu bytes",
				       p->e->mclist[i]->addr.len);
	return ring_load_check(s, p->e);
}

/* Number of the device that had this one at the dump; 0 or -errno recorded. */
static int find_device(struct cr_session *s, struct cr_file *f, uint32_t index, uint32_t *ret)
{
	const PacketMoreEntry *m = more_of(s, f);

	*ret = index;
	for (size_t i = 0; m && i < m->n_device; i++) {
		if (m->device[i]->index != index)
			continue;
		*ret = if_nametoindex(m->device[i]->name);
		if (!*ret)
			return cr_fail(s, ENODEV, "there is no network device %s, which a packet socket belongs to: make it "
				       "first", common_quote(s, m->device[i]->name));
	}
	return 0;
}

static int set_option(struct cr_session *s, int fd, int name, uint32_t value, const char *what)
{
	if ((uint32_t)sock_get_int(fd, SOL_PACKET, name) == value)
		return 0;
	return sock_set_int(s, fd, SOL_PACKET, name, value, what);
}

static int set_options(struct cr_session *s, struct cr_file *f, int fd, const PacketSockEntry *e)
{
	static const struct sock_extra *const lists[] = { sock_extra_common, extra_packet, NULL };
	int err = set_option(s, fd, PACKET_VERSION, e->version, "PACKET_VERSION");

	if (!err)
		err = set_option(s, fd, PACKET_RESERVE, e->reserve, "PACKET_RESERVE");
	if (!err)
		err = set_option(s, fd, PACKET_AUXDATA, e->aux_data, "PACKET_AUXDATA");
	if (!err)
		err = set_option(s, fd, PACKET_ORIGDEV, e->orig_dev, "PACKET_ORIGDEV");
	if (!err)
		err = set_option(s, fd, PACKET_VNET_HDR, e->vnet_hdr, "PACKET_VNET_HDR");
	if (!err)
		err = set_option(s, fd, PACKET_LOSS, e->loss, "PACKET_LOSS");
	if (!err)
		err = set_option(s, fd, PACKET_TIMESTAMP, e->timestamp, "PACKET_TIMESTAMP");
	if (!err && e->copy_thresh) /* cannot be asked for */
		err = sock_set_int(s, fd, SOL_PACKET, PACKET_COPY_THRESH, e->copy_thresh, "PACKET_COPY_THRESH");
	/* some of these count only for rings that are made later */
	if (!err)
		err = sock_extra_restore(s, state(s)->extra, f, fd, lists);
	if (!err)
		err = ring_restore(s, f, fd, e);
	if (!err)
		err = sock_buffers_restore(s, fd, e->opts);
	if (!err)
		err = sock_opts_restore(s, fd, e->opts);
	return err ? err : sock_lock_restore(s, state(s)->extra, f, fd);
}

static int bind_device(struct cr_session *s, struct cr_file *f, int fd, const PacketSockEntry *e)
{
	struct sockaddr_ll a = { .sll_family = AF_PACKET, .sll_protocol = e->protocol };
	uint32_t index;
	int err = find_device(s, f, e->ifindex, &index);

	if (err < 0 || (!e->ifindex && !e->protocol))
		return err;
	a.sll_ifindex = index;
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)))
		return cr_fail(s, errno, "binding a packet socket to network device %u: %s", index, strerror(errno));
	sock_get_int(fd, SOL_SOCKET, SO_ERROR); /* a device that is down is told of */
	if (e->has_fanout && e->fanout != NO_FANOUT)
		return sock_set_int(s, fd, SOL_PACKET, PACKET_FANOUT, e->fanout, "PACKET_FANOUT");
	return 0;
}

static int join(struct cr_session *s, struct cr_file *f, int fd, const PacketMclist *m)
{
	/* the kernel takes longer addresses than the header says */
	struct {
		struct packet_mreq r;
		uint8_t more[32];
	} req = { .r = { .mr_type = m->type, .mr_alen = m->addr.len } };
	uint32_t index;
	int err = find_device(s, f, m->index, &index);

	if (err < 0)
		return err;
	req.r.mr_ifindex = index;
	if (m->addr.len)
		memcpy((char *)&req + offsetof(struct packet_mreq, mr_address), m->addr.data, m->addr.len);
	if (setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &req,
		       MAX_OF(sizeof(req.r), offsetof(struct packet_mreq, mr_address) + m->addr.len)))
		return cr_fail(s, errno, "membership of type %u on network device %u: %s", m->type, index, strerror(errno));
	return 0;
}

static int set_up(struct cr_session *s, struct cr_file *f, int fd, const PacketSockEntry *e)
{
	int err = set_options(s, f, fd, e);

	if (!err)
		err = bind_device(s, f, fd, e);
	for (size_t i = 0; i < e->n_mclist && !err; i++)
		err = join(s, f, fd, e->mclist[i]);
	return err ? err : common_set_flags(s, fd, e->flags);
}

static int packet_open(struct cr_session *s, struct cr_file *f, int *ret_fd)
{
	const struct packet_priv *p = s->core->file_priv(f);
	/* without a protocol it gets nothing until it is bound, when the filter is there */
	_cleanup_fd_ int fd = socket(AF_PACKET, p->e->type | SOCK_CLOEXEC, 0);
	int err;

	if (fd < 0)
		return cr_fail(s, errno, "making a packet socket: %s%s", strerror(errno),
			       errno == EPERM ? "; restore with CAP_NET_RAW" : "");
	err = set_up(s, f, fd, p->e);
	if (err < 0)
		return err;
	*ret_fd = fd;
	fd = -1;
	return CR_OK;
}

static int packet_wire(struct cr_session *s, struct cr_file *f)
{
	const struct packet_priv *p = s->core->file_priv(f);

	return common_fown_restore(s, f, p->e->fown);
}

static int packet_key(struct cr_session *s, struct cr_file *f, char *buf, size_t size)
{
	const PacketMoreEntry *m = more_of(s, f);

	if (!m)
		return -ENOENT;
	snprintf(buf, size, "socket:[%" PRIu32 "]", m->ino);
	return 0;
}

static void packet_done(struct cr_session *s, int error)
{
	vec_free(&state(s)->more);
}

static const struct cr_file_kind packet_kind = {
	.size = sizeof(struct cr_file_kind),
	.name = "packet",
	.fd_type = 10,
	.field = 6,
	.priv_size = sizeof(struct packet_priv),
	.match = packet_match,
	.check = packet_check,
	.dump = packet_dump,
	.load = packet_load,
	.open = packet_open,
	.wire = packet_wire,
	.inherit_key = packet_key,
};
static const struct cr_file_kind *const packet_kinds[] = { &packet_kind, NULL };
static const struct cr_img_type *const packet_images[] = { &img_extra, &img_more, &packet_img_ring, NULL };

static const struct cr_plugin packet_plugin = {
	.size = sizeof(struct cr_plugin),
	.abi = CR_ABI,
	.name = "packet",
	.version = "0.1",
	.summary = "Keeps packet sockets, with their devices and memberships.",
	.files = packet_kinds,
	.vmas = packet_vmas,
	.images = packet_images,
	.dump_late = packet_summary,
	.stage = packet_stage,
	.done = packet_done,
	.undo = tx_undo,
};
CR_PLUGIN_REGISTER(packet_plugin);
