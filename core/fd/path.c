/* SPDX-License-Identifier: MIT */
/*
 * path.c: the files that every task has, whatever plugins there are: what its
 * mappings show, its executable, its directories.  When no plugin claims one of them it is
 * kept by name alone.  So a task without descriptors can be dumped and restored by the
 * core itself; descriptors are always a plugin's business.
 */
#include "files_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "path.pb-c.h"

/* As the well-known format numbers files that have a name. */
#define PATH_TYPE 1
#define PATH_FIELD 3

struct path_priv {
	PathEntry *msg;
};

static int path_match(const struct cr_file_info *i)
{
	bool of_task = i->source == CR_SRC_MAPPING || i->source == CR_SRC_EXE || i->source == CR_SRC_CWD ||
		       i->source == CR_SRC_ROOT;

	return of_task && (S_ISREG(i->st.st_mode) || S_ISDIR(i->st.st_mode)) && i->link[0] == '/' && !i->nlink_gone;
}

static int path_dump(struct cr_session *cs, struct cr_file *cf, int lfd, const struct cr_file_info *i)
{
	struct file *f = file_of(cf);
	PathEntry e = PATH_ENTRY__INIT;
	PathOwner none = PATH_OWNER__INIT;
	size_t len;

	(void)lfd;
	e.id = f->id;
	e.flags = i->flags;
	e.fown = &none;
	e.name = (char *)i->link;
	e.has_mode = 1;
	e.mode = i->st.st_mode;
	e.has_size = S_ISREG(i->st.st_mode);
	e.size = i->st.st_size;
	len = path_entry__get_packed_size(&e);
	free(f->msg);
	f->msg = xcalloc(1, len + 1);
	f->msg_len = path_entry__pack(&e, f->msg);
	(void)cs;
	return 0;
}

static int path_load(struct cr_session *cs, struct cr_file *cf, const void *data, size_t len)
{
	struct path_priv *p = file_of(cf)->priv;

	p->msg = path_entry__unpack(NULL, len, data);
	if (!p->msg || p->msg->name[0] != '/')
		return fail(session_of(cs), EPROTO, "its entry in files.img is broken");
	return 0;
}

static int path_open(struct cr_session *cs, struct cr_file *cf, int *ret_fd)
{
	const PathEntry *e = ((struct path_priv *)file_of(cf)->priv)->msg;
	struct stat st;
	int fd = open(e->name, (e->flags & O_ACCMODE) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd < 0)
		return fail(session_of(cs), errno, "cannot open %s: put it back", e->name);
	if (fstat(fd, &st) < 0 || (e->has_mode && (st.st_mode & S_IFMT) != (e->mode & S_IFMT)) ||
	    (e->has_size && S_ISREG(st.st_mode) && (uint64_t)st.st_size != e->size)) {
		close(fd);
		return fail(session_of(cs), ESTALE, "%s is not the file that was dumped: it has another size or type", e->name);
	}
	*ret_fd = fd;
	return 0;
}

static const struct cr_file_kind path_kind = {
	.size = sizeof(path_kind),
	.name = "path",
	.fd_type = PATH_TYPE,
	.field = PATH_FIELD,
	.priv_size = sizeof(struct path_priv),
	.match = path_match,
	.dump = path_dump,
	.load = path_load,
	.open = path_open,
};

static struct plugin core_itself = { .name = (char *)"core" };

int path_claim(struct file *f)
{
	if (!path_match(&f->info))
		return -ENOENT;
	f->plugin = &core_itself;
	f->kind = &path_kind;
	return 0;
}

int path_kind_by_type(struct file *f)
{
	if (f->type != PATH_TYPE || f->field != PATH_FIELD || f->slots.n)
		return -ENOENT;
	f->plugin = &core_itself;
	f->kind = &path_kind;
	return 0;
}

void path_release(struct file *f)
{
	struct path_priv *p = f->priv;

	if (f->kind == &path_kind && p && p->msg)
		path_entry__free_unpacked(p->msg, NULL);
}
