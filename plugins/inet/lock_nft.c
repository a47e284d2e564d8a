/* SPDX-License-Identifier: MIT */
/*
 * lock_nft.c: the network lock by nftables. See lock.h.
 *
 * A lock is one table of the family inet with a set of connections for each IP version and two chains at the
 * priority of raw, before any translation of addresses on the way out and after it on the way in: there packets
 * have the addresses of the socket.  A set has both directions, so that one rule serves both chains.
 *
 * libnftables is loaded when it is needed, so that everything else works without it.
 */
#include "lock.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <string.h>
#include <unistd.h>

#include "common.h"

#define LIBRARY "libnftables.so.1"

/* As nftables/libnftables.h has them, which is not needed to build. */
struct library {
	struct nft_ctx *(*new)(uint32_t flags);
	void (*free)(struct nft_ctx *ctx);
	int (*run)(struct nft_ctx *ctx, const char *text);
	int (*keep_error)(struct nft_ctx *ctx);
	const char *(*error)(struct nft_ctx *ctx);
};

static void *symbol(void *handle, const char *name, int *missing)
{
	void *p = dlsym(handle, name);

	*missing |= !p;
	return p;
}

/* It stays loaded: a hold is freed long after. */
static int load(struct library *ret)
{
	void *handle = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	int missing = !handle;

	if (handle) {
		ret->new = symbol(handle, "nft_ctx_new", &missing);
		ret->free = symbol(handle, "nft_ctx_free", &missing);
		ret->run = symbol(handle, "nft_run_cmd_from_buffer", &missing);
		ret->keep_error = symbol(handle, "nft_ctx_buffer_error", &missing);
		ret->error = symbol(handle, "nft_ctx_get_error_buffer", &missing);
	}
	return missing ? -EOPNOTSUPP : 0;
}

struct job {
	struct library lib;
	const char *text;
	struct nft_ctx *ctx;
	char *why;
	size_t room;
};

/* The context's socket must not live on in a program that is run meanwhile (--action-script): the table would, too. */
static struct nft_ctx *new_context(const struct library *lib)
{
	int next = dup(STDERR_FILENO); /* the number that the socket will have */
	struct nft_ctx *ctx;

	if (next >= 0)
		close(next);
	ctx = lib->new(0);
	if (ctx && next >= 0)
		fcntl(next, F_SETFD, FD_CLOEXEC);
	return ctx;
}

/* The library does not tell the error as a number: its message ends with strerror() of it in the first line. */
static int error_of(const char *text)
{
	static const int known[] = { EPERM, EBUSY, EOPNOTSUPP, EINVAL, EPROTONOSUPPORT, EAFNOSUPPORT, ENOBUFS, ENOMEM, EEXIST };

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (strstr(text, strerror(known[i])))
			return known[i] == EINVAL || known[i] == EPROTONOSUPPORT || known[i] == EAFNOSUPPORT ? -EOPNOTSUPP :
													       -known[i];
	return -EIO;
}

static int run(void *arg)
{
	struct job *j = arg;
	_cleanup_fd_ int probe = -1;
	const char *text;
	int err;

	/* the library ends the process when there is no such socket */
	probe = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	if (probe < 0)
		return -EOPNOTSUPP;
	j->ctx = new_context(&j->lib);
	if (!j->ctx)
		return -EOPNOTSUPP;
	j->lib.keep_error(j->ctx);
	if (!j->lib.run(j->ctx, j->text))
		return 0;
	text = j->lib.error(j->ctx);
	text = text ? text : "";
	err = error_of(text);
	snprintf(j->why, j->room, "%.*s", (int)strcspn(text, "\n"), text);
	return err;
}

static int run_in(int ns, const char *text, struct nft_ctx **ret_owner, char *why, size_t room)
{
	struct job j = { .text = text, .why = why, .room = room };
	int err = load(&j.lib);

	if (err) {
		snprintf(why, room, LIBRARY " cannot be loaded");
		return err;
	}
	err = lock_ns_run(ns, run, &j);
	if (!err && ret_owner)
		*ret_owner = j.ctx;
	else if (j.ctx)
		j.lib.free(j.ctx);
	return err;
}

static void add_way(struct buf *b, int family, const uint8_t *src, uint16_t sport, const uint8_t *dst, uint16_t dport)
{
	char from[INET6_ADDRSTRLEN], to[INET6_ADDRSTRLEN];

	inet_ntop(family, src, from, sizeof(from));
	inet_ntop(family, dst, to, sizeof(to));
	buf_printf(b, "%s . %u . %s . %u, ", from, sport, to, dport);
}

/* Two ends of one connection may both be listed: the kernel takes equal elements of one command as one. */
static void add_set(struct buf *b, const lock_conns *conns, uint32_t family)
{
	int any = 0;

	buf_printf(b, "set c%d { type %s . inet_service . %s . inet_service; ", family == AF_INET ? 4 : 6,
		   family == AF_INET ? "ipv4_addr" : "ipv6_addr", family == AF_INET ? "ipv4_addr" : "ipv6_addr");
	for (size_t i = 0; i < conns->n; i++) {
		const struct lock_conn *c = &conns->v[i];

		if (c->family != family)
			continue;
		if (!any++)
			buf_printf(b, "elements = { ");
		add_way(b, family, c->src, c->sport, c->dst, c->dport);
		add_way(b, family, c->dst, c->dport, c->src, c->sport);
	}
	buf_printf(b, "%s}\n", any ? "}\n" : "");
}

static void add_chain(struct buf *b, const char *hook)
{
	buf_printf(b, "chain %s { type filter hook %s priority -300;\nmeta mark %d accept\n"
		      "ip saddr . tcp sport . ip daddr . tcp dport @c4 drop\n"
		      "ip6 saddr . tcp sport . ip6 daddr . tcp dport @c6 drop\n}\n", hook, hook, LOCK_MARK);
}

int lock_nft_add(int ns, const char *name, const lock_conns *conns, struct nft_ctx **ret_owner, char *why, size_t room)
{
	_cleanup_buf_ struct buf b = { 0 };

	/* an own name, the first time; a lasting one that is there is replaced in the same transaction */
	if (!ret_owner)
		buf_printf(&b, "add table inet %s\ndelete table inet %s\n", name, name);
	buf_printf(&b, "table inet %s {\n%s", name, ret_owner ? "flags owner\n" : "");
	add_set(&b, conns, AF_INET);
	add_set(&b, conns, AF_INET6);
	add_chain(&b, "input");
	add_chain(&b, "output");
	buf_printf(&b, "}\n");
	return run_in(ns, b.p, ret_owner, why, room);
}

int lock_nft_remove(int ns, const char *name, char *why, size_t room)
{
	char text[160];

	/* added first: it is no error if there is none */
	snprintf(text, sizeof(text), "add table inet %s\ndelete table inet %s\n", name, name);
	return run_in(ns, text, NULL, why, room);
}

void lock_nft_release(struct nft_ctx *ctx)
{
	struct library lib;

	if (ctx && !load(&lib))
		lib.free(ctx);
}
