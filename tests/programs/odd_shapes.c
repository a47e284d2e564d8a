/* SPDX-License-Identifier: MIT */
/*
 * odd_shapes DIR SHAPE: a process of a shape that cannot be dumped, for e2e/odd_shapes.sh; without
 * SHAPE an ordinary one.  It gets ready, goes on, and says ok.
 */
#include "prog.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static int up, odd;
static pid_t leader;

static void none(void)
{
}

/* A filter that asks another process about a call that nobody makes. */
static void supervisor(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_acct, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { sizeof(code) / sizeof(code[0]), code };
	int fd;

	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &prog);
	if (fd < 0)
		prog_skip("no filters with a supervisor here: %s", strerror(errno));
	CHECK(close(fd) == 0);
}

static int sharer(void *arg)
{
	prog_wait_go();
	return 0;
}

static void memory(void)
{
	char *stack = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(stack != MAP_FAILED && clone(sharer, stack + 65536, CLONE_VM | SIGCHLD, NULL) > 0);
}

static int odd_flags;

static void *alone(void *arg)
{
	odd = unshare(odd_flags) ? -errno : 1;
	prog_count(&up);
	prog_wait_go();
	return NULL;
}

static void thread_with(int flags)
{
	pthread_t t;

	odd_flags = flags;
	CHECK(pthread_create(&t, NULL, alone, NULL) == 0);
	prog_wait_count(&up, 1);
	if (odd < 0)
		prog_skip("a thread may not have that of its own here: %s", strerror(-odd));
}

static void directory(void) { thread_with(CLONE_FS); }
static void descriptors(void) { thread_with(CLONE_FILES); }
static void names(void) { thread_with(CLONE_NEWUTS); }

static void child_in(int flags)
{
	pid_t pid = syscall(SYS_clone, flags | SIGCHLD, NULL, NULL, NULL, 0);

	if (pid < 0)
		prog_skip("no such namespace here: %s", strerror(errno));
	if (pid == 0) {
		prog_wait_go();
		_exit(0);
	}
}

static void pids(void) { child_in(CLONE_NEWPID); }
static void hosts(void) { child_in(CLONE_NEWUTS); }

static void *last(void *arg)
{
	prog_wait_state(leader, leader, 'Z');
	prog_ready();
	prog_ok();
}

static void leaderless(void)
{
	pthread_t t;

	leader = getpid();
	CHECK(pthread_create(&t, NULL, last, NULL) == 0);
	pthread_exit(NULL);
}

static void ldt(void)
{
	const unsigned entry[4] = { 3, 0x10000, 0xfff, 0x51 };

	if (syscall(SYS_modify_ldt, 0x11, entry, sizeof(entry)) < 0)
		prog_skip("no local descriptor tables here: %s", strerror(errno));
}

/* ARCH_ENABLE_TAGGED_ADDR, six bits. */
static void tags(void)
{
	if (syscall(SYS_arch_prctl, 0x4002, 6l) < 0)
		prog_skip("no linear address masking here: %s", strerror(errno));
}

static void spin(unsigned long ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000 };

	syscall(SYS_nanosleep, &ts, NULL);
}

/*
 * ARCH_SHSTK_ENABLE in a child, which cannot return from the function in which that happens: no
 * call is made behind it.
 */
static void shadow(void)
{
	int *state = prog_shared(4096);
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		long r = SYS_arch_prctl, nr;

		__asm__ volatile("syscall" : "+a"(r) : "D"(0x5001l), "S"(1l) : "rcx", "r11", "memory");
		__atomic_store_n(state, r < 0 ? (int)r : 1, __ATOMIC_SEQ_CST);
		for (;;) {
			nr = SYS_sched_yield;
			__asm__ volatile("syscall" : "+a"(nr) : : "rcx", "r11", "memory");
			if (__atomic_load_n(state, __ATOMIC_SEQ_CST) != 1) {
				nr = SYS_exit_group;
				__asm__ volatile("syscall" : "+a"(nr) : "D"(0l) : "rcx", "r11", "memory");
			}
		}
	}
	while (!__atomic_load_n(state, __ATOMIC_SEQ_CST))
		spin(10);
	if (*state < 0)
		prog_skip("no shadow stacks here: %s", strerror(-*state));
}

static const struct {
	const char *name;
	void (*make)(void);
} shapes[] = {
	{ "", none },		  { "supervisor", supervisor }, { "memory", memory }, { "directory", directory },
	{ "descriptors", descriptors }, { "names", names },	 { "pids", pids },     { "hosts", hosts },
	{ "leaderless", leaderless },	  { "ldt", ldt },		 { "tags", tags },     { "shadow", shadow },
};

int main(int argc, char **argv)
{
	const char *want = argc > 2 ? argv[2] : "";
	size_t i;

	prog_init(argc, argv);
	for (i = 0; i < sizeof(shapes) / sizeof(shapes[0]) && strcmp(shapes[i].name, want); i++)
		;
	CHECK(i < sizeof(shapes) / sizeof(shapes[0]));
	shapes[i].make();
	prog_ready();
	prog_ok();
}
