/* SPDX-License-Identifier: MIT */
/*
 * epoll.c: epoll_create(2) descriptions with their interest lists.
 *
 * The message holds the entries as fdinfo shows them: number, events, data, and the
 * inode as a hint.  Which file an entry watches follows from the number in the table
 * of the epoll's first holder (epoll_plain_target()); where that would be wrong, our
 * own image x-epoll-target names it.  resolve.c finds the files at the dump, wire.c
 * fills the list again.
 */
#include "epoll.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include "epoll-target.pb-c.h"
#include "util.h"

const struct cr_img_type img_targets = {
	.size = sizeof(struct cr_img_type),
	.name = "x-epoll-target",
	.magic = 0x45505431,
};

/* Restore: the contents of x-epoll-target. */
struct targets {
	EpollTargetEntry *v;
	size_t n;
	int is_read;
};

static int epoll_match(const struct cr_file_info *info)
{
	if (!info->anon || strcmp(info->anon, "eventpoll") || (info->flags & O_PATH))
		return CR_NOT_MINE;
	return CR_SPECIFIC;
}

/* ---- dump ---- */

/* x-epoll-target, for entries whose number would lead elsewhere. */
static int dump_target(struct cr_session *s, struct cr_file *f, const struct watch *w, size_t index)
{
	EpollTargetEntry e = EPOLL_TARGET_ENTRY__INIT;

	if (epoll_plain_target(s, f, w->tfd) == w->target)
		return 0;
	e.id = s->core->file_id(f);
	e.index = index;
	e.target = s->core->file_id(w->target);
	return common_append(s, &img_targets, CR_IMG_NO_ID, &e.base);
}

static void fill_tfd(const struct watch *w, EventpollTfdEntry *e)
{
	eventpoll_tfd_entry__init(e);
	e->tfd = w->tfd;
	e->events = w->events;
	e->data = w->data;
	e->has_dev = e->has_inode = e->has_pos = 1;
	e->dev = w->dev;
	e->inode = w->ino;
	e->pos = w->pos;
}

static int epoll_dump(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	const struct epoll *ep = s->core->file_priv(f);
	EventpollFileEntry e = EVENTPOLL_FILE_ENTRY__INIT;
	_cleanup_free_ EventpollTfdEntry *tfds = NULL;
	_cleanup_free_ EventpollTfdEntry **list = NULL;
	FownEntry fown;
	int err = ep->resolved ? 0 : epoll_resolve(s, f, lfd, info);

	tfds = xcalloc(ep->n, sizeof(*tfds));
	list = xcalloc(ep->n, sizeof(*list));
	for (size_t i = 0; i < ep->n && !err; i++) {
		fill_tfd(&ep->watches[i], &tfds[i]);
		list[i] = &tfds[i];
		err = dump_target(s, f, &ep->watches[i], i);
	}
	if (err == 0)
		err = epoll_busy_dump(s, f, lfd);
	if (err < 0)
		return err;
	common_fown_dump(s, f, &fown);
	e.id = s->core->file_id(f);
	e.flags = info->flags;
	e.fown = &fown;
	e.n_tfd = ep->n;
	e.tfd = list;
	return common_emit_msg(s, f, &e);
}

/* ---- restore ---- */

/* The image is read at the first epoll that is loaded. */
static int get_targets(struct cr_session *s, struct targets **ret)
{
	struct targets *all = s->core->plugin_priv(s, sizeof(*all));
	int err = 0;

	if (!all->is_read) {
		all->is_read = 1;
		err = common_read_list(s, &img_targets, &epoll_target_entry__descriptor, (void **)&all->v, &all->n);
	}
	*ret = all;
	return err;
}

static int load_targets(struct cr_session *s, struct cr_file *f, struct epoll *ep)
{
	struct targets *all;
	int err = get_targets(s, &all);

	for (size_t i = 0; i < all->n && !err; i++) {
		struct cr_file *target;

		if (all->v[i].id != s->core->file_id(f))
			continue;
		target = s->core->file_by_id(s, all->v[i].target);
		if (!target || target == f || all->v[i].index >= ep->n)
			return cr_fail(s, EPROTO,
				       "x-epoll-target.img: epoll %u has no entry %u, or no file %u exists",
				       all->v[i].id, all->v[i].index, all->v[i].target);
		ep->watches[all->v[i].index].target = target;
		err = s->core->file_need(s, f, target);
	}
	return err;
}

static int epoll_load(struct cr_session *s, struct cr_file *f, const void *data, size_t len)
{
	_cleanup_msg_ EventpollFileEntry *e = common_unpack(s, &eventpoll_file_entry__descriptor, data, len);
	struct epoll *ep = s->core->file_priv(f);

	if (!e)
		return -EPROTO;
	ep->flags = e->flags;
	ep->fown = *e->fown;
	ep->n = e->n_tfd;
	ep->watches = ep->n ? s->core->alloc(s, ep->n * sizeof(*ep->watches)) : NULL;
	for (size_t i = 0; i < ep->n; i++) {
		struct watch *w = &ep->watches[i];

		if (e->tfd[i]->tfd > INT32_MAX)
			return cr_fail(s, EPROTO, "the image has an epoll that watches descriptor %u",
				       e->tfd[i]->tfd);
		w->tfd = e->tfd[i]->tfd;
		w->events = e->tfd[i]->events;
		w->data = e->tfd[i]->data;
	}
	return load_targets(s, f, ep);
}

static int epoll_open(struct cr_session *s, struct cr_file *f, int *ret_fd)
{
	const struct epoll *ep = s->core->file_priv(f);
	_cleanup_fd_ int fd = epoll_create1(EPOLL_CLOEXEC);
	int err;

	if (fd < 0)
		return cr_fail(s, errno, "epoll_create1: %s", strerror(errno));
	err = common_set_flags(s, fd, ep->flags);
	if (err < 0)
		return err;
	*ret_fd = fd;
	fd = -1;
	return CR_OK;
}

static int epoll_wire(struct cr_session *s, struct cr_file *f)
{
	const struct epoll *ep = s->core->file_priv(f);
	int err = epoll_plan(s, f);

	if (err == 0)
		err = epoll_busy_restore(s, f, s->core->file_fd(f));
	return err < 0 ? err : common_fown_restore(s, f, &ep->fown);
}

static const struct cr_feature feature_kcmp = {
	.size = sizeof(struct cr_feature),
	.name = "kcmp_epoll",
	.cost = "files that an epoll watches are found by descriptor number and inode only",
	.probe = epoll_probe_kcmp,
};

static const struct cr_file_kind epoll_kind = {
	.size = sizeof(struct cr_file_kind),
	.name = "eventpoll",
	.fd_type = 7,
	.field = 9,
	.priv_size = sizeof(struct epoll),
	.match = epoll_match,
	.check = epoll_resolve,
	.dump = epoll_dump,
	.load = epoll_load,
	.open = epoll_open,
	.wire = epoll_wire,
};
static const struct cr_file_kind *const epoll_kinds[] = { &epoll_kind, NULL };
static const struct cr_feature *const epoll_features[] = { &feature_kcmp, NULL };
static const struct cr_img_type *const epoll_images[] = { &img_targets, &epoll_img_busy, NULL };

static const struct cr_plugin epoll_plugin = {
	.size = sizeof(struct cr_plugin),
	.abi = CR_ABI,
	.name = "epoll",
	.version = "0.1",
	.summary = "Keeps epoll descriptors and what they watch.",
	.files = epoll_kinds,
	.features = epoll_features,
	.images = epoll_images,
};
CR_PLUGIN_REGISTER(epoll_plugin);
