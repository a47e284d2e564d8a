/* SPDX-License-Identifier: MIT */
/*
 * The vsyscall page, which is at the same place in every task and where old programs call
 * gettimeofday, time and getcpu: it is there afterwards with the same protection, works where it
 * worked, and a thread may be about to call it.
 */
#include "prog.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/time.h>

#define VSYSCALL 0xffffffffff600000ul

static sigjmp_buf back;
static int up, leave;
static unsigned long calls;

/* The whole line of /proc/self/maps; "" when there is none. */
static void line_of(char *out, size_t size)
{
	char line[256];
	FILE *f = fopen("/proc/self/maps", "r");

	CHECK(f);
	out[0] = 0;
	while (fgets(line, sizeof(line), f))
		if (strstr(line, "[vsyscall]"))
			snprintf(out, size, "%s", line);
	fclose(f);
}

static void on_fault(int sig)
{
	siglongjmp(back, 1);
}

static time_t vtime(void)
{
	return ((time_t (*)(time_t *))(VSYSCALL + 0x400))(NULL);
}

static int vgettimeofday(struct timeval *tv)
{
	return ((int (*)(struct timeval *, void *))VSYSCALL)(tv, NULL);
}

static int vgetcpu(unsigned *cpu)
{
	return ((int (*)(unsigned *, void *, void *))(VSYSCALL + 0x800))(cpu, NULL, NULL);
}

static int readable(void)
{
	if (sigsetjmp(back, 1))
		return 0;
	(void)*(volatile char *)VSYSCALL;
	return 1;
}

static int works(void)
{
	if (sigsetjmp(back, 1))
		return 0;
	vtime();
	return 1;
}

static void check(void)
{
	unsigned cpu = ~0u;
	struct timeval tv;
	time_t now = time(NULL);

	CHECK(vtime() - now <= 2 && vtime() >= now - 1);
	CHECK(vgettimeofday(&tv) == 0 && tv.tv_sec - now <= 2 && tv.tv_sec >= now - 1);
	CHECK(vgetcpu(&cpu) == 0 && cpu < (unsigned)sysconf(_SC_NPROCESSORS_CONF));
}

/* Nearly always in it, or in the kernel for it. */
static void *caller(void *arg)
{
	time_t last = vtime(), t;

	prog_count(&up);
	while (!__atomic_load_n(&leave, __ATOMIC_SEQ_CST)) {
		t = vtime();
		CHECK(t >= last);
		last = t;
		calls++;
	}
	return NULL;
}

int main(int argc, char **argv)
{
	char was[256], now[256];
	struct sigaction sa = { .sa_handler = on_fault };
	pthread_t t;
	int could;

	prog_init(argc, argv);
	CHECK(sigaction(SIGSEGV, &sa, NULL) == 0);
	line_of(was, sizeof(was));
	if (!was[0] || !works())
		prog_skip("this kernel has no vsyscall page (vsyscall=none)");
	could = readable();
	check();
	CHECK(pthread_create(&t, NULL, caller, NULL) == 0);
	prog_wait_count(&up, 1);
	prog_ready();
	line_of(now, sizeof(now));
	if (strcmp(was, now))
		prog_fail("the line is '%s', it was '%s'", now, was);
	CHECK(readable() == could);
	check();
	__atomic_store_n(&leave, 1, __ATOMIC_SEQ_CST);
	CHECK(pthread_join(t, NULL) == 0 && calls > 0);
	prog_ok();
}
