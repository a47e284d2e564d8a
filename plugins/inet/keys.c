/* SPDX-License-Identifier: MIT */
/*
 * keys.c: TCP sockets whose packets are signed.
 *
 * Keys for MD5 (TCP_MD5SIG, as BGP uses them) can be read by sock_diag and set again.  Those of TCP-AO can be read as well,
 * but the numbers that its signatures count with cannot be set for a connection that is made in repair mode: refused.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>

#include "diag.h"
#include "inet-key.pb-c.h"
#include "tcp.h"
#include "util.h"

#define OPT_TCP_MD5SIG_EXT 32 /* Linux 4.14 */
#define OPT_TCP_AO_INFO 40    /* Linux 6.7 */
#define FLAG_PREFIX 1

const struct cr_img_type inet_img_keys = { sizeof(inet_img_keys), "x-inet-keys", 0x58494e4b, 0 };

/* struct tcp_md5sig */
struct md5sig {
	struct sockaddr_storage addr;
	uint8_t flags, prefixlen;
	uint16_t keylen;
	int ifindex;
	uint8_t key[80];
};

/* ---- dump ---- */

static int has_ao(int fd)
{
	uint8_t info[64] = { 0 };
	socklen_t len = sizeof(info);

	return !getsockopt(fd, SOL_TCP, OPT_TCP_AO_INFO, info, &len);
}

int keys_check(struct cr_session *s, int fd, const struct facts *k)
{
	const char *src = inet_addr_text(s, &k->src), *dst = inet_addr_text(s, &k->dst);
	struct diag_facts d;

	if (has_ao(fd))
		return cr_refuse(s, tcp_is_connected(k->state) ? "--tcp-close, which drops the connection" :
				 "let the program close it",
				 "TCP socket %s -> %s: its packets are signed (TCP-AO), and what the signatures count with "
				 "cannot be restored", src, dst);
	if (tcp_is_connected(k->state) && k->state != SK_ESTABLISHED && !inet_diag_facts(s, fd, k, &d) && d.nkeys)
		return cr_refuse(s, "--tcp-close, which drops the connection",
				 "TCP connection %s -> %s is half closed and its packets are signed (TCP_MD5SIG)", src, dst);
	return 0;
}

int keys_dump(struct cr_session *s, struct cr_file *f, int fd, const struct facts *k)
{
	struct diag_facts d;
	int err = 0;

	if (k->proto != IPPROTO_TCP || k->state == SK_CLOSE || inet_diag_facts(s, fd, k, &d))
		return 0;
	for (size_t i = 0; i < d.nkeys && !err; i++) {
		InetKeyEntry e = INET_KEY_ENTRY__INIT;
		const struct diag_key *key = &d.keys[i];

		e.id = s->core->file_id(f);
		e.addr = (ProtobufCBinaryData){ key->addr_len, (uint8_t *)key->addr };
		e.prefix = key->prefix;
		e.key = (ProtobufCBinaryData){ key->key_len, (uint8_t *)key->key };
		err = common_append(s, &inet_img_keys, CR_IMG_NO_ID, &e.base);
	}
	return err;
}

/* ---- restore ---- */

/* The address as a socket of that family takes it. */
static void put_addr(struct cr_session *s, const InetKeyEntry *k, int family, struct sockaddr_storage *ret)
{
	union addr a;

	memset(&a, 0, sizeof(a));
	a.any.sa_family = family;
	if (family == AF_INET) {
		memcpy(&a.in.sin_addr, k->addr.data, 4);
	} else if (k->addr.len == 4) {
		a.in6.sin6_addr.s6_addr[10] = a.in6.sin6_addr.s6_addr[11] = 0xff;
		memcpy(a.in6.sin6_addr.s6_addr + 12, k->addr.data, 4);
	} else {
		memcpy(&a.in6.sin6_addr, k->addr.data, 16);
	}
	inet_map(s, &a);
	memset(ret, 0, sizeof(*ret));
	memcpy(ret, &a, sizeof(a));
}

static int set_key(struct cr_session *s, int fd, const InetKeyEntry *k, int family)
{
	struct md5sig m = { .flags = FLAG_PREFIX, .prefixlen = k->prefix, .keylen = k->key.len };

	if (k->addr.len != 4 && (k->addr.len != 16 || family == AF_INET))
		return cr_fail(s, EPROTO, "x-inet-keys.img: an address of %zu bytes", k->addr.len);
	if (k->prefix > k->addr.len * 8 || k->key.len > sizeof(m.key))
		return cr_fail(s, EPROTO, "x-inet-keys.img: a key of %zu bytes for a prefix of %u", k->key.len, k->prefix);
	put_addr(s, k, family, &m.addr);
	memcpy(m.key, k->key.data, k->key.len);
	if (setsockopt(fd, SOL_TCP, OPT_TCP_MD5SIG_EXT, &m, sizeof(m)))
		return cr_fail(s, errno, "setting a key of a TCP socket (TCP_MD5SIG): %s", strerror(errno));
	return 0;
}

int keys_restore(struct cr_session *s, struct cr_file *f, int fd, const InetSkEntry *e)
{
	InetKeyEntry *k;
	struct cr_reader *r;
	int err;

	if (e->proto != IPPROTO_TCP || e->state == SK_CLOSE)
		return 0;
	err = s->core->img_open(s, &inet_img_keys, CR_IMG_NO_ID, &r);
	if (err < 0)
		return err == -ENOENT ? 0 : err;
	while ((err = common_next(s, r, &inet_key_entry__descriptor, (void **)&k)) > 0) {
		if (k->id == s->core->file_id(f))
			err = set_key(s, fd, k, e->family);
		common_free_msg(k);
		if (err < 0)
			break;
	}
	s->core->img_close(r);
	return err;
}
