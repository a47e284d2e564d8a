/* SPDX-License-Identifier: MIT */
/* queue.c: datagrams that wait in a socket, at either side. See dgram.h. */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/sockios.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "dgram.h"
#include "util.h"

#define OPT_SO_MEMINFO 55
#define OPT_UDP_GRO 104
#define ROOM (65536 + 256)
#define RCVBUF_A_DGRAM 4096 /* bytes that the kernel may count beside the data of one */
#define ARRIVE_MS 200
#define DRAIN_MS 100

const struct cr_img_type inet_img_dgrams = { sizeof(inet_img_dgrams), "x-inet-datagrams", 0x58494e44, 0 };
const struct cr_option inet_option_cork = {
	.size = sizeof(struct cr_option),
	.name = "udp-cork",
	.kind = CR_OPT_STRING,
	.modes = 1 << CR_MODE_DUMP,
	.arg = "drop|flush",
	.fallback = "drop",
	.help = "What becomes of data that a UDP socket holds back (MSG_MORE, UDP_CORK): drop it, or flush: send it at dump.",
};

static int is_udp(int type, int proto)
{
	return type == SOCK_DGRAM && (proto == IPPROTO_UDP || proto == IPPROTO_UDPLITE);
}

static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
}

/* Bytes in the queue, as the kernel counts them. */
static uint32_t queued(int fd)
{
	uint32_t info[16] = { 0 };
	socklen_t len = sizeof(info);

	return getsockopt(fd, SOL_SOCKET, OPT_SO_MEMINFO, info, &len) ? 0 : info[0];
}

int dgram_options(struct cr_session *s)
{
	const char *text = s->core->option(s, "udp-cork");

	if (!text || !strcmp(text, "drop") || !strcmp(text, "flush"))
		return 0;
	return cr_fail(s, EINVAL, "--udp-cork %s: it can be drop or flush", common_quote(s, text));
}

/* ---- dump: data held back ---- */

/* Bytes on their way out; those that a device still has to send are given time. */
static int held_back(int fd)
{
	int n = 0;

	for (int ms = 0; ms < DRAIN_MS; ms += 2) {
		if (ioctl(fd, SIOCOUTQ, &n) || n <= 0)
			return 0;
		nap();
	}
	return n;
}

static void dump_cork(struct cr_session *s, int fd, const struct facts *k)
{
	const char *policy = s->core->option(s, "udp-cork");
	int cork = sock_get_int(fd, SOL_UDP, UDP_CORK), one = 1, zero = 0;

	if (!held_back(fd))
		return;
	if (!policy || strcmp(policy, "flush")) {
		cr_lost(s, NULL, "data that the %s socket %s holds back (MSG_MORE, UDP_CORK) is not kept; --udp-cork flush "
			"sends it",
			inet_proto_name(k->type, k->proto), inet_addr_text(s, &k->src));
		return;
	}
	/* taking the cork away sends */
	setsockopt(fd, SOL_UDP, UDP_CORK, &one, sizeof(one));
	setsockopt(fd, SOL_UDP, UDP_CORK, &zero, sizeof(zero));
	if (cork)
		setsockopt(fd, SOL_UDP, UDP_CORK, &one, sizeof(one));
	cr_info(s, "data that the %s socket %s held back was sent", inet_proto_name(k->type, k->proto),
		inet_addr_text(s, &k->src));
}

/* ---- dump: the queue ---- */

/* Options that make the kernel tell more of a datagram, and let peeking go on where it ended. */
static const struct {
	int level, name, value, family; /* family: of sockets that have it, 0: all */
} borrowed[] = {
	{ SOL_SOCKET, SO_PEEK_OFF, 0, 0 },
	{ SOL_IP, IP_PKTINFO, 1, 0 },
	{ SOL_IP, IP_RECVTTL, 1, 0 },
	{ SOL_IP, IP_RECVTOS, 1, 0 },
	{ SOL_IPV6, IPV6_RECVPKTINFO, 1, AF_INET6 },
	{ SOL_IPV6, IPV6_RECVHOPLIMIT, 1, AF_INET6 },
	{ SOL_IPV6, IPV6_RECVTCLASS, 1, AF_INET6 },
};
struct loan {
	int old[ARRAY_SIZE(borrowed)];
};

/* They are the task's own: the record for its warden comes first. */
static int borrow(struct cr_session *s, int fd, int family, struct loan *ret)
{
	_cleanup_buf_ struct buf b = { 0 };
	int err;

	for (size_t i = 0; i < ARRAY_SIZE(borrowed); i++) {
		ret->old[i] = sock_get_int(fd, borrowed[i].level, borrowed[i].name);
		if (!borrowed[i].family || borrowed[i].family == family)
			buf_printf(&b, "%s%d %d %d", b.len ? " " : "", borrowed[i].level, borrowed[i].name, ret->old[i]);
	}
	/* always: it ends before the tree runs on, so that nothing is set later, after the program has set it anew */
	err = s->core->undo(s, CR_UNDO_SOCKOPT, fd, b.p, 1);
	for (size_t i = 0; i < ARRAY_SIZE(borrowed) && err >= 0; i++)
		if (!borrowed[i].family || borrowed[i].family == family)
			err = sock_set_int(s, fd, borrowed[i].level, borrowed[i].name, borrowed[i].value, "an option");
	return err;
}

static int give_back(struct cr_session *s, int fd, int family, const struct loan *l)
{
	int err = 0;

	for (size_t i = 0; i < ARRAY_SIZE(borrowed) && !err; i++)
		if (!borrowed[i].family || borrowed[i].family == family)
			err = sock_set_int(s, fd, borrowed[i].level, borrowed[i].name, l->old[i], "an option");
	return err;
}

/* Address bytes for an image, those of IPv4 also when they are written as IPv6; n: 4 or 16. */
static void set_addr(ProtobufCBinaryData *ret, uint8_t *bytes, size_t n)
{
	if (n == 16 && IN6_IS_ADDR_V4MAPPED((struct in6_addr *)bytes)) {
		bytes += 12;
		n = 4;
	}
	ret->data = bytes;
	ret->len = n;
}

static void take_number(const struct cmsghdr *c, uint32_t *ret, protobuf_c_boolean *ret_has)
{
	uint8_t byte;
	int v;

	if (c->cmsg_len >= CMSG_LEN(sizeof(v))) {
		memcpy(&v, CMSG_DATA(c), sizeof(v));
	} else {
		memcpy(&byte, CMSG_DATA(c), 1);
		v = byte;
	}
	*ret = v;
	*ret_has = 1;
}

static void take_control(const struct cmsghdr *c, InetDgramEntry *e)
{
	if (c->cmsg_level == SOL_IP && c->cmsg_type == IP_PKTINFO && !e->has_dst) {
		set_addr(&e->dst, (uint8_t *)CMSG_DATA(c) + offsetof(struct in_pktinfo, ipi_addr), 4);
		e->has_dst = 1;
	} else if (c->cmsg_level == SOL_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
		set_addr(&e->dst, (uint8_t *)CMSG_DATA(c) + offsetof(struct in6_pktinfo, ipi6_addr), 16);
		e->has_dst = 1;
	} else if ((c->cmsg_level == SOL_IP && c->cmsg_type == IP_TTL) ||
		   (c->cmsg_level == SOL_IPV6 && c->cmsg_type == IPV6_HOPLIMIT)) {
		take_number(c, &e->ttl, &e->has_ttl);
	} else if ((c->cmsg_level == SOL_IP && c->cmsg_type == IP_TOS) ||
		   (c->cmsg_level == SOL_IPV6 && c->cmsg_type == IPV6_TCLASS)) {
		take_number(c, &e->tos, &e->has_tos);
	} else if (c->cmsg_level == SOL_UDP && c->cmsg_type == OPT_UDP_GRO) {
		take_number(c, &e->segment, &e->has_segment);
	}
}

/* One datagram. 1, 0 at the end, -errno recorded. */
static int peek_one(struct cr_session *s, struct cr_file *f, int fd, uint8_t *room, int *ret_errors)
{
	InetDgramEntry e = INET_DGRAM_ENTRY__INIT;
	union addr from;
	union {
		struct cmsghdr h;
		char room[1024];
	} control;
	struct iovec iov = { room, ROOM };
	struct msghdr m = { .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov, .msg_iovlen = 1,
			    .msg_control = &control, .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(fd, &m, MSG_PEEK | MSG_DONTWAIT);
	int err;

	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n < 0 && ++*ret_errors < 8)
		return 1; /* of something that was sent: it is told once */
	if (n < 0)
		return cr_fail(s, errno, "reading the queue of the socket: %s", strerror(errno));
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
		take_control(c, &e);
	e.id = s->core->file_id(f);
	e.data.data = room;
	e.data.len = n;
	e.sport = ntohs(from.any.sa_family == AF_INET6 ? from.in6.sin6_port : from.in.sin_port);
	set_addr(&e.src, from.any.sa_family == AF_INET6 ? from.in6.sin6_addr.s6_addr : (uint8_t *)&from.in.sin_addr,
		 from.any.sa_family == AF_INET6 ? 16 : 4);
	err = common_append(s, &inet_img_dgrams, CR_IMG_NO_ID, &e.base);
	return err < 0 ? err : 1;
}

static int peek_all(struct cr_session *s, struct cr_file *f, int fd, const struct facts *k)
{
	_cleanup_free_ uint8_t *room = xcalloc(1, ROOM);
	struct loan loan;
	int err = borrow(s, fd, k->family, &loan), errors = 0;

	if (err < 0)
		return err;
	while ((err = peek_one(s, f, fd, room, &errors)) > 0)
		;
	if (errors)
		cr_lost(s, NULL, "an error that the %s socket %s had yet to tell is not kept", inet_proto_name(k->type, k->proto),
			inet_addr_text(s, &k->src));
	return err < 0 ? err : give_back(s, fd, k->family, &loan);
}

/* What is sent now may go into a queue of the tree: before the first queue is read. */
static void dump_corks(struct cr_session *s)
{
	struct facts k;

	for (struct cr_file *f = NULL; (f = s->core->file_next(s, f));) {
		struct inet_priv *p = s->core->file_priv(f);
		int fd = s->core->file_fd(f);

		if (!inet_is_ours(s, f) || fd < 0 || p->uncorked || inet_facts(fd, &k) || !is_udp(k.type, k.proto))
			continue;
		p->uncorked = 1;
		dump_cork(s, fd, &k);
	}
}

int inet_queue_dump(struct cr_session *s, struct cr_file *f, int fd, const struct facts *k)
{
	struct inet_priv *priv = s->core->file_priv(f);
	struct pollfd p = { .fd = fd, .events = POLLIN };

	if (k->type == SOCK_STREAM)
		return 0;
	if (is_udp(k->type, k->proto) && !priv->uncorked)
		dump_corks(s);
	priv->queued = queued(fd);
	poll(&p, 1, 0);
	if (p.revents & POLLERR)
		cr_lost(s, NULL, "errors or time stamps in the error queue of the %s socket %s are not kept",
			inet_proto_name(k->type, k->proto), inet_addr_text(s, &k->src));
	if (is_udp(k->type, k->proto))
		return p.revents & POLLIN ? peek_all(s, f, fd, k) : 0;
	if (p.revents & POLLIN)
		cr_lost(s, NULL, "packets that the %s socket %s has received and not read are not kept (%u bytes, as the kernel "
			"counts)", inet_proto_name(k->type, k->proto), inet_addr_text(s, &k->src), queued(fd));
	return 0;
}

void queue_dump_late(struct cr_session *s)
{
	struct facts k;

	for (struct cr_file *f = NULL; (f = s->core->file_next(s, f));) {
		const struct inet_priv *p = s->core->file_priv(f);
		int fd = s->core->file_fd(f);

		if (!inet_is_ours(s, f) || fd < 0 || inet_facts(fd, &k) || k.type == SOCK_STREAM || queued(fd) <= p->queued)
			continue;
		cr_lost(s, NULL, "datagrams that the %s socket %s has received during the dump (%u bytes, as the kernel "
			"counts) are "
			"not in the images", inet_proto_name(k.type, k.proto), inet_addr_text(s, &k.src), queued(fd) - p->queued);
	}
}

/* ---- restore ---- */

static int load_list(struct cr_session *s, const struct cr_img_type *type, const ProtobufCMessageDescriptor *desc,
		     int (*take)(struct cr_session *s, void *m))
{
	struct cr_reader *r;
	const void *data;
	size_t len;
	int err = s->core->img_open(s, type, CR_IMG_NO_ID, &r);

	if (err < 0)
		return err == -ENOENT ? 0 : err;
	while ((err = s->core->img_next(r, &data, &len)) > 0) {
		void *m = common_load(s, desc, data, len);

		err = m ? take(s, m) : -EPROTO;
		if (err < 0)
			break;
	}
	s->core->img_close(r);
	return err;
}

static int is_addr(const ProtobufCBinaryData *a, size_t len)
{
	return (a->len == 4 || a->len == 16) && (!len || a->len == len);
}

static int take_dgram(struct cr_session *s, void *m)
{
	InetDgramEntry *e = m;

	if (!is_addr(&e->src, 0) || (e->has_dst && !is_addr(&e->dst, e->src.len)) || e->sport > 65535 || e->data.len > 65535 ||
	    e->ttl > 255 || e->tos > 255 || (e->has_segment && !e->segment))
		return cr_fail(s, EPROTO, "the image has a broken datagram of file %u", e->id);
	*vec_push(&dgram_state(s)->dgrams) = e;
	return 0;
}

static int take_member(struct cr_session *s, void *m)
{
	InetMemberEntry *e = m;
	int broken = !is_addr(&e->group, 0) || !e->device[0] || strlen(e->device) > 15;

	for (size_t i = 0; i < e->n_source; i++)
		broken |= !is_addr(&e->source[i], e->group.len);
	if (broken)
		return cr_fail(s, EPROTO, "the image has a broken multicast group of file %u", e->id);
	*vec_push(&dgram_state(s)->members) = e;
	return 0;
}

int dgram_load(struct cr_session *s)
{
	int err = load_list(s, &inet_img_dgrams, &inet_dgram_entry__descriptor, take_dgram);

	return err ? err : load_list(s, &inet_img_members, &inet_member_entry__descriptor, take_member);
}

void dgram_done(struct cr_session *s)
{
	vec_free(&dgram_state(s)->dgrams);
	vec_free(&dgram_state(s)->members);
}

struct refill {
	int fd, raw[2]; /* raw: of IPv4 and IPv6, -1: none yet, -errno: none can be made */
	const InetSkEntry *e;
	uint16_t port; /* that the socket has for now */
	unsigned arrived, lost;
	int why; /* one was lost, -errno */
};

/* An address that only this machine has, and that it may be sent to without leaving it? */
static int is_local(int family, const uint8_t *addr)
{
	_cleanup_fd_ int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	union addr a;

	memset(&a, 0, sizeof(a));
	a.any.sa_family = family;
	memcpy(family == AF_INET ? (void *)&a.in.sin_addr : &a.in6.sin6_addr, addr, family == AF_INET ? 4 : 16);
	if (family == AF_INET ? IN_MULTICAST(ntohl(a.in.sin_addr.s_addr)) || a.in.sin_addr.s_addr == htonl(INADDR_BROADCAST) :
				IN6_IS_ADDR_MULTICAST(&a.in6.sin6_addr) || IN6_IS_ADDR_LINKLOCAL(&a.in6.sin6_addr))
		return 0;
	return fd >= 0 && !bind(fd, &a.any, inet_addr_len(&a));
}

/* The address that it was sent to, or one that reaches the socket just as well. */
static void choose_target(const InetDgramEntry *m, struct dgram *d)
{
	static const uint8_t loopback4[4] = { 127, 0, 0, 1 };
	int family = d->addr_len == 4 ? AF_INET : AF_INET6;

	if (m->has_dst && is_local(family, m->dst.data))
		memcpy(d->dst, m->dst.data, d->addr_len);
	else
		memcpy(d->dst, family == AF_INET ? (const void *)loopback4 : &in6addr_loopback, d->addr_len);
}

static int send_one(struct refill *r, const struct dgram *d)
{
	int *raw = &r->raw[d->addr_len == 16];
	uint32_t before = queued(r->fd);
	int err;

	if (*raw == -1)
		*raw = forge_open(d->addr_len == 4 ? AF_INET : AF_INET6);
	if (*raw < 0)
		return *raw;
	err = forge_send(*raw, d);
	for (int ms = 0; !err && queued(r->fd) == before; ms += 2) {
		if (ms >= ARRIVE_MS)
			return -ETIMEDOUT; /* a firewall, or the device lo is down */
		nap();
	}
	return err;
}

static void refill_one(struct refill *r, const InetDgramEntry *m)
{
	struct dgram d = { .proto = r->e->proto, .addr_len = m->src.len, .sport = m->sport, .dport = r->port,
			   .ttl = m->has_ttl && m->ttl ? m->ttl : 64, .tos = m->tos };
	size_t step = m->has_segment ? m->segment : MAX_OF(m->data.len, (size_t)1);
	int err = r->why == -ETIMEDOUT ? r->why : 0; /* none arrives: no need to wait for each */

	memcpy(d.src, m->src.data, m->src.len);
	choose_target(m, &d);
	/* the answer would have to go through the device that it came from */
	if (d.addr_len == 16 && IN6_IS_ADDR_LINKLOCAL((struct in6_addr *)d.src))
		err = -EADDRNOTAVAIL;
	for (size_t at = 0; !err && (at == 0 || at < m->data.len); at += step) {
		d.data = m->data.data + at;
		d.len = MIN_OF(step, m->data.len - at);
		err = send_one(r, &d);
	}
	if (err) {
		r->lost++;
		r->why = err;
	} else {
		r->arrived++;
	}
}

/* A port of its own, at every address and device; queues of any size. */
static int open_up(struct refill *r, size_t bytes)
{
	int size = MIN_OF(bytes, (size_t)INT32_MAX / 2), zero = 0;
	socklen_t len;
	union addr a;

	if (setsockopt(r->fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)))
		setsockopt(r->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (r->e->family == AF_INET6)
		setsockopt(r->fd, SOL_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
	memset(&a, 0, sizeof(a));
	a.any.sa_family = r->e->family;
	len = inet_addr_len(&a);
	if (bind(r->fd, &a.any, len) || getsockname(r->fd, &a.any, &len))
		return -errno;
	r->port = ntohs(a.any.sa_family == AF_INET6 ? a.in6.sin6_port : a.in.sin_port);
	return 0;
}

/* A port that was not asked for is given up by this. */
static int close_off(struct cr_session *s, struct refill *r)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };

	for (int i = 0; i < 2; i++)
		if (r->raw[i] >= 0)
			close(r->raw[i]);
	return connect(r->fd, &none, sizeof(none)) ? cr_fail(s, errno, "giving up the port of a socket: %s", strerror(errno)) : 0;
}

int queue_restore(struct cr_session *s, struct cr_file *f, int fd, const InetSkEntry *e)
{
	struct refill r = { .fd = fd, .raw = { -1, -1 }, .e = e };
	const struct dgram_state *st = dgram_state(s);
	uint32_t id = s->core->file_id(f);
	size_t bytes = 0;
	int err;

	for (size_t i = 0; i < st->dgrams.n; i++)
		if (st->dgrams.v[i]->id == id)
			bytes += 2 * (st->dgrams.v[i]->data.len + RCVBUF_A_DGRAM);
	if (!bytes || !is_udp(e->type, e->proto))
		return 0;
	err = open_up(&r, bytes);
	if (err < 0)
		return cr_fail(s, -err, "binding a socket for a while: %s", strerror(-err));
	for (size_t i = 0; i < st->dgrams.n; i++)
		if (st->dgrams.v[i]->id == id)
			refill_one(&r, st->dgrams.v[i]);
	if (r.lost)
		cr_lost(s, NULL, "%u of %u received datagrams of the %s socket at port %u are lost: %s", r.lost,
			r.lost + r.arrived,
			inet_proto_name(e->type, e->proto), e->src_port, r.why == -EPERM ? "putting them back needs CAP_NET_RAW" :
			r.why == -ETIMEDOUT ? "they do not arrive; is the device lo up, does a firewall drop them?" :
			strerror(-r.why));
	return close_off(s, &r);
}
