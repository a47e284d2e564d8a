/* SPDX-License-Identifier: MIT */
/* Nearly as many mappings as the kernel allows (vm.max_map_count): pages of two protections in turn, each with its number. */
#include "prog.h"

#define PAGE 4096ul

static long limit(void)
{
	char text[32] = "";
	int fd = open("/proc/sys/vm/max_map_count", O_RDONLY);

	CHECK(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	return strtol(text, NULL, 10);
}

static long count(void)
{
	char text[65536];
	long lines = 0;
	ssize_t n;
	int fd = open("/proc/self/maps", O_RDONLY);

	CHECK(fd >= 0);
	while ((n = read(fd, text, sizeof(text))) > 0)
		for (ssize_t i = 0; i < n; i++)
			lines += text[i] == '\n';
	close(fd);
	return lines;
}

int main(int argc, char **argv)
{
	long most, was;
	char *p;

	prog_init(argc, argv);
	most = limit() - 530;
	if (most > 65000)
		most = 65000;
	p = mmap(NULL, most * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	CHECK(p != MAP_FAILED);
	/* a page in sixteen has contents */
	for (long i = 0; i < most; i += 16)
		*(long *)(p + i * PAGE) = i + 1;
	for (long i = 1; i < most; i += 2)
		CHECK(mprotect(p + i * PAGE, PAGE, PROT_READ) == 0);
	was = count();
	CHECK(was >= most);
	prog_ready();
	if (count() != was)
		prog_fail("%ld mappings, were %ld", count(), was);
	for (long i = 0; i < most; i++)
		CHECK(*(long *)(p + i * PAGE) == (i % 16 ? 0 : i + 1));
	CHECK(mprotect(p, most * PAGE, PROT_READ) == 0);
	prog_ok();
}
