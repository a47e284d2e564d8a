/* SPDX-License-Identifier: MIT */
/* Stacks grow afterwards too: the main one, deeply, and a mapping with MAP_GROWSDOWN. */
#include "prog.h"

#define PAGE 4096

static int deep(int n)
{
	volatile char frame[4000];

	frame[0] = n;
	frame[3999] = n;
	return n == 0 ? 0 : deep(n - 1) + (frame[0] == (char)n && frame[3999] == (char)n);
}

static int grows(const void *addr)
{
	char flags[512];

	prog_vm_flags(addr, flags, sizeof(flags));
	return strstr(flags, " gd") != NULL;
}

int main(int argc, char **argv)
{
	char *room, *p;
	int local = 77;

	prog_init(argc, argv);
	room = mmap(NULL, 1024 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(room != MAP_FAILED && munmap(room, 1024 * PAGE) == 0);
	p = mmap(room + 1020 * PAGE, 4 * PAGE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED, -1, 0);
	CHECK(p == room + 1020 * PAGE);
	for (int i = 1; i < 10; i++)
		p[-i * PAGE] = i;
	CHECK(grows(p) && grows(&local));
	prog_ready();
	CHECK(grows(p) && grows(&local));
	for (int i = 1; i < 10; i++)
		CHECK(p[-i * PAGE] == i);
	for (int i = 10; i < 500; i++)
		p[-i * PAGE] = i;
	for (int i = 10; i < 500; i++)
		CHECK(p[-i * PAGE] == (char)i);
	CHECK(deep(1000) == 1000 && local == 77);
	prog_ok();
}
