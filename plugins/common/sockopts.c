/* SPDX-License-Identifier: MIT */
/* sockopts.c: the options in sk_opts_entry. See sock.h. */
#include "sock.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/time.h>

#include "util.h"

#define OPT_SO_BUF_LOCK 72 /* Linux 5.14 */
enum { LOCK_SNDBUF = 1, LOCK_RCVBUF = 2 };

int sock_get_int(int fd, int level, int name)
{
	int v = 0;
	socklen_t len = sizeof(v);

	return getsockopt(fd, level, name, &v, &len) ? 0 : v;
}

int sock_set_int(struct cr_session *s, int fd, int level, int name, int value, const char *what)
{
	if (!setsockopt(fd, level, name, &value, sizeof(value)))
		return 0;
	return cr_fail(s, errno, "setting %s of a socket to %d: %s", what, value, strerror(errno));
}

int sock_in_other_netns(int fd)
{
	_cleanup_fd_ int ns = ioctl(fd, SIOCGSKNS);
	struct stat its, ours;

	if (ns < 0 || fstat(ns, &its) || stat("/proc/self/ns/net", &ours))
		return 0;
	return !common_same_inode(&its, &ours);
}

/* ---- dump ---- */

static void get_time(int fd, int name, uint64_t *ret_sec, uint64_t *ret_usec)
{
	struct timeval tv = { 0 };
	socklen_t len = sizeof(tv);

	getsockopt(fd, SOL_SOCKET, name, &tv, &len);
	*ret_sec = tv.tv_sec;
	*ret_usec = tv.tv_usec;
}

static int get_filter(struct cr_session *s, int fd, SkOptsEntry *e)
{
	struct sock_filter *insns;
	socklen_t n = 0;

	/* in and out: instructions, not bytes */
	if (getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, NULL, &n)) {
		if (errno == EACCES)
			return cr_refuse(s, "detach the filter", "an eBPF program is attached to the socket as its filter");
		return 0; /* a family without filters */
	}
	if (!n)
		return 0;
	if (n > BPF_MAXINSNS)
		return cr_fail(s, E2BIG, "the filter of the socket has %u instructions", n);
	insns = s->core->alloc(s, n * sizeof(*insns));
	if (getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, insns, &n))
		return cr_fail(s, errno, "reading the filter of the socket: %s", strerror(errno));
	e->so_filter = s->core->alloc(s, n * sizeof(*e->so_filter));
	memcpy(e->so_filter, insns, n * sizeof(*insns));
	e->n_so_filter = n;
	return 0;
}

static void get_linger(int fd, SkOptsEntry *e)
{
	struct linger l = { 0 };
	socklen_t len = sizeof(l);

	if (getsockopt(fd, SOL_SOCKET, SO_LINGER, &l, &len) || !l.l_onoff)
		return;
	e->has_so_linger = 1;
	e->so_linger = l.l_linger;
}

static void get_device(struct cr_session *s, int fd, SkOptsEntry *e)
{
	char name[64] = "";
	socklen_t len = sizeof(name) - 1;

	if (!getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, &len) && name[0])
		e->so_bound_dev = common_strdup(s, name);
}

#define GET(e, field, name) ((e)->has_##field = 1, (e)->field = sock_get_int(fd, SOL_SOCKET, name))

int sock_opts_dump(struct cr_session *s, int fd, SkOptsEntry *ret)
{
	sk_opts_entry__init(ret);
	ret->so_sndbuf = sock_get_int(fd, SOL_SOCKET, SO_SNDBUF);
	ret->so_rcvbuf = sock_get_int(fd, SOL_SOCKET, SO_RCVBUF);
	get_time(fd, SO_SNDTIMEO, &ret->so_snd_tmo_sec, &ret->so_snd_tmo_usec);
	get_time(fd, SO_RCVTIMEO, &ret->so_rcv_tmo_sec, &ret->so_rcv_tmo_usec);
	GET(ret, reuseaddr, SO_REUSEADDR);
	GET(ret, so_priority, SO_PRIORITY);
	GET(ret, so_rcvlowat, SO_RCVLOWAT);
	GET(ret, so_mark, SO_MARK);
	ret->has_so_mark = ret->so_mark != 0;
	GET(ret, so_dontroute, SO_DONTROUTE);
	GET(ret, so_no_check, SO_NO_CHECK);
	GET(ret, so_reuseport, SO_REUSEPORT);
	GET(ret, so_broadcast, SO_BROADCAST);
	GET(ret, so_keepalive, SO_KEEPALIVE);
	GET(ret, so_oobinline, SO_OOBINLINE);
	GET(ret, so_buf_lock, OPT_SO_BUF_LOCK);
	get_linger(fd, ret);
	get_device(s, fd, ret);
	return get_filter(s, fd, ret);
}

/* ---- restore ---- */

static int set_time(struct cr_session *s, int fd, int name, uint64_t sec, uint64_t usec)
{
	struct timeval tv = { .tv_sec = sec, .tv_usec = usec };

	if (!sec && !usec)
		return 0;
	if (setsockopt(fd, SOL_SOCKET, name, &tv, sizeof(tv)))
		return cr_fail(s, errno, "setting a timeout of a socket: %s", strerror(errno));
	return 0;
}

static int set_filter(struct cr_session *s, int fd, const SkOptsEntry *e)
{
	_cleanup_free_ struct sock_filter *insns = NULL;
	struct sock_fprog prog;

	if (!e->n_so_filter)
		return 0;
	if (e->n_so_filter > BPF_MAXINSNS)
		return cr_fail(s, EPROTO, "the image has a socket filter of %zu instructions", e->n_so_filter);
	insns = xcalloc(e->n_so_filter, sizeof(*insns));
	memcpy(insns, e->so_filter, e->n_so_filter * sizeof(*insns));
	prog = (struct sock_fprog){ .len = e->n_so_filter, .filter = insns };
	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)))
		return cr_fail(s, errno, "attaching the filter of a socket: %s", strerror(errno));
	return 0;
}

static int set_linger(struct cr_session *s, int fd, const SkOptsEntry *e)
{
	struct linger l = { .l_onoff = 1, .l_linger = e->so_linger };

	if (e->has_so_linger && setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)))
		return cr_fail(s, errno, "setting SO_LINGER of a socket: %s", strerror(errno));
	return 0;
}

struct simple {
	int has, value, name;
	const char *text;
};

/* Only what differs is set: some families refuse options that they have no use for. */
static int set_simple(struct cr_session *s, int fd, const struct simple *o)
{
	if (!o->has || sock_get_int(fd, SOL_SOCKET, o->name) == o->value)
		return 0;
	return sock_set_int(s, fd, SOL_SOCKET, o->name, o->value, o->text);
}

int sock_opts_restore(struct cr_session *s, int fd, const SkOptsEntry *e)
{
	const struct simple list[] = {
		{ e->has_reuseaddr, e->reuseaddr, SO_REUSEADDR, "SO_REUSEADDR" },
		{ e->has_so_priority, e->so_priority, SO_PRIORITY, "SO_PRIORITY" },
		{ e->has_so_rcvlowat, e->so_rcvlowat, SO_RCVLOWAT, "SO_RCVLOWAT" },
		{ e->has_so_mark, e->so_mark, SO_MARK, "SO_MARK" },
		{ e->has_so_passcred, e->so_passcred, SO_PASSCRED, "SO_PASSCRED" },
		{ e->has_so_passsec, e->so_passsec, SO_PASSSEC, "SO_PASSSEC" },
		{ e->has_so_dontroute, e->so_dontroute, SO_DONTROUTE, "SO_DONTROUTE" },
		{ e->has_so_no_check, e->so_no_check, SO_NO_CHECK, "SO_NO_CHECK" },
		{ e->has_so_reuseport, e->so_reuseport, SO_REUSEPORT, "SO_REUSEPORT" },
		{ e->has_so_broadcast, e->so_broadcast, SO_BROADCAST, "SO_BROADCAST" },
		{ e->has_so_keepalive, e->so_keepalive, SO_KEEPALIVE, "SO_KEEPALIVE" },
		{ e->has_so_oobinline, e->so_oobinline != 0, SO_OOBINLINE, "SO_OOBINLINE" },
	};
	int err = 0;

	for (size_t i = 0; i < ARRAY_SIZE(list) && !err; i++)
		err = set_simple(s, fd, &list[i]);
	if (!err)
		err = set_time(s, fd, SO_SNDTIMEO, e->so_snd_tmo_sec, e->so_snd_tmo_usec);
	if (!err)
		err = set_time(s, fd, SO_RCVTIMEO, e->so_rcv_tmo_sec, e->so_rcv_tmo_usec);
	if (!err)
		err = set_linger(s, fd, e);
	return err ? err : set_filter(s, fd, e);
}

static int set_buffer(struct cr_session *s, int fd, uint32_t want, int name, int force, const char *text)
{
	int half = want / 2; /* the kernel doubles it */

	if ((uint32_t)sock_get_int(fd, SOL_SOCKET, name) == want)
		return 0;
	if (setsockopt(fd, SOL_SOCKET, force, &half, sizeof(half)) &&
	    setsockopt(fd, SOL_SOCKET, name, &half, sizeof(half)))
		return cr_fail(s, errno, "setting %s of a socket to %d: %s", text, half, strerror(errno));
	if ((uint32_t)sock_get_int(fd, SOL_SOCKET, name) < want)
		cr_lost(s, NULL, "%s of a socket was %u and is now %d: more needs CAP_NET_ADMIN, or a larger sysctl "
			"net.core.%s", text, want, sock_get_int(fd, SOL_SOCKET, name),
			name == SO_SNDBUF ? "wmem_max" : "rmem_max");
	return 0;
}

/* Setting a size locks it.  Where locks cannot be taken back (MPTCP), only those that were locked are set. */
static int can_unlock(int fd)
{
	int now = sock_get_int(fd, SOL_SOCKET, OPT_SO_BUF_LOCK);

	return !setsockopt(fd, SOL_SOCKET, OPT_SO_BUF_LOCK, &now, sizeof(now)) || errno != EOPNOTSUPP;
}

int sock_buffers_restore(struct cr_session *s, int fd, const SkOptsEntry *e)
{
	int lock = e->so_buf_lock, any = !e->has_so_buf_lock || can_unlock(fd), err = 0;

	if (any || lock & LOCK_SNDBUF)
		err = set_buffer(s, fd, e->so_sndbuf, SO_SNDBUF, SO_SNDBUFFORCE, "SO_SNDBUF");
	if (!err && (any || lock & LOCK_RCVBUF))
		err = set_buffer(s, fd, e->so_rcvbuf, SO_RCVBUF, SO_RCVBUFFORCE, "SO_RCVBUF");
	if (!err && any && e->has_so_buf_lock && sock_get_int(fd, SOL_SOCKET, OPT_SO_BUF_LOCK) != lock)
		err = sock_set_int(s, fd, SOL_SOCKET, OPT_SO_BUF_LOCK, lock, "SO_BUF_LOCK");
	return err;
}
