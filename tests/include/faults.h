/* SPDX-License-Identifier: MIT */
/*
 * faults.h: accesses that may fault.  faults_caught() once, then try_read() and try_write(): 0, or the signal that the
 * access gave.
 */
#ifndef FAULTS_H
#define FAULTS_H

#include <setjmp.h>
#include <signal.h>

static sigjmp_buf faults_back;

static void faults_on(int sig)
{
	siglongjmp(faults_back, sig);
}

static inline void faults_caught(void)
{
	signal(SIGSEGV, faults_on);
	signal(SIGBUS, faults_on);
}

static inline int try_read(volatile char *p)
{
	int sig = sigsetjmp(faults_back, 1);

	if (sig == 0)
		(void)*p;
	return sig;
}

static inline int try_write(volatile char *p)
{
	int sig = sigsetjmp(faults_back, 1);

	if (sig == 0)
		*p = *p;
	return sig;
}

#endif
