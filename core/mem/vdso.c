/* SPDX-License-Identifier: MIT */
/*
 * vdso.c: the mappings that the kernel gives every task, at restore.
 *
 * They cannot be made, only moved: the root moves those it has inherited from E,
 * first into the arena's parking range, because the final place may overlap what
 * is still mapped, and later to where the image has them.  Since 6.13 the data
 * pages are several mappings ([vvar], [vvar_vclock]), which images and other
 * kernels show as one; each is moved on its own.  A task may have been frozen
 * inside the vDSO, and libraries remember addresses in it, so the code must be
 * the very same.
 */
#include "mem_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "files.h"

#define CODE_MAX (1u << 20)
#define SCAN_BYTES (64u << 10)

static bool is_special(const struct proc_vma *v)
{
	return strncmp(v->path, "[vvar", 5) == 0 || strcmp(v->path, "[vdso]") == 0;
}

static int add_part(struct session *s, const struct proc_vma *v, struct vdso_layout *l)
{
	if (l->n == VDSO_PARTS || l->at.code || (l->n && l->at.end != v->start))
		return fail(s, EOPNOTSUPP, "this kernel arranges its vDSO in a way that is not known (%s at %#lx)", v->path,
			    v->start);
	if (!l->n)
		l->at.start = v->start;
	if (strcmp(v->path, "[vdso]") == 0)
		l->at.code = v->start;
	else
		l->at.data_end = v->end;
	l->part[l->n].off = v->start - l->at.start;
	l->part[l->n].len = v->end - v->start;
	l->n++;
	l->at.end = v->end;
	return 0;
}

int vdso_self(struct session *s, struct vdso_layout *ret)
{
	_cleanup_buf_ struct buf text = { 0 };
	struct vdso_layout l = { 0 };
	vma_list vmas = { 0 };
	int r = read_file(AT_FDCWD, "/proc/self/maps", &text);

	if (r == 0)
		r = proc_parse_maps(text.p, text.len, &vmas);
	if (r < 0)
		r = fail(s, -r, "cannot read /proc/self/maps: %s", strerror(-r));
	for (size_t i = 0; i < vmas.n && r == 0; i++)
		if (is_special(&vmas.v[i]))
			r = add_part(s, &vmas.v[i], &l);
	proc_vmas_free(&vmas);
	if (r == 0 && l.n && !l.at.code)
		r = fail(s, EOPNOTSUPP, "this kernel has vDSO data without code");
	if (r == 0)
		*ret = l;
	return r;
}

/* Has `at` of the image the size of E's? What the task has unmapped does not count. */
static bool same_size(const struct vdso_place *at, const struct vdso_place *own)
{
	uint64_t data = at->data_end - at->start, code = at->end - at->code;

	return (!data || data == own->data_end - own->start) && (!code || code == own->end - own->code);
}

int vdso_settle(struct session *s, struct task *t, const struct vdso_layout *self)
{
	const struct vdso_place *at = &t->mem->vdso;
	uint64_t len = at->end - at->code;
	_cleanup_free_ void *code = NULL;
	int r = 0;

	if (!vdso_any(at))
		return 0;
	if (len > CODE_MAX)
		return fail(s, EPROTO, "mm-%d.img: a vDSO of %lu bytes", task_vpid(t), len);
	if (len) {
		code = xcalloc(1, len);
		r = mem_read_stored(t->mem, at->code, code, len);
	}
	if (r == -ENOENT)
		return fail(s, EPROTO, "pagemap-%d.img: the pages of the vDSO are missing", task_vpid(t));
	if (r < 0)
		return fail(s, -r, "pagemap-%d.img: cannot read the pages of the vDSO: %s", task_vpid(t), strerror(-r));
	if (!self->n || !same_size(at, &self->at) || (len && memcmp(code, (const void *)self->at.code, len) != 0))
		return vdso_proxy(s, t, self, code, len);
	t->mem->kernel = *at;
	return 0;
}

/* Where part i of E's is when the whole is at a place; 0: it is not there. */
static uint64_t part_at(const struct vdso_layout *self, const struct vdso_place *at, size_t i)
{
	uint64_t off = self->part[i].off, data = self->at.data_end - self->at.start;

	if (off >= data)
		return at->end > at->code ? at->code + (off - data) : 0;
	return at->data_end > at->start ? at->start + off : 0;
}

static void move(struct plan *p, const struct vdso_layout *self, const struct vdso_place *from, const struct vdso_place *to)
{
	for (size_t i = 0; i < self->n; i++) {
		uint64_t src = part_at(self, from, i), dst = part_at(self, to, i), len = self->part[i].len;

		if (src && dst)
			plan_sys(p, BLOB_EXPECT, SYS_mremap, src, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, dst)->expect = dst;
	}
}

static struct vdso_place parking(const struct plan *p, const struct vdso_layout *self)
{
	uint64_t at = p->set->arena->park, data = self->at.data_end - self->at.start;

	return (struct vdso_place){ at, at + data, at + data, at + data + (self->at.end - self->at.code) };
}

void vdso_plan_park(struct plan *p, const struct vdso_layout *self, const struct vdso_place *from)
{
	struct vdso_place park = parking(p, self);

	plan_origin(p->set, "memory: vDSO, out of the way");
	move(p, self, from, &park);
}

void vdso_plan_unpark(struct plan *p, const struct vdso_layout *self, const struct vdso_place *to)
{
	struct vdso_place park = parking(p, self);

	plan_origin(p->set, "memory: vDSO, to its place");
	move(p, self, &park, to);
}

/* Looks for a system call instruction in len bytes that lie at addr in the task, none of them stored pages. */
static bool find_call(const struct mem *m, const uint8_t *code, size_t len, uint64_t addr, uint64_t *ret)
{
	size_t from = 0;

	while (from < len) {
		size_t run;
		ssize_t off = arch_find_syscall(code + from, len - from);

		if (off < 0)
			return false;
		from += (size_t)off;
		run = mem_find_run(m, addr + from);
		if (run == m->runs.n || m->runs.v[run].start > addr + from + 1) {
			*ret = addr + from;
			return true;
		}
		from++;
	}
	return false;
}

static bool find_call_in_file(struct session *s, const struct mem *m, const VmaEntry *v, int fd, uint64_t *ret)
{
	_cleanup_free_ uint8_t *code = xcalloc(1, SCAN_BYTES);

	for (uint64_t off = 0; off < v->end - v->start; off += SCAN_BYTES - 1) {
		ssize_t n = pread(fd, code, MIN_OF((uint64_t)SCAN_BYTES, v->end - v->start - off),
				  (off_t)(v->pgoff + off));

		if (n <= 0)
			return false;
		if (find_call(m, code, (size_t)n, v->start + off, ret))
			return true;
	}
	return false;
}

int mem_syscall_ip(struct session *s, struct task *t, uint64_t *ret_ip)
{
	const struct mem *m = t->mem;

	if (m->kernel.code) {
		const struct vdso_layout *self = &s->tree->root->mem->self;
		ssize_t off = arch_find_syscall((const uint8_t *)self->at.code, self->at.end - self->at.code);

		if (off >= 0) {
			*ret_ip = m->kernel.code + (uint64_t)off;
			return 0;
		}
	}
	for (size_t i = 0; i < m->maps.n; i++) {
		const VmaEntry *v = m->maps.v[i];
		int fd = v->prot & PROT_EXEC && vma_is_file(v->status) ? files_fd(s, (uint32_t)v->shmid) : -1;

		if (fd >= 0 && find_call_in_file(s, m, v, fd, ret_ip))
			return 0;
	}
	return fail(s, EOPNOTSUPP, "pid %d: no system call instruction in its vDSO or in a mapped file", task_vpid(t));
}
