/* SPDX-License-Identifier: MIT */
/* diag.c: facts about a packet socket, from sock_diag(7). See packet.h. */
#include "packet.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/packet_diag.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "util.h"

#define ANSWER_BYTES (256 * 1024)

static void take_info(struct packet_facts *k, const void *data, size_t len)
{
	struct packet_diag_info i;

	if (len < sizeof(i))
		return;
	memcpy(&i, data, sizeof(i));
	k->ifindex = i.pdi_index;
	k->version = i.pdi_version;
	k->reserve = i.pdi_reserve;
	k->copy_thresh = i.pdi_copy_thresh;
	k->timestamp = i.pdi_tstamp;
	k->flags = i.pdi_flags;
}

static void take_members(struct packet_facts *k, const void *data, size_t len)
{
	struct packet_diag_mclist m;

	for (size_t i = 0; i < len / sizeof(m); i++) {
		struct packet_member *to = &k->members[k->nmembers];

		if (k->nmembers == PACKET_MEMBERS_MAX) {
			k->too_many = 1;
			return;
		}
		memcpy(&m, (const char *)data + i * sizeof(m), sizeof(m));
		to->index = m.pdmc_index;
		to->count = m.pdmc_count;
		to->type = m.pdmc_type;
		to->len = MIN_OF((size_t)m.pdmc_alen, sizeof(to->addr));
		memcpy(to->addr, m.pdmc_addr, to->len);
		k->nmembers++;
	}
}

static void take_ring(struct packet_ring_facts *k, const void *data, size_t len)
{
	struct packet_diag_ring r;

	if (len < sizeof(r))
		return;
	memcpy(&r, data, sizeof(r));
	*k = (struct packet_ring_facts){ r.pdr_block_size, r.pdr_block_nr, r.pdr_frame_size, r.pdr_frame_nr, r.pdr_retire_tmo,
					 r.pdr_sizeof_priv, r.pdr_features };
}

static void take_socket(struct packet_facts *k, const struct nlmsghdr *h)
{
	const struct packet_diag_msg *m = NLMSG_DATA(h);
	int len = h->nlmsg_len - NLMSG_LENGTH(sizeof(*m));

	k->protocol = m->pdiag_num;
	for (const struct rtattr *a = (const void *)(m + 1); RTA_OK(a, len); a = RTA_NEXT(a, len)) {
		if (a->rta_type == PACKET_DIAG_INFO)
			take_info(k, RTA_DATA(a), RTA_PAYLOAD(a));
		else if (a->rta_type == PACKET_DIAG_MCLIST)
			take_members(k, RTA_DATA(a), RTA_PAYLOAD(a));
		else if (a->rta_type == PACKET_DIAG_RX_RING)
			take_ring(&k->rx, RTA_DATA(a), RTA_PAYLOAD(a));
		else if (a->rta_type == PACKET_DIAG_TX_RING)
			take_ring(&k->tx, RTA_DATA(a), RTA_PAYLOAD(a));
		else if (a->rta_type == PACKET_DIAG_FANOUT)
			k->fanout = 1;
	}
}

/* 1: more to come, 0: the end, -errno. */
static int take_answer(const void *buf, ssize_t n, uint32_t ino, struct packet_facts *ret, int *found)
{
	for (const struct nlmsghdr *h = buf; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
		const struct packet_diag_msg *m = NLMSG_DATA(h);

		if (h->nlmsg_type == NLMSG_DONE)
			return 0;
		if (h->nlmsg_type == NLMSG_ERROR) {
			int error = h->nlmsg_len >= NLMSG_LENGTH(sizeof(struct nlmsgerr)) ?
					    ((const struct nlmsgerr *)NLMSG_DATA(h))->error : -EIO;

			return error < 0 ? error : -EIO;
		}
		if (h->nlmsg_type != SOCK_DIAG_BY_FAMILY || h->nlmsg_len < NLMSG_LENGTH(sizeof(*m)) || m->pdiag_ino != ino)
			continue;
		take_socket(ret, h);
		*found = 1;
	}
	return 1;
}

int packet_facts(uint32_t ino, struct packet_facts *ret)
{
	_cleanup_fd_ int sk = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	_cleanup_free_ char *buf = xcalloc(1, ANSWER_BYTES);
	struct {
		struct nlmsghdr h;
		struct packet_diag_req q;
	} req = {
		.h = { .nlmsg_len = sizeof(req), .nlmsg_type = SOCK_DIAG_BY_FAMILY,
		       .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP, .nlmsg_seq = 1 },
		.q = { .sdiag_family = AF_PACKET,
		       .pdiag_show = PACKET_SHOW_INFO | PACKET_SHOW_MCLIST | PACKET_SHOW_RING_CFG | PACKET_SHOW_FANOUT },
	};
	int more = 1, found = 0;

	memset(ret, 0, sizeof(*ret));
	if (sk < 0 || send(sk, &req, sizeof(req), 0) < 0)
		return -errno;
	while (more > 0) {
		ssize_t n = recv(sk, buf, ANSWER_BYTES, 0);

		if (n < 0 && errno == EINTR)
			continue;
		more = n < 0 ? -errno : n == 0 ? 0 : take_answer(buf, n, ino, ret, &found);
	}
	return more < 0 ? more : found ? 0 : -ENOENT;
}
