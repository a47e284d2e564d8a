/* SPDX-License-Identifier: MIT */
/*
 * Modes and states of the x87 and of SSE, a thread each: every rounding and precision, flushing to
 * zero, flags of exceptions that have happened, a stack that is full, half full, and rotated, MMX
 * registers, an exception that is not masked and waits for the next instruction.  fnstenv and
 * stmxcsr say the same afterwards, and results are rounded as asked.
 */
#include "prog.h"

#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <ucontext.h>

struct env {
	unsigned short control, r1, status, r2, tag, r3;
	unsigned int ip;
	unsigned short cs, opcode;
	unsigned int data;
	unsigned short ds, r4;
};

static int up, leave;
static volatile int raised;

/* The environment as it is: fnstenv masks all exceptions, which is taken back. */
static struct env env(void)
{
	struct env e;

	__asm__ volatile("fnstenv %0\n\tfldenv %0" : "=m"(e) : : "memory");
	return e;
}

static unsigned csr(void)
{
	unsigned v;

	__asm__ volatile("stmxcsr %0" : "=m"(v));
	return v;
}

static void set_csr(unsigned v)
{
	__asm__ volatile("ldmxcsr %0" : : "m"(v));
}

static void set_control(unsigned short v)
{
	__asm__ volatile("fldcw %0" : : "m"(v));
}

/* No library call may use what is tested. The kernel leaves it alone. */
static inline __attribute__((always_inline)) void stay(void)
{
	__atomic_add_fetch(&up, 1, __ATOMIC_SEQ_CST);
	while (!__atomic_load_n(&leave, __ATOMIC_SEQ_CST)) {
		long nr = SYS_futex;
		register long op __asm__("rsi") = FUTEX_WAIT_PRIVATE;
		register long val __asm__("rdx") = 0;
		register long no_limit __asm__("r10") = 0;

		__asm__ volatile("syscall" : "+a"(nr) : "D"(&leave), "r"(op), "r"(val), "r"(no_limit) : "rcx", "r11", "memory");
	}
}

static void same(const char *what, const struct env *a, const struct env *b)
{
	if (a->control != b->control || a->status != b->status || a->tag != b->tag)
		prog_fail("%s: control, status and tags are %x %x %x, were %x %x %x", what, b->control, b->status,
			  b->tag, a->control, a->status, a->tag);
}

/* arg: rounding << 2 | precision of the x87, or'ed with 16 when SSE flushes to zero. */
static void *modes(void *arg)
{
	int n = (int)(long)arg;
	volatile float one = 1, three = 3, tiny = 1.5e-38f, third, half;
	unsigned control = 0x1f80 | (n >> 2 & 3) << 13 | (n & 16 ? 0x8040 : 0), want;
	volatile long double st = 1.0L, st3 = 3.0L, q1, q2;
	struct env a, b;
	float before;

	set_csr(control);
	set_control(0x7f | (n >> 2 & 3) << 10 | (n & 3) << 8);
	third = one / three;
	half = tiny / 2; /* not normal any more, or zero */
	before = third;
	q1 = st / st3;
	want = csr();
	a = env();
	stay();
	b = env();
	CHECK(csr() == want);
	same("modes", &a, &b);
	third = one / three;
	CHECK(third == before && (half == 0) == !!(n & 16));
	half = tiny / 2;
	CHECK((half == 0) == !!(n & 16));
	q2 = st / st3;
	CHECK(q1 == q2);
	set_csr(0x1f80);
	set_control(0x37f);
	return NULL;
}

/* arg: so many values on the stack, which begins elsewhere than usual. */
static void *stack(void *arg)
{
	long double in[8], out[8] = { 0 };
	int n = (int)(long)arg;
	struct env a, b;

	for (int i = 0; i < 8; i++)
		in[i] = 1.5L * (i + 1) + 1e-19L;
	__asm__ volatile("fninit");
	for (int i = 0; i < n % 3; i++)
		__asm__ volatile("fincstp");
	for (int i = 0; i < n; i++)
		__asm__ volatile("fldt %0" : : "m"(in[i]));
	__asm__ volatile("fnstenv %0\n\tfldenv %0" : "=m"(a) : : "memory");
	stay();
	__asm__ volatile("fnstenv %0\n\tfldenv %0" : "=m"(b) : : "memory");
	for (int i = n; i-- > 0;)
		__asm__ volatile("fstpt %0" : "=m"(out[i]));
	__asm__ volatile("fninit");
	same("stack", &a, &b);
	for (int i = 0; i < n; i++)
		CHECK(!memcmp(&in[i], &out[i], 10));
	return NULL;
}

static void *mmx(void *arg)
{
	unsigned long in[8], out[8] = { 0 };

	for (int i = 0; i < 8; i++)
		in[i] = 0x0123456789abcdef * (i + 3);
	__asm__ volatile("movq (%0), %%mm0\n\tmovq 8(%0), %%mm1\n\tmovq 16(%0), %%mm2\n\tmovq 24(%0), %%mm3\n\t"
			 "movq 32(%0), %%mm4\n\tmovq 40(%0), %%mm5\n\tmovq 48(%0), %%mm6\n\tmovq 56(%0), %%mm7\n\t"
			 : : "r"(in) : "memory");
	stay();
	__asm__ volatile("movq %%mm0, (%0)\n\tmovq %%mm1, 8(%0)\n\tmovq %%mm2, 16(%0)\n\tmovq %%mm3, 24(%0)\n\t"
			 "movq %%mm4, 32(%0)\n\tmovq %%mm5, 40(%0)\n\tmovq %%mm6, 48(%0)\n\tmovq %%mm7, 56(%0)\n\temms"
			 : : "r"(out) : "memory");
	CHECK(!memcmp(in, out, sizeof(in)));
	return NULL;
}

static void on_error(int sig, siginfo_t *si, void *ctx)
{
	ucontext_t *uc = ctx;

	raised = si->si_code;
	uc->uc_mcontext.fpregs->swd &= ~0x80ff; /* taken note of, or it would come again */
}

/*
 * Divided by zero: SIGFPE comes with the next instruction of the x87 that waits, which comes
 * afterwards.
 */
static void *waiting(void *arg)
{
	__asm__ volatile("fninit");
	set_control(0x37b);
	__asm__ volatile("fld1\n\tfldz\n\tfdivrp");
	stay();
	CHECK(!raised);
	__asm__ volatile("fwait");
	CHECK(raised == FPE_FLTDIV);
	__asm__ volatile("fninit");
	return NULL;
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_sigaction = on_error, .sa_flags = SA_SIGINFO };
	pthread_t t[40];
	int n = 0;

	prog_init(argc, argv);
	CHECK(sigaction(SIGFPE, &sa, NULL) == 0);
	for (long i = 0; i < 32; i += i % 4 ? 1 : 2) /* precision 1 is none */
		CHECK(pthread_create(&t[n++], NULL, modes, (void *)i) == 0);
	CHECK(pthread_create(&t[n++], NULL, stack, (void *)8l) == 0 && pthread_create(&t[n++], NULL, stack, (void *)4l) == 0 &&
	      pthread_create(&t[n++], NULL, stack, (void *)5l) == 0);
	CHECK(pthread_create(&t[n++], NULL, mmx, NULL) == 0 && pthread_create(&t[n++], NULL, waiting, NULL) == 0);
	prog_wait_count(&up, n);
	prog_ready();
	__atomic_store_n(&leave, 1, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &leave, FUTEX_WAKE_PRIVATE, 100, NULL, NULL, 0);
	while (n)
		CHECK(pthread_join(t[--n], NULL) == 0);
	prog_ok();
}
