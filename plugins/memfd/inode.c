/* SPDX-License-Identifier: MIT */
/*
 * inode.c: brings inodes of memfd_create(2) back.
 *
 * States: known -> created (size and contents) -> owner, mode and seals set.
 *
 * When seals are set: F_SEAL_WRITE needs a file without shared writable mappings, and
 * the kernel counts a read-only mapping as writable unless the seal was there first.  So
 * seals come before the tasks map anything.  Only F_SEAL_FUTURE_WRITE leaves mappings
 * alone that are older than it: it waits until these exist, and so does F_SEAL_SEAL
 * then.
 */
#include "memfd.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "util.h"

#define HUGE_BITS ((uint32_t)MFD_HUGETLB | (uint32_t)MFD_HUGE_MASK << MFD_HUGE_SHIFT)

struct inodes {
	struct inode *v;
	size_t n;
	int is_read;
};

static struct inodes *all_inodes(struct cr_session *s)
{
	return s->core->plugin_priv(s, sizeof(struct inodes));
}

static int check_entry(struct cr_session *s, const MemfdInodeEntry *e)
{
	if (e->size > INT64_MAX)
		return cr_fail(s, EPROTO, "memfd.img: %s has an impossible size of %" PRIu64 " bytes",
			       common_quote(s, e->name), e->size);
	if (e->has_hugetlb_flag && e->hugetlb_flag &&
	    ((e->hugetlb_flag & ~HUGE_BITS) || !(e->hugetlb_flag & MFD_HUGETLB)))
		return cr_fail(s, EPROTO, "memfd.img: %s has unknown huge page flags %#x",
			       common_quote(s, e->name), e->hugetlb_flag);
	return 0;
}

static int read_entries(struct cr_session *s, struct cr_reader *r, struct inodes *all)
{
	VEC(struct inode) list = { 0 };
	MemfdInodeEntry *e;
	int ret;

	while ((ret = common_next(s, r, &memfd_inode_entry__descriptor, (void **)&e)) > 0) {
		*vec_push(&list) = (struct inode){ .entry = e, .fd = -1 };
		ret = check_entry(s, e);
		if (ret < 0)
			break;
	}
	all->v = list.v;
	all->n = list.n;
	return ret;
}

struct inode *inode_get(struct cr_session *s, uint32_t id)
{
	struct inodes *all = all_inodes(s);
	struct cr_reader *r;
	int err = 0;

	if (!all->is_read) {
		all->is_read = 1;
		err = s->core->img_open(s, &img_inode, CR_IMG_NO_ID, &r);
		if (!err) {
			err = read_entries(s, r, all);
			s->core->img_close(r);
		}
	}
	if (err < 0 && err != -ENOENT)
		return NULL;
	for (size_t i = 0; i < all->n; i++)
		if (all->v[i].entry->inode_id == id)
			return &all->v[i];
	cr_fail(s, EPROTO, "memfd.img has no inode %u: it is missing or from another dump", id);
	return NULL;
}

/*
 * Where the system wants no executable memfds (vm.memfd_noexec), one can still be made
 * that was sealed against execution.
 */
static int create(const MemfdInodeEntry *e)
{
	unsigned int flags = MFD_CLOEXEC | MFD_ALLOW_SEALING | (e->has_hugetlb_flag ? e->hugetlb_flag : 0);
	int fd = memfd_create(e->name, flags | MFD_EXEC);

	if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
		fd = memfd_create(e->name, flags);
	if (fd < 0 && errno == EACCES && (e->seals & F_SEAL_EXEC))
		fd = memfd_create(e->name, flags | MFD_NOEXEC_SEAL);
	return fd;
}

/* Copies what from holds, but no holes, to the same places of to. 0 or -errno. */
static int copy_data(int from, char *to, uint64_t size)
{
	off_t start, end = 0;
	int err = 0;

	while (!err && (start = lseek(from, end, SEEK_DATA)) >= 0 && (uint64_t)start < size) {
		end = lseek(from, start, SEEK_HOLE);
		if (end <= start)
			return -EIO;
		end = MIN_OF((uint64_t)end, size);
		err = pread_full(from, to + start, end - start, start);
	}
	return err;
}

/* Files of huge pages cannot be written to, only mapped: their contents go there by way of another memfd. */
static int fill_huge(struct cr_session *s, int fd, const MemfdInodeEntry *e)
{
	_cleanup_fd_ int temp = memfd_create("contents", MFD_CLOEXEC);
	char *map;
	int err;

	if (temp < 0 || ftruncate(temp, e->size))
		return cr_fail(s, errno, "memfd_create: %s", strerror(errno));
	err = s->core->shmem_fill(s, temp, e->shmid, e->size);
	if (err < 0 || !e->size)
		return err;
	map = mmap(NULL, e->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return cr_fail(s, errno, "memfd \"%s\" needs %" PRIu64 " bytes of huge pages: %s (see vm.nr_hugepages)",
			       common_quote(s, e->name), e->size, strerror(errno));
	err = copy_data(temp, map, e->size);
	munmap(map, e->size);
	return err < 0 ? cr_fail(s, -err, "filling memfd \"%s\": %s", common_quote(s, e->name), strerror(-err)) : 0;
}

int inode_create(struct cr_session *s, struct inode *ino)
{
	const MemfdInodeEntry *e = ino->entry;
	_cleanup_fd_ int fd = -1;
	int err;

	if (ino->created)
		return 0;
	fd = create(e);
	if (fd < 0)
		return cr_fail(s, errno, "memfd_create of \"%s\": %s%s", common_quote(s, e->name),
			       strerror(errno),
			       errno == EACCES ? " (sysctl vm.memfd_noexec forbids executable ones)" : "");
	if (ftruncate(fd, e->size))
		return cr_fail(s, errno, "memfd \"%s\" cannot be made %" PRIu64 " bytes long: %s",
			       common_quote(s, e->name), e->size, strerror(errno));
	if (e->has_hugetlb_flag && e->hugetlb_flag)
		err = fill_huge(s, fd, e);
	else
		err = s->core->shmem_fill(s, fd, e->shmid, e->size);
	if (err < 0)
		return err;
	ino->created = 1;
	ino->fd = fd;
	fd = -1;
	return 0;
}

static int set_owner(struct cr_session *s, const struct inode *ino)
{
	const MemfdInodeEntry *e = ino->entry;
	struct stat st;

	if (fstat(ino->fd, &st))
		return cr_fail(s, errno, "fstat: %s", strerror(errno));
	if ((st.st_uid != e->uid || st.st_gid != e->gid) && fchown(ino->fd, e->uid, e->gid))
		return cr_fail(s, errno, "memfd \"%s\" cannot be given to uid %u gid %u: %s",
			       common_quote(s, e->name), e->uid, e->gid, strerror(errno));
	if (e->has_mode && (st.st_mode & 07777) != (e->mode & 07777) && fchmod(ino->fd, e->mode & 07777))
		return cr_fail(s, errno, "memfd \"%s\" cannot get mode %o: %s", common_quote(s, e->name),
			       e->mode & 07777, strerror(errno));
	return 0;
}

static int has_late_seals(const struct inode *ino)
{
	return (ino->entry->seals & F_SEAL_FUTURE_WRITE) && !(ino->entry->seals & F_SEAL_WRITE);
}

static int add_seals(struct cr_session *s, struct inode *ino, uint32_t seals)
{
	if (seals && fcntl(ino->fd, F_ADD_SEALS, seals))
		return cr_fail(s, errno, "memfd \"%s\" cannot be sealed with %#x: %s",
			       common_quote(s, ino->entry->name), seals, strerror(errno));
	return 0;
}

static void release(struct inode *ino)
{
	close(ino->fd);
	ino->fd = -1;
}

int inodes_opened(struct cr_session *s)
{
	struct inodes *all = all_inodes(s);

	for (size_t i = 0; i < all->n; i++) {
		struct inode *ino = &all->v[i];
		uint32_t later = has_late_seals(ino) ? F_SEAL_FUTURE_WRITE | F_SEAL_SEAL : 0;
		int err;

		if (ino->fd < 0)
			continue;
		err = set_owner(s, ino);
		if (!err)
			err = add_seals(s, ino, ino->entry->seals & ~later);
		if (err < 0)
			return err;
		/* a file that is open for writing cannot become a task's executable */
		if (!later)
			release(ino);
	}
	return 0;
}

int inodes_restored(struct cr_session *s)
{
	struct inodes *all = all_inodes(s);

	for (size_t i = 0; i < all->n; i++) {
		struct inode *ino = &all->v[i];
		int err = ino->fd < 0 ? 0 : add_seals(s, ino, ino->entry->seals);

		if (err < 0)
			return err;
		if (ino->fd >= 0)
			release(ino);
	}
	return 0;
}

void inodes_done(struct cr_session *s)
{
	struct inodes *all = all_inodes(s);

	for (size_t i = 0; i < all->n; i++) {
		if (all->v[i].fd >= 0)
			release(&all->v[i]);
		common_free_msg(all->v[i].entry);
	}
	free(all->v);
	memset(all, 0, sizeof(*all));
}
