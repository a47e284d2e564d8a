/* SPDX-License-Identifier: MIT */
/*
 * mapped.c: locks of descriptions that have no descriptor any more: a mapping keeps
 * them alive (a JVM holds its hsperfdata file so).  /proc/locks tells of them.
 *
 * A flock is taken again on E's description of the mapped file, before the tasks map
 * it: from then on their mappings keep it.  Since it is the program's own doing and
 * nothing can be lost, it needs no option.  A lease cannot be kept so: refused.
 */
#include "locks.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sysmacros.h>

#include "mapped-lock.pb-c.h"

const struct cr_img_type locks_img_mapped = {
	.size = sizeof(struct cr_img_type),
	.name = "x-locks-mapped",
	.magic = 0x784c4b4d,
};

/* Found through a descriptor, so kept with that. */
static int known(const struct locks *ls, const struct lock *l)
{
	for (size_t i = 0; i < ls->held.n; i++) {
		const struct lock *h = &ls->held.v[i].lock;

		if (h->kind == l->kind && h->type == l->type && h->pid == l->pid && h->ino == l->ino &&
		    h->major == l->major && h->minor == l->minor)
			return 1;
	}
	return 0;
}

static int of_the_tree(struct cr_session *s, pid_t pid)
{
	for (struct cr_task *t = s->core->task_next(s, NULL); t; t = s->core->task_next(s, t))
		if (s->core->task_pid(t) == pid)
			return 1;
	return 0;
}

/* The mapped file that l locks; NULL: none is. */
static struct cr_file *mapped_file(struct cr_session *s, const struct lock *l)
{
	for (struct cr_file *f = s->core->file_next(s, NULL); f; f = s->core->file_next(s, f)) {
		const struct cr_file_info *info = s->core->file_info(f);

		if (info && info->source == CR_SRC_MAPPING && info->st.st_ino == l->ino &&
		    major(info->st.st_dev) == l->major && minor(info->st.st_dev) == l->minor)
			return f;
	}
	return NULL;
}

static int add_line(struct cr_session *s, const char *line)
{
	struct locks *ls = locks_get(s);
	struct cr_file *f;
	struct lock l;
	char text[128];

	if (lock_parse(line, &l) != 1 || (l.kind != LOCK_KIND_FLOCK && l.kind != LOCK_KIND_LEASE))
		return 0;
	f = of_the_tree(s, l.pid) && !known(ls, &l) ? mapped_file(s, &l) : NULL;
	if (!f)
		return 0;
	if (l.kind == LOCK_KIND_LEASE)
		return cr_refuse(s, NULL, "pid %d holds %s of %s through a descriptor that it closed while the file is mapped",
				 l.pid, lock_text(&l, text, sizeof(text)), common_quote(s, s->core->file_info(f)->link));
	for (size_t i = 0; i < ls->mapped.n; i++)
		if (ls->mapped.v[i].file_id == s->core->file_id(f))
			return 0;
	*vec_push(&ls->mapped) = (struct mapped_lock){ s->core->file_id(f), l.type };
	return 0;
}

int locks_find_mapped(struct cr_session *s)
{
	_cleanup_buf_ struct buf b = { 0 };
	int result = 0;

	if (read_file(AT_FDCWD, "/proc/locks", &b) < 0)
		return 0;
	for (const char *p = b.p; p; p = strchr(p, '\n')) {
		p += *p == '\n';
		if (*p && add_line(s, p) < 0)
			result = -EOPNOTSUPP;
	}
	return result;
}

int locks_write_mapped(struct cr_session *s)
{
	struct locks *ls = locks_get(s);

	for (size_t i = 0; i < ls->mapped.n; i++) {
		MappedLockEntry e = MAPPED_LOCK_ENTRY__INIT;
		int err;

		e.file_id = ls->mapped.v[i].file_id;
		e.type = ls->mapped.v[i].type;
		err = common_append(s, &locks_img_mapped, CR_IMG_NO_ID, &e.base);
		if (err < 0)
			return err;
	}
	return 0;
}

int locks_stage_mapped(struct cr_session *s)
{
	struct cr_reader *r;
	void *msg;
	int err = s->core->img_open(s, &locks_img_mapped, CR_IMG_NO_ID, &r);

	if (err < 0)
		return err == -ENOENT ? 0 : err;
	while ((err = common_next(s, r, &mapped_lock_entry__descriptor, &msg)) == 1) {
		MappedLockEntry *e = msg;

		*vec_push(&locks_get(s)->mapped) = (struct mapped_lock){ e->file_id, e->type };
		common_free_msg(msg);
	}
	s->core->img_close(r);
	return err;
}

int locks_take_mapped(struct cr_session *s)
{
	struct locks *ls = locks_get(s);

	for (size_t i = 0; i < ls->mapped.n; i++) {
		struct cr_file *f = s->core->file_by_id(s, ls->mapped.v[i].file_id);
		int how = ls->mapped.v[i].type == F_WRLCK ? LOCK_EX : LOCK_SH;

		if (!f || s->core->file_fd(f) < 0)
			return cr_fail(s, EPROTO, "x-locks-mapped.img: there is no mapped file %u", ls->mapped.v[i].file_id);
		if (flock(s->core->file_fd(f), how | LOCK_NB) < 0) {
			const struct lock want = { .kind = LOCK_KIND_FLOCK, .type = ls->mapped.v[i].type };
			int err = errno;
			char who[256];

			lock_holder(&want, s->core->file_fd(f), who, sizeof(who));
			return cr_fail(s, err, "file %u: its flock is held by another process by now%s: end that one",
				       ls->mapped.v[i].file_id, who);
		}
	}
	return 0;
}
