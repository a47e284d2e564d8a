/* SPDX-License-Identifier: MIT */
/*
 * memfd.c: files of memfd_create(2).
 *
 * An inode goes to memfd.img once, with its seals, its contents to the engine's
 * shared memory images; each description, and each mapping of it, is a message with
 * the id of the inode.  At restore every description is its own open(2) of
 * /proc/self/fd/N, so that flags and positions stay separate.  inode.c brings the
 * inodes back.
 */
#include "memfd.h"

#include <errno.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "util.h"

#define LINK_PREFIX "/memfd:"
#define LINK_SUFFIX " (deleted)"
#define ANONYMOUS "/dev/zero" /* shared anonymous memory: a memfd without a call of memfd_create() */

struct memfd {
	uint32_t inode_id;
	uint32_t flags;
	uint64_t pos;
	FownEntry fown;
};

const struct cr_img_type img_inode = {
	.size = sizeof(struct cr_img_type),
	.name = "memfd",
	.magic = 0x48453499,
};

static int memfd_match(const struct cr_file_info *info)
{
	int anonymous = info->source == CR_SRC_MAPPING && !strcmp(info->link, ANONYMOUS LINK_SUFFIX);

	if (!S_ISREG(info->st.st_mode) || info->st.st_nlink ||
	    (!anonymous && strncmp(info->link, LINK_PREFIX, strlen(LINK_PREFIX))))
		return CR_NOT_MINE;
	return info->fs_magic == TMPFS_MAGIC || info->fs_magic == HUGETLBFS_MAGIC ? CR_SPECIFIC : CR_NOT_MINE;
}

/* ---- dump ---- */

/* What memfd_create(2) was called with: the link without what the kernel put around it. */
static char *name_of(struct cr_session *s, const char *link)
{
	size_t skip = strncmp(link, LINK_PREFIX, strlen(LINK_PREFIX)) ? 0 : strlen(LINK_PREFIX);
	char *name = common_strdup(s, link + skip);
	size_t len = strlen(name), cut = strlen(LINK_SUFFIX);

	if (len >= cut && !strcmp(name + len - cut, LINK_SUFFIX))
		name[len - cut] = 0;
	return name;
}

/* MFD_HUGETLB with the page size, 0 on tmpfs. */
static uint32_t huge_flag(int fd)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) || fs.f_type != HUGETLBFS_MAGIC || fs.f_bsize <= 0)
		return 0;
	return MFD_HUGETLB | (uint32_t)__builtin_ctzl(fs.f_bsize) << MFD_HUGE_SHIFT;
}

static int dump_inode(struct cr_session *s, int lfd, const struct cr_file_info *info, uint32_t id)
{
	MemfdInodeEntry e = MEMFD_INODE_ENTRY__INIT;
	/* the task's descriptor may be write-only, or a mere path */
	_cleanup_fd_ int fd = common_reopen(lfd, O_RDONLY);
	int seals, err;

	if (fd < 0)
		return cr_fail(s, -fd, "the memfd cannot be opened for reading: %s", strerror(-fd));
	seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0)
		return cr_fail(s, errno, "reading the seals of the memfd: %s", strerror(errno));
	err = s->core->shmem_dump(s, fd, &info->st, info->st.st_size, &e.shmid);
	if (err < 0)
		return err;
	e.name = name_of(s, info->link);
	e.uid = info->st.st_uid;
	e.gid = info->st.st_gid;
	e.size = info->st.st_size;
	e.seals = seals;
	e.inode_id = id;
	e.hugetlb_flag = huge_flag(fd);
	e.has_hugetlb_flag = e.hugetlb_flag != 0;
	e.has_mode = 1;
	e.mode = info->st.st_mode;
	return common_append(s, &img_inode, CR_IMG_NO_ID, &e.base);
}

static int memfd_dump(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	const uint64_t key[] = { info->st.st_dev, info->st.st_ino };
	MemfdFileEntry e = MEMFD_FILE_ENTRY__INIT;
	FownEntry fown;
	int is_new, err;

	e.inode_id = s->core->id(s, "memfd-inode", key, sizeof(key), &is_new);
	if (is_new) {
		err = dump_inode(s, lfd, info, e.inode_id);
		if (err < 0)
			return err;
	}
	common_fown_dump(s, f, &fown);
	e.id = s->core->file_id(f);
	/* never 0 for what no descriptor refers to: see open_flags() */
	e.flags = info->flags | (info->source == CR_SRC_FD ? 0 : O_LARGEFILE);
	e.pos = info->pos;
	e.fown = &fown;
	return common_emit_msg(s, f, &e);
}

/* ---- restore ---- */

static int memfd_load(struct cr_session *s, struct cr_file *f, const void *data, size_t len)
{
	_cleanup_msg_ MemfdFileEntry *e = common_unpack(s, &memfd_file_entry__descriptor, data, len);
	struct memfd *m = s->core->file_priv(f);

	if (!e)
		return -EPROTO;
	if (e->pos > INT64_MAX)
		return cr_fail(s, EPROTO, "the image has a memfd with an impossible position");
	m->inode_id = e->inode_id;
	m->flags = e->flags;
	m->pos = e->pos;
	m->fown = *e->fown;
	return 0;
}

/*
 * CRIU leaves the flags of a file that is only mapped empty, also when the mapping is
 * shared and writable: that one gets all access that the seals allow.
 */
static int open_flags(struct cr_session *s, struct cr_file *f, const struct inode *ino)
{
	const struct memfd *m = s->core->file_priv(f);
	struct cr_task *t;
	int fd;

	if (m->flags == 0 && s->core->file_slot(s, f, 0, &t, &fd) == -ENOENT)
		return ino->entry->seals & F_SEAL_WRITE ? O_RDONLY : O_RDWR;
	return m->flags & (O_ACCMODE | O_PATH | O_SYNC);
}

static int memfd_open(struct cr_session *s, struct cr_file *f, int *ret_fd)
{
	const struct memfd *m = s->core->file_priv(f);
	struct inode *ino = inode_get(s, m->inode_id);
	_cleanup_fd_ int fd = -1;
	int err = ino ? inode_create(s, ino) : -EPROTO;

	if (err < 0)
		return err;
	fd = common_reopen(ino->fd, open_flags(s, f, ino));
	if (fd < 0)
		return cr_fail(s, -fd, "the memfd cannot be opened with flags %#o: %s", m->flags,
			       strerror(-fd));
	if (!(m->flags & O_PATH)) {
		if (lseek(fd, m->pos, SEEK_SET) < 0)
			return cr_fail(s, errno, "lseek: %s", strerror(errno));
		err = common_set_flags(s, fd, m->flags);
	}
	if (err < 0)
		return err;
	*ret_fd = fd;
	fd = -1;
	return CR_OK;
}

static int memfd_wire(struct cr_session *s, struct cr_file *f)
{
	const struct memfd *m = s->core->file_priv(f);

	return common_fown_restore(s, f, &m->fown);
}

static void memfd_done(struct cr_session *s, int error)
{
	inodes_done(s);
}

static int probe_hugetlb(struct cr_session *s, uint64_t *ret_value)
{
	_cleanup_fd_ int fd = memfd_create("probe", MFD_CLOEXEC | MFD_HUGETLB);

	*ret_value = fd >= 0;
	return 0;
}

static const struct cr_feature feature_hugetlb = {
	.size = sizeof(struct cr_feature),
	.name = "memfd_hugetlb",
	.cost = "memfds of huge pages cannot be restored",
	.probe = probe_hugetlb,
};

static const struct cr_file_kind memfd_kind = {
	.size = sizeof(struct cr_file_kind),
	.name = "memfd",
	.fd_type = 18,
	.field = 20,
	.priv_size = sizeof(struct memfd),
	.match = memfd_match,
	.dump = memfd_dump,
	.load = memfd_load,
	.open = memfd_open,
	.wire = memfd_wire,
};
static const struct cr_file_kind *const memfd_kinds[] = { &memfd_kind, NULL };
static const struct cr_feature *const memfd_features[] = { &feature_hugetlb, NULL };
static const struct cr_img_type *const memfd_images[] = { &img_inode, NULL };

static const struct cr_plugin memfd_plugin = {
	.size = sizeof(struct cr_plugin),
	.abi = CR_ABI,
	.name = "memfd",
	.version = "0.1",
	.summary = "Keeps files of memfd_create with contents and seals.",
	.files = memfd_kinds,
	.features = memfd_features,
	.images = memfd_images,
	.opened = inodes_opened,
	.restored = inodes_restored,
	.done = memfd_done,
};
CR_PLUGIN_REGISTER(memfd_plugin);
