/* SPDX-License-Identifier: MIT */
/*
 * long arch_clone3_enter(struct clone_args *args, size_t size, void (*entry)(void *), void *arg)
 *
 * The child starts with the stack that args describe, so nothing of the caller's
 * frame is there: what it needs travels in registers, which the kernel preserves
 * but for rax, rcx and r11.  Position independent; part of the engine and of the blob.
 */
	.text
	.globl	arch_clone3_enter
	.hidden	arch_clone3_enter
	.type	arch_clone3_enter, @function
arch_clone3_enter:
	mov	%rdx, %r8
	mov	%rcx, %r9
	mov	$435, %eax		/* clone3 */
	syscall
	test	%rax, %rax
	jz	1f
	ret
1:	xor	%ebp, %ebp
	mov	%r9, %rdi
	and	$-16, %rsp
	call	*%r8
	ud2
	.size	arch_clone3_enter, . - arch_clone3_enter
	.section .note.GNU-stack, "", @progbits
