/* SPDX-License-Identifier: MIT */
/* dump.c: a socket becomes a message. See unix.h. */
#include "unix.h"

#include <errno.h>
#include <linux/un.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "x-unix-peer.pb-c.h"

const struct cr_img_type unix_img_extra = { sizeof(unix_img_extra), "x-unix-options", 0x58554e4f, 0 };
const struct cr_img_type unix_img_moved = { sizeof(unix_img_moved), "x-unix-moved", 0x58554e4d, 0 };
const struct cr_img_type unix_img_peers = { sizeof(unix_img_peers), "x-unix-peers", 0x58554e50, 0 };

#define OPT_SO_PASSPIDFD 76
#define OPT_SO_PASSRIGHTS 83

const struct sock_extra unix_extra[] = {
	{ SOL_SOCKET, OPT_SO_PASSPIDFD, 4 },
	{ SOL_SOCKET, OPT_SO_PASSRIGHTS, 4 },
	{ SOL_SOCKET, SO_PEEK_OFF, 4 },
	{ 0, 0, 0 },
};

/* The file of a bound socket, as far as the kernel tells. */
struct node {
	int known;	/* st holds device and inode */
	struct stat st;
	char *link;	/* malloced, NULL: unknown */
};

static void get_node(int lfd, const struct sk_fact *k, struct node *n)
{
	_cleanup_fd_ int fd = ioctl(lfd, SIOCUNIXFILE); /* needs CAP_NET_ADMIN */
	char path[32];

	memset(n, 0, sizeof(*n));
	if (fd >= 0 && !fstat(fd, &n->st)) {
		n->known = 1;
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		if (readlink_alloc(AT_FDCWD, path, &n->link) < 0)
			n->link = NULL;
	} else if (k->has_vfs) {
		n->known = 1;
		n->st.st_ino = k->vfs_ino;
		n->st.st_dev = makedev(k->vfs_dev >> 20, k->vfs_dev & 0xfffff);
	}
}

static int is_node(const struct node *n, const char *path, struct stat *ret_st)
{
	/* the list has 32 bits of the inode number */
	return !stat(path, ret_st) && ret_st->st_dev == n->st.st_dev &&
	       (uint32_t)ret_st->st_ino == (uint32_t)n->st.st_ino;
}

/* Directory that a relative name starts from; NULL: unknown. Memory of the session. */
static char *find_dir(struct cr_session *s, const struct node *n, const char *name, struct cr_task *t)
{
	size_t len = n->link ? strlen(n->link) : 0, tail = strlen(name);
	_cleanup_free_ char *cwd = NULL;
	char path[32], *dir;

	if (len > tail && n->link[len - tail - 1] == '/' && !strcmp(n->link + len - tail, name)) {
		dir = common_strdup(s, n->link);
		dir[len - tail - 1] = 0;
		return dir[0] ? dir : common_strdup(s, "/");
	}
	/* "../x", or deleted: where the process is now is likely enough */
	snprintf(path, sizeof(path), "/proc/%d/cwd", s->core->task_pid(t));
	return readlink_alloc(AT_FDCWD, path, &cwd) < 0 ? NULL : common_strdup(s, cwd);
}

static int is_gone(const char *link)
{
	static const char suffix[] = " (deleted)";
	size_t len = link ? strlen(link) : 0;

	return len >= sizeof(suffix) && !strcmp(link + len - (sizeof(suffix) - 1), suffix);
}

static FilePermsEntry *perms_of(struct cr_session *s, const struct stat *st)
{
	FilePermsEntry *perms = s->core->alloc(s, sizeof(*perms));

	file_perms_entry__init(perms);
	perms->mode = st->st_mode;
	perms->uid = st->st_uid;
	perms->gid = st->st_gid;
	return perms;
}

/* Its file was renamed, or is under another root directory. */
static int dump_moved(struct cr_session *s, char *path, const struct stat *st, UnixSkEntry *e)
{
	UnixMovedEntry m = UNIX_MOVED_ENTRY__INIT;

	e->file_perms = perms_of(s, st);
	m.id = e->id;
	m.path = path;
	return common_append(s, &unix_img_moved, CR_IMG_NO_ID, &m.base);
}

static int dump_path(struct cr_session *s, const struct node *n, const char *name, struct cr_task *t, UnixSkEntry *e)
{
	_cleanup_free_ char *path = NULL;
	struct stat st;
	int used;

	if (name[0] != '/')
		e->name_dir = find_dir(s, n, name, t);
	path = xasprintf("%s%s%s", e->name_dir ? e->name_dir : "", e->name_dir ? "/" : "", name);
	if (n->known && is_node(n, path, &st)) {
		e->file_perms = perms_of(s, &st);
		return 0;
	}
	/* a file of an accepted connection is the listener's, and of no use any more */
	used = e->state != SK_ESTABLISHED || e->type == SOCK_DGRAM;
	if (used && !n->link && name[0] != '/')
		return cr_refuse(s, "dump with CAP_NET_ADMIN, or bind to an absolute path", "where the name %s starts from is "
				 "not known, or it was deleted", common_quote(s, name));
	/* nothing is where the name says: other readers need not make it */
	e->has_deleted = 1;
	e->deleted = 1;
	return used && n->link && !is_gone(n->link) && is_node(n, n->link, &st) ? dump_moved(s, n->link, &st, e) : 0;
}

static int dump_name(struct cr_session *s, int lfd, const struct sk_fact *k, struct cr_task *t, UnixSkEntry *e)
{
	char name[sizeof(k->name) + 1];
	struct node n;
	int err;

	e->name.data = (uint8_t *)k->name;
	e->name.len = k->name_len;
	if (!k->name_len || !k->name[0])
		return 0;
	memcpy(name, k->name, k->name_len);
	name[k->name_len] = 0;
	get_node(lfd, k, &n);
	err = dump_path(s, &n, name, t, e);
	free(n.link);
	return err;
}

/* A peer outside the tree, which restore finds by its name. */
static int dump_peer_name(struct cr_session *s, struct cr_file *f, const struct sk_fact *k)
{
	const struct sk_fact *other = diag_find(s, k->peer);
	UnixPeerEntry e = UNIX_PEER_ENTRY__INIT;

	if (!unix_reconnects(s, f, k) && (k->type != SOCK_DGRAM || !other || !other->name_len || unix_file_of(s, k->peer) ||
					  !s->core->option_flag(s, "ext-unix-sk")))
		return 0;
	if (k->type != SOCK_DGRAM)
		cr_lost(s, f, "its connection to %s, with what was on its way: restore makes a new one",
			unix_name_text(s, other->name, other->name_len));
	e.id = s->core->file_id(f);
	e.name.data = (uint8_t *)other->name;
	e.name.len = other->name_len;
	return common_append(s, &unix_img_peers, CR_IMG_NO_ID, &e.base);
}

static int dump_extra(struct cr_session *s, struct cr_file *f, int lfd, int type)
{
	_cleanup_fd_ int fresh = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	struct sock_extra all[32] = { 0 };
	size_t n = 0;

	if (fresh < 0)
		return cr_fail(s, errno, "making a socket like it to compare with: %s", strerror(errno));
	for (const struct sock_extra *o = sock_extra_common; o->name && n + 1 < ARRAY_SIZE(all); o++)
		all[n++] = *o;
	for (const struct sock_extra *o = unix_extra; o->name && n + 1 < ARRAY_SIZE(all); o++)
		all[n++] = *o;
	return sock_extra_dump(s, &unix_img_extra, f, lfd, fresh, all);
}

/* Inode number of the peer for the image: of a connection that waits, the listening socket. */
static uint32_t peer_of(struct cr_session *s, const struct sk_fact *k)
{
	const struct sk_fact *listener;

	if (k->peer || k->state != SK_ESTABLISHED || k->type == SOCK_DGRAM)
		return k->peer;
	listener = diag_listener_of(s, k->ino);
	return listener && unix_file_of(s, listener->ino) ? listener->ino : 0;
}

static int dump_parts(struct cr_session *s, struct cr_file *f, int lfd, const struct sk_fact *k, struct cr_task *t)
{
	/* of an old connection: nothing that a new one should begin with */
	int err = k->type != SOCK_DGRAM && unix_reconnects(s, f, k) ? 0 : queue_dump(s, f, lfd, k, t);

	if (!err)
		err = dump_extra(s, f, lfd, k->type);
	if (!err)
		err = creds_dump(s, f, lfd);
	return err ? err : dump_peer_name(s, f, k);
}

int unix_dump(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	const struct sk_fact *k = diag_find(s, info->st.st_ino);
	UnixSkEntry e = UNIX_SK_ENTRY__INIT;
	SkOptsEntry opts;
	FownEntry fown;
	int err;

	if (!k)
		return cr_fail(s, ENOENT, "the kernel does not list the socket");
	err = sock_opts_dump(s, lfd, &opts);
	if (err < 0)
		return err;
	opts.has_so_passcred = opts.has_so_passsec = 1;
	opts.so_passcred = sock_get_int(lfd, SOL_SOCKET, SO_PASSCRED);
	opts.so_passsec = sock_get_int(lfd, SOL_SOCKET, SO_PASSSEC);
	common_fown_dump(s, f, &fown);
	e.id = s->core->file_id(f);
	e.ino = k->ino;
	e.type = k->type;
	e.state = k->state;
	e.flags = info->flags;
	e.backlog = k->wqueue;
	e.peer = peer_of(s, k);
	e.fown = &fown;
	e.opts = &opts;
	e.has_shutdown = k->shutdown != 0;
	e.shutdown = (SkShutdown)k->shutdown;
	err = dump_name(s, lfd, k, info->task, &e);
	if (!err)
		err = dump_parts(s, f, lfd, k, info->task);
	return err < 0 ? err : common_emit_msg(s, f, &e);
}
