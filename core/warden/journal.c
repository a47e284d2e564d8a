/* SPDX-License-Identifier: MIT */
/*
 * The undo journal: what must be undone when a dump does not succeed.
 *
 * W keeps the records with their descriptors; a copy lies in <base>/<id>/journal,
 * where descriptors have become paths.  W holds a lock on that file as long as it
 * lives: an unlocked journal belongs to a W that was killed, and `stasis recover`
 * replays it.  <base> is /run/stasis, for an ordinary user a directory of his own.
 *
 * One record a line, appended by a single write:
 *   note TEXT
 *   undo OP ALWAYS PATH TEXT     fields with %XX for blanks and the like
 * After the line "note committed" only records with ALWAYS are to be undone.
 */
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fault.h"
#include "log.h"

int undo_step(uint32_t op, int fd, const char *path, const char *text)
{
	_cleanup_fd_ int own = -1;
	const char *name = fd >= 0 ? text : path;
	int at = fd >= 0 ? fd : AT_FDCWD, flags = op == CR_UNDO_RMDIR ? AT_REMOVEDIR : 0;

	switch (op) {
	case CR_UNDO_UNLINK:
	case CR_UNDO_RMDIR:
		return unlinkat(at, name, flags) < 0 && errno != ENOENT ? -errno : 0;
	case CR_UNDO_WRITE:
		if (fd < 0)
			fd = own = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
		if (fd < 0)
			return -errno;
		return pwrite(fd, text, strlen(text), 0) < 0 && (errno != ESPIPE || write(fd, text, strlen(text)) < 0) ?
			       -errno : 0;
	case CR_UNDO_SOCKOPT:
		return undo_sockopt(fd, path, text);
	default:
		return -EINVAL;
	}
}

/* ---- the directory ---- */

/* A directory of ours that nobody else may enter: its descriptor. */
static int private_dir(const char *path, bool create)
{
	struct stat st;
	int fd;

	if (create && mkdir(path, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || st.st_uid != geteuid() || st.st_mode & 077) {
		close(fd);
		return -EPERM;
	}
	return fd;
}

/* The user as the world outside of a user namespace knows him: everybody may be 0 in one of his own. */
static unsigned long outer_uid(void)
{
	_cleanup_buf_ struct buf map = { 0 };
	unsigned long uid = geteuid(), first, outer, count;

	if (read_file(AT_FDCWD, "/proc/self/uid_map", &map))
		return uid;
	for (char *line = map.p; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : NULL)
		if (sscanf(line, "%lu %lu %lu", &first, &outer, &count) == 3 && uid >= first && uid - first < count)
			return outer + (uid - first);
	return uid;
}

int journal_base(bool create, char **ret_path)
{
	const char *runtime = secure_getenv("XDG_RUNTIME_DIR");
	char *try[3] = { xstrdup("/run/stasis"), runtime && *runtime == '/' ? xasprintf("%s/stasis", runtime) : NULL,
			 xasprintf("/tmp/stasis-%lu", outer_uid()) };
	int fd = -ENOENT;

	*ret_path = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(try); i++) {
		if (fd < 0 && try[i]) {
			fd = private_dir(try[i], create);
			if (fd >= 0) {
				*ret_path = try[i];
				continue;
			}
		}
		free(try[i]);
	}
	return fd;
}

/* ---- records ---- */

static void add_field(struct buf *b, const char *text)
{
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		if (*p <= ' ' || *p == '%' || *p >= 0x7f)
			buf_printf(b, "%%%02X", *p);
		else
			buf_add(b, p, 1);
	}
}

static int write_line(struct journal *j, struct buf *b)
{
	int err;

	buf_add(b, "\n", 1);
	err = j->fd < 0 ? 0 : FAULT("journal: %.40s", b->p);
	return j->fd < 0 || err ? err : write_full(j->fd, b->p, b->len);
}

void journal_note(struct server *sv, const char *fmt, ...)
{
	_cleanup_buf_ struct buf b = { 0 };
	_cleanup_free_ char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	buf_printf(&b, "note %s", text ? text : "");
	write_line(&sv->j, &b);
}

int journal_open(struct server *sv)
{
	struct journal *j = &sv->j;
	_cleanup_free_ char *base = NULL;
	/* under another name, which recovery leaves alone, until it is locked */
	_cleanup_free_ char *id = xasprintf("%d-%jx", getpid(), (uintmax_t)now_us());
	_cleanup_free_ char *temp = xasprintf("." JOURNAL_NEW "%s", id);
	_cleanup_fd_ int basefd = journal_base(true, &base);
	int err;

	if (basefd < 0)
		return wd_fail(sv, basefd, "no directory for the undo journal: neither /run/stasis nor $XDG_RUNTIME_DIR/stasis "
			       "nor /tmp/stasis-%lu can be used (%s)", outer_uid(), strerror(-basefd));
	err = FAULTS("journal's directory") || mkdirat(basefd, temp, 0700) < 0 ? -errno : 0;
	if (!err) {
		j->dir = xasprintf("%s/%s", base, temp);
		j->dirfd = openat(basefd, temp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		err = j->dirfd < 0 ? -errno : 0;
	}
	if (!err) {
		j->fd = openat(j->dirfd, "journal", O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
		if (j->fd < 0 || FAULTS("journal's lock") || flock(j->fd, LOCK_EX | LOCK_NB) < 0 ||
		    renameat(basefd, temp, basefd, id) < 0)
			err = -errno;
	}
	if (!err) {
		free(j->dir);
		j->dir = xasprintf("%s/%s", base, id);
	}
	if (err)
		return wd_fail(sv, err, "undo journal in %s: %s", base, strerror(-err));
	journal_note(sv, "warden %d, engine %d", getpid(), sv->engine);
	return 0;
}

/* Path by which somebody else can reach what fd and text mean. */
static char *outside_path(uint32_t op, int fd, const char *text)
{
	_cleanup_free_ char *link = NULL;
	char proc[40];

	if (op == CR_UNDO_PLUGIN)
		return xstrdup("/"); /* its text says all */
	if (fd < 0)
		return xstrdup(text);
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	if (readlink_alloc(AT_FDCWD, proc, &link))
		return xstrdup("");
	return op == CR_UNDO_WRITE || op == CR_UNDO_SOCKOPT ? xstrdup(link) : xasprintf("%s/%s", link, text);
}

int journal_add(struct server *sv, uint32_t op, int fd, const char *text, bool always)
{
	_cleanup_buf_ struct buf b = { 0 };
	_cleanup_free_ char *path = NULL;
	int err = 0;

	if (op < CR_UNDO_UNLINK || op > CR_UNDO_PLUGIN ||
	    (op != CR_UNDO_PLUGIN && fd < 0 && (op >= CR_UNDO_WRITE || text[0] != '/')))
		err = wd_fail(sv, -EINVAL, "undo record %u: a descriptor or an absolute path is needed", op);
	if (!err) {
		path = outside_path(op, fd, text);
		buf_printf(&b, "undo %u %d ", op, always);
		add_field(&b, path);
		buf_add(&b, " ", 1);
		add_field(&b, text);
		err = write_line(&sv->j, &b);
		if (err)
			err = wd_fail(sv, err, "%s/journal: %s", sv->j.dir, strerror(-err));
	}
	if (err) {
		if (fd >= 0)
			close(fd);
		return err;
	}
	*vec_push(&sv->j.undos) = (struct undo){ .op = op, .always = always, .fd = fd, .text = xstrdup(text) };
	return 0;
}

/* Is that step left out? */
static bool is_kept(const struct undo *u, uint32_t how)
{
	return how && (!u->always || (how == WARDEN_KILL && u->op == CR_UNDO_SOCKOPT));
}

static void undo_now(struct server *sv, size_t i)
{
	struct undo *u = &sv->j.undos.v[i];
	int err = u->op == CR_UNDO_PLUGIN ? undo_by_plugin(sv->plugins, u->fd, u->text) :
					    undo_step(u->op, u->fd, u->text, u->text);

	if (err)
		log_error("warden: undo of step %zu (%s) failed: %s", i, u->text, strerror(-err));
}

static void forget_undo(struct undo *u)
{
	if (u->fd >= 0)
		close(u->fd);
	free(u->text);
}

void journal_thaw(struct server *sv)
{
	struct journal *j = &sv->j;
	size_t kept = 0;

	for (size_t i = j->undos.n; i--;)
		if (!is_kept(&j->undos.v[i], WARDEN_RUN))
			undo_now(sv, i);
	for (size_t i = 0; i < j->undos.n; i++) {
		if (is_kept(&j->undos.v[i], WARDEN_RUN))
			j->undos.v[kept++] = j->undos.v[i];
		else
			forget_undo(&j->undos.v[i]);
	}
	j->undos.n = kept;
}

void journal_replay(struct server *sv, uint32_t how)
{
	struct journal *j = &sv->j;

	while (j->undos.n) {
		struct undo *u = &j->undos.v[j->undos.n - 1];

		if (!is_kept(u, how))
			undo_now(sv, j->undos.n - 1);
		forget_undo(u);
		j->undos.n--;
	}
}

void journal_close(struct server *sv)
{
	struct journal *j = &sv->j;

	if (!j->dir)
		return;
	unlinkat(j->dirfd, "journal", 0);
	if (rmdir(j->dir) < 0)
		log_warn("warden: %s: %s", j->dir, strerror(errno));
	if (j->fd >= 0)
		close(j->fd);
	if (j->dirfd >= 0)
		close(j->dirfd);
	free(j->dir);
	j->dir = NULL;
	j->fd = j->dirfd = -1;
}
