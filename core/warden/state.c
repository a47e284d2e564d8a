/* SPDX-License-Identifier: MIT */
/*
 * What only the tracer can read of a stopped thread: registers, signal mask,
 * queued signals, restartable sequence.
 */
#include "inject.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#include "fault.h"

/* linux/ptrace.h, which does not get along with sys/ptrace.h */
#define PTRACE_SET_SUD_CONFIG 0x4210 /* system call user dispatch, Linux 6.4 */
#define PTRACE_GET_SUD_CONFIG 0x4211
#define SUD_INCLUSIVE 2 /* PR_SYS_DISPATCH_INCLUSIVE_ON, Linux 6.17 */
#define PTRACE_GET_FILTER 0x420c
#define PTRACE_GET_FILTER_METADATA 0x420d
#define NT_X86_SHSTK_NOTE 0x204

/* linux/rseq.h, struct rseq and struct rseq_cs */
#define RSEQ_CS_FIELD 8 /* offset of the pointer to the current critical section */
struct rseq_section {
	uint32_t version, flags;
	uint64_t start_ip, post_commit_offset, abort_ip;
};

static int rseq_config(pid_t tid, struct __ptrace_rseq_configuration *ret)
{
	memset(ret, 0, sizeof(*ret));
	return pt(PTRACE_GET_RSEQ_CONFIGURATION, tid, sizeof(*ret), (uintptr_t)ret);
}

uint64_t rseq_area(pid_t tid)
{
	struct __ptrace_rseq_configuration conf;

	return rseq_config(tid, &conf) == 0 ? conf.rseq_abi_pointer : 0;
}

void rseq_abort(struct server *sv, pid_t tgid, uint64_t area, struct user_regs_struct *gp)
{
	struct rseq_section cs;
	uint64_t cs_addr;

	if (!area || move_memory(sv, tgid, false, area + RSEQ_CS_FIELD, &cs_addr, sizeof(cs_addr)) || !cs_addr)
		return;
	if (move_memory(sv, tgid, false, cs_addr, &cs, sizeof(cs)))
		return;
	if (arch_ip(gp) - cs.start_ip < cs.post_commit_offset)
		gp->rip = cs.abort_ip;
}

/* Queued signals of one kind, appended. */
static int peek_signals(struct server *sv, pid_t tid, uint32_t flags, struct thread_state *st, uint32_t *ret_n)
{
	uint32_t room = ARRAY_SIZE(st->sig), at = st->nsig_private + st->nsig_shared;
	struct __ptrace_peeksiginfo_args args = { .flags = flags };

	for (;;) {
		siginfo_t buf[8];
		long n;

		args.nr = ARRAY_SIZE(buf);
		n = FAULTS("ptrace PEEKSIGINFO of %d", tid) ? -1 : ptrace(PTRACE_PEEKSIGINFO, tid, &args, buf);
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		if (at + n > room)
			return wd_fail(sv, -E2BIG, "tid %d has more than %u signals queued", tid, room);
		memcpy(&st->sig[at], buf, n * sizeof(buf[0]));
		at += n;
		args.off += n;
		*ret_n += n;
	}
}

/* Shapes that a frozen thread shows only to its tracer, and that images cannot carry. */
static int check_shape(struct server *sv, pid_t tid)
{
	static bool unknown; /* this kernel or CPU has none */
	uint64_t ssp;
	struct iovec iov = { &ssp, sizeof(ssp) };
	int err = unknown ? -EINVAL : pt(PTRACE_GETREGSET, tid, NT_X86_SHSTK_NOTE, (uintptr_t)&iov);

	unknown = err == -EINVAL;
	if (!err)
		return wd_fail(sv, -EOPNOTSUPP, "tid %d uses a shadow stack; start it with "
			       "GLIBC_TUNABLES=glibc.cpu.x86_shstk=off", tid);
	return 0;
}

bool dispatch_untold;

int dispatch_get(pid_t tid, struct syscall_dispatch *ret)
{
	int err;

	memset(ret, 0, sizeof(*ret));
	err = pt(PTRACE_GET_SUD_CONFIG, tid, sizeof(*ret), (uintptr_t)ret);
	if (err == -EIO || err == -EINVAL) {
		dispatch_untold = true;
		return 0; /* Linux before 6.4 */
	}
	/* the kernel keeps and shows an inclusive range as the exclusive one that wraps around, and does not take that back */
	if (!err && ret->mode && ret->len && ret->offset + ret->len <= ret->offset) {
		ret->mode = SUD_INCLUSIVE;
		ret->offset += ret->len;
		ret->len = -ret->len;
	}
	return err;
}

int dispatch_set(pid_t tid, const struct syscall_dispatch *d)
{
	return pt_sure(PTRACE_SET_SUD_CONFIG, tid, sizeof(*d), (uintptr_t)d);
}

static int read_filter(pid_t tid, uint64_t nth, struct seccomp_prog *ret)
{
	struct {
		uint64_t off, flags;
	} meta = { nth, 0 };
	long n = FAULTS("ptrace GET_FILTER of %d", tid) ? -1 : ptrace(PTRACE_GET_FILTER, tid, nth, NULL);

	ret->n = 0;
	if (n < 0)
		return errno == ENOENT ? 0 : -errno;
	if (n > SECCOMP_INSNS)
		return -E2BIG;
	n = ptrace(PTRACE_GET_FILTER, tid, nth, ret->insn);
	if (n < 0 || ptrace(PTRACE_GET_FILTER_METADATA, tid, sizeof(meta), &meta) < 0)
		return -errno;
	ret->n = n;
	ret->flags = meta.flags;
	return 0;
}

int wd_seccomp(struct server *sv, pid_t tid, uint64_t nth, struct seccomp_prog *ret)
{
	struct tracee *t = tracee_find(sv, tid);
	int err;

	if (!t || t->state != TR_HELD)
		return wd_fail(sv, -ESRCH, "tid %d is not part of the frozen tree", tid);
	err = read_filter(tid, nth, ret);
	if (err == -EACCES)
		return wd_fail(sv, err, "tid %d has seccomp filters, which only root (CAP_SYS_ADMIN outside of any container, "
			       "and without such filters of its own) may read", tid);
	return err ? wd_fail(sv, err, "tid %d: its seccomp filter %ju cannot be read: %s", tid, (uintmax_t)nth,
			     strerror(-err)) : 0;
}

/* Images have no room for restart_syscall: the number of the call itself takes its place. */
static void name_restarted_call(struct server *sv, pid_t tgid, struct user_regs_struct *gp)
{
	uint8_t code[48];
	size_t len = sizeof(code);
	long nr;

	if (!arch_in_restart(gp))
		return;
	if (move_memory(sv, tgid, false, arch_ip(gp) - len, code, len))
		len = 0;
	nr = arch_restarted_call(gp, code, len);
	if (nr)
		gp->orig_rax = nr;
}

static int read_state(struct server *sv, struct tracee *t, struct thread_state *ret)
{
	struct __ptrace_rseq_configuration conf;
	int err = arch_get_regs(t->tid, &ret->regs);

	if (err == -EOPNOTSUPP)
		return wd_fail(sv, err, "tid %d runs 32-bit code", t->tid);
	if (err)
		return err;
	if (rseq_config(t->tid, &conf) == 0 && conf.rseq_abi_pointer) {
		ret->rseq_ptr = conf.rseq_abi_pointer;
		ret->rseq_len = conf.rseq_abi_size;
		ret->rseq_sig = conf.signature;
	}
	rseq_abort(sv, t->tgid, ret->rseq_ptr, &ret->regs.gp);
	name_restarted_call(sv, t->tgid, &ret->regs.gp);
	err = pt(PTRACE_GETSIGMASK, t->tid, sizeof(ret->sigmask), (uintptr_t)&ret->sigmask);
	if (err)
		return err;
	err = dispatch_get(t->tid, &ret->dispatch);
	if (err)
		return err;
	ret->group_stop = t->stop_signo != 0;
	ret->stop_signo = t->stop_signo;
	err = peek_signals(sv, t->tid, 0, ret, &ret->nsig_private);
	if (!err)
		err = peek_signals(sv, t->tid, PTRACE_PEEKSIGINFO_SHARED, ret, &ret->nsig_shared);
	return err;
}

int wd_thread_state(struct server *sv, pid_t tid, struct thread_state *ret)
{
	struct tracee *t = tracee_find(sv, tid);
	int err;

	memset(ret, 0, offsetof(struct thread_state, sig));
	if (!t || t->state != TR_HELD)
		return wd_fail(sv, -ESRCH, "tid %d is not part of the frozen tree", tid);
	err = check_shape(sv, tid);
	if (!err)
		err = read_state(sv, t, ret);
	if (err == -ESRCH) {
		tracee_gone(sv, t);
		return wd_fail(sv, err, "tid %d was killed while it was frozen", tid);
	}
	return err ? wd_fail(sv, err, "tid %d: its registers or signals cannot be read: %s", tid, strerror(-err)) : 0;
}
