/* SPDX-License-Identifier: MIT */
/* The least that must survive: registers, stack, heap, static data, environment, arguments, name. */
#include "prog.h"

#include <sys/prctl.h>

static int data = 42;
static int bss[100000];

int main(int argc, char **argv)
{
	int on_stack[1000];
	char *heap = malloc(3000000), name[16], *env;
	double f = 1.5;

	prog_init(argc, argv);
	setenv("STASIS_TEST", "value", 1);
	for (int i = 0; i < 1000; i++)
		on_stack[i] = i * 7;
	for (int i = 0; i < 100000; i += 10)
		bss[i] = i;
	memset(heap, 0x5a, 3000000);
	data = 43;
	prctl(PR_SET_NAME, "counted");
	prog_ready();
	for (int i = 0; i < 1000; i++)
		CHECK(on_stack[i] == i * 7);
	for (int i = 0; i < 100000; i++)
		CHECK(bss[i] == (i % 10 ? 0 : i));
	for (int i = 0; i < 3000000; i++)
		CHECK(heap[i] == 0x5a);
	CHECK(data == 43);
	CHECK(f * 2 == 3.0);
	prctl(PR_GET_NAME, name);
	CHECK(!strcmp(name, "counted"));
	env = getenv("STASIS_TEST");
	CHECK(env && !strcmp(env, "value"));
	free(heap);
	heap = malloc(10000000);
	CHECK(heap);
	memset(heap, 1, 10000000);
	prog_ok();
}
