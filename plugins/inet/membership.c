/* SPDX-License-Identifier: MIT */
/*
 * membership.c: multicast groups. See dgram.h.
 *
 * A socket does not list its groups, but answers when it is asked for one (MCAST_MSFILTER).  So it is asked for every
 * group that the kernel lists for any device (/proc/net/igmp, igmp6).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "dgram.h"

#define MAX_SOURCES 1024

const struct cr_img_type inet_img_members = { sizeof(inet_img_members), "x-inet-groups", 0x58494e47, 0 };

/* A group that some socket has joined on a device. */
struct candidate {
	int family;
	uint32_t index;
	char device[IF_NAMESIZE];
	uint8_t group[16];
};
typedef VEC(struct candidate) candidates;

static void read_igmp(candidates *ret)
{
	_cleanup_file_ FILE *f = fopen("/proc/self/net/igmp", "re");
	struct candidate c = { .family = AF_INET };
	char line[256];
	uint32_t group;

	while (f && fgets(line, sizeof(line), f)) {
		/* "2\teth0      :     2      V3", then its groups, indented */
		if (line[0] >= '0' && line[0] <= '9') {
			if (sscanf(line, "%u %15s", &c.index, c.device) != 2)
				break;
		} else if (line[0] == '\t' && sscanf(line, " %8x", &group) == 1) {
			memcpy(c.group, &group, sizeof(group));
			*vec_push(ret) = c;
		}
	}
}

static void read_igmp6(candidates *ret)
{
	_cleanup_file_ FILE *f = fopen("/proc/self/net/igmp6", "re");
	struct candidate c = { .family = AF_INET6 };
	char line[256], text[40];

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%u %15s %32s", &c.index, c.device, text) != 3 || strlen(text) != 32)
			continue;
		for (int i = 0; i < 16; i++)
			if (sscanf(text + 2 * i, "%2hhx", &c.group[i]) != 1)
				return;
		*vec_push(ret) = c;
	}
}

static void set_group(struct sockaddr_storage *ret, int family, const uint8_t *bytes)
{
	union addr a;

	memset(&a, 0, sizeof(a));
	a.any.sa_family = family;
	memcpy(family == AF_INET ? (void *)&a.in.sin_addr : &a.in6.sin6_addr, bytes, family == AF_INET ? 4 : 16);
	memset(ret, 0, sizeof(*ret));
	memcpy(ret, &a, sizeof(a));
}

static int level_of(int family)
{
	return family == AF_INET ? SOL_IP : SOL_IPV6;
}

/* ---- dump ---- */

static int append(struct cr_session *s, struct cr_file *f, struct candidate *c, struct group_filter *gf)
{
	InetMemberEntry e = INET_MEMBER_ENTRY__INIT;
	size_t len = c->family == AF_INET ? 4 : 16;

	e.id = s->core->file_id(f);
	e.device = c->device;
	e.group = (ProtobufCBinaryData){ len, c->group };
	e.include = gf->gf_fmode == MCAST_INCLUDE;
	e.n_source = gf->gf_numsrc;
	e.source = s->core->alloc(s, (gf->gf_numsrc + 1) * sizeof(*e.source));
	for (uint32_t i = 0; i < gf->gf_numsrc; i++) {
		union addr *a = (union addr *)&gf->gf_slist[i];

		e.source[i].len = len;
		e.source[i].data = c->family == AF_INET ? (uint8_t *)&a->in.sin_addr : a->in6.sin6_addr.s6_addr;
	}
	return common_append(s, &inet_img_members, CR_IMG_NO_ID, &e.base);
}

static int ask(struct cr_session *s, struct cr_file *f, int fd, struct candidate *c)
{
	socklen_t room = GROUP_FILTER_SIZE(MAX_SOURCES);
	_cleanup_free_ struct group_filter *gf = xcalloc(1, room);

	gf->gf_interface = c->index;
	set_group(&gf->gf_group, c->family, c->group);
	gf->gf_numsrc = MAX_SOURCES;
	if (getsockopt(fd, level_of(c->family), MCAST_MSFILTER, gf, &room))
		return 0; /* not of this socket */
	if (gf->gf_numsrc > MAX_SOURCES)
		return cr_fail(s, E2BIG, "a multicast group of the socket has %u sources, more than %u", gf->gf_numsrc,
			       MAX_SOURCES);
	return append(s, f, c, gf);
}

int members_dump(struct cr_session *s, struct cr_file *f, int fd, const struct facts *k)
{
	candidates all = { 0 };
	int err = 0;

	if (k->type == SOCK_STREAM)
		return 0;
	read_igmp(&all);
	if (k->family == AF_INET6)
		read_igmp6(&all);
	for (size_t i = 0; i < all.n && err >= 0; i++)
		err = ask(s, f, fd, &all.v[i]);
	vec_free(&all);
	return err;
}

/* ---- restore ---- */

static int join(int fd, const InetMemberEntry *e, uint32_t index, int family, const char **ret_what)
{
	struct group_source_req gsr = { .gsr_interface = index };
	struct group_req gr = { .gr_interface = index };

	set_group(&gr.gr_group, family, e->group.data);
	gsr.gsr_group = gr.gr_group;
	*ret_what = "MCAST_JOIN_GROUP";
	if (!e->include && setsockopt(fd, level_of(family), MCAST_JOIN_GROUP, &gr, sizeof(gr)))
		return -errno;
	*ret_what = e->include ? "MCAST_JOIN_SOURCE_GROUP" : "MCAST_BLOCK_SOURCE";
	for (size_t i = 0; i < e->n_source; i++) {
		set_group(&gsr.gsr_source, family, e->source[i].data);
		if (setsockopt(fd, level_of(family), e->include ? MCAST_JOIN_SOURCE_GROUP : MCAST_BLOCK_SOURCE, &gsr,
			       sizeof(gsr)))
			return -errno;
	}
	return 0;
}

static int restore_one(struct cr_session *s, int fd, const InetMemberEntry *e)
{
	int family = e->group.len == 4 ? AF_INET : AF_INET6, err;
	uint32_t index = if_nametoindex(e->device);
	char group[INET6_ADDRSTRLEN] = "?";
	const char *what;

	inet_ntop(family, e->group.data, group, sizeof(group));
	if (!index)
		return cr_fail(s, ENODEV, "the socket belongs to the multicast group %s on the network device %s, which does not "
			       "exist here: make such a device, then restore again", group, common_quote(s, e->device));
	err = join(fd, e, index, family, &what);
	if (err < 0)
		return cr_fail(s, -err, "joining the multicast group %s on %s (%s): %s", group, e->device, what, strerror(-err));
	return 0;
}

int members_restore(struct cr_session *s, struct cr_file *f, int fd)
{
	const struct dgram_state *st = dgram_state(s);
	int err = 0;

	for (size_t i = 0; i < st->members.n && !err; i++)
		if (st->members.v[i]->id == s->core->file_id(f))
			err = restore_one(s, fd, st->members.v[i]);
	return err;
}
