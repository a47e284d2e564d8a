/* SPDX-License-Identifier: MIT */
/*
 * What the kernel says about the program in /proc/self: cmdline, environ, auxv, comm, exe, the numbers in stat; and
 * the strings are those that argv and environ point to, also when the program has overwritten them.
 */
#include "prog.h"

#include <sys/auxv.h>
#include <sys/stat.h>

extern char **environ;

static size_t slurp(const char *name, char *buf, size_t size)
{
	size_t have = 0;
	ssize_t n;
	int fd = open(name, O_RDONLY);

	CHECK(fd >= 0);
	while (have < size && (n = read(fd, buf + have, size - have)) > 0)
		have += n;
	close(fd);
	return have;
}

static const char *const names[] = { "/proc/self/cmdline", "/proc/self/environ", "/proc/self/auxv", "/proc/self/comm" };
static char was[4][65536], now[4][65536];

/* Fields 26 to 28 and 45 to 51 of stat: where code, stack, data, heap, arguments and environment are. */
static void layout(unsigned long *f)
{
	char text[2048], *p;
	int n = 0;

	text[slurp("/proc/self/stat", text, sizeof(text) - 1)] = 0;
	p = strrchr(text, ')') + 2;
	for (int field = 3; p; field++) {
		unsigned long v = strtoul(p, NULL, 10);

		if ((field >= 26 && field <= 28) || (field >= 45 && field <= 51))
			f[n++] = v;
		p = strchr(p, ' ');
		p = p ? p + 1 : NULL;
	}
	CHECK(n == 10);
}

int main(int argc, char **argv)
{
	unsigned long before[10], after[10];
	char exe[4200], exe2[4200];
	struct stat st, st2;
	size_t len[4];
	ssize_t n, n2;

	prog_init(argc, argv);
	for (int i = 0; argv[0][i]; i++) /* as setproctitle() does */
		argv[0][i] = 'A' + i % 26;
	layout(before);
	for (int i = 0; i < 4; i++)
		len[i] = slurp(names[i], was[i], sizeof(was[i]));
	n = readlink("/proc/self/exe", exe, sizeof(exe));
	CHECK(n > 0 && stat("/proc/self/exe", &st) == 0);
	prog_ready();
	layout(after);
	for (int i = 0; i < 10; i++)
		if (before[i] != after[i])
			prog_fail("number %d of the layout is %#lx, was %#lx", i, after[i], before[i]);
	for (int i = 0; i < 4; i++) {
		size_t l = slurp(names[i], now[i], sizeof(now[i]));

		if (l != len[i] || memcmp(was[i], now[i], l))
			prog_fail("%s differs (%zu bytes, were %zu)", names[i], l, len[i]);
	}
	CHECK(now[0][0] == 'A' && now[0][1] == 'B');
	n2 = readlink("/proc/self/exe", exe2, sizeof(exe2));
	CHECK(n2 == n && !memcmp(exe, exe2, n) && stat("/proc/self/exe", &st2) == 0);
	CHECK(st.st_dev == st2.st_dev && st.st_ino == st2.st_ino);
	CHECK(getauxval(AT_PAGESZ) == 4096);
	prog_ok();
}
