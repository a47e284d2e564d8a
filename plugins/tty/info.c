/* SPDX-License-Identifier: MIT */
/*
 * info.c: the images of terminals.
 *
 *   tty-info     one entry an end; rdev tells which: 5:2 the master, 136:N and up the
 *		  slave, 5:0 /dev/tty.  Master and slave belong together by pty.index.
 *   tty-data     what can be read from the master; tty_id is the master's end.  An
 *		  entry that names a slave is taken as its unread input.
 *   x-tty-state  what those two cannot say, see state.proto.
 */
#include "tty.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define NCCS_IMAGE 32 /* entries of c_cc in images; the kernel has 19 */
#define INPUT_LIMIT (1u << 20)

const struct cr_img_type tty_img_info = {
	.size = sizeof(tty_img_info),
	.name = "tty-info",
	.magic = 0x59453036,
};

const struct cr_img_type tty_img_data = {
	.size = sizeof(tty_img_data),
	.name = "tty-data",
	.magic = 0x59413026,
};

const struct cr_img_type tty_img_state = {
	.size = sizeof(tty_img_state),
	.name = "x-tty-state",
	.magic = 0x58545459,
};

/* ---- dump ---- */

/* A termios entry with room for its characters. */
struct termios_msg {
	TermiosEntry e;
	uint32_t cc[NCCS_IMAGE];
};

static void termios_fill(struct termios_msg *m, const struct termios2 *t)
{
	termios_entry__init(&m->e);
	m->e.c_iflag = t->c_iflag;
	m->e.c_oflag = t->c_oflag;
	m->e.c_cflag = t->c_cflag;
	m->e.c_lflag = t->c_lflag;
	m->e.c_line = t->c_line;
	m->e.c_ispeed = t->c_ispeed;
	m->e.c_ospeed = t->c_ospeed;
	memset(m->cc, 0, sizeof(m->cc));
	for (size_t i = 0; i < ARRAY_SIZE(t->c_cc); i++)
		m->cc[i] = t->c_cc[i];
	m->e.n_c_cc = NCCS_IMAGE;
	m->e.c_cc = m->cc;
}

static void termios_locked_fill(struct termios_msg *m, const struct termios *l)
{
	struct termios2 t = { .c_iflag = l->c_iflag, .c_oflag = l->c_oflag, .c_cflag = l->c_cflag,
			      .c_lflag = l->c_lflag, .c_line = l->c_line };

	memcpy(t.c_cc, l->c_cc, sizeof(t.c_cc));
	termios_fill(m, &t);
}

/* A process id of ours as the tree sees it; groups are named after a task, alive or not. */
static uint32_t vpid_of(struct cr_session *s, pid_t pid)
{
	for (struct cr_task *t = s->core->task_next(s, NULL); t; t = s->core->task_next(s, t))
		if (s->core->task_pid(t) == pid)
			return s->core->task_vpid(t);
	return pid > 0 ? pid : 0;
}

/* Session that has the terminal as controlling one, and its foreground group; 0: none in the tree. */
static void find_session(struct cr_session *s, const struct tty_end *e, uint32_t *ret_sid, uint32_t *ret_pgrp)
{
	uint64_t rdev;
	pid_t pgrp;

	*ret_sid = *ret_pgrp = 0;
	for (struct cr_task *t = s->core->task_next(s, NULL); t; t = s->core->task_next(s, t)) {
		s->core->task_tty(t, &rdev, &pgrp);
		if (!rdev || rdev != e->real_rdev)
			continue;
		*ret_sid = s->core->task_sid(t);
		*ret_pgrp = pgrp > 0 ? vpid_of(s, pgrp) : 0;
		if (*ret_sid)
			return;
	}
}

static TtyType type_of(const struct tty_end *e)
{
	unsigned int rdev = e->st.st_rdev;

	if (e->external)
		return TTY_TYPE__EXT_TTY;
	if (e->kind == TTY_CURRENT)
		return TTY_TYPE__CTTY;
	if (e->kind != TTY_DEVICE)
		return TTY_TYPE__PTY;
	if (rdev == 0x501)
		return TTY_TYPE__CONSOLE;
	return rdev >= 0x400 && rdev < 0x440 ? TTY_TYPE__VT : TTY_TYPE__SERIAL;
}

static int end_dump(struct cr_session *s, const struct tty_end *e)
{
	TtyInfoEntry m = TTY_INFO_ENTRY__INIT;
	TtyPtyEntry pty = TTY_PTY_ENTRY__INIT;
	WinsizeEntry ws = WINSIZE_ENTRY__INIT;
	struct termios_msg termios, locks;
	struct termios locked;
	struct termios2 t;
	struct winsize size;
	int lock = 0, excl = 0, packet = 0;

	if (ioctl(e->fd, TCGETS2, &t) == 0) {
		termios_fill(&termios, &t);
		m.termios = &termios.e;
	}
	if (ioctl(e->fd, TIOCGLCKTRMIOS, &locked) == 0) {
		termios_locked_fill(&locks, &locked);
		m.termios_locked = &locks.e;
	}
	if (ioctl(e->fd, TIOCGWINSZ, &size) == 0) {
		ws.ws_row = size.ws_row;
		ws.ws_col = size.ws_col;
		ws.ws_xpixel = size.ws_xpixel;
		ws.ws_ypixel = size.ws_ypixel;
		m.winsize = &ws;
	}
	if (e->kind == TTY_MASTER) {
		ioctl(e->fd, TIOCGPTLCK, &lock);
		ioctl(e->fd, TIOCGPKT, &packet);
	}
	ioctl(e->fd, TIOCGEXCL, &excl);
	if (tty_end_of(e->real_rdev) == TTY_SLAVE) {
		pty.index = e->index;
		m.pty = &pty;
	}
	m.id = e->id;
	m.type = type_of(e);
	m.locked = lock;
	m.exclusive = excl;
	m.packet_mode = packet;
	m.rdev = e->st.st_rdev;
	m.has_dev = m.has_uid = m.has_gid = 1;
	m.dev = e->st.st_dev;
	m.uid = e->st.st_uid;
	m.gid = e->st.st_gid;
	if (!e->hung)
		find_session(s, e, &m.sid, &m.pgrp);
	return common_append(s, &tty_img_info, CR_IMG_NO_ID, &m.base);
}

/* The slave's end of the same terminal, or NULL when it is not open in the tree. */
static const struct tty_end *slave_end(struct tty_plugin *p, const struct tty_end *master)
{
	for (size_t i = 0; i < p->ends.n; i++) {
		const struct tty_end *e = &p->ends.v[i];

		if ((e->kind == TTY_SLAVE || e->kind == TTY_CURRENT) && !e->hung && e->real_rdev == master->real_rdev &&
		    (!e->pts_dev || e->pts_dev == master->pts_dev))
			return e;
	}
	return NULL;
}

/* Has the slave of this master been open?  Opening it just to look would be seen (hang-up at the close). */
static bool slave_used(struct tty_plugin *p, const struct tty_end *master)
{
	struct pollfd pf = { .fd = master->fd, .events = POLLIN };

	/* else: closed again, or unread data of one that is open elsewhere */
	return slave_end(p, master) || poll(&pf, 1, 0) == 1;
}

/*
 * A descriptor of the slave, our own.  Locked masters must be unlocked for that, and
 * exclusive mode must be off for whoever lacks CAP_SYS_ADMIN.
 */
static int slave_open(const struct tty_end *master, const struct tty_end *slave)
{
	int locked = 0, excl = 0, off = 0, fd;

	ioctl(master->fd, TIOCGPTLCK, &locked);
	if (locked)
		ioctl(master->fd, TIOCSPTLCK, &off);
	if (slave && ioctl(slave->fd, TIOCGEXCL, &excl) == 0 && excl)
		ioctl(slave->fd, TIOCNXCL);
	fd = ioctl(master->fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		fd = -errno;
	if (excl)
		ioctl(slave->fd, TIOCEXCL);
	if (locked)
		ioctl(master->fd, TIOCSPTLCK, &locked);
	return fd;
}

static int state_append(struct cr_session *s, const struct tty_end *master, const struct tty_queue *q,
			TtyStateEntry *m)
{
	_cleanup_free_ ProtobufCBinaryData *lines = xcalloc(q->lines.n + 1, sizeof(*lines));
	TtyDataEntry data = TTY_DATA_ENTRY__INIT;
	int ret;

	if (q->output.len) {
		data.tty_id = master->id;
		data.data.data = (uint8_t *)q->output.p;
		data.data.len = q->output.len;
		ret = common_append(s, &tty_img_data, CR_IMG_NO_ID, &data.base);
		if (ret)
			return ret;
	}
	for (size_t i = 0; i < q->lines.n; i++) {
		lines[i].data = (uint8_t *)q->lines.v[i].p;
		lines[i].len = q->lines.v[i].len;
	}
	m->line = lines;
	m->n_line = q->lines.n;
	m->has_input = q->input.len != 0;
	m->input.data = (uint8_t *)q->input.p;
	m->input.len = q->input.len;
	m->has_stopped = q->stopped != TTY_STOP_NONE;
	m->stopped = q->stopped;
	return common_append(s, &tty_img_state, CR_IMG_NO_ID, &m->base);
}

static int master_dump(struct cr_session *s, const struct tty_end *e)
{
	TtyStateEntry m = TTY_STATE_ENTRY__INIT;
	struct tty_queue q = { 0 };
	_cleanup_fd_ int slave = -1;
	struct stat st;
	int ret = 0;

	m.tty_id = e->id;
	m.has_pts_dev = 1;
	m.pts_dev = e->pts_dev;
	m.ptmx = (char *)e->ptmx;
	m.has_slave_used = 1;
	m.slave_used = slave_used(tty_plugin(s), e);
	if (m.slave_used) {
		slave = slave_open(e, slave_end(tty_plugin(s), e));
		if (slave < 0)
			return cr_fail(s, -slave, "cannot open the slave of pseudo-terminal %u", e->index);
		if (fstat(slave, &st) == 0) {
			m.has_pts_uid = m.has_pts_gid = m.has_pts_mode = 1;
			m.pts_uid = st.st_uid;
			m.pts_gid = st.st_gid;
			m.pts_mode = st.st_mode & 07777;
		}
		ret = tty_queue_copy(s, e->fd, slave, &q);
	}
	if (!ret)
		ret = state_append(s, e, &q, &m);
	tty_queue_free(&q);
	return ret;
}

int tty_info_dump(struct cr_session *s)
{
	struct tty_plugin *p = tty_plugin(s);
	TtyStateEntry hung = TTY_STATE_ENTRY__INIT;
	int ret;

	hung.has_hung = hung.hung = 1;
	for (size_t i = 0; i < p->ends.n; i++) {
		const struct tty_end *e = &p->ends.v[i];

		ret = end_dump(s, e);
		if (!ret && e->hung) {
			hung.tty_id = e->id;
			ret = common_append(s, &tty_img_state, CR_IMG_NO_ID, &hung.base);
		} else if (!ret && e->kind == TTY_MASTER && !e->external) {
			ret = master_dump(s, e);
		}
		if (ret)
			return ret;
	}
	return 0;
}

/* ---- restore ---- */

void tty_info_termios(const TermiosEntry *e, struct termios2 *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->c_iflag = e->c_iflag;
	ret->c_oflag = e->c_oflag;
	ret->c_cflag = e->c_cflag;
	ret->c_lflag = e->c_lflag;
	ret->c_line = e->c_line;
	/* used by the kernel only when c_cflag says BOTHER */
	ret->c_ispeed = e->c_ispeed;
	ret->c_ospeed = e->c_ospeed;
	for (size_t i = 0; i < e->n_c_cc && i < ARRAY_SIZE(ret->c_cc); i++)
		ret->c_cc[i] = e->c_cc[i];
}

struct tty_info *tty_info_find(struct tty_plugin *p, uint32_t id)
{
	for (size_t i = 0; i < p->infos.n; i++)
		if (p->infos.v[i]->e->id == id)
			return p->infos.v[i];
	return NULL;
}

static int info_check(struct cr_session *s, struct tty_plugin *p, const TtyInfoEntry *e)
{
	if (tty_info_find(p, e->id))
		return cr_fail(s, EPROTO, "terminal %u is twice in tty-info", e->id);
	if (e->pty && e->pty->index >= TTY_INDEX_MAX)
		return cr_fail(s, EPROTO, "terminal %u: pseudo-terminal %u is out of range", e->id, e->pty->index);
	if (e->type == TTY_TYPE__PTY && !e->pty)
		return cr_fail(s, EPROTO, "terminal %u: no number of its pseudo-terminal", e->id);
	return 0;
}

static int infos_read(struct cr_session *s, struct tty_plugin *p)
{
	struct cr_reader *r;
	struct tty_info *i;
	void *m;
	int ret;

	ret = s->core->img_open(s, &tty_img_info, CR_IMG_NO_ID, &r);
	if (ret)
		return ret == -ENOENT ? 0 : ret;
	while ((ret = common_next(s, r, &tty_info_entry__descriptor, &m)) > 0) {
		ret = info_check(s, p, m);
		if (ret) {
			common_free_msg(m);
			break;
		}
		i = s->core->alloc(s, sizeof(*i));
		i->e = m;
		i->kind = tty_end_of(i->e->rdev);
		i->kind = i->kind ? i->kind : TTY_DEVICE;
		*vec_push(&p->infos) = i;
	}
	s->core->img_close(r);
	return ret;
}

static int states_read(struct cr_session *s, struct tty_plugin *p)
{
	struct cr_reader *r;
	struct tty_info *i;
	TtyStateEntry *e;
	void *m;
	int ret;

	ret = s->core->img_open(s, &tty_img_state, CR_IMG_NO_ID, &r);
	if (ret)
		return ret == -ENOENT ? 0 : ret;
	while ((ret = common_next(s, r, &tty_state_entry__descriptor, &m)) > 0) {
		e = m;
		i = tty_info_find(p, e->tty_id);
		if (!i || i->state) {
			ret = cr_fail(s, EPROTO, "x-tty-state: terminal %u is unknown or twice there", e->tty_id);
			common_free_msg(m);
			break;
		}
		i->state = e;
	}
	s->core->img_close(r);
	return ret;
}

/* The terminal that an end belongs to; made when there is none yet. */
static struct term *term_get(struct cr_session *s, struct tty_plugin *p, uint32_t index, uint32_t pts_dev)
{
	struct term *t;

	for (t = p->terms; t; t = t->next)
		if (t->index == index && (!t->pts_dev || !pts_dev || t->pts_dev == pts_dev))
			break;
	if (!t) {
		t = s->core->alloc(s, sizeof(*t));
		t->index = index;
		t->held = -1;
		t->next = p->terms;
		p->terms = t;
	}
	t->pts_dev = t->pts_dev ? t->pts_dev : pts_dev;
	return t;
}

/* /dev/tty of images without a number is the terminal of the same session. */
static struct tty_info *same_session(struct tty_plugin *p, const TtyInfoEntry *e)
{
	for (size_t i = 0; e->sid && i < p->infos.n; i++)
		if (p->infos.v[i]->kind == TTY_SLAVE && p->infos.v[i]->e->sid == e->sid)
			return p->infos.v[i];
	return NULL;
}

static uint32_t info_pts_dev(const struct tty_info *i)
{
	if (i->kind == TTY_MASTER)
		return i->state && i->state->has_pts_dev ? i->state->pts_dev : 0;
	return i->kind == TTY_SLAVE && i->e->has_dev ? i->e->dev : 0;
}

static int info_place(struct cr_session *s, struct tty_plugin *p, struct tty_info *i)
{
	struct tty_info *peer = i, **slot;

	if (i->state && i->state->hung)
		return 0;
	if (!i->e->pty && i->kind == TTY_CURRENT)
		peer = same_session(p, i->e);
	/* a device, or /dev/tty of one: a terminal of its own, by the number of the entry */
	if (peer && peer->e->pty)
		i->term = term_get(s, p, peer->e->pty->index, info_pts_dev(peer));
	else
		i->term = term_get(s, p, TTY_INDEX_MAX + (peer ? peer->e->id : i->e->id), 0);
	slot = i->kind == TTY_MASTER ? &i->term->master :
	       i->kind == TTY_CURRENT ? &i->term->current : &i->term->slave;
	if (*slot)
		return cr_fail(s, EPROTO, "terminals %u and %u of tty-info are the same end of pseudo-terminal %u",
			       (*slot)->e->id, i->e->id, i->term->index);
	*slot = i;
	i->term->external |= i->e->type == TTY_TYPE__EXT_TTY;
	return 0;
}

static int queue_load(struct cr_session *s, struct tty_info *i)
{
	struct tty_queue *q = &i->term->queue;
	struct buf *line;

	for (size_t n = 0; n < i->state->n_line; n++) {
		line = vec_push(&q->lines);
		memset(line, 0, sizeof(*line));
		buf_add(line, i->state->line[n].data, i->state->line[n].len);
	}
	if (i->state->has_input)
		buf_add(&q->input, i->state->input.data, i->state->input.len);
	q->stopped = i->state->stopped;
	return 0;
}

static int data_read(struct cr_session *s, struct tty_plugin *p)
{
	struct cr_reader *r;
	struct tty_info *i;
	TtyDataEntry *e;
	struct buf *to;
	void *m;
	int ret;

	ret = s->core->img_open(s, &tty_img_data, CR_IMG_NO_ID, &r);
	if (ret)
		return ret == -ENOENT ? 0 : ret;
	while ((ret = common_next(s, r, &tty_data_entry__descriptor, &m)) > 0) {
		e = m;
		i = tty_info_find(p, e->tty_id);
		to = !i || !i->term ? NULL : i->kind == TTY_MASTER ? &i->term->queue.output : &i->term->queue.input;
		ret = !to || to->len + e->data.len > INPUT_LIMIT ?
			      cr_fail(s, EPROTO, "tty-data: terminal %u is unknown or has too much data", e->tty_id) : 0;
		if (!ret)
			buf_add(to, e->data.data, e->data.len);
		common_free_msg(m);
		if (ret)
			break;
	}
	s->core->img_close(r);
	return ret;
}

int tty_info_load(struct cr_session *s)
{
	struct tty_plugin *p = tty_plugin(s);
	int ret;

	if (p->loaded)
		return p->load_error;
	p->loaded = true;
	ret = infos_read(s, p);
	ret = ret ? ret : states_read(s, p);
	for (size_t i = 0; !ret && i < p->infos.n; i++)
		ret = info_place(s, p, p->infos.v[i]);
	for (size_t i = 0; !ret && i < p->infos.n; i++)
		if (p->infos.v[i]->state && p->infos.v[i]->term)
			ret = queue_load(s, p->infos.v[i]);
	ret = ret ? ret : data_read(s, p);
	p->load_error = ret;
	return ret;
}
