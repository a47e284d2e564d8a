/* SPDX-License-Identifier: MIT */
/*
 * changed.c: what to do with a file that is not what it was at the dump (--file-changed).
 *
 *   fail	the restore is refused; without the option, too
 *   truncate	it gets the size that it had: what was added is cut off, what is missing becomes zeros
 *   append	the program goes on at its end
 *   ignore	it is taken as it is
 *
 * truncate and append are about descriptors that write; one that only reads takes the file as it is.  A file that
 * is gone is made again for them, empty or of that size, and taken away when the restore fails.  Sizes change only when nothing
 * else can fail any more: until then the restore can be repeated.
 */
#include <errno.h>
#include <fnmatch.h>
#include <string.h>
#include <unistd.h>

#include "reg.h"

/* The policy of a value "PATTERN=POLICY" or "POLICY", or -1. */
static int policy_of(const char *value, size_t *ret_pattern_len)
{
	static const char *const names[] = {
		[REG_FAIL] = "fail", [REG_TRUNCATE] = "truncate", [REG_APPEND] = "append", [REG_IGNORE] = "ignore",
	};
	const char *eq = strrchr(value, '='), *word = eq ? eq + 1 : value;

	*ret_pattern_len = eq ? eq - value : 0;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(word, names[i]))
			return i;
	return -1;
}

int changed_check_option(struct cr_session *s)
{
	const char *value;
	size_t len;

	for (size_t i = 0; (value = s->core->option_item(s, "file-changed", i)); i++)
		if (policy_of(value, &len) < 0)
			return cr_fail(s, EINVAL, "--file-changed %s: it is fail, truncate, append or ignore, for some files "
				       "with a pattern of their names before it ('/var/log/*=append')", common_quote(s, value));
	return 0;
}

enum reg_policy changed_policy(struct cr_session *s, const RegFileEntry *e)
{
	enum reg_policy found = REG_FAIL;
	const char *value;
	size_t len;

	for (size_t i = 0; (value = s->core->option_item(s, "file-changed", i)); i++) {
		int policy = policy_of(value, &len);
		char *pattern = common_strdup(s, value);

		pattern[len] = 0;
		if (policy >= 0 && (!len || fnmatch(pattern, e->name, 0) == 0))
			found = policy;
	}
	return found;
}

static int writes(const RegFileEntry *e)
{
	return (e->flags & O_ACCMODE) != O_RDONLY && !(e->flags & O_PATH);
}

/* The policy says that a missing file is made again. */
int changed_may_create(struct cr_session *s, const RegFileEntry *e)
{
	enum reg_policy policy = changed_policy(s, e);

	return (policy == REG_TRUNCATE || policy == REG_APPEND) && e->has_mode && S_ISREG(e->mode) && writes(e);
}

static int cannot_make(struct cr_session *s, const RegFileEntry *e, int err)
{
	return cr_fail(s, err, "making the missing file %s again (--file-changed): %s", common_quote(s, e->name), strerror(err));
}

int changed_check_create(struct cr_session *s, const RegFileEntry *e)
{
	char *dir = common_strdup(s, e->name), *slash = strrchr(dir, '/');

	slash[slash == dir] = 0;
	return access(dir, W_OK | X_OK) == 0 ? 0 : cannot_make(s, e, errno);
}

int changed_create(struct cr_session *s, const RegFileEntry *e)
{
	struct reg_state *st = reg_state(s);
	struct reg_made m = { .path = e->name };
	_cleanup_fd_ int fd = open(e->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY, 0600);
	struct stat sb;

	if (fd < 0)
		return cannot_make(s, e, errno);
	if (fstat(fd, &sb) == 0) {
		m.dev = sb.st_dev;
		m.ino = sb.st_ino;
	}
	*vec_push(&st->made) = m;
	if (fchmod(fd, e->mode & 07777) < 0)
		return cannot_make(s, e, errno);
	cr_warn(s, "%s was missing: it is made again, empty", common_quote(s, e->name));
	return 0;
}

static void note_size(struct reg_state *st, int fd, const RegFileEntry *e)
{
	struct reg_resize r = { .fd = fcntl(fd, F_DUPFD_CLOEXEC, 0), .size = e->size, .path = e->name };

	*vec_push(&st->resizes) = r;
}

int changed_apply(struct cr_session *s, const RegFileEntry *e, int fd, const struct stat *st)
{
	enum reg_policy policy = changed_policy(s, e);

	if (!S_ISREG(st->st_mode) || !writes(e) || !e->has_size || e->size == (uint64_t)st->st_size)
		return 0;
	if (policy == REG_TRUNCATE)
		note_size(reg_state(s), fd, e);
	if (policy == REG_APPEND && lseek(fd, 0, SEEK_END) < 0)
		return cr_fail(s, errno, "going to the end of %s: %s", common_quote(s, e->name), strerror(errno));
	if (policy != REG_FAIL)
		cr_warn(s, "%s has %lld bytes and had %llu at the dump: %s", common_quote(s, e->name), (long long)st->st_size,
			(unsigned long long)e->size, policy == REG_TRUNCATE ? "it gets that size again" :
			policy == REG_APPEND ? "the program goes on at its end" : "taken as it is");
	return 0;
}

int changed_resume(struct cr_session *s)
{
	struct reg_state *st = reg_state(s);

	for (size_t i = 0; i < st->resizes.n; i++) {
		const struct reg_resize *r = &st->resizes.v[i];

		if (r->fd < 0 || ftruncate(r->fd, r->size) < 0)
			return cr_fail(s, errno, "setting the size of %s to %llu: %s", common_quote(s, r->path),
				       (unsigned long long)r->size, strerror(errno));
	}
	return 0;
}

void changed_done(struct cr_session *s, int error)
{
	struct reg_state *st = reg_state(s);

	for (size_t i = 0; i < st->resizes.n; i++)
		cleanup_fd(&st->resizes.v[i].fd);
	for (size_t i = 0; (error || !st->restored) && i < st->made.n; i++) {
		const struct reg_made *m = &st->made.v[i];
		struct stat sb;

		if (lstat(m->path, &sb) == 0 && sb.st_dev == m->dev && sb.st_ino == m->ino && unlink(m->path))
			cr_warn(s, "removing %s, which this restore had made: %s", common_quote(s, m->path), strerror(errno));
	}
	vec_free(&st->resizes);
	vec_free(&st->made);
}
