/* SPDX-License-Identifier: MIT */
/*
 * restore.c: terminals at restore.
 *
 *   open     the master makes the pseudo-terminal, under its old number; slaves and
 *	      /dev/tty wait for it.  Terminals without a master come from the caller
 *	      (--shell-job) or were already provided by --inherit-fd.
 *   opened   unread data and settings, locks last; the session leader's plan gets
 *	      TIOCSCTTY and TIOCSPGRP.
 *   restored the slaves that were held open are closed.
 *
 * E opens every terminal with O_NOCTTY.  A slave is held open from opened() until
 * the tasks have theirs, since the close of the last one hangs the master up, which
 * is wanted only when it was so before.
 */
#include "tty.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PTMX "/dev/ptmx"

/* ---- load ---- */

static bool readable(const TtyFileEntry *e)
{
	return (e->flags & O_ACCMODE) != O_WRONLY;
}

/* Keeps f as the terminal's file of this end and makes slaves wait for the master. */
static int file_place(struct cr_session *s, struct cr_file *f, struct tty_file *tf)
{
	struct term *t = tf->info->term;
	struct cr_file *g;
	struct tty_file *tg;
	int ret = 0;

	if (tf->info->kind == TTY_MASTER && t->master_file)
		return cr_fail(s, EPROTO, "pseudo-terminal %u has two masters", t->index);
	if (tf->info->kind == TTY_MASTER)
		t->master_file = f;
	else if (tf->info->kind == TTY_CURRENT)
		t->current_file = f;
	else if (!t->slave_file || readable(tf->e))
		t->slave_file = f;
	for (g = s->core->file_next(s, NULL); g && !ret && t->master_file; g = s->core->file_next(s, g)) {
		if (g == t->master_file || strcmp(s->core->file_kind(g), "tty") != 0)
			continue;
		tg = s->core->file_priv(g);
		if (tg->info && tg->info->term == t && (g == f || f == t->master_file))
			ret = s->core->file_need(s, g, t->master_file);
	}
	return ret;
}

int tty_load(struct cr_session *s, struct cr_file *f, const void *data, size_t len)
{
	struct tty_file *tf = s->core->file_priv(f);
	int ret;

	ret = tty_info_load(s);
	if (ret)
		return ret;
	tf->e = common_unpack(s, &tty_file_entry__descriptor, data, len);
	if (!tf->e)
		return -EPROTO;
	*vec_push(&tty_plugin(s)->messages) = tf->e;
	tf->info = tty_info_find(tty_plugin(s), tf->e->tty_info_id);
	if (!tf->info)
		return cr_fail(s, EPROTO, "terminal %u is missing in tty-info", tf->e->tty_info_id);
	return tf->info->term ? file_place(s, f, tf) : 0;
}

int tty_inherit_key(struct cr_session *s, struct cr_file *f, char *buf, size_t size)
{
	struct tty_file *tf = s->core->file_priv(f);

	snprintf(buf, size, "tty[%x:%x]", tf->info->e->rdev, tf->info->e->has_dev ? tf->info->e->dev : 0);
	return 0;
}

/* ---- open ---- */

static uint32_t open_flags(const struct tty_file *tf)
{
	return (tf->e->flags & ~(uint32_t)COMMON_OPEN_ONCE) | O_NOCTTY | O_CLOEXEC;
}

/* A new pseudo-terminal of the device ptmx, unlocked.  Descriptor of the master or -errno. */
static int master_new(const char *ptmx, uint32_t flags, uint32_t *ret_index)
{
	int fd, off = 0, err;

	fd = open(ptmx, flags);
	if (fd < 0)
		return -errno;
	if (ioctl(fd, TIOCGPTN, ret_index) == 0 && ioctl(fd, TIOCSPTLCK, &off) == 0)
		return fd;
	err = errno;
	close(fd);
	return -err;
}

static int number_taken(struct cr_session *s, const struct term *t)
{
	return cr_fail(s, EBUSY, "/dev/pts/%u is in use by another program: end that one, restore where the "
		       "number is free, or allow another number with --tty-renumber", t->index);
}

/*
 * The kernel gives the lowest free number, so the wanted one comes as soon as all
 * free ones below it are held; a higher one says that it is taken.
 */
static int master_open(struct cr_session *s, const struct term *t, uint32_t flags, int *ret_fd)
{
	const char *ptmx = t->master->state && t->master->state->ptmx ? t->master->state->ptmx : PTMX;
	VEC(int) held = { 0 };
	uint32_t index = 0;
	int fd, ret = 0;

	for (;;) {
		fd = master_new(ptmx, flags, &index);
		if (fd < 0 || index >= t->index)
			break;
		*vec_push(&held) = fd;
	}
	if (fd >= 0 && index != t->index && !s->core->option_flag(s, "tty-renumber")) {
		close(fd);
		ret = number_taken(s, t);
	} else if (fd < 0) {
		ret = cr_fail(s, -fd, "cannot create pseudo-terminal %u with %s: is its devpts mounted?", t->index,
			      common_quote(s, ptmx));
	} else {
		*ret_fd = fd;
	}
	for (size_t i = 0; i < held.n; i++)
		close(held.v[i]);
	vec_free(&held);
	return ret;
}

/* A slave whose master closes before anybody reads from it: hung up as it was. */
static int hung_open(struct cr_session *s, uint32_t flags, int *ret_fd)
{
	uint32_t index;
	int master, fd, err;

	master = master_new(PTMX, O_RDWR | O_NOCTTY | O_CLOEXEC, &index);
	if (master < 0)
		return cr_fail(s, -master, "cannot create a pseudo-terminal: is devpts mounted on /dev/pts?");
	fd = ioctl(master, TIOCGPTPEER, flags);
	err = errno;
	close(master);
	if (fd < 0)
		return cr_fail(s, err, "cannot open the slave of a pseudo-terminal");
	*ret_fd = fd;
	return 0;
}

static int slave_of(struct cr_session *s, struct term *t, uint32_t flags, int *ret_fd)
{
	int fd = ioctl(s->core->file_fd(t->master_file), TIOCGPTPEER, flags);

	if (fd < 0)
		return cr_fail(s, errno, "cannot open the slave of pseudo-terminal %u", t->index);
	*ret_fd = fd;
	return 0;
}

/* /dev/tty of a terminal whose slave can be had. */
static int current_of(struct cr_session *s, struct term *t, uint32_t flags, int *ret_fd)
{
	_cleanup_fd_ int slave = -1;
	int fd, ret;

	if (t->master_file) {
		ret = slave_of(s, t, O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK, &slave);
	} else {
		slave = common_reopen(s->core->file_fd(t->slave_file), O_RDWR | O_NOCTTY | O_NONBLOCK);
		ret = slave < 0 ? cr_fail(s, -slave, "cannot open the terminal behind /dev/tty") : 0;
	}
	if (ret)
		return ret;
	fd = tty_current_open(slave, flags & ~(uint32_t)O_NOCTTY);
	if (fd == -EPERM) {
		/* given to us while it is another session's terminal */
		cr_lost(s, NULL, "/dev/tty is replaced by the terminal that it stood for: that one has a session already");
		fd = common_reopen(slave, (int)flags);
	}
	if (fd < 0)
		return cr_fail(s, -fd, "cannot open /dev/tty for the restored session");
	*ret_fd = fd;
	return 0;
}

static int no_terminal(struct cr_session *s, const struct tty_info *i)
{
	return cr_fail(s, ENOTTY, "the terminal belonged to a program outside the tree: give one with "
		       "--inherit-fd fd[N]:tty[%x:%x] or use the caller's with --shell-job",
		       i->e->rdev, i->e->has_dev ? i->e->dev : 0);
}

int tty_open(struct cr_session *s, struct cr_file *f, int *ret_fd)
{
	struct tty_file *tf = s->core->file_priv(f);
	struct term *t = tf->info->term;
	uint32_t flags = open_flags(tf);

	if (!t)
		return hung_open(s, flags, ret_fd);
	if (f == t->master_file)
		return t->external ? no_terminal(s, tf->info) : master_open(s, t, flags, ret_fd);
	if (t->master_file && s->core->file_fd(t->master_file) < 0)
		return CR_AGAIN;
	if (tf->info->kind != TTY_CURRENT && t->master_file)
		return slave_of(s, t, flags, ret_fd);
	if (tf->info->kind == TTY_CURRENT && t->master_file)
		return current_of(s, t, flags, ret_fd);
	if (t->external && tf->info->kind == TTY_CURRENT && t->slave_file) {
		if (s->core->file_fd(t->slave_file) < 0)
			return CR_AGAIN;
		return current_of(s, t, flags, ret_fd);
	}
	if (!s->core->option_flag(s, "shell-job") || t->external)
		return no_terminal(s, tf->info);
	t->caller = true;
	return tty_caller_open(s, tf->info->kind == TTY_CURRENT ? flags & ~(uint32_t)O_NOCTTY : flags, ret_fd);
}

int tty_wire(struct cr_session *s, struct cr_file *f)
{
	struct tty_file *tf = s->core->file_priv(f);

	return common_fown_restore(s, f, tf->e->fown);
}

/* ---- opened: data, settings, sessions ---- */

static struct tty_info *settings_of(const struct term *t)
{
	/* the calls on a master answer for its slave: either has them */
	if (t->slave && t->slave->e->termios)
		return t->slave;
	if (t->master && t->master->e->termios)
		return t->master;
	return t->current;
}

static bool wants_slave(const struct term *t)
{
	return t->slave_file || t->current_file || t->queue.output.len || t->queue.lines.n || t->queue.input.len ||
	       (t->master->state && t->master->state->slave_used);
}

static int set_locks(int fd, const TermiosEntry *e)
{
	struct termios l = { 0 };
	bool any = false;

	if (!e)
		return 0;
	l.c_iflag = e->c_iflag;
	l.c_oflag = e->c_oflag;
	l.c_cflag = e->c_cflag;
	l.c_lflag = e->c_lflag;
	l.c_line = e->c_line;
	for (size_t i = 0; i < e->n_c_cc && i < ARRAY_SIZE(l.c_cc); i++)
		l.c_cc[i] = e->c_cc[i], any |= e->c_cc[i] != 0;
	any |= l.c_iflag || l.c_oflag || l.c_cflag || l.c_lflag;
	return any && ioctl(fd, TIOCSLCKTRMIOS, &l) < 0 ? -errno : 0;
}

static int set_size(int fd, const WinsizeEntry *e)
{
	struct winsize w;

	if (!e)
		return 0;
	w.ws_row = e->ws_row;
	w.ws_col = e->ws_col;
	w.ws_xpixel = e->ws_xpixel;
	w.ws_ypixel = e->ws_ypixel;
	return ioctl(fd, TIOCSWINSZ, &w) < 0 ? -errno : 0;
}

/* Owner and permissions of /dev/pts/N, as far as they differ.  Not fatal: a user namespace may lack the ids. */
static void set_owner(struct cr_session *s, const struct term *t, int slave)
{
	const TtyStateEntry *st = t->master->state;
	const TtyInfoEntry *e = t->slave ? t->slave->e : NULL;
	struct stat now;
	uid_t uid;
	gid_t gid;

	if (fstat(slave, &now) < 0)
		return;
	uid = st && st->has_pts_uid ? st->pts_uid : e && e->has_uid ? e->uid : now.st_uid;
	gid = st && st->has_pts_gid ? st->pts_gid : e && e->has_gid ? e->gid : now.st_gid;
	if ((uid != now.st_uid || gid != now.st_gid) && fchown(slave, uid, gid) < 0)
		cr_lost(s, NULL, "/dev/pts/%u: owner %u:%u could not be set: %s", t->index, uid, gid, strerror(errno));
	if (st && st->has_pts_mode && (now.st_mode & 07777) != (st->pts_mode & 07777) &&
	    fchmod(slave, st->pts_mode & 07777) < 0)
		cr_lost(s, NULL, "/dev/pts/%u: permissions could not be set: %s", t->index, strerror(errno));
}

/* State of the slave's side: data, settings, owner.  Holds a slave open. */
static int settle_slave(struct cr_session *s, struct term *t, int master)
{
	struct tty_info *from = settings_of(t);
	struct termios2 termios;
	int ret;

	ret = slave_of(s, t, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC, &t->held);
	if (ret)
		return ret;
	if (from && from->e->termios)
		tty_info_termios(from->e->termios, &termios);
	else if (ioctl(t->held, TCGETS2, &termios) < 0)
		return cr_fail(s, errno, "cannot read the settings of pseudo-terminal %u", t->index);
	ret = tty_queue_fill(master, t->held, &t->queue, &termios);
	if (ret)
		return cr_fail(s, -ret, "unread data or settings of pseudo-terminal %u could not be restored", t->index);
	set_owner(s, t, t->held);
	return 0;
}

static int settle(struct cr_session *s, struct term *t)
{
	int master = s->core->file_fd(t->master_file), on = 1, ret = 0;
	struct tty_info *from = settings_of(t);
	const TtyInfoEntry *m = t->master->e;
	struct termios2 termios;

	if (master < 0)
		return 0;
	if (wants_slave(t)) {
		ret = settle_slave(s, t, master);
		if (ret)
			return ret;
	} else if (from && from->e->termios) {
		tty_info_termios(from->e->termios, &termios);
		ret = ioctl(master, TCSETS2, &termios) < 0 ? -errno : 0;
	}
	ret = ret ? ret : set_size(master, m->winsize ? m->winsize : from ? from->e->winsize : NULL);
	ret = ret ? ret : set_locks(master, m->termios_locked ? m->termios_locked :
					    from ? from->e->termios_locked : NULL);
	if (!ret && t->slave && t->slave->e->exclusive && t->held >= 0)
		ret = ioctl(t->held, TIOCEXCL) < 0 ? -errno : 0;
	if (!ret && m->exclusive)
		ret = ioctl(master, TIOCEXCL) < 0 ? -errno : 0;
	if (!ret && m->packet_mode)
		ret = ioctl(master, TIOCPKT, &on) < 0 ? -errno : 0;
	if (!ret && m->locked)
		ret = ioctl(master, TIOCSPTLCK, &on) < 0 ? -errno : 0;
	return ret ? cr_fail(s, -ret, "cannot set the state of pseudo-terminal %u", t->index) : 0;
}

/* Settings of a terminal that the user or the caller gave; its size is its own. */
static int settle_given(struct cr_session *s, struct term *t)
{
	struct tty_info *from = settings_of(t);
	struct cr_file *f = t->slave_file ? t->slave_file : t->current_file;
	struct tty_plugin *p = tty_plugin(s);
	struct termios2 termios;
	sigset_t block, old;
	int fd, ret;

	fd = f ? s->core->file_fd(f) : -1;
	if (fd < 0 || !from || !from->e->termios || s->core->option_flag(s, "explain"))
		return 0;
	if (t->caller && ioctl(fd, TCGETS2, &p->caller_termios) == 0) {
		p->caller_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
		p->caller_changed = p->caller_fd >= 0;
	}
	tty_info_termios(from->e->termios, &termios);
	/* the engine may be a background job of that terminal */
	sigemptyset(&block);
	sigaddset(&block, SIGTTOU);
	sigprocmask(SIG_BLOCK, &block, &old);
	ret = ioctl(fd, TCSETS2, &termios) < 0 ? -errno : 0;
	sigprocmask(SIG_SETMASK, &old, NULL);
	if (ret)
		cr_lost(s, NULL, "the settings of the terminal in place of %x could not be restored: %s", from->e->rdev,
			strerror(-ret));
	return 0;
}

static bool group_exists(struct cr_session *s, uint32_t pgrp, pid_t sid)
{
	for (struct cr_task *t = s->core->task_next(s, NULL); t; t = s->core->task_next(s, t))
		if ((uint32_t)s->core->task_pgid(t) == pgrp && s->core->task_sid(t) == sid)
			return true;
	return false;
}

/* Foreground group: only one that exists; without, the leader's own is it. */
static int plan_group(struct cr_session *s, struct cr_task *leader, const struct cr_arg *fd, uint32_t pgrp)
{
	struct cr_arg args[6] = { *fd, CR_IMM(TIOCSPGRP) };
	int32_t group = pgrp;
	uint64_t addr;
	int ret;

	if (!pgrp || !group_exists(s, pgrp, s->core->task_sid(leader)))
		return 0;
	ret = s->core->plan_data(s, leader, &group, sizeof(group), &addr);
	if (ret)
		return ret;
	args[2].val = addr;
	return s->core->plan_syscall(s, leader, CR_STAGE_WIRE, SYS_ioctl, args, CR_WANT_ZERO);
}

/* Queue in the session leader what makes the terminal its controlling one. */
static int plan_session(struct cr_session *s, struct term *t)
{
	const struct tty_info *i = t->slave ? t->slave : t->master ? t->master : t->current;
	struct cr_file *f = t->slave_file ? t->slave_file : t->current_file;
	struct cr_arg args[6] = { CR_FILE(f), CR_IMM(TIOCSCTTY) };
	struct cr_task *leader;
	int ret;

	if (!i || !i->e->sid || t->caller)
		return 0;
	leader = s->core->task_by_vpid(s, i->e->sid);
	if (!leader || s->core->task_sid(leader) != (pid_t)i->e->sid)
		return 0;
	if (t->held >= 0) {
		ret = s->core->high_fd(s, t->held);
		if (ret < 0)
			return ret;
		t->held = ret;
		args[0] = (struct cr_arg)CR_IMM(t->held);
	} else if (!f || s->core->file_fd(f) < 0) {
		return 0;
	}
	ret = s->core->plan_syscall(s, leader, CR_STAGE_WIRE, SYS_ioctl, args, CR_WANT_ZERO);
	return ret ? ret : plan_group(s, leader, &args[0], i->e->pgrp);
}

int tty_opened(struct cr_session *s)
{
	struct tty_plugin *p = tty_plugin(s);
	int ret = 0;

	for (struct term *t = p->terms; t && !ret; t = t->next) {
		ret = t->master_file ? settle(s, t) : settle_given(s, t);
		ret = ret ? ret : plan_session(s, t);
	}
	return ret;
}

static void close_held(struct tty_plugin *p)
{
	for (struct term *t = p->terms; t; t = t->next)
		cleanup_fd(&t->held), t->held = -1;
}

int tty_restored(struct cr_session *s)
{
	close_held(tty_plugin(s));
	return 0;
}

void tty_restore_done(struct cr_session *s, int error)
{
	struct tty_plugin *p = tty_plugin(s);

	close_held(p);
	for (struct term *t = p->terms; t; t = t->next)
		tty_queue_free(&t->queue);
	p->terms = NULL;
	if (error && p->caller_changed)
		ioctl(p->caller_fd, TCSETS2, &p->caller_termios);
	cleanup_fd(&p->caller_fd);
	p->caller_fd = -1;
	for (size_t i = 0; i < p->infos.n; i++) {
		common_free_msg(p->infos.v[i]->e);
		common_free_msg(p->infos.v[i]->state);
	}
	vec_free(&p->infos);
	for (size_t i = 0; i < p->messages.n; i++)
		common_free_msg(p->messages.v[i]);
	vec_free(&p->messages);
}
