/* SPDX-License-Identifier: MIT */
/*
 * cpu.h: what this CPU is and can do, in the words that cpuinfo.img has for it.
 *
 * The image has an array of 32-bit words of feature bits, each the answer of one register of CPUID, in the order that the
 * kernel numbers them in; words that it makes up itself are 0 here.
 */
#ifndef ARCH_CPU_H
#define ARCH_CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CPU_WORDS 19
#define CPU_CAPABILITY_VERSION 2 /* of that order of words */

enum cpu_vendor { CPU_UNKNOWN, CPU_INTEL, CPU_AMD }; /* as in the image */

struct cpu_facts {
	enum cpu_vendor vendor;
	uint32_t family, model, stepping;
	uint32_t words[CPU_WORDS];
	char name[49];	    /* "AMD EPYC 7763" */
	uint64_t xfeatures; /* components of the extended state that the kernel switches (XCR0); 0: no xsave */
	uint32_t xsave_size, xsave_size_max; /* bytes of its area: with those components, with all that the CPU has */
};

void cpu_read(struct cpu_facts *ret);
/* As cpu_facts.xfeatures; asks the CPU. */
uint64_t cpu_xfeatures(void);

enum cpu_kind {
	CPU_FEATURE_OTHER, /* nothing that a program uses */
	CPU_FEATURE_FPU,   /* how the extended state is kept */
	CPU_FEATURE_INS,   /* instructions */
};
/* What bit `bit` of word `word` is: *ret_name is "avx512f", or NULL when it has no name here. */
enum cpu_kind cpu_feature(unsigned word, unsigned bit, const char **ret_name);
/* Name of a component of the extended state ("AVX-512 (zmm0-15)"), or NULL. */
const char *cpu_component_name(unsigned bit);
/* Components in mask as "a, b, c" into buf; unknown ones as "component N". */
const char *cpu_component_names(uint64_t mask, char *buf, size_t size);

#endif
