/* SPDX-License-Identifier: MIT */
/*
 * errand_code.S: see errand.h.
 *
 * rbx: the list.  r12: address of the room, 0: none.  r13: the copy that has been made, as its parent numbers
 * it; not above 0: none.
 * rsp stays where the thread had it, so that a handler can run at any time, but for
 * two instructions of the way back, while all signals are blocked.
 */
	.equ	SIGPROCMASK, 14
	.equ	SETMASK, 2
	.equ	MASK_BYTES, 8
	.equ	SA_RESTART, 0x10000000
	.equ	WALL, 0x40000000
	.equ	EINTR, 4

	/* struct errand_data */
	.equ	D_ROOM, 0
	.equ	D_SIGNO, 8
	.equ	D_BLOCKED, 16
	.equ	D_SIGMASK, 24
	.equ	D_CPUS_LEN, 32
	.equ	D_DISPATCH, 40
	.equ	D_INTERRUPTS, 72
	.equ	D_RESTARTS, 80
	.equ	D_AGAIN, 88
	.equ	D_ENDED, 104
	.equ	D_FLAGS, 120
	.equ	D_SP, 128
	.equ	D_REGS, 136
	.equ	D_CPUS, 248

	/* those of the call at rbx */
	.macro	arguments
	mov	8(%rbx), %rdi
	mov	16(%rbx), %rsi
	mov	24(%rbx), %rdx
	mov	32(%rbx), %r10
	mov	40(%rbx), %r8
	mov	48(%rbx), %r9
	.endm

	.section .rodata
	.balign	8
	.globl	arch_errand_code
	.hidden	arch_errand_code
arch_errand_code:
	mov	$SIGPROCMASK, %eax
	mov	$SETMASK, %edi
	lea	data + D_BLOCKED(%rip), %rsi
	xor	%edx, %edx
	mov	$MASK_BYTES, %r10d
	syscall
	mov	$9, %eax		/* mmap */
	xor	%edi, %edi
	mov	data + D_ROOM(%rip), %rsi
	mov	$3, %edx		/* PROT_READ | PROT_WRITE */
	mov	$0x22, %r10d		/* MAP_PRIVATE | MAP_ANONYMOUS */
	mov	$-1, %r8
	xor	%r9d, %r9d
	syscall
	mov	%rax, %r12
	cmp	$-4096, %rax
	ja	1f
	test	%rbx, %rbx
	jnz	near
	jmp	stop
1:	xor	%r12d, %r12d
	jmp	stop

near:	mov	%r12, %r14		/* where the results go */
1:	mov	(%rbx), %rax
	test	%rax, %rax
	js	stop
	mov	%rax, %r15
	shr	$32, %r15
	mov	%eax, %eax
	arguments
	.irp	arg, rdi, rsi, rdx, r10, r8, r9
	shr	%r15d			/* it points into the room? */
	jnc	2f
	add	%r12, %\arg
2:
	.endr
	syscall
	mov	%rax, (%r14)
	add	$8, %r14
	add	$56, %rbx
	jmp	1b

run:	mov	(%rbx), %rax
	test	%rax, %rax
	js	stop
	arguments
	syscall
	mov	%rax, (%rbx)
	add	$56, %rbx
	jmp	run

copy:	mov	$56, %eax		/* clone, without an exit signal */
	xor	%edi, %edi
	movabs	$0x8000000000000000, %rsi /* its stack: no address, no handler can run there */
	xor	%edx, %edx
	xor	%r10d, %r10d
	xor	%r8d, %r8d
	syscall
	mov	%rax, %r13
	test	%rax, %rax
	jnz	stop
1:	mov	$231, %eax		/* exit_group: nobody traces the copy */
	xor	%edi, %edi
	syscall
	jmp	1b

finish:	mov	$11, %eax		/* munmap */
	mov	%r12, %rdi
	mov	data + D_ROOM(%rip), %rsi
	syscall
	xor	%r12d, %r12d

stop:	mov	$186, %eax		/* gettid */
	syscall
	mov	%eax, %edi
	mov	data + D_SIGNO(%rip), %rsi
	mov	$200, %eax		/* tkill */
	syscall
stopped:

	/* Nobody traces this thread: back. r14: 1 when the interrupted call has ended. */
	test	%r13, %r13
	jle	1f
	/* the copy is dying as well */
0:	mov	$61, %eax		/* wait4 */
	mov	%r13, %rdi
	xor	%esi, %esi
	mov	$WALL, %edx
	xor	%r10d, %r10d
	syscall
	cmp	$-EINTR, %rax
	je	0b
1:	xor	%r14d, %r14d
	test	%r12, %r12
	jz	3f
	cmpq	$0, data + D_INTERRUPTS(%rip)
	je	2f
	mov	$127, %eax		/* rt_sigpending */
	mov	%r12, %rdi
	mov	$MASK_BYTES, %esi
	syscall
	mov	(%r12), %rdi
	and	data + D_INTERRUPTS(%rip), %rdi
	jz	2f
	inc	%r14d
	cmpq	$0, data + D_RESTARTS(%rip)
	je	2f
	bsf	%rdi, %rdi
	inc	%edi
	mov	$13, %eax		/* rt_sigaction */
	xor	%esi, %esi
	mov	%r12, %rdx
	mov	$MASK_BYTES, %r10d
	syscall
	testl	$SA_RESTART, 8(%r12)
	jz	2f
	xor	%r14d, %r14d
2:	mov	$11, %eax		/* munmap */
	mov	%r12, %rdi
	mov	data + D_ROOM(%rip), %rsi
	syscall
	xor	%r12d, %r12d
3:	mov	data + D_CPUS_LEN(%rip), %rsi
	test	%rsi, %rsi
	jz	4f
	mov	$203, %eax		/* sched_setaffinity */
	xor	%edi, %edi
	lea	data + D_CPUS(%rip), %rdx
	syscall
4:	lea	data + D_FLAGS(%rip), %rsp
	popfq
	mov	data + D_SP(%rip), %rsp
	/* from here on nothing changes the flags */
	mov	$SIGPROCMASK, %eax
	mov	$SETMASK, %edi
	lea	data + D_SIGMASK(%rip), %rsi
	mov	$0, %edx
	mov	$MASK_BYTES, %r10d
	syscall
	mov	data + D_DISPATCH(%rip), %rcx
	jrcxz	5f
	mov	$157, %eax		/* prctl */
	mov	$59, %edi		/* PR_SET_SYSCALL_USER_DISPATCH */
	mov	%rcx, %rsi
	mov	data + D_DISPATCH + 8(%rip), %rdx
	mov	data + D_DISPATCH + 16(%rip), %r10
	mov	data + D_DISPATCH + 24(%rip), %r8
	syscall
5:	mov	data + D_REGS(%rip), %rbx
	mov	data + D_REGS + 16(%rip), %rdx
	mov	data + D_REGS + 24(%rip), %rsi
	mov	data + D_REGS + 32(%rip), %rdi
	mov	data + D_REGS + 40(%rip), %rbp
	mov	data + D_REGS + 48(%rip), %r8
	mov	data + D_REGS + 56(%rip), %r9
	mov	data + D_REGS + 64(%rip), %r10
	mov	data + D_REGS + 72(%rip), %r11
	mov	data + D_REGS + 80(%rip), %r12
	mov	data + D_REGS + 88(%rip), %r13
	mov	data + D_REGS + 104(%rip), %r15
	mov	%r14, %rcx
	mov	data + D_REGS + 96(%rip), %r14
	jrcxz	6f
	mov	data + D_REGS + 8(%rip), %rcx
	mov	data + D_ENDED(%rip), %rax
	jmp	*data + D_ENDED + 8(%rip)
6:	mov	data + D_REGS + 8(%rip), %rcx
	mov	data + D_AGAIN(%rip), %rax
	jmp	*data + D_AGAIN + 8(%rip)
	.balign	8, 0xcc
data:

	.globl	arch_errand_size
	.hidden	arch_errand_size
arch_errand_size:
	.long	data - arch_errand_code
	.globl	arch_errand_run
	.hidden	arch_errand_run
arch_errand_run:
	.long	run - arch_errand_code
	.globl	arch_errand_copy
	.hidden	arch_errand_copy
arch_errand_copy:
	.long	copy - arch_errand_code
	.globl	arch_errand_finish
	.hidden	arch_errand_finish
arch_errand_finish:
	.long	finish - arch_errand_code
	.globl	arch_errand_stopped
	.hidden	arch_errand_stopped
arch_errand_stopped:
	.long	stopped - arch_errand_code
	.section .note.GNU-stack, "", @progbits
