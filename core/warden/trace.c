/* SPDX-License-Identifier: MIT */
/*
 * Tracees of the warden: the table, waiting, and bringing a thread to a halt in
 * such a way that it can be let go as if nothing had happened.
 *
 * A thread is HELD in the PTRACE_EVENT_STOP that PTRACE_INTERRUPT asks for.  Before
 * it gets there it may stop for a signal: the signal is passed on (a thread that was
 * never traced would get it now as well) and the interrupt asked for again, because
 * any stop clears it.
 */
#include "server.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fault.h"

#define SURE_TRIES 3

static const char *request_name(int request)
{
	static const struct {
		int request;
		const char *name;
	} names[] = {
		{ PTRACE_SEIZE, "SEIZE" }, { PTRACE_INTERRUPT, "INTERRUPT" }, { PTRACE_CONT, "CONT" },
		{ PTRACE_SYSCALL, "SYSCALL" },
		{ PTRACE_DETACH, "DETACH" }, { PTRACE_SETOPTIONS, "SETOPTIONS" }, { PTRACE_GETSIGMASK, "GETSIGMASK" },
		{ PTRACE_SETSIGMASK, "SETSIGMASK" }, { PTRACE_GETEVENTMSG, "GETEVENTMSG" }, { PTRACE_GETREGSET, "GETREGSET" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i].request == request)
			return names[i].name;
	return "request";
}

int pt(int request, pid_t tid, uintptr_t addr, uintptr_t data)
{
	int err = FAULT("ptrace %s %#x of %d", request_name(request), request, tid);

	return err ? err : ptrace(request, tid, (void *)addr, (void *)data) < 0 ? -errno : 0;
}

int pt_sure(int request, pid_t tid, uintptr_t addr, uintptr_t data)
{
	int err = -EIO;

	for (int i = 0; i < SURE_TRIES && err && err != -ESRCH; i++)
		err = pt(request, tid, addr, data);
	return err;
}

static struct tracee **bucket_of(struct server *sv, pid_t tid)
{
	return &sv->t.bucket[(unsigned)tid % TRACEE_BUCKETS];
}

struct tracee *tracee_find(struct server *sv, pid_t tid)
{
	for (struct tracee *t = *bucket_of(sv, tid); t; t = t->chain)
		if (t->tid == tid && t->state != TR_GONE)
			return t;
	return NULL;
}

struct tracee *tracee_add(struct server *sv, pid_t tgid, pid_t tid)
{
	struct tracee *t = xcalloc(1, sizeof(*t)), **b = bucket_of(sv, tid);

	t->tgid = tgid;
	t->tid = tid;
	t->state = TR_RUNNING;
	t->chain = *b;
	*b = t;
	if (!sv->t.first)
		sv->t.last = &sv->t.first;
	*sv->t.last = t;
	sv->t.last = &t->next;
	sv->t.n++;
	return t;
}

void tracee_gone(struct server *sv, struct tracee *t)
{
	if (t->state == TR_GONE)
		return;
	t->state = TR_GONE;
	sv->t.n--;
}

void tracees_sweep(struct server *sv)
{
	struct tracee **p = &sv->t.first;

	for (size_t i = 0; i < TRACEE_BUCKETS; i++)
		for (struct tracee **c = &sv->t.bucket[i]; *c;) {
			if ((*c)->state == TR_GONE)
				*c = (*c)->chain;
			else
				c = &(*c)->chain;
		}
	while (*p) {
		struct tracee *t = *p;

		if (t->state == TR_GONE) {
			*p = t->next;
			free(t);
		} else {
			p = &t->next;
		}
	}
	sv->t.last = p;
}

/* A group leader whose threads live on turns into a zombie without any wait status. */
static bool is_zombie(pid_t tid)
{
	struct proc_stat st;

	int err = proc_read_stat(tid, 0, &st);

	return err ? err == -ENOENT || err == -ESRCH : st.state == 'Z' || st.state == 'X';
}

/* Until something happens to some tracee, at most `us`. SIGCHLD is blocked all the time. */
static void nap(uint64_t us)
{
	struct timespec ts = { .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000 };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigtimedwait(&set, NULL, &ts);
}

#define NAP_US 5000

int tracee_wait(pid_t tid, int *ret_status, uint64_t deadline)
{
	for (unsigned idle = 0;; idle++) {
		pid_t r = waitpid(tid, ret_status, __WALL | WNOHANG);
		uint64_t now;

		if (r == tid)
			return 0;
		if (r < 0 && errno != EINTR)
			return errno == ECHILD ? -ESRCH : -errno;
		if (idle > 2 && is_zombie(tid))
			return -ESRCH;
		now = now_us();
		if (now >= deadline)
			return -ETIMEDOUT;
		nap(MIN_OF(NAP_US, deadline - now));
	}
}

/* Only there to end a wait. */
static void on_alarm(int sig)
{
	(void)sig;
}

void alarms_begin(uint32_t us, void (*handler)(int), int flags)
{
	struct timeval tick = { us / 1000000, us % 1000000 };
	struct sigaction sa = { .sa_handler = handler, .sa_flags = flags };
	struct itimerval every = { tick, tick };
	sigset_t set;

	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &every, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

void waits_begin(uint32_t us)
{
	alarms_begin(us, on_alarm, 0);
}

void waits_end(void)
{
	struct itimerval never = { 0 };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	setitimer(ITIMER_REAL, &never, NULL);
}

int tracee_wait_soon(pid_t tid, int *ret_status, uint64_t deadline)
{
	for (;;) {
		pid_t r = waitpid(tid, ret_status, __WALL);

		if (r == tid)
			return 0;
		if (errno != EINTR)
			return errno == ECHILD ? -ESRCH : -errno;
		if (is_zombie(tid))
			return -ESRCH;
		if (now_us() >= deadline)
			return -ETIMEDOUT;
	}
}

enum stop_kind stop_kind_of(int status, int *ret_sig)
{
	int event = status >> 16, sig;

	*ret_sig = 0;
	if (!WIFSTOPPED(status))
		return STOP_DEAD;
	sig = WSTOPSIG(status);
	if (event == PTRACE_EVENT_STOP) {
		*ret_sig = sig == SIGTRAP ? 0 : sig;
		return STOP_EVENT;
	}
	if (event)
		return STOP_OTHER;
	if (sig == (SIGTRAP | 0x80))
		return STOP_SYSCALL;
	*ret_sig = sig;
	return STOP_SIGNAL;
}

int get_gp_sure(pid_t tid, struct user_regs_struct *ret)
{
	int err = -EIO;

	for (int i = 0; i < SURE_TRIES && err && err != -ESRCH && err != -EOPNOTSUPP; i++)
		err = arch_get_gp(tid, ret);
	return err;
}

int set_gp_sure(pid_t tid, const struct user_regs_struct *gp)
{
	int err = -EIO;

	for (int i = 0; i < SURE_TRIES && err && err != -ESRCH; i++)
		err = arch_set_gp(tid, gp);
	return err;
}

/* What the interrupt did to the call the thread was in; the kernel does the rest when the thread goes on. */
static void spare_eintr(pid_t tid)
{
	struct user_regs_struct gp;

	if (arch_get_gp(tid, &gp) == 0 && arch_restart_endless(&gp))
		set_gp_sure(tid, &gp);
}

int tracee_settle(struct server *sv, struct tracee *t, int status)
{
	int sig;

	switch (stop_kind_of(status, &sig)) {
	case STOP_DEAD:
		tracee_gone(sv, t);
		return -ESRCH;
	case STOP_EVENT:
		t->state = TR_HELD;
		t->stop_signo = sig;
		spare_eintr(t->tid);
		return 1;
	default:
		/* errors: it has been killed meanwhile, its death will be reported */
		pt_sure(PTRACE_INTERRUPT, t->tid, 0, 0);
		pt_sure(PTRACE_CONT, t->tid, 0, sig);
		return 0;
	}
}

static int hold(struct server *sv, struct tracee *t, uint64_t deadline,
		int (*wait_for)(pid_t tid, int *ret_status, uint64_t deadline))
{
	int status, err;

	do {
		err = wait_for(t->tid, &status, deadline);
		if (err == -ESRCH)
			tracee_gone(sv, t);
		if (!err)
			err = tracee_settle(sv, t, status);
	} while (err == 0);
	return err == 1 ? 0 : err;
}

int tracee_hold(struct server *sv, struct tracee *t, uint64_t deadline)
{
	return hold(sv, t, deadline, tracee_wait);
}

int tracee_hold_soon(struct server *sv, struct tracee *t, uint64_t deadline)
{
	return hold(sv, t, deadline, tracee_wait_soon);
}

/* ---- job control stop ---- */

static bool stops_by_default(pid_t tgid, int signo)
{
	struct proc_status st = { 0 };
	bool ok;

	if (signo != SIGTSTP && signo != SIGTTIN && signo != SIGTTOU)
		return false;
	ok = proc_read_status(tgid, 0, &st) == 0 && !((st.sigcgt | st.sigign) >> (signo - 1) & 1);
	proc_status_free(&st);
	return ok;
}

/*
 * One attempt: sends SIGSTOP to the thread, which reports it before acting on it, and lets it act on
 * `signo` instead. All but that are blocked meanwhile, so that nothing else is delivered.
 */
static int stop_by(struct server *sv, struct tracee *t, int signo)
{
	uint64_t deadline = now_us() + 5000000, most = ~(1ull << (signo - 1));
	int status, sig, err;

	err = pt(PTRACE_SETSIGMASK, t->tid, sizeof(most), (uintptr_t)&most);
	if (!err && syscall(SYS_tgkill, t->tgid, t->tid, SIGSTOP) < 0)
		err = -errno;
	while (!err) {
		err = pt(PTRACE_CONT, t->tid, 0, 0);
		if (!err)
			err = tracee_wait(t->tid, &status, deadline);
		if (!err && stop_kind_of(status, &sig) == STOP_DEAD)
			err = -ESRCH;
		if (!err && stop_kind_of(status, &sig) == STOP_SIGNAL && sig == SIGSTOP)
			break;
	}
	if (!err)
		err = pt(PTRACE_INTERRUPT, t->tid, 0, 0);
	if (!err)
		err = pt(PTRACE_CONT, t->tid, 0, signo);
	return err ? err : tracee_hold(sv, t, deadline);
}

int tracee_group_stop(struct server *sv, struct tracee *t, int signo)
{
	uint64_t mask;
	int err;

	if (t->stop_signo)
		return 0;
	if (!stops_by_default(t->tgid, signo))
		signo = SIGSTOP;
	err = pt(PTRACE_GETSIGMASK, t->tid, sizeof(mask), (uintptr_t)&mask);
	if (!err)
		err = stop_by(sv, t, signo);
	/* an orphaned process group ignores the others */
	if (!err && !t->stop_signo && signo != SIGSTOP)
		err = stop_by(sv, t, SIGSTOP);
	if (!err)
		err = pt_sure(PTRACE_SETSIGMASK, t->tid, sizeof(mask), (uintptr_t)&mask);
	if (err == -ESRCH)
		tracee_gone(sv, t);
	return err;
}

/* ---- ends ---- */

void tracees_detach(struct server *sv)
{
	uint64_t deadline = now_us() + 200000;

	FOR_EACH_TRACEE(t, sv) {
		if (t->state == TR_RUNNING)
			pt_sure(PTRACE_INTERRUPT, t->tid, 0, 0);
	}
	FOR_EACH_TRACEE(t, sv) {
		/* one that cannot be stopped now is let go by the kernel when W exits */
		if (t->state == TR_RUNNING && tracee_hold(sv, t, deadline) < 0)
			continue;
		pt_sure(PTRACE_DETACH, t->tid, 0, 0);
		tracee_gone(sv, t);
	}
	tracees_sweep(sv);
}

/* W has no children but its tracees; a leader is reported after its threads. */
static int reap_all(uint64_t deadline)
{
	for (;;) {
		int status;
		pid_t r = waitpid(-1, &status, __WALL | WNOHANG);

		if (r < 0 && errno == ECHILD)
			return 0;
		if (r > 0 && WIFSTOPPED(status))
			kill(r, SIGKILL); /* born while the others were being killed */
		if (r != 0)
			continue;
		if (now_us() >= deadline)
			return -ETIMEDOUT;
		nap(NAP_US);
	}
}

/* A tracer may do it also where kill(2) wants CAP_KILL. */
static void kill_process(const struct tracee *t, pid_t pid)
{
	if (kill(pid, SIGKILL) < 0 && errno == EPERM)
		pt(PTRACE_KILL, t->tid, 0, 0);
}

int tracees_kill(struct server *sv, uint64_t deadline)
{
	int err;

	FOR_EACH_TRACEE(t, sv) {
		if (t->tid == t->tgid || !t->tgid)
			kill_process(t, t->tid);
		else if (!tracee_find(sv, t->tgid)) /* its leader is a zombie */
			kill_process(t, t->tgid);
	}
	err = reap_all(deadline);
	FOR_EACH_TRACEE(t, sv)
		tracee_gone(sv, t);
	tracees_sweep(sv);
	return err;
}
