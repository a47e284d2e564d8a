/* SPDX-License-Identifier: MIT */
/* Every resource limit, soft and hard, of a parent and a child that lowered other ones. */
#include "prog.h"

#include <sys/resource.h>

static int *up;

static void lower(int which, rlim_t soft, rlim_t hard)
{
	struct rlimit r = { soft, hard };

	CHECK(setrlimit(which, &r) == 0);
}

static void all(struct rlimit *r)
{
	for (int i = 0; i < RLIM_NLIMITS; i++)
		CHECK(getrlimit(i, &r[i]) == 0);
}

static void same(const struct rlimit *a)
{
	struct rlimit b[RLIM_NLIMITS];

	all(b);
	for (int i = 0; i < RLIM_NLIMITS; i++)
		if (a[i].rlim_cur != b[i].rlim_cur || a[i].rlim_max != b[i].rlim_max)
			prog_fail("limit %d was %lx %lx, is %lx %lx", i, a[i].rlim_cur, a[i].rlim_max, b[i].rlim_cur,
				  b[i].rlim_max);
}

static void child(void *arg)
{
	struct rlimit r[RLIM_NLIMITS];

	lower(RLIMIT_NOFILE, 7, 40);
	lower(RLIMIT_AS, 1l << 33, 1l << 34);
	lower(RLIMIT_CPU, 1000, 2000);
	lower(RLIMIT_SIGPENDING, 11, 12);
	all(r);
	prog_count(up);
	prog_wait_go();
	same(r);
	CHECK(open("/dev/zero", O_RDONLY) < 7);
}

int main(int argc, char **argv)
{
	struct rlimit r[RLIM_NLIMITS];
	pid_t pid;

	prog_init(argc, argv);
	up = prog_shared(4096);
	lower(RLIMIT_STACK, 4 << 20, 64 << 20);
	lower(RLIMIT_CORE, 0, 12345);
	lower(RLIMIT_FSIZE, 1 << 30, 1 << 30);
	lower(RLIMIT_DATA, 1 << 30, 2l << 30);
	lower(RLIMIT_MEMLOCK, 8192, 16384);
	lower(RLIMIT_MSGQUEUE, 4096, 8192);
	all(r);
	pid = prog_child(child, NULL);
	prog_wait_count(up, 1);
	prog_ready();
	same(r);
	prog_reap(pid);
	prog_ok();
}
