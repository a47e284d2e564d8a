/* SPDX-License-Identifier: MIT */
/*
 * fanotify.c: fanotify(7) groups with their marks on inodes, mounts and file systems.
 *
 * fdinfo shows flags and marks.  What a mark is on becomes a file object, which our own image
 * x-fanotify-target names.  Marks are set when the tree is parked (restored()), so that
 * the restore itself is not reported; those with permission events when it runs, since until
 * then nobody answers, and whoever opens such a file would wait for ever.
 */
#include "fanotify.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "fanotify-target.pb-c.h"

static const struct cr_img_type img_targets = { sizeof(img_targets), "x-fanotify-target", 0x46414e31, 0 };

/* Restore: the contents of x-fanotify-target. */
struct targets {
	FanotifyTargetEntry *v;
	size_t n;
	int is_read;
};

static const struct cr_file_kind fanotify_kind;

static int fan_match(const struct cr_file_info *info)
{
	if (!info->anon || strcmp(info->anon, "fanotify") || (info->flags & O_PATH))
		return CR_NOT_MINE;
	return CR_SPECIFIC;
}

/* ---- dump ---- */

#define CLASSES (FAN_CLASS_CONTENT | FAN_CLASS_PRE_CONTENT)

/* What is in the queue cannot be given back; somebody may even wait for an answer to it. */
static int look_at_queue(struct cr_session *s, const struct group *g, int lfd)
{
	int bytes = 0;

	if (lfd < 0 || ioctl(lfd, FIONREAD, &bytes) || bytes <= 0)
		return 0;
	if (g->faflags & CLASSES)
		return cr_refuse(s, NULL, "the fanotify group has events that have not been read, and somebody may wait for an "
				 "answer: try again when they have been answered");
	cr_lost(s, NULL, "fanotify: %d bytes of events that have not been read will be missing after a restore", bytes);
	return 0;
}

static int fan_check(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	struct group *g = s->core->file_priv(f);
	int result, err;

	if (marks_parse(s, info->fdinfo, g))
		return cr_refuse(s, NULL, "fdinfo of the fanotify group is not understood: it has a mark of an unknown kind");
	result = look_at_queue(s, g, lfd);
	for (size_t i = 0; i < g->n; i++) {
		err = mark_find(s, info, &g->marks[i]);
		if (err < 0 && err != -EOPNOTSUPP)
			return err;
		result = result ? result : err;
	}
	return result;
}

/* index: of the mark in the message, ignored for one on a file system. */
static int dump_target(struct cr_session *s, struct cr_file *f, const struct mark *m, uint32_t index)
{
	FanotifyTargetEntry e = FANOTIFY_TARGET_ENTRY__INIT;
	int whole = m->kind == ON_FILESYSTEM;

	e.id = s->core->file_id(f);
	e.target = s->core->file_id(m->target);
	e.has_index = !whole;
	e.index = index;
	e.has_mflags = e.has_mask = e.has_ignored_mask = whole;
	e.mflags = m->mflags;
	e.mask = m->mask;
	e.ignored_mask = m->ignored;
	return common_append(s, &img_targets, CR_IMG_NO_ID, &e.base);
}

struct packed {
	FanotifyMarkEntry e;
	FanotifyInodeMarkEntry ie;
	FanotifyMountMarkEntry me;
	FhEntry fh;
	uint64_t words[FSN_HANDLE_WORDS];
};

static void pack_mark(struct cr_session *s, uint32_t id, const struct mark *m, struct packed *p)
{
	fanotify_mark_entry__init(&p->e);
	p->e.id = id;
	p->e.mflags = m->mflags;
	p->e.mask = m->mask;
	p->e.ignored_mask = m->ignored;
	p->e.s_dev = m->dev;
	if (m->kind == ON_MOUNT) {
		fanotify_mount_mark_entry__init(&p->me);
		p->e.type = MARK_TYPE__MOUNT;
		p->e.me = &p->me;
		p->me.mnt_id = m->mnt_id;
		p->me.path = (char *)s->core->file_info(m->target)->link;
		return;
	}
	fanotify_inode_mark_entry__init(&p->ie);
	fsn_pack(s, &m->object, m->target, &p->fh, p->words);
	p->e.type = MARK_TYPE__INODE;
	p->e.ie = &p->ie;
	p->ie.i_ino = m->object.ino;
	p->ie.f_handle = &p->fh;
}

static int fan_dump(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	const struct group *g = s->core->file_priv(f);
	FanotifyFileEntry e = FANOTIFY_FILE_ENTRY__INIT;
	_cleanup_free_ struct packed *packed = xcalloc(g->n, sizeof(*packed));
	_cleanup_free_ FanotifyMarkEntry **list = xcalloc(g->n, sizeof(*list));
	FownEntry fown;
	int err = 0;

	for (size_t i = 0; i < g->n && !err; i++) {
		err = dump_target(s, f, &g->marks[i], e.n_mark);
		if (g->marks[i].kind == ON_FILESYSTEM)
			continue;
		pack_mark(s, s->core->file_id(f), &g->marks[i], &packed[e.n_mark]);
		list[e.n_mark] = &packed[e.n_mark].e;
		e.n_mark++;
	}
	if (err < 0)
		return err;
	common_fown_dump(s, f, &fown);
	e.id = s->core->file_id(f);
	e.flags = info->flags;
	e.fown = &fown;
	e.faflags = g->faflags;
	e.evflags = g->evflags;
	e.mark = list;
	return common_emit_msg(s, f, &e);
}

/* ---- restore ---- */

/* The image is read at the first group that is loaded. */
static int get_targets(struct cr_session *s, struct targets **ret)
{
	struct targets *all = s->core->plugin_priv(s, sizeof(*all));
	int err = 0;

	if (!all->is_read) {
		all->is_read = 1;
		err = common_read_list(s, &img_targets, &fanotify_target_entry__descriptor, (void **)&all->v, &all->n);
	}
	*ret = all;
	return err;
}

/* One entry of x-fanotify-target that belongs to f; n: marks in its message. */
static int take_target(struct cr_session *s, struct cr_file *f, struct group *g, const FanotifyTargetEntry *e, size_t n)
{
	struct cr_file *target = s->core->file_by_id(s, e->target);
	struct mark *m = &g->marks[e->has_index ? e->index : g->n];

	if (!target || target == f || (e->has_index && e->index >= n))
		return cr_fail(s, EPROTO, "x-fanotify-target.img: group %u has no mark %u, or no file %u exists", e->id, e->index,
			       e->target);
	if (!e->has_index) {
		*m = (struct mark){ .kind = ON_FILESYSTEM, .mflags = e->mflags, .mask = e->mask, .ignored = e->ignored_mask };
		g->n++;
	}
	m->target = target;
	return s->core->file_need(s, f, target);
}

static int load_mark(struct cr_session *s, const FanotifyMarkEntry *e, struct mark *m)
{
	*m = (struct mark){ .mflags = e->mflags, .mask = e->mask, .ignored = e->ignored_mask, .dev = e->s_dev, .e = e };
	m->kind = e->type == MARK_TYPE__MOUNT ? ON_MOUNT : ON_INODE;
	if ((m->kind == ON_MOUNT && e->me && e->me->path) || (m->kind == ON_INODE && e->ie))
		return 0;
	return cr_fail(s, EPROTO, "the image has a fanotify mark of type %d that is on nothing", e->type);
}

static int fan_load(struct cr_session *s, struct cr_file *f, const void *data, size_t len)
{
	const FanotifyFileEntry *e = common_load(s, &fanotify_file_entry__descriptor, data, len);
	struct group *g = s->core->file_priv(f);
	struct targets *all;
	size_t n;
	int err = e ? get_targets(s, &all) : -EPROTO;

	if (err < 0)
		return err;
	g->flags = e->flags;
	g->fown = *e->fown;
	g->faflags = e->faflags;
	g->evflags = e->evflags;
	g->marks = s->core->alloc(s, (e->n_mark + all->n + 1) * sizeof(*g->marks));
	for (; g->n < e->n_mark && !err; g->n++)
		err = load_mark(s, e->mark[g->n], &g->marks[g->n]);
	n = g->n;
	for (size_t i = 0; i < all->n && !err; i++)
		if (all->v[i].id == s->core->file_id(f))
			err = take_target(s, f, g, &all->v[i], n);
	return err;
}

static int fan_open(struct cr_session *s, struct cr_file *f, int *ret_fd)
{
	struct group *g = s->core->file_priv(f);
	_cleanup_fd_ int fd = fanotify_init((g->faflags & ~(uint32_t)FAN_NONBLOCK) | FAN_CLOEXEC, g->evflags);
	int err;

	if (fd < 0)
		return cr_fail(s, errno, "fanotify_init with flags %#x, %#x: %s%s", g->faflags, g->evflags, strerror(errno),
			       errno == EMFILE ? " (raise the sysctl fs.fanotify.max_user_groups)" :
			       errno == EPERM  ? " (such a group needs CAP_SYS_ADMIN)" : "");
	err = common_set_flags(s, fd, g->flags);
	if (err < 0)
		return err;
	g->created = 1;
	*ret_fd = fd;
	fd = -1;
	return CR_OK;
}

static int fan_wire(struct cr_session *s, struct cr_file *f)
{
	const struct group *g = s->core->file_priv(f);

	return common_fown_restore(s, f, &g->fown);
}

static int set_all(struct cr_session *s, int permission)
{
	for (struct cr_file *f = s->core->file_next(s, NULL); f; f = s->core->file_next(s, f)) {
		const struct group *g;
		int err;

		if (strcmp(s->core->file_kind(f), fanotify_kind.name))
			continue;
		g = s->core->file_priv(f);
		err = g->created ? marks_set(s, s->core->file_fd(f), g, permission) : 0;
		if (err < 0)
			return err;
	}
	return 0;
}

static int fan_restored(struct cr_session *s)
{
	return set_all(s, 0);
}

static void fan_done(struct cr_session *s, int error)
{
	if (s->core->mode(s) == CR_MODE_RESTORE && !error)
		set_all(s, 1);
}

static const struct cr_file_kind fanotify_kind = {
	.size = sizeof(fanotify_kind),
	.name = "fanotify",
	.fd_type = 12,
	.field = 14,
	.priv_size = sizeof(struct group),
	.match = fan_match,
	.check = fan_check,
	.dump = fan_dump,
	.load = fan_load,
	.open = fan_open,
	.wire = fan_wire,
};
static const struct cr_file_kind *const fan_kinds[] = { &fanotify_kind, NULL };
static const struct cr_img_type *const fan_images[] = { &img_targets, NULL };

static const struct cr_plugin fanotify_plugin = {
	.size = sizeof(fanotify_plugin),
	.abi = CR_ABI,
	.name = "fanotify",
	.version = "0.1",
	.summary = "Keeps fanotify groups and their marks.",
	.look = guard_look,
	.files = fan_kinds,
	.images = fan_images,
	.restored = fan_restored,
	.done = fan_done,
	.caps = (const char *const[]){ "CAP_SYS_ADMIN: groups that do not report handles", NULL },
};
CR_PLUGIN_REGISTER(fanotify_plugin);
