/* SPDX-License-Identifier: MIT */
/*
 * plan.c: the input as operations of two plans: linking refuses or accepts them; then plans are printed, and
 * a failure is explained from words in shared memory that a task may have written.
 */
#include "fuzz.h"

#include <stdio.h>

#include "log.h"
#include "plan.h"
#include "session.h"

#define BASE 0x200000000000ull
#define BYTES (4ull << 20)

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	log_init();
	log_set_level(0);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static FILE *null;
	struct session *s = session_new(CR_MODE_RESTORE, NULL);
	struct arena a = { 0 };
	struct plan_set *ps;
	struct plan *plans[2];
	uint64_t base = BASE;
	char text[256];

	if (!null)
		null = fopen("/dev/null", "w");
	while (arena_new(s, base, BYTES, &a) < 0) /* the sanitizer may have something there */
		base += BYTES;
	ps = plan_set_new(s, &a);
	plans[0] = plan_new(ps, "pid 1");
	plans[1] = plan_new(ps, "pid 2");
	plan_fork(plans[0], plans[1], 0, 17, NULL, 0);
	for (size_t i = 0; (i + 1) * sizeof(struct blob_op) <= size && i < 1000; i++) {
		struct blob_op op;

		memcpy(&op, data + i * sizeof(op), sizeof(op));
		*vec_push(&plans[op.pad & 1]->ops) = op;
	}
	plan_link(ps);
	plan_print(ps, null);
	if (size >= sizeof(*a.shared))
		memcpy(a.shared, data + size - sizeof(*a.shared), sizeof(*a.shared));
	plan_explain_failure(ps, text, sizeof(text));
	plan_set_free(ps);
	arena_free(&a);
	session_free(s);
	return 0;
}
