/* SPDX-License-Identifier: MIT */
/*
 * The session: its life, its memory and its id spaces.
 *
 * It is freed from here too: the parts that hang from it are taken down in the order in
 * which they need each other.
 */
#include "session.h"

#include <errno.h>
#include <string.h>

#include "files.h"
#include "image.h"
#include "mem.h"
#include "plugin.h"
#include "restore.h"
#include "services.h"
#include "tree.h"
#include "warden.h"

/* Keys are kept in order of their ids; the table is open addressing over indices + 1. */
struct id_key {
	void *data;
	size_t len;
};

struct id_space {
	char *name;
	VEC(struct id_key) keys;
	uint32_t *table;
	size_t buckets; /* power of two, 0 before the first key */
};

struct session *session_new(uint32_t mode, struct options *opts)
{
	struct session *s = xcalloc(1, sizeof(*s));

	s->pub.core = &core_services;
	s->mode = mode;
	s->tree_is = mode == CR_MODE_RESTORE ? TREE_ABSENT : TREE_RUNNING;
	s->opts = opts;
	return s;
}

static void id_space_free(struct id_space *sp)
{
	for (size_t i = 0; i < sp->keys.n; i++)
		free(sp->keys.v[i].data);
	vec_free(&sp->keys);
	free(sp->table);
	free(sp->name);
	free(sp);
}

static void free_messages(struct session *s)
{
	for (size_t i = 0; i < s->blockers.n; i++) {
		free(s->blockers.v[i].plugin);
		free(s->blockers.v[i].object);
		free(s->blockers.v[i].text);
		free(s->blockers.v[i].remedy);
	}
	vec_free(&s->blockers);
	for (size_t i = 0; i < s->loss_bans.n; i++)
		free(s->loss_bans.v[i]);
	vec_free(&s->loss_bans);
	for (size_t i = 0; i < s->losses.n; i++) {
		free(s->losses.v[i].plugin);
		free(s->losses.v[i].object);
		free(s->losses.v[i].text);
	}
	vec_free(&s->losses);
	free(s->err.plugin);
	free(s->err.text);
}

void session_end(struct session *s)
{
	if (s->warden)
		warden_abort(s);
	if (s->plugins)
		plugins_done(s, s->err.errnum ? -s->err.errnum : 0);
	/* in the order in which they were found: which end of a connection is closed first makes a difference */
	if (s->files)
		files_close(s);
}

void session_free(struct session *s)
{
	if (!s)
		return;
	session_end(s);
	if (s->restore)
		restore_free(s->restore);
	if (s->files)
		files_free(s->files);
	policies_free(s->policies);
	if (s->shmem)
		shmem_free(s->shmem);
	waits_free(s);
	if (s->tree)
		tree_free(s->tree);
	if (s->imgs)
		images_free(s->imgs);
	for (size_t i = 0; i < s->id_spaces.n; i++)
		id_space_free(s->id_spaces.v[i]);
	vec_free(&s->id_spaces);
	for (size_t i = 0; i < s->allocations.n; i++)
		free(s->allocations.v[i]);
	vec_free(&s->allocations);
	free_messages(s);
	free(s);
}

void *session_alloc(struct session *s, size_t bytes)
{
	void *p = xcalloc(1, bytes);

	*vec_push(&s->allocations) = p;
	return p;
}

static uint64_t hash_bytes(const void *data, size_t len)
{
	const unsigned char *p = data;
	uint64_t h = 0xcbf29ce484222325ull; /* FNV-1a */

	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * 0x100000001b3ull;
	return h ^ (h >> 29);
}

static struct id_space *space_get(struct session *s, const char *name)
{
	struct id_space *sp;

	for (size_t i = 0; i < s->id_spaces.n; i++)
		if (!strcmp(s->id_spaces.v[i]->name, name))
			return s->id_spaces.v[i];
	sp = xcalloc(1, sizeof(*sp));
	sp->name = xstrdup(name);
	*vec_push(&s->id_spaces) = sp;
	return sp;
}

/* The bucket of the key, or the empty one where it belongs. */
static uint32_t *space_bucket(struct id_space *sp, const void *key, size_t len)
{
	size_t mask = sp->buckets - 1;

	for (size_t i = hash_bytes(key, len) & mask;; i = (i + 1) & mask) {
		struct id_key *k;

		if (!sp->table[i])
			return &sp->table[i];
		k = &sp->keys.v[sp->table[i] - 1];
		if (k->len == len && (!len || !memcmp(k->data, key, len)))
			return &sp->table[i];
	}
}

static void space_grow(struct id_space *sp)
{
	sp->buckets = sp->buckets ? sp->buckets * 2 : 64;
	free(sp->table);
	sp->table = xcalloc(sp->buckets, sizeof(*sp->table));
	for (size_t i = 0; i < sp->keys.n; i++)
		*space_bucket(sp, sp->keys.v[i].data, sp->keys.v[i].len) = i + 1;
}

uint32_t session_id(struct session *s, const char *space, const void *key, size_t len, int *ret_new)
{
	struct id_space *sp = space_get(s, space);
	uint32_t *bucket;
	struct id_key k;

	if (2 * (sp->keys.n + 1) > sp->buckets)
		space_grow(sp);
	bucket = space_bucket(sp, key, len);
	if (ret_new)
		*ret_new = !*bucket;
	if (*bucket)
		return *bucket;
	k.data = xcalloc(1, len);
	k.len = len;
	if (len)
		memcpy(k.data, key, len);
	*vec_push(&sp->keys) = k;
	*bucket = sp->keys.n;
	return *bucket;
}
