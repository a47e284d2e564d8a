/* SPDX-License-Identifier: MIT */
/*
 * vdso_proxy.c: a task from a kernel with another vDSO.
 *
 * Its libraries remember addresses in the old vDSO, whose code cannot work with the data of this kernel.  So the old
 * pages become ordinary memory at their old place, this kernel's vDSO is put where there is room, and each function of the old
 * one begins with a jump to the function of that name in the new one, or with the system call where the new one has none.
 *
 * A thread that was dumped inside an old function finishes it: the old data pages are zeros, which means to that
 * code that there is no clock to be read, so that it makes the system call.  One that stands among the very bytes that
 * are replaced cannot go on; that is refused.
 */
#include "mem_priv.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "restore.h"

#define GAP (64 * PAGE_BYTES) /* between the new vDSO and what else there is, where there is that much */

/* All that a kernel has had there for 64-bit programs; sgx_enter_enclave needs no data. */
static const struct function {
	const char *name;
	uint32_t nr;
	bool by_call; /* it has a memory of its own in the program, of a size that differs between kernels */
} functions[] = {
	{ "__vdso_clock_gettime", SYS_clock_gettime, false }, { "__vdso_gettimeofday", SYS_gettimeofday, false },
	{ "__vdso_clock_getres", SYS_clock_getres, false },   { "__vdso_time", SYS_time, false },
	{ "__vdso_getcpu", SYS_getcpu, false },		      { "__vdso_getrandom", 318, true },
};

/* ---- symbols; every offset is looked at before it is used: the image may be hostile ---- */

struct symbols {
	const uint8_t *image;
	size_t len;
	uint64_t symtab, strtab, strsz, nsyms, hash;
};

/* [off, off + len) of the image, or NULL. */
static const void *part(const struct symbols *y, uint64_t off, uint64_t len)
{
	return off <= y->len && len <= y->len - off ? y->image + off : NULL;
}

static void take_dynamic(struct symbols *y, const Elf64_Dyn *d)
{
	if (d->d_tag == DT_SYMTAB)
		y->symtab = d->d_un.d_ptr;
	if (d->d_tag == DT_STRTAB)
		y->strtab = d->d_un.d_ptr;
	if (d->d_tag == DT_STRSZ)
		y->strsz = d->d_un.d_val;
	if (d->d_tag == DT_HASH)
		y->hash = d->d_un.d_ptr;
}

/* Without a hash table that tells: the names come right behind the symbols. */
static uint64_t count_symbols(const struct symbols *y)
{
	const uint8_t *hash = y->hash ? part(y, y->hash, 8) : NULL;
	uint32_t n;

	if (hash) {
		memcpy(&n, hash + 4, sizeof(n));
		return n;
	}
	return y->strtab > y->symtab ? (y->strtab - y->symtab) / sizeof(Elf64_Sym) : 0;
}

static void read_dynamic(struct symbols *y, const Elf64_Phdr *ph)
{
	const uint8_t *at = part(y, ph->p_offset, ph->p_filesz);
	Elf64_Dyn d;

	for (uint64_t off = 0; at && off + sizeof(d) <= ph->p_filesz; off += sizeof(d)) {
		memcpy(&d, at + off, sizeof(d));
		if (d.d_tag == DT_NULL)
			return;
		take_dynamic(y, &d);
	}
}

static bool find_symbols(struct symbols *y)
{
	const uint8_t *table;
	Elf64_Ehdr h;
	Elf64_Phdr ph;

	if (!part(y, 0, sizeof(h)))
		return false;
	memcpy(&h, y->image, sizeof(h));
	table = memcmp(h.e_ident, ELFMAG, SELFMAG) ? NULL : part(y, h.e_phoff, h.e_phnum * sizeof(ph));
	for (size_t i = 0; table && i < h.e_phnum; i++) {
		memcpy(&ph, table + i * sizeof(ph), sizeof(ph));
		if (ph.p_type == PT_DYNAMIC)
			read_dynamic(y, &ph);
	}
	y->nsyms = table ? count_symbols(y) : 0;
	return y->nsyms && y->nsyms < y->len && part(y, y->symtab, y->nsyms * sizeof(Elf64_Sym)) &&
	       part(y, y->strtab, y->strsz);
}

/* Offset of a function, 0: there is none. */
static uint64_t find_function(const struct symbols *y, const char *name)
{
	size_t n = strlen(name) + 1;

	for (uint64_t i = 0; i < y->nsyms; i++) {
		Elf64_Sym sym;

		memcpy(&sym, y->image + y->symtab + i * sizeof(sym), sizeof(sym));
		if (sym.st_shndx != SHN_UNDEF && sym.st_name < y->strsz && y->strsz - sym.st_name >= n &&
		    !memcmp(y->image + y->strtab + sym.st_name, name, n) && part(y, sym.st_value, VDSO_PATCH_MAX))
			return sym.st_value;
	}
	return 0;
}

/* ---- patches ---- */

static void put_jump(struct vdso_patch *p, uint64_t to)
{
	int64_t far = (int64_t)(to - (p->addr + 5));
	int32_t near = (int32_t)far;

	if (near == far) { /* jmp */
		p->code[0] = 0xe9;
		memcpy(p->code + 1, &near, 4);
		p->len = 5;
		return;
	}
	p->code[0] = 0x48, p->code[1] = 0xb8; /* movabs to %rax */
	memcpy(p->code + 2, &to, 8);
	p->code[10] = 0xff, p->code[11] = 0xe0; /* jmp *%rax */
	p->len = 12;
}

static void put_call(struct vdso_patch *p, uint32_t nr)
{
	static const uint8_t syscall_ret[] = { 0x0f, 0x05, 0xc3 };

	p->code[0] = 0xb8; /* mov to %eax */
	memcpy(p->code + 1, &nr, 4);
	memcpy(p->code + 5, syscall_ret, sizeof(syscall_ret));
	p->len = 8;
}

/* No thread stands behind the first byte of what is replaced. */
static int check_threads(struct session *s, const struct task *t, const struct vdso_patch *p, const char *name)
{
	for (size_t i = 0; i < t->threads.n; i++) {
		uint64_t ip = arch_ip(&t->threads.v[i]->regs.gp);

		if (ip > p->addr && ip < p->addr + p->len)
			return fail(s, EOPNOTSUPP, "pid %d tid %d: this image comes from a kernel with another vDSO, and the "
				    "thread was at the very beginning of %s there: dump it once more, or restore on a kernel of "
				    "the version of the dump", task_vpid(t), thread_vtid(t->threads.v[i]), name);
	}
	return 0;
}

static int add_patches(struct session *s, struct task *t, const struct vdso_layout *self, const uint8_t *old, size_t len)
{
	struct symbols was = { .image = old, .len = len }, is = { 0 };
	struct mem *m = t->mem;

	if (self->n)
		is = (struct symbols){ .image = (const uint8_t *)self->at.code, .len = self->at.end - self->at.code };
	if (!find_symbols(&was))
		return fail(s, EPROTO, "pid %d: the vDSO in the image is damaged: it has no symbols", task_vpid(t));
	if (is.len && !find_symbols(&is))
		return fail(s, EOPNOTSUPP, "the vDSO of this kernel has no symbols");
	for (size_t i = 0; i < ARRAY_SIZE(functions); i++) {
		uint64_t at = find_function(&was, functions[i].name), to = 0;
		struct vdso_patch *p;
		int r;

		if (!at)
			continue;
		if (is.len && !functions[i].by_call)
			to = find_function(&is, functions[i].name);
		p = vec_push(&m->patches);
		*p = (struct vdso_patch){ .addr = m->vdso.code + at };
		if (to)
			put_jump(p, m->kernel.code + to);
		else
			put_call(p, functions[i].nr);
		r = check_threads(s, t, p, functions[i].name);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- places ---- */

/* A free range of len bytes in t's address space, the first behind `from` or else the lowest. 0: there is none. */
static uint64_t find_room(const struct session *s, const struct mem *m, uint64_t len, uint64_t from)
{
	const struct arena *a = s->restore ? &s->restore->arena : NULL;
	uint64_t at = from;

	for (size_t i = 0; i <= m->maps.n; i++) {
		uint64_t start = i < m->maps.n ? m->maps.v[i]->start : USER_END;
		uint64_t end = i < m->maps.n ? m->maps.v[i]->end : USER_END;

		if (a && at < a->base + a->size && at + len > a->base)
			at = a->base + a->size;
		if (start >= at && start - at >= len)
			return at;
		at = MAX_OF(at, end);
	}
	return 0;
}

static int pick_place(struct session *s, struct task *t, const struct vdso_layout *self)
{
	uint64_t data = self->at.data_end - self->at.start, len = self->at.end - self->at.start, at;
	struct mem *m = t->mem;

	at = find_room(s, m, len + 2 * GAP, m->vdso.end);
	if (at)
		at += GAP;
	else
		at = find_room(s, m, len, mem_lowest_address());
	if (!at)
		return fail(s, ENOMEM, "pid %d: no room for this kernel's vDSO in its address space", task_vpid(t));
	m->kernel = (struct vdso_place){ at, at + data, at + data, at + len };
	return 0;
}

/* v becomes an ordinary mapping. */
static void make_plain(struct mem *m, VmaEntry *v)
{
	size_t i = m->maps.n;

	v->status = VMA_REGULAR | VMA_ANON_PRIVATE | (v->status & VMA_VDSO);
	v->flags = MAP_PRIVATE | MAP_ANONYMOUS;
	v->prot = v->status & VMA_VDSO ? PROT_READ | PROT_EXEC : PROT_READ;
	v->shmid = v->pgoff = 0;
	v->has_madv = 0;
	vec_push(&m->maps);
	for (; i && m->maps.v[i - 1]->start > v->start; i--)
		m->maps.v[i] = m->maps.v[i - 1];
	m->maps.v[i] = v;
}

int vdso_proxy(struct session *s, struct task *t, const struct vdso_layout *self, const void *old, size_t len)
{
	struct mem *m = t->mem;
	int r = 0;

	log_info("pid %d: its vDSO is another kernel's: its functions lead to this one's", task_vpid(t));
	for (size_t i = 0; i < m->mm->n_vmas; i++)
		if (m->mm->vmas[i]->status & (VMA_VDSO | VMA_VVAR))
			make_plain(m, m->mm->vmas[i]);
	if (self->n)
		r = pick_place(s, t, self);
	return r < 0 || !len ? r : add_patches(s, t, self, old, len);
}
