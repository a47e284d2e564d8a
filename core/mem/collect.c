/* SPDX-License-Identifier: MIT */
/*
 * collect.c: the mappings of a task.
 *
 * Reads smaps, classifies every mapping, hands the files behind them to core/fd and
 * gives shared anonymous memory its id.  Nothing is changed in the task; nothing but
 * regular files and the memory devices is opened, as opening another device would
 * run its driver.  What vanishes while the tree runs (check) is left out.
 */
#include "mem_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>

#include "fault.h"
#include "files.h"
#include "kinds.h"
#include "options.h"

#define MEM_DEVICES_MAJOR 1 /* /dev/zero and its like */

void mem_free(struct mem *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->areas.n; i++)
		free(m->areas.v[i].v.path);
	vec_free(&m->areas);
	vec_free(&m->excluded);
	mappings_free(m);
	snapshot_free(m->snapshot);
	mem_free_restore(m);
	free(m);
}

static bool vanished(struct session *s, int err)
{
	return s->mode == CR_MODE_CHECK && (err == -ENOENT || err == -ESRCH);
}

/*
 * The file behind v through its name: for whoever may not follow map_files, which wants CAP_CHECKPOINT_RESTORE
 * in the first user namespace.  -EPERM when the name leads to another file by now.
 */
static int open_by_name(pid_t pid, const struct proc_vma *v, int flags)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/root%s", pid, v->path);
	struct stat st;
	int fd;

	if (v->path[0] != '/' || stat(path, &st) < 0 || st.st_ino != v->ino ||
	    st.st_dev != makedev(v->dev_major, v->dev_minor))
		return -EPERM;
	fd = open(path, flags | O_CLOEXEC | O_NOCTTY);
	return fd < 0 ? -errno : fd;
}

int mem_open_mapping(pid_t pid, const struct proc_vma *v, int flags)
{
	char path[80];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, pid, v->start, v->end);
	if (!(flags & O_PATH)) {
		struct stat st;

		if (stat(path, &st) < 0)
			return errno == EPERM ? open_by_name(pid, v, flags) : -errno;
		if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode) &&
		    !(S_ISCHR(st.st_mode) && major(st.st_rdev) == MEM_DEVICES_MAJOR))
			flags = O_PATH;
	}
	fd = FAULTS("opening %s", path) ? -1 : open(path, flags | O_CLOEXEC | O_NOCTTY);
	if (fd < 0 && errno == EPERM)
		return open_by_name(pid, v, flags);
	return fd < 0 ? -errno : fd;
}

/*
 * Shared anonymous memory that was restored without the right to follow map_files (make_shm() in open.c). Nobody holds a
 * descriptor, so it is as good as anonymous.
 */
static bool is_restored_shm(const struct vma_area *a)
{
	return a->v.flags & MAP_SHARED && a->status & VMA_MEMFD && !strcmp(a->v.path, "/memfd:dev/zero (deleted)");
}

/* The file object behind a. 1: the mapping is gone. */
static int collect_file(struct session *s, struct task *t, struct vma_area *a)
{
	uint32_t *known = mem_mapped_id(s, a);
	_cleanup_fd_ int fd = -1;
	uint32_t id;
	int err;

	a->shmid = *known;
	if (*known)
		return 0;
	if (files_leased(s, makedev(a->v.dev_major, a->v.dev_minor), a->v.ino))
		return refuse(s, NULL, "a write lease is held on the mapped file, which opening it here would break");
	fd = mem_open_mapping(task_pid(t), &a->v, a->fdflags);
	if (fd == -EPERM)
		fd = files_open_inode(s, t, makedev(a->v.dev_major, a->v.dev_minor), a->v.ino, a->fdflags);
	if (fd == -EPERM && is_restored_shm(a)) {
		a->status = VMA_REGULAR | VMA_ANON_SHARED;
		a->flags |= MAP_ANONYMOUS;
		a->has_file = false;
		a->shmid = shmem_id(s, makedev(a->v.dev_major, a->v.dev_minor), a->v.ino);
		return 0;
	}
	if (fd == -EPERM)
		return refuse(s, "run stasis with CAP_CHECKPOINT_RESTORE in the first user namespace",
			      "the file behind this mapping has no name and no descriptor, and may not be opened otherwise");
	if (fd < 0 && vanished(s, fd))
		return 1;
	if (fd < 0)
		return fail(s, -fd, "cannot open the file behind the mapping%s: %s",
			    a->fdflags == O_RDWR ? " for writing" : "", strerror(-fd));
	err = files_collect_mapping(s, t, &a->v, fd, &id);
	if (err)
		return vanished(s, err) ? 1 : err;
	a->shmid = *known = id;
	return 0;
}

/* Does a plugin claim it? */
static int claim_area(struct session *s, struct task *t, struct vma_area *a)
{
	struct mapping *m;
	int err = vma_is_special(&a->v) ? 0 : mapping_claim(s, t, a, &a->mapping);

	m = a->mapping;
	if (err || !m)
		return err;
	*vec_push(&t->mem->mappings) = m;
	a->covers = mapping_covers(m);
	a->owned = !(m->kind->flags & CR_VMA_KEEP);
	a->contents = a->owned && m->kind->flags & CR_VMA_CONTENTS;
	a->exact = m->kind->flags & CR_VMA_EXACT;
	return 0;
}

/* Shared anonymous memory that goes to the images as CRIU has it: as the mapping of a memfd. */
static bool goes_as_file(struct session *s, struct task *t, const struct vma_area *a)
{
	_cleanup_fd_ int fd = -1;

	if (!(a->status & VMA_ANON_SHARED) || a->flags & MAP_HUGETLB || !opt_flag(s->opts, "compat-images"))
		return false;
	fd = mem_open_mapping(task_pid(t), &a->v, O_RDONLY);
	return fd >= 0; /* who may not open it can still copy what is mapped, see dump_shared() */
}

/* What vma_classify() has found is of no interest, but for the advice. */
static const char *own_area(struct vma_area *a)
{
	a->status = VMA_REGULAR | (a->mapping->kind->status ? a->mapping->kind->status : VMA_PLUGIN);
	a->flags = a->v.flags;
	a->fdflags = 0;
	a->has_file = false;
	return NULL;
}

/* 0: added, or gone; -EOPNOTSUPP: refused; other errors end the dump. */
static int collect_area(struct session *s, struct task *t, struct vma_area *a, uint64_t shm_dev)
{
	struct mem *m = t->mem;
	const char *why;
	int err = claim_area(s, t, a);

	if (err < 0)
		return err;
	why = vma_classify(a, shm_dev);
	if (a->owned)
		why = own_area(a);
	if (why)
		return refuse(s, NULL, "this mapping is %s; nothing here can dump it", why);
	if (goes_as_file(s, t, a))
		vma_as_file(a);
	if (m->areas.n && vma_joins(&m->areas.v[m->areas.n - 1], a)) {
		m->areas.v[m->areas.n - 1].v.end = a->v.end;
		return 0;
	}
	if (a->has_file)
		err = collect_file(s, t, a);
	else if (a->status & VMA_ANON_SHARED)
		a->shmid = shmem_id(s, makedev(a->v.dev_major, a->v.dev_minor), a->v.ino);
	if (err < 0)
		return err;
	if (!err) {
		*vec_push(&m->areas) = *a;
		a->v.path = NULL;
	}
	return 0;
}

static int collect_list(struct session *s, struct task *t, vma_list *l)
{
	uint64_t shm_dev = mem_shm_dev(s);
	char name[200];
	int err;

	for (size_t i = 0; i < l->n; i++) {
		struct vma_area a = { .v = l->v[i] };

		at_object(s, "pid %d mapping %s", task_pid(t), vma_describe(&a.v, name, sizeof(name)));
		err = collect_area(s, t, &a, shm_dev);
		l->v[i].path = a.v.path; /* NULL: moved */
		if (err && err != -EOPNOTSUPP) /* a refusal stands in s->blockers: there may be more */
			return err;
	}
	return 0;
}

int mem_collect(struct session *s, struct task *t)
{
	vma_list l = { 0 };
	bool unsure;
	int err;

	at_object(s, "pid %d", task_pid(t));
	err = ahead_vmas(s, task_pid(t), &l, &unsure);
	if (err && vanished(s, err))
		return 0;
	if (err)
		return fail(s, -err, "cannot read its mappings (/proc/%d/smaps): %s", task_pid(t), strerror(-err));
	mem_free(t->mem);
	t->mem = xcalloc(1, sizeof(*t->mem));
	t->mem->unsure = unsure;
	if (!l.n && s->mode != CR_MODE_CHECK)
		err = fail(s, ESRCH, "it has no memory: its main thread has ended");
	else
		err = collect_list(s, t, &l);
	if (!err)
		exclude_collect(s, t);
	proc_vmas_free(&l);
	at_object(s, NULL);
	return err;
}

size_t mem_pages(const struct task *t)
{
	uint64_t bytes = 0;

	for (size_t i = 0; t->mem && i < t->mem->areas.n; i++)
		bytes += t->mem->areas.v[i].v.anonymous + t->mem->areas.v[i].v.swap;
	return bytes / PAGE_BYTES;
}

bool mem_is_private_rw(const struct task *t, uint64_t addr, uint64_t len)
{
	const uint32_t rw = PROT_READ | PROT_WRITE;
	uint64_t end;

	if (!t->mem || __builtin_add_overflow(addr, len, &end))
		return false;
	for (size_t i = 0; i < t->mem->areas.n && addr < end; i++) {
		const struct vma_area *a = &t->mem->areas.v[i];

		if (a->v.end <= addr)
			continue;
		if (a->v.start > addr || !vma_is_private(a->status) || a->status & VMA_VDSO || (a->v.prot & rw) != rw)
			return false;
		addr = a->v.end;
	}
	return addr >= end;
}
