/* SPDX-License-Identifier: MIT */
/*
 * The error record: what failed first, and everything that stands in the way.
 *
 * lost() lists what the tree will have lost when all is done.
 *
 * fail() keeps the first cause of a session, with the plugin, the phase and the
 * object at hand; whatever fails after it is only logged.  refuse() collects
 * blockers, so that a user sees all of them at once; check --images collects what
 * fail() is told in the same way.
 */
#include "session.h"

#include <errno.h>
#include <string.h>

#include "text.h"

/* "dump: pid 812 fd 7: " */
static void add_place(const struct session *s, struct buf *b)
{
	if (s->phase)
		buf_printf(b, "%s: ", s->phase);
	if (s->object[0])
		buf_printf(b, "%s: ", s->object);
}

static void add_vtext(struct buf *b, const char *fmt, va_list ap)
{
	_cleanup_free_ char *text = NULL;

	if (vasprintf(&text, fmt, ap) < 0)
		text = xstrdup(fmt);
	buf_add_visible(b, text);
}

/*
 * The text of errnum, where it adds something: not when it is there already, not for the numbers by which the
 * engine says "bad image" and "cannot do that", and not for EINVAL when the message explains itself.
 */
static void add_errno(struct buf *b, const char *text, int errnum)
{
	const char *name = strerror(errnum);

	if (errnum == EPROTO || errnum == EOPNOTSUPP || errnum == ECANCELED || strstr(text, name))
		return;
	if (errnum == EINVAL && strstr(text, ": "))
		return;
	buf_printf(b, " (%s)", name);
}

static bool known_blocker(const struct session *s, const char *who, const char *text)
{
	for (size_t i = 0; i < s->blockers.n; i++) {
		const struct blocker *b = &s->blockers.v[i];

		if (!strcmp(b->plugin, who) && !strcmp(b->object, s->object) && !strcmp(b->text, text))
			return true;
	}
	return false;
}

/* The text after "Error (files): ". */
static void blocker_line(const struct blocker *bl, const char *phase, struct buf *b)
{
	if (phase)
		buf_printf(b, "%s: ", phase);
	if (bl->object[0])
		buf_printf(b, "%s: ", bl->object);
	buf_printf(b, "%s", bl->text);
	if (bl->remedy)
		buf_printf(b, " (try %s)", bl->remedy);
}

static void add_blocker(struct session *s, const char *who, const char *text, const char *remedy)
{
	_cleanup_buf_ struct buf line = { 0 };
	struct blocker bl;

	if (known_blocker(s, who, text))
		return;
	bl.plugin = xstrdup(who);
	bl.object = xstrdup(s->object);
	bl.text = xstrdup(text);
	bl.remedy = remedy ? xstrdup(remedy) : NULL;
	*vec_push(&s->blockers) = bl;
	blocker_line(&bl, s->phase, &line);
	/* for check, the list of blockers is the result, not an error */
	log_msg(s->mode == CR_MODE_CHECK || s->collecting ? CR_LOG_INFO : CR_LOG_ERROR, who, "%s", line.p);
}

int vfail(struct session *s, int errnum, const char *fmt, va_list ap)
{
	_cleanup_buf_ struct buf b = { 0 };
	const char *who = s->plugin ? s->plugin : "core";
	size_t place;

	if (errnum <= 0)
		errnum = errnum ? -errnum : EIO;
	add_place(s, &b);
	place = b.len;
	add_vtext(&b, fmt, ap);
	add_errno(&b, b.p + place, errnum);
	if (s->collecting) {
		add_blocker(s, who, b.p + place, NULL);
		return -errnum;
	}
	log_msg(CR_LOG_ERROR, who, "%s", b.p);
	if (!s->err.errnum) {
		s->err.errnum = errnum;
		s->err.plugin = xstrdup(who);
		s->err.text = xstrdup(b.p);
	}
	return -errnum;
}

int (fail)(struct session *s, int errnum, const char *fmt, ...)
{
	va_list ap;
	int err;

	va_start(ap, fmt);
	err = vfail(s, errnum, fmt, ap);
	va_end(ap);
	return err;
}

int vrefuse(struct session *s, const char *remedy, const char *fmt, va_list ap)
{
	_cleanup_buf_ struct buf text = { 0 };

	add_vtext(&text, fmt, ap);
	add_blocker(s, s->plugin ? s->plugin : "core", text.p, remedy);
	return -EOPNOTSUPP;
}

int (refuse)(struct session *s, const char *remedy, const char *fmt, ...)
{
	va_list ap;
	int err;

	va_start(ap, fmt);
	err = vrefuse(s, remedy, fmt, ap);
	va_end(ap);
	return err;
}

/* The same may be lost many times over in one object: one line is enough. */
static bool known_loss(const struct session *s, const char *who, const char *text)
{
	for (size_t i = s->losses.n; i-- > 0 && !strcmp(s->losses.v[i].object, s->object);)
		if (!strcmp(s->losses.v[i].plugin, who) && !strcmp(s->losses.v[i].text, text))
			return true;
	return false;
}

static bool is_banned(const struct session *s, const char *who)
{
	for (size_t i = 0; i < s->loss_bans.n; i++)
		if (!s->loss_bans.v[i][0] || !strcmp(s->loss_bans.v[i], who))
			return true;
	return false;
}

/* --policy lost=fail: what is found while more may be refused is collected, all else is an error that losses_check() sees. */
static void ban(struct session *s, const char *text)
{
	s->banned_losses++;
	if (s->mode == CR_MODE_RESTORE)
		fail(s, EPERM, "this would be lost, and --policy lost=fail forbids that: %s", text);
	else
		refuse(s, "without --policy lost=fail, if the program can do without it", "this would be lost: %s", text);
}

int losses_check(struct session *s)
{
	return s->banned_losses ? -EPERM : 0;
}

void vlost(struct session *s, const char *fmt, va_list ap)
{
	const char *who = s->plugin ? s->plugin : "core";
	_cleanup_buf_ struct buf text = { 0 };
	struct loss l;

	add_vtext(&text, fmt, ap);
	if (known_loss(s, who, text.p))
		return;
	l.plugin = xstrdup(who);
	l.object = xstrdup(s->object);
	l.text = xstrdup(text.p);
	*vec_push(&s->losses) = l;
	log_msg(CR_LOG_WARN, who, "%s: %s%s%s", s->mode == CR_MODE_CHECK ? "would be lost" : "lost", s->object,
		s->object[0] ? ": " : "", text.p);
	if (is_banned(s, who))
		ban(s, text.p);
}

void lost(struct session *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vlost(s, fmt, ap);
	va_end(ap);
}

void at_object(struct session *s, const char *fmt, ...)
{
	char raw[sizeof(s->object)];
	va_list ap;

	s->object[0] = 0;
	if (!fmt)
		return;
	va_start(ap, fmt);
	vsnprintf(raw, sizeof(raw), fmt, ap);
	va_end(ap);
	text_visible(s->object, sizeof(s->object), raw);
}

void session_report(struct session *s)
{
	if (s->reported)
		return;
	s->reported = true;
	if (!log_in_file() || log_level() < CR_LOG_ERROR)
		return;
	for (size_t i = 0; i < s->blockers.n; i++) {
		_cleanup_buf_ struct buf line = { 0 };

		blocker_line(&s->blockers.v[i], NULL, &line);
		fprintf(stderr, "Error (%s): %s\n", s->blockers.v[i].plugin, line.p);
	}
	if (s->err.errnum)
		fprintf(stderr, "Error (%s): %s\n", s->err.plugin, s->err.text);
}
