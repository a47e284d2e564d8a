/* SPDX-License-Identifier: MIT */
/* What every task may do to its own credentials: drop capabilities, set no_new_privs; in a thread only and in all. */
#include "prog.h"

#include <linux/capability.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static int up, leave;
static const char *const names[] = { "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs" };
enum { N = 6 };

static void drop(unsigned int keep)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2];

	CHECK(syscall(SYS_capget, &h, d) == 0);
	d[0].effective &= keep;
	d[0].permitted &= keep | 0xff;
	d[0].inheritable = d[0].permitted & 2;
	CHECK(syscall(SYS_capset, &h, d) == 0);
}

static void facts(long long *f)
{
	for (int i = 0; i < N; i++)
		f[i] = prog_status(getpid(), gettid(), names[i], 16);
}

static void same(const long long *was)
{
	long long now[N];

	facts(now);
	for (int i = 0; i < N; i++)
		if (now[i] != was[i])
			prog_fail("%s is %llx, was %llx", names[i], now[i], was[i]);
}

static void *thread(void *arg)
{
	long long was[N];

	drop(0x3);
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	facts(was);
	CHECK(was[5] == 1);
	prog_count(&up);
	while (!__atomic_load_n(&leave, __ATOMIC_SEQ_CST))
		prog_nap(20);
	same(was);
	return NULL;
}

int main(int argc, char **argv)
{
	long long was[N];
	pthread_t t;

	prog_init(argc, argv);
	CHECK(pthread_create(&t, NULL, thread, NULL) == 0);
	drop(0x3ff);
	facts(was);
	CHECK(was[5] == 0);
	prog_wait_count(&up, 1);
	prog_ready();
	same(was);
	__atomic_store_n(&leave, 1, __ATOMIC_SEQ_CST);
	CHECK(pthread_join(t, NULL) == 0);
	same(was);
	prog_ok();
}
