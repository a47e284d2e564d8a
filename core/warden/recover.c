/* SPDX-License-Identifier: MIT */
/*
 * `stasis recover`: undoes what a killed warden left.  A journal whose lock is free
 * has lost its warden; the tasks it held run again by themselves, since a tracer's
 * stops end with the tracer, but cgroups, files and links stay as they were.
 */
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define NEW_SECONDS 60

struct record {
	uint32_t op;
	bool always;
	char *path, *text; /* inside the text of the journal */
};
typedef VEC(struct record) record_list;

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Undoes %XX in place. False when the field makes no sense. */
static bool decode_field(char *s)
{
	char *out = s;

	for (; *s; s++) {
		if (*s != '%') {
			*out++ = *s;
			continue;
		}
		if (hex(s[1]) < 0 || hex(s[2]) < 0)
			return false;
		*out++ = hex(s[1]) << 4 | hex(s[2]);
		s += 2;
	}
	*out = 0;
	return true;
}

static bool parse_undo(char *line, struct record *ret)
{
	char *op = strsep(&line, " "), *always = strsep(&line, " "), *path = strsep(&line, " ");

	if (!op || !always || !path || !line || !decode_field(path) || !decode_field(line))
		return false;
	*ret = (struct record){ .op = strtoul(op, NULL, 10), .always = *always == '1', .path = path, .text = line };
	return path[0] == '/' || ret->op == CR_UNDO_SOCKOPT;
}

/* A line that was not finished is one whose effect never happened: the record comes first. */
static void parse_journal(char *text, record_list *ret, bool *ret_committed, FILE *out)
{
	char *end;

	for (char *line = text; (end = strchr(line, '\n')); line = end + 1) {
		struct record r;

		*end = 0;
		if (strcmp(line, "note committed") == 0)
			*ret_committed = true;
		else if (strncmp(line, "note copy: ", 11) == 0)
			copy_recover(line + 11, out);
		else if (strncmp(line, "note ", 5) == 0)
			fprintf(out, "  %s\n", line + 5);
		else if (strncmp(line, "undo ", 5) == 0 && parse_undo(line + 5, &r))
			*vec_push(ret) = r;
		else
			fprintf(out, "  not understood: %s\n", line);
	}
}

static int replay(struct plugins *plugins, record_list *l, bool committed, FILE *out)
{
	static const char *const names[] = { [CR_UNDO_UNLINK] = "remove", [CR_UNDO_RMDIR] = "remove directory",
					     [CR_UNDO_WRITE] = "write to",
					     [CR_UNDO_SOCKOPT] = "set options of",
					     [CR_UNDO_PLUGIN] = "plugin:" };
	int first = 0;

	while (l->n) {
		struct record *r = &l->v[--l->n];
		const char *name = r->op < ARRAY_SIZE(names) && names[r->op] ? names[r->op] : "unknown step";
		int err;

		if (committed && !r->always)
			continue;
		err = r->op == CR_UNDO_PLUGIN ? undo_by_plugin(plugins, -1, r->text) : undo_step(r->op, -1, r->path, r->text);
		fprintf(out, "  %s %s%s%s: %s\n", name, r->path, r->op >= CR_UNDO_WRITE ? " " : "",
			r->op >= CR_UNDO_WRITE ? r->text : "", err ? strerror(-err) : "done");
		first = first ? first : err;
	}
	return first;
}

/* The journal that was opened is not the one of a warden that has just come to its end and removed it. */
static bool is_there(int dirfd, int fd)
{
	struct stat st, now;

	return fstat(fd, &st) == 0 && fstatat(dirfd, "journal", &now, AT_SYMLINK_NOFOLLOW) == 0 && st.st_ino == now.st_ino;
}

/* 1: recovered, 0: in use, -errno: some of it could not be undone; then the journal stays. */
static int recover_one(struct plugins *plugins, int basefd, const char *id, FILE *out)
{
	_cleanup_fd_ int dirfd = openat(basefd, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_fd_ int fd = dirfd < 0 ? -1 : openat(dirfd, "journal", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_buf_ struct buf b = { 0 };
	record_list l = { 0 };
	bool committed = false;
	int err = 0;

	if (dirfd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (fd >= 0 && (flock(fd, LOCK_EX | LOCK_NB) < 0 || !is_there(dirfd, fd)))
		return 0;
	fprintf(out, "%s:\n", id);
	if (fd >= 0)
		err = read_file(dirfd, "journal", &b);
	if (err == -ENOENT)
		return 0;
	if (!err && b.p) {
		parse_journal(b.p, &l, &committed, out);
		err = replay(plugins, &l, committed, out);
	}
	vec_free(&l);
	if (err)
		return err;
	unlinkat(dirfd, "journal", 0);
	return unlinkat(basefd, id, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 1;
}

/* The directory of a journal that is not finished, and has been there for too long to be ever: nothing was done yet. */
static bool is_old(int basefd, const char *name)
{
	struct stat st;

	return strncmp(name, "." JOURNAL_NEW, strlen("." JOURNAL_NEW)) == 0 &&
	       fstatat(basefd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_mtime + NEW_SECONDS < time(NULL);
}

int warden_recover(struct plugins *plugins, FILE *out)
{
	_cleanup_free_ char *path = NULL;
	int basefd = journal_base(false, &path), n = 0, first = 0;
	_cleanup_dir_ DIR *d = NULL;
	struct dirent *e;

	if (basefd == -ENOENT)
		return 0;
	if (basefd < 0)
		return basefd;
	d = fdopendir(basefd);
	if (!d) {
		int err = -errno;

		close(basefd);
		return err;
	}
	while ((e = readdir(d))) {
		int r;

		if (e->d_name[0] == '.' && !is_old(basefd, e->d_name))
			continue;
		r = recover_one(plugins, basefd, e->d_name, out);
		if (r < 0) {
			fprintf(out, "%s/%s: %s; repair it by hand, then remove that directory\n", path, e->d_name, strerror(-r));
			first = first ? first : r;
		} else {
			n += r;
		}
	}
	return first ? first : n;
}
