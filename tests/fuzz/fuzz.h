/* SPDX-License-Identifier: MIT */
/*
 * fuzz.h: what the fuzz targets share.  Each target is one file with LLVMFuzzerTestOneInput(), built by clang with
 * libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer (mk/fuzz.mk); run.sh runs them.
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* The contract of libFuzzer: data is the target's only for the call; always returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* A copy of the input as a C string on the heap, so that a read past its end is seen. */
static inline char *fuzz_text(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	if (!text)
		abort();
	memcpy(text, data, size);
	text[size] = 0;
	return text;
}

#endif
