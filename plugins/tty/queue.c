/* SPDX-License-Identifier: MIT */
/*
 * queue.c: unread data of a pseudo-terminal.
 *
 * The kernel has no way to look at it, so it is read and put back:
 *
 *   output   what the slave wrote.  Read from the master, put back by writing to
 *	      the slave with output processing off.
 *   input    what the master wrote, as the line discipline left it.  Read from the
 *	      slave: in canonical mode first the complete lines, one a read, then,
 *	      with canonical mode off, the line being typed.  Put back by writing to
 *	      the master under settings without echo, signals or translation; bytes
 *	      with a meaning are quoted with the LNEXT character.  More than the
 *	      discipline's buffer holds waits in front of it, unprocessed: that rest is
 *	      written after the final settings are in force.
 *
 * A kernel worker moves the bytes between the ends; settings must not change before it
 * has done so (pass_through()).
 *
 * Output that is stopped (^S, tcflow) must run for this; which of the two stopped it
 * is found by what starts it again.
 */
#include "tty.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define INPUT_MAX 4095 /* N_TTY_BUF_SIZE - 1: what the line discipline holds */
#define QUEUE_MAX (1u << 20) /* far above what a terminal can hold */
#define WAIT_MS 5000 /* for the kernel's worker that moves bytes between the ends; a loaded machine lets it wait */
/*
 * A buffer of 256 bytes, the smallest there is, holds two such writes, and no new one is made above a
 * limit of 8 KiB.  What an earlier writer left of a buffer is unknown, so one may be used by half: 31 of
 * them stay below the limit in any case, and a last one, as big as any can be, goes over it.
 */
#define PACKED_CHUNK 256
#define PACKED_BYTES (61 * PACKED_CHUNK)
#define LAST_CHUNK 1792

enum { CHAR_EOF = 0x04, CHAR_START = 0x11, CHAR_STOP = 0x13, CHAR_LNEXT = 0x16 };

void tty_queue_free(struct tty_queue *q)
{
	for (size_t i = 0; i < q->lines.n; i++)
		buf_free(&q->lines.v[i]);
	vec_free(&q->lines);
	buf_free(&q->output);
	buf_free(&q->input);
}

static bool polls(int fd, short events, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = events };

	return poll(&p, 1, timeout_ms) == 1 && (p.revents & events);
}

static bool is_canonical(const struct termios2 *t)
{
	return (t->c_lflag & ICANON) && !(t->c_lflag & EXTPROC);
}

/* ---- taking out ---- */

/* All that the master can read.  poll() waits for the kernel's worker, so nothing is missed. */
static int take_output(int master, struct buf *out)
{
	char buf[4096];
	ssize_t n;

	while (out->len < QUEUE_MAX && polls(master, POLLIN, 0)) {
		n = read(master, buf, sizeof(buf));
		if (n < 0)
			return errno == EIO ? 0 : -errno;
		if (n == 0)
			return 0;
		buf_add(out, buf, n);
	}
	return 0;
}

/* Settings under which input is read or put in: nothing is interpreted or echoed. */
static struct termios2 plain_termios(const struct termios2 *t, bool canonical)
{
	struct termios2 w = *t;

	w.c_iflag = 0;
	w.c_oflag = 0;
	w.c_lflag = canonical ? ICANON | IEXTEN : 0;
	w.c_cc[VMIN] = 1;
	w.c_cc[VTIME] = 0;
	if (!canonical)
		return w;
	/* VMIN and VTIME have slots of their own; line ends stay as they are, 0 is "none" */
	for (size_t i = 0; i < ARRAY_SIZE(w.c_cc); i++)
		if (i != VEOL && i != VEOL2 && i != VMIN && i != VTIME)
			w.c_cc[i] = 0;
	return w;
}

/* Complete lines.  Each read gives one, without the EOF character that may have ended it. */
static int take_lines(int slave, struct tty_queue *q)
{
	char buf[INPUT_MAX + 1];
	struct buf *line;
	ssize_t n;

	while (q->lines.n < QUEUE_MAX && polls(slave, POLLIN, 0)) {
		n = read(slave, buf, sizeof(buf));
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		line = vec_push(&q->lines);
		memset(line, 0, sizeof(*line));
		buf_add(line, buf, n);
	}
	return 0;
}

static int take_bytes(int slave, struct buf *input)
{
	char buf[4096];
	ssize_t n;

	while (input->len < QUEUE_MAX && polls(slave, POLLIN, 0)) {
		n = read(slave, buf, sizeof(buf));
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		if (n == 0)
			return 0;
		buf_add(input, buf, n);
	}
	return 0;
}

static int take_input(int slave, const struct termios2 *t, struct tty_queue *q)
{
	struct termios2 w = plain_termios(t, true);
	int ret = 0;

	if (is_canonical(t)) {
		if (ioctl(slave, TCSETS2, &w) < 0)
			return -errno;
		ret = take_lines(slave, q);
	}
	w = plain_termios(t, false);
	if (ioctl(slave, TCSETS2, &w) < 0)
		return ret ? ret : -errno;
	return take_bytes(slave, &q->input) ?: ret;
}

/* Let stopped output run; TTY_STOP_* says what had stopped it. */
static uint32_t start_output(int slave)
{
	if (polls(slave, POLLOUT, 0))
		return TTY_STOP_NONE;
	ioctl(slave, TCXONC, TCOON);
	if (polls(slave, POLLOUT, 0))
		return TTY_STOP_TCOOFF;
	/* TCOON undoes only TCOOFF: stop it that way too, then start it */
	ioctl(slave, TCXONC, TCOOFF);
	ioctl(slave, TCXONC, TCOON);
	return polls(slave, POLLOUT, 0) ? TTY_STOP_CHAR : TTY_STOP_NONE;
}

/* ---- putting in ---- */

/*
 * Size of the next write after done bytes, of which the first ones go on into the
 * line discipline.  The kernel's buffer between the ends is limited by what it
 * allocates, which depends on the sizes of the writes; these fill it as far as any
 * can, so that what was in it fits again.
 */
static size_t chunk_size(size_t done, size_t first)
{
	if (done < first)
		return MIN_OF(PACKED_CHUNK - done % PACKED_CHUNK, first - done);
	done -= first;
	if (done < PACKED_BYTES)
		return PACKED_CHUNK - done % PACKED_CHUNK;
	return LAST_CHUNK - (done - PACKED_BYTES) % LAST_CHUNK;
}

/* Write all of it with a non-blocking descriptor.  poll() does not tell whether more gets in; trying does. */
static int put_all(int fd, const struct buf *out, size_t first)
{
	size_t done = 0;
	int tries = 0;
	ssize_t n;

	while (done < out->len) {
		n = write(fd, out->p + done, MIN_OF(chunk_size(done, first), out->len - done));
		if (n > 0) {
			done += n;
			tries = 0;
			continue;
		}
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		if (++tries > WAIT_MS)
			return -ETIMEDOUT;
		usleep(1000);
	}
	return 0;
}

/* As put_all() into the master, which may be in use: its O_NONBLOCK is put back. */
static int put_master(int master, const struct buf *data, size_t first)
{
	int flags = fcntl(master, F_GETFL), ret;

	if (!data->len)
		return 0;
	if (flags < 0 || fcntl(master, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	ret = put_all(master, data, first);
	fcntl(master, F_SETFL, flags);
	return ret;
}

static bool ends_line(const struct termios2 *t, unsigned char c)
{
	return c == '\n' || (c && (c == t->c_cc[VEOL] || c == t->c_cc[VEOL2]));
}

/* n bytes that are to arrive as they are in canonical mode. */
static void add_quoted(struct buf *b, const struct termios2 *t, const char *data, size_t n)
{
	static const char lnext = CHAR_LNEXT;

	for (size_t i = 0; i < n; i++) {
		char c = data[i];

		if (ends_line(t, c) || c == CHAR_EOF || c == CHAR_LNEXT || c == CHAR_START || c == CHAR_STOP)
			buf_add(b, &lnext, 1);
		buf_add(b, &c, 1);
	}
}

static void add_line(struct buf *b, const struct termios2 *t, const struct buf *line)
{
	static const char eof = CHAR_EOF;
	bool ended = line->len && ends_line(t, line->p[line->len - 1]);

	add_quoted(b, t, line->p, line->len - ended);
	buf_add(b, ended ? line->p + line->len - 1 : &eof, 1);
}

/* Write a STOP character and wait until it has stopped the slave's output. */
static int send_stop(int master, int slave, char stop)
{
	const struct buf b = { .p = &stop, .len = 1 };
	int ret;

	ret = put_master(master, &b, 0);
	for (int tries = 0; !ret && polls(slave, POLLOUT, 0); tries++) {
		if (tries > WAIT_MS)
			return -ETIMEDOUT;
		usleep(tries < 100 ? 20 : 1000);
	}
	return ret;
}

/*
 * Wait until the line discipline has seen what the master wrote, with flow control:
 * STOP behind the data ends the slave's readiness for output as soon as it is processed.
 */
static int pass_through(int master, int slave)
{
	char start = CHAR_START;
	const struct buf b = { .p = &start, .len = 1 };
	int ret;

	ret = send_stop(master, slave, CHAR_STOP);
	ret = ret ? ret : put_master(master, &b, 0);
	if (!ret && !polls(slave, POLLOUT, WAIT_MS))
		ret = -ETIMEDOUT;
	return ret;
}

static int put_canonical(int master, int slave, const struct termios2 *t, const struct tty_queue *q,
			 struct buf *rest)
{
	_cleanup_buf_ struct buf b = { 0 };
	struct termios2 w = plain_termios(t, true);
	size_t room = INPUT_MAX, n;
	int ret;

	w.c_iflag = IXON;
	w.c_cc[VEOF] = CHAR_EOF;
	w.c_cc[VLNEXT] = CHAR_LNEXT;
	w.c_cc[VSTART] = CHAR_START;
	w.c_cc[VSTOP] = CHAR_STOP;
	for (size_t i = 0; i < q->lines.n; i++) {
		struct buf *line = &q->lines.v[i];

		if (!rest->len && line->len < room) {
			add_line(&b, t, line);
			room -= line->len + 1;
		} else {
			buf_add(rest, line->p, line->len);
		}
	}
	n = rest->len ? 0 : MIN_OF(q->input.len, room);
	if (q->input.len) { /* else there is no buffer */
		add_quoted(&b, t, q->input.p, n);
		buf_add(rest, q->input.p + n, q->input.len - n);
	}
	if (!b.len)
		return 0;
	if (ioctl(slave, TCSETS2, &w) < 0)
		return -errno;
	ret = put_master(master, &b, b.len);
	return ret ? ret : pass_through(master, slave);
}

static int put_raw(int master, int slave, const struct termios2 *t, const struct tty_queue *q, struct buf *rest)
{
	struct buf b = { .p = q->input.p, .len = MIN_OF(q->input.len, INPUT_MAX) };
	struct termios2 w = plain_termios(t, false);
	int ret, n = 0;

	if (!b.len)
		return 0;
	buf_add(rest, q->input.p + b.len, q->input.len - b.len);
	if (ioctl(slave, TCSETS2, &w) < 0)
		return -errno;
	ret = put_master(master, &b, b.len);
	for (int tries = 0; !ret; tries++) {
		if (ioctl(slave, FIONREAD, &n) < 0)
			return -errno;
		if ((size_t)n >= b.len)
			break;
		if (tries > WAIT_MS)
			return -ETIMEDOUT;
		usleep(tries < 100 ? 20 : 1000);
	}
	return ret;
}

/* Lines that the images have although the settings are not canonical come from settings changed since. */
static int put_input(int master, int slave, const struct termios2 *t, const struct tty_queue *q, struct buf *rest)
{
	if (is_canonical(t) || q->lines.n)
		return put_canonical(master, slave, t, q, rest);
	return put_raw(master, slave, t, q, rest);
}

static int stop_output(int master, int slave, const struct termios2 *t, uint32_t how)
{
	char c = t->c_cc[VSTOP];

	if (how == TTY_STOP_NONE)
		return 0;
	if (how == TTY_STOP_CHAR && (t->c_iflag & IXON) && c && send_stop(master, slave, c) == 0)
		return 0;
	return ioctl(slave, TCXONC, TCOOFF) < 0 ? -errno : 0;
}

int tty_queue_fill(int master, int slave, const struct tty_queue *q, const struct termios2 *t)
{
	struct termios2 w = plain_termios(t, is_canonical(t));
	_cleanup_buf_ struct buf rest = { 0 };
	int ret = 0, r;

	if (q->output.len) {
		ret = ioctl(slave, TCSETS2, &w) < 0 ? -errno : 0;
		r = put_all(slave, &q->output, INPUT_MAX);
		ret = ret ? ret : r;
	}
	r = put_input(master, slave, t, q, &rest);
	ret = ret ? ret : r;
	r = ioctl(slave, TCSETS2, t) < 0 ? -errno : 0;
	ret = ret ? ret : r;
	r = stop_output(master, slave, t, q->stopped);
	ret = ret ? ret : r;
	r = put_master(master, &rest, 0);
	return ret ? ret : r;
}

/* ---- copying ---- */

static int copy_window(int master, int slave, const struct termios2 *t, struct tty_queue *q)
{
	int ret, r;

	ret = take_output(master, &q->output);
	q->stopped = start_output(slave);
	r = take_input(slave, t, q);
	ret = ret ? ret : r;
	r = tty_queue_fill(master, slave, q, t);
	return ret ? ret : r;
}

int tty_queue_copy(struct cr_session *s, int master, int slave, struct tty_queue *ret_queue)
{
	struct termios locked, none = { 0 };
	int ret, packet = 0, on = 1, off = 0;
	bool has_locks;
	struct termios2 t;

	if (ioctl(slave, TCGETS2, &t) < 0)
		return cr_fail(s, errno, "cannot read the settings of a terminal");
	ioctl(master, TIOCGPKT, &packet);
	if (packet && polls(master, POLLPRI, 0))
		cr_lost(s, NULL, "a pending packet-mode status of a terminal is not kept");
	/* locked settings would keep the ones used here from taking effect */
	has_locks = ioctl(slave, TIOCGLCKTRMIOS, &locked) == 0 && memcmp(&locked, &none, sizeof(none));
	if (has_locks && ioctl(slave, TIOCSLCKTRMIOS, &none) < 0)
		return cr_fail(s, errno, "the settings of a terminal are locked; unlocking them for its unread data "
			       "needs CAP_SYS_ADMIN");
	if (packet)
		ioctl(master, TIOCPKT, &off);
	ret = copy_window(master, slave, &t, ret_queue);
	if (packet)
		ioctl(master, TIOCPKT, &on);
	if (has_locks)
		ioctl(slave, TIOCSLCKTRMIOS, &locked);
	return ret ? cr_fail(s, -ret, "unread data of a terminal could not be copied") : 0;
}
