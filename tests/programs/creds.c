/* SPDX-License-Identifier: MIT */
/*
 * Credentials that all differ: real, effective, saved and file system ids, groups, capability sets, securebits; in a
 * child and in its threads others.  Only as root of the host: in a user namespace these ids do not exist, and an
 * ordinary user cannot take them.
 */
#include "prog.h"

#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <pthread.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

struct ids {
	uid_t u[4];
	gid_t g[4];
	int ngroups;
	gid_t groups[64];
	unsigned long long cap[5]; /* inheritable, permitted, effective, bounding, ambient */
	int bits, nnp, keep;
};

static struct ids *want;
static int *up;
static int leave;

static void status_quad(const char *text, const char *name, unsigned int *out)
{
	const char *p = strstr(text, name);

	CHECK(p && sscanf(p + strlen(name), "%u %u %u %u", out, out + 1, out + 2, out + 3) == 4);
}

static void read_ids(struct ids *r)
{
	static const char *const caps[] = { "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb" };
	char path[64], text[8192];
	ssize_t n;
	int fd;

	memset(r, 0, sizeof(*r));
	snprintf(path, sizeof(path), "/proc/self/task/%d/status", (int)gettid());
	fd = open(path, O_RDONLY);
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	CHECK(n > 0);
	text[n] = 0;
	status_quad(text, "\nUid:", r->u);
	status_quad(text, "\nGid:", r->g);
	for (int i = 0; i < 5; i++)
		r->cap[i] = prog_status(getpid(), gettid(), caps[i], 16);
	r->ngroups = getgroups(64, r->groups);
	r->bits = prctl(PR_GET_SECUREBITS);
	r->nnp = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
	r->keep = prctl(PR_GET_KEEPCAPS);
}

static void same(const struct ids *w)
{
	struct ids now;

	read_ids(&now);
	for (int i = 0; i < 4; i++)
		if (now.u[i] != w->u[i] || now.g[i] != w->g[i])
			prog_fail("id %d: uid %u gid %u, were %u %u", i, now.u[i], now.g[i], w->u[i], w->g[i]);
	for (int i = 0; i < 5; i++)
		if (now.cap[i] != w->cap[i])
			prog_fail("capability set %d is %llx, was %llx", i, now.cap[i], w->cap[i]);
	CHECK(now.ngroups == w->ngroups && !memcmp(now.groups, w->groups, sizeof(now.groups)));
	CHECK(now.bits == w->bits);
	CHECK(now.nnp == w->nnp);
	CHECK(now.keep == w->keep);
}

static void set_caps(unsigned long long inh, unsigned long long prm, unsigned long long eff)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2] = { { eff, prm, inh }, { eff >> 32, prm >> 32, inh >> 32 } };

	CHECK(syscall(SYS_capset, &h, d) == 0);
}

#define CAP(x) (1ull << CAP_##x)

/* Root with few capabilities, some of them inheritable and ambient. */
static void child_caps(void *arg)
{
	CHECK(prctl(PR_CAPBSET_DROP, CAP_SYS_BOOT) == 0 && prctl(PR_CAPBSET_DROP, CAP_MKNOD) == 0);
	CHECK(prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP | SECBIT_NOROOT | SECBIT_NOROOT_LOCKED) == 0);
	CHECK(setgroups(3, (gid_t[]){ 7, 8, 100000 }) == 0);
	CHECK(setresgid(101, 102, 103) == 0 && setresuid(0, 202, 0) == 0);
	setfsuid(204);
	setfsgid(104);
	set_caps(CAP(CHOWN) | CAP(KILL), CAP(CHOWN) | CAP(KILL) | CAP(NET_RAW) | CAP(SETPCAP), CAP(KILL) | CAP(SETPCAP));
	CHECK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN, 0, 0) == 0);
	read_ids(&want[0]);
	CHECK(want[0].u[3] == 204 && want[0].g[3] == 104 && want[0].cap[4] == CAP(CHOWN));
	prog_count(up);
	prog_wait_go();
	same(&want[0]);
}

/* An ordinary user without any capability, no_new_privs. */
static void child_user(void *arg)
{
	CHECK(setgroups(1, (gid_t[]){ 1001 }) == 0);
	CHECK(setresgid(1001, 1002, 1003) == 0 && setresuid(1001, 1002, 1003) == 0);
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	read_ids(&want[1]);
	prog_count(up);
	prog_wait_go();
	same(&want[1]);
}

static void *thread(void *arg)
{
	long n = (long)arg;

	/* the calls themselves: glibc's set all threads */
	CHECK(syscall(SYS_setgroups, 1, (gid_t[]){ 50 + n }) == 0);
	CHECK(syscall(SYS_setresgid, 10 + n, 20 + n, 30 + n) == 0);
	if (n == 2)
		CHECK(prctl(PR_SET_KEEPCAPS, 1) == 0);
	CHECK(syscall(SYS_setresuid, 10 + n, 20 + n, n == 3 ? 0 : 30 + n) == 0);
	read_ids(&want[n]);
	prog_count(up);
	while (!__atomic_load_n(&leave, __ATOMIC_SEQ_CST))
		prog_nap(20);
	same(&want[n]);
	return NULL;
}

static void child_threads(void *arg)
{
	pthread_t t[3];

	for (long i = 0; i < 3; i++)
		CHECK(pthread_create(&t[i], NULL, thread, (void *)(i + 2)) == 0);
	read_ids(&want[5]);
	prog_count(up);
	prog_wait_go();
	same(&want[5]);
	__atomic_store_n(&leave, 1, __ATOMIC_SEQ_CST);
	for (int i = 0; i < 3; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
}

int main(int argc, char **argv)
{
	static void (*const fn[])(void *) = { child_caps, child_user, child_threads };
	pid_t pid[3];

	prog_init(argc, argv);
	want = prog_shared(8 * sizeof(*want));
	up = prog_shared(4096);
	if (setgroups(1, (gid_t[]){ 100000 }) < 0)
		prog_skip("the ids that this needs do not exist here");
	CHECK(chmod(prog_dir, 0777) == 0);
	CHECK(setgroups(4, (gid_t[]){ 1, 2, 3, 4 }) == 0);
	for (int i = 0; i < 3; i++)
		pid[i] = prog_child(fn[i], NULL);
	prog_wait_count(up, 6);
	read_ids(&want[6]);
	prog_ready();
	same(&want[6]);
	for (int i = 0; i < 3; i++)
		prog_reap(pid[i]);
	prog_ok();
}
