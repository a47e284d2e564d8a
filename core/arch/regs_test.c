/* SPDX-License-Identifier: MIT */
/* Tests of registers: by ptrace, restart convention, conversion to and from the image. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arch/x86_64/cpu.h"
#include "arch/x86_64/regs.h"
#include "arch/x86_64/xsave.h"
#include "core.pb-c.h"

/* A stopped child whose xmm7 holds 0x1122334455667788. */
static pid_t stopped_child(void)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		uint64_t v = 0x1122334455667788;

		ptrace(PTRACE_TRACEME, 0, 0, 0);
		__asm__ volatile("movq %0, %%xmm7\n\tmov %1, %%rdi\n\tmov %2, %%rsi\n\tmov %3, %%eax\n\tsyscall"
				 :
				 : "r"(v), "r"((uint64_t)getpid()), "i"(SIGSTOP), "i"(SYS_kill)
				 : "rax", "rdi", "rsi", "rcx", "r11", "xmm7", "memory");
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSTOPPED(status));
	return pid;
}

static void end_child(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* Encoded and decoded again, as through a file. */
static CoreEntry *through_image(const struct arch_regs *regs)
{
	CoreEntry core = CORE_ENTRY__INIT, *ret;
	uint8_t *data;
	size_t len;

	assert_int_equal(arch_regs_to_image(regs, 0x7000, &core), 0);
	len = core_entry__get_packed_size(&core);
	data = xcalloc(1, len);
	core_entry__pack(&core, data);
	thread_info_x86__free_unpacked(core.thread_info, NULL);
	ret = core_entry__unpack(NULL, len, data);
	free(data);
	assert_non_null(ret);
	return ret;
}

static void test_round_trip(void **state)
{
	struct arch_regs *a = xcalloc(1, sizeof(*a)), *b = xcalloc(1, sizeof(*b));
	pid_t pid = stopped_child();
	CoreEntry *core;
	uint64_t tid_addr = 0, xmm;

	assert_int_equal(arch_get_regs(pid, a), 0);
	memcpy(&xmm, a->xsave + 160 + 7 * 16, sizeof(xmm));
	assert_int_equal(xmm, 0x1122334455667788);
	core = through_image(a);
	assert_int_equal(core->thread_info->n_tls, 3);
	assert_int_equal(arch_regs_from_image(core, b, &tid_addr), 0);
	assert_int_equal(tid_addr, 0x7000);
	assert_memory_equal(&a->gp, &b->gp, sizeof(a->gp));
	assert_memory_equal(a->xsave, b->xsave, 416); /* up to what the kernel leaves to others */
	memcpy(&xmm, a->xsave + XSAVE_LEGACY, sizeof(xmm));
	assert_memory_equal(b->xsave + XSAVE_LEGACY, &xmm, sizeof(xmm));
	assert_memory_equal(a->xsave + 576, b->xsave + 576, b->xsave_len - 576);
	/* the kernel takes it, and shows the same again */
	assert_int_equal(arch_set_regs(pid, b), 0);
	assert_int_equal(arch_get_regs(pid, b), 0);
	assert_int_equal(a->xsave_len, b->xsave_len);
	assert_memory_equal(a->xsave, b->xsave, a->xsave_len);
	core_entry__free_unpacked(core, NULL);
	end_child(pid);
	assert_int_equal(arch_get_regs(pid, b), -ESRCH);
	free(a);
	free(b);
}

static void test_hostile_image(void **state)
{
	struct arch_regs *a = xcalloc(1, sizeof(*a)), *b = xcalloc(1, sizeof(*b));
	pid_t pid = stopped_child();
	ThreadInfoX86 *ti;
	CoreEntry *core;
	uint64_t tid_addr;

	assert_int_equal(arch_get_regs(pid, a), 0);
	core = through_image(a);
	ti = core->thread_info;
#define REFUSED(lvalue, value, err) \
	do { \
		__typeof__(lvalue) old_ = lvalue; \
		lvalue = value; \
		assert_int_equal(arch_regs_from_image(core, b, &tid_addr), err); \
		lvalue = old_; \
	} while (0)
	REFUSED(core->thread_info, NULL, -EINVAL);
	REFUSED(core->mtype, CORE_ENTRY__MARCH__AARCH64, -EINVAL);
	REFUSED(ti->gpregs->cs, 0x10, -EINVAL);
	REFUSED(ti->gpregs->fs_base, 0xffff888000000000, -EINVAL);
	REFUSED(ti->gpregs->mode, USER_X86_REGS_MODE__COMPAT, -EOPNOTSUPP);
	REFUSED(ti->fpregs->n_st_space, 31, -EINVAL);
	REFUSED(ti->fpregs->n_xmm_space, 0, -EINVAL);
	REFUSED(ti->fpregs->mxcsr, 0xffffffff, -EINVAL);
	REFUSED(ti->fpregs->cwd, 0x10000, -EINVAL);
	REFUSED(ti->tls[1]->entry_number, 99, -EINVAL);
	if (ti->fpregs->xsave) {
		UserX86XsaveEntry *x = ti->fpregs->xsave;

		REFUSED(x->xstate_bv, 1ull << 60, -EINVAL);
		REFUSED(x->n_ymmh_space, x->n_ymmh_space + 1, -EINVAL);
		x->xstate_bv |= 1 << XC_AVX;
		REFUSED(x->n_ymmh_space, 0, -EINVAL);
	}
	assert_int_equal(arch_regs_from_image(core, b, &tid_addr), 0);
	core_entry__free_unpacked(core, NULL);
	end_child(pid);
	free(a);
	free(b);
}

/* A component that no kernel of today switches on: what it holds counts, not that it is there. */
static void test_missing_component(void **state)
{
	struct arch_regs *a = xcalloc(1, sizeof(*a)), *b = xcalloc(1, sizeof(*b));
	const uint64_t bit = 1 << XC_BNDREGS;
	pid_t pid = stopped_child();
	UserX86XsaveEntry *x;
	uint64_t tid_addr, used;
	CoreEntry *core;
	char names[64];

	assert_int_equal(arch_get_regs(pid, a), 0);
	end_child(pid);
	core = through_image(a);
	x = core->thread_info->fpregs->xsave;
	if (!x || cpu_xfeatures() & bit)
		skip();
	x->n_bndreg_state = 8;
	x->bndreg_state = xcalloc(8, sizeof(*x->bndreg_state));
	x->xstate_bv |= bit;
	assert_int_equal(arch_regs_missing(core), 0);
	assert_int_equal(arch_regs_from_image(core, b, &tid_addr), 0);
	memcpy(&used, b->xsave + XSAVE_LEGACY, sizeof(used));
	assert_int_equal(used & bit, 0);
	x->bndreg_state[7] = 1;
	assert_int_equal(arch_regs_missing(core), bit);
	assert_string_equal(cpu_component_names(bit, names, sizeof(names)), "MPX bounds");
	assert_int_equal(arch_regs_from_image(core, b, &tid_addr), -EINVAL);
	arch_regs_drop(core, bit);
	assert_int_equal(arch_regs_missing(core), 0);
	assert_int_equal(arch_regs_from_image(core, b, &tid_addr), 0);
	core_entry__free_unpacked(core, NULL);
	free(a);
	free(b);
}

static void test_restart(void **state)
{
	struct user_regs_struct gp = { .rip = 0x1000, .rax = -513, .orig_rax = SYS_read, .rdi = 3 }, old;

	arch_rewrite_restart(&gp);
	assert_int_equal(gp.rax, SYS_read);
	assert_int_equal(gp.rip, 0xffe);
	old = gp;
	arch_rewrite_restart(&gp); /* once is enough */
	assert_memory_equal(&gp, &old, sizeof(gp));

	gp = (struct user_regs_struct){ .rip = 0x1000, .rax = -513, .orig_rax = -1ul }; /* not in a call */
	old = gp;
	arch_rewrite_restart(&gp);
	assert_memory_equal(&gp, &old, sizeof(gp));

	gp = (struct user_regs_struct){ .rip = 0x1000, .rax = -516, .orig_rax = SYS_nanosleep, .rdi = 1, .rsi = 2 };
	arch_rewrite_restart(&gp);
	assert_int_equal(gp.rdi, 2);
	gp = (struct user_regs_struct){ .rip = 0x1000, .rax = -516, .orig_rax = SYS_clock_nanosleep, .rdx = 5, .r10 = 6 };
	arch_rewrite_restart(&gp);
	assert_int_equal(gp.rdx, 6);
	assert_int_equal(gp.rip, 0xffe);
	gp = (struct user_regs_struct){ .rip = 0x1000, .rax = -516, .orig_rax = SYS_restart_syscall };
	assert_true(arch_in_restart(&gp));
	arch_rewrite_restart(&gp);
	assert_int_equal(gp.rax, -EINTR);
	assert_int_equal(gp.rip, 0x1000);
}

static void test_restarted_call(void **state)
{
	static const uint8_t mov_eax[] = { 0x90, 0xb8, 0xe6, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05 };
	static const uint8_t mov_rax[] = { 0x48, 0xc7, 0xc0, 0xca, 0, 0, 0, 0x0f, 0x05 };
	struct user_regs_struct gp = { .rdi = 0x7f0000001000, .rsi = 0x7f0000002000 };

	assert_int_equal(arch_restarted_call(&gp, mov_eax, sizeof(mov_eax)), SYS_clock_nanosleep);
	assert_int_equal(arch_restarted_call(&gp, mov_rax, sizeof(mov_rax)), SYS_futex);
	assert_int_equal(arch_restarted_call(&gp, NULL, 0), SYS_nanosleep);
	assert_int_equal(arch_find_syscall(mov_rax, sizeof(mov_rax)), 7);
	assert_int_equal(arch_find_syscall(mov_rax, 8), -ENOENT);
}

static void test_endless(void **state)
{
	struct user_regs_struct gp = { .rax = -EINTR, .orig_rax = SYS_epoll_wait, .r10 = -1ul };

	assert_true(arch_restart_endless(&gp));
	assert_int_equal(gp.rax, -514);
	gp.rax = -EINTR;
	gp.r10 = 1000;
	assert_false(arch_restart_endless(&gp));
	gp.orig_rax = -1ul;
	assert_false(arch_restart_endless(&gp));
}

static void test_eintr(void **state)
{
	struct user_regs_struct gp = { .rip = 0x1000, .rax = -EINTR, .orig_rax = SYS_epoll_wait, .r10 = 1000 };

	arch_rewrite_restart(&gp);
	assert_int_equal(gp.rip, 0xffe);
	assert_int_equal(gp.rax, SYS_epoll_wait);
	gp = (struct user_regs_struct){ .rip = 0x1000, .rax = -EINTR, .orig_rax = SYS_close };
	arch_rewrite_restart(&gp);
	assert_int_equal(gp.rip, 0x1000);
}

/* A handler is about to run. */
static void test_interrupt(void **state)
{
	static const struct {
		long rax;
		bool sa_restart, again;
	} cases[] = {
		{ -512, false, false }, { -512, true, true },	{ -513, false, true },	{ -513, true, true },
		{ -514, false, false }, { -514, true, false }, { -516, false, false }, { -516, true, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct user_regs_struct gp = { .rip = 0x1000, .rax = cases[i].rax, .orig_rax = SYS_read };

		arch_interrupt_call(&gp, cases[i].sa_restart);
		assert_int_equal(gp.rip, cases[i].again ? 0xffe : 0x1000);
		assert_int_equal(gp.rax, cases[i].again ? SYS_read : -EINTR);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),   cmocka_unit_test(test_hostile_image),
		cmocka_unit_test(test_restart),	     cmocka_unit_test(test_restarted_call),
		cmocka_unit_test(test_endless),	     cmocka_unit_test(test_eintr),
		cmocka_unit_test(test_interrupt),    cmocka_unit_test(test_missing_component),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
