/* SPDX-License-Identifier: MIT */
/*
 * Whole lists of system calls by code of ours in a frozen process (arch/x86_64/errand.h).
 *
 * The code lies in the last bytes of the vDSO, which belong to no segment of it; every process has the vDSO that W has
 * itself, so that W knows what lay there.  The page is the process's own from then on, with the very bytes that it had.
 *
 * At each stop the thread waits for W to tell it where to go on; what it does when nobody is there any more leads back to
 * what it was doing.  From the moment in which its registers become ours to the moment in which they become its own again
 * everything that W has changed about the thread is in that code's reach: signal mask, affinity, room, dispatch.
 */
#include <errno.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "arch/x86_64/errand.h"
#include "fault.h"
#include "inject.h"

#define ROOM_BYTES 32768ul
#define LIST_BYTES (ROOM_BYTES - WARDEN_SCRATCH) /* the list, then the scratch area */
#define LIST_CALLS (LIST_BYTES / sizeof(struct errand_call) - 1)

/* ---- where the code lies ---- */

/* The vDSO of this kernel. */
struct own_vdso {
	const uint8_t *p;
	size_t len; /* of the mapping, 0: none */
	size_t free; /* offset of the bytes in its last page that belong to no segment; a list may lie there */
	size_t code; /* offset of the place for the code, 0: there is none */
};

static size_t code_bytes(void)
{
	return arch_errand_size + sizeof(struct errand_data);
}

static const struct own_vdso *own_vdso(void)
{
	static struct own_vdso v;
	const ElfW(Ehdr) *e = (const void *)getauxval(AT_SYSINFO_EHDR);
	const ElfW(Phdr) *ph;
	size_t end = 0;

	if (v.p || !e)
		return &v;
	v.p = (const uint8_t *)e;
	ph = (const void *)(v.p + e->e_phoff);
	for (int i = 0; i < e->e_phnum; i++)
		if (ph[i].p_type == PT_LOAD)
			end = MAX_OF(end, ph[i].p_vaddr + ph[i].p_memsz);
	v.len = PAGE_UP(MAX_OF(end, e->e_shoff + (size_t)e->e_shnum * e->e_shentsize));
	v.free = MAX_OF((end + 7) & ~7ul, v.len - PAGE_BYTES);
	if (v.len - end >= code_bytes() + 8)
		v.code = (v.len - code_bytes()) & ~7ul;
	return &v;
}

/* Nobody is on his way back from an errand of a warden that was killed? */
static int nobody_inside(struct server *sv, pid_t tgid, uint64_t start, uint64_t end)
{
	struct user_regs_struct gp;

	FOR_EACH_TRACEE(t, sv)
		if (t->tgid == tgid && t->state == TR_HELD && arch_get_gp(t->tid, &gp) == 0 && arch_ip(&gp) >= start &&
		    arch_ip(&gp) < end)
			return wd_fail(sv, -EAGAIN, "tid %d is still busy with what a killed warden had it do; try again",
				       t->tid);
	return 0;
}

/* Where the kernel has put the vDSO of a process when it began its program, 0: not known. */
static uint64_t first_vdso(pid_t tgid)
{
	uint64_t at = 0;
	u64_list v = { 0 };

	if (proc_read_auxv(tgid, &v) == 0)
		for (size_t i = 0; i + 1 < v.n && !at; i += 2)
			if (v.v[i] == AT_SYSINFO_EHDR)
				at = v.v[i + 1];
	vec_free(&v);
	return at;
}

/* The vDSO is at that address? there: own->len bytes, what lies there. */
static bool is_vdso(struct server *sv, pid_t tgid, uint64_t at, uint8_t *there)
{
	const struct own_vdso *own = own_vdso();

	return at && !(at & (PAGE_BYTES - 1)) && move_memory(sv, tgid, false, at, there, own->len) == 0 &&
	       memcmp(there, own->p, own->free) == 0;
}

/* Finds the place in the process. 0, -EOPNOTSUPP: there is none. */
static int find_place(struct server *sv, pid_t tgid)
{
	const struct own_vdso *own = own_vdso();
	struct space *sp = space_of(sv, tgid);
	_cleanup_free_ uint8_t *there = NULL;
	uint64_t at;
	int err;

	if (sp->no_errand || !own->code)
		return -EOPNOTSUPP;
	if (sp->code)
		return 0;
	there = xcalloc(1, own->len);
	at = first_vdso(tgid);
	if (!is_vdso(sv, tgid, at, there)) {
		/* it has been moved, as in every restored process */
		err = know_space(sv, tgid);
		if (err)
			return err;
		at = sp->vdso.end - sp->vdso.start == own->len ? sp->vdso.start : 0;
		sp->no_errand = !is_vdso(sv, tgid, at, there);
	}
	if (sp->no_errand)
		return -EOPNOTSUPP;
	if (memcmp(there + own->free, own->p + own->free, own->len - own->free)) {
		err = nobody_inside(sv, tgid, at + own->code, at + own->len);
		if (err)
			return err;
		sp->changed = true; /* put right in the end */
	}
	sp->code = at + own->code;
	return 0;
}

void errand_forget(struct server *sv)
{
	const struct own_vdso *own = own_vdso();
	struct space *sp = &sv->space;

	if (!sp->changed || !sp->code)
		return;
	/* again after a failure: it must not stay */
	for (int i = 0; i < 3 && sp->changed; i++)
		sp->changed = move_memory(sv, sp->tgid, true, sp->code - own->code + own->free, (void *)(own->p + own->free),
					  own->len - own->free);
}

/* ---- beginning ---- */

/* A signal that means nothing to the process, should W die: best one that is ignored, and that it does not wait for. */
static int choose_signal(const struct window *w)
{
	static const int harmless[] = { SIGURG, SIGWINCH, SIGCHLD };
	uint64_t avoid[] = { w->caught | w->sigmask, w->caught };

	for (size_t i = 0; i < ARRAY_SIZE(avoid); i++)
		for (size_t k = 0; k < ARRAY_SIZE(harmless); k++)
			if (!(avoid[i] >> (harmless[k] - 1) & 1))
				return harmless[k];
	return SIGURG; /* to whoever catches all of them a spurious one says least */
}

static uint64_t mask_during(const struct window *w)
{
	uint64_t all = ~(1ull << (w->signo - 1));

	/* were it blocked, the kernel would take the task's handler away */
	return dispatch_untold ? all & ~(1ull << (SIGSYS - 1)) : all;
}

/* The affinity that the thread gives itself on its way back. */
static void fill_cpus(struct errand_data *d, const struct window *w)
{
	static long online;
	cpu_set_t few;

	if (!w->has_cpus)
		return;
	memcpy(d->cpus, &w->cpus, sizeof(d->cpus));
	CPU_ZERO(&few);
	memcpy(&few, d->cpus, sizeof(d->cpus));
	if (CPU_EQUAL(&few, &w->cpus))
		d->cpus_len = sizeof(d->cpus);
	/* most threads never had a set of their own */
	if (!online)
		online = sysconf(_SC_NPROCESSORS_ONLN);
	if (CPU_COUNT(&w->cpus) >= online)
		memset(d->cpus, 0xff, sizeof(d->cpus));
}

static int fill_data(struct window *w, struct errand_data *d)
{
	w->signo = choose_signal(w);
	d->room = ROOM_BYTES;
	d->signo = w->signo;
	d->blocked = mask_during(w);
	d->sigmask = w->sigmask;
	d->dispatch[0] = w->dispatch.mode;
	d->dispatch[1] = w->dispatch.offset;
	d->dispatch[2] = w->dispatch.len;
	d->dispatch[3] = w->dispatch.selector;
	fill_cpus(d, w);
	if (!d->cpus_len)
		w->has_cpus = false; /* then it stays where it is */
	return arch_errand_back(d, &w->saved, w->caught & ~w->sigmask) ? 0 : -EOPNOTSUPP;
}

/* The code, its data, and before them a list of near_bytes bytes. */
static int place_code(struct server *sv, struct window *w, const void *list, size_t near_bytes)
{
	uint8_t all[PAGE_BYTES];
	struct errand_data d = { 0 };
	uint8_t *code = all + near_bytes;
	int err = fill_data(w, &d);

	if (err)
		return err;
	w->code = sv->space.code;
	if (near_bytes)
		memcpy(all, list, near_bytes);
	memcpy(code, arch_errand_code, arch_errand_size);
	memcpy(code + arch_errand_size, &d, sizeof(d));
	sv->space.changed = true;
	return move_memory(sv, w->t->tgid, true, w->code - near_bytes, all, near_bytes + code_bytes()) ? -EOPNOTSUPP : 0;
}

static int set_out(struct window *w, uint32_t entry, uint64_t room, uint64_t list)
{
	struct user_regs_struct gp = w->saved;

	arch_errand_go(&gp, w->code + entry, room, list, w->inner);
	return arch_set_gp(w->t->tid, &gp);
}

/* ---- one phase ---- */

/* The signal at which the thread has stopped: its own? Else it is kept, to be sent again. */
static int is_own(struct window *w)
{
	siginfo_t si;
	int err = get_gp_sure(w->t->tid, &w->stopped);

	if (!err)
		err = pt_sure(PTRACE_GETSIGINFO, w->t->tid, 0, (uintptr_t)&si);
	if (err)
		return err;
	/* SI_USER: the kernel had no room to remember more */
	if (arch_ip(&w->stopped) == w->code + arch_errand_stopped &&
	    (si.si_code == SI_TKILL || (si.si_code == SI_USER && !si.si_pid)))
		return 1;
	if (!w->foreign)
		w->info = si;
	w->foreign = true;
	return 0;
}

/* Lets the thread run to its next stop. */
static int phase(struct window *w)
{
	uint64_t deadline = now_us() + CALL_TIMEOUT_US;
	struct tracee *t = w->t;
	int sig = 0;

	w->at_own_stop = false;
	for (int i = 0; i < STOPS_MAX; i++) {
		int status, err = pt(PTRACE_CONT, t->tid, 0, sig);

		if (!err)
			err = tracee_wait_soon(t->tid, &status, deadline);
		if (err)
			return err;
		switch (stop_kind_of(status, &sig)) {
		case STOP_DEAD:
			return -ESRCH;
		case STOP_EVENT: /* job control, or an interrupt that was late */
			t->stop_signo = sig;
			sig = 0;
			break;
		case STOP_SIGNAL:
			if (sig == w->signo) {
				err = is_own(w);
				w->at_own_stop = err == 1;
				if (err)
					return err == 1 ? 0 : err;
				sig = 0;
			}
			if (sig == SIGSYS && is_dispatched(t->tid))
				return -ENOSYS;
			if (sig == SIGSEGV || sig == SIGBUS || sig == SIGILL || sig == SIGTRAP || sig == SIGFPE)
				return -EFAULT;
			break; /* SIGSTOP: passed on, it becomes a job control stop */
		case STOP_OTHER:
			if (status >> 16 == PTRACE_EVENT_CLONE)
				pt(PTRACE_GETEVENTMSG, t->tid, 0, (uintptr_t)&w->born);
			break;
		default:
			break;
		}
	}
	return -EIO;
}

/* near_bytes: of the list that lies before the code, or 0. */
static int begin(struct server *sv, struct window *w, size_t near_bytes, uint64_t *ret_room)
{
	uint64_t mask = mask_during(w);
	int err;

	w->lent = true;
	err = set_out(w, 0, 0, near_bytes ? w->code - near_bytes : 0);
	if (!err)
		err = pt(PTRACE_SETSIGMASK, w->t->tid, sizeof(mask), (uintptr_t)&mask);
	if (err)
		return err;
	window_narrow(sv, w);
	err = phase(w);
	/* after a failure as well: what is mapped must not stay */
	if (!err || (err != -ESRCH && get_gp_sure(w->t->tid, &w->stopped) == 0))
		*ret_room = arch_errand_room(&w->stopped);
	return err || *ret_room ? err : -EOPNOTSUPP;
}

static void finish(struct window *w, uint64_t room)
{
	/* once more after a failure: the room must not stay */
	if (set_out(w, arch_errand_finish, room, 0) || phase(w))
		if (set_out(w, arch_errand_finish, room, 0) == 0)
			phase(w);
}

/* ---- lists ---- */

static bool overlap(uint32_t a, uint32_t a_len, uint32_t b, uint32_t b_len)
{
	return a < b + b_len && b < a + a_len;
}

/* How many of the calls can be made in one go: as long as none uses bytes of the scratch area that another has filled. */
static size_t list_length(const struct inject_call *calls, size_t n)
{
	uint32_t low = UINT32_MAX, high = 0; /* what is filled */
	size_t i;

	for (i = 0; i < n && i < LIST_CALLS; i++) {
		const struct inject_call *c = &calls[i];

		if (i && low < high && ((c->in_len && overlap(c->in_off, c->in_len, low, high - low)) ||
					(c->out_len && overlap(c->out_off, c->out_len, low, high - low))))
			break;
		if (c->in_len) {
			low = MIN_OF(low, c->in_off);
			high = MAX_OF(high, c->in_off + c->in_len);
		}
		if (c->out_len) {
			low = MIN_OF(low, c->out_off);
			high = MAX_OF(high, c->out_off + c->out_len);
		}
	}
	return i;
}

/* Where the scratch area begins behind a list of n calls. */
static size_t scratch_offset(size_t n)
{
	return ((n + 1) * sizeof(struct errand_call) + 63) & ~63ul;
}

static int give_list(struct server *sv, struct window *w, uint64_t room, const struct inject_call *calls, size_t n)
{
	uint8_t area[ROOM_BYTES] __attribute__((aligned(8)));
	struct errand_call *list = (struct errand_call *)area;
	size_t at = scratch_offset(n), end = (n + 1) * sizeof(*list);

	for (size_t i = 0; i < n; i++) {
		const struct inject_call *c = &calls[i];

		list[i].nr = c->nr;
		for (int a = 0; a < 6; a++)
			list[i].a[a] = c->args[a] + (c->ptrmask >> a & 1 ? room + at : 0);
		if (!c->in_len)
			continue;
		if (end < at + c->in_off) /* what lies between is not used, or comes with another call */
			memset(area + end, 0, at + c->in_off - end);
		memcpy(area + at + c->in_off, c->in, c->in_len);
		end = MAX_OF(end, at + c->in_off + c->in_len);
	}
	list[n] = (struct errand_call){ .nr = -1 };
	return move_memory(sv, w->t->tgid, true, room, area, end);
}

/* The results lie in the room, a stride apart; from `at` on what the calls have written. */
static int take_answers(struct server *sv, struct window *w, uint64_t room, size_t stride, size_t at,
			struct inject_call *calls, size_t n)
{
	uint8_t area[ROOM_BYTES];
	size_t end = n * stride;
	int err;

	for (size_t i = 0; i < n; i++)
		if (calls[i].out_len)
			end = MAX_OF(end, at + calls[i].out_off + calls[i].out_len);
	err = move_memory(sv, w->t->tgid, false, room, area, end);
	for (size_t i = 0; i < n && !err; i++) {
		memcpy(&calls[i].ret, area + i * stride, sizeof(calls[i].ret));
		memcpy(calls[i].out, area + at + calls[i].out_off, calls[i].out_len);
	}
	return err;
}

static int one_list(struct server *sv, struct window *w, uint64_t room, struct inject_call *calls, size_t n)
{
	int err = give_list(sv, w, room, calls, n);

	if (!err)
		err = set_out(w, arch_errand_run, room, room);
	if (!err)
		err = phase(w);
	return err ? err : take_answers(sv, w, room, sizeof(struct errand_call), scratch_offset(n), calls, n);
}

/* ---- a short list, made at the entry ---- */

static bool is_near(const struct inject_call *calls, size_t n)
{
	const struct own_vdso *own = own_vdso();

	for (size_t i = 0; i < n; i++)
		if (calls[i].in_len)
			return false;
	return (n + 1) * sizeof(struct errand_call) <= own->code - own->free && list_length(calls, n) == n;
}

/* Where what the calls write begins in the room, behind their results. */
static size_t near_scratch(size_t n)
{
	return (n * 8 + 63) & ~63ul;
}

static int place_near(struct server *sv, struct window *w, const struct inject_call *calls, size_t n)
{
	uint64_t area[PAGE_BYTES / 8];
	struct errand_call *list = (struct errand_call *)area;

	for (size_t i = 0; i < n; i++) {
		list[i].nr = (uint32_t)calls[i].nr | (uint64_t)calls[i].ptrmask << 32;
		for (int a = 0; a < 6; a++)
			list[i].a[a] = calls[i].args[a] + (calls[i].ptrmask >> a & 1 ? near_scratch(n) : 0);
	}
	list[n] = (struct errand_call){ .nr = -1 };
	return place_code(sv, w, list, (n + 1) * sizeof(*list));
}

/* ---- all calls ---- */

static int call_in_lists(struct server *sv, struct window *w, struct inject_call *calls, size_t n, uint64_t *ret_room)
{
	int err = place_code(sv, w, NULL, 0);

	if (!err)
		err = begin(sv, w, 0, ret_room);
	for (size_t i = 0, some; i < n && !err; i += some) {
		some = list_length(calls + i, n - i);
		err = one_list(sv, w, *ret_room, calls + i, some);
	}
	return err;
}

static int call_near(struct server *sv, struct window *w, struct inject_call *calls, size_t n, uint64_t *ret_room)
{
	int err = place_near(sv, w, calls, n);

	if (!err)
		err = begin(sv, w, (n + 1) * sizeof(struct errand_call), ret_room);
	return err ? err : take_answers(sv, w, *ret_room, 8, near_scratch(n), calls, n);
}

int errand_calls(struct server *sv, struct window *w, struct inject_call *calls, size_t n)
{
	uint64_t room = 0;
	int err = find_place(sv, w->t->tgid);

	for (size_t i = 0; i < n && !err; i++)
		if (calls[i].nr < 0)
			err = -EOPNOTSUPP; /* the end of a list looks like that */
	if (!err)
		err = (is_near(calls, n) ? call_near : call_in_lists)(sv, w, calls, n, &room);
	if (room)
		finish(w, room);
	return err;
}

/* ---- a copy ---- */

/* It is traced from its birth. */
static int fork_itself(struct window *w, uint64_t room)
{
	pid_t tid = w->t->tid;
	int err;

	/* an unprivileged W has not suspended filters: there are none */
	if (pt(PTRACE_SETOPTIONS, tid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_SUSPEND_SECCOMP) < 0 &&
	    pt(PTRACE_SETOPTIONS, tid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE) < 0)
		return -ESRCH;
	err = set_out(w, arch_errand_copy, room, 0);
	if (!err)
		err = phase(w);
	if (err)
		return err;
	w->inner = arch_errand_child(&w->stopped);
	if (w->inner > 0)
		return w->born ? 0 : -ECHILD;
	err = w->inner;
	w->inner = 0;
	return err ? err : -ECHILD;
}

int errand_fork(struct server *sv, struct window *w)
{
	int err = find_place(sv, w->t->tgid);
	uint64_t room = 0;

	w->born = 0;
	w->inner = 0;
	if (!err)
		err = place_code(sv, w, NULL, 0);
	if (err)
		return err;
	err = begin(sv, w, 0, &room);
	if (!err)
		err = fork_itself(w, room);
	if (room)
		finish(w, room);
	return err;
}
