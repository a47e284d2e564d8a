/* SPDX-License-Identifier: MIT */
/*
 * Locked memory: mlock2(MLOCK_ONFAULT) leaves untouched pages away; mlockall(MCL_FUTURE), with and without MCL_ONFAULT, goes on
 * for mappings made afterwards, and only there; a limit of locked memory that is lower by now.
 */
#include "prog.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#define PAGE 4096
#define PAGES 8

static int *up;

/* "Rss: 4 kB" and the flags of the mapping at addr */
static long look(const void *addr, char *flags)
{
	unsigned long start, end;
	char line[512];
	long rss = -1;
	int in = 0;
	FILE *f = fopen("/proc/self/smaps", "r");

	CHECK(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			in = start <= (unsigned long)addr && (unsigned long)addr < end;
		else if (in)
			(void)(sscanf(line, "Rss: %ld", &rss) == 1 || sscanf(line, "VmFlags: %255[^\n]", flags) == 1);
	}
	fclose(f);
	return rss;
}

static char *map(void)
{
	char *p = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	/* not merged with what there is */
	CHECK(prctl(0x53564d41, 0, p, PAGES * PAGE, "new") == 0 || errno == EINVAL);
	return p;
}

/* What a new mapping is like: 0 not locked, 1 locked, 2 locked when touched. */
static int future(void)
{
	char flags[256] = "", *p = map();
	long rss = look(p, flags);
	int kind = !strstr(flags, "lo") ? 0 : rss ? 1 : 2;

	CHECK(kind != 0 || rss == 0);
	CHECK(munmap(p, PAGES * PAGE) == 0);
	return kind;
}

static void with(void *arg)
{
	int how = *(int *)arg, want = !how ? 0 : how & MCL_ONFAULT ? 2 : 1;

	CHECK(!how || mlockall(how) == 0);
	CHECK(future() == want);
	prog_count(up);
	prog_wait_go();
	if (future() != want)
		prog_fail("mlockall(%d): a new mapping is of kind %d", how, future());
}

int main(int argc, char **argv)
{
	static int how[] = { 0, MCL_FUTURE, MCL_FUTURE | MCL_ONFAULT, MCL_CURRENT | MCL_FUTURE };
	char flags[256] = "", now[256] = "", *p;
	struct rlimit none = { 0, 0 };
	pid_t pid[4];
	long rss;

	prog_init(argc, argv);
	up = prog_shared(PAGE);
	for (int i = 0; i < 4; i++)
		pid[i] = prog_child(with, &how[i]);
	prog_wait_count(up, 4);
	p = map();
	CHECK(syscall(SYS_mlock2, p, PAGES * PAGE, 1) == 0);
	p[PAGE] = 'l';
	rss = look(p, flags);
	CHECK(rss > 0 && rss < PAGES * 4 && strstr(flags, "lo") && strstr(flags, "lf"));
	CHECK(setrlimit(RLIMIT_MEMLOCK, &none) == 0);
	prog_ready();
	if (look(p, now) != rss || !strstr(now, "lo") || !strstr(now, "lf"))
		prog_fail("%ld kB there, were %ld; flags%s", look(p, now), rss, now);
	CHECK(p[PAGE] == 'l');
	CHECK(getrlimit(RLIMIT_MEMLOCK, &none) == 0 && none.rlim_max == 0);
	for (int i = 0; i < 4; i++)
		prog_reap(pid[i]);
	prog_ok();
}
