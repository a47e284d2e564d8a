/* SPDX-License-Identifier: MIT */
/*
 * services.c: the table of services that plugins get, cr-plugin.h's struct
 * cr_core.  Thin: each entry hands over to the part of the core that does it.
 */
#include <errno.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "fd/files_priv.h"
#include "image.h"
#include "kinds.h"
#include "mem.h"
#include "options.h"
#include "phase.h"
#include "plugin.h"
#include "restore/restore.h"
#include "services.h"
#include "tree.h"
#include "warden.h"

static void svc_log(struct cr_session *cs, int level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_vmsg(level, session_of(cs)->plugin, fmt, ap);
	va_end(ap);
}

static int svc_fail(struct cr_session *cs, int errnum, const char *fmt, ...)
{
	va_list ap;
	int err;

	va_start(ap, fmt);
	err = vfail(session_of(cs), errnum, fmt, ap);
	va_end(ap);
	return err;
}

static int svc_refuse(struct cr_session *cs, const char *remedy, const char *fmt, ...)
{
	va_list ap;
	int err = service_misused(session_of(cs), SVC_REFUSE, "refuse");

	if (err < 0)
		return err;
	va_start(ap, fmt);
	err = vrefuse(session_of(cs), remedy, fmt, ap);
	va_end(ap);
	return err;
}

static void *svc_alloc(struct cr_session *cs, size_t bytes)
{
	return session_alloc(session_of(cs), bytes);
}

static uint32_t svc_mode(struct cr_session *cs)
{
	return session_of(cs)->mode;
}

static void *svc_plugin_priv(struct cr_session *cs, size_t bytes)
{
	struct session *s = session_of(cs);
	struct plugin *p = s->plugin ? plugins_find(s->plugins, s->plugin) : NULL;

	if (!p)
		return NULL;
	if (!p->priv) {
		p->priv = xcalloc(1, bytes);
		p->priv_bytes = bytes;
	}
	return p->priv_bytes >= bytes ? p->priv : NULL;
}

static int svc_option_flag(struct cr_session *cs, const char *name)
{
	return opt_flag(session_of(cs)->opts, name);
}

static uint64_t svc_option_size(struct cr_session *cs, const char *name)
{
	return opt_size(session_of(cs)->opts, name);
}

static const char *svc_option(struct cr_session *cs, const char *name)
{
	return opt_str(session_of(cs)->opts, name);
}

static const char *svc_option_item(struct cr_session *cs, const char *name, size_t i)
{
	return opt_item(session_of(cs)->opts, name, i);
}

static uint64_t svc_feature(struct cr_session *cs, const char *name)
{
	return plugins_feature(session_of(cs), name);
}

static uint32_t svc_id(struct cr_session *cs, const char *space, const void *key, size_t len, int *ret_new)
{
	return session_id(session_of(cs), space, key, len, ret_new);
}

static int svc_img_append(struct cr_session *cs, const struct cr_img_type *type, uint64_t id, const void *data, size_t len)
{
	struct session *s = session_of(cs);
	int err = service_misused(s, SVC_IMG_WRITE, "img_append");

	if (err < 0)
		return err;
	if (s->plugins && s->plugins->current)
		s->plugins->current->wrote = true;
	return img_append(s, type, id, data, len);
}

static int svc_img_raw(struct cr_session *cs, const struct cr_img_type *type, uint64_t id, const void *data, size_t len)
{
	int err = service_misused(session_of(cs), SVC_IMG_WRITE, "img_raw");

	return err < 0 ? err : img_raw(session_of(cs), type, id, data, len);
}

static int svc_img_raw_fd(struct cr_session *cs, const struct cr_img_type *type, uint64_t id, int fd, uint64_t off, uint64_t len)
{
	int err = service_misused(session_of(cs), SVC_IMG_WRITE, "img_raw_fd");

	return err < 0 ? err : img_raw_fd(session_of(cs), type, id, fd, off, len);
}

static int svc_img_open(struct cr_session *cs, const struct cr_img_type *type, uint64_t id, struct cr_reader **ret)
{
	int err = service_misused(session_of(cs), SVC_IMG_READ, "img_open");

	return err < 0 ? err : img_open(session_of(cs), type, id, ret);
}

static int svc_shmem_dump(struct cr_session *cs, int fd, const struct stat *st, uint64_t size, uint32_t *ret_shmid)
{
	int err = service_misused(session_of(cs), SVC_IMG_WRITE, "shmem_dump");

	return err < 0 ? err : shmem_dump(session_of(cs), fd, st, size, ret_shmid);
}

static int svc_shmem_fill(struct cr_session *cs, int fd, uint32_t shmid, uint64_t size)
{
	int err = service_misused(session_of(cs), SVC_IMG_READ, "shmem_fill");

	return err < 0 ? err : shmem_fill(session_of(cs), fd, shmid, size);
}

static uint32_t svc_file_id(const struct cr_file *f)
{
	return file_of(f)->id;
}

static void *svc_file_priv(struct cr_file *f)
{
	return file_of(f)->priv;
}

static const char *svc_file_kind(const struct cr_file *f)
{
	return file_kind_name(file_of(f)->session, file_of(f));
}

static uint32_t svc_file_policy(struct cr_session *cs, const struct cr_file *f)
{
	(void)cs;
	return file_policy(file_of(f));
}

static int svc_file_key(struct cr_session *cs, const struct cr_file *f, char *buf, size_t size)
{
	return file_key(session_of(cs), file_of(f), buf, size);
}

static void svc_lost(struct cr_session *cs, const struct cr_file *f, const char *fmt, ...)
{
	struct session *s = session_of(cs);
	char object[sizeof(s->object)];
	va_list ap;

	if (service_misused(s, SVC_LOST, "lost") < 0)
		return;
	memcpy(object, s->object, sizeof(object));
	if (f)
		file_at(s, file_of(f));
	va_start(ap, fmt);
	vlost(s, fmt, ap);
	va_end(ap);
	memcpy(s->object, object, sizeof(object));
}

static const struct cr_file_info *svc_file_info(const struct cr_file *f)
{
	return file_of(f)->info.size ? &file_of(f)->info : NULL;
}

static int svc_file_message(struct cr_session *cs, struct cr_file *cf, const void *data, size_t len)
{
	struct file *f = file_of(cf);
	int err = service_misused(session_of(cs), SVC_FILE_MESSAGE, "file_message");

	if (err < 0)
		return err;
	free(f->msg);
	f->msg = xcalloc(1, len + 1);
	f->msg_len = len;
	if (len)
		memcpy(f->msg, data, len);
	return 0;
}

static void svc_file_fown(struct cr_session *cs, struct cr_file *cf, struct cr_fown *ret)
{
	struct session *s = session_of(cs);

	memset(ret, 0, sizeof(*ret));
	if (service_misused(s, SVC_FILE_FOWN, "file_fown") < 0)
		return;
	*ret = file_of(cf)->fown;
	/* as the tree sees the pid; negative: a process group */
	if (ret->pid)
		FOR_EACH_TASK(t, s->tree) {
			for (size_t i = 0; i < t->threads.n; i++)
				if (thread_tid(t->threads.v[i]) == (pid_t)ret->pid) {
					ret->pid = thread_vtid(t->threads.v[i]);
					return;
				}
		}
}

static int svc_file_set_fown(struct cr_session *cs, struct cr_file *cf, const struct cr_fown *fown)
{
	struct file *f = file_of(cf);
	int err = service_misused(session_of(cs), SVC_FILE_SET_FOWN, "file_set_fown");

	if (err < 0)
		return err;
	f->set_fown = *fown;
	f->has_fown = true;
	return 0;
}

static int svc_file_collect(struct cr_session *cs, struct cr_task *t, int fd, struct cr_file **ret)
{
	struct file *f;
	int err = service_misused(session_of(cs), SVC_FILE_COLLECT, "file_collect");

	if (err == 0)
		err = files_collect_fd(session_of(cs), task_of(t), fd, CR_SRC_PLUGIN, &f);
	if (err == 0)
		*ret = cr_file_of(f);
	return err;
}

static struct cr_file *svc_file_by_id(struct cr_session *cs, uint32_t id)
{
	return cr_file_of(files_find(session_of(cs), id));
}

static int svc_file_need(struct cr_session *cs, struct cr_file *f, struct cr_file *dep)
{
	int err = service_misused(session_of(cs), SVC_FILE_NEED, "file_need");

	if (err < 0)
		return err;
	if (f == dep)
		return fail(session_of(cs), ELOOP, "file %u needs itself", file_of(f)->id);
	*vec_push(&file_of(f)->needs) = file_of(dep);
	return 0;
}

static int svc_file_use(struct cr_session *cs, struct cr_file *f, struct cr_file *dep)
{
	int err = service_misused(session_of(cs), SVC_FILE_USE, "file_use");

	if (err < 0)
		return err;
	file_uses(file_of(f), file_of(dep));
	return 0;
}

static int svc_file_opened(struct cr_session *cs, struct cr_file *cf, int fd)
{
	struct file *f = file_of(cf);
	int err = service_misused(session_of(cs), SVC_FILE_OPENED, "file_opened");

	if (err < 0)
		return err;
	if (file_is_taken(f)) {
		close(fd); /* something else takes its place, before or after */
		return 0;
	}
	if (f->fd >= 0)
		return fail(session_of(cs), EEXIST, "file %u is open already", f->id);
	fd = files_high_fd(session_of(cs), fd);
	if (fd < 0)
		return fd;
	f->fd = fd;
	return 0;
}

static int svc_file_fd(const struct cr_file *f)
{
	return file_of(f)->late ? -1 : file_of(f)->fd;
}

static int svc_file_slot(struct cr_session *cs, const struct cr_file *cf, size_t i, struct cr_task **ret_task, int *ret_fd)
{
	const struct file *f = file_of(cf);

	(void)cs;
	if (i >= f->slots.n)
		return -ENOENT;
	*ret_task = cr_task_of(f->slots.v[i].table->owner);
	*ret_fd = f->slots.v[i].fd;
	return 0;
}

static struct cr_file *svc_file_next(struct cr_session *cs, struct cr_file *prev)
{
	struct files *fs = files_get(session_of(cs));

	if (!prev)
		return fs->all.n ? cr_file_of(fs->all.v[0]) : NULL;
	/* ids are handed out in order at dump; at restore the list is walked */
	for (size_t i = MIN_OF((size_t)file_of(prev)->id, fs->all.n); i-- > 0;)
		if (fs->all.v[i] == file_of(prev))
			return i + 1 < fs->all.n ? cr_file_of(fs->all.v[i + 1]) : NULL;
	for (size_t i = 0; i < fs->all.n; i++)
		if (fs->all.v[i] == file_of(prev))
			return i + 1 < fs->all.n ? cr_file_of(fs->all.v[i + 1]) : NULL;
	return NULL;
}

static struct cr_file *svc_task_file(struct cr_session *cs, const struct cr_task *t, int fd)
{
	struct slot *sl = fdtable_slot(task_of(t)->fds, fd);

	(void)cs;
	return sl ? cr_file_of(sl->file) : NULL;
}

static struct cr_task *svc_task_next(struct cr_session *cs, struct cr_task *prev)
{
	struct session *s = session_of(cs);

	return cr_task_of(prev ? task_of(prev)->next : s->tree ? s->tree->all : NULL);
}

static pid_t svc_task_pid(const struct cr_task *t)
{
	return task_pid(task_of(t));
}

static pid_t svc_task_vpid(const struct cr_task *t)
{
	return task_vpid(task_of(t));
}

static pid_t svc_task_sid(const struct cr_task *t)
{
	return task_of(t)->vsid;
}

static pid_t svc_task_pgid(const struct cr_task *t)
{
	return task_of(t)->vpgid;
}

static void svc_task_tty(const struct cr_task *ct, uint64_t *ret_rdev, pid_t *ret_pgrp)
{
	const struct proc_stat *st = &task_of(ct)->stat;
	/* the kernel's new_encode_dev(): minor 7:0, major 19:8, minor 31:20 */
	uint32_t major = st->tty_nr >> 8 & 0xfff, minor = (st->tty_nr & 0xff) | (st->tty_nr >> 12 & 0xfff00);

	*ret_rdev = st->tty_nr ? (uint64_t)makedev(major, minor) : 0;
	*ret_pgrp = st->tpgid;
}

static struct cr_task *svc_task_by_vpid(struct cr_session *cs, pid_t vpid)
{
	return cr_task_of(tree_by_vpid(session_of(cs)->tree, vpid));
}

static int svc_task_read(struct cr_session *cs, struct cr_task *t, uint64_t addr, void *buf, size_t len)
{
	int err = service_misused(session_of(cs), SVC_TASK_READ, "task_read");

	return err < 0 ? err : tree_read(task_of(t), addr, buf, len);
}

static int svc_plan_data(struct cr_session *cs, struct cr_task *t, const void *data, size_t len, uint64_t *ret_addr)
{
	int err = service_misused(session_of(cs), SVC_PLAN, "plan_data");

	return err < 0 ? err : restore_queue_data(session_of(cs), task_of(t), data, len, ret_addr);
}

static int svc_plan_syscall(struct cr_session *cs, struct cr_task *t, uint32_t stage, long nr,
			    const struct cr_arg args[6], uint32_t want)
{
	int err = service_misused(session_of(cs), SVC_PLAN, "plan_syscall");

	return err < 0 ? err : restore_queue_syscall(session_of(cs), task_of(t), stage, nr, args, want);
}

static int svc_undo(struct cr_session *cs, uint32_t op, int fd, const char *text, int always)
{
	int err = service_misused(session_of(cs), SVC_UNDO, "undo");
	_cleanup_free_ char *own = xasprintf("%s %s", session_of(cs)->plugin ? session_of(cs)->plugin : "core", text);

	return err < 0 ? err : warden_undo(session_of(cs), op, fd, op == CR_UNDO_PLUGIN ? own : text, always);
}

static int svc_high_fd(struct cr_session *cs, int fd)
{
	int err = service_misused(session_of(cs), SVC_HIGH_FD, "high_fd");

	return err < 0 ? err : files_high_fd(session_of(cs), fd);
}

static int svc_file_is_late(const struct cr_file *f)
{
	return file_of(f)->late;
}

static const struct cr_vma_info *svc_vma_info(const struct cr_vma *v)
{
	return &mapping_of(v)->info;
}

static void *svc_vma_priv(struct cr_vma *v)
{
	return mapping_of(v)->priv;
}

static const char *svc_vma_kind(const struct cr_vma *v)
{
	return mapping_of(v)->kind->name;
}

static int svc_vma_message(struct cr_session *cs, struct cr_vma *v, const void *data, size_t len)
{
	int err = service_misused(session_of(cs), SVC_VMA_MESSAGE, "vma_message");

	if (err == 0)
		mapping_set_message(mapping_of(v), data, len);
	return err;
}

static struct cr_vma *svc_vma_next(struct cr_session *cs, struct cr_vma *prev)
{
	return cr_vma_of(mapping_next(session_of(cs), mapping_of(prev)));
}

static int svc_vma_stored(struct cr_session *cs, struct cr_vma *v, uint64_t off, void *buf, size_t len)
{
	int err = service_misused(session_of(cs), SVC_VMA_STORED, "vma_stored");

	return err < 0 ? err : mapping_stored(session_of(cs), mapping_of(v), off, buf, len);
}

static int svc_plan_call(struct cr_session *cs, struct cr_task *t, uint32_t stage, long nr, const struct cr_arg args[6],
			 uint32_t want, uint64_t *ret_addr)
{
	int err = service_misused(session_of(cs), SVC_PLAN, "plan_call");

	return err < 0 ? err : restore_queue_call(session_of(cs), task_of(t), stage, nr, args, want, ret_addr);
}

static int svc_plan_write(struct cr_session *cs, struct cr_task *t, uint32_t stage, uint64_t to, const void *data,
			  size_t len)
{
	int err = service_misused(session_of(cs), SVC_PLAN, "plan_write");

	return err < 0 ? err : restore_queue_write(session_of(cs), task_of(t), stage, to, data, len);
}

static int svc_task_call(struct cr_session *cs, struct cr_task *ct, size_t i, long nr, const uint64_t args[6],
			 int64_t *ret_result)
{
	struct task *t = task_of(ct);
	struct inject_call call = { .nr = nr };
	int err = service_misused(session_of(cs), SVC_TASK_READ, "task_call");

	if (err < 0)
		return err;
	if (i >= t->threads.n)
		return -ENOENT;
	memcpy(call.args, args, sizeof(call.args));
	err = warden_inject(session_of(cs), task_pid(t), thread_tid(t->threads.v[i]), &call, 1);
	if (err == 0)
		*ret_result = call.ret;
	return err;
}

static int svc_plan_place(struct cr_session *cs, struct cr_vma *v, uint32_t stage, long nr, const struct cr_arg args[6])
{
	int err = service_misused(session_of(cs), SVC_PLAN, "plan_place");

	return err < 0 ? err : restore_queue_place(session_of(cs), mapping_of(v), stage, nr, args);
}

static int svc_file_set_own(struct cr_session *cs, struct cr_file *f)
{
	int err = service_misused(session_of(cs), SVC_FILE_OWN, "file_set_own");

	if (err == 0)
		file_of(f)->own = true;
	return err;
}

static int svc_file_own(const struct cr_file *f)
{
	return file_of(f)->own;
}

static int svc_plan_copy(struct cr_session *cs, struct cr_task *t, uint32_t stage, uint64_t to, uint64_t from, size_t len)
{
	int err = service_misused(session_of(cs), SVC_PLAN, "plan_copy");

	return err < 0 ? err : restore_queue_copy(session_of(cs), task_of(t), stage, to, from, len);
}

static int svc_plan_repeat(struct cr_session *cs, struct cr_task *t, uint32_t stage, size_t n, uint32_t times)
{
	int err = service_misused(session_of(cs), SVC_PLAN, "plan_repeat");

	return err < 0 ? err : restore_queue_repeat(session_of(cs), task_of(t), stage, n, times);
}

const struct cr_core core_services = {
	.size = sizeof(struct cr_core),
	.abi = CR_ABI,
	.version = STASIS_VERSION,
	.log = svc_log,
	.fail = svc_fail,
	.refuse = svc_refuse,
	.alloc = svc_alloc,
	.mode = svc_mode,
	.plugin_priv = svc_plugin_priv,
	.option_flag = svc_option_flag,
	.option_size = svc_option_size,
	.option = svc_option,
	.option_item = svc_option_item,
	.feature = svc_feature,
	.id = svc_id,
	.img_append = svc_img_append,
	.img_raw = svc_img_raw,
	.img_raw_fd = svc_img_raw_fd,
	.img_open = svc_img_open,
	.img_next = img_next,
	.img_extra = img_extra,
	.img_extra_fd = img_extra_fd,
	.img_left = img_left,
	.img_close = img_close,
	.shmem_dump = svc_shmem_dump,
	.shmem_fill = svc_shmem_fill,
	.file_id = svc_file_id,
	.file_priv = svc_file_priv,
	.file_kind = svc_file_kind,
	.file_info = svc_file_info,
	.file_message = svc_file_message,
	.file_fown = svc_file_fown,
	.file_set_fown = svc_file_set_fown,
	.file_collect = svc_file_collect,
	.file_by_id = svc_file_by_id,
	.file_need = svc_file_need,
	.file_opened = svc_file_opened,
	.file_fd = svc_file_fd,
	.file_slot = svc_file_slot,
	.file_next = svc_file_next,
	.task_file = svc_task_file,
	.task_next = svc_task_next,
	.task_pid = svc_task_pid,
	.task_vpid = svc_task_vpid,
	.task_sid = svc_task_sid,
	.task_pgid = svc_task_pgid,
	.task_tty = svc_task_tty,
	.task_by_vpid = svc_task_by_vpid,
	.task_read = svc_task_read,
	.plan_data = svc_plan_data,
	.plan_syscall = svc_plan_syscall,
	.undo = svc_undo,
	.high_fd = svc_high_fd,
	.vma_info = svc_vma_info,
	.vma_priv = svc_vma_priv,
	.vma_kind = svc_vma_kind,
	.vma_message = svc_vma_message,
	.vma_next = svc_vma_next,
	.vma_stored = svc_vma_stored,
	.plan_call = svc_plan_call,
	.plan_write = svc_plan_write,
	.file_set_own = svc_file_set_own,
	.file_own = svc_file_own,
	.plan_place = svc_plan_place,
	.task_call = svc_task_call,
	.file_use = svc_file_use,
	.file_is_late = svc_file_is_late,
	.file_policy = svc_file_policy,
	.file_key = svc_file_key,
	.lost = svc_lost,
	.plan_copy = svc_plan_copy,
	.plan_repeat = svc_plan_repeat,
};
