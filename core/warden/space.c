/* SPDX-License-Identifier: MIT */
/*
 * The address space of a frozen process, as far as injected calls need it.
 *
 * Memory goes through /proc/PID/mem: process_vm_readv(2) would pin the pages, and the kernel gives a process a copy of its
 * own of every page that it pins.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fault.h"
#include "inject.h"

int wd_memory(struct server *sv, pid_t tgid)
{
	char path[32];

	if (sv->mem_of == tgid)
		return sv->memfd;
	if (sv->mem_of)
		close(sv->memfd);
	sv->mem_of = 0;
	snprintf(path, sizeof(path), "/proc/%d/mem", tgid);
	sv->memfd = FAULTS("memory of %d", tgid) ? -1 : open(path, O_RDWR | O_CLOEXEC);
	if (sv->memfd < 0)
		return -errno;
	sv->mem_of = tgid;
	return sv->memfd;
}

int move_memory(struct server *sv, pid_t tgid, bool write, uint64_t addr, void *buf, size_t len)
{
	int fd = wd_memory(sv, tgid), err;
	ssize_t n;

	if (fd < 0)
		return fd;
	err = FAULT("%s memory of %d", write ? "writing" : "reading", tgid);
	if (err)
		return err;
	n = write ? pwrite(fd, buf, len, addr) : pread(fd, buf, len, addr);
	return n == (ssize_t)len ? 0 : n < 0 && errno != EIO ? -errno : -EFAULT;
}

int wd_read(struct server *sv, pid_t tgid, uint64_t addr, size_t len)
{
	int fd = wd_memory(sv, tgid);

	return fd < 0 ? fd : pread_full(fd, sv->box, len, addr);
}

struct space *space_of(struct server *sv, pid_t tgid)
{
	struct space *sp = &sv->space;

	if (sp->tgid == tgid)
		return sp;
	/* what is open may be the memory that it had before an exec */
	if (sv->mem_of)
		close(sv->memfd);
	sv->mem_of = 0;
	sp->tgid = tgid;
	sp->code = 0;
	sp->known = sp->no_errand = sp->changed = false;
	return sp;
}

/* Looks for a syscall instruction in one mapping. */
static uint64_t search_code(struct server *sv, pid_t pid, const struct proc_vma *v)
{
	enum { CHUNK = 65536 };
	_cleanup_free_ uint8_t *code = xcalloc(1, CHUNK);

	for (uint64_t at = v->start; at < v->end; at += CHUNK) {
		size_t len = MIN_OF((uint64_t)CHUNK, v->end - at);
		ssize_t off;

		if (move_memory(sv, pid, false, at, code, len))
			return 0;
		off = arch_find_syscall(code, len);
		if (off >= 0)
			return at + off;
	}
	return 0;
}

/* Private, readable, writable, and no special mapping of the kernel. */
static bool is_plain_memory(const struct proc_vma *v)
{
	if ((v->prot & (PROT_READ | PROT_WRITE)) != (PROT_READ | PROT_WRITE) || v->flags & MAP_SHARED)
		return false;
	return v->path[0] != '[' || strcmp(v->path, "[stack]") == 0 || strcmp(v->path, "[heap]") == 0 ||
	       strncmp(v->path, "[anon:", 6) == 0;
}

static void learn_space(struct server *sv, pid_t pid, const vma_list *l)
{
	struct space *sp = &sv->space;

	for (size_t i = 0; i < l->n; i++) {
		if (strcmp(l->v[i].path, "[vdso]") == 0) {
			sp->vdso = (struct mem_range){ l->v[i].start, l->v[i].end };
			sp->syscall_ip = search_code(sv, pid, &l->v[i]);
		}
		if (is_plain_memory(&l->v[i]))
			*vec_push(&sp->rw) = (struct mem_range){ l->v[i].start, l->v[i].end };
	}
	for (size_t i = 0; i < l->n && !sp->syscall_ip; i++)
		if ((l->v[i].prot & (PROT_READ | PROT_EXEC)) == (PROT_READ | PROT_EXEC) && l->v[i].path[0] != '[')
			sp->syscall_ip = search_code(sv, pid, &l->v[i]);
}

int know_space(struct server *sv, pid_t tgid)
{
	_cleanup_buf_ struct buf b = { 0 };
	struct space *sp = &sv->space;
	vma_list l = { 0 };
	char path[40];
	size_t len;
	int err;

	space_of(sv, tgid);
	if (sp->known)
		return 0;
	sp->rw.n = 0;
	sp->syscall_ip = 0;
	sp->vdso = (struct mem_range){ 0 };
	snprintf(path, sizeof(path), "/proc/%d/maps", tgid);
	err = read_file(AT_FDCWD, path, &b);
	if (!err)
		err = proc_parse_maps(b.p, b.len, &l);
	if (!err && !l.n)
		err = -ESRCH; /* the memory of a dead process is gone at once */
	if (!err)
		learn_space(sv, tgid, &l);
	proc_vmas_free(&l);
	len = b.len;
	if (err == -ENOENT || err == -ESRCH)
		return wd_fail(sv, -ESRCH, "pid %d was killed while it was frozen", tgid);
	if (err)
		return wd_fail(sv, err, "%s: %s", path, strerror(-err));
	/* it may have died between the two looks */
	if (!sp->syscall_ip && (read_file(AT_FDCWD, path, &b) || b.len == len))
		return wd_fail(sv, -ESRCH, "pid %d was killed while it was frozen", tgid);
	snprintf(path, sizeof(path), "/proc/%d/mem", tgid);
	if (!sp->syscall_ip && access(path, R_OK | W_OK) < 0 && errno == EACCES)
		return wd_fail(sv, -EACCES, "%s may not be opened: the process is another user's, or not dumpable; that needs "
			       "CAP_DAC_OVERRIDE (run stasis as root)", path);
	if (!sp->syscall_ip)
		return wd_fail(sv, -ENOEXEC, "pid %d has no system call instruction mapped, not even a vDSO", tgid);
	sp->known = true;
	return 0;
}

static bool in_ranges(const struct space *sp, uint64_t start, uint64_t len)
{
	for (size_t i = 0; i < sp->rw.n; i++) {
		if (start < sp->rw.v[i].start || start >= sp->rw.v[i].end)
			continue;
		if (len <= sp->rw.v[i].end - start)
			return true;
		len -= sp->rw.v[i].end - start; /* goes on in the next mapping? */
		start = sp->rw.v[i].end;
	}
	return false;
}

int take_scratch(struct server *sv, struct window *w)
{
	const struct space *sp = &sv->space;
	uint64_t at = (arch_sp(&w->saved) - ARCH_REDZONE - WARDEN_SCRATCH) & ~63ul;

	w->scratch = at;
	if (in_ranges(sp, at, WARDEN_SCRATCH) &&
	    move_memory(sv, w->t->tgid, false, at, w->memory, WARDEN_SCRATCH) == 0)
		return 0;
	for (size_t i = 0; i < sp->rw.n; i++) {
		w->scratch = sp->rw.v[i].start;
		if (sp->rw.v[i].end - sp->rw.v[i].start >= WARDEN_SCRATCH &&
		    move_memory(sv, w->t->tgid, false, w->scratch, w->memory, WARDEN_SCRATCH) == 0)
			return 0;
	}
	w->scratch = 0;
	return wd_fail(sv, -ENOMEM, "pid %d has no writable memory to call from", w->t->tgid);
}

int give_scratch_back(struct server *sv, struct window *w)
{
	int err;

	if (!w->scratch)
		return 0;
	err = move_memory(sv, w->t->tgid, true, w->scratch, w->memory, WARDEN_SCRATCH);
	if (err && err != -ESRCH)
		return wd_fail(sv, err, "pid %d: memory at %#jx cannot be written back: %s", w->t->tgid,
			       (uintmax_t)w->scratch, strerror(-err));
	return err;
}
