/* SPDX-License-Identifier: MIT */
/*
 * inherit.c: objects that stay outside of the images.
 *
 * Dump: --policy KIND=external claims the descriptors of a kind. --external file[MNTID:INODE] claims the open files of that
 * mount id and inode, whatever
 * they are; only their key goes into the images.  Restore: --inherit-fd fd[N]:KEY puts
 * descriptor N of the caller in the place of every object with that key: of an external one, which
 * cannot be opened otherwise, but also of a pipe, a terminal, a socket or a file that its
 * own plugin could restore.
 *
 * Keys are compared in one spelling (canonical()): "pipe:[12]" and "pipe[12]" are the same, and so
 * are "/tmp/log" and "tmp/log", "tty[8800:1A]" and "tty[8800:1a]", "unix[12]" and "socket:[12]".
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common.h"
#include "cr-plugin.h"
#include "ext-file.pb-c.h"
#include "inherit-key.pb-c.h"
#include "util.h"

/* An --inherit-fd of the user. */
struct passed {
	int fd;
	const char *key; /* canonical, memory of the session */
	uint32_t used;
};

/* A key from the images. */
struct known {
	uint32_t id;
	const char *key; /* memory of the session */
};

struct inherit_state {
	VEC(struct passed) passed;
	VEC(struct known) known;
};

struct external_priv {
	ExtFileEntry *e; /* memory of the session */
};

static const struct cr_img_type img_keys = { sizeof(img_keys), "x-inherit-keys", 0x58494b59, 0 };

static struct inherit_state *state(struct cr_session *s)
{
	return s->core->plugin_priv(s, sizeof(struct inherit_state));
}

/* ---- keys ---- */

/* "1b:10a7]" with nothing behind it; returns 1. */
static int two_hex(const char *p, uint64_t *ret_a, uint64_t *ret_b)
{
	char *end;

	if (!isxdigit((unsigned char)*p))
		return 0;
	*ret_a = strtoull(p, &end, 16);
	if (*end != ':' || !isxdigit((unsigned char)end[1]))
		return 0;
	*ret_b = strtoull(end + 1, &end, 16);
	return !strcmp(end, "]");
}

/* The one spelling of key, memory of the session. */
static const char *canonical(struct cr_session *s, const char *key)
{
	size_t word = 0, len = strlen(key);
	char *out = s->core->alloc(s, len + 64);
	const char *inner;
	uint64_t a, b;

	while (islower((unsigned char)key[word]))
		word++;
	inner = key + word + (key[word] == ':');
	if (!word || *inner != '[' || key[len - 1] != ']')
		return strcpy(out, key + strspn(key, "/"));
	/* --external unix[12] is the name that the dump had for it */
	if (word == 4 && !strncmp(key, "unix", 4))
		sprintf(out, "socket%s", inner);
	else if (two_hex(inner + 1, &a, &b))
		sprintf(out, "%.*s[%llx:%llx]", (int)word, key, (unsigned long long)a, (unsigned long long)b);
	else
		sprintf(out, "%.*s%s", (int)word, key, inner);
	return out;
}

/* ---- dump ---- */

static const struct cr_file_kind external_kind;

static int inherit_match(struct cr_session *s, const struct cr_file_info *info, const struct cr_file_kind **ret_kind)
{
	const char *item;
	uint64_t mnt, ino;

	for (size_t i = 0; (item = s->core->option_item(s, "external", i)); i++) {
		if (strncmp(item, "file[", 5) || !two_hex(item + 5, &mnt, &ino))
			continue;
		if (info->mnt_id < 0 || mnt != (uint64_t)info->mnt_id || ino != info->st.st_ino)
			continue;
		*ret_kind = &external_kind;
		return CR_FORCED;
	}
	return CR_NOT_MINE;
}

static int external_match(const struct cr_file_info *info)
{
	return CR_NOT_MINE; /* only what the user named */
}

/* A key that is misspelt would silently claim nothing. */
static int inherit_prepare(struct cr_session *s)
{
	const char *item;
	uint64_t mnt, ino;

	for (size_t i = 0; (item = s->core->option_item(s, "external", i)); i++)
		if (!strncmp(item, "file[", 5) && !two_hex(item + 5, &mnt, &ino))
			return cr_fail(s, EINVAL, "--external %s: expected file[MNTID:INODE], both hexadecimal",
				       common_quote(s, item));
	return 0;
}

static int external_dump(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	char key[256];
	InheritKeyEntry k;
	ExtFileEntry e;
	FownEntry fown;
	int err;

	if (s->core->file_key(s, f, key, sizeof(key)) < 0)
		return cr_fail(s, ENAMETOOLONG, "there is no key for it");
	cr_info(s, "external: pass a descriptor N for it with --inherit-fd fd[N]:%s", key);
	ext_file_entry__init(&e);
	common_fown_dump(s, f, &fown);
	e.id = s->core->file_id(f);
	e.fown = &fown;
	inherit_key_entry__init(&k);
	k.id = e.id;
	k.key = key;
	err = common_append(s, &img_keys, CR_IMG_NO_ID, &k.base);
	return err ? err : common_emit_msg(s, f, &e);
}

/* ---- restore ---- */

static int read_keys(struct cr_session *s)
{
	struct inherit_state *st = state(s);
	InheritKeyEntry *e;
	struct cr_reader *r;
	int ret = s->core->img_open(s, &img_keys, CR_IMG_NO_ID, &r);

	if (ret)
		return ret == -ENOENT ? 0 : ret;
	while ((ret = common_next(s, r, &inherit_key_entry__descriptor, (void **)&e)) == 1) {
		*vec_push(&st->known) = (struct known){ e->id, common_strdup(s, e->key) };
		common_free_msg(e);
	}
	s->core->img_close(r);
	return ret;
}

/* fd[N]:KEY */
static int parse_passed(struct cr_session *s, const char *item, struct passed *ret)
{
	unsigned long fd;
	char *end;

	if (strncmp(item, "fd[", 3) || !isdigit((unsigned char)item[3]))
		goto bad;
	fd = strtoul(item + 3, &end, 10);
	if (strncmp(end, "]:", 2) || !end[2] || fd > INT32_MAX)
		goto bad;
	if (fcntl((int)fd, F_GETFD) < 0)
		return cr_fail(s, EBADF, "--inherit-fd %s: descriptor %lu is not open here: the caller has to pass it on",
			       common_quote(s, item), fd);
	*ret = (struct passed){ .fd = (int)fd, .key = canonical(s, end + 2) };
	return 0;
bad:
	return cr_fail(s, EINVAL, "--inherit-fd %s: expected fd[N]:RESOURCE", common_quote(s, item));
}

static int inherit_stage(struct cr_session *s)
{
	struct inherit_state *st = state(s);
	struct passed p;
	const char *item;
	int err;

	for (size_t i = 0; (item = s->core->option_item(s, "inherit-fd", i)); i++) {
		err = parse_passed(s, item, &p);
		if (err)
			return err;
		*vec_push(&st->passed) = p;
	}
	return read_keys(s);
}

static const char *key_of(struct cr_session *s, struct cr_file *f)
{
	struct inherit_state *st = state(s);

	for (size_t i = 0; i < st->known.n; i++)
		if (st->known.v[i].id == s->core->file_id(f))
			return st->known.v[i].key;
	return NULL;
}

static int external_load(struct cr_session *s, struct cr_file *f, const void *data, size_t len)
{
	struct external_priv *p = s->core->file_priv(f);

	p->e = common_load(s, &ext_file_entry__descriptor, data, len);
	return p->e ? 0 : -EPROTO;
}

static int external_inherit_key(struct cr_session *s, struct cr_file *f, char *buf, size_t size)
{
	const char *key = key_of(s, f);

	return key && (size_t)snprintf(buf, size, "%s", key) < size ? 0 : -ENOENT;
}

static int missing(struct cr_session *s, const char *key)
{
	return cr_fail(s, ENOENT, "%s is external: pass an open descriptor N for it with --inherit-fd fd[N]:%s",
		       common_quote(s, key), common_quote(s, key));
}

/* Reached only when nobody provided a descriptor. */
static int external_open(struct cr_session *s, struct cr_file *f, int *ret_fd)
{
	const char *key = key_of(s, f);

	if (!key)
		return cr_fail(s, EPROTO, "an external file without a name in x-inherit-keys.img: the plugin that dumped it "
					  "is needed");
	return missing(s, key);
}

static int external_wire(struct cr_session *s, struct cr_file *f)
{
	struct external_priv *p = s->core->file_priv(f);

	return common_fown_restore(s, f, p->e->fown);
}

static int inherit_provide(struct cr_session *s, struct cr_file *f, const char *key, int *ret_fd)
{
	struct inherit_state *st = state(s);
	const char *want = st->passed.n ? canonical(s, key) : NULL;
	int fd;

	for (size_t i = 0; i < st->passed.n; i++) {
		struct passed *p = &st->passed.v[i];

		if (strcmp(p->key, want))
			continue;
		fd = fcntl(p->fd, F_DUPFD_CLOEXEC, 0);
		if (fd < 0)
			return cr_fail(s, errno, "duplicating descriptor %d for %s: %s", p->fd, common_quote(s, key),
				       strerror(errno));
		p->used = 1;
		*ret_fd = fd;
		return 1;
	}
	/* images have it as another kind, and the user says now that it is external; see also external_open() */
	if (s->core->file_policy(s, f) == CR_POLICY_EXTERNAL && !strcmp(s->core->file_kind(f), external_kind.name) &&
	    !key_of(s, f) && strncmp(key, "external[", 9))
		return missing(s, key);
	return 0;
}

/* Callers pass keys for all that might be there (namespaces too): worth a line in the log only. */
static int inherit_opened(struct cr_session *s)
{
	struct inherit_state *st = state(s);

	for (size_t i = 0; i < st->passed.n; i++)
		if (!st->passed.v[i].used)
			cr_info(s, "--inherit-fd: no object of the images is called %s",
				common_quote(s, st->passed.v[i].key));
	return 0;
}

static void inherit_done(struct cr_session *s, int error)
{
	struct inherit_state *st = state(s);

	vec_free(&st->passed);
	vec_free(&st->known);
}

/* ---- the plugin ---- */

static const struct cr_file_kind external_kind = {
	.size = sizeof(external_kind),
	.name = "external",
	.fd_type = 16, /* EXT */
	.field = 15,   /* file_entry.ext */
	.priv_size = sizeof(struct external_priv),
	.match = external_match,
	.dump = external_dump,
	.load = external_load,
	.open = external_open,
	.wire = external_wire,
	.inherit_key = external_inherit_key,
	.takes = CR_POLICY_EXTERNAL,
};

static const struct cr_img_type *const images[] = { &img_keys, NULL };
static const struct cr_file_kind *const kinds[] = { &external_kind, NULL };
static const char *const externals[] = { "file[", NULL };

static const struct cr_plugin plugin = {
	.size = sizeof(plugin),
	.abi = CR_ABI,
	.name = "inherit",
	.version = "0.1",
	.summary = "Open files that stay outside of the images and are passed in at restore.",
	.images = images,
	.files = kinds,
	.externals = externals,
	.prepare = inherit_prepare,
	.stage = inherit_stage,
	.opened = inherit_opened,
	.done = inherit_done,
	.provide = inherit_provide,
	.match = inherit_match,
};

CR_PLUGIN_REGISTER(plugin);
