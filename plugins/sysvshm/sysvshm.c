/* SPDX-License-Identifier: MIT */
/*
 * sysvshm.c: System V shared memory that the tree has attached, shmat(2).
 *
 * A segment belongs to the IPC namespace and not to a process: unless it is marked for removal it outlives the dump.
 * So at restore the segment with the old id is used when it is there and nobody else has it, filled with what it had at
 * the dump; a segment that is gone is made anew, with its id and key.  A segment that others than the
 * tree have attached is refused: the tree would get a state of its own that these do not share.
 *
 * The inode number that the kernel shows for such a mapping is the segment's id; 0 is one of them.  An attached range that
 * mprotect(2) has split shows as several mappings: the first one attaches the whole, the others set their protection.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common.h"
#include "util.h"
#include "x-sysvshm.pb-c.h"

#define SEGMENT_NAME "/SYSV"
#define NEXT_ID "/proc/sys/kernel/shm_next_id"
/* bits of shm_perm.mode beside the permissions */
#define MARKED 01000  /* SHM_DEST */
#define LOCKED 02000  /* SHM_LOCKED */

static const struct cr_img_type segments_image = { sizeof(segments_image), "x-sysvshm", 0x53565348, 0 };
static const struct cr_img_type *const shm_images[] = { &segments_image, NULL };

struct segment {
	uint32_t id, key, uid, gid, mode, shmid;
	uint64_t size;
	int ready; /* restore: it is there, with its contents */
	int made;  /* by us, to be removed again when the restore fails */
};

struct state {
	VEC(struct segment) segments;
	int loaded;
};

struct range {
	uint64_t pgoff; /* the engine's image does not say */
	uint32_t id;
	int rdonly;
};

static struct state *state(struct cr_session *s)
{
	return s->core->plugin_priv(s, sizeof(struct state));
}

static struct segment *find_segment(struct cr_session *s, uint32_t id)
{
	struct state *st = state(s);

	for (size_t i = 0; i < st->segments.n; i++)
		if (st->segments.v[i].id == id)
			return &st->segments.v[i];
	return NULL;
}

static uint64_t page_up(uint64_t bytes)
{
	uint64_t page = sysconf(_SC_PAGESIZE);

	return (bytes + page - 1) & ~(page - 1);
}

/* ---- a segment in the engine's own memory ---- */

struct attached {
	void *at;
	uint64_t size;
	int fd; /* its pages as a file; a copy where the kernel does not give that */
	int copied;
};

static int attach(struct cr_session *s, uint32_t id, uint64_t size, int rdonly, struct attached *ret)
{
	char path[80];

	*ret = (struct attached){ .at = shmat((int)id, NULL, rdonly ? SHM_RDONLY : 0), .size = size, .fd = -1 };
	if (ret->at == (void *)-1)
		return cr_fail(s, errno, "shmat of the segment with id %u: %s", id, strerror(errno));
	snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx", (uintptr_t)ret->at, (uintptr_t)ret->at + page_up(size));
	ret->fd = open(path, (rdonly ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	if (ret->fd >= 0)
		return 0;
	ret->copied = 1;
	ret->fd = memfd_create("sysvshm", MFD_CLOEXEC);
	if (ret->fd >= 0 && ftruncate(ret->fd, (off_t)page_up(size)) == 0)
		return 0;
	return cr_fail(s, errno, "a copy of the segment with id %u: %s", id, strerror(errno));
}

static void detach(struct attached *a)
{
	if (a->at && a->at != (void *)-1)
		shmdt(a->at);
	cleanup_fd(&a->fd);
}

/* ---- dump ---- */

static int shm_match(const struct cr_vma_info *info)
{
	return strncmp(info->path, SEGMENT_NAME, strlen(SEGMENT_NAME)) == 0 && info->dev >> 8 == 0 &&
			       info->flags & MAP_SHARED ?
		       CR_SPECIFIC :
		       CR_NOT_MINE;
}

/* The mapping before v is the part of the same attached range that ends where v begins. */
static int continues(struct cr_session *s, struct cr_vma *v, const struct cr_vma_info *info)
{
	for (struct cr_vma *o = s->core->vma_next(s, NULL); o && o != v; o = s->core->vma_next(s, o)) {
		const struct cr_vma_info *other = s->core->vma_info(o);

		if (other->task == info->task && shm_match(other) && other->ino == info->ino && other->end == info->start &&
		    other->pgoff + (other->end - other->start) == info->pgoff)
			return 1;
	}
	return 0;
}

static int goes_on(struct cr_session *s, struct cr_vma *v, const struct cr_vma_info *info)
{
	struct cr_vma *o = s->core->vma_next(s, v);
	const struct cr_vma_info *other = o ? s->core->vma_info(o) : NULL;

	return other && other->task == info->task && other->ino == info->ino && shm_match(other) && other->start == info->end &&
	       other->pgoff == info->pgoff + (info->end - info->start);
}

/* The kernel counts every mapping of a segment as an attachment. */
static uint64_t count_in_tree(struct cr_session *s, uint64_t ino)
{
	uint64_t n = 0;

	for (struct cr_vma *o = s->core->vma_next(s, NULL); o; o = s->core->vma_next(s, o)) {
		const struct cr_vma_info *other = s->core->vma_info(o);

		n += shm_match(other) && other->ino == ino;
	}
	return n;
}

static int shm_vma_check(struct cr_session *s, struct cr_vma *v, const struct cr_vma_info *info)
{
	struct shmid_ds ds;
	uint64_t tree;

	if (shmctl((int)info->ino, IPC_STAT, &ds) < 0)
		return cr_refuse(s, errno == EACCES ? "run stasis as the owner of the segment, or with CAP_IPC_OWNER" : NULL,
				 "the System V segment with id %" PRIu64 " cannot be examined: %s", info->ino, strerror(errno));
	if (strstr(info->vmflags, " ht "))
		return cr_refuse(s, "make the segment without SHM_HUGETLB",
				 "the System V segment with id %" PRIu64 " has huge pages", info->ino);
	tree = count_in_tree(s, info->ino);
	if (ds.shm_nattch > tree)
		return cr_refuse(s, "dump these processes together, or end them",
				 "the System V segment with id %" PRIu64 " (key 0x%x) is attached %" PRIu64
				 " times by processes outside of the tree", info->ino, (unsigned)ds.shm_perm.__key,
				 (uint64_t)ds.shm_nattch - tree);
	if ((info->pgoff && !continues(s, v, info)) ||
	    (info->pgoff + (info->end - info->start) < page_up(ds.shm_segsz) && !goes_on(s, v, info)))
		return cr_refuse(s, NULL, "only a part of the System V segment with id %" PRIu64 " is mapped, which shmat(2) "
				 "cannot repeat", info->ino);
	return 0;
}

static int dump_segment(struct cr_session *s, uint32_t id)
{
	XSysvshmDesc desc = X_SYSVSHM_DESC__INIT;
	XSysvshmEntry e = X_SYSVSHM_ENTRY__INIT;
	struct attached a;
	struct shmid_ds ds;
	struct stat st;
	int err;

	if (shmctl((int)id, IPC_STAT, &ds) < 0)
		return cr_fail(s, errno, "the segment with id %u: %s", id, strerror(errno));
	err = attach(s, id, ds.shm_segsz, 1, &a);
	if (!err && a.copied && pwrite_full(a.fd, a.at, ds.shm_segsz, 0) < 0)
		err = cr_fail(s, EIO, "a copy of the segment with id %u: %s", id, strerror(errno));
	if (!err && fstat(a.fd, &st) < 0)
		err = cr_fail(s, errno, "the segment with id %u: %s", id, strerror(errno));
	if (!err)
		err = s->core->shmem_dump(s, a.fd, &st, ds.shm_segsz, &e.shmid);
	detach(&a);
	if (err)
		return err;
	desc.id = id;
	desc.key = (uint32_t)ds.shm_perm.__key;
	desc.uid = ds.shm_perm.uid;
	desc.gid = ds.shm_perm.gid;
	desc.cuid = ds.shm_perm.cuid;
	desc.cgid = ds.shm_perm.cgid;
	desc.mode = ds.shm_perm.mode;
	e.desc = &desc;
	e.size = ds.shm_segsz;
	return common_append(s, &segments_image, CR_IMG_NO_ID, &e.base);
}

static int shm_vma_dump(struct cr_session *s, struct cr_vma *v, const struct cr_vma_info *info)
{
	XSysvshmMapping e = X_SYSVSHM_MAPPING__INIT;
	uint32_t id = (uint32_t)info->ino;
	int err = 0;
	void *data;
	size_t len;

	if (!find_segment(s, id)) {
		*vec_push(&state(s)->segments) = (struct segment){ .id = id };
		err = dump_segment(s, id);
	}
	if (err)
		return err;
	e.id = id;
	e.pgoff = info->pgoff;
	e.rdonly = strstr(info->vmflags, " mw ") == NULL;
	data = common_pack(&e.base, &len);
	err = s->core->vma_message(s, v, data, len);
	free(data);
	return err;
}

/* ---- restore ---- */

static int take_segment(struct cr_session *s, const XSysvshmEntry *e)
{
	if (e->desc->id > INT32_MAX || find_segment(s, e->desc->id) || !e->size || e->size > INT64_MAX / 2)
		return cr_fail(s, EPROTO, "x-sysvshm.img: a segment with id %u of %" PRIu64 " bytes makes no sense", e->desc->id,
			       e->size);
	*vec_push(&state(s)->segments) = (struct segment){
		.id = e->desc->id, .key = e->desc->key, .uid = e->desc->uid, .gid = e->desc->gid, .mode = e->desc->mode,
		.shmid = e->shmid, .size = e->size,
	};
	return 0;
}

static int load_segments(struct cr_session *s)
{
	struct cr_reader *r;
	int err = s->core->img_open(s, &segments_image, CR_IMG_NO_ID, &r);

	if (err == -ENOENT)
		return cr_fail(s, ENOENT, "x-sysvshm.img is missing: the image directory is incomplete");
	while (!err) {
		XSysvshmEntry *e = NULL;

		err = common_next(s, r, &x_sysvshm_entry__descriptor, (void **)&e);
		if (err <= 0)
			break;
		err = take_segment(s, e);
		common_free_msg(e);
	}
	s->core->img_close(r);
	return err;
}

static int shm_vma_load(struct cr_session *s, struct cr_vma *v, const void *data, size_t len)
{
	_cleanup_msg_ XSysvshmMapping *e = common_unpack(s, &x_sysvshm_mapping__descriptor, data, len);
	const struct cr_vma_info *info = s->core->vma_info(v);
	struct range *range = s->core->vma_priv(v);
	struct segment *g;
	int err = 0;

	if (!e)
		return -EPROTO;
	if (!state(s)->loaded)
		err = load_segments(s);
	if (err)
		return err;
	state(s)->loaded = 1;
	g = find_segment(s, e->id);
	if (!g || e->pgoff > g->size || info->end - info->start > page_up(g->size) - e->pgoff)
		return cr_fail(s, EPROTO, "the image has no segment with id %u that fits this mapping", e->id);
	range->pgoff = e->pgoff;
	range->id = e->id;
	range->rdonly = e->rdonly;
	return 0;
}

/* One that is there: it must be the same, and nobody's. 1: it is; 0: there is none. */
static int use_existing(struct cr_session *s, const struct segment *g)
{
	struct shmid_ds ds;

	if (shmctl((int)g->id, IPC_STAT, &ds) < 0)
		return errno == EINVAL || errno == EIDRM ? 0 :
			       cr_fail(s, errno, "the System V segment with id %u is there and cannot be used: %s", g->id,
				       strerror(errno));
	if ((uint32_t)ds.shm_perm.__key != g->key || ds.shm_segsz != g->size)
		return cr_fail(s, EEXIST, "the id %u belongs to another System V segment now (key 0x%x, %zu bytes): remove that "
			       "(ipcrm -m %u), or restore in an IPC namespace of its own", g->id, (unsigned)ds.shm_perm.__key,
			       (size_t)ds.shm_segsz, g->id);
	if (ds.shm_nattch)
		return cr_fail(s, EBUSY, "the System V segment with id %u is attached %lu times by other processes: end them, or "
			       "restore in an IPC namespace of its own", g->id, (unsigned long)ds.shm_nattch);
	return 1;
}

static int make_segment(struct cr_session *s, struct segment *g)
{
	_cleanup_free_ char *id = xasprintf("%u", g->id);
	int err = write_file(AT_FDCWD, NEXT_ID, id), got;

	if (err < 0)
		return cr_fail(s, -err, "cannot choose the id of a System V segment (%s): %s; run stasis with "
			       "CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN, on a kernel with CONFIG_CHECKPOINT_RESTORE", NEXT_ID,
			       strerror(-err));
	got = shmget((key_t)g->key, g->size, IPC_CREAT | IPC_EXCL | (g->mode & 0777));
	if (got < 0 && errno == EEXIST) {
		write_file(AT_FDCWD, NEXT_ID, "-1");
		return cr_fail(s, EEXIST, "the key 0x%x belongs to another System V segment now: remove that (ipcrm -M 0x%x), or "
			       "restore in an IPC namespace of its own", g->key, g->key);
	}
	if (got < 0)
		return cr_fail(s, errno, "shmget of %" PRIu64 " bytes with key 0x%x: %s", g->size, g->key, strerror(errno));
	if (got != (int)g->id) {
		shmctl(got, IPC_RMID, NULL);
		return cr_fail(s, EEXIST, "the place of the System V segment with id %u is taken: restore in an IPC namespace of "
			       "its own", g->id);
	}
	g->made = 1;
	return 0;
}

static int fill_segment(struct cr_session *s, const struct segment *g)
{
	struct attached a;
	int err = attach(s, g->id, g->size, 0, &a);

	/* what is zero is in no image */
	if (!err && !g->made)
		memset(a.at, 0, g->size);
	if (!err)
		err = s->core->shmem_fill(s, a.fd, g->shmid, g->size);
	if (!err && a.copied && pread_full(a.fd, a.at, g->size, 0) < 0)
		err = cr_fail(s, EIO, "filling the segment with id %u: %s", g->id, strerror(errno));
	detach(&a);
	return err;
}

static int set_segment(struct cr_session *s, const struct segment *g)
{
	struct shmid_ds ds;

	if (shmctl((int)g->id, IPC_STAT, &ds) < 0)
		return cr_fail(s, errno, "the segment with id %u: %s", g->id, strerror(errno));
	if (ds.shm_perm.uid != g->uid || ds.shm_perm.gid != g->gid || (ds.shm_perm.mode & 0777) != (g->mode & 0777)) {
		ds.shm_perm.uid = g->uid;
		ds.shm_perm.gid = g->gid;
		ds.shm_perm.mode = g->mode & 0777;
		if (shmctl((int)g->id, IPC_SET, &ds) < 0)
			return cr_fail(s, errno, "cannot give the segment with id %u to uid %u gid %u: %s", g->id, g->uid, g->gid,
				       strerror(errno));
	}
	if (g->mode & LOCKED && !(ds.shm_perm.mode & LOCKED) && shmctl((int)g->id, SHM_LOCK, NULL) < 0)
		cr_lost(s, NULL, "the segment with id %u was locked into memory and is not now: %s", g->id, strerror(errno));
	return 0;
}

static int prepare_segment(struct cr_session *s, struct segment *g)
{
	int err = use_existing(s, g);

	if (err == 0)
		err = make_segment(s, g);
	if (err < 0)
		return err;
	err = fill_segment(s, g);
	if (!err)
		err = set_segment(s, g);
	g->ready = 1;
	return err;
}

#define IMM(v) ((struct cr_arg)CR_IMM(v))
#define CALL(s, info, want, nr, ...) \
	((s)->core->plan_syscall((s), (info)->task, CR_STAGE_WIRE, (nr), (const struct cr_arg[6]){ __VA_ARGS__ }, (want)))

static int shm_vma_plan(struct cr_session *s, struct cr_vma *v)
{
	const struct cr_vma_info *info = s->core->vma_info(v);
	const struct range *range = s->core->vma_priv(v);
	struct segment *g = find_segment(s, range->id);
	int err = g->ready ? 0 : prepare_segment(s, g);
	uint32_t prot = range->rdonly ? PROT_READ : PROT_READ | PROT_WRITE;

	if (!err && !range->pgoff)
		err = CALL(s, info, CR_WANT_NONNEG, SYS_shmat, IMM(g->id), IMM(info->start),
			   IMM(SHM_REMAP | (range->rdonly ? SHM_RDONLY : 0)));
	if (!err && info->prot != prot)
		err = CALL(s, info, CR_WANT_ZERO, SYS_mprotect, IMM(info->start), IMM(info->end - info->start), IMM(info->prot));
	return err;
}

/* All of the tree has attached it: it goes with the last of them. */
static int shm_restored(struct cr_session *s)
{
	struct state *st = state(s);

	for (size_t i = 0; i < st->segments.n; i++) {
		const struct segment *g = &st->segments.v[i];

		if (g->ready && g->mode & MARKED && shmctl((int)g->id, IPC_RMID, NULL) < 0)
			return cr_fail(s, errno, "cannot mark the segment with id %u for removal: %s", g->id, strerror(errno));
	}
	return 0;
}

static void shm_done(struct cr_session *s, int error)
{
	struct state *st = state(s);

	for (size_t i = 0; i < st->segments.n && error; i++)
		if (st->segments.v[i].made)
			shmctl((int)st->segments.v[i].id, IPC_RMID, NULL);
	vec_free(&st->segments);
}

static const struct cr_vma_kind shm_kind = {
	.size = sizeof(struct cr_vma_kind),
	.name = "sysv-shm",
	.status = 0x400,
	.priv_size = sizeof(struct range),
	.match = shm_match,
	.check = shm_vma_check,
	.dump = shm_vma_dump,
	.load = shm_vma_load,
	.plan = shm_vma_plan,
};
static const struct cr_vma_kind *const shm_kinds[] = { &shm_kind, NULL };

static const struct cr_plugin sysvshm_plugin = {
	.size = sizeof(struct cr_plugin),
	.abi = CR_ABI,
	.name = "sysvshm",
	.version = "0.1",
	.summary = "Keeps System V shared memory that is attached.",
	.images = shm_images,
	.vmas = shm_kinds,
	.restored = shm_restored,
	.done = shm_done,
	.caps = (const char *const[]){ "CAP_IPC_OWNER: segments of another user", NULL },
};
CR_PLUGIN_REGISTER(sysvshm_plugin);
