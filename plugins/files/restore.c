/* SPDX-License-Identifier: MIT */
/*
 * restore.c: opening files by name and comparing them with what they were.
 *
 * A name is opened with O_PATH first: that has no effect, does not wait for the other end of a
 * FIFO, and lets the file be compared before anything is done to it.  The description itself
 * is opened through /proc/self/fd, so that it is the very file that was compared.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "reg.h"

#define REG_OPEN_DROP (COMMON_OPEN_ONCE | (O_TMPFILE & ~O_DIRECTORY))

RegFileEntry *reg_entry(struct cr_session *s, struct cr_file *f)
{
	const char *kind = s->core->file_kind(f);
	struct reg_priv *p;

	if (!kind || strcmp(kind, REG_KIND))
		return NULL;
	p = s->core->file_priv(f);
	return p->e;
}

int reg_load(struct cr_session *s, struct cr_file *f, const void *data, size_t len)
{
	struct reg_priv *p = s->core->file_priv(f);
	RegFileEntry *e = common_load(s, &reg_file_entry__descriptor, data, len);

	if (!e)
		return -EPROTO;
	if (!(e->has_ext && e->ext) && e->name[0] != '/')
		return cr_fail(s, EPROTO, "the file name %s is not absolute", common_quote(s, e->name));
	if (e->pos > INT64_MAX)
		return cr_fail(s, EPROTO, "%s: position %llu", common_quote(s, e->name), (unsigned long long)e->pos);
	p->e = e;
	return 0;
}

int reg_inherit_key(struct cr_session *s, struct cr_file *f, char *buf, size_t size)
{
	struct reg_priv *p = s->core->file_priv(f);
	int n = snprintf(buf, size, "%s", p->e->name + (p->e->name[0] == '/'));

	return n > 0 && (size_t)n < size ? 0 : -ENOENT;
}

/* ---- validation ---- */

static const char *type_name(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return "a regular file";
	case S_IFDIR:
		return "a directory";
	case S_IFCHR:
		return "a character device";
	case S_IFBLK:
		return "a block device";
	case S_IFIFO:
		return "a FIFO";
	case S_IFLNK:
		return "a symbolic link";
	case S_IFSOCK:
		return "a socket";
	default:
		return "of unknown type";
	}
}

static int validate_mode(struct cr_session *s, const RegFileEntry *e, const struct stat *st)
{
	if (!e->has_mode || !((e->mode ^ st->st_mode) & (S_IFMT | 07777)))
		return 0;
	if ((e->mode ^ st->st_mode) & S_IFMT)
		return cr_fail(s, EINVAL, "%s is %s and was %s at the dump: put the old one back", common_quote(s, e->name),
			       type_name(st->st_mode), type_name(e->mode));
	if (s->core->option_flag(s, "skip-file-rwx-check"))
		return 0;
	return cr_fail(s, EINVAL, "%s has mode %04o and had %04o at the dump: change it back or use "
				  "--skip-file-rwx-check", common_quote(s, e->name), st->st_mode & 07777, e->mode & 07777);
}

static int validate_size(struct cr_session *s, const RegFileEntry *e, const struct stat *st)
{
	if (!e->has_size || e->size == (uint64_t)st->st_size || changed_policy(s, e) != REG_FAIL)
		return 0;
	return cr_fail(s, EINVAL, "%s has %lld bytes and had %llu at the dump: put the old contents back, or use "
		       "--file-validation none, or --file-changed truncate, append or ignore", common_quote(s, e->name),
		       (long long)st->st_size, (unsigned long long)e->size);
}

static void hex_words(const uint32_t *words, size_t n, char *text)
{
	const uint8_t *b = (const uint8_t *)words;

	*text = 0;
	for (size_t i = 0; i < n * 4; i++)
		text += sprintf(text, "%02x", b[i]);
}

static int validate_build_id(struct cr_session *s, const RegFileEntry *e, int pathfd)
{
	char is[BUILDID_WORDS * 8 + 1], was[BUILDID_WORDS * 8 + 1];
	_cleanup_fd_ int fd = common_reopen(pathfd, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	uint32_t words[BUILDID_WORDS];
	size_t n;

	if (fd < 0)
		return cr_fail(s, -fd, "reading the build id of %s: %s", common_quote(s, e->name), strerror(-fd));
	n = buildid_read(fd, words);
	if (n == e->n_build_id && !memcmp(words, e->build_id, n * sizeof(*words)))
		return 0;
	hex_words(words, n, is);
	hex_words(e->build_id, MIN_OF(e->n_build_id, BUILDID_WORDS), was);
	return cr_fail(s, EINVAL, "%s has build id %s and had %s at the dump: put the old file back, or use "
				  "--file-validation filesize", common_quote(s, e->name), n ? is : "(none)", was);
}

static int validate(struct cr_session *s, const RegFileEntry *e, int pathfd, const struct stat *st)
{
	const char *how = s->core->option(s, "file-validation");
	int err = validate_mode(s, e, st);

	if (err || !S_ISREG(st->st_mode) || (e->flags & O_PATH) || (how && !strcmp(how, "none")))
		return err;
	if (how && !strcmp(how, "buildid") && e->n_build_id)
		return validate_build_id(s, e, pathfd);
	return validate_size(s, e, st);
}

/* ---- opening ---- */

static int cannot_open(struct cr_session *s, const RegFileEntry *e, int err)
{
	const char *name = common_quote(s, e->name);

	if (err == ENOENT || err == ENOTDIR)
		return cr_fail(s, err, "the file %s is missing: put it back, or pass another one with --inherit-fd "
				       "fd[N]:%s", name, name + (name[0] == '/'));
	return cr_fail(s, err, "opening %s: %s%s", name, strerror(err),
		       err == EACCES ? " (needs CAP_DAC_OVERRIDE, or a mode that lets this user in)" : "");
}

/* A FIFO opens at once while both of its ends are held. */
static int reopen_fifo(int pathfd, int flags)
{
	_cleanup_fd_ int both = common_reopen(pathfd, O_RDWR | O_NONBLOCK);

	return both < 0 ? both : common_reopen(pathfd, flags);
}

/* The description with e's flags, from pathfd, an O_PATH descriptor; by_name: the name leads to it too. */
static int open_description(const RegFileEntry *e, int pathfd, const struct stat *st, int by_name)
{
	int flags = (e->flags & ~REG_OPEN_DROP) | O_NOCTTY | O_CLOEXEC;
	struct stat now;
	int fd;

	if (!S_ISDIR(st->st_mode))
		flags &= ~O_DIRECTORY;
	if (S_ISFIFO(st->st_mode) && !(flags & O_PATH))
		return reopen_fifo(pathfd, flags & ~O_NOFOLLOW);
	if (by_name && (flags & (O_NOFOLLOW | O_PATH))) {
		/* the link in /proc/self/fd is one itself: such flags need the name */
		fd = open(e->name, flags);
		if (fd < 0)
			return -errno;
		if (fstat(fd, &now) == 0 && common_same_inode(&now, st))
			return fd;
		close(fd);
		return -ESTALE;
	}
	return common_reopen(pathfd, flags & ~O_NOFOLLOW);
}

static int set_position(struct cr_session *s, const RegFileEntry *e, int fd, const struct stat *st)
{
	/* it begins at 0 */
	if (!e->pos || (e->flags & O_PATH) || S_ISFIFO(st->st_mode) || lseek(fd, e->pos, SEEK_SET) >= 0)
		return 0;
	return cr_fail(s, errno, "setting the position %llu of %s: %s", (unsigned long long)e->pos,
		       common_quote(s, e->name), strerror(errno));
}

static int open_checked(struct cr_session *s, const RegFileEntry *e, int pathfd, int by_name, int late, int *ret_fd)
{
	_cleanup_fd_ int fd = -1;
	struct stat st;
	int err;

	if (fstat(pathfd, &st))
		return cr_fail(s, errno, "fstat of %s: %s", common_quote(s, e->name), strerror(errno));
	err = validate(s, e, pathfd, &st);
	if (err)
		return err;
	fd = open_description(e, pathfd, &st, by_name);
	if (fd < 0)
		return cannot_open(s, e, -fd);
	/* a position in a file of /proc makes the kernel produce what is before it: not while its process is unfinished */
	err = late ? 0 : set_position(s, e, fd, &st);
	if (err == 0)
		err = changed_apply(s, e, fd, &st);
	if (err == 0 && !(e->flags & O_PATH) && (e->flags & O_ASYNC))
		err = common_set_flags(s, fd, e->flags);
	if (err)
		return err;
	*ret_fd = fd;
	fd = -1;
	return 0;
}

static int not_passed(struct cr_session *s, const RegFileEntry *e)
{
	return cr_fail(s, ENOENT, "%s comes from outside of the images: pass it with --inherit-fd fd[N]:%s",
		       common_quote(s, e->name), common_quote(s, e->name + (e->name[0] == '/')));
}

static int open_name(const RegFileEntry *e)
{
	int fd = open(e->name, O_PATH | O_CLOEXEC | (e->flags & O_NOFOLLOW));

	return fd < 0 ? -errno : fd;
}

static int open_by_name(struct cr_session *s, const RegFileEntry *e, int late, int *ret_fd)
{
	_cleanup_fd_ int fd = open_name(e);

	if (fd == -ENOENT && changed_may_create(s, e)) {
		int err = changed_create(s, e);

		if (err)
			return err;
		fd = open_name(e);
	}
	if (fd < 0)
		return cannot_open(s, e, -fd);
	return open_checked(s, e, fd, 1, late, ret_fd);
}

int reg_open_late(struct cr_session *s, struct cr_file *f, int *ret_fd)
{
	const struct reg_priv *p = s->core->file_priv(f);

	return open_by_name(s, p->e, 1, ret_fd);
}

int procfiles_restored(struct cr_session *s)
{
	const char *rest;
	int err = 0;

	for (struct cr_file *f = NULL; !err && (f = s->core->file_next(s, f));) {
		const RegFileEntry *e = reg_entry(s, f);
		int fd = e && e->pos && !(e->flags & O_PATH) ? s->core->file_fd(f) : -1;
		struct stat st;

		if (fd >= 0 && procfile_owner(s, e->name, &rest) && !fstat(fd, &st))
			err = set_position(s, e, fd, &st);
	}
	return err;
}

/* For deadfile_open(): by the name of a process that stands in. */
static int open_stand_in(struct cr_session *s, const RegFileEntry *e, const char *path, int *ret_fd)
{
	_cleanup_fd_ int fd = open(path, O_PATH | O_CLOEXEC | (e->flags & O_NOFOLLOW));

	return fd < 0 ? cannot_open(s, e, errno) : open_checked(s, e, fd, 0, 0, ret_fd);
}

int reg_open(struct cr_session *s, struct cr_file *f, int *ret_fd)
{
	struct reg_priv *p = s->core->file_priv(f);
	RegFileEntry *e = p->e;
	const char *rest;
	RemapType type;
	int remapped, pathfd;

	if (e->has_ext && e->ext)
		return not_passed(s, e);
	remapped = remap_find(s, f, &pathfd, &type);
	if (remapped < 0)
		return remapped;
	if (remapped && type == REMAP_TYPE__PROCFS)
		return deadfile_open(s, e, open_stand_in, ret_fd);
	if (remapped)
		return open_checked(s, e, pathfd, 0, 0, ret_fd);
	return procfile_owner(s, e->name, &rest) ? CR_LATE : open_by_name(s, e, 0, ret_fd);
}

int reg_check_image(struct cr_session *s, struct cr_file *f)
{
	struct reg_priv *p = s->core->file_priv(f);
	RegFileEntry *e = p->e;
	_cleanup_fd_ int fd = -1;
	const char *rest;
	struct stat st;
	int kept;

	if (e->has_ext && e->ext)
		return not_passed(s, e);
	kept = remap_check(s, f);
	if (kept || procfile_owner(s, e->name, &rest))
		return MIN_OF(kept, 0);
	fd = open_name(e);
	if (fd == -ENOENT && changed_may_create(s, e))
		return changed_check_create(s, e);
	if (fd < 0)
		return cannot_open(s, e, -fd);
	if (fstat(fd, &st))
		return cr_fail(s, errno, "fstat of %s: %s", common_quote(s, e->name), strerror(errno));
	return validate(s, e, fd, &st);
}

int reg_wire(struct cr_session *s, struct cr_file *f)
{
	struct reg_priv *p = s->core->file_priv(f);

	return p->e->flags & O_PATH ? 0 : common_fown_restore(s, f, p->e->fown);
}
