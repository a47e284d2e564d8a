/* SPDX-License-Identifier: MIT */
/*
 * nsfs.c: descriptors of namespaces, as /proc/PID/ns and the ioctls of namespaces give them.
 *
 * At the dump the namespace is looked for in the tasks of the tree, then in the engine, then
 * among the names that namespaces are mounted on (ip netns).  At restore it is opened in the
 * same place; in a task once it exists (open_late).  A namespace that only the descriptor keeps
 * alive cannot be made again: refused.
 */
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common.h"
#include "ns-file.pb-c.h"
#include "ns-source.pb-c.h"
#include "util.h"

/* linux/nsfs.h */
#define GET_NSTYPE _IO(0xb7, 0x3)

#define FOR_CHILDREN 7 /* where those begin in the list */

static const struct ns_type {
	const char *name; /* in link texts */
	const char *link; /* in /proc/PID/ns */
	uint32_t cflag;
} types[] = {
	{ "net", "net", CLONE_NEWNET },	       { "mnt", "mnt", CLONE_NEWNS },
	{ "pid", "pid", CLONE_NEWPID },	       { "user", "user", CLONE_NEWUSER },
	{ "uts", "uts", CLONE_NEWUTS },	       { "ipc", "ipc", CLONE_NEWIPC },
	{ "cgroup", "cgroup", CLONE_NEWCGROUP }, { "time", "time", 0x80 /* CLONE_NEWTIME */ },
	{ "pid", "pid_for_children", CLONE_NEWPID }, { "time", "time_for_children", 0x80 },
};

/* A place where a namespace can be opened; vpid 0 and no path: the engine. */
struct source {
	const struct ns_type *type;
	int32_t vpid;
	const char *path;
};

/* Private part at restore. */
struct nsfile {
	uint32_t flags, cflag;
	struct source from;
};

static const struct cr_img_type img_source = { sizeof(img_source), "x-nsfs-source", 0x4e534653, 0 };

static const struct cr_file_kind nsfs_kind;

/* "net:[4026531833]": the type, with the inode; NULL: no namespace. */
static const struct ns_type *type_of(const char *link, uint64_t *ret_ino)
{
	size_t len = strcspn(link, ":");

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (strlen(types[i].name) == len && !strncmp(link, types[i].name, len) &&
		    sscanf(link + len, ":[%" SCNu64 "]", ret_ino) == 1)
			return &types[i];
	return NULL;
}

static const struct ns_type *type_by_link(const char *link)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (!strcmp(types[i].link, link))
			return &types[i];
	return NULL;
}

static int nsfs_match(const struct cr_file_info *info)
{
	uint64_t ino;

	return S_ISREG(info->st.st_mode) && type_of(info->link, &ino) ? CR_SPECIFIC : CR_NOT_MINE;
}

/* ---- dump ---- */

/* Whether process pid (0: the engine) has namespace ino in any link of that type; *ret which. */
static int has_namespace(pid_t pid, const struct ns_type *type, const struct stat *want, const struct ns_type **ret)
{
	char path[64];
	struct stat st;

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (types[i].cflag != type->cflag)
			continue;
		if (pid)
			snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, types[i].link);
		else
			snprintf(path, sizeof(path), "/proc/self/ns/%s", types[i].link);
		if (stat(path, &st) == 0 && common_same_inode(&st, want)) {
			*ret = &types[i];
			return 1;
		}
	}
	return 0;
}

/* A name that the namespace is mounted on, as the engine sees it; NULL: none. */
static const char *mounted_name(struct cr_session *s, const char *link)
{
	_cleanup_file_ FILE *f = fopen("/proc/self/mountinfo", "re");
	_cleanup_free_ char *line = NULL;
	const char *found = NULL;
	size_t room = 0;

	while (f && !found && getline(&line, &room, f) > 0) {
		char root[256], point[4096];

		if (strstr(line, " - nsfs ") && sscanf(line, "%*d %*d %*s %255s %4095s", root, point) == 2 &&
		    !strcmp(root, link) && !strchr(point, '\\'))
			found = common_strdup(s, point);
	}
	return found;
}

static int find_source(struct cr_session *s, const struct cr_file_info *info, struct source *ret)
{
	uint64_t ino;
	const struct ns_type *type = type_of(info->link, &ino);

	*ret = (struct source){ .type = type };
	for (struct cr_task *t = s->core->task_next(s, NULL); t; t = s->core->task_next(s, t))
		if (has_namespace(s->core->task_pid(t), type, &info->st, &ret->type)) {
			ret->vpid = s->core->task_vpid(t);
			return 0;
		}
	if (has_namespace(0, type, &info->st, &ret->type))
		return 0;
	ret->path = mounted_name(s, info->link);
	if (ret->path)
		return 0;
	return cr_refuse(s, common_external_remedy(s, info),
			 "no process of the tree is in namespace %s, and it has no name: close the descriptor, or pass one at "
			 "restore (--inherit-fd)", info->link);
}

static int nsfs_check(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	struct source from;

	return find_source(s, info, &from);
}

static int dump_source(struct cr_session *s, struct cr_file *f, const struct source *from)
{
	NsSourceEntry e = NS_SOURCE_ENTRY__INIT;

	e.id = s->core->file_id(f);
	e.has_vpid = from->vpid != 0;
	e.vpid = from->vpid;
	e.link = (char *)from->type->link;
	e.path = (char *)from->path;
	return common_append(s, &img_source, CR_IMG_NO_ID, &e.base);
}

static int nsfs_dump(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	NsFileEntry e = NS_FILE_ENTRY__INIT;
	struct source from;
	int err = find_source(s, info, &from);

	if (err == 0)
		err = dump_source(s, f, &from);
	if (err < 0)
		return err;
	e.id = s->core->file_id(f);
	/* the numbering of ids-PID.img */
	e.ns_id = s->core->id(s, "namespace", &info->st.st_ino, sizeof(info->st.st_ino), NULL);
	e.ns_cflag = from.type->cflag;
	e.flags = info->flags;
	return common_emit_msg(s, f, &e);
}

/* ---- restore ---- */

static int nsfs_load(struct cr_session *s, struct cr_file *f, const void *data, size_t len)
{
	_cleanup_msg_ NsFileEntry *e = common_unpack(s, &ns_file_entry__descriptor, data, len);
	struct nsfile *n = s->core->file_priv(f);
	struct cr_task *root = s->core->task_next(s, NULL);

	if (!e)
		return -EPROTO;
	n->flags = e->flags;
	n->cflag = e->ns_cflag;
	for (size_t i = 0; i < FOR_CHILDREN && !n->from.type; i++)
		if (types[i].cflag == e->ns_cflag)
			n->from.type = &types[i];
	if (e->ns_cflag == types[FOR_CHILDREN].cflag)
		n->from.type = &types[FOR_CHILDREN];
	if (!n->from.type || !root)
		return cr_fail(s, EPROTO, "the image has a namespace of kind %#x, which does not exist", e->ns_cflag);
	/* other writers do not say more: the root's, unless x-nsfs-source knows better */
	n->from.vpid = s->core->task_vpid(root);
	return 0;
}

static int take_source(struct cr_session *s, const NsSourceEntry *e)
{
	struct cr_file *f = s->core->file_by_id(s, e->id);
	struct nsfile *n = f && !strcmp(s->core->file_kind(f), nsfs_kind.name) ? s->core->file_priv(f) : NULL;
	const struct ns_type *type = e->link ? type_by_link(e->link) : NULL;

	if (!n || !type || type->cflag != n->cflag || (e->has_vpid && !s->core->task_by_vpid(s, e->vpid)))
		return cr_fail(s, EPROTO, "x-nsfs-source.img: the entry of file %u makes no sense", e->id);
	n->from.type = type;
	n->from.vpid = e->has_vpid ? e->vpid : 0;
	n->from.path = e->path ? common_strdup(s, e->path) : NULL;
	return 0;
}

static int read_sources(struct cr_session *s)
{
	struct cr_reader *r;
	NsSourceEntry *e;
	int ret = s->core->img_open(s, &img_source, CR_IMG_NO_ID, &r);

	if (ret < 0)
		return ret == -ENOENT ? 0 : ret;
	while ((ret = common_next(s, r, &ns_source_entry__descriptor, (void **)&e)) > 0) {
		ret = take_source(s, e);
		common_free_msg(e);
		if (ret < 0)
			break;
	}
	s->core->img_close(r);
	return ret;
}

static int open_at(struct cr_session *s, const struct nsfile *n, const char *path, int *ret_fd)
{
	int fd = open(path, (n->flags & (O_ACCMODE | O_PATH | O_NONBLOCK)) | O_CLOEXEC | O_NOCTTY);
	_cleanup_fd_ int probe = fd < 0 ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd < 0)
		return cr_fail(s, errno, "opening the namespace %s: %s", common_quote(s, path), strerror(errno));
	if (n->from.path && (uint32_t)ioctl(probe, GET_NSTYPE) != n->cflag) {
		close(fd);
		return cr_fail(s, ESTALE, "%s is not a %s namespace any more: mount it there again", common_quote(s, path),
			       n->from.type->name);
	}
	*ret_fd = fd;
	return CR_OK;
}

static int nsfs_open(struct cr_session *s, struct cr_file *f, int *ret_fd)
{
	int *is_read = s->core->plugin_priv(s, sizeof(*is_read));
	const struct nsfile *n = s->core->file_priv(f);
	char path[64];

	if (!*is_read) {
		int err = read_sources(s);

		if (err < 0)
			return err;
		*is_read = 1;
	}
	if (n->from.path)
		return open_at(s, n, n->from.path, ret_fd);
	if (n->from.vpid)
		return CR_LATE;
	snprintf(path, sizeof(path), "/proc/self/ns/%s", n->from.type->link);
	return open_at(s, n, path, ret_fd);
}

static int nsfs_open_late(struct cr_session *s, struct cr_file *f, int *ret_fd)
{
	const struct nsfile *n = s->core->file_priv(f);
	struct cr_task *t = s->core->task_by_vpid(s, n->from.vpid);
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/%s", s->core->task_pid(t), n->from.type->link);
	return open_at(s, n, path, ret_fd);
}

static const struct cr_file_kind nsfs_kind = {
	.size = sizeof(nsfs_kind),
	.name = "nsfs",
	.fd_type = 14,
	.field = 5,
	.priv_size = sizeof(struct nsfile),
	.match = nsfs_match,
	.check = nsfs_check,
	.dump = nsfs_dump,
	.load = nsfs_load,
	.open = nsfs_open,
	.open_late = nsfs_open_late,
};
static const struct cr_file_kind *const nsfs_kinds[] = { &nsfs_kind, NULL };
static const struct cr_img_type *const nsfs_images[] = { &img_source, NULL };

static const struct cr_plugin nsfs_plugin = {
	.size = sizeof(nsfs_plugin),
	.abi = CR_ABI,
	.name = "nsfs",
	.version = "0.1",
	.summary = "Keeps descriptors of namespaces.",
	.files = nsfs_kinds,
	.images = nsfs_images,
};
CR_PLUGIN_REGISTER(nsfs_plugin);
