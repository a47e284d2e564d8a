/* SPDX-License-Identifier: MIT */
/*
 * plan_test.c: memory of a small tree, from images written by hand to tasks parked
 * with that memory, looked at from outside.  The tree: a root; a child that shares
 * most pages with it; a grandchild as after an exec, with another executable.
 */
#include <linux/futex.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "testlib.h"

/* ---- looking at a parked task ---- */

/* Through /proc/PID/mem: process_vm_readv(2) pins pages, which unshares those that are copy-on-write. */
static ssize_t try_read_page(pid_t pid, uint64_t addr, uint64_t *page)
{
	char path[64];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = pread(fd, page, PAGE_BYTES, (off_t)addr);
	close(fd);
	return n;
}

static void read_page(pid_t pid, uint64_t addr, uint64_t *page)
{
	assert_int_equal(try_read_page(pid, addr, page), PAGE_BYTES);
}

static void expect_page(pid_t pid, uint64_t addr, uint64_t key, uint64_t seed)
{
	uint64_t have[PAGE_BYTES / 8], want[PAGE_BYTES / 8];

	read_page(pid, addr, have);
	page_content(key, seed, want);
	assert_memory_equal(have, want, PAGE_BYTES);
}

static void expect_stored(pid_t pid, const struct stored *runs, size_t n)
{
	for (size_t i = 0; i < n; i++)
		for (uint64_t k = 0; k < runs[i].n; k++)
			expect_page(pid, runs[i].addr + k * PAGE_BYTES, runs[i].addr + k * PAGE_BYTES, runs[i].seed);
}

static void expect_zero(pid_t pid, uint64_t addr)
{
	static const uint64_t zero[PAGE_BYTES / 8];
	uint64_t have[PAGE_BYTES / 8];

	read_page(pid, addr, have);
	assert_memory_equal(have, zero, PAGE_BYTES);
}

static uint64_t pagemap_word(pid_t pid, uint64_t addr)
{
	char path[64];
	uint64_t word = 0;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(pread(fd, &word, 8, (off_t)(addr / PAGE_BYTES * 8)), 8);
	close(fd);
	return word;
}

static uint64_t frame(pid_t pid, uint64_t addr)
{
	return pagemap_word(pid, addr) & ((1ull << 55) - 1);
}

static bool present(pid_t pid, uint64_t addr)
{
	return pagemap_word(pid, addr) >> 63;
}

static const struct proc_vma *vma_of(const vma_list *l, uint64_t start)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->v[i].start == start)
			return &l->v[i];
	return NULL;
}

/* Exactly these mappings, the arena and the kernel's. */
static void expect_maps(struct world *w, pid_t pid, const struct want *maps, size_t n, uint64_t vdso_at)
{
	vma_list l = { 0 };
	size_t others = 0;

	assert_int_equal(proc_read_smaps(pid, &l), 0);
	for (size_t i = 0; i < n; i++) {
		const struct proc_vma *v = vma_of(&l, maps[i].start);

		if (maps[i].status & VMA_GUARD)
			continue;
		others++;
		if (!v || v->end != maps[i].start + maps[i].pages * PAGE_BYTES)
			print_message("pid %d: mapping %lx-%lx, have end %lx\n", pid, maps[i].start,
				      maps[i].start + maps[i].pages * PAGE_BYTES, v ? v->end : 0);
		assert_non_null(v);
		assert_int_equal(v->end, maps[i].start + maps[i].pages * PAGE_BYTES);
		assert_int_equal(v->prot, maps[i].prot);
		assert_int_equal(v->flags & (MAP_SHARED | MAP_PRIVATE), maps[i].flags & (MAP_SHARED | MAP_PRIVATE));
		assert_int_equal(!!(v->vmflags & VMF(GD)), !!(maps[i].flags & MAP_GROWSDOWN));
		assert_int_equal(!!(v->vmflags & VMF(NR)), !!(maps[i].flags & MAP_NORESERVE));
		assert_int_equal(!!(v->vmflags & VMF(LO)), !!(maps[i].flags & MAP_LOCKED));
		assert_int_equal(!!(v->vmflags & VMF(DC)), !!(maps[i].madv & 1 << MADV_DONTFORK));
		assert_int_equal(!!(v->vmflags & VMF(WF)), !!(maps[i].madv & 1 << MADV_WIPEONFORK));
		assert_int_equal(!!(v->vmflags & VMF(DD)), !!(maps[i].madv & 1 << MADV_DONTDUMP));
		if (maps[i].id == ID_FILE)
			assert_string_equal(v->path, w->file);
		if (maps[i].status & VMA_ANON_SHARED)
			assert_string_equal(v->path, "/dev/zero (deleted)");
		if (maps[i].flags & MAP_GROWSDOWN)
			assert_string_equal(v->path, "[stack]");
		if (!(maps[i].status & VMA_ANON_PRIVATE))
			assert_int_equal(v->pgoff, maps[i].pgoff);
	}
	for (size_t i = 0; i < l.n; i++) {
		const struct proc_vma *v = &l.v[i];

		if (v->start >= w->arena.base && v->end <= w->arena.base + w->arena.size)
			continue;
		if (strcmp(v->path, "[vsyscall]") == 0)
			continue;
		if (vdso_at && v->start >= vdso_at && v->end <= vdso_at + (w->self.at.end - w->self.at.start)) {
			assert_int_equal(v->path[0], '[');
			continue;
		}
		others--;
	}
	assert_int_equal(others, 0);
	proc_vmas_free(&l);
	if (vdso_at) {
		uint64_t have[PAGE_BYTES / 8];

		read_page(pid, vdso_at + (w->self.at.code - w->self.at.start), have);
		assert_memory_equal(have, (void *)w->self.at.code, PAGE_BYTES);
	}
}

static void expect_exe(pid_t pid, const char *want)
{
	char path[64], *have = NULL, *real = realpath(want, NULL);
	struct proc_stat st;

	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	assert_int_equal(readlink_alloc(AT_FDCWD, path, &have), 0);
	assert_string_equal(have, real);
	free(have);
	free(real);
	assert_int_equal(proc_read_stat(pid, 0, &st), 0);
	assert_int_equal(st.start_code, P(0));
	assert_int_equal(st.arg_start, STACK_END - 512);
	assert_int_equal(st.env_end, STACK_END - 8);
}

/* ---- running ---- */

static void start_plans(struct world *w)
{
	uint64_t base, size = 256ull << 20;

	assert_int_equal(mem_pick_arena(w->s, &base, &size), 0);
	assert_int_equal(arena_new(w->s, base, size, &w->arena), 0);
	w->ps = plan_set_new(w->s, &w->arena);
}

static pid_t run(struct world *w, struct plan *root, size_t threads)
{
	struct clone_args ca = { .exit_signal = SIGCHLD, .stack = root->thread->stack, .stack_size = BLOB_STACK };
	struct blob_shared *sh = w->arena.shared;
	struct timespec ts = { .tv_nsec = 20000000 };
	char text[512];
	long pid;

	assert_int_equal(plan_link(w->ps), 0);
	if (getenv("VERBOSE"))
		plan_print(w->ps, stderr);
	pid = arch_clone3_enter(&ca, sizeof(ca), (blob_entry_t)w->arena.code, root->thread);
	assert_true(pid > 0);
	for (int i = 0; i < 500 && sh->parked < threads && !sh->abort; i++) {
		uint32_t event = __atomic_load_n(&sh->event, __ATOMIC_SEQ_CST);

		mem_fill_asked(w->s);
		syscall(SYS_futex, &sh->event, FUTEX_WAIT, event, &ts, NULL, 0);
	}
	if (sh->abort) {
		plan_explain_failure(w->ps, text, sizeof(text));
		print_error("%s\n", text);
	}
	assert_int_equal(sh->abort, 0);
	assert_int_equal(sh->parked, threads);
	return (pid_t)pid;
}

static const struct want root_maps[] = {
	{ P(0), 4, 0, RX, MAP_PRIVATE, VMA_REGULAR | VMA_FILE_PRIVATE, ID_FILE, 0 },
	{ P(4), 2, 4 * PAGE_BYTES, RO, MAP_PRIVATE, VMA_REGULAR | VMA_FILE_PRIVATE, ID_FILE, 0 },
	{ P(10), 64, 0, RW, PRIV_ANON, ANON, 0, 0 },
	{ P(200), 16, 0, PROT_NONE, PRIV_ANON | MAP_NORESERVE, ANON, 0, 0 },
	{ P(250), 8, 0, RW, MAP_SHARED | MAP_ANONYMOUS, VMA_REGULAR | VMA_ANON_SHARED, 77, 0 },
	{ P(260), 4, 4 * PAGE_BYTES, RO, MAP_SHARED | MAP_ANONYMOUS, VMA_REGULAR | VMA_ANON_SHARED, 77, 0 },
	{ P(270), 4, 2 * PAGE_BYTES, RW, MAP_SHARED, VMA_REGULAR | VMA_FILE_SHARED, ID_FILE, 0 },
	{ P(280), 4, 0, RW, PRIV_ANON, ANON, 0, 1 << MADV_DONTFORK },
	{ P(290), 4, 0, RW, PRIV_ANON, ANON, 0, 1 << MADV_WIPEONFORK },
	{ P(300), 4, 0, RW, PRIV_ANON, ANON, 0, 1 << MADV_DONTDUMP },
	{ P(310), 4, 0, RO, PRIV_ANON, ANON, 0, 0 },
	{ P(320), 4, 0, RW, PRIV_ANON | MAP_LOCKED, ANON, 0, 0 },
	{ P(330), 8, 0, RW, PRIV_ANON, ANON, 0, 0 },
	{ P(332), 2, 0, PROT_NONE, PRIV_ANON, VMA_GUARD, 0, 0 },
	{ P(400), 1200, 0, RW, PRIV_ANON, ANON, 0, 1 << MADV_HUGEPAGE },
	{ STACK_END - 33 * PAGE_BYTES, 33, 0, RW, PRIV_ANON | MAP_GROWSDOWN, ANON, 0, 0 },
};
static const struct stored root_pages[] = {
	{ P(5), 1, 1 }, { P(11), 10, 1 }, { P(30), 10, 1 }, { P(280), 4, 1 }, { P(290), 2, 1 }, { P(311), 2, 1 },
	{ P(320), 1, 1 }, { P(330), 2, 1 }, { P(336), 2, 1 }, { P(400), 1200, 1 }, { STACK_END - 8 * PAGE_BYTES, 8, 1 },
};
/* heap larger, stack larger, one page of the file mapping equal, one mapping gone, others changed */
static const struct want child_maps[] = {
	{ P(0), 4, 0, RX, MAP_PRIVATE, VMA_REGULAR | VMA_FILE_PRIVATE, ID_FILE, 0 },
	{ P(4), 2, 4 * PAGE_BYTES, RO, MAP_PRIVATE, VMA_REGULAR | VMA_FILE_PRIVATE, ID_FILE, 0 },
	{ P(10), 80, 0, RW, PRIV_ANON, ANON, 0, 0 },
	{ P(250), 8, 0, RW, MAP_SHARED | MAP_ANONYMOUS, VMA_REGULAR | VMA_ANON_SHARED, 77, 0 },
	{ P(270), 4, 2 * PAGE_BYTES, RW, MAP_SHARED, VMA_REGULAR | VMA_FILE_SHARED, ID_FILE, 0 },
	{ P(290), 4, 0, RW, PRIV_ANON, ANON, 0, 1 << MADV_WIPEONFORK },
	{ P(300), 2, 0, RW, PRIV_ANON, ANON, 0, 1 << MADV_DONTDUMP },
	{ P(302), 2, 0, RW, PRIV_ANON, ANON, 0, 0 },
	{ P(310), 4, 0, RO, PRIV_ANON, ANON, 0, 0 },
	{ P(320), 4, 0, RW, PRIV_ANON, ANON, 0, 0 },
	{ P(330), 8, 0, RW, PRIV_ANON, ANON, 0, 0 },
	{ P(400), 600, 0, RO, PRIV_ANON, ANON, 0, 1 << MADV_HUGEPAGE },
	{ P(1000), 600, 0, RW, PRIV_ANON, ANON, 0, 1 << MADV_HUGEPAGE },
	{ STACK_END - 35 * PAGE_BYTES, 35, 0, RW, PRIV_ANON | MAP_GROWSDOWN, ANON, 0, 0 },
};
static const struct stored child_pages[] = {
	{ P(5), 1, 1 },			       /* equal */
	{ P(11), 2, 1 },  { P(13), 1, 2 },     /* equal, differing */
	{ P(14), 4, 1 },		       /* equal; 18..20 are gone */
	{ P(30), 10, 1 }, { P(40), 1, 2 },     /* equal, additional */
	{ P(80), 3, 2 },		       /* where it has grown */
	{ P(290), 1, 2 }, { P(311), 1, 1 }, { P(312), 1, 2 }, { P(320), 1, 1 },
	{ P(330), 3, 1 }, { P(336), 2, 1 },    /* one where the parent has a guard */
	{ P(400), 1100, 1 },		       /* equal; the last 100 are gone */
	{ STACK_END - 8 * PAGE_BYTES, 8, 2 },
};
static const struct want other_maps[] = {
	{ P(10), 8, 0, RW, PRIV_ANON, ANON, 0, 0 },
	{ P(2000), 3, 0, RX, MAP_PRIVATE, VMA_REGULAR | VMA_FILE_PRIVATE, ID_EXE2, 0 },
	{ STACK_END - 33 * PAGE_BYTES, 33, 0, RW, PRIV_ANON | MAP_GROWSDOWN, ANON, 0, 0 },
};
static const struct stored other_pages[] = { { P(12), 2, 5 }, { STACK_END - 2 * PAGE_BYTES, 2, 5 } };

#define VDSO_AT P(5000)
#define VDSO_OTHER P(5002) /* overlaps the first place */

/* Loads, plans and runs them until all are parked. Returns the pid of the first. */
static pid_t restore_chain(struct world *w, struct member *m, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		m[i].task = add_task(w->s, m[i].vpid, i ? m[i - 1].task : NULL);
		assert_int_equal(mem_load(w->s, m[i].task), 0);
	}
	start_plans(w);
	assert_int_equal(mem_open(w->s), 0);
	for (size_t i = 0; i < n; i++)
		m[i].plan = plan_new(w->ps, "pid %d", m[i].vpid);
	for (size_t i = 0; i < n; i++) {
		/* a test that fails leaves nobody behind */
		plan_sys(m[i].plan, BLOB_ZERO, SYS_prctl, PR_SET_PDEATHSIG, SIGKILL);
		assert_int_equal(mem_plan(w->s, m[i].task, m[i].plan), 0);
		if (i + 1 < n) {
			plan_fork(m[i].plan, m[i + 1].plan, 0, SIGCHLD, NULL, 0);
			m[i].plan->ops.v[m[i].plan->ops.n - 1].slot = 15;
		}
		plan_op(m[i].plan, BLOB_PARK, 0, 0, 0);
	}
	return run(w, m[0].plan, n);
}

static void end_chain(struct world *w, struct member *m, size_t n, pid_t first)
{
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	for (size_t i = 0; i < n; i++) {
		pid_t next = (pid_t)m[i].plan->thread->slots[15];

		assert_int_equal(kill(first, SIGKILL), 0);
		assert_int_equal(waitpid(first, NULL, 0), first);
		first = next;
	}
}

static void expect_member(struct world *w, const struct member *m, pid_t pid, const char *exe)
{
	expect_maps(w, pid, m->maps, m->nmaps, m->vdso_at);
	expect_stored(pid, m->pages, m->npages);
	expect_exe(pid, exe);
}

static void expect_shared(pid_t pid)
{
	for (uint64_t k = 0; k < 8; k++) {
		if (k < 6)
			expect_page(pid, P(250 + k), k, 77);
		else
			expect_zero(pid, P(250 + k));
	}
	for (uint64_t k = 0; k < 4; k++)
		expect_page(pid, P(270 + k), 2 + k, 999);
}

static void expect_root(pid_t pid)
{
	expect_shared(pid);
	expect_page(pid, P(260), 4, 77);
	expect_page(pid, P(0), 0, 999);
	expect_page(pid, P(4), 4, 999);
	assert_false(present(pid, P(10)));
	assert_false(present(pid, P(29)));
	assert_int_equal(frame(pid, P(254)), frame(pid, P(260)));
}

static void expect_child(struct world *w, pid_t root, pid_t child)
{
	expect_shared(child);
	expect_page(child, P(0), 0, 999);
	assert_int_equal(frame(root, P(5)), frame(child, P(5)));
	for (uint64_t k = 11; k < 18; k++) {
		if (k == 13)
			assert_int_not_equal(frame(root, P(k)), frame(child, P(k)));
		else
			assert_int_equal(frame(root, P(k)), frame(child, P(k)));
	}
	for (uint64_t k = 18; k < 21; k++) {
		assert_false(present(child, P(k)));
		expect_zero(child, P(k));
	}
	expect_zero(child, P(291));
	expect_zero(child, P(300));
	for (uint64_t k = 400; k < 1500; k++)
		assert_int_equal(frame(root, P(k)), frame(child, P(k)));
	assert_false(present(child, P(1500)));
	assert_int_equal(frame(root, P(336)), frame(child, P(336)));
	assert_true(w->s->stats.pages_skipped_cow >= 1100);
	assert_true(w->s->stats.pages_compared < 1200);
}

static void test_tree(void **state)
{
	struct world *w = *state;
	struct member m[] = {
		MEMBER(1, ID_EXE, root, VDSO_AT),
		MEMBER(2, ID_EXE, child, VDSO_AT),
		MEMBER(3, ID_EXE2, other, VDSO_OTHER),
	};
	pid_t pid[3];

	if (geteuid() != 0)
		skip();
	write_chain(w, m, 3);
	pid[0] = restore_chain(w, m, 3);
	pid[1] = (pid_t)m[0].plan->thread->slots[15];
	pid[2] = (pid_t)m[1].plan->thread->slots[15];
	expect_member(w, &m[0], pid[0], "/bin/true");
	expect_member(w, &m[1], pid[1], "/bin/true");
	expect_member(w, &m[2], pid[2], "/bin/false");
	expect_root(pid[0]);
	expect_child(w, pid[0], pid[1]);
	end_chain(w, m, 3, pid[0]);
}

/* A page of a guard region cannot be read. */
static void test_guards(void **state)
{
	struct world *w = *state;
	struct member m[] = { MEMBER(1, ID_EXE, root, 0), MEMBER(2, ID_EXE, child, 0) };
	uint64_t page[PAGE_BYTES / 8];
	pid_t pid, child;

	if (geteuid() != 0)
		skip();
	write_chain(w, m, 2);
	pid = restore_chain(w, m, 2);
	child = (pid_t)m[0].plan->thread->slots[15];
	assert_int_equal(try_read_page(pid, P(332), page), -1);
	expect_page(child, P(332), P(332), 1);
	expect_zero(child, P(333));
	/* no vDSO in the images: none in the tasks */
	expect_maps(w, pid, root_maps, ARRAY_SIZE(root_maps), 0);
	expect_maps(w, child, child_maps, ARRAY_SIZE(child_maps), 0);
	end_chain(w, m, 2, pid);
}

/* The address found is a system call instruction in the task. */
static void test_syscall_ip(void **state)
{
	struct world *w = *state;
	struct member m[] = { MEMBER(1, ID_EXE, other, VDSO_AT) };
	uint64_t ip, page[PAGE_BYTES / 8];
	uint8_t *code = (uint8_t *)page;
	pid_t pid;

	if (geteuid() != 0)
		skip();
	write_chain(w, m, 1);
	pid = restore_chain(w, m, 1);
	assert_int_equal(mem_syscall_ip(w->s, m[0].task, &ip), 0);
	assert_in_range(ip, VDSO_AT, VDSO_AT + 0x10000);
	read_page(pid, PAGE_DOWN(ip), page);
	assert_int_equal(code[ip % PAGE_BYTES], 0x0f);
	assert_int_equal(code[ip % PAGE_BYTES + 1], 0x05);
	end_chain(w, m, 1, pid);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_tree), T(test_guards), T(test_syscall_ip),
	};

	log_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
