/* SPDX-License-Identifier: MIT */
/*
 * Registers: a thread keeps values in general, x87, SSE and AVX registers (AVX-512 and mask registers where there
 * are any) and in control words while it spins on a shared variable; they are there when the variable changes.
 */
#include "prog.h"

#include <cpuid.h>
#include <pthread.h>

static int flag, up;
static unsigned char in[32][64] __attribute__((aligned(64))), out[32][64] __attribute__((aligned(64)));
static unsigned long gpr_in[8], gpr_out[8], kin[8], kout[8];
static unsigned int csr_in = 0x5f80, csr_out; /* round up, of SSE */
static unsigned short cw_in = 0x0b7f, cw_out; /* round up, extended precision, of the x87 */
static long double st_in = 3.14159265358979323846264338327950288L, st_out;

#define SPIN "1: pause\n\tcmpl $0, %[flag]\n\tje 1b\n\t"
#define VMOVU(n) "vmovdqu " #n "*64(%[in]), %%ymm" #n "\n\t"
#define VMOVS(n) "vmovdqu %%ymm" #n ", " #n "*64(%[out])\n\t"
#define ALL16(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define SMOVU(n) "movdqu " #n "*64(%[in]), %%xmm" #n "\n\t"
#define SMOVS(n) "movdqu %%xmm" #n ", " #n "*64(%[out])\n\t"
#define ZMOVU(n) "vmovdqu64 " #n "*64(%[in]), %%zmm" #n "\n\t"
#define ZMOVS(n) "vmovdqu64 %%zmm" #n ", " #n "*64(%[out])\n\t"
#define HIGH16(X) X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23) X(24) X(25) X(26) X(27) X(28) X(29) X(30) X(31)
#define ALL8(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#define KMOVU(n) "kmovq " #n "*8(%[kin]), %%k" #n "\n\t"
#define KMOVS(n) "kmovq %%k" #n ", " #n "*8(%[kout])\n\t"

#define XMM "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", \
	"xmm12", "xmm13", "xmm14", "xmm15"

static void *sse(void *arg)
{
	prog_count(&up);
	__asm__ volatile(ALL16(SMOVU) SPIN ALL16(SMOVS)
			 : : [in] "r"(in), [out] "r"(out), [flag] "m"(flag) : "memory", XMM);
	return NULL;
}

__attribute__((target("avx"))) static void *avx(void *arg)
{
	prog_count(&up);
	__asm__ volatile(ALL16(VMOVU) SPIN ALL16(VMOVS) "vzeroupper\n\t"
			 : : [in] "r"(in), [out] "r"(out), [flag] "m"(flag) : "memory", XMM);
	return NULL;
}

__attribute__((target("avx512f,avx512bw"))) static void *avx512(void *arg)
{
	prog_count(&up);
	__asm__ volatile(ALL16(ZMOVU) HIGH16(ZMOVU) ALL8(KMOVU) SPIN ALL16(ZMOVS) HIGH16(ZMOVS) ALL8(KMOVS)
			 "vzeroupper\n\t"
			 : : [in] "r"(in), [out] "r"(out), [kin] "r"(kin), [kout] "r"(kout), [flag] "m"(flag)
			 : "memory", XMM, "k1", "k2", "k3", "k4", "k5", "k6", "k7");
	return NULL;
}

static void *control(void *arg)
{
	unsigned int csr;
	unsigned short cw;

	__asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(csr), "=m"(cw));
	prog_count(&up);
	__asm__ volatile("ldmxcsr %[csr]\n\tfldcw %[cw]\n\tfldt %[st]\n\t" SPIN
			 "fstpt %[sto]\n\tstmxcsr %[csro]\n\tfnstcw %[cwo]\n\t"
			 : [csro] "=m"(csr_out), [cwo] "=m"(cw_out), [sto] "=m"(st_out)
			 : [csr] "m"(csr_in), [cw] "m"(cw_in), [st] "m"(st_in), [flag] "m"(flag) : "memory", "st");
	__asm__ volatile("ldmxcsr %0\n\tfldcw %1" : : "m"(csr), "m"(cw));
	return NULL;
}

static void *general(void *arg)
{
	prog_count(&up);
	__asm__ volatile("push %%rbx\n\tpush %%rbp\n\tlea %[flag], %%rax\n\t"
			 "mov 0(%%rsi), %%rbx\n\tmov 8(%%rsi), %%rbp\n\tmov 16(%%rsi), %%r8\n\tmov 24(%%rsi), %%r9\n\t"
			 "mov 32(%%rsi), %%r10\n\tmov 40(%%rsi), %%r11\n\tmov 48(%%rsi), %%r12\n\tmov 56(%%rsi), %%r13\n\t"
			 "1: pause\n\tcmpl $0, (%%rax)\n\tje 1b\n\t"
			 "mov %%rbx, 0(%%rdi)\n\tmov %%rbp, 8(%%rdi)\n\tmov %%r8, 16(%%rdi)\n\tmov %%r9, 24(%%rdi)\n\t"
			 "mov %%r10, 32(%%rdi)\n\tmov %%r11, 40(%%rdi)\n\tmov %%r12, 48(%%rdi)\n\tmov %%r13, 56(%%rdi)\n\t"
			 "pop %%rbp\n\tpop %%rbx\n\t"
			 : : "S"(gpr_in), "D"(gpr_out), [flag] "m"(flag)
			 : "memory", "rax", "r8", "r9", "r10", "r11", "r12", "r13", "cc");
	return NULL;
}

/* Bits of the state components that the system has switched on. */
static unsigned int xcr0(void)
{
	unsigned int a, b, c, d;

	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
		return 3;
	__asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
	return a;
}

int main(int argc, char **argv)
{
	void *(*vector)(void *) = sse;
	int regs = 16, width = 16;
	pthread_t t[3];

	prog_init(argc, argv);
	for (int i = 0; i < 32; i++)
		for (int j = 0; j < 64; j++)
			in[i][j] = i * 7 + j * 3 + 1;
	for (int i = 0; i < 8; i++) {
		gpr_in[i] = 0x0123456789abcdef * (i + 1);
		kin[i] = 0xfedcba9876543210 + i;
	}
	if ((xcr0() & 6) == 6) {
		vector = avx;
		width = 32;
	}
	if ((xcr0() & 0xe6) == 0xe6 && __builtin_cpu_supports("avx512bw")) {
		vector = avx512;
		regs = 32;
		width = 64;
	}
	CHECK(pthread_create(&t[0], NULL, vector, NULL) == 0);
	CHECK(pthread_create(&t[1], NULL, control, NULL) == 0);
	CHECK(pthread_create(&t[2], NULL, general, NULL) == 0);
	prog_wait_count(&up, 3);
	prog_nap(20);
	prog_ready();
	__atomic_store_n(&flag, 1, __ATOMIC_SEQ_CST);
	for (int i = 0; i < 3; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
	for (int i = 0; i < regs; i++)
		CHECK(memcmp(in[i], out[i], width) == 0);
	CHECK(width < 64 || memcmp(kin + 1, kout + 1, 7 * sizeof(*kin)) == 0);
	CHECK(memcmp(gpr_in, gpr_out, sizeof(gpr_in)) == 0);
	CHECK(csr_out == csr_in && cw_out == cw_in);
	CHECK(st_out == st_in);
	prog_ok();
}
