/* SPDX-License-Identifier: MIT */
/*
 * dump.c: where a file lives, what stands against dumping it, and its message.
 *
 * The kernel's link text says what the name was; whether it still leads to the
 * file is decided by comparing inodes, so that a name that ends in " (deleted)", a
 * file that was replaced and one that is mounted over are told apart.
 */
#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "reg.h"

#define DELETED " (deleted)"

static int leads_to(const char *path, const struct stat *st)
{
	struct stat now;

	return path[0] == '/' && lstat(path, &now) == 0 && common_same_inode(&now, st);
}

/* File systems of the kernel whose files nobody can create again. */
static int is_kernel_fs(uint64_t magic)
{
	static const uint64_t magics[] = {
		PROC_SUPER_MAGIC, SYSFS_MAGIC, DEBUGFS_MAGIC, TRACEFS_MAGIC, CGROUP_SUPER_MAGIC,
		CGROUP2_SUPER_MAGIC, SECURITYFS_MAGIC, BPF_FS_MAGIC, 0x62656570 /* configfs */,
	};

	for (size_t i = 0; i < ARRAY_SIZE(magics); i++)
		if (magic == magics[i])
			return 1;
	return 0;
}

/* NFS keeps a removed file under such a name until its last close: killing the tree removes it. */
static int nfs_renamed(const struct cr_file_info *info, const char *name)
{
	return info->fs_magic == NFS_SUPER_MAGIC && strncmp(strrchr(name, '/'), "/.nfs", 5) == 0;
}

static int lost(struct cr_session *s, const struct cr_file_info *info)
{
	struct stat now;
	const char *what = lstat(info->link, &now) == 0 ? "leads to another file (is something mounted over it?)" :
							  "does not lead to it";

	return cr_refuse(s, common_external_remedy(s, info), "the name %s of the open file %s",
			 common_quote(s, info->link), what);
}

static int locate(struct cr_session *s, int lfd, const struct cr_file_info *info, struct reg_where *ret)
{
	size_t len = strlen(info->link), cut = sizeof(DELETED) - 1;
	struct reg_where w = { .life = REG_HERE, .st = info->st };
	char *name = common_strdup(s, info->link);
	int here;

	if (lfd >= 0 && fstat(lfd, &w.st))
		return cr_fail(s, errno, "fstat: %s", strerror(errno));
	w.name = name;
	here = leads_to(name, &w.st);
	if (!here && deadfile_is(s, info, name)) {
		w.life = REG_DEAD;
	} else if (!here) {
		if (name[0] != '/' || len <= cut || strcmp(name + len - cut, DELETED))
			return lost(s, info);
		name[len - cut] = 0;
		if (!leads_to(name, &w.st))
			w.life = S_ISDIR(w.st.st_mode) || !w.st.st_nlink ? REG_GHOST : REG_LINK;
	}
	if (w.life == REG_HERE && nfs_renamed(info, name))
		w.life = REG_LINK;
	if (w.life != REG_HERE && w.life != REG_DEAD && is_kernel_fs(info->fs_magic))
		return cr_refuse(s, NULL, "%s is gone, and belongs to a file system of the kernel: nobody can "
					  "create it again", common_quote(s, name));
	if (w.life == REG_HERE && info->fs_magic == PROC_SUPER_MAGIC && procfile_check(s, info, name) < 0)
		return -EOPNOTSUPP;
	*ret = w;
	return 0;
}

/* Devices without state of their own: opening the name again is all there is to do. */
static int is_stateless_device(const struct cr_file_info *info)
{
	unsigned int minor_nr = minor(info->st.st_rdev);

	if (!S_ISCHR(info->st.st_mode) || major(info->st.st_rdev) != 1)
		return 0;
	switch (minor_nr) {
	case 3: /* null */
	case 5: /* zero */
	case 7: /* full */
	case 8: /* random */
	case 9: /* urandom */
		return 1;
	case 11: /* kmsg: readers have a position */
		return (info->flags & O_ACCMODE) == O_WRONLY;
	default:
		return 0;
	}
}

static int check_device(struct cr_session *s, const struct cr_file_info *info)
{
	if (!S_ISCHR(info->st.st_mode) && !S_ISBLK(info->st.st_mode))
		return 0;
	if ((info->flags & O_PATH) || is_stateless_device(info))
		return 0;
	return cr_refuse(s, common_external_remedy(s, info), "%s %u:%u %s: no plugin claims it",
			 S_ISBLK(info->st.st_mode) ? "block device" : "device", major(info->st.st_rdev),
			 minor(info->st.st_rdev), common_quote(s, info->link));
}

static int examine(struct cr_session *s, int lfd, const struct cr_file_info *info, struct reg_where *ret)
{
	int err = check_device(s, info);

	if (err == 0)
		err = locate(s, lfd, info, ret);
	if (err)
		return err;
	if (ret->life == REG_GHOST)
		return ghost_check(s, lfd, ret);
	if (ret->life == REG_LINK && !s->core->option_flag(s, "link-remap"))
		return cr_refuse(s, "--link-remap", "%s was deleted, but the file has other names (%lu links)",
				 common_quote(s, ret->name), (unsigned long)ret->st.st_nlink);
	return 0;
}

int reg_check(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	struct reg_where w;

	return examine(s, lfd, info, &w);
}

static int is_image_of_code(const struct cr_file_info *info)
{
	return info->source == CR_SRC_MAPPING || info->source == CR_SRC_EXE;
}

static void add_build_id(RegFileEntry *e, int lfd, uint32_t words[BUILDID_WORDS])
{
	_cleanup_fd_ int fd = common_reopen(lfd, O_RDONLY | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return;
	e->n_build_id = buildid_read(fd, words);
	e->build_id = words;
}

static int emit(struct cr_session *s, struct cr_file *f, int lfd, const struct reg_where *w,
		const struct cr_file_info *info)
{
	uint32_t words[BUILDID_WORDS];
	RegFileEntry e;
	FownEntry fown;

	reg_file_entry__init(&e);
	common_fown_dump(s, f, &fown);
	e.id = s->core->file_id(f);
	e.flags = info->flags & ~O_CLOEXEC;
	e.pos = info->pos > 0 ? info->pos : 0;
	e.fown = &fown;
	e.name = (char *)w->name;
	e.has_mode = 1;
	e.mode = w->st.st_mode;
	if (remap_is_link(s, f)) {
		e.flags = 0; /* only the name counts; nothing is opened by this object */
	} else if (S_ISREG(w->st.st_mode)) {
		/* a file that is appended to, or only referred to, may grow until the restore */
		e.has_size = !(info->flags & (O_APPEND | O_PATH));
		e.size = e.has_size ? w->st.st_size : 0;
		if (is_image_of_code(info))
			add_build_id(&e, lfd, words);
	}
	return common_emit_msg(s, f, &e);
}

int reg_dump(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	struct reg_where w;
	int err = examine(s, lfd, info, &w);

	if (err == 0 && w.life == REG_GHOST)
		err = ghost_dump(s, f, lfd, &w);
	if (err == 0 && w.life == REG_DEAD)
		err = remap_append(s, s->core->file_id(f), procfile_pid(s, w.name, &(const char *){ NULL }),
				   REMAP_TYPE__PROCFS);
	if (err == 0 && w.life == REG_LINK)
		err = remap_link_dump(s, f, lfd, &w, info);
	if (err == 0)
		err = asked_dump(s, f, lfd, info);
	return err ? err : emit(s, f, lfd, &w, info);
}
