/* SPDX-License-Identifier: MIT */
/* lock.c: what the network lock covers, and when. See lock.h. */
#include "lock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "inet-lock.pb-c.h"
#include "inet.h"

static const char *const method_names[] = { [LOCK_NFTABLES] = "nftables", [LOCK_IPTABLES] = "iptables", [LOCK_SKIP] = "skip" };

const struct cr_img_type inet_img_lock = { sizeof(inet_img_lock), "x-inet-lock", 0x58494e4c, 0 };
const struct cr_option inet_option_lock = {
	.size = sizeof(struct cr_option),
	.name = "network-lock",
	.rpc_field = "network_lock",
	.kind = CR_OPT_STRING,
	.arg = "METHOD",
	.help = "How packets of TCP connections are kept away while nobody can answer them: nftables (the default), iptables "
		"or skip (not at all).",
};

/* The lock of one network namespace. */
struct lock {
	char name[LOCK_NAME];
	int ns; /* dump */
	uint64_t ino;
	enum lock_method method;
	struct nft_ctx *hold;
	int lasting;
	int grown; /* has connections that are not in the rules yet */
	uint32_t file; /* id of one of its sockets */
	lock_conns conns;
};

struct lock_state {
	enum lock_method method;
	int chosen; /* by the user */
	uint32_t holds; /* made so far: part of their names */
	VEC(struct lock) all;
	struct nft_ctx *hold; /* restore */
	int held;
};

static struct lock_state *state(struct cr_session *s)
{
	struct inet_state *st = inet_state(s);

	if (!st->lock)
		st->lock = s->core->alloc(s, sizeof(*st->lock));
	return st->lock;
}

int lock_options(struct cr_session *s)
{
	struct lock_state *st = state(s);
	const char *text = s->core->option(s, "network-lock");

	st->method = LOCK_NFTABLES;
	st->chosen = text != NULL;
	for (size_t i = LOCK_NFTABLES; text && i < ARRAY_SIZE(method_names); i++) {
		if (!strcmp(text, method_names[i])) {
			st->method = i;
			return 0;
		}
	}
	return text ? cr_fail(s, EINVAL, "--network-lock %s: it can be nftables, iptables or skip", common_quote(s, text)) : 0;
}

/* ---- connections ---- */

static void set_end(const struct facts *k, const union addr *a, uint32_t family, uint8_t ret[16], uint16_t *ret_port)
{
	const uint8_t *p = k->family == AF_INET ? (const void *)&a->in.sin_addr : (const void *)&a->in6.sin6_addr;

	if (k->family == AF_INET6 && family == AF_INET)
		p += 12; /* ::ffff:a.b.c.d */
	memcpy(ret, p, family == AF_INET ? 4 : 16);
	*ret_port = ntohs(k->family == AF_INET ? a->in.sin_port : a->in6.sin6_port);
}

static struct lock_conn conn_of(const struct facts *k)
{
	struct lock_conn c = { .family = k->family };

	if (k->family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&k->dst.in6.sin6_addr))
		c.family = AF_INET;
	set_end(k, &k->dst, c.family, c.src, &c.sport);
	set_end(k, &k->src, c.family, c.dst, &c.dport);
	return c;
}

static void new_name(char ret[LOCK_NAME])
{
	uint64_t id;

	/* one that nobody else has: rules of several dumps, and of several machines, may meet */
	if (getrandom(&id, sizeof(id), 0) != sizeof(id))
		id = now_us() << 20 ^ getpid();
	snprintf(ret, LOCK_NAME, "stasis-%016jx", (uintmax_t)id);
}

/* The lock of the namespace that fd belongs to. */
static int lock_of(struct cr_session *s, struct cr_file *f, int fd, struct lock **ret)
{
	struct lock_state *st = state(s);
	int ns = lock_ns_of(fd);
	uint64_t ino = ns < 0 ? 0 : lock_ns_ino(ns);
	struct lock *l;

	if (!ino)
		return cr_fail(s, ns < 0 ? -ns : EIO, "finding the network namespace of a connection");
	for (size_t i = 0; i < st->all.n; i++) {
		if (st->all.v[i].ino == ino) {
			close(ns);
			*ret = &st->all.v[i];
			return 0;
		}
	}
	l = vec_push(&st->all);
	new_name(l->name);
	l->ns = ns;
	l->ino = ino;
	l->method = st->method;
	l->file = s->core->file_id(f);
	*ret = l;
	return 0;
}

/* ---- dump ---- */

static int cannot(struct cr_session *s, const struct lock *l, int err, const char *why)
{
	if (err == -EPERM)
		return cr_fail(s, EPERM, "locking TCP connections by %s needs CAP_NET_ADMIN (--network-lock skip goes without "
			       "a lock; then something else must keep packets of them away)", method_names[l->method]);
	if (err == -EOPNOTSUPP)
		return cr_fail(s, EOPNOTSUPP, "TCP connections cannot be locked by %s: %s; --network-lock %s may work, "
			       "--network-lock skip goes without a lock; then something else must keep packets of them away",
			       method_names[l->method], why[0] ? why : "this kernel does not have it",
			       method_names[l->method == LOCK_NFTABLES ? LOCK_IPTABLES : LOCK_NFTABLES]);
	return cr_fail(s, -err, "locking TCP connections by %s: %s", method_names[l->method], why[0] ? why : strerror(-err));
}

static int leaves_tree(struct cr_session *s)
{
	return s->core->option_flag(s, "leave-running") || s->core->option_flag(s, "leave-stopped");
}

/* The record for W comes first. */
static int make_lasting(struct cr_session *s, struct lock *l)
{
	char why[300] = "", text[100];
	int err = 0;

	if (!l->lasting) {
		snprintf(text, sizeof(text), "%s %ju %s", method_names[l->method], (uintmax_t)l->ino, l->name);
		err = s->core->undo(s, CR_UNDO_PLUGIN, l->ns, text, leaves_tree(s));
		if (err < 0)
			return err;
		l->lasting = 1;
	}
	err = l->method == LOCK_NFTABLES ? lock_nft_add(l->ns, l->name, &l->conns, NULL, why, sizeof(why)) :
					   lock_ipt_add(l->ns, l->name, &l->conns, why, sizeof(why));
	if (err == -EOPNOTSUPP && l->method == LOCK_NFTABLES && !state(s)->chosen) {
		cr_info(s, "no nftables (%s): locking TCP connections by iptables", why);
		l->method = LOCK_IPTABLES;
		l->lasting = 0;
		return make_lasting(s, l);
	}
	return err < 0 ? cannot(s, l, err, why) : 0;
}

/* All connections anew: the old hold goes when the new one is there. */
static int make_hold(struct cr_session *s, struct lock *l)
{
	char name[LOCK_NAME + 12], why[300] = "";
	struct nft_ctx *old = l->hold;
	int err;

	snprintf(name, sizeof(name), "%s-%u", l->name, ++state(s)->holds);
	err = lock_nft_add(l->ns, name, &l->conns, &l->hold, why, sizeof(why));
	if (!err) {
		lock_nft_release(old);
		return 0;
	}
	if (err == -EOPNOTSUPP && !old)
		return make_lasting(s, l);
	return cannot(s, l, err, why);
}

/* Takes f into its lock, if it is a connection that is not there yet. */
static int take(struct cr_session *s, struct cr_file *f)
{
	struct inet_priv *p = s->core->file_priv(f);
	struct lock *l = NULL;
	struct facts k;
	int fd = s->core->file_fd(f), err;

	if (fd < 0 || p->locked || inet_facts(fd, &k) || !inet_is_tcp(k.type, k.proto) || k.state == SK_CLOSE ||
	    k.state == SK_LISTEN)
		return 0;
	err = lock_of(s, f, fd, &l);
	if (err < 0)
		return err;
	*vec_push(&l->conns) = conn_of(&k);
	l->grown = p->locked = 1;
	return 0;
}

int lock_dump(struct cr_session *s)
{
	struct lock_state *st = state(s);
	int err = 0;

	/* connections that are dropped may say so */
	if (st->method == LOCK_SKIP || s->core->option_flag(s, "tcp-close"))
		return 0;
	for (struct cr_file *f = NULL; !err && (f = s->core->file_next(s, f));)
		if (inet_is_ours(s, f))
			err = take(s, f);
	for (size_t i = 0; i < st->all.n && !err; i++) {
		struct lock *l = &st->all.v[i];

		if (!l->grown)
			continue;
		l->grown = 0;
		err = l->lasting || l->method == LOCK_IPTABLES ? make_lasting(s, l) : make_hold(s, l);
	}
	return err;
}

static int write_image(struct cr_session *s, const struct lock *l)
{
	InetLockEntry e = INET_LOCK_ENTRY__INIT;
	InetLockConn *conns = s->core->alloc(s, l->conns.n * sizeof(*conns));

	e.name = (char *)l->name;
	e.method = l->method;
	e.file = l->file;
	e.n_conn = l->conns.n;
	e.conn = s->core->alloc(s, l->conns.n * sizeof(*e.conn));
	for (size_t i = 0; i < l->conns.n; i++) {
		struct lock_conn *c = &l->conns.v[i];
		size_t len = c->family == AF_INET ? 4 : 16;

		inet_lock_conn__init(&conns[i]);
		conns[i].src = (ProtobufCBinaryData){ len, c->src };
		conns[i].dst = (ProtobufCBinaryData){ len, c->dst };
		conns[i].sport = c->sport;
		conns[i].dport = c->dport;
		e.conn[i] = &conns[i];
	}
	return common_append(s, &inet_img_lock, CR_IMG_NO_ID, &e.base);
}

int lock_seal(struct cr_session *s)
{
	struct lock_state *st = state(s);
	int err = 0;

	for (size_t i = 0; i < st->all.n && !err; i++) {
		struct lock *l = &st->all.v[i];

		err = write_image(s, l);
		if (!err && leaves_tree(s)) {
			lock_nft_release(l->hold);
			l->hold = NULL;
		} else if (!err && !l->lasting) {
			err = make_lasting(s, l);
		}
		if (!err && !leaves_tree(s))
			cr_info(s, "%zu TCP connections are locked until restore by %s %s; stasis-inet(7) tells how to give "
				"them up", l->conns.n,
				l->method == LOCK_NFTABLES ? "nft table inet" : "iptables -t mangle, chain", l->name);
	}
	return err;
}

/* ---- restore ---- */

/* It becomes part of commands. */
static int good_name(const char *name)
{
	return strlen(name) < LOCK_NAME && !strncmp(name, "stasis-", 7) && name[7] &&
	       !name[7 + strspn(name + 7, "0123456789abcdef")];
}

static int take_entry(struct cr_session *s, const InetLockEntry *e)
{
	struct lock *l;

	if (!good_name(e->name) || (e->method != LOCK_NFTABLES && e->method != LOCK_IPTABLES))
		return cr_fail(s, EPROTO, "the image has a broken network lock: %s, method %u", common_quote(s, e->name),
			       e->method);
	l = vec_push(&state(s)->all);
	snprintf(l->name, sizeof(l->name), "%s", e->name);
	l->ns = -1;
	l->method = e->method;
	l->file = e->file;
	for (size_t i = 0; i < e->n_conn; i++) {
		const InetLockConn *in = e->conn[i];
		struct lock_conn *c;

		if ((in->src.len != 4 && in->src.len != 16) || in->dst.len != in->src.len || in->sport > 65535 ||
		    in->dport > 65535)
			return cr_fail(s, EPROTO, "the image has a network lock with broken addresses");
		c = vec_push(&l->conns);
		c->family = in->src.len == 4 ? AF_INET : AF_INET6;
		memcpy(c->src, in->src.data, in->src.len);
		memcpy(c->dst, in->dst.data, in->dst.len);
		c->sport = in->sport;
		c->dport = in->dport;
	}
	return 0;
}

int lock_load(struct cr_session *s)
{
	struct cr_reader *r;
	void *m;
	int err = s->core->img_open(s, &inet_img_lock, CR_IMG_NO_ID, &r);

	if (err < 0)
		return err == -ENOENT ? 0 : err;
	while ((err = common_next(s, r, &inet_lock_entry__descriptor, &m)) > 0) {
		err = take_entry(s, m);
		common_free_msg(m);
		if (err < 0)
			break;
	}
	s->core->img_close(r);
	return err;
}

/* --map-ip */
static void map_end(struct cr_session *s, uint32_t family, uint8_t bytes[16])
{
	union addr a;

	memset(&a, 0, sizeof(a));
	a.any.sa_family = family;
	memcpy(family == AF_INET ? (void *)&a.in.sin_addr : &a.in6.sin6_addr, bytes, family == AF_INET ? 4 : 16);
	inet_map(s, &a);
	memcpy(bytes, family == AF_INET ? (void *)&a.in.sin_addr : &a.in6.sin6_addr, family == AF_INET ? 4 : 16);
}

/* Without it the restore works just as well, unless it fails half way. */
int lock_hold(struct cr_session *s)
{
	struct lock_state *st = state(s);
	_cleanup_fd_ int ns = -1;
	char name[LOCK_NAME + 12], why[300] = "";
	lock_conns all = { 0 };
	int err;

	if (st->held || !st->all.n || st->method == LOCK_SKIP)
		return 0;
	st->held = 1;
	for (size_t i = 0; i < st->all.n; i++) {
		for (size_t k = 0; k < st->all.v[i].conns.n; k++) {
			struct lock_conn c = st->all.v[i].conns.v[k];

			map_end(s, c.family, c.src);
			map_end(s, c.family, c.dst);
			*vec_push(&all) = c;
		}
	}
	snprintf(name, sizeof(name), "%s-%d", st->all.v[0].name, getpid());
	ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	err = lock_nft_add(ns, name, &all, &st->hold, why, sizeof(why));
	vec_free(&all);
	if (err < 0)
		cr_info(s, "no lock of TCP connections during the restore: %s", why[0] ? why : strerror(-err));
	return 0;
}

static int lock_remove(int ns, enum lock_method method, const char *name, char *why, size_t room)
{
	int err = method == LOCK_NFTABLES ? lock_nft_remove(ns, name, why, room) : lock_ipt_remove(ns, name, why, room);

	return err == -EOPNOTSUPP ? 0 : err; /* then there is none */
}

int lock_resume(struct cr_session *s)
{
	struct lock_state *st = state(s);

	for (size_t i = 0; i < st->all.n; i++) {
		struct lock *l = &st->all.v[i];
		struct cr_file *f = s->core->file_by_id(s, l->file);
		int fd = f ? s->core->file_fd(f) : -1, err;
		_cleanup_fd_ int ns = fd >= 0 ? lock_ns_of(fd) : open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
		char why[300] = "";

		err = lock_remove(ns, l->method, l->name, why, sizeof(why));
		if (err == -EPERM)
			cr_warn(s, "the network lock %s, if there is one here, can only be removed with CAP_NET_ADMIN", l->name);
		else if (err < 0)
			return cr_fail(s, -err, "removing the network lock %s (%s): %s", l->name, method_names[l->method],
				       why[0] ? why : strerror(-err));
	}
	lock_nft_release(st->hold);
	st->hold = NULL;
	return 0;
}

/* ---- ends ---- */

void lock_done(struct cr_session *s)
{
	struct lock_state *st = state(s);

	for (size_t i = 0; i < st->all.n; i++) {
		struct lock *l = &st->all.v[i];

		lock_nft_release(l->hold);
		if (l->ns >= 0)
			close(l->ns);
		vec_free(&l->conns);
	}
	vec_free(&st->all);
	lock_nft_release(st->hold);
	st->hold = NULL;
}

/* text: METHOD, number of the namespace, name */
int lock_undo(int fd, const char *text)
{
	char method[16], name[LOCK_NAME], why[300] = "";
	_cleanup_fd_ int found = -1;
	uintmax_t ino;

	if (sscanf(text, "%15s %ju %23s", method, &ino, name) != 3 || !good_name(name))
		return -EINVAL;
	if (fd < 0 || lock_ns_ino(fd) != ino)
		fd = found = lock_ns_find(ino);
	if (fd < 0)
		return 0; /* the namespace is gone, and so are its rules */
	return lock_remove(fd, strcmp(method, method_names[LOCK_IPTABLES]) ? LOCK_NFTABLES : LOCK_IPTABLES, name, why,
			   sizeof(why));
}
