/* SPDX-License-Identifier: MIT */
/*
 * diag.c: what only sock_diag(7) tells of a socket: which ends were shut down, keys for MD5.
 *
 * The kernel is asked for the very socket, by its addresses and its cookie.  Where several share an address, it may find
 * another one; then it is asked for all of them.
 */
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <string.h>
#include <unistd.h>

#include "diag.h"
#include "util.h"

#define ANSWER_BYTES (256 * 1024)
#define ATTR_SHUTDOWN 8 /* INET_DIAG_SHUTDOWN */
#define ATTR_MD5SIG 18	/* INET_DIAG_MD5SIG */

/* As the kernel lays it out, Linux 4.14. */
struct md5_attr {
	uint8_t family, prefixlen;
	uint16_t keylen;
	uint32_t addr[4];
	uint8_t key[80];
};

struct request {
	struct nlmsghdr h;
	struct inet_diag_req_v2 q;
};

static void take_keys(struct cr_session *s, const void *data, size_t len, struct diag_facts *ret)
{
	struct md5_attr m;

	ret->nkeys = len / sizeof(m);
	ret->keys = s->core->alloc(s, (ret->nkeys + 1) * sizeof(*ret->keys));
	for (size_t i = 0; i < ret->nkeys; i++) {
		struct diag_key *k = &ret->keys[i];

		memcpy(&m, (const char *)data + i * sizeof(m), sizeof(m));
		k->addr_len = m.family == AF_INET6 ? 16 : 4;
		memcpy(k->addr, m.addr, k->addr_len);
		k->prefix = m.prefixlen;
		k->key_len = MIN_OF((size_t)m.keylen, sizeof(k->key));
		memcpy(k->key, m.key, k->key_len);
	}
}

static void take_socket(struct cr_session *s, const struct nlmsghdr *h, struct diag_facts *ret)
{
	const struct inet_diag_msg *m = NLMSG_DATA(h);
	int len = h->nlmsg_len - NLMSG_LENGTH(sizeof(*m));

	memset(ret, 0, sizeof(*ret));
	for (const struct rtattr *a = (const void *)(m + 1); RTA_OK(a, len); a = RTA_NEXT(a, len)) {
		if (a->rta_type == ATTR_SHUTDOWN && RTA_PAYLOAD(a) >= 1)
			ret->shutdown = *(const uint8_t *)RTA_DATA(a) & 3;
		else if (a->rta_type == ATTR_MD5SIG)
			take_keys(s, RTA_DATA(a), RTA_PAYLOAD(a), ret);
	}
}

/* 1: more to come, 0: the end, -ENOENT or other -errno: the kernel's answer. */
static int take_answer(struct cr_session *s, const void *buf, ssize_t n, uint64_t cookie, struct diag_facts *ret, int *found)
{
	for (const struct nlmsghdr *h = buf; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
		const struct inet_diag_msg *m = NLMSG_DATA(h);
		uint64_t its;

		if (h->nlmsg_type == NLMSG_DONE)
			return 0;
		if (h->nlmsg_type == NLMSG_ERROR)
			return h->nlmsg_len >= NLMSG_LENGTH(sizeof(struct nlmsgerr)) ?
				       MIN_OF(((const struct nlmsgerr *)NLMSG_DATA(h))->error, 0) : -EIO;
		if (h->nlmsg_type != SOCK_DIAG_BY_FAMILY || h->nlmsg_len < NLMSG_LENGTH(sizeof(*m)))
			continue;
		its = m->id.idiag_cookie[0] | (uint64_t)m->id.idiag_cookie[1] << 32;
		if (its != cookie)
			continue;
		take_socket(s, h, ret);
		*found = 1;
		if (!(h->nlmsg_flags & NLM_F_MULTI))
			return 0;
	}
	return 1;
}

static int ask(struct cr_session *s, const struct request *req, uint64_t cookie, struct diag_facts *ret)
{
	_cleanup_fd_ int sk = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	_cleanup_free_ char *buf = xcalloc(1, ANSWER_BYTES);
	int more = 1, found = 0;

	if (sk < 0 || send(sk, req, sizeof(*req), 0) < 0)
		return -errno;
	while (more > 0) {
		ssize_t n = recv(sk, buf, ANSWER_BYTES, 0);

		if (n < 0 && errno == EINTR)
			continue;
		more = n < 0 ? -errno : n == 0 ? 0 : take_answer(s, buf, n, cookie, ret, &found);
	}
	return more < 0 ? more : found ? 0 : -ENOENT;
}

static void put_end(const union addr *a, uint32_t addr[4], uint16_t *port)
{
	if (a->any.sa_family == AF_INET6) {
		memcpy(addr, &a->in6.sin6_addr, 16);
		*port = a->in6.sin6_port;
	} else {
		memcpy(addr, &a->in.sin_addr, 4);
		*port = a->in.sin_port;
	}
}

int inet_diag_facts(struct cr_session *s, int fd, const struct facts *k, struct diag_facts *ret)
{
	struct request req = {
		.h = { .nlmsg_len = sizeof(req), .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST,
			.nlmsg_seq = 1 },
		.q = { .sdiag_family = k->family, .sdiag_protocol = k->proto, .idiag_states = ~0u,
		       .idiag_ext = 1 << (INET_DIAG_INFO - 1) }, /* keys come with it */
	};
	int udp = k->type == SOCK_DGRAM, err; /* its two ends are swapped */
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	memset(ret, 0, sizeof(*ret));
	if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len))
		return -errno;
	put_end(udp ? &k->dst : &k->src, req.q.id.idiag_src, &req.q.id.idiag_sport);
	put_end(udp ? &k->src : &k->dst, req.q.id.idiag_dst, &req.q.id.idiag_dport);
	req.q.id.idiag_cookie[0] = (uint32_t)cookie;
	req.q.id.idiag_cookie[1] = cookie >> 32;
	err = ask(s, &req, cookie, ret);
	if (!err)
		return 0;
	memset(&req.q.id, 0, sizeof(req.q.id));
	req.h.nlmsg_flags |= NLM_F_DUMP;
	return ask(s, &req, cookie, ret);
}
