/* SPDX-License-Identifier: MIT */
/*
 * kill.h: what the target tells the drivers, in a file that both map (DIR/state).
 *
 * Kinds of targets:
 *	single	one task, which looks after its memory, signal mask and waits
 *	tree	three such tasks, of four threads each, which wait in different ways
 *	sleep	threads that are nearly always inside one long wait, which the engine interrupts many times
 *	handler	a task that never leaves a signal handler, with values in all registers
 *	altstack  the same on an alternate stack
 *	rseq	a task that is nearly always inside a restartable sequence
 *	stopped	a task that was stopped (SIGSTOP) before, and shall stay so
 *	frozen	a task in a cgroup that was frozen before, and shall stay so (--freeze-cgroup)
 *	pipes	two tasks that send each other numbers through pipes, a socket pair and a connection by name, with epoll
 *	restless  a tree whose tasks and threads come, execute something else and go all the time
 *	redis	redis-server; a client that is not of the tree writes all the time, over one TCP connection that has to last
 */
#ifndef TESTS_KILL_H
#define TESTS_KILL_H

#include <stdint.h>
#include <sys/types.h>

#define KILL_MOVERS 64

struct kill_state {
	uint32_t ready;		    /* tasks that have set everything up */
	uint32_t tasks;		    /* how many there will be */
	uint32_t movers;	    /* threads that count, each in a place of its own: */
	uint64_t beat[KILL_MOVERS]; /* every round adds one */
	int32_t client;		    /* process that is not of the tree and talks to it, or 0 */
	uint32_t bad;		    /* somebody found something wrong: */
	char why[256];
};

#endif
