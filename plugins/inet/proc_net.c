/* SPDX-License-Identifier: MIT */
/* proc_net.c: /proc/net/tcp, tcp6, udp and others. See tcp.h. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "tcp.h"
#include "util.h"

struct line {
	union addr local, peer;
	uint64_t ino;
	uint32_t state;
};

/* Words of an address in host order of the machine, and a port. */
static int parse_addr(const char *text, int family, union addr *ret)
{
	size_t words = family == AF_INET6 ? 4 : 1;
	uint32_t w[4];
	unsigned port;

	memset(ret, 0, sizeof(*ret));
	for (size_t i = 0; i < words; i++, text += 8)
		if (sscanf(text, "%8" SCNx32, &w[i]) != 1)
			return -EPROTO;
	if (sscanf(text, ":%4x", &port) != 1)
		return -EPROTO;
	ret->any.sa_family = family;
	if (family == AF_INET6) {
		ret->in6.sin6_port = htons(port);
		memcpy(&ret->in6.sin6_addr, w, 16);
	} else {
		ret->in.sin_port = htons(port);
		memcpy(&ret->in.sin_addr, w, 4);
	}
	return 0;
}

static int parse_line(const char *text, int family, struct line *ret)
{
	char local[64], peer[64];

	if (sscanf(text, " %*u: %63s %63s %" SCNx32 " %*s %*s %*s %*u %*u %" SCNu64, local, peer, &ret->state, &ret->ino) !=
	    4)
		return -EPROTO;
	if (strlen(local) != (family == AF_INET6 ? 37u : 13u) || strlen(peer) != strlen(local))
		return -EPROTO;
	return parse_addr(local, family, &ret->local) || parse_addr(peer, family, &ret->peer) ? -EPROTO : 0;
}

static FILE *open_table(int proto, int family)
{
	const char *name = proto == IPPROTO_UDP ? "udp" : proto == IPPROTO_UDPLITE ? "udplite" : "tcp";
	_cleanup_free_ char *path = xasprintf("/proc/self/net/%s%s", name, family == AF_INET6 ? "6" : "");

	return fopen(path, "re");
}

/* Lines that fit; *ret_first is the first one. */
static uint32_t count(int proto, int family, int (*fits)(const struct line *l, const void *arg), const void *arg,
		      struct line *ret_first)
{
	_cleanup_file_ FILE *file = open_table(proto, family);
	char text[512];
	struct line l;
	uint32_t n = 0;

	while (file && fgets(text, sizeof(text), file)) {
		if (parse_line(text, family, &l) || !fits(&l, arg))
			continue;
		if (!n++)
			*ret_first = l;
	}
	return n;
}

static int has_ino(const struct line *l, const void *arg)
{
	return l->ino == *(const uint64_t *)arg;
}

int proc_net_peer(int family, uint64_t ino, union addr *ret)
{
	struct line l;

	if (!count(IPPROTO_TCP, family, has_ino, &ino, &l))
		return -ENOENT;
	*ret = l.peer;
	return 0;
}

/* The address of IPv4, that of a mapped one too; NULL: it is one of IPv6 alone. */
static const void *v4_of(const union addr *a)
{
	if (a->any.sa_family == AF_INET)
		return &a->in.sin_addr;
	return IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr) ? &a->in6.sin6_addr.s6_addr[12] : NULL;
}

static int is_zero(const union addr *a)
{
	return a->any.sa_family == AF_INET6 ? IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr) : !a->in.sin_addr.s_addr;
}

static uint16_t port_of(const union addr *a)
{
	return a->any.sa_family == AF_INET6 ? a->in6.sin6_port : a->in.sin_port;
}

static int is_same(const union addr *a, const union addr *b)
{
	const void *a4 = v4_of(a), *b4 = v4_of(b);

	if (port_of(a) != port_of(b))
		return 0;
	if (a4 && b4)
		return !memcmp(a4, b4, 4);
	return !a4 && !b4 && !memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, 16);
}

static int in_the_way(const struct line *l, const void *arg)
{
	const union addr *a = arg;

	if (port_of(a) == port_of(&l->local) && (is_zero(a) || is_zero(&l->local)))
		return 1;
	return is_same(a, &l->local);
}

static int is_connection(const struct line *l, const void *arg)
{
	const struct line *want = arg;

	return is_same(&l->local, &want->local) && is_same(&l->peer, &want->peer);
}

static int is_half_open(const struct line *l, const void *arg)
{
	return l->state == TCP_ST_SYN_RECV && in_the_way(l, arg);
}

uint32_t proc_net_half_open(const union addr *listener)
{
	struct line l;
	uint32_t n = count(IPPROTO_TCP, AF_INET, is_half_open, listener, &l);

	return listener->any.sa_family == AF_INET6 ? n + count(IPPROTO_TCP, AF_INET6, is_half_open, listener, &l) : n;
}

static int is_listener(const struct line *l, const void *arg)
{
	return l->state == SK_LISTEN && in_the_way(l, arg);
}

int proc_net_listens(const union addr *a)
{
	struct line l;

	return count(IPPROTO_TCP, AF_INET, is_listener, a, &l) || count(IPPROTO_TCP, AF_INET6, is_listener, a, &l);
}

static uint32_t find_connection(const union addr *src, const union addr *dst, struct line *ret)
{
	struct line want = { .local = *src, .peer = *dst };

	return count(IPPROTO_TCP, AF_INET, is_connection, &want, ret) ?: count(IPPROTO_TCP, AF_INET6, is_connection, &want, ret);
}

uint64_t proc_net_ino(const union addr *src, const union addr *dst)
{
	struct line l;

	return find_connection(src, dst, &l) ? l.ino : 0;
}

static int has_link(const char *pid, const char *link)
{
	_cleanup_free_ char *path = xasprintf("/proc/%s/fd", pid);
	_cleanup_dir_ DIR *d = opendir(path);
	struct dirent *e;
	char text[64];

	while (d && (e = readdir(d))) {
		ssize_t n = readlinkat(dirfd(d), e->d_name, text, sizeof(text) - 1);

		if (n > 0 && (text[n] = 0, !strcmp(text, link)))
			return 1;
	}
	return 0;
}

static const char *process_name(struct cr_session *s, const char *pid)
{
	_cleanup_free_ char *path = xasprintf("/proc/%s/comm", pid);
	_cleanup_buf_ struct buf comm = { 0 };
	char *text = s->core->alloc(s, 300);

	if (read_file(AT_FDCWD, path, &comm) || !comm.p)
		buf_add(&comm, "?", 2);
	comm.p[strcspn(comm.p, "\n")] = 0;
	snprintf(text, 300, "pid %s (%s)", pid, common_quote(s, comm.p));
	return text;
}

static const char *holder(struct cr_session *s, uint64_t ino)
{
	_cleanup_dir_ DIR *d = ino ? opendir("/proc") : NULL;
	_cleanup_free_ char *link = xasprintf("socket:[%" PRIu64 "]", ino);
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (e->d_name[0] >= '1' && e->d_name[0] <= '9' && atoi(e->d_name) != getpid() && has_link(e->d_name, link))
			return process_name(s, e->d_name);
	return "a socket that no process here has open";
}

static const char *holder_of(struct cr_session *s, const struct line *l)
{
	return l->ino ? holder(s, l->ino) : "what is left of a closed connection, which goes within a minute or so";
}

const char *proc_net_holder(struct cr_session *s, int proto, const union addr *a)
{
	struct line l;

	return count(proto, AF_INET, in_the_way, a, &l) || count(proto, AF_INET6, in_the_way, a, &l) ? holder_of(s, &l) : "";
}

const char *proc_net_connection(struct cr_session *s, const union addr *src, const union addr *dst, uint32_t *ret_state)
{
	struct line l;

	if (!find_connection(src, dst, &l))
		return "";
	*ret_state = l.state;
	return holder_of(s, &l);
}
