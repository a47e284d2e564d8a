/* SPDX-License-Identifier: MIT */
/*
 * pidfd.c: descriptors of processes (pidfd_open(2), CLONE_PIDFD).
 *
 * fdinfo names the process as the engine sees it: one of the tree, alive or a
 * zombie; -1 one that has been reaped; or somebody outside, which no image can bring back.
 * A descriptor of a task is opened when the tasks exist (open_late); one of a reaped
 * process is made with the help of a short-lived one (corpse.c), one of a single thread by its own process (thread.c).
 */
#include "pidfd.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/ioctl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pidfd-exit.pb-c.h"
#include "pidfd.pb-c.h"

#define REAPED (-1)

/* linux/pidfd.h, 6.13; the exit code is told since 6.15 */
#define INFO_EXIT (1u << 3)
struct info {
	uint64_t mask, cgroupid;
	uint32_t pid, tgid, ppid, uids[8];
	int32_t exit_code;
};
#define GET_INFO _IOWR(0xFF, 11, struct info)

static const struct cr_img_type img_exit = { sizeof(img_exit), "x-pidfd-exit", 0x50464531, 0 };

static const struct cr_file_kind pidfd_kind;

static struct pidfd_state *state(struct cr_session *s)
{
	return s->core->plugin_priv(s, sizeof(struct pidfd_state));
}

static int pidfd_match(const struct cr_file_info *info)
{
	int named = info->anon && !strcmp(info->anon, "pidfd");

	/* "pidfd:[12]" in a few versions around 6.9 */
	if ((!named && strncmp(info->link, "pidfd:[", 7)) || (info->flags & O_PATH))
		return CR_NOT_MINE;
	return CR_SPECIFIC;
}

/* ---- dump ---- */

static struct cr_task *task_by_pid(struct cr_session *s, pid_t pid)
{
	for (struct cr_task *t = s->core->task_next(s, NULL); t; t = s->core->task_next(s, t))
		if (s->core->task_pid(t) == pid)
			return t;
	return NULL;
}

/* *ret: number in the images, or REAPED. 0, -EOPNOTSUPP after refuse(). */
static int find_process(struct cr_session *s, struct cr_file *f, const struct cr_file_info *info, int32_t *ret)
{
	const char *line = strstr(info->fdinfo, "\nPid:");
	struct cr_task *t;
	int pid;

	if (!line || sscanf(line, "\nPid: %d", &pid) != 1)
		return cr_refuse(s, "a kernel of 5.3 or later, with /proc", "fdinfo of the pidfd names no process");
	if (pid == REAPED) {
		*ret = REAPED;
		return 0;
	}
	t = pid > 0 ? task_by_pid(s, pid) : NULL;
	if (t) {
		*ret = s->core->task_vpid(t);
		return 0;
	}
	if (pid > 0 && (info->flags & PIDFD_FLAG_THREAD) && task_by_pid(s, thread_field(pid, "\nTgid:"))) {
		*ret = thread_field(pid, "\nNSpid:");
		return thread_check(s, f, thread_field(pid, "\nTgid:"), pid);
	}
	return cr_refuse(s, common_external_remedy(s, info),
			 "the pidfd is of process %d, which is outside of the tree: close it, dump a tree that has that process "
			 "too, or pass a descriptor at restore (--inherit-fd)", pid);
}

static int pidfd_check(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	int32_t nspid;

	return find_process(s, f, info, &nspid);
}

/* How a reaped process ended, where the kernel tells. */
static int dump_exit(struct cr_session *s, struct cr_file *f, int lfd)
{
	PidfdExitEntry e = PIDFD_EXIT_ENTRY__INIT;
	struct info i = { .mask = INFO_EXIT };

	if (ioctl(lfd, GET_INFO, &i) < 0 || !(i.mask & INFO_EXIT))
		return 0;
	e.id = s->core->file_id(f);
	e.status = i.exit_code;
	return common_append(s, &img_exit, CR_IMG_NO_ID, &e.base);
}

static int pidfd_dump(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	PidfdEntry e = PIDFD_ENTRY__INIT;
	FownEntry fown;
	int err = find_process(s, f, info, &e.nspid);

	if (err == 0 && e.nspid == REAPED)
		err = dump_exit(s, f, lfd);
	if (err < 0)
		return err;
	common_fown_dump(s, f, &fown);
	e.id = s->core->file_id(f);
	e.ino = info->st.st_ino;
	e.flags = info->flags;
	e.fown = &fown;
	return common_emit_msg(s, f, &e);
}

/* ---- restore ---- */

static int pidfd_load(struct cr_session *s, struct cr_file *f, const void *data, size_t len)
{
	_cleanup_msg_ PidfdEntry *e = common_unpack(s, &pidfd_entry__descriptor, data, len);
	struct pidfd *p = s->core->file_priv(f);

	if (!e)
		return -EPROTO;
	p->thread = e->nspid > 0 && (e->flags & PIDFD_FLAG_THREAD) && !s->core->task_by_vpid(s, e->nspid);
	if (p->thread)
		s->core->file_set_own(s, f);
	else if (e->nspid != REAPED && !s->core->task_by_vpid(s, e->nspid))
		return cr_fail(s, EPROTO, "the image has a pidfd of process %d, which is not in the tree", e->nspid);
	p->ino = e->ino;
	p->flags = e->flags;
	p->nspid = e->nspid;
	p->fown = *e->fown;
	return 0;
}

/* Ends are in an image of their own; read when the first reaped process is needed: all objects are loaded then. */
static int read_exits(struct cr_session *s)
{
	struct cr_reader *r;
	PidfdExitEntry *e;
	int ret = s->core->img_open(s, &img_exit, CR_IMG_NO_ID, &r);

	if (ret < 0)
		return ret == -ENOENT ? 0 : ret;
	while ((ret = common_next(s, r, &pidfd_exit_entry__descriptor, (void **)&e)) > 0) {
		struct cr_file *f = s->core->file_by_id(s, e->id);

		if (f && !strcmp(s->core->file_kind(f), pidfd_kind.name))
			((struct pidfd *)s->core->file_priv(f))->status = e->status & 0xffff;
		common_free_msg(e);
	}
	s->core->img_close(r);
	return ret;
}

static int pidfd_open_dead(struct cr_session *s, const struct pidfd *p, int *ret_fd)
{
	struct pidfd_state *st = state(s);
	int err = st->corpses.n ? 0 : read_exits(s);

	return err < 0 ? err : corpse_open(s, st, p, ret_fd);
}

static int pidfd_open_kind(struct cr_session *s, struct cr_file *f, int *ret_fd)
{
	const struct pidfd *p = s->core->file_priv(f);

	if (p->thread)
		return thread_open(s, ret_fd);
	return p->nspid == REAPED ? pidfd_open_dead(s, p, ret_fd) : CR_LATE;
}

static int pidfd_open_late(struct cr_session *s, struct cr_file *f, int *ret_fd)
{
	const struct pidfd *p = s->core->file_priv(f);
	struct cr_task *t = s->core->task_by_vpid(s, p->nspid);
	int fd = syscall(SYS_pidfd_open, s->core->task_pid(t), p->flags & (PIDFD_FLAG_NONBLOCK | PIDFD_FLAG_THREAD));

	if (fd < 0)
		return cr_fail(s, errno, "pidfd_open of process %d, flags %#x: %s", p->nspid,
			       p->flags & (PIDFD_FLAG_NONBLOCK | PIDFD_FLAG_THREAD), strerror(errno));
	*ret_fd = fd;
	return CR_OK;
}

static int pidfd_wire(struct cr_session *s, struct cr_file *f)
{
	const struct pidfd *p = s->core->file_priv(f);

	return p->thread ? thread_wire(s, f, p) : common_fown_restore(s, f, &p->fown);
}

static int pidfd_opened(struct cr_session *s)
{
	corpses_end(state(s));
	return 0;
}

static int pidfd_restored(struct cr_session *s)
{
	int err = 0;

	for (struct cr_file *f = NULL; !err && (f = s->core->file_next(s, f));) {
		const struct pidfd *p = strcmp(s->core->file_kind(f), pidfd_kind.name) ? NULL : s->core->file_priv(f);

		if (p && p->thread)
			err = thread_verify(s, f, p);
	}
	return err;
}

static void pidfd_done(struct cr_session *s, int error)
{
	corpses_end(state(s));
}

static const struct cr_file_kind pidfd_kind = {
	.size = sizeof(pidfd_kind),
	.name = "pidfd",
	.fd_type = 20,
	.field = 22,
	.priv_size = sizeof(struct pidfd),
	.match = pidfd_match,
	.check = pidfd_check,
	.dump = pidfd_dump,
	.load = pidfd_load,
	.open = pidfd_open_kind,
	.wire = pidfd_wire,
	.open_late = pidfd_open_late,
};
static const struct cr_file_kind *const pidfd_kinds[] = { &pidfd_kind, NULL };
static const struct cr_img_type *const pidfd_images[] = { &img_exit, NULL };

static const struct cr_plugin pidfd_plugin = {
	.size = sizeof(pidfd_plugin),
	.abi = CR_ABI,
	.name = "pidfd",
	.version = "0.1",
	.summary = "Keeps descriptors of processes.",
	.files = pidfd_kinds,
	.images = pidfd_images,
	.opened = pidfd_opened,
	.restored = pidfd_restored,
	.done = pidfd_done,
};
CR_PLUGIN_REGISTER(pidfd_plugin);
