/* SPDX-License-Identifier: MIT */
/* Code that was made at run time: called before and after, and while its frame is on the stack; then changed again. */
#include "prog.h"

typedef int (*fn)(int);
typedef int (*outer)(void (*)(void));

static void emit(unsigned char *p, int add)
{
	/* lea add(%rdi), %eax; ret */
	const unsigned char code[] = { 0x8d, 0x87, add, add >> 8, add >> 16, add >> 24, 0xc3 };

	memcpy(p, code, sizeof(code));
}

int main(int argc, char **argv)
{
	/* sub $8,%rsp; call *%rdi; add $8,%rsp; mov $4242,%eax; ret */
	static const unsigned char call[] = {
		0x48, 0x83, 0xec, 8, 0xff, 0xd7, 0x48, 0x83, 0xc4, 8, 0xb8, 0x92, 0x10, 0, 0, 0xc3
	};
	unsigned char *rwx, *rx;

	prog_init(argc, argv);
	rwx = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	rx = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(rwx != MAP_FAILED && rx != MAP_FAILED);
	emit(rwx, 1000);
	emit(rx, 2000);
	memcpy(rx + 64, call, sizeof(call));
	CHECK(mprotect(rx, 4096, PROT_READ | PROT_EXEC) == 0);
	CHECK(((fn)rwx)(1) == 1001 && ((fn)rx)(1) == 2001);
	CHECK(((outer)(rx + 64))(prog_ready) == 4242);
	CHECK(((fn)rwx)(1) == 1001 && ((fn)rx)(1) == 2001);
	emit(rwx, 3000);
	CHECK(((fn)rwx)(1) == 3001);
	prog_ok();
}
