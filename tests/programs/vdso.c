/* SPDX-License-Identifier: MIT */
/* The vDSO: clocks go on forwards, agree with the system calls, and are faster than these. */
#include "prog.h"

#include <pthread.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <sys/time.h>

static const clockid_t clocks[] = { CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME };

static long long ns(clockid_t c, int by_call)
{
	struct timespec ts;

	CHECK((by_call ? syscall(SYS_clock_gettime, c, &ts) : clock_gettime(c, &ts)) == 0);
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

static void agree(void)
{
	for (int i = 0; i < 4; i++) {
		long long tolerance = clocks[i] == CLOCK_MONOTONIC_COARSE ? 20000000 : 0;
		long long a = ns(clocks[i], 1), b = ns(clocks[i], 0), c = ns(clocks[i], 1);

		CHECK(a <= b + tolerance && b <= c + tolerance);
	}
}

/* Well below the price of a call, in the best of many rounds? */
static int vdso_is_faster(long long *by_vdso, long long *by_call)
{
	*by_vdso = *by_call = 1ll << 60;
	for (int i = 0; i < 2000; i++) {
		long long t0 = ns(CLOCK_MONOTONIC, 0), t1, t2;

		for (int j = 0; j < 20; j++)
			ns(CLOCK_MONOTONIC, 0);
		t1 = ns(CLOCK_MONOTONIC, 0);
		for (int j = 0; j < 20; j++)
			ns(CLOCK_MONOTONIC, 1);
		t2 = ns(CLOCK_MONOTONIC, 0);
		if (t1 - t0 < *by_vdso)
			*by_vdso = t1 - t0;
		if (t2 - t1 < *by_call)
			*by_call = t2 - t1;
	}
	return *by_vdso < *by_call * 3 / 4;
}

int main(int argc, char **argv)
{
	long long was[4], by_vdso, by_call;
	struct timeval tv;
	int faster;

	prog_init(argc, argv);
	CHECK(getauxval(AT_SYSINFO_EHDR) != 0);
	for (int i = 0; i < 4; i++)
		was[i] = ns(clocks[i], 0);
	agree();
	faster = vdso_is_faster(&by_vdso, &by_call);
	prog_ready();
	CHECK(memcmp((void *)getauxval(AT_SYSINFO_EHDR), "\177ELF", 4) == 0);
	for (int i = 1; i < 4; i++)
		CHECK(ns(clocks[i], 0) >= was[i]);
	agree();
	CHECK(gettimeofday(&tv, NULL) == 0 && llabs(tv.tv_sec - ns(CLOCK_REALTIME, 1) / 1000000000) <= 1);
	CHECK(llabs(time(NULL) - tv.tv_sec) <= 2);
	CHECK(sched_getcpu() >= 0);
	/* the fast path is one still (some clocks of virtual machines have none) */
	if (faster && !vdso_is_faster(&by_vdso, &by_call))
		prog_fail("clock_gettime %lld ns through the vDSO, %lld ns by system call", by_vdso, by_call);
	prog_ok();
}
