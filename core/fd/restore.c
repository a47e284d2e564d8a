/* SPDX-License-Identifier: MIT */
/*
 * restore.c: from images to open descriptors of E.
 *
 * E opens everything itself, before any task exists; the tasks inherit its
 * descriptors.  Those of file objects lie above every number that a task will
 * use, so that a task can dup3() them into place in any order.
 */
#include "files_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "fault.h"
#include "image.h"
#include "mem.h"
#include "phase.h"

#include "core.pb-c.h"
#include "fdinfo.pb-c.h"

struct file *files_find(struct session *s, uint32_t id)
{
	struct files *fs = files_get(s);
	size_t lo = 0, hi = fs->by_id.n;

	if (s->mode != CR_MODE_RESTORE) {
		for (size_t i = 0; i < fs->all.n; i++)
			if (fs->all.v[i]->id == id)
				return fs->all.v[i];
		return NULL;
	}
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (fs->by_id.v[mid]->id == id)
			return fs->by_id.v[mid];
		if (fs->by_id.v[mid]->id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

static int by_id(const void *a, const void *b)
{
	const struct file *const *x = a, *const *y = b;

	return ((*x)->id > (*y)->id) - ((*x)->id < (*y)->id);
}

static int read_objects(struct session *s)
{
	struct files *fs = files_get(s);
	struct cr_reader *r;
	const void *data, *msg;
	size_t len, msg_len;
	int err = img_open(s, &img_files, CR_IMG_NO_ID, &r);

	if (err < 0)
		return err == -ENOENT ? fail(s, ENOENT, "files.img is missing from the images directory") : err;
	while ((err = img_next(r, &data, &len)) == 1) {
		struct file *f = file_new(s);

		err = img_split_file(data, len, &f->type, &f->id, &f->field, &msg, &msg_len);
		if (err < 0) {
			fail(s, EPROTO, "files.img: entry %zu is broken", fs->all.n);
			break;
		}
		f->msg = xcalloc(1, msg_len + 1);
		f->msg_len = msg_len;
		memcpy(f->msg, msg, msg_len);
	}
	img_close(r);
	if (err < 0)
		return err;
	for (size_t i = 0; i < fs->all.n; i++)
		*vec_push(&fs->by_id) = fs->all.v[i];
	if (fs->by_id.n)
		qsort(fs->by_id.v, fs->by_id.n, sizeof(*fs->by_id.v), by_id);
	for (size_t i = 1; i < fs->by_id.n; i++)
		if (fs->by_id.v[i]->id == fs->by_id.v[i - 1]->id)
			return fail(s, EPROTO, "files.img: two objects have the id %u", fs->by_id.v[i]->id);
	return 0;
}

static int read_table(struct session *s, struct task *t)
{
	struct fdtable *tab = t->fds;
	struct cr_reader *r;
	ProtobufCMessage *m;
	int err = img_open(s, &img_fdinfo, tab->id, &r);

	if (err < 0)
		return err == -ENOENT ? fail(s, ENOENT, "fdinfo-%u.img is missing", tab->id) : err;
	while ((err = img_next_msg(r, &fdinfo_entry__descriptor, &m)) == 1) {
		FdinfoEntry *e = (FdinfoEntry *)m;
		struct slot sl = { .fd = e->fd, .cloexec = e->flags & 1, .file_id = e->id, .type = e->type };

		protobuf_c_message_free_unpacked(m, NULL);
		if (sl.fd < 0 || sl.fd >= 1 << 30) {
			err = fail(s, EPROTO, "fdinfo-%u.img: descriptor number %d", tab->id, sl.fd);
			break;
		}
		if (tab->slots.n && tab->slots.v[tab->slots.n - 1].fd >= sl.fd) {
			/* other writers may not sort; insertion keeps it simple */
			size_t i = tab->slots.n;

			(void)vec_push(&tab->slots);
			while (i && tab->slots.v[i - 1].fd > sl.fd) {
				tab->slots.v[i] = tab->slots.v[i - 1];
				i--;
			}
			tab->slots.v[i] = sl;
			if (i && tab->slots.v[i - 1].fd == sl.fd) {
				err = fail(s, EPROTO, "fdinfo-%u.img: descriptor %d twice", tab->id, sl.fd);
				break;
			}
		} else {
			*vec_push(&tab->slots) = sl;
		}
	}
	img_close(r);
	return err;
}

/* Tables are shared by files_id; the first task with an id owns its table. */
static struct fdtable *table_by_id(struct session *s, uint32_t id, struct task *t, bool *ret_new)
{
	struct files *fs = files_get(s);
	struct fdtable *tab;

	*ret_new = false;
	for (size_t i = 0; i < fs->tables.n; i++)
		if (fs->tables.v[i]->id == id)
			return fs->tables.v[i];
	tab = xcalloc(1, sizeof(*tab));
	tab->id = id;
	tab->owner = t;
	*vec_push(&fs->tables) = tab;
	*ret_new = true;
	return tab;
}

static int link_slots(struct session *s, struct fdtable *tab)
{
	for (size_t i = 0; i < tab->slots.n; i++) {
		struct slot *sl = &tab->slots.v[i];

		sl->file = files_find(s, sl->file_id);
		if (!sl->file)
			return fail(s, EPROTO, "pid %d fd %d refers to file %u, which files.img does not have",
				    task_vpid(tab->owner), sl->fd, sl->file_id);
		*vec_push(&sl->file->slots) = (struct slot_ref){ tab, sl->fd };
		sl->file->needed = true;
	}
	return 0;
}

static int find_kind(struct session *s, struct file *f)
{
	int err;

	file_at(s, f);
	err = plugins_kind_by_type(s, f->type, f->field, &f->plugin, &f->kind);
	if (err == -ENOENT)
		err = path_kind_by_type(f);
	if (err < 0)
		return fail(s, ENOENT, "no loaded plugin restores files of type %u (field %u): load the plugin that "
				       "dumped it (stasis plugins lists what there is)", f->type, f->field);
	f->priv = xcalloc(1, f->kind->priv_size);
	return 0;
}

static int load_one(struct session *s, struct file *f)
{
	int err = 0;

	if (!f->kind)
		return 0;
	file_at(s, f);
	if (f->kind->load)
		err = HOOK(s, f->plugin, HOOK_FILE_LOAD, f->kind->load(&s->pub, cr_file_of(f), f->msg, f->msg_len));
	f->loaded = err >= 0;
	err = hook_failed(s, f, err);
	return err < 0 ? err : policy_apply_restore(s, f);
}

static int mark_mapping(struct session *s, uint32_t id, bool write)
{
	struct file *f = files_find(s, id);

	if (!f)
		return fail(s, EPROTO, "a mapping refers to file %u, which files.img does not have", id);
	f->needed = f->fixed = true;
	f->write |= write;
	return 0;
}

static int mark_id(struct session *s, struct task *t, uint32_t id, const char *what)
{
	struct file *f = files_find(s, id);

	if (!f)
		return fail(s, EPROTO, "pid %d: %s is file %u, which files.img does not have", task_vpid(t), what, id);
	f->needed = f->fixed = true;
	return 0;
}

static int mark_task(struct session *s, struct task *t)
{
	int err = mem_each_file(s, t, mark_mapping);

	if (err == 0)
		err = mark_id(s, t, t->cwd_id, "the working directory");
	if (err == 0)
		err = mark_id(s, t, t->root_id, "the root directory");
	if (err == 0)
		err = mark_id(s, t, mem_exe_id(t), "the executable");
	return err;
}

/* E's file descriptors start above the highest number in any table. */
static void choose_base(struct session *s)
{
	struct files *fs = files_get(s);
	int max = 63;

	for (size_t i = 0; i < fs->tables.n; i++) {
		struct fdtable *tab = fs->tables.v[i];

		if (tab->slots.n)
			max = MAX_OF(max, tab->slots.v[tab->slots.n - 1].fd);
	}
	fs->base = max + 1;
}

int files_load(struct session *s)
{
	struct files *fs = files_get(s);
	int err;

	s->phase = "load";
	err = read_objects(s);
	FOR_EACH_TASK(t, s->tree) {
		bool fresh;

		if (err < 0 || t->life == TASK_ZOMBIE)
			continue;
		t->fds = table_by_id(s, t->ids->files_id, t, &fresh);
		if (fresh) {
			err = read_table(s, t);
			if (err == 0)
				err = link_slots(s, t->fds);
		}
		if (err == 0)
			err = mark_task(s, t);
	}
	choose_base(s);
	/* a plugin may ask of what kind a file is that another one names, loaded or not; its private area is zero until then */
	for (size_t i = 0; i < fs->all.n && err == 0; i++)
		err = s->collecting ? (find_kind(s, fs->all.v[i]), 0) : find_kind(s, fs->all.v[i]);
	for (size_t i = 0; i < fs->all.n && err == 0; i++)
		err = s->collecting ? (load_one(s, fs->all.v[i]), 0) : load_one(s, fs->all.v[i]);
	at_object(s, NULL);
	return err;
}

int files_high_fd(struct session *s, int fd)
{
	int high = FAULTS("high descriptor") ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, files_get(s)->base);
	int err = errno;

	if (high < 0) {
		struct rlimit rl = { 0 };

		getrlimit(RLIMIT_NOFILE, &rl);
		return fail(s, err, "no descriptor number above %d is left (limit of open files: %lu): raise it with ulimit -n",
			    files_get(s)->base, (unsigned long)rl.rlim_cur);
	}
	close(fd);
	return high;
}

/* A plugin that has a ready descriptor for f (--inherit-fd, --policy). 1, 0 or -errno. */
static int provided(struct session *s, struct file *f, int *ret_fd)
{
	char key[4200];
	struct plugin *pl;
	int err = file_key(s, f, key, sizeof(key));

	if (err < 0)
		return err == -ENOENT ? 0 : hook_failed(s, f, err);
	for (size_t i = 0; (pl = plugins_nth(s->plugins, i)); i++) {
		if (!pl->def->provide)
			continue;
		err = HOOK(s, pl, HOOK_PROVIDE, pl->def->provide(&s->pub, cr_file_of(f), key, ret_fd));
		if (err)
			return hook_failed(s, f, err);
	}
	return 0;
}

static void need_all(struct file *f)
{
	for (size_t i = 0; i < f->needs.n + f->uses.n; i++) {
		struct file *dep = i < f->needs.n ? f->needs.v[i] : f->uses.v[i - f->needs.n];

		if (!dep->needed) {
			dep->needed = true;
			need_all(dep);
		}
	}
}

void file_uses(struct file *f, struct file *dep)
{
	*vec_push(&f->uses) = dep;
	if (f->needed)
		need_all(f);
}

/* E holds every description above the highest number that a task uses. */
static void check_room(struct session *s)
{
	struct files *fs = files_get(s);
	struct rlimit rl;
	size_t n = 0;

	for (size_t i = 0; i < fs->all.n; i++)
		n += fs->all.v[i]->needed;
	if (getrlimit(RLIMIT_NOFILE, &rl) == 0 && fs->base + n > rl.rlim_max)
		fail(s, EMFILE, "the restore needs descriptor numbers up to about %zu, the limit of open files is %lu: raise it "
				"with ulimit -n", fs->base + n, (unsigned long)rl.rlim_max);
}

void files_check_images(struct session *s)
{
	struct files *fs = files_get(s);

	check_room(s);
	for (size_t i = 0; i < fs->all.n; i++)
		if (fs->all.v[i]->needed)
			need_all(fs->all.v[i]);
	for (size_t i = 0; i < fs->all.n; i++) {
		struct file *f = fs->all.v[i];
		int fd, r;

		if (!f->needed || !f->loaded || !f->kind->check_image)
			continue;
		file_at(s, f);
		r = provided(s, f, &fd);
		if (r > 0)
			close(fd);
		if (r)
			continue;
		HOOK(s, f->plugin, HOOK_FILE_CHECK_IMAGE, f->kind->check_image(&s->pub, cr_file_of(f)));
	}
	at_object(s, NULL);
}

static bool needs_open(const struct file *f)
{
	for (size_t i = 0; i < f->needs.n; i++)
		if (f->needs.v[i]->fd < 0)
			return true;
	return false;
}

/* Other engines write no access mode for the file of a shared mapping, which may need both. */
static int make_writable(struct session *s, struct file *f)
{
	int mode = fcntl(f->fd, F_GETFL) & (O_ACCMODE | O_PATH), fd;
	char path[32];

	if (mode == O_RDWR || f->slots.n)
		return CR_OK;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", f->fd);
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return fail(s, errno, "it is mapped for writing and cannot be opened for that");
	fd = files_high_fd(s, fd);
	if (fd < 0)
		return fd;
	close(f->fd);
	f->fd = fd;
	return CR_OK;
}

/* CR_OK, CR_AGAIN or -errno. */
static int open_one(struct session *s, struct file *f)
{
	int fd = -1, err;

	file_at(s, f);
	if (needs_open(f))
		return CR_AGAIN;
	err = provided(s, f, &fd);
	if (err == 0) {
		if (!f->kind->open)
			return fail(s, EOPNOTSUPP, "plugin %s cannot open it", f->plugin->name);
		err = HOOK(s, f->plugin, HOOK_FILE_OPEN, f->kind->open(&s->pub, cr_file_of(f), &fd));
		if (err == CR_LATE) {
			f->late = true;
			fd = open("/", O_PATH | O_CLOEXEC);
			err = fd < 0 ? fail(s, errno, "a placeholder for it: %s", strerror(errno)) : 0;
		}
		if (err)
			return hook_failed(s, f, err);
	} else if (err < 0) {
		return err;
	}
	fd = files_high_fd(s, fd);
	if (fd < 0)
		return fd;
	f->fd = fd;
	return f->write ? make_writable(s, f) : CR_OK;
}

static int wire_one(struct session *s, struct file *f)
{
	if (!f->needed || !f->kind->wire || file_is_taken(f))
		return 0;
	file_at(s, f);
	return hook_failed(s, f, HOOK(s, f->plugin, HOOK_FILE_WIRE, f->kind->wire(&s->pub, cr_file_of(f))));
}

/* What tasks make themselves comes first: others queue calls that need it. */
static int wire_all(struct session *s)
{
	struct files *fs = files_get(s);
	int err = 0;

	s->phase = "wire";
	for (size_t i = 0; i < fs->all.n && err == 0; i++)
		if (fs->all.v[i]->own)
			err = wire_one(s, fs->all.v[i]);
	for (size_t i = 0; i < fs->all.n && err == 0; i++)
		if (!fs->all.v[i]->own)
			err = wire_one(s, fs->all.v[i]);
	at_object(s, NULL);
	return err;
}

int files_open(struct session *s)
{
	struct files *fs = files_get(s);
	bool progress = true;
	struct file *stuck = NULL;

	s->phase = "open";
	for (size_t i = 0; i < fs->all.n; i++)
		if (fs->all.v[i]->needed)
			need_all(fs->all.v[i]);
	while (progress) {
		progress = false;
		stuck = NULL;
		for (size_t i = 0; i < fs->all.n; i++) {
			struct file *f = fs->all.v[i];
			int err;

			if (!f->needed || f->fd >= 0)
				continue;
			err = open_one(s, f);
			if (err < 0)
				return err;
			if (err == CR_OK)
				progress = true;
			else
				stuck = f;
		}
	}
	at_object(s, NULL);
	if (stuck) {
		file_at(s, stuck);
		return fail(s, ELOOP, "cannot be opened: the objects that it waits for wait for each other");
	}
	return wire_all(s);
}

void files_close(struct session *s)
{
	struct files *fs = files_get(s);

	/* one by one: those of one close_range() would be released the other way round */
	for (size_t i = 0; i < fs->all.n; i++) {
		if (fs->all.v[i]->fd >= 0)
			close(fs->all.v[i]->fd);
		fs->all.v[i]->fd = -1;
	}
}

int files_fd(struct session *s, uint32_t id)
{
	struct file *f = files_find(s, id);

	return f ? f->fd : -1;
}
