/* SPDX-License-Identifier: MIT */
/* cpu.c: see cpu.h. The CPUID leaves are those of the Intel SDM 2A and the AMD APM 3. */
#include "cpu.h"

#include <cpuid.h>
#include <stdio.h>
#include <stdbool.h>
#include <string.h>

#include "util.h"
#include "xsave.h"

enum cpuid_register { REG_EAX, REG_EBX, REG_ECX, REG_EDX };

/* Where the words come from. */
static const struct {
	uint8_t word, reg;
	uint32_t leaf, sub;
} sources[] = {
	{ 0, REG_EDX, 1, 0 },	       { 1, REG_EDX, 0x80000001, 0 },  { 4, REG_ECX, 1, 0 },
	{ 6, REG_ECX, 0x80000001, 0 }, { 9, REG_EBX, 7, 0 },	       { 10, REG_EAX, 13, 1 },
	{ 11, REG_ECX, 7, 0 },	       { 13, REG_EBX, 0x80000008, 0 }, { 14, REG_EAX, 6, 0 },
	{ 15, REG_EDX, 0x8000000a, 0 }, { 17, REG_EBX, 0x80000007, 0 }, { 18, REG_EDX, 7, 0 },
};

#define I CPU_FEATURE_INS
#define F CPU_FEATURE_FPU
static const struct {
	uint8_t word, bit, kind;
	char name[20];
} features[] = {
	{ 0, 0, F, "fpu" },	     { 0, 4, I, "tsc" },	  { 0, 8, I, "cx8" },
	{ 0, 11, I, "sep" },	     { 0, 15, I, "cmov" },	  { 0, 19, I, "clflush" },
	{ 0, 23, I, "mmx" },	     { 0, 24, F, "fxsr" },	  { 0, 25, I, "sse" },
	{ 0, 26, I, "sse2" },	     { 1, 11, I, "syscall" },	  { 1, 22, I, "mmxext" },
	{ 1, 27, I, "rdtscp" },	     { 1, 29, I, "lm" },	  { 1, 30, I, "3dnowext" },
	{ 1, 31, I, "3dnow" },	     { 4, 0, I, "sse3" },	  { 4, 1, I, "pclmulqdq" },
	{ 4, 9, I, "ssse3" },	     { 4, 12, I, "fma" },	  { 4, 13, I, "cx16" },
	{ 4, 19, I, "sse4_1" },	     { 4, 20, I, "sse4_2" },	  { 4, 22, I, "movbe" },
	{ 4, 23, I, "popcnt" },	     { 4, 25, I, "aes" },	  { 4, 26, F, "xsave" },
	{ 4, 27, F, "osxsave" },     { 4, 28, I, "avx" },	  { 4, 29, I, "f16c" },
	{ 4, 30, I, "rdrand" },	     { 6, 0, I, "lahf_lm" },	  { 6, 5, I, "abm" },
	{ 6, 6, I, "sse4a" },	     { 6, 8, I, "3dnowprefetch" }, { 6, 11, I, "xop" },
	{ 6, 15, I, "lwp" },	     { 6, 16, I, "fma4" },	  { 6, 21, I, "tbm" },
	{ 6, 29, I, "mwaitx" },	     { 9, 0, I, "fsgsbase" },	  { 9, 3, I, "bmi1" },
	{ 9, 4, I, "hle" },	     { 9, 5, I, "avx2" },	  { 9, 8, I, "bmi2" },
	{ 9, 9, I, "erms" },	     { 9, 11, I, "rtm" },	  { 9, 14, I, "mpx" },
	{ 9, 16, I, "avx512f" },     { 9, 17, I, "avx512dq" },	  { 9, 18, I, "rdseed" },
	{ 9, 19, I, "adx" },	     { 9, 21, I, "avx512ifma" },  { 9, 23, I, "clflushopt" },
	{ 9, 24, I, "clwb" },	     { 9, 26, I, "avx512pf" },	  { 9, 27, I, "avx512er" },
	{ 9, 28, I, "avx512cd" },    { 9, 29, I, "sha_ni" },	  { 9, 30, I, "avx512bw" },
	{ 9, 31, I, "avx512vl" },    { 10, 0, F, "xsaveopt" },	  { 10, 1, F, "xsavec" },
	{ 10, 2, I, "xgetbv1" },     { 11, 0, I, "prefetchwt1" }, { 11, 1, I, "avx512vbmi" },
	{ 11, 3, I, "pku" },	     { 11, 4, I, "ospke" },	  { 11, 5, I, "waitpkg" },
	{ 11, 6, I, "avx512_vbmi2" }, { 11, 8, I, "gfni" },	  { 11, 9, I, "vaes" },
	{ 11, 10, I, "vpclmulqdq" }, { 11, 11, I, "avx512_vnni" }, { 11, 12, I, "avx512_bitalg" },
	{ 11, 14, I, "avx512_vpopcntdq" }, { 11, 22, I, "rdpid" }, { 11, 25, I, "cldemote" },
	{ 11, 27, I, "movdiri" },    { 11, 28, I, "movdir64b" },  { 11, 29, I, "enqcmd" },
	{ 13, 0, I, "clzero" },	     { 18, 2, I, "avx512_4vnniw" }, { 18, 3, I, "avx512_4fmaps" },
	{ 18, 4, I, "fsrm" },	     { 18, 8, I, "avx512_vp2intersect" }, { 18, 14, I, "serialize" },
	{ 18, 22, I, "amx_bf16" },   { 18, 23, I, "avx512_fp16" }, { 18, 24, I, "amx_tile" },
	{ 18, 25, I, "amx_int8" },
};
#undef I
#undef F

static const char *const components[] = {
	[XC_X87] = "x87", [XC_SSE] = "SSE", [XC_AVX] = "AVX", [XC_BNDREGS] = "MPX bounds",
	[XC_BNDCSR] = "MPX configuration", [XC_OPMASK] = "AVX-512 (k0-k7)", [XC_ZMM_HI256] = "AVX-512 (zmm0-15)",
	[XC_HI16_ZMM] = "AVX-512 (zmm16-31)", [XC_PKRU] = "protection keys (PKRU)", [11] = "shadow stack (CET)",
	[17] = "AMX configuration", [18] = "AMX tiles", [19] = "APX",
};

enum cpu_kind cpu_feature(unsigned word, unsigned bit, const char **ret_name)
{
	*ret_name = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
		if (features[i].word != word || features[i].bit != bit)
			continue;
		*ret_name = features[i].name;
		return features[i].kind;
	}
	return CPU_FEATURE_OTHER;
}

const char *cpu_component_name(unsigned bit)
{
	return bit < ARRAY_SIZE(components) ? components[bit] : NULL;
}

const char *cpu_component_names(uint64_t mask, char *buf, size_t size)
{
	size_t n = 0;

	buf[0] = 0;
	for (unsigned bit = 0; bit < 64 && n < size; bit++) {
		const char *name = cpu_component_name(bit), *comma = n ? ", " : "";

		if (!(mask >> bit & 1))
			continue;
		if (name)
			n += snprintf(buf + n, size - n, "%s%s", comma, name);
		else
			n += snprintf(buf + n, size - n, "%scomponent %u", comma, bit);
	}
	return buf;
}

static uint32_t cpuid_word(uint32_t leaf, uint32_t sub, int reg)
{
	uint32_t r[4] = { 0 };

	return __get_cpuid_count(leaf, sub, &r[REG_EAX], &r[REG_EBX], &r[REG_ECX], &r[REG_EDX]) ? r[reg] : 0;
}

static void read_identity(struct cpu_facts *f)
{
	uint32_t max, sig = cpuid_word(1, 0, REG_EAX), text[12] = { 0 };
	char vendor[13] = "";
	const char *name = (const char *)text;

	__cpuid(0, max, *(uint32_t *)vendor, *(uint32_t *)(vendor + 8), *(uint32_t *)(vendor + 4));
	f->vendor = !strcmp(vendor, "GenuineIntel") ? CPU_INTEL : !strcmp(vendor, "AuthenticAMD") ? CPU_AMD : CPU_UNKNOWN;
	f->stepping = sig & 15;
	f->model = sig >> 4 & 15;
	f->family = sig >> 8 & 15;
	if (f->family == 15)
		f->family += sig >> 20 & 255;
	if (f->family >= 6)
		f->model |= sig >> 12 & 0xf0;
	for (uint32_t i = 0; i < 3; i++)
		__get_cpuid(0x80000002 + i, &text[4 * i], &text[4 * i + 1], &text[4 * i + 2], &text[4 * i + 3]);
	while (*name == ' ')
		name++;
	snprintf(f->name, sizeof(f->name), "%.*s", (int)(sizeof(text) - (size_t)(name - (const char *)text)), name);
}

uint64_t cpu_xfeatures(void)
{
	uint32_t a, d;

	if (!(cpuid_word(1, 0, REG_ECX) & bit_OSXSAVE))
		return 0;
	__asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
	return (uint64_t)d << 32 | a;
}

static void read_facts(struct cpu_facts *ret)
{
	memset(ret, 0, sizeof(*ret));
	read_identity(ret);
	for (size_t i = 0; i < ARRAY_SIZE(sources); i++)
		ret->words[sources[i].word] = cpuid_word(sources[i].leaf, sources[i].sub, sources[i].reg);
	ret->xfeatures = cpu_xfeatures();
	if (ret->xfeatures) {
		ret->xsave_size = cpuid_word(13, 0, REG_EBX);
		ret->xsave_size_max = cpuid_word(13, 0, REG_ECX);
	}
}

/* Once: in a virtual machine every CPUID goes to the hypervisor. */
void cpu_read(struct cpu_facts *ret)
{
	static struct cpu_facts facts;
	static bool known;

	if (!known)
		read_facts(&facts);
	known = true;
	*ret = facts;
}
