/* SPDX-License-Identifier: MIT */
/*
 * Scheduling beyond policy and nice: CPU affinity, deadline parameters, utilization clamps, reset-on-fork, the length of
 * slices, I/O priority, timer slack, thread by thread; and the nice value of the session's autogroup.
 */
#include "prog.h"

#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define IOPRIO(class, data) ((class) << 13 | (data))

struct attr {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
	uint32_t util_min, util_max;
};

static int up, leave, no_deadline;

static void get(struct attr *a)
{
	memset(a, 0, sizeof(*a));
	CHECK(syscall(SYS_sched_getattr, 0, a, sizeof(*a), 0) == 0);
}

static int set(const struct attr *a)
{
	return syscall(SYS_sched_setattr, 0, a, 0);
}

static void ready(void)
{
	prog_count(&up);
	while (!__atomic_load_n(&leave, __ATOMIC_SEQ_CST))
		prog_nap(10);
}

static void *bound(void *arg)
{
	cpu_set_t want, got;
	int last = sysconf(_SC_NPROCESSORS_ONLN) - 1;

	CPU_ZERO(&want);
	CPU_SET(last, &want);
	CHECK(sched_setaffinity(0, sizeof(want), &want) == 0);
	CHECK(prctl(PR_SET_TIMERSLACK, 1234567) == 0);
	CHECK(syscall(SYS_ioprio_set, 1, 0, IOPRIO(2, 6)) == 0);
	ready();
	CHECK(sched_getaffinity(0, sizeof(got), &got) == 0 && CPU_EQUAL(&want, &got));
	CHECK(prctl(PR_GET_TIMERSLACK) == 1234567);
	CHECK(syscall(SYS_ioprio_get, 1, 0) == IOPRIO(2, 6));
	return NULL;
}

static void *deadline(void *arg)
{
	struct attr a = { .size = sizeof(a), .policy = 6, .runtime = 1000000, .deadline = 20000000, .period = 40000000 };

	a.flags = 1; /* SCHED_FLAG_RESET_ON_FORK */
	if (set(&a) < 0) {
		CHECK(errno == EPERM || errno == EINVAL || errno == EBUSY);
		printf("no SCHED_DEADLINE here: %s\n", strerror(errno));
		no_deadline = 1;
	}
	ready();
	if (no_deadline)
		return NULL;
	get(&a);
	CHECK(a.policy == 6 && a.flags == 1 && a.runtime == 1000000 && a.deadline == 20000000 && a.period == 40000000);
	return NULL;
}

/* How much of a CPU the scheduler shall count it for, at least and at most (CONFIG_UCLAMP_TASK). */
static void *clamped(void *arg)
{
	/* KEEP_POLICY, KEEP_PARAMS, UTIL_CLAMP_MIN, UTIL_CLAMP_MAX */
	struct attr a = { .size = sizeof(a), .flags = 0x78, .util_min = 100, .util_max = 700 };
	int lacking = set(&a) < 0;

	if (lacking) {
		CHECK(errno == EOPNOTSUPP || errno == EPERM || errno == EINVAL);
		printf("no utilization clamping here: %s\n", strerror(errno));
	}
	ready();
	get(&a);
	CHECK(lacking || (a.util_min == 100 && a.util_max == 700));
	return NULL;
}

static void *slices(void *arg)
{
	struct attr a, b;

	get(&a);
	a.size = sizeof(a);
	a.policy = SCHED_BATCH;
	a.flags = 1;
	a.nice = 3;
	a.runtime = 7000000; /* taken since Linux 6.12 */
	CHECK(set(&a) == 0);
	CHECK(syscall(SYS_ioprio_set, 1, 0, IOPRIO(3, 0)) == 0);
	get(&a);
	ready();
	get(&b);
	CHECK(a.policy == SCHED_BATCH && b.policy == a.policy && b.flags == a.flags && b.nice == 3);
	CHECK(b.runtime == a.runtime);
	CHECK(syscall(SYS_ioprio_get, 1, 0) == IOPRIO(3, 0));
	return NULL;
}

static void *plain(void *arg)
{
	struct attr a, b;
	cpu_set_t c, d;

	get(&a);
	CHECK(sched_getaffinity(0, sizeof(c), &c) == 0);
	ready();
	get(&b);
	CHECK(sched_getaffinity(0, sizeof(d), &d) == 0 && CPU_EQUAL(&c, &d));
	CHECK(a.policy == b.policy && a.flags == b.flags && a.nice == b.nice && a.runtime == b.runtime);
	CHECK(prctl(PR_GET_TIMERSLACK) == 50000);
	return NULL;
}

/* -100: there are no autogroups */
static int autogroup(void)
{
	char text[100] = "", *p;
	FILE *f = fopen("/proc/self/autogroup", "r");

	if (f) {
		p = fgets(text, sizeof(text), f);
		fclose(f);
		p = p ? strstr(text, " nice ") : NULL;
		if (p)
			return atoi(p + 6);
	}
	return -100;
}

int main(int argc, char **argv)
{
	static void *(*const fn[])(void *) = { bound, deadline, clamped, slices, plain };
	enum { N = sizeof(fn) / sizeof(fn[0]) };
	pthread_t t[N];
	int group;

	prog_init(argc, argv);
	for (int i = 0; i < N; i++)
		CHECK(pthread_create(&t[i], NULL, fn[i], NULL) == 0);
	group = open("/proc/self/autogroup", O_WRONLY | O_CLOEXEC);
	if (group >= 0) {
		write(group, "6", 1);
		close(group);
	}
	group = autogroup();
	prog_wait_count(&up, N);
	prog_ready();
	CHECK(autogroup() == group);
	__atomic_store_n(&leave, 1, __ATOMIC_SEQ_CST);
	for (int i = 0; i < N; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
	prog_ok();
}
