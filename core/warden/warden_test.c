/* SPDX-License-Identifier: MIT */
/* Tests of the warden at dump: freezing, state, injected calls, undo, the three ends, the death of E and of W. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/auxv.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proc.h"
#include "warden.h"

/* last: it defines fail() */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* Shared with the target: what its threads saw. */
struct seen {
	int rounds, errors, stop;
	pid_t sleeper, poller;
};
static struct seen *seen;

static void *sleeper(void *arg)
{
	seen->sleeper = gettid();
	while (!seen->stop) {
		struct timespec ts = { .tv_nsec = 40000000 }, rem;

		if (syscall(SYS_nanosleep, &ts, &rem))
			seen->errors++;
		seen->rounds++;
	}
	return NULL;
}

static void *spinner(void *arg)
{
	while (!seen->stop)
		if (syscall(SYS_getpid) != getpid())
			seen->errors++;
	return NULL;
}

/* A target with three threads, a stopped child and a zombie. */
static pid_t start_target(void)
{
	pid_t pid;

	memset(seen, 0, sizeof(*seen));
	pid = fork();
	if (pid == 0) {
		pthread_t t;
		pid_t child = fork();

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (child == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			raise(SIGSTOP);
			for (;;)
				pause();
		}
		waitpid(child, NULL, WUNTRACED);
		if (fork() == 0)
			_exit(3);
		signal(SIGTRAP, SIG_IGN);
		pthread_create(&t, NULL, sleeper, NULL);
		pthread_create(&t, NULL, spinner, NULL);
		for (;;)
			pause();
	}
	while (seen->rounds < 1)
		usleep(1000);
	return pid;
}

static void end_target(pid_t pid)
{
	int_list children = { 0 };

	proc_list_children(pid, &children);
	for (size_t i = 0; i < children.n; i++)
		kill(children.v[i], SIGKILL);
	vec_free(&children);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static char state_of(pid_t pid, pid_t tid)
{
	struct proc_stat st;

	return proc_read_stat(pid, tid, &st) ? '-' : st.state;
}

static bool runs_on(void)
{
	int before = seen->rounds;

	for (int i = 0; i < 1000 && seen->rounds < before + 2; i++)
		usleep(1000);
	return seen->rounds >= before + 2 && !seen->errors;
}

/* Freezes and looks at every thread. */
static void look(struct session *s, pid_t pid)
{
	struct thread_state *st = xcalloc(1, sizeof(*st));
	struct inject_call c[4] = {
		{ .nr = SYS_gettid },
		{ .nr = SYS_rt_sigaction, .args = { SIGTRAP, 0, 64, 8 }, .ptrmask = 1 << 2, .out_off = 64, .out_len = 32 },
		{ .nr = SYS_write, .args = { -1ul, 0, 5 }, .ptrmask = 1 << 1, .in_len = 5, .in = "hello", .out_len = 5 },
		{ .nr = SYS_getppid },
	};
	int_list tids = { 0 };

	assert_int_equal(warden_freeze(s, pid, NULL, 10), 0);
	assert_int_equal(proc_list_threads(pid, &tids), 0);
	assert_int_equal(tids.n, 3);
	for (size_t i = 0; i < tids.n; i++) {
		assert_int_equal(state_of(pid, tids.v[i]), 't');
		assert_int_equal(warden_thread_state(s, tids.v[i], st), 0);
		assert_int_equal(st->group_stop, 0);
		if (tids.v[i] == seen->sleeper && (int64_t)st->regs.gp.rax == -516)
			assert_int_equal(st->regs.gp.orig_rax, SYS_nanosleep);
		assert_int_equal(warden_inject(s, pid, tids.v[i], c, ARRAY_SIZE(c)), 0);
		assert_int_equal(c[0].ret, tids.v[i]);
		assert_int_equal(c[1].ret, 0);
		assert_int_equal(*(uint64_t *)c[1].out, (uintptr_t)SIG_IGN);
		assert_int_equal(c[2].ret, -EBADF);
		assert_memory_equal(c[2].out, "hello", 5);
		assert_int_equal(c[3].ret, getpid());
	}
	c[0].ptrmask = 1;
	c[0].args[0] = WARDEN_SCRATCH;
	assert_int_equal(warden_inject(s, pid, pid, c, 1), -EINVAL);
	vec_free(&tids);
	free(st);
}

static void test_run(void **state)
{
	pid_t pid = start_target();

	for (int i = 0; i < 6; i++) {
		struct session *s = session_new(CR_MODE_DUMP, NULL);

		assert_int_equal(warden_start(s), 0);
		look(s, pid);
		if (i & 1)
			assert_int_equal(warden_commit(s, WARDEN_RUN), 0);
		session_free(s); /* else this aborts */
		assert_true(runs_on());
	}
	end_target(pid);
}

/* The vDSO that every process has: mappings and their contents are as before. */
static void assert_untouched(pid_t pid, const struct buf *maps)
{
	_cleanup_buf_ struct buf now = { 0 };
	_cleanup_fd_ int mem = -1;
	char path[32], page[4 * PAGE_BYTES];
	vma_list l = { 0 };

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	assert_int_equal(read_file(AT_FDCWD, path, &now), 0);
	assert_string_equal(now.p, maps->p);
	assert_int_equal(proc_parse_maps(now.p, now.len, &l), 0);
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	mem = open(path, O_RDONLY);
	for (size_t i = 0; i < l.n; i++) {
		size_t len = l.v[i].end - l.v[i].start;

		if (strcmp(l.v[i].path, "[vdso]") != 0 || len > sizeof(page))
			continue;
		assert_int_equal(pread_full(mem, page, len, l.v[i].start), 0);
		assert_memory_equal(page, (void *)getauxval(AT_SYSINFO_EHDR), len);
	}
	proc_vmas_free(&l);
}

/* Many calls of many threads in one request; calls that use the same bytes of the scratch area keep their order. */
static void test_look(void **state)
{
	enum { MANY = 1200 };
	_cleanup_free_ struct inject_call *c = xcalloc(MANY, sizeof(*c));
	struct session *s = session_new(CR_MODE_DUMP, NULL);
	_cleanup_buf_ struct buf maps = { 0 };
	struct thread_look looks[3];
	pid_t pid = start_target();
	int_list tids = { 0 };
	char path[32];
	size_t done;

	assert_int_equal(warden_start(s), 0);
	assert_int_equal(warden_freeze(s, pid, NULL, 10), 0);
	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	assert_int_equal(read_file(AT_FDCWD, path, &maps), 0);
	assert_int_equal(proc_list_threads(pid, &tids), 0);
	for (size_t i = 0; i < MANY; i++) {
		c[i].nr = i % 2 ? SYS_gettid : SYS_rt_sigprocmask;
		if (i % 2)
			continue;
		/* SIG_SETMASK from bytes of its own: the next call tells what this one has set */
		c[i] = (struct inject_call){ .nr = SYS_rt_sigprocmask, .args = { SIG_BLOCK, 0, 8, 8 }, .ptrmask = 6, .in_len = 8,
					     .in = { 1 }, .out_off = 8, .out_len = 8 };
	}
	for (size_t i = 0; i < 3; i++)
		looks[i] = (struct thread_look){ .tgid = pid, .tid = tids.v[i], .calls = c, .n = MANY };
	for (size_t i = 0; i < 3; i += done) {
		assert_int_equal(warden_look(s, looks + i, 3 - i, &done), 0);
		assert_true(done >= 1);
		for (size_t k = i; k < i + done; k++) {
			assert_true(looks[k].state->regs.gp.rip != 0);
			for (size_t n = 0; n < MANY; n++)
				assert_int_equal(looks[k].answers[n].ret, n % 2 ? tids.v[k] : 0);
			assert_true(looks[k].answers[2].out[7] & 0x80); /* all are blocked */
		}
	}
	assert_untouched(pid, &maps);
	assert_int_equal(warden_look(s, &(struct thread_look){ .tgid = pid, .tid = getpid() }, 1, &done), -ESRCH);
	vec_free(&tids);
	session_free(s);
	assert_true(runs_on());
	end_target(pid);
}

/* Without a vDSO there is no place for code: each call by itself. */
static void test_no_vdso(void **state)
{
	struct inject_call c[] = {
		{ .nr = SYS_getpid },
		{ .nr = SYS_write, .args = { -1ul, 0, 5 }, .ptrmask = 1 << 1, .in_len = 5, .in = "hello", .out_len = 5 },
	};
	struct session *s = session_new(CR_MODE_DUMP, NULL);
	_cleanup_buf_ struct buf maps = { 0 };
	vma_list l = { 0 };
	pid_t pid;

	assert_int_equal(read_file(AT_FDCWD, "/proc/self/maps", &maps), 0);
	assert_int_equal(proc_parse_maps(maps.p, maps.len, &l), 0);
	pid = fork();
	if (pid == 0) {
		for (size_t i = 0; i < l.n; i++)
			if (strcmp(l.v[i].path, "[vdso]") == 0)
				munmap((void *)l.v[i].start, l.v[i].end - l.v[i].start);
		prctl(PR_SET_NAME, "no vdso");
		for (;;)
			pause();
	}
	while (state_of(pid, 0) != 'S')
		usleep(1000);
	assert_int_equal(warden_start(s), 0);
	assert_int_equal(warden_freeze(s, pid, NULL, 10), 0);
	assert_int_equal(warden_inject(s, pid, pid, c, 2), 0);
	assert_int_equal(c[0].ret, pid);
	assert_int_equal(c[1].ret, -EBADF);
	assert_memory_equal(c[1].out, "hello", 5);
	proc_vmas_free(&l);
	session_free(s);
	end_target(pid);
}

static void test_stop_and_kill(void **state)
{
	pid_t pid = start_target();
	struct session *s = session_new(CR_MODE_DUMP, NULL);
	siginfo_t si = { 0 };

	assert_int_equal(warden_start(s), 0);
	look(s, pid);
	assert_int_equal(warden_commit(s, WARDEN_STOP), 0);
	assert_int_equal(waitid(P_PID, pid, &si, WSTOPPED), 0);
	assert_int_equal(si.si_status, SIGSTOP);
	assert_int_equal(state_of(pid, seen->sleeper), 'T');
	session_free(s);
	kill(pid, SIGCONT);
	assert_true(runs_on());

	s = session_new(CR_MODE_DUMP, NULL);
	assert_int_equal(warden_start(s), 0);
	look(s, pid);
	assert_int_equal(warden_commit(s, WARDEN_KILL), 0);
	assert_int_equal(waitid(P_PID, pid, &si, WEXITED | WNOHANG), 0);
	assert_int_equal(si.si_code, CLD_KILLED);
	session_free(s);
}

/* E dies while it works: the target never notices. */
static void test_engine_killed(void **state)
{
	pid_t pid = start_target();

	for (int i = 0; i < 12; i++) {
		pid_t engine = fork();

		if (engine == 0) {
			struct session *s = session_new(CR_MODE_DUMP, NULL);

			if (warden_start(s) == 0)
				for (;;)
					if (!s->warden || warden_freeze(s, pid, NULL, 10) || !s->warden)
						pause();
		}
		usleep(i * 300);
		kill(engine, SIGKILL);
		waitpid(engine, NULL, 0);
		for (int k = 0; k < 1000 && state_of(pid, 0) == 't'; k++)
			usleep(1000);
		assert_true(runs_on());
	}
	end_target(pid);
}

static void test_refusals(void **state)
{
	struct session *s = session_new(CR_MODE_DUMP, NULL);
	pid_t pid = fork();

	if (pid == 0)
		for (;;)
			pause();
	assert_int_equal(warden_start(s), 0);
	assert_int_equal(warden_freeze(s, getpid(), NULL, 10), -EINVAL);
	assert_int_equal(warden_freeze(s, pid, "/", 10), -EINVAL);
	assert_int_equal(ptrace(PTRACE_SEIZE, pid, 0, 0), 0);
	assert_int_equal(warden_freeze(s, pid, NULL, 10), -EBUSY);
	ptrace(PTRACE_INTERRUPT, pid, 0, 0);
	waitpid(pid, NULL, 0);
	ptrace(PTRACE_DETACH, pid, 0, 0);
	assert_int_equal(warden_freeze(s, pid, NULL, 10), 0);
	kill(pid, SIGKILL);
	while (state_of(pid, 0) == 't')
		usleep(1000);
	assert_int_equal(warden_inject(s, pid, pid, &(struct inject_call){ .nr = SYS_getpid }, 1), -ESRCH);
	session_free(s);
	waitpid(pid, NULL, 0);
	s = session_new(CR_MODE_DUMP, NULL);
	assert_int_equal(warden_start(s), 0);
	assert_int_equal(warden_freeze(s, pid, NULL, 10), -ESRCH);
	session_free(s);
}

/* ---- undo ---- */

static char dir[] = "/tmp/warden-test-XXXXXX";

static const char *in_dir(const char *name)
{
	static char path[4][64];
	static unsigned turn;
	char *p = path[turn++ % 4];

	snprintf(p, sizeof(path[0]), "%s/%s", dir, name);
	return p;
}

static bool file_holds(const char *name, const char *text)
{
	_cleanup_buf_ struct buf b = { 0 };

	return read_file(AT_FDCWD, in_dir(name), &b) == 0 && strcmp(b.p, text) == 0;
}

/* A socket whose options are changed, with the way back in the journal. */
static int sock = -1;

static int sock_option(int name)
{
	int v = -1;
	socklen_t len = sizeof(v);

	assert_int_equal(getsockopt(sock, SOL_SOCKET, name, &v, &len), 0);
	return v;
}

static void change_socket(struct session *s)
{
	int one = 1;
	char text[64];

	if (sock < 0)
		sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	snprintf(text, sizeof(text), "%d %d 0 %d %d 0", SOL_SOCKET, SO_KEEPALIVE, SOL_SOCKET, SO_OOBINLINE);
	assert_int_equal(warden_undo(s, CR_UNDO_SOCKOPT, sock, text, 1), 0);
	assert_int_equal(setsockopt(sock, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one)), 0);
	assert_int_equal(setsockopt(sock, SOL_SOCKET, SO_OOBINLINE, &one, sizeof(one)), 0);
}

static struct session *with_undo(void)
{
	struct session *s = session_new(CR_MODE_DUMP, NULL);
	_cleanup_fd_ int at = open(dir, O_RDONLY | O_DIRECTORY);
	_cleanup_fd_ int value = open(in_dir("value"), O_RDWR | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(write(value, "new", 3), 3);
	mkdir(in_dir("d"), 0700);
	close(open(in_dir("d/a b%"), O_WRONLY | O_CREAT, 0600));
	close(open(in_dir("x"), O_WRONLY | O_CREAT, 0600));
	assert_int_equal(warden_start(s), 0);
	assert_int_equal(warden_undo(s, CR_UNDO_RMDIR, -1, in_dir("d"), 0), 0);
	assert_int_equal(warden_undo(s, CR_UNDO_UNLINK, -1, in_dir("d/a b%"), 0), 0);
	assert_int_equal(warden_undo(s, CR_UNDO_UNLINK, at, "x", 0), 0);
	assert_int_equal(warden_undo(s, CR_UNDO_WRITE, value, "old", 1), 0);
	change_socket(s);
	assert_int_equal(warden_undo(s, CR_UNDO_WRITE, -1, "/x", 1), -EINVAL);
	assert_int_equal(warden_undo(s, CR_UNDO_SOCKOPT, -1, "1 9 0", 1), -EINVAL);
	assert_int_equal(warden_undo(s, CR_UNDO_UNLINK, -1, "x", 1), -EINVAL);
	return s;
}

static void assert_undone(bool all)
{
	assert_int_equal(access(in_dir("d"), F_OK), all ? -1 : 0);
	assert_int_equal(access(in_dir("x"), F_OK), all ? -1 : 0);
	assert_true(file_holds("value", "old"));
	assert_int_equal(sock_option(SO_KEEPALIVE), 0);
	assert_int_equal(sock_option(SO_OOBINLINE), 0);
}

static void test_undo(void **state)
{
	struct session *s = with_undo();

	warden_abort(s);
	assert_undone(true);
	session_free(s);
	s = with_undo();
	assert_int_equal(warden_commit(s, WARDEN_RUN), 0);
	assert_undone(false);
	session_free(s);
	/* a socket whose owner is killed dies as it is */
	s = with_undo();
	assert_int_equal(warden_commit(s, WARDEN_KILL), 0);
	assert_int_equal(sock_option(SO_KEEPALIVE), 1);
	session_free(s);
}

static void test_recover(void **state)
{
	struct session *s = with_undo();
	_cleanup_file_ FILE *out = fopen("/dev/null", "w");
	int_list children = { 0 };

	assert_int_equal(proc_list_children(getpid(), &children), 0);
	assert_int_equal(children.n, 1);
	assert_int_equal(warden_check(s), 0);
	assert_true(warden_recover(NULL, out) >= 0); /* ours is in use */
	assert_true(file_holds("value", "new"));
	kill(children.v[0], SIGKILL);
	while (state_of(children.v[0], 0) != 'Z')
		usleep(1000);
	assert_int_equal(warden_check(s), -ECHILD);
	assert_int_equal(access(in_dir("d"), F_OK), 0);
	assert_true(warden_recover(NULL, out) >= 1);
	assert_undone(true);
	session_free(s);
	vec_free(&children);
}

static int remove_dir(void **state)
{
	unlink(in_dir("d/a b%"));
	rmdir(in_dir("d"));
	unlink(in_dir("x"));
	unlink(in_dir("value"));
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_run),	 cmocka_unit_test(test_stop_and_kill), cmocka_unit_test(test_engine_killed),
		cmocka_unit_test(test_look),	 cmocka_unit_test(test_no_vdso),
		cmocka_unit_test(test_refusals), cmocka_unit_test(test_undo),	       cmocka_unit_test(test_recover),
	};

	log_init();
	/* others may recover meanwhile, or end: journals of our own */
	if (unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0) {
		mkdir("/run/stasis", 0700);
		mount("none", "/run/stasis", "tmpfs", 0, "mode=0700");
	}
	seen = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (seen == MAP_FAILED || !mkdtemp(dir))
		return 1;
	log_set_level(-1);
	return cmocka_run_group_tests(tests, NULL, remove_dir);
}
