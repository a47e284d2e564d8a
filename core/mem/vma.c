/* SPDX-License-Identifier: MIT */
/*
 * vma.c: what kind of mapping is it?
 *
 * The kernel tells in /proc/PID/smaps: a name in brackets for mappings of its own,
 * a path and an inode for files, neither for anonymous memory.  Shared anonymous
 * memory, memfds and System V segments are files of the kernel's internal tmpfs and
 * are told from files of the user with the same name by its device number.
 */
#include "mem_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mman.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* Linux 3.17..6.18; older headers lack the later ones */
enum {
	ADV_RANDOM = 1, ADV_SEQUENTIAL = 2, ADV_DONTFORK = 10, ADV_MERGEABLE = 12, ADV_HUGEPAGE = 14,
	ADV_NOHUGEPAGE = 15, ADV_DONTDUMP = 16, ADV_WIPEONFORK = 18,
};

static const struct {
	uint64_t vmflag;
	int advice;
} advices[] = {
	{ VMF(RR), ADV_RANDOM },    { VMF(SR), ADV_SEQUENTIAL }, { VMF(DC), ADV_DONTFORK },
	{ VMF(MG), ADV_MERGEABLE }, { VMF(HG), ADV_HUGEPAGE },	 { VMF(NH), ADV_NOHUGEPAGE },
	{ VMF(DD), ADV_DONTDUMP },  { VMF(WF), ADV_WIPEONFORK },
};

/* Properties that would be lost; the kernel's own mappings are exempt. */
static const struct {
	uint64_t vmflag;
	const char *what;
} unsupported[] = {
	{ VMF(PF), "memory of a device" },
	{ VMF(IO), "memory of a device" },
	{ VMF(UM), "registered with userfaultfd" },
	{ VMF(UW), "registered with userfaultfd" },
	{ VMF(UI), "registered with userfaultfd" },
	{ VMF(SS), "a shadow stack" },
};

static bool starts(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

uint64_t vma_shm_dev(void)
{
	_cleanup_fd_ int fd = memfd_create("stasis-probe", MFD_CLOEXEC);
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 ? st.st_dev : 0;
}

/* Mappings that the kernel made and whose flags say nothing about what the task did. */
static uint32_t special_status(const char *path)
{
	if (strcmp(path, "[vdso]") == 0)
		return VMA_REGULAR | VMA_VDSO | VMA_ANON_PRIVATE;
	if (strcmp(path, "[vvar]") == 0 || strcmp(path, "[vvar_vclock]") == 0)
		return VMA_REGULAR | VMA_VVAR | VMA_ANON_PRIVATE;
	if (strcmp(path, "[vsyscall]") == 0)
		return VMA_VSYSCALL | VMA_ANON_PRIVATE;
	return 0;
}

bool vma_is_special(const struct proc_vma *v)
{
	return !v->ino && special_status(v->path);
}

static const char *check_flags(const struct vma_area *a)
{
	const struct proc_vma *v = &a->v;

	for (size_t i = 0; i < ARRAY_SIZE(unsupported); i++)
		if (v->vmflags & ~a->covers & unsupported[i].vmflag)
			return unsupported[i].what;
	return NULL;
}

/* No file behind it. */
static const char *classify_anonymous(struct vma_area *a)
{
	const char *path = a->v.path;

	if (a->v.flags & MAP_SHARED)
		return "a shared mapping of the kernel";
	if (strcmp(path, "[uprobes]") == 0)
		return "probes of a tracer (uprobes)";
	if (*path && strcmp(path, "[stack]") && strcmp(path, "[heap]") && !starts(path, "[anon:"))
		return "a special mapping of the kernel that is not known";
	a->status = VMA_REGULAR | VMA_ANON_PRIVATE;
	if (strcmp(path, "[heap]") == 0)
		a->status |= VMA_HEAP;
	a->flags |= MAP_ANONYMOUS;
	if (a->v.vmflags & VMF(DP))
		a->flags |= MAP_DROPPABLE;
	return NULL;
}

static void classify_file(struct vma_area *a)
{
	bool shared = a->v.flags & MAP_SHARED;

	a->flags &= ~(uint32_t)MAP_HUGETLB; /* its pages are the file's business */
	a->has_file = true;
	a->status = VMA_REGULAR | (shared ? VMA_FILE_SHARED : VMA_FILE_PRIVATE);
	/* May be made writable later: then it was opened for writing. */
	a->fdflags = shared && a->v.vmflags & VMF(MW) ? O_RDWR : O_RDONLY;
}

/* MAP_HUGETLB with the size of the pages. */
static uint32_t huge_flags(const struct proc_vma *v)
{
	return v->page_bytes ? MAP_HUGETLB | (uint32_t)__builtin_ctzll(v->page_bytes) << MAP_HUGE_SHIFT : MAP_HUGETLB;
}

/* Huge pages that no file of the task's is behind: the kernel makes one for each mapping. */
static void classify_huge(struct vma_area *a)
{
	a->status = VMA_REGULAR | (a->v.flags & MAP_SHARED ? VMA_ANON_SHARED : VMA_ANON_PRIVATE);
	a->flags |= MAP_ANONYMOUS | huge_flags(&a->v);
}

/* A file of the internal tmpfs, or of another pseudo filesystem. */
static const char *classify_internal(struct vma_area *a, bool tmpfs)
{
	const char *path = a->v.path;

	/* such a name is only for the eye: nobody can open it */
	if (starts(path, "/["))
		return "of a file that only the kernel has";
	if (a->v.vmflags & VMF(HT) && starts(path, "/anon_hugepage")) {
		classify_huge(a);
		return NULL;
	}
	if (starts(path, "/SYSV") && (tmpfs || a->v.vmflags & VMF(HT)))
		return "a System V shared memory segment (shmat)";
	if (tmpfs && a->v.flags & MAP_SHARED &&
	    (strcmp(path, "/dev/zero (deleted)") == 0 || starts(path, "[anon_shmem:"))) {
		a->status = VMA_REGULAR | VMA_ANON_SHARED;
		a->flags |= MAP_ANONYMOUS;
		return NULL;
	}
	classify_file(a);
	if (tmpfs && starts(path, "/memfd:"))
		a->status |= VMA_MEMFD;
	return NULL;
}

const char *vma_classify(struct vma_area *a, uint64_t shm_dev)
{
	const struct proc_vma *v = &a->v;
	bool tmpfs = v->dev_major == 0 && (!shm_dev || makedev(0, v->dev_minor) == shm_dev);
	const char *why;

	a->flags = v->flags;
	for (size_t i = 0; i < ARRAY_SIZE(advices); i++)
		if (v->vmflags & advices[i].vmflag)
			a->madv |= 1ull << advices[i].advice;
	a->status = v->ino ? 0 : special_status(v->path);
	if (a->status) {
		a->flags = MAP_PRIVATE | MAP_ANONYMOUS;
		return NULL;
	}
	why = check_flags(a);
	if (why)
		return why;
	if (!v->ino && (!v->path[0] || v->path[0] == '['))
		return classify_anonymous(a);
	if (v->dev_major == 0)
		return classify_internal(a, tmpfs);
	classify_file(a);
	return NULL;
}

void vma_as_file(struct vma_area *a)
{
	a->flags &= ~(uint32_t)MAP_ANONYMOUS;
	classify_file(a);
	a->status |= VMA_MEMFD;
}

bool vma_joins(const struct vma_area *a, const struct vma_area *b)
{
	return a->status & VMA_VVAR && b->status & VMA_VVAR && a->v.end == b->v.start;
}

const char *vma_describe(const struct proc_vma *v, char *buf, size_t size)
{
	snprintf(buf, size, "%llx-%llx %s", (unsigned long long)v->start, (unsigned long long)v->end,
		 v->path[0] ? v->path : "(anonymous)");
	return buf;
}
