/* SPDX-License-Identifier: MIT */
/* check.c: what cannot be dumped; who is at the other end. See unix.h. */
#include "unix.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static int by_ino(const void *a, const void *b)
{
	const struct sk_file *x = a, *y = b;

	return (x->ino > y->ino) - (x->ino < y->ino);
}

static struct cr_file *search_all(struct cr_session *s, uint32_t ino)
{
	for (struct cr_file *f = s->core->file_next(s, NULL); f; f = s->core->file_next(s, f)) {
		const struct cr_file_info *info = s->core->file_info(f);

		if (S_ISSOCK(info->st.st_mode) && info->sock_domain == AF_UNIX && (uint32_t)info->st.st_ino == ino)
			return f;
	}
	return NULL;
}

struct cr_file *unix_file_of(struct cr_session *s, uint32_t ino)
{
	struct unix_state *st = unix_state(s);
	const struct sk_file key = { .ino = ino }, *found;

	if (!ino)
		return NULL;
	for (struct cr_file *f = NULL; !st->have_files && (f = s->core->file_next(s, f));) {
		const struct cr_file_info *info = s->core->file_info(f);

		if (S_ISSOCK(info->st.st_mode) && info->sock_domain == AF_UNIX)
			*vec_push(&st->files) = (struct sk_file){ info->st.st_ino, f };
	}
	if (!st->have_files && st->files.n)
		qsort(st->files.v, st->files.n, sizeof(key), by_ino);
	st->have_files = 1;
	found = st->files.n ? bsearch(&key, st->files.v, st->files.n, sizeof(key), by_ino) : NULL;
	/* sockets found in queues come later */
	return found ? found->f : search_all(s, ino);
}

/* --external unix[INO] */
static int is_external(struct cr_session *s, uint32_t ino)
{
	const char *item;
	char key[32];

	snprintf(key, sizeof(key), "unix[%" PRIu32 "]", ino);
	for (size_t i = 0; ino && (item = s->core->option_item(s, "external", i)); i++)
		if (!strcmp(item, key))
			return 1;
	return 0;
}

int check_prepare(struct cr_session *s)
{
	const char *what = s->core->option(s, "unix-peer");

	if (!what || !strcmp(what, "fail") || !strcmp(what, "close"))
		return 0;
	return cr_fail(s, EINVAL, "--unix-peer %s: expected fail or close", common_quote(s, what));
}

/* The connection of ino to another one may be cut: the user said so of this one, or of all. */
static int is_given_up(struct cr_session *s, uint32_t ino, uint32_t other, const char *name)
{
	const char *what = s->core->option(s, "unix-peer");

	if (is_external(s, ino) || is_external(s, other))
		return 1;
	if (!what || strcmp(what, "close"))
		return 0;
	if (s->core->mode(s) == CR_MODE_DUMP) {
		unix_state(s)->cut++;
		cr_info(s, "socket %" PRIu32 " is restored without its peer outside the tree, %s (--unix-peer close)", ino, name);
	}
	return 1;
}

int check_summary(struct cr_session *s)
{
	uint32_t n = unix_state(s)->cut;

	if (n)
		cr_lost(s, NULL, "%" PRIu32 " unix socket%s a peer outside the tree: restored, %s that the peer has closed", n,
			n == 1 ? " has" : "s have", n == 1 ? "it finds" : "they find");
	return 0;
}

static const char *remedy_external(struct cr_session *s, uint32_t ino)
{
	char text[160];

	snprintf(text, sizeof(text), "--external 'unix[%" PRIu32 "]' or --unix-peer close, which close the connection, or "
		 "dump the other process too", ino);
	return common_strdup(s, text);
}

static const char *remedy_waiting(struct cr_session *s, uint32_t ino)
{
	char text[160];

	snprintf(text, sizeof(text), "dump again when the program has accepted it; or --policy 'unix[%" PRIu32 "]=close', after "
		 "which the sender finds it closed", ino);
	return common_strdup(s, text);
}

/* A connection whose other end nobody has accepted. */
static int check_in_flight(struct cr_session *s, const struct sk_fact *k, const struct sk_fact *listener)
{
	const char *name = unix_name_text(s, listener->name, listener->name_len);

	if (is_external(s, k->ino))
		return 0;
	if (!unix_file_of(s, listener->ino)) {
		if (is_given_up(s, k->ino, 0, name))
			return 0;
		return cr_refuse(s, remedy_external(s, k->ino), "a connection to %s, which is outside the tree and has not "
				 "accepted it", name);
	}
	/* it is in a socket that has no descriptor, and that nobody can put back behind an accept(2) */
	if (k->wqueue)
		return cr_refuse(s, remedy_waiting(s, k->ino), "data was sent to %s over a connection that is not accepted yet",
				 name);
	return 0;
}

static int check_stream(struct cr_session *s, const struct sk_fact *k)
{
	const struct sk_fact *other;
	const char *name;

	if (k->state != SK_ESTABLISHED)
		return 0;
	if (!k->peer) {
		other = diag_listener_of(s, k->ino);
		return other ? check_in_flight(s, k, other) : 0;
	}
	if (unix_file_of(s, k->peer))
		return 0;
	other = diag_find(s, k->peer);
	name = other ? unix_name_text(s, other->name, other->name_len) : "unknown";
	if (is_given_up(s, k->ino, k->peer, name))
		return 0;
	return cr_refuse(s, remedy_external(s, k->ino), "a connection to a process outside the tree: socket %u, name %s",
			 k->peer, name);
}

static int check_listener(struct cr_session *s, const struct sk_fact *k)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < k->nicons; i++)
		n += !k->icons[i] || !unix_file_of(s, k->icons[i]);
	if (!n || s->core->option_flag(s, "skip-in-flight"))
		return 0;
	return cr_refuse(s, "--skip-in-flight, which drops them", "%u connections from outside the tree to %s wait to be "
			 "accepted", n, unix_name_text(s, k->name, k->name_len));
}

static int check_dgram(struct cr_session *s, const struct sk_fact *k)
{
	const struct sk_fact *other = diag_find(s, k->peer);
	const char *name = other ? unix_name_text(s, other->name, other->name_len) : "unknown";

	if (!k->peer || unix_file_of(s, k->peer))
		return 0;
	/* a peer that can be found again is worth more than one that is given up */
	if (s->core->option_flag(s, "ext-unix-sk") && other && other->name_len && (!other->name[0] || other->name[0] == '/'))
		return 0;
	if (is_given_up(s, k->ino, k->peer, name))
		return 0;
	if (!other || !other->name_len || (other->name[0] && other->name[0] != '/'))
		return cr_refuse(s, remedy_external(s, k->ino), "it is connected to socket %u (name %s) of a process outside the "
				 "tree", k->peer, name);
	return cr_refuse(s, "--ext-unix-sk, which connects to the same name at restore",
			 "it is connected to %s, a socket of a process outside the tree", name);
}

int unix_reconnects(struct cr_session *s, struct cr_file *f, const struct sk_fact *k)
{
	const struct sk_fact *other = k->peer ? diag_find(s, k->peer) : NULL;

	return CR_HAS(s->core, file_policy) && s->core->file_policy(s, f) == CR_POLICY_RECONNECT && other && other->name_len &&
	       (!other->name[0] || other->name[0] == '/') && !unix_file_of(s, k->peer);
}

int unix_check(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	const struct sk_fact *k;
	int err = diag_read(s);

	/* a tree that runs is not touched: a queue cannot be read without changing SO_PEEK_OFF */
	if (!err && s->core->mode(s) == CR_MODE_DUMP)
		err = queue_collect(s);
	if (err < 0)
		return err;
	k = diag_find(s, info->st.st_ino);
	if (!k) {
		if (s->core->mode(s) == CR_MODE_CHECK && (lfd < 0 || !sock_in_other_netns(lfd)))
			return 0; /* the tree runs: it may be gone */
		return cr_refuse(s, NULL, "the kernel does not list the socket: it belongs to another network namespace");
	}
	if (unix_reconnects(s, f, k))
		return 0;
	if (info->sock_type == SOCK_DGRAM)
		return check_dgram(s, k);
	if (k->state == SK_LISTEN)
		return check_listener(s, k);
	return check_stream(s, k);
}
