/* SPDX-License-Identifier: MIT */
/*
 * Memory in unusual places: the lowest page that may be mapped, the highest page of a task, 64 GiB that are only reserved;
 * the vDSO moved away, apart from its data, or unmapped, by children.
 */
#include "prog.h"

#include <sys/auxv.h>
#include <sys/syscall.h>

#define PAGE 4096ul
#define TOP ((1ul << 47) - 2 * PAGE) /* the last page is not for tasks */
#define RESERVED (64ul << 30)

static int *up;

struct range {
	char *start, *end;
};

/* All mappings whose name begins so, as one range. */
static struct range find(const char *name)
{
	struct range r = { NULL, NULL };
	unsigned long start, end;
	char line[512], *p;
	FILE *f = fopen("/proc/self/maps", "r");

	CHECK(f);
	while (fgets(line, sizeof(line), f)) {
		p = strchr(line, '[');
		if (!p || strncmp(p, name, strlen(name)) || sscanf(line, "%lx-%lx ", &start, &end) != 2)
			continue;
		if (!r.start)
			r.start = (char *)start;
		r.end = (char *)end;
	}
	fclose(f);
	return r;
}

/* Each mapping on its own: one call cannot move several. */
static void move_each(const char *name, char *to, char *from)
{
	unsigned long start, end, at[8], len[8];
	char line[512], *p;
	int n = 0;
	FILE *f = fopen("/proc/self/maps", "r");

	CHECK(f);
	while (n < 8 && fgets(line, sizeof(line), f)) {
		p = strchr(line, '[');
		if (p && !strncmp(p, name, strlen(name)) && sscanf(line, "%lx-%lx ", &start, &end) == 2) {
			at[n] = start;
			len[n++] = end - start;
		}
	}
	fclose(f);
	for (int i = 0; i < n; i++)
		CHECK(mremap((void *)at[i], len[i], len[i], MREMAP_MAYMOVE | MREMAP_FIXED, to + ((char *)at[i] - from)) !=
		      MAP_FAILED);
}

static int can_move(void)
{
	struct range code = find("[vdso]");
	void *p;

	if (!code.start)
		return 0;
	p = mremap(code.start, code.end - code.start, code.end - code.start, MREMAP_MAYMOVE | MREMAP_FIXED,
		   (void *)0x500000000000);
	if (p == MAP_FAILED)
		return 0; /* sealed */
	CHECK(mremap(p, code.end - code.start, code.end - code.start, MREMAP_MAYMOVE | MREMAP_FIXED, code.start) == code.start);
	return 1;
}

/* Time by system call: the vDSO is where libc does not look. */
static void nap(void)
{
	struct timespec ts = { 0, 20000000 };

	syscall(SYS_nanosleep, &ts, NULL);
}

static void moved(void *arg)
{
	struct range data = find("[vvar"), code = find("[vdso]");
	char *to = (char *)0x300000000000;

	move_each("[vvar", to, data.start);
	move_each("[vdso]", to + (code.start - data.start), code.start);
	prog_count(up);
	while (!prog_has("go"))
		nap();
	CHECK(find("[vdso]").start == to + (code.start - data.start) && find("[vvar").start == to);
	CHECK(!memcmp(find("[vdso]").start, "\177ELF", 4));
}

static void apart(void *arg)
{
	struct range code = find("[vdso]"), data = find("[vvar");

	move_each("[vdso]", (char *)0x200000000000, code.start);
	prog_count(up);
	while (!prog_has("go"))
		nap();
	CHECK(find("[vdso]").start == (char *)0x200000000000 && find("[vvar").start == data.start);
	CHECK(!memcmp((char *)0x200000000000, "\177ELF", 4));
}

static void without(void *arg)
{
	struct range data = find("[vvar"), code = find("[vdso]");

	CHECK(munmap(data.start, data.end - data.start) == 0 && munmap(code.start, code.end - code.start) == 0);
	prog_count(up);
	while (!prog_has("go"))
		nap();
	CHECK(!find("[vdso]").start && !find("[vvar").start);
}

static long lowest(void)
{
	char text[32] = "";
	int fd = open("/proc/sys/vm/mmap_min_addr", O_RDONLY);

	CHECK(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	return strtol(text, NULL, 10);
}

static char *at(unsigned long addr)
{
	void *p = mmap((void *)addr, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (p == MAP_FAILED)
		prog_fail("cannot map a page at %#lx: %s", addr, strerror(errno));
	return p;
}

int main(int argc, char **argv)
{
	char *low, *high, *reserved;
	pid_t pid[4] = { 0 };
	int n = 0;

	prog_init(argc, argv);
	up = prog_shared(PAGE);
	low = at(lowest() < (long)PAGE ? PAGE : (unsigned long)lowest());
	high = at(TOP);
	reserved = mmap(NULL, RESERVED, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	CHECK(reserved != MAP_FAILED && mprotect(reserved + RESERVED / 2, PAGE, PROT_READ | PROT_WRITE) == 0);
	low[1] = 'l';
	high[PAGE - 1] = 'h';
	reserved[RESERVED / 2] = 'r';
	if (can_move()) {
		pid[n++] = prog_child(moved, NULL);
		pid[n++] = prog_child(apart, NULL);
		pid[n++] = prog_child(without, NULL);
	}
	prog_wait_count(up, n);
	prog_ready();
	CHECK(low[1] == 'l' && low[0] == 0 && high[PAGE - 1] == 'h' && high[0] == 0);
	CHECK(reserved[RESERVED / 2] == 'r');
	CHECK(mprotect(reserved + RESERVED / 2 - PAGE, PAGE, PROT_READ) == 0 && reserved[RESERVED / 2 - 1] == 0);
	while (n)
		prog_reap(pid[--n]);
	prog_ok();
}
