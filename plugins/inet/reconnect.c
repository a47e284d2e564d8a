/* SPDX-License-Identifier: MIT */
/*
 * reconnect.c: --policy inet=reconnect: a TCP client is connected to the same server again.
 *
 * Only the side that has called connect(2) can do so, and only to somebody outside of the tree.  Which side that was the
 * kernel does not tell; the other one shares its port with the socket that has accepted it.
 *
 * In the image such a socket is one that is being connected (SYN_SENT) and has no local port yet.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>

#include "inet.h"
#include "tcp.h"

#define WAIT_MS 10000

static int is_in_tree(struct cr_session *s, uint64_t ino)
{
	for (struct cr_file *f = s->core->file_next(s, NULL); ino && f; f = s->core->file_next(s, f))
		if (S_ISSOCK(s->core->file_info(f)->st.st_mode) && s->core->file_info(f)->st.st_ino == ino)
			return 1;
	return 0;
}

/* What keeps k from being connected again; NULL: nothing. */
static const char *obstacle(struct cr_session *s, const struct facts *k)
{
	if (k->proto != IPPROTO_TCP || k->state != SK_ESTABLISHED)
		return "it is not a TCP connection that both sides use";
	if (proc_net_listens(&k->src))
		return "it was accepted: only the other side can connect";
	if (is_in_tree(s, proc_net_ino(&k->dst, &k->src)))
		return "both of its ends are in the tree";
	return NULL;
}

static int is_wanted(struct cr_session *s, struct cr_file *f, const struct facts *k)
{
	return CR_HAS(s->core, file_policy) && s->core->file_policy(s, f) == CR_POLICY_RECONNECT && k->type == SOCK_STREAM;
}

int inet_reconnects(struct cr_session *s, struct cr_file *f, const struct facts *k)
{
	return is_wanted(s, f, k) && !obstacle(s, k);
}

int inet_check_reconnect(struct cr_session *s, struct cr_file *f, const struct facts *k)
{
	if (!is_wanted(s, f, k) || s->core->option_flag(s, "tcp-close") || s->core->option_flag(s, "tcp-established"))
		return 0;
	return cr_refuse(s, "--tcp-established, which keeps it, or --tcp-close, which drops it",
			 "the connection %s -> %s cannot be made anew (--policy inet=reconnect): %s",
			 inet_addr_text(s, &k->src), inet_addr_text(s, &k->dst), obstacle(s, k));
}

void inet_to_reconnect(struct cr_session *s, struct cr_file *f, struct facts *k)
{
	cr_lost(s, f, "the TCP connection %s -> %s is made anew at the restore: what was on its way is lost",
		inet_addr_text(s, &k->src), inet_addr_text(s, &k->dst));
	k->state = TCP_ST_SYN_SENT;
	memset(&k->src, 0, sizeof(k->src));
	k->src.any.sa_family = k->family;
}

int inet_is_reconnect(const InetSkEntry *e)
{
	return e->type == SOCK_STREAM && e->proto == IPPROTO_TCP && e->state == TCP_ST_SYN_SENT && !e->src_port;
}

/* connect(2) that does not wait for ever. 0 or -errno. */
static int connect_within(int fd, const union addr *dst, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	int n;

	if (!connect(fd, &dst->any, inet_addr_len(dst)))
		return 0;
	if (errno != EINPROGRESS)
		return -errno;
	n = poll(&p, 1, ms);
	return n < 0 ? -errno : n == 0 ? -ETIMEDOUT : -sock_get_int(fd, SOL_SOCKET, SO_ERROR);
}

static int reconnect(struct cr_session *s, int fd, const InetSkEntry *e)
{
	int flags = fcntl(fd, F_GETFL), err;
	union addr dst;

	err = inet_make_addr(s, e, INET_PEER, &dst);
	if (err < 0 || flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK))
		return err < 0 ? err : cr_fail(s, errno, "flags of a socket: %s", strerror(errno));
	err = connect_within(fd, &dst, WAIT_MS);
	if (err)
		return cr_fail(s, -err, "connecting to %s again: %s; start it, or --tcp-close at this restore leaves the socket "
			       "unconnected", inet_addr_text(s, &dst), strerror(-err));
	return fcntl(fd, F_SETFL, flags) ? cr_fail(s, errno, "flags of a socket: %s", strerror(errno)) : 0;
}

int inet_reconnect_all(struct cr_session *s)
{
	int err = 0;

	if (s->core->option_flag(s, "tcp-close"))
		return 0;
	for (struct cr_file *f = s->core->file_next(s, NULL); f && !err; f = s->core->file_next(s, f)) {
		const struct inet_priv *p = inet_is_ours(s, f) ? s->core->file_priv(f) : NULL;

		if (p && p->e && inet_is_reconnect(p->e) && s->core->file_fd(f) >= 0)
			err = reconnect(s, s->core->file_fd(f), p->e);
	}
	return err;
}
