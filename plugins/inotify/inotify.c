/* SPDX-License-Identifier: MIT */
/*
 * inotify.c: inotify(7) descriptions with their watches.
 *
 * fdinfo shows every watch: number, inode, device, file handle, mask.  The inode becomes a file
 * object (fsnotify.h in plugins/common), which our own image x-inotify-target names.  At restore the
 * inotify is created without watches and gets its unread events back (queue.c); the watches are set when
 * the whole tree is parked (restored()), so that what the restore itself does with files is not reported.
 */
#include "inotify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "inotify-target.pb-c.h"

static const struct cr_img_type img_targets = { sizeof(img_targets), "x-inotify-target", 0x494e5431, 0 };

/* Restore: the contents of x-inotify-target. */
struct targets {
	InotifyTargetEntry *v;
	size_t n;
	int is_read;
};

static const struct cr_file_kind inotify_kind;

static int inotify_match(const struct cr_file_info *info)
{
	/* "anon_inode:inotify", without brackets */
	if (!info->anon || strcmp(info->anon, "inotify") || (info->flags & O_PATH))
		return CR_NOT_MINE;
	return CR_SPECIFIC;
}

/* ---- dump ---- */

static int by_number(const void *a, const void *b)
{
	const struct watch *x = a, *y = b;

	return (x->wd > y->wd) - (x->wd < y->wd);
}

static int read_watches(struct cr_session *s, const char *fdinfo, struct inotify *in)
{
	VEC(struct watch) list = { 0 };
	int err = 0;

	for (const char *p = strstr(fdinfo, "inotify wd:"); p && !err; p = strstr(p + 1, "inotify wd:")) {
		struct watch *w = vec_push(&list);
		const char *mask = strstr(p, "mask:");

		/* the number is printed in hexadecimal */
		if (sscanf(p, "inotify wd:%x", (unsigned int *)&w->wd) != 1 || !mask ||
		    sscanf(mask, "mask:%" SCNx32, &w->mask) != 1)
			err = -EPROTO;
		else
			err = fsn_parse(p, &w->object);
	}
	if (!err && list.n) {
		qsort(list.v, list.n, sizeof(*list.v), by_number);
		in->watches = s->core->alloc(s, list.n * sizeof(*list.v));
		memcpy(in->watches, list.v, list.n * sizeof(*list.v));
	}
	in->n = err ? 0 : list.n;
	vec_free(&list);
	return err;
}

static int inotify_check(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	struct inotify *in = s->core->file_priv(f);
	int result = 0;

	if (read_watches(s, info->fdinfo, in))
		return cr_refuse(s, "a kernel of 3.8 or later", "fdinfo of the inotify is not understood");
	in->queued = lfd < 0 ? 0 : inotify_queued(lfd);
	for (size_t i = 0; i < in->n; i++) {
		struct watch *w = &in->watches[i];
		char what[32];
		int err;

		snprintf(what, sizeof(what), "watch %d", w->wd);
		err = fsn_collect(s, info, &w->object, what, &w->target);
		if (err < 0 && err != -EOPNOTSUPP)
			return err;
		result = result ? result : err;
	}
	return result;
}

static int dump_target(struct cr_session *s, struct cr_file *f, const struct watch *w)
{
	InotifyTargetEntry e = INOTIFY_TARGET_ENTRY__INIT;

	e.id = s->core->file_id(f);
	e.wd = w->wd;
	e.target = s->core->file_id(w->target);
	return common_append(s, &img_targets, CR_IMG_NO_ID, &e.base);
}

struct packed {
	InotifyWdEntry e;
	FhEntry fh;
	uint64_t words[FSN_HANDLE_WORDS];
};

static void pack_watch(struct cr_session *s, uint32_t id, const struct watch *w, struct packed *p)
{
	inotify_wd_entry__init(&p->e);
	fsn_pack(s, &w->object, w->target, &p->fh, p->words);
	p->e.id = id;
	p->e.i_ino = w->object.ino;
	p->e.mask = w->mask;
	p->e.s_dev = w->object.dev;
	p->e.wd = w->wd;
	p->e.f_handle = &p->fh;
}

static int inotify_dump(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	const struct inotify *in = s->core->file_priv(f);
	InotifyFileEntry e = INOTIFY_FILE_ENTRY__INIT;
	_cleanup_free_ struct packed *packed = xcalloc(in->n, sizeof(*packed));
	_cleanup_free_ InotifyWdEntry **list = xcalloc(in->n, sizeof(*list));
	FownEntry fown;
	int err = 0;

	for (size_t i = 0; i < in->n && !err; i++) {
		pack_watch(s, s->core->file_id(f), &in->watches[i], &packed[i]);
		list[i] = &packed[i].e;
		err = dump_target(s, f, &in->watches[i]);
	}
	if (err < 0)
		return err;
	common_fown_dump(s, f, &fown);
	e.id = s->core->file_id(f);
	e.flags = info->flags;
	e.fown = &fown;
	e.wd = list;
	e.n_wd = in->n;
	return common_emit_msg(s, f, &e);
}

/* ---- restore ---- */

/* The image is read at the first inotify that is loaded. */
static int get_targets(struct cr_session *s, struct targets **ret)
{
	struct targets *all = s->core->plugin_priv(s, sizeof(*all));
	int err = 0;

	if (!all->is_read) {
		all->is_read = 1;
		err = common_read_list(s, &img_targets, &inotify_target_entry__descriptor, (void **)&all->v, &all->n);
	}
	*ret = all;
	return err;
}

static struct watch *watch_by_number(struct inotify *in, int32_t wd)
{
	struct watch key = { .wd = wd };

	return in->n ? bsearch(&key, in->watches, in->n, sizeof(key), by_number) : NULL;
}

static int load_targets(struct cr_session *s, struct cr_file *f, struct inotify *in)
{
	struct targets *all;
	int err = get_targets(s, &all);

	for (size_t i = 0; i < all->n && !err; i++) {
		struct cr_file *target;
		struct watch *w;

		if (all->v[i].id != s->core->file_id(f))
			continue;
		target = s->core->file_by_id(s, all->v[i].target);
		w = all->v[i].wd <= INT32_MAX ? watch_by_number(in, (int32_t)all->v[i].wd) : NULL;
		if (!target || target == f || !w)
			return cr_fail(s, EPROTO, "x-inotify-target.img: inotify %u has no watch %u, or no file %u exists",
				       all->v[i].id, all->v[i].wd, all->v[i].target);
		w->target = target;
		err = s->core->file_need(s, f, target);
	}
	return err;
}

#define KNOWN_BITS (IN_ALL_EVENTS | IN_EXCL_UNLINK | IN_ONESHOT)

static int inotify_load(struct cr_session *s, struct cr_file *f, const void *data, size_t len)
{
	const InotifyFileEntry *e = common_load(s, &inotify_file_entry__descriptor, data, len);
	struct inotify *in = s->core->file_priv(f);

	if (!e)
		return -EPROTO;
	in->flags = e->flags;
	in->fown = *e->fown;
	in->n = e->n_wd;
	in->watches = in->n ? s->core->alloc(s, in->n * sizeof(*in->watches)) : NULL;
	for (size_t i = 0; i < in->n; i++) {
		struct watch *w = &in->watches[i];

		w->wd = (int32_t)e->wd[i]->wd;
		w->mask = e->wd[i]->mask & KNOWN_BITS;
		w->handle = e->wd[i]->f_handle;
		w->dev = e->wd[i]->s_dev;
		if (w->wd < 1 || !(w->mask & IN_ALL_EVENTS))
			return cr_fail(s, EPROTO, "the image has a watch with number %d and mask %#x", w->wd, w->mask);
	}
	if (in->n)
		qsort(in->watches, in->n, sizeof(*in->watches), by_number);
	for (size_t i = 1; i < in->n; i++)
		if (in->watches[i].wd == in->watches[i - 1].wd)
			return cr_fail(s, EPROTO, "the image has two watches %d in one inotify", in->watches[i].wd);
	return load_targets(s, f, in);
}

static int inotify_open(struct cr_session *s, struct cr_file *f, int *ret_fd)
{
	struct inotify *in = s->core->file_priv(f);
	_cleanup_fd_ int fd = inotify_init1(IN_CLOEXEC);
	int err;

	if (fd < 0)
		return cr_fail(s, errno, "inotify_init1: %s%s", strerror(errno),
			       errno == EMFILE ? " (raise the sysctl fs.inotify.max_user_instances)" : "");
	err = common_set_flags(s, fd, in->flags);
	if (err < 0)
		return err;
	in->created = 1;
	*ret_fd = fd;
	fd = -1;
	return CR_OK;
}

static int inotify_wire(struct cr_session *s, struct cr_file *f)
{
	const struct inotify *in = s->core->file_priv(f);

	return common_fown_restore(s, f, &in->fown);
}

/* Gives f back those of all events that are its own. */
static void fill_queue(struct cr_session *s, struct cr_file *f, const saved_events *all)
{
	const struct inotify *in = s->core->file_priv(f);
	saved_events own = { 0 };

	for (size_t i = 0; i < all->n; i++)
		if (all->v[i].id == s->core->file_id(f))
			*vec_push(&own) = all->v[i];
	if (own.n)
		inotify_queue_restore(s, f, s->core->file_fd(f), in, own.v, own.n);
	vec_free(&own);
}

/* Next inotify behind prev (NULL: the first) that open() has made. */
static struct cr_file *next_created(struct cr_session *s, struct cr_file *prev)
{
	struct cr_file *f = prev;

	while ((f = s->core->file_next(s, f)))
		if (!strcmp(s->core->file_kind(f), inotify_kind.name) &&
		    ((const struct inotify *)s->core->file_priv(f))->created)
			return f;
	return NULL;
}

/* Before there is any watch: what inotify_queue_restore() does is seen by nobody. */
static int inotify_opened(struct cr_session *s)
{
	saved_events all = { 0 };
	int err = inotify_queue_load(s, &all);

	for (struct cr_file *f = next_created(s, NULL); f && !err; f = next_created(s, f))
		fill_queue(s, f, &all);
	vec_free(&all);
	return err;
}

static int inotify_restored(struct cr_session *s)
{
	int err = 0;

	for (struct cr_file *f = next_created(s, NULL); f && !err; f = next_created(s, f))
		err = inotify_watches_set(s, s->core->file_fd(f), s->core->file_priv(f));
	return err;
}

static int inotify_late(struct cr_session *s)
{
	int err = 0;

	for (struct cr_file *f = s->core->file_next(s, NULL); f && !err; f = s->core->file_next(s, f))
		if (!strcmp(s->core->file_kind(f), inotify_kind.name))
			err = inotify_queue_dump(s, f);
	return err;
}

static const struct cr_option opt_scan = {
	.size = sizeof(opt_scan), .name = "irmap-scan-path", .rpc_field = "irmap_scan_paths", .kind = CR_OPT_LIST,
	.modes = 1u << CR_MODE_DUMP | 1u << CR_MODE_CHECK, .arg = "DIR",
	.help = "Look in this directory first for watched files that the kernel does not name.",
};
static const struct cr_option opt_force = {
	.size = sizeof(opt_force), .name = "force-irmap", .rpc_field = "force_irmap", .kind = CR_OPT_FLAG,
	.modes = 1u << CR_MODE_DUMP | 1u << CR_MODE_CHECK,
	.help = "Look for names of watched files, even where the file system decodes handles.",
};

static const struct cr_file_kind inotify_kind = {
	.size = sizeof(inotify_kind),
	.name = "inotify",
	.fd_type = 8,
	.field = 13,
	.priv_size = sizeof(struct inotify),
	.match = inotify_match,
	.check = inotify_check,
	.dump = inotify_dump,
	.load = inotify_load,
	.open = inotify_open,
	.wire = inotify_wire,
};
static const struct cr_file_kind *const inotify_kinds[] = { &inotify_kind, NULL };
static const struct cr_img_type *const inotify_images[] = { &img_targets, &inotify_img_events, NULL };
static const struct cr_option *const inotify_options[] = { &opt_scan, &opt_force, NULL };

static const struct cr_plugin inotify_plugin = {
	.size = sizeof(inotify_plugin),
	.abi = CR_ABI,
	.name = "inotify",
	.version = "0.1",
	.summary = "Keeps inotify descriptors and their watches.",
	.options = inotify_options,
	.files = inotify_kinds,
	.images = inotify_images,
	.dump_late = inotify_late,
	.opened = inotify_opened,
	.restored = inotify_restored,
	.undo = inotify_undo,
};
CR_PLUGIN_REGISTER(inotify_plugin);
