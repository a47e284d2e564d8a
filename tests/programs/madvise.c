/* SPDX-License-Identifier: MIT */
/* Flags of mappings as smaps shows them: madvise(2), mlock(2), MAP_NORESERVE, MAP_LOCKED; and a wiped-on-fork page. */
#include "prog.h"

#define PAGE 4096

static const struct {
	int advice;
	const char *flag;
} advice[] = {
	{ MADV_DONTFORK, "dc" }, { MADV_DONTDUMP, "dd" }, { MADV_SEQUENTIAL, "sr" }, { MADV_RANDOM, "rr" },
	{ MADV_HUGEPAGE, "hg" }, { MADV_NOHUGEPAGE, "nh" }, { MADV_MERGEABLE, "mg" }, { MADV_WIPEONFORK, "wf" },
};
enum { N = sizeof(advice) / sizeof(advice[0]) };

static void no_sd(char *s) /* soft-dirty comes and goes */
{
	char *p = strstr(s, " sd");

	if (p)
		memmove(p, p + 3, strlen(p + 3) + 1);
}

int main(int argc, char **argv)
{
	char *p[N], *locked, *noreserve, was[N + 2][512], now[512];
	int ok[N];

	prog_init(argc, argv);
	for (int i = 0; i < N; i++) {
		p[i] = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		CHECK(p[i] != MAP_FAILED);
		/* keep them apart */
		CHECK(munmap(p[i], PAGE) == 0);
		p[i] += PAGE;
		memset(p[i], 'm', PAGE);
		ok[i] = madvise(p[i], 7 * PAGE, advice[i].advice) == 0;
		CHECK(ok[i] || errno == EINVAL); /* the kernel has no such thing */
		prog_vm_flags(p[i], was[i], sizeof(was[i]));
		CHECK(!ok[i] || strstr(was[i], advice[i].flag));
	}
	locked = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(locked != MAP_FAILED && mlock(locked, 2 * PAGE) == 0);
	prog_vm_flags(locked, was[N], sizeof(was[N]));
	CHECK(strstr(was[N], " lo"));
	noreserve = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	CHECK(noreserve != MAP_FAILED);
	prog_vm_flags(noreserve, was[N + 1], sizeof(was[N + 1]));
	prog_ready();
	for (int i = 0; i < N + 2; i++) {
		prog_vm_flags(i < N ? p[i] : i == N ? locked : noreserve, now, sizeof(now));
		no_sd(now);
		no_sd(was[i]);
		if (strcmp(now, was[i]))
			prog_fail("%s: flags%s, were%s", i < N ? advice[i].flag : "lo/nr", now, was[i]);
	}
	for (int i = 0; i < N; i++)
		CHECK(p[i][0] == 'm' && p[i][PAGE] == 0);
	prog_ok();
}
