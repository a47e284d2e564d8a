/* SPDX-License-Identifier: MIT */
/*
 * name.c: restore: names of sockets.
 *
 * A path is bound from the directory where the program bound it, so that a relative
 * name is the same again.  The file of the killed program is still there: it is
 * removed, unless a running program has it.
 *
 * A path that was deleted, or has become another socket's, cannot be bound without
 * disturbing whoever has it now.  So that is done by a child that has changed to an
 * empty root directory, where every path is free; it shares the descriptors, nothing else.
 * A socket whose file was renamed since is bound in the same way, beside its place, and its
 * file is put there.
 */
#include "unix.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATH_BYTES sizeof(((struct sockaddr_un *)0)->sun_path)

int name_check(struct cr_session *s, const ProtobufCBinaryData *name)
{
	size_t n = name->len && name->data[0] ? strnlen((char *)name->data, name->len) : name->len;

	/* a path may have zeros behind it */
	if (n <= PATH_BYTES && name->len <= PATH_BYTES + 1)
		return 0;
	return cr_fail(s, EPROTO, "the image has a name of a socket of %zu bytes", name->len);
}

static socklen_t make_addr(const ProtobufCBinaryData *name, struct sockaddr_un *ret)
{
	size_t n = MIN_OF(name->len, PATH_BYTES);

	memset(ret, 0, sizeof(*ret));
	ret->sun_family = AF_UNIX;
	if (n)
		memcpy(ret->sun_path, name->data, n);
	if (n && ret->sun_path[0])
		n = MIN_OF(strnlen(ret->sun_path, PATH_BYTES) + 1, PATH_BYTES);
	return offsetof(struct sockaddr_un, sun_path) + n;
}

static int is_path(const ProtobufCBinaryData *name)
{
	return name->len && name->data[0];
}

/* ---- the working directory ---- */

/* Changes to dir (NULL: nowhere); *ret_old is a descriptor to come back with, or -1. */
static int enter(const char *dir, int *ret_old)
{
	*ret_old = -1;
	if (!dir)
		return 0;
	*ret_old = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (*ret_old < 0 || chdir(dir))
		return -errno;
	return 0;
}

static int leave(int old)
{
	int err = old >= 0 && fchdir(old) ? -errno : 0;

	if (old >= 0)
		close(old);
	return err;
}

/* ---- paths ---- */

/* What is at path: nothing (0), a socket that nobody has (1); anything else cannot be replaced: -errno, recorded. */
static int look_at_path(struct cr_session *s, const char *path)
{
	const char *text = common_quote(s, path);
	struct stat st;
	int err;

	if (lstat(path, &st))
		return errno == ENOENT ? 0 : cr_fail(s, errno, "%s: %s", text, strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return cr_fail(s, EEXIST, "%s is in the way, where a socket is to be bound: move it away", text);
	err = diag_read(s);
	if (err < 0)
		return err;
	if (diag_bound(s, &st))
		return cr_fail(s, EADDRINUSE, "a running program has the socket %s: end it (ss -xlp shows it) and restore again",
			       text);
	return 1;
}

/* A socket of the killed program may stand in the way. */
static int clear_path(struct cr_session *s, const char *path)
{
	int there = look_at_path(s, path);

	if (there > 0 && unlink(path))
		return cr_fail(s, errno, "removing the old socket %s: %s", common_quote(s, path), strerror(errno));
	return MIN_OF(there, 0);
}

static int set_perms(struct cr_session *s, const char *path, const FilePermsEntry *p)
{
	struct stat st;

	if (!p || lstat(path, &st))
		return 0;
	if ((st.st_uid != p->uid || st.st_gid != p->gid) && lchown(path, p->uid, p->gid))
		return cr_fail(s, errno, "giving the socket %s to user %u, group %u (needs CAP_CHOWN): %s", common_quote(s, path),
			       p->uid, p->gid,
			       strerror(errno));
	if (!lstat(path, &st) && (st.st_mode & 07777) != (p->mode & 07777) && chmod(path, p->mode & 07777))
		return cr_fail(s, errno, "setting the mode of the socket %s to %o: %s", common_quote(s, path), p->mode & 07777,
			       strerror(errno));
	return 0;
}

static int bind_path(struct cr_session *s, int fd, const UnixSkEntry *e, const struct sockaddr_un *a, socklen_t len)
{
	char path[PATH_BYTES + 1] = "";
	int err;

	memcpy(path, a->sun_path, PATH_BYTES);
	err = clear_path(s, path);
	if (err < 0)
		return err;
	if (bind(fd, (const struct sockaddr *)a, len))
		return cr_fail(s, errno, "binding a socket to %s: %s", common_quote(s, path), strerror(errno));
	*vec_push(&unix_state(s)->created) =
		xasprintf("%s%s%s", e->name_dir ? e->name_dir : "", e->name_dir ? "/" : "", path);
	return set_perms(s, path, e->file_perms);
}

void name_undo(struct cr_session *s, int error)
{
	struct unix_state *st = unix_state(s);

	for (size_t i = 0; i < st->created.n; i++) {
		if (error)
			unlink(st->created.v[i]);
		free(st->created.v[i]);
	}
	for (size_t i = 0; i < st->nodes.n; i++)
		close(st->nodes.v[i].fd);
	vec_free(&st->created);
	vec_free(&st->nodes);
}

/* ---- a root directory of its own ---- */

struct hidden {
	int fd; /* to be bound */
	const struct sockaddr_un *a;
	socklen_t len;
	int client; /* to be connected to it, or -1 */
	int slot;   /* the accepted connection is to have this number */
	int node;   /* a path descriptor of its file is to have this number, or -1 */
	int keep;   /* its file stays, called MOVED, in the root directory */
	const struct sk_cred *listens, *connects;
	struct cr_session *s;
};

#define MOVED "stasis-moved"

/* The directories in front of every '/' of path are made, or removed, the last first. */
static void make_dirs(const char *path)
{
	char part[PATH_BYTES + 1];

	for (size_t i = 1; path[i]; i++) {
		if (path[i] != '/')
			continue;
		memcpy(part, path, i);
		part[i] = 0;
		mkdir(part, 0711); /* another user may have to connect */
	}
}

static void remove_dirs(const char *path)
{
	char part[PATH_BYTES + 1];

	for (size_t i = strlen(path); i > 0; i--) {
		if (path[i] != '/')
			continue;
		memcpy(part, path, i);
		part[i] = 0;
		rmdir(part);
	}
}

static int listen_here(void *arg)
{
	const struct hidden *h = arg;

	return listen(h->fd, 1) ? -errno : 0;
}

static int connect_here(void *arg)
{
	const struct hidden *h = arg;

	return connect(h->client, (const struct sockaddr *)h->a, h->len) ? -errno : 0;
}

static int accept_here(struct hidden *h)
{
	int err = creds_call(h->s, h->listens, listen_here, h), fd;

	if (!err)
		err = creds_call(h->s, h->connects, connect_here, h);
	if (err < 0)
		return err;
	fd = accept4(h->fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0 || dup3(fd, h->slot, O_CLOEXEC) < 0)
		return -errno;
	close(fd);
	return 0;
}

static int bind_here(struct hidden *h)
{
	if (bind(h->fd, (const struct sockaddr *)h->a, h->len))
		return -errno;
	return h->client < 0 ? 0 : accept_here(h);
}

static int keep_node(const char *path, int slot)
{
	int fd = open(path, O_PATH | O_CLOEXEC);
	int err = fd < 0 || dup3(fd, slot, O_CLOEXEC) < 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return err;
}

static int bind_in_root(const char *root, struct hidden *h)
{
	char path[PATH_BYTES + 1] = "";
	int err;

	memcpy(path, h->a->sun_path, PATH_BYTES);
	if (chroot(root) || chdir("/"))
		return -errno;
	umask(0);
	make_dirs(path);
	err = bind_here(h);
	if (!err && h->node >= 0)
		err = keep_node(path, h->node);
	if (!err && h->keep && rename(path, "/" MOVED))
		err = -errno;
	unlink(path);
	remove_dirs(path);
	return err;
}

/* 0 or -errno, not recorded. */
static int in_child(const char *root, struct hidden *h)
{
	pid_t pid = syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL);
	int status = 0;

	if (pid == 0)
		_exit(-bind_in_root(root, h) & 0xff);
	if (pid < 0)
		return -errno;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
}

/* to: where its file goes from there, NULL: nowhere. 0 or -errno, not recorded. */
static int hide_in(char *root, struct hidden *h, const char *to)
{
	_cleanup_free_ char *moved = NULL;
	int err;

	if (!mkdtemp(root))
		return -errno;
	chmod(root, 0711);
	h->keep = to != NULL;
	err = in_child(root, h);
	moved = xasprintf("%s/" MOVED, root);
	if (!err && to && rename(moved, to))
		err = -errno;
	if (to)
		unlink(moved);
	rmdir(root);
	return err;
}

/* 0 or -errno, not recorded. */
static int try_hidden(struct hidden *h)
{
	const char *tmp = secure_getenv("TMPDIR");
	_cleanup_free_ char *root = xasprintf("%s/stasis-unix.XXXXXX", tmp && tmp[0] == '/' ? tmp : "/tmp");

	return hide_in(root, h, NULL);
}

static int bind_hidden(struct cr_session *s, struct hidden *h)
{
	int err = try_hidden(h);

	if (err < 0)
		return cr_fail(s, -err, "giving a socket the name %s, whose file is gone (needs CAP_SYS_CHROOT): %s",
			       common_quote(s, h->a->sun_path), strerror(-err));
	return 0;
}

/* ---- files that are elsewhere ---- */

/* Where the file of e is, if that is not where its name says; NULL. */
static const char *moved_to(struct cr_session *s, const UnixSkEntry *e)
{
	struct unix_state *st = unix_state(s);

	for (size_t i = 0; i < st->moved.n; i++)
		if (st->moved.v[i]->id == e->id)
			return st->moved.v[i]->path;
	return NULL;
}

/* It is bound beside its place, where every name is free, and put there. */
static int bind_moved(struct cr_session *s, int fd, const UnixSkEntry *e, const struct sockaddr_un *a, socklen_t len)
{
	const char *path = moved_to(s, e);
	_cleanup_free_ char *root = xasprintf("%.*s/.stasis-unix.XXXXXX", (int)(strrchr(path, '/') - path), path);
	struct hidden h = { fd, a, len, -1, -1, -1, 0, NULL, NULL, s };
	int err = clear_path(s, path);

	if (err < 0)
		return err;
	err = hide_in(root, &h, path);
	if (err < 0)
		return cr_fail(s, -err, "giving a socket the name %s, and its file the path %s (needs CAP_SYS_CHROOT and that "
			       "directory): %s", common_quote(s, a->sun_path), common_quote(s, path), strerror(-err));
	*vec_push(&unix_state(s)->created) = xasprintf("%s", path);
	return set_perms(s, path, e->file_perms);
}

/* ---- all together ---- */

/* Its file has no name, and the kernel gives it out to CAP_NET_ADMIN only: it is kept for who connects to it. */
static int bind_gone(struct cr_session *s, int fd, const UnixSkEntry *e, const struct sockaddr_un *a, socklen_t len)
{
	int node = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct hidden h = { fd, a, len, -1, -1, node, 0, NULL, NULL, s };

	if (node < 0)
		return cr_fail(s, errno, "/dev/null: %s", strerror(errno));
	*vec_push(&unix_state(s)->nodes) = (struct sk_node){ e->ino, node };
	return bind_hidden(s, &h);
}

static int bind_abstract(struct cr_session *s, int fd, const UnixSkEntry *e, const struct sockaddr_un *a, socklen_t len)
{
	if (!bind(fd, (const struct sockaddr *)a, len))
		return 0;
	if (errno == EADDRINUSE)
		return cr_fail(s, errno, "a running program has the abstract socket %s: end it (ss -xlp shows it) and restore "
			       "again", unix_name_text(s, e->name.data, e->name.len));
	return cr_fail(s, errno, "binding a socket to %s: %s", unix_name_text(s, e->name.data, e->name.len), strerror(errno));
}

static int no_directory(struct cr_session *s, const UnixSkEntry *e, int err)
{
	return cr_fail(s, -err, "the directory %s, where a socket was bound: %s", common_quote(s, e->name_dir), strerror(-err));
}

int name_can_bind(struct cr_session *s, const UnixSkEntry *e)
{
	char path[PATH_BYTES + 1] = "";
	struct sockaddr_un a;
	socklen_t len = make_addr(&e->name, &a);
	int old, err, back;

	if (moved_to(s, e))
		return MIN_OF(look_at_path(s, moved_to(s, e)), 0);
	if (!e->name.len || (e->has_deleted && e->deleted))
		return 0;
	if (!is_path(&e->name)) {
		/* it has the name for this moment only */
		_cleanup_fd_ int fd = socket(AF_UNIX, e->type | SOCK_CLOEXEC, 0);

		return fd < 0 ? -errno : bind_abstract(s, fd, e, &a, len);
	}
	memcpy(path, a.sun_path, PATH_BYTES);
	err = enter(e->name_dir, &old);
	if (err < 0)
		no_directory(s, e, err);
	else
		err = MIN_OF(look_at_path(s, path), 0);
	back = leave(old);
	return err ? err : back;
}

int name_bind(struct cr_session *s, int fd, const UnixSkEntry *e)
{
	struct sockaddr_un a;
	socklen_t len = make_addr(&e->name, &a);
	int old, err, back;

	if (!e->name.len)
		return 0;
	if (!is_path(&e->name))
		return bind_abstract(s, fd, e, &a, len);
	if (moved_to(s, e))
		return bind_moved(s, fd, e, &a, len);
	if (e->has_deleted && e->deleted)
		return bind_gone(s, fd, e, &a, len);
	err = enter(e->name_dir, &old);
	if (err < 0)
		no_directory(s, e, err);
	else
		err = bind_path(s, fd, e, &a, len);
	back = leave(old);
	return err ? err : back;
}

int name_accept_hidden(struct cr_session *s, int client, const struct sk_cred *connects, const UnixSkEntry *server,
		       const struct sk_cred *listens, int *ret_fd)
{
	_cleanup_fd_ int listener = socket(AF_UNIX, server->type | SOCK_CLOEXEC, 0);
	_cleanup_fd_ int slot = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct sockaddr_un a;
	socklen_t len = make_addr(&server->name, &a);
	struct hidden h = { listener, &a, len, client, slot, -1, 0, listens, connects, s };
	int err;

	if (listener < 0 || slot < 0)
		return cr_fail(s, errno, "making a socket: %s", strerror(errno));
	if (is_path(&server->name)) {
		err = bind_hidden(s, &h);
	} else {
		err = bind_here(&h);
		if (err < 0)
			cr_fail(s, -err, "making a connection with the name %s: %s",
				unix_name_text(s, server->name.data, server->name.len), strerror(-err));
	}
	if (err < 0)
		return err;
	*ret_fd = slot;
	slot = -1;
	return 0;
}

int name_connect_to(int fd, const ProtobufCBinaryData *name, const char *dir)
{
	struct sockaddr_un a;
	socklen_t len = make_addr(name, &a);
	int old, err = 0, back;

	if (is_path(name))
		err = enter(name->data[0] == '/' ? NULL : dir, &old);
	else
		old = -1;
	if (!err && connect(fd, (const struct sockaddr *)&a, len))
		err = -errno;
	back = leave(old);
	return err ? err : back;
}

static int node_of(struct cr_session *s, uint32_t ino)
{
	struct unix_state *st = unix_state(s);

	for (size_t i = 0; i < st->nodes.n; i++)
		if (st->nodes.v[i].ino == ino)
			return fcntl(st->nodes.v[i].fd, F_DUPFD_CLOEXEC, 3);
	return -1;
}

int name_address(struct cr_session *s, int target, const UnixSkEntry *e, struct sockaddr_un *ret, socklen_t *ret_len)
{
	int node = is_path(&e->name) ? ioctl(target, SIOCUNIXFILE) : -1;

	*ret_len = make_addr(&e->name, ret);
	if (!is_path(&e->name))
		return -1;
	/* the very file, wherever it is, and whether it has a name or not */
	if (node < 0 && moved_to(s, e))
		node = open(moved_to(s, e), O_PATH | O_CLOEXEC);
	else if (node < 0 && e->has_deleted && e->deleted)
		node = node_of(s, e->ino);
	if (node < 0)
		return e->name.data[0] == '/' ? -1 : -ENOENT;
	memset(ret, 0, sizeof(*ret));
	ret->sun_family = AF_UNIX;
	snprintf(ret->sun_path, sizeof(ret->sun_path), "/proc/self/fd/%d", node);
	*ret_len = sizeof(*ret);
	return node;
}

int name_connect(struct cr_session *s, int fd, int target, const UnixSkEntry *e)
{
	struct sockaddr_un a;
	socklen_t len;
	_cleanup_fd_ int node = name_address(s, target, e, &a, &len);

	if (node < 0)
		return name_connect_to(fd, &e->name, e->name_dir);
	return connect(fd, (const struct sockaddr *)&a, len) ? -errno : 0;
}

int name_bind_unseen(struct cr_session *s, int fd, const ProtobufCBinaryData *name)
{
	struct sockaddr_un a;
	socklen_t len = make_addr(name, &a);
	struct hidden h = { fd, &a, len, -1, -1, -1, 0, NULL, NULL, s };

	if (is_path(name))
		return try_hidden(&h);
	return bind(fd, (const struct sockaddr *)&a, len) ? -errno : 0;
}
