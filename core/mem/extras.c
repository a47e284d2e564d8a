/* SPDX-License-Identifier: MIT */
/*
 * extras.c: what a task's memory has that mm-<vpid> has no field for: protection keys, seals (mseal), locks that wait for the
 * first touch (MLOCK_ONFAULT), names (PR_SET_VMA_ANON_NAME), NUMA policies (mbind), and that future mappings are locked too
 * (mlockall(MCL_FUTURE)).
 *
 * All of it goes to x-stasis-mem-<vpid>, which is written only when there is something to say.  /proc tells the first
 * four of each mapping, the tree has asked for policies (core/tree/policy.c).  Which keys are allocated and what mlockall()
 * has been told show in the results of calls that
 * change nothing: pkey_mprotect() of a hole says EINVAL for a key that is not allocated and ENOMEM for one that is; a
 * page that is mapped for a moment is there at once, and cannot be dropped, when future mappings are locked.
 *
 * A seal can never be taken off and children inherit it, so it is set when all children exist.
 */
#include "mem_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "arch/x86_64/cpu.h"
#include "image.h"
#include "policy.h"
#include "stasis.pb-c.h"
#include "warden.h"

#ifndef SYS_mseal
#define SYS_mseal 462 /* Linux 6.10 */
#endif
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41 /* Linux 5.17 */
#define PR_SET_VMA_ANON_NAME 0
#endif
#define NAME_ROOM 80 /* of the kernel, ANON_VMA_NAME_MAX_LEN */
#define PKEYS 16
#define WORD_PKU 11 /* CPUID 7, ECX: protection keys are switched on */
#define BIT_OSPKE 4

/* ---- dump ---- */

/* What the kernel gives execute-only memory by itself is no key of the task's. */
static uint32_t own_key(const struct proc_vma *v)
{
	return v->prot == PROT_EXEC ? 0 : v->pkey;
}

/* The name that the task has given it, which /proc shows as "[anon:NAME]", or NULL. Allocated. */
static char *name_of(const struct vma_area *a)
{
	static const char *const marks[] = { "[anon:", "[anon_shmem:" };

	for (size_t i = 0; i < ARRAY_SIZE(marks); i++) {
		size_t n = strlen(marks[i]), len = strlen(a->v.path);

		if (!strncmp(a->v.path, marks[i], n) && len > n && a->v.path[len - 1] == ']')
			return xasprintf("%.*s", (int)(len - n - 1), a->v.path + n);
	}
	return NULL;
}

/* Policies are in the order of their addresses; *i: the first that may be that of a. */
static const struct mem_policy *policy_of(const struct task *t, const struct vma_area *a, size_t *i)
{
	while (*i < t->policies.n && t->policies.v[*i].end <= a->v.start)
		(*i)++;
	return *i < t->policies.n && t->policies.v[*i].start <= a->v.start ? &t->policies.v[*i] : NULL;
}

static bool fill_range(StasisRange *r, const struct vma_area *a, const struct mem_policy *policy)
{
	bool special = a->status & (VMA_VDSO | VMA_VVAR | VMA_VSYSCALL);

	if (special)
		policy = NULL;
	if (!own_key(&a->v) && !policy && a->v.path[0] != '[' && (special || !(a->v.vmflags & (VMF(SL) | VMF(LF)))))
		return false;
	stasis_range__init(r);
	r->start = a->v.start;
	r->end = a->v.end;
	r->pkey = own_key(&a->v);
	r->has_pkey = r->pkey != 0;
	r->has_sealed = r->sealed = (a->v.vmflags & VMF(SL)) != 0;
	r->has_on_fault = r->on_fault = (a->v.vmflags & VMF(LF)) != 0;
	r->name = name_of(a);
	if (policy)
		r->policy = policy_message(policy);
	return r->has_pkey || r->name || policy || (!special && (r->sealed || r->on_fault));
}

int mem_find_hole(struct session *s, const struct task *t, uint64_t *ret_hole)
{
	uint64_t at = mem_lowest_address(), start, end;
	_cleanup_free_ char *line = NULL;
	size_t size = 0;
	char path[32];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", task_pid(t));
	f = fopen(path, "re");
	if (!f)
		return fail(s, errno, "cannot read %s", path);
	/* nearly always the first line says enough */
	while (getline(&line, &size, f) > 0 && sscanf(line, "%" SCNx64 "-%" SCNx64, &start, &end) == 2 &&
	       start < at + 3 * PAGE_BYTES)
		at = MAX_OF(at, end + PAGE_BYTES);
	fclose(f);
	*ret_hole = at;
	return 0;
}

static void add_call(struct inject_call *c, long nr, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4)
{
	*c = (struct inject_call){ .nr = nr, .args = { a0, a1, a2, a3, a4 } };
}

enum { P_MAP, P_THERE, P_DROP, P_UNMAP, P_KEYS, P_N = P_KEYS + PKEYS - 1 };
_Static_assert(P_N <= MEM_PROBE_CALLS, "room for the calls");

/* MCL_FUTURE, with MCL_ONFAULT, or 0. */
static uint32_t locks_future(const struct inject_call *c, uint64_t hole)
{
	if (c[P_MAP].ret != (int64_t)hole || c[P_DROP].ret != -EINVAL)
		return 0;
	return MCL_FUTURE | (c[P_THERE].out[0] & 1 ? 0 : MCL_ONFAULT);
}

size_t mem_probe_calls(uint64_t hole, struct inject_call *ret)
{
	struct inject_call *c = ret;
	struct cpu_facts cpu;
	size_t n = P_KEYS;

	add_call(&c[P_MAP], SYS_mmap, hole, PAGE_BYTES, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1ul);
	add_call(&c[P_THERE], SYS_mincore, hole, PAGE_BYTES, 0, 0, 0);
	c[P_THERE].ptrmask = 4;
	c[P_THERE].out_len = 1;
	add_call(&c[P_DROP], SYS_madvise, hole, PAGE_BYTES, MADV_DONTNEED, 0, 0);
	add_call(&c[P_UNMAP], SYS_munmap, hole, PAGE_BYTES, 0, 0, 0);
	cpu_read(&cpu);
	if (cpu.words[WORD_PKU] >> BIT_OSPKE & 1)
		for (unsigned key = 1; key < PKEYS; key++, n++)
			add_call(&c[n], SYS_pkey_mprotect, hole, PAGE_BYTES, PROT_NONE, key, 0);
	return n;
}

void mem_probe_answers(const struct inject_call *calls, uint64_t hole, struct mem_facts *ret)
{
	struct cpu_facts cpu;

	ret->lock_all = locks_future(calls, hole);
	ret->pkeys = 0;
	cpu_read(&cpu);
	if (cpu.words[WORD_PKU] >> BIT_OSPKE & 1)
		for (unsigned key = 1; key < PKEYS; key++)
			if (calls[P_KEYS + key - 1].ret == -ENOMEM)
				ret->pkeys |= 1u << key;
}

int extras_dump(struct session *s, struct task *t, const struct mem_facts *facts)
{
	StasisMem e = STASIS_MEM__INIT;
	StasisRange *ranges = xcalloc(t->mem->areas.n + 1, sizeof(*ranges));
	StasisRange **list = xcalloc(t->mem->areas.n + 1, sizeof(*list));
	size_t at = 0;
	int err = 0;

	e.ranges = list;
	e.lock_all = facts->lock_all;
	e.has_lock_all = e.lock_all != 0;
	e.pkeys = facts->pkeys;
	e.has_pkeys = e.pkeys != 0;
	for (size_t i = 0; i < t->mem->areas.n; i++) {
		const struct proc_vma *v = &t->mem->areas.v[i].v;

		if (v->prot == PROT_EXEC && v->pkey)
			e.exec_pkey = v->pkey;
		if (!fill_range(&ranges[e.n_ranges], &t->mem->areas.v[i], policy_of(t, &t->mem->areas.v[i], &at)))
			continue;
		list[e.n_ranges] = &ranges[e.n_ranges];
		e.n_ranges++;
	}
	e.has_exec_pkey = e.exec_pkey != 0;
	if (e.has_exec_pkey || e.n_ranges || e.has_lock_all || e.has_pkeys)
		err = img_append_msg(s, &img_stasis_mem, task_vpid(t), &e.base);
	for (size_t i = 0; i < e.n_ranges; i++) {
		free(ranges[i].name);
		if (ranges[i].policy)
			stasis_policy__free_unpacked(ranges[i].policy, NULL);
	}
	free(list);
	free(ranges);
	return err;
}

/* ---- restore ---- */

int extras_load(struct session *s, struct task *t)
{
	struct mem *m = t->mem;
	ProtobufCMessage *msg = NULL;
	uint64_t end = 0;
	int err = img_read_one(s, &img_stasis_mem, (uint64_t)task_vpid(t), &stasis_mem__descriptor, &msg);

	if (err < 0)
		return err == -ENOENT ? 0 : err;
	m->extra = (StasisMem *)msg;
	for (size_t i = 0; i < m->extra->n_ranges; i++) {
		const StasisRange *r = m->extra->ranges[i];

		if (r->start < end || r->end <= r->start || r->end > USER_END ||
		    (r->start | r->end) % PAGE_BYTES || r->pkey >= PKEYS || !policy_sane(r->policy) ||
		    (r->name && strlen(r->name) >= NAME_ROOM))
			return fail(s, EPROTO, "x-stasis-mem-%d.img: the range %#lx-%#lx makes no sense", task_vpid(t), r->start,
				    r->end);
		end = r->end;
	}
	if (m->extra->lock_all & ~(uint32_t)(MCL_FUTURE | MCL_ONFAULT) || m->extra->pkeys >> PKEYS || m->extra->pkeys & 1 ||
	    m->extra->exec_pkey >= PKEYS)
		return fail(s, EPROTO, "x-stasis-mem-%d.img is damaged", task_vpid(t));
	return 0;
}

void extras_free(struct mem *m)
{
	if (m->extra)
		stasis_mem__free_unpacked(m->extra, NULL);
	m->extra = NULL;
}

static const StasisRange *range_at(const struct mem *m, uint64_t addr)
{
	size_t lo = 0, hi = m->extra ? m->extra->n_ranges : 0;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (m->extra->ranges[mid]->end > addr)
			hi = mid;
		else
			lo = mid + 1;
	}
	return m->extra && lo < m->extra->n_ranges && m->extra->ranges[lo]->start <= addr ? m->extra->ranges[lo] : NULL;
}

uint32_t extras_key(const struct mem *m, uint64_t addr)
{
	const StasisRange *r = range_at(m, addr);

	return r ? r->pkey : 0;
}

bool extras_on_fault(const struct mem *m, uint64_t addr)
{
	const StasisRange *r = range_at(m, addr);

	return r && r->on_fault;
}

/* Bits of the keys that the task has allocated when m is its final memory. */
static uint32_t keys_of(const struct mem *m)
{
	return m && m->extra ? m->extra->pkeys : 0;
}

int extras_check_keys(struct session *s, const struct task *t)
{
	struct cpu_facts cpu;

	if (!keys_of(t->mem))
		return 0;
	cpu_read(&cpu);
	if (cpu.words[WORD_PKU] >> BIT_OSPKE & 1)
		return 0;
	return fail(s, EOPNOTSUPP, "pid %d uses memory protection keys (pkey_alloc), which this CPU or kernel lacks: "
		    "restore on one that has them", task_vpid(t));
}

static uint32_t exec_key(const struct mem *m)
{
	return m && m->extra ? m->extra->exec_pkey : 0;
}

void extras_plan_keys(const struct mem *own, const struct mem *from, struct plan *p)
{
	uint32_t want = keys_of(own), had = keys_of(from), exec = exec_key(own), taken = exec_key(from);

	if (want == had && exec == taken)
		return;
	plan_origin(p->set, "memory: protection keys");
	for (uint32_t key = 1; key < PKEYS; key++)
		if (had >> key & 1)
			plan_sys(p, BLOB_ZERO, SYS_pkey_free, key);
	/* they come in order; the kernel's own one is inherited and stays */
	for (uint32_t key = 1; key < PKEYS && (want >> key || key <= exec); key++)
		if (key != taken)
			plan_sys(p, BLOB_EXPECT, SYS_pkey_alloc, 0, 0)->expect = key;
	/* the only one that is free below the last: the kernel will take it for execute-only memory */
	if (exec && exec != taken)
		plan_sys(p, BLOB_ZERO, SYS_pkey_free, exec);
}

void extras_plan_spare_keys(const struct mem *own, const struct mem *from, struct plan *p)
{
	uint32_t want = keys_of(own), exec = exec_key(own), taken = exec_key(from);

	if (want == keys_of(from) && exec == taken)
		return;
	plan_origin(p->set, "memory: protection keys that are free");
	for (uint32_t key = 1; key < PKEYS && (want >> key || key <= exec); key++)
		if (!(want >> key & 1) && key != exec && key != taken)
			plan_sys(p, BLOB_ZERO, SYS_pkey_free, key);
}

/* Names need CONFIG_ANON_VMA_NAME; without it all calls say EINVAL, with it nothing is to be done for no bytes. */
static bool can_name(struct session *s)
{
	static int can = -1;

	if (can < 0) {
		can = prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, 0, 0, NULL) == 0;
		if (!can)
			lost(s, "memory has names (PR_SET_VMA_ANON_NAME), which this kernel does not know: they are lost");
	}
	return can;
}

void extras_plan_name(const struct mem *own, const struct mem *from, uint64_t start, uint64_t end, struct plan *p)
{
	const StasisRange *want = range_at(own, start), *had = from ? range_at(from, start) : NULL;
	const char *name = want ? want->name : NULL, *old = had ? had->name : NULL;

	if ((!name && !old) || (name && old && !strcmp(name, old)) || !can_name(p->set->s))
		return;
	plan_sys(p, BLOB_ZERO, SYS_prctl, PR_SET_VMA, PR_SET_VMA_ANON_NAME, start, end - start,
		 name ? (uintptr_t)plan_put(p, name, strlen(name) + 1) : 0);
}

void extras_plan_policy(const struct mem *own, const struct mem *from, uint64_t start, uint64_t end, struct plan *p)
{
	const StasisRange *w = range_at(own, start), *h = from ? range_at(from, start) : NULL;
	const StasisPolicy *want = w ? w->policy : NULL, *had = h ? h->policy : NULL;
	struct policy_args a;

	if (policy_same(want, had))
		return;
	policy_unpack(want, &a);
	if (policy_usable(&a))
		plan_sys(p, BLOB_ZERO, SYS_mbind, start, end - start, a.mode,
			 a.max ? (uintptr_t)plan_put(p, a.nodes, sizeof(a.nodes)) : 0, a.max, 0);
	else
		lost(p->set->s, "memory at %#lx: its policy (mbind, mode %#x) is for NUMA nodes that this machine lacks: it "
		     "is lost", start,
			 a.mode);
}

void mem_plan_late(struct task *t, struct plan *p)
{
	const StasisMem *e = t->mem ? t->mem->extra : NULL;

	if (!e)
		return;
	plan_origin(p->set, "pid %d: memory, seals and locks", task_vpid(t));
	if (e->lock_all)
		plan_sys(p, BLOB_ZERO, SYS_mlockall, e->lock_all);
	for (size_t i = 0; i < e->n_ranges; i++)
		if (e->ranges[i]->sealed)
			plan_sys(p, BLOB_ZERO, SYS_mseal, e->ranges[i]->start, e->ranges[i]->end - e->ranges[i]->start, 0);
}
