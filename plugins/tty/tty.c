/* SPDX-License-Identifier: MIT */
/*
 * tty.c: terminals.  Pseudo-terminals are kept with both ends, their settings and
 * their unread data; a slave whose master is outside the tree, and any other
 * terminal device, is either replaced by the caller's terminal (--shell-job) or by
 * a descriptor that the user hands over (--external, --inherit-fd).
 *
 * Dump: every description becomes a tty_file_entry at once, and a duplicate of one
 * description an end is kept.  When all are known (dump_late), one tty_info_entry an
 * end is written and the unread data is copied, so that the window in which it is
 * out of the terminal is as short as it can be.
 */
#include "tty.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define DEVPTS_MAGIC 0x1cd1

struct tty_plugin *tty_plugin(struct cr_session *s)
{
	struct tty_plugin *p = s->core->plugin_priv(s, sizeof(*p));

	if (!p->ready) {
		p->ready = true;
		p->caller_fd = -1;
	}
	return p;
}

enum tty_end_kind tty_end_of(uint64_t rdev)
{
	unsigned int maj = major(rdev), min = minor(rdev);

	if (rdev == TTY_RDEV_MASTER)
		return TTY_MASTER;
	if (rdev == TTY_RDEV_CURRENT)
		return TTY_CURRENT;
	if (maj >= 136 && maj <= 143)
		return TTY_SLAVE;
	/* virtual terminals and 8250 ports; /dev/console; ARM, USB and hypervisor consoles */
	if (maj == 4 || (maj == 5 && min == 1) || maj == 166 || maj == 188 || maj == 204 || maj == 229)
		return TTY_DEVICE;
	return 0;
}

uint32_t tty_index_of(uint64_t slave_rdev)
{
	return (major(slave_rdev) - 136) * 256 + minor(slave_rdev);
}

/* ---- whose is it ---- */

static int tty_match(const struct cr_file_info *info)
{
	if (!S_ISCHR(info->st.st_mode) || (info->flags & O_PATH))
		return CR_NOT_MINE;
	return tty_end_of(info->st.st_rdev) ? CR_SPECIFIC : CR_NOT_MINE;
}

/* Did the user say --external tty[rdev:dev] for this device? */
static bool named_external(struct cr_session *s, const struct stat *st)
{
	const char *item;
	char key[64];

	snprintf(key, sizeof(key), "tty[%lx:%lx]", (unsigned long)st->st_rdev, (unsigned long)st->st_dev);
	for (size_t i = 0; (item = s->core->option_item(s, "external", i)); i++)
		if (!strcmp(item, key))
			return true;
	return false;
}

static const struct cr_file_kind tty_kind;

static int tty_match_external(struct cr_session *s, const struct cr_file_info *info,
			      const struct cr_file_kind **ret_kind)
{
	if (!S_ISCHR(info->st.st_mode) || (info->flags & O_PATH) || !named_external(s, &info->st))
		return CR_NOT_MINE;
	*ret_kind = &tty_kind;
	return CR_FORCED;
}

/* ---- facts ---- */

/* The number that fdinfo shows for a master. */
static bool master_index(const struct cr_file_info *info, uint32_t *ret)
{
	const char *line = info->fdinfo ? strstr(info->fdinfo, "tty-index:") : NULL;

	return line && sscanf(line, "tty-index: %u", ret) == 1;
}

/*
 * The devpts instance of a master: that of /dev/pts/ptmx itself, or of the "pts"
 * folder beside /dev/ptmx, which is where the kernel looks.
 */
static uint64_t master_pts_dev(struct cr_session *s, const struct cr_file_info *info)
{
	char path[PATH_MAX];
	const char *slash = info->link ? strrchr(info->link, '/') : NULL;
	struct stat st;

	if (info->fs_magic == DEVPTS_MAGIC)
		return info->st.st_dev;
	if (slash && info->task) {
		snprintf(path, sizeof(path), "/proc/%d/root%.*s/pts", (int)s->core->task_pid(info->task),
			 (int)(slash - info->link), info->link);
		if (stat(path, &st) == 0)
			return st.st_dev;
	}
	return stat("/dev/pts", &st) == 0 ? st.st_dev : 0;
}

/* The name by which another master of the same devpts instance can be had, where /dev/ptmx does not lead to it. */
static const char *other_ptmx(struct cr_session *s, const struct cr_file_info *info, uint64_t pts_dev)
{
	struct stat st;

	if (!info->link || info->link[0] != '/' || (stat("/dev/pts", &st) == 0 && st.st_dev == pts_dev))
		return NULL;
	return common_strdup(s, info->link);
}

/* Fills what *e says about the description; fd may be -1. */
static void describe(struct cr_session *s, const struct cr_file_info *info, int fd, struct tty_end *e)
{
	struct termios2 t;
	unsigned int dev;

	memset(e, 0, sizeof(*e));
	e->fd = -1;
	e->st = info->st;
	e->kind = tty_end_of(info->st.st_rdev);
	e->kind = e->kind ? e->kind : TTY_DEVICE;
	e->real_rdev = info->st.st_rdev;
	e->pts_dev = info->st.st_dev;
	e->external = named_external(s, &info->st);
	/* every call on a hung-up terminal gives EIO */
	e->hung = fd >= 0 && ioctl(fd, TCGETS2, &t) < 0 && errno == EIO;
	if (e->kind == TTY_MASTER) {
		master_index(info, &e->index);
		e->pts_dev = master_pts_dev(s, info);
		e->ptmx = other_ptmx(s, info, e->pts_dev);
		e->real_rdev = makedev(136, e->index);
	} else if (e->kind == TTY_CURRENT) {
		e->pts_dev = 0;
		if (fd >= 0 && ioctl(fd, TIOCGDEV, &dev) == 0)
			e->real_rdev = dev;
		else if (info->task)
			s->core->task_tty(info->task, &e->real_rdev, &(pid_t){ 0 });
	}
	if (tty_end_of(e->real_rdev) == TTY_SLAVE)
		e->index = tty_index_of(e->real_rdev);
}

/* Is the master of end e open in the tree? */
static bool master_in_tree(struct cr_session *s, const struct tty_end *e)
{
	const struct cr_file_info *info;
	uint32_t index;

	if (e->kind == TTY_MASTER)
		return true;
	if (tty_end_of(e->real_rdev) != TTY_SLAVE)
		return false;
	for (struct cr_file *f = s->core->file_next(s, NULL); f; f = s->core->file_next(s, f)) {
		info = s->core->file_info(f);
		if (!info || !S_ISCHR(info->st.st_mode) || info->st.st_rdev != TTY_RDEV_MASTER ||
		    !master_index(info, &index) || index != e->index)
			continue;
		if (!e->pts_dev || e->pts_dev == master_pts_dev(s, info))
			return true;
	}
	return false;
}

/* Is e /dev/tty of a terminal that the user named by its proper device? */
static bool stands_for_external(struct cr_session *s, const struct tty_end *e)
{
	const struct cr_file_info *info;

	if (e->kind != TTY_CURRENT)
		return false;
	for (struct cr_file *f = s->core->file_next(s, NULL); f; f = s->core->file_next(s, f)) {
		info = s->core->file_info(f);
		if (info && S_ISCHR(info->st.st_mode) && info->st.st_rdev == e->real_rdev &&
		    named_external(s, &info->st))
			return true;
	}
	return false;
}

/*
 * With --shell-job the caller's terminal stands in for the controlling terminal of
 * the job, or, when the job has none, for whatever terminal it has open.
 */
static bool is_job_terminal(struct cr_session *s, const struct tty_end *e)
{
	struct cr_task *root = s->core->task_next(s, NULL);
	uint64_t rdev = 0;

	if (!s->core->option_flag(s, "shell-job"))
		return false;
	if (root)
		s->core->task_tty(root, &rdev, &(pid_t){ 0 });
	return !rdev || rdev == e->real_rdev;
}

/* ---- check and dump ---- */

/* Line disciplines (PPP, SLIP, …) turn a terminal into something else. */
static int check_discipline(struct cr_session *s, int fd)
{
	int n = 0;

	if (ioctl(fd, TIOCGETD, &n) == 0 && n != 0)
		return cr_refuse(s, NULL, "the terminal has line discipline %d; only the ordinary one (0) "
				 "can be restored", n);
	return 0;
}

static int tty_check(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	char key[80];
	struct tty_end e;

	describe(s, info, lfd, &e);
	if (e.external || e.hung)
		return 0;
	if (master_in_tree(s, &e))
		return e.kind == TTY_MASTER || lfd < 0 ? 0 : check_discipline(s, lfd);
	if (is_job_terminal(s, &e) || stands_for_external(s, &e))
		return 0;
	snprintf(key, sizeof(key), "--shell-job (restored from a terminal) or --external tty[%lx:%lx]",
		 (unsigned long)info->st.st_rdev, (unsigned long)info->st.st_dev);
	return cr_refuse(s, key, "terminal %s belongs to a program outside the tree", info->link);
}

/* The id of the end, which is remembered with a duplicate of lfd when it is new. */
static int end_id(struct cr_session *s, struct tty_end *e, int lfd, uint32_t *ret_id)
{
	struct {
		uint64_t pts_dev, real_rdev;
		uint32_t kind, hung;
	} key = { e->pts_dev, e->real_rdev, e->kind, e->hung };
	struct tty_plugin *p = tty_plugin(s);
	int new = 0;

	e->id = s->core->id(s, "tty-info", &key, sizeof(key), &new);
	*ret_id = e->id;
	if (!new)
		return 0;
	e->fd = fcntl(lfd, F_DUPFD_CLOEXEC, 0);
	if (e->fd < 0)
		return cr_fail(s, errno, "cannot duplicate the descriptor of a terminal");
	*vec_push(&p->ends) = *e;
	return 0;
}

static int tty_dump(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	TtyFileEntry m = TTY_FILE_ENTRY__INIT;
	FownEntry fown;
	struct tty_end e;
	int ret;

	describe(s, info, lfd, &e);
	ret = end_id(s, &e, lfd, &m.tty_info_id);
	if (ret)
		return ret;
	m.id = s->core->file_id(f);
	m.flags = info->flags;
	common_fown_dump(s, f, &fown);
	m.fown = &fown;
	return common_emit_msg(s, f, &m);
}

static void tty_done(struct cr_session *s, int error)
{
	struct tty_plugin *p = tty_plugin(s);

	for (size_t i = 0; i < p->ends.n; i++)
		cleanup_fd(&p->ends.v[i].fd);
	vec_free(&p->ends);
	tty_restore_done(s, error);
}

static const struct cr_file_kind tty_kind = {
	.size = sizeof(tty_kind),
	.name = "tty",
	.fd_type = 11,
	.field = 19,
	.priv_size = sizeof(struct tty_file),
	.match = tty_match,
	.check = tty_check,
	.dump = tty_dump,
	.load = tty_load,
	.open = tty_open,
	.wire = tty_wire,
	.inherit_key = tty_inherit_key,
};

static const struct cr_option opt_renumber = {
	.size = sizeof(opt_renumber),
	.name = "tty-renumber",
	.kind = CR_OPT_FLAG,
	.modes = 1u << CR_MODE_RESTORE,
	.help = "Restore a pseudo-terminal under another number when its own is taken.",
};

static const struct cr_plugin tty = {
	.size = sizeof(tty),
	.abi = CR_ABI,
	.name = "tty",
	.version = "0.1",
	.summary = "Pseudo-terminals, controlling terminals, terminals handed over by the user.",
	.wants = (const char *const[]){ "svc:inherit", NULL },
	.options = (const struct cr_option *const[]){ &opt_renumber, NULL },
	.images = (const struct cr_img_type *const[]){ &tty_img_info, &tty_img_data, &tty_img_state, NULL },
	.files = (const struct cr_file_kind *const[]){ &tty_kind, NULL },
	.externals = (const char *const[]){ "tty[", NULL },
	.dump_late = tty_info_dump,
	.stage = tty_info_load,
	.opened = tty_opened,
	.restored = tty_restored,
	.done = tty_done,
	.match = tty_match_external,
	.caps = (const char *const[]){ "CAP_SYS_ADMIN: terminals in exclusive mode", NULL },
};

CR_PLUGIN_REGISTER(tty);
