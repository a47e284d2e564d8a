/* SPDX-License-Identifier: MIT */
/*
 * dump.c: claims, checks and writes the file objects that were collected.
 *
 * A worklist: a plugin's check() or dump() may collect further objects
 * (descriptors in a queue, the path behind a FIFO), which are appended and
 * treated in turn.  All objects are claimed and checked before the first is
 * dumped, so that every blocker is reported at once.
 */
#include "files_priv.h"

#include <errno.h>
#include <string.h>

#include "image.h"
#include "phase.h"

#include "fdinfo.pb-c.h"

static int claim(struct session *s, struct file *f)
{
	int err;

	f->claimed = true;
	err = plugins_claim(s, &f->info, &f->plugin, &f->kind);
	if (err == -ENOENT)
		err = path_claim(f);
	if (err == -ENOENT)
		f->kind = NULL;
	else if (err < 0)
		return err;
	err = policy_apply_dump(s, f);
	if (err < 0)
		return err;
	if (!f->kind) {
		refuse(s, "load a plugin for it, --policy unknown=close if the program can do without it, or --policy "
			  "unknown=external to pass it in at restore",
		       "no plugin claims %s (type %o%s%s)", f->link, f->info.st.st_mode & S_IFMT,
		       f->anon ? ", anonymous inode " : "", f->anon ? f->anon : "");
		return 0;
	}
	f->priv = xcalloc(1, f->kind->priv_size);
	return 0;
}

int hook_failed(struct session *s, const struct file *f, int err)
{
	if (err < 0 && !s->err.errnum && !s->blockers.n)
		return fail(s, -err, "plugin %s failed without a reason", f->plugin ? f->plugin->name : "core");
	return err;
}

static int check_one(struct session *s, struct file *f)
{
	int err;

	f->checked = true;
	if (!f->kind || !f->kind->check)
		return 0;
	err = HOOK(s, f->plugin, HOOK_FILE_CHECK, f->kind->check(&s->pub, cr_file_of(f), f->fd, &f->info));
	return err == -EOPNOTSUPP ? 0 : hook_failed(s, f, err);
}

/* Claims and checks whatever has appeared since the last call. */
static int check_new(struct session *s)
{
	struct files *fs = files_get(s);
	int err = 0;

	s->phase = "check";
	for (; fs->done < fs->all.n && err == 0; fs->done++) {
		struct file *f = fs->all.v[fs->done];

		file_at(s, f);
		err = claim(s, f);
		if (err == 0)
			err = check_one(s, f);
	}
	at_object(s, NULL);
	return err;
}

static int dump_one(struct session *s, struct file *f)
{
	int err = 0;

	f->dumped = true;
	file_at(s, f);
	if (f->kind->dump)
		err = HOOK(s, f->plugin, HOOK_FILE_DUMP, f->kind->dump(&s->pub, cr_file_of(f), f->fd, &f->info));
	if (err == -EOPNOTSUPP && s->blockers.n)
		return 0; /* reported with all the others */
	if (err < 0)
		return hook_failed(s, f, err);
	if (f->kind->field && !f->msg)
		return fail(s, EINVAL, "plugin %s gave no message for this object", f->plugin->name);
	return img_append_file(s, f->kind->fd_type, f->id, f->msg ? f->kind->field : 0, f->msg, f->msg_len);
}

static int write_tables(struct session *s)
{
	struct files *fs = files_get(s);

	for (size_t i = 0; i < fs->tables.n; i++) {
		struct fdtable *tab = fs->tables.v[i];

		if (tab->slots.n == 0) {
			/* an empty table still has its image */
			int err = img_raw(s, &img_fdinfo, tab->id, NULL, 0);

			if (err < 0)
				return err;
		}
		for (size_t j = 0; j < tab->slots.n; j++) {
			struct slot *sl = &tab->slots.v[j];
			FdinfoEntry e = FDINFO_ENTRY__INIT;
			int err;

			e.id = sl->file->id;
			e.flags = sl->cloexec;
			e.type = sl->file->kind->fd_type;
			e.fd = sl->fd;
			err = img_append_msg(s, &img_fdinfo, tab->id, &e.base);
			if (err < 0)
				return err;
		}
	}
	return 0;
}

int files_dump(struct session *s)
{
	struct files *fs = files_get(s);
	int err = check_new(s);

	if (err == 0)
		err = BROADCAST(s, check);
	if (err == -EOPNOTSUPP && s->blockers.n)
		err = 0; /* reported with all the others */
	if (err == 0 && s->mode != CR_MODE_CHECK && !s->blockers.n)
		err = BROADCAST(s, collect);
	if (err < 0 || s->mode == CR_MODE_CHECK || s->blockers.n)
		return err;
	s->phase = "dump";
	for (size_t i = 0; i < fs->all.n && err == 0; i++) {
		/* what dump() collected is claimed and checked before its turn */
		if (i == fs->done) {
			err = check_new(s);
			s->phase = "dump";
			if (err < 0 || s->blockers.n)
				break;
		}
		err = dump_one(s, fs->all.v[i]);
	}
	at_object(s, NULL);
	if (err == 0 && s->blockers.n)
		return -EOPNOTSUPP;
	return err < 0 ? err : write_tables(s);
}
