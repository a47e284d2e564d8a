/* SPDX-License-Identifier: MIT */
/*
 * blob.h: what the engine and the restorer blob share.
 *
 * The blob is a freestanding, position-independent interpreter that runs inside
 * each restored task.  It knows no resource: a task's whole restore is a list of
 * struct blob_op in the arena, a shared mapping that lies at the same address in
 * E and in every task of the tree.  Every thread has its own list and its own
 * stack in the arena.  Nothing else of the engine is mapped once a task's plan
 * has unmapped what it inherited.
 *
 * The last operation of a thread is PARK: it waits there until the warden stops
 * it, unmaps the arena from outside and writes its final registers.
 */
#ifndef CORE_BLOB_H
#define CORE_BLOB_H

#include <stdint.h>

enum blob_code {
	BLOB_SYS = 1, /* nr(a0..a5); check result against want; store in slot */
	/*
	 * if (slot[a0] <op a1> a2) go on at operation pc + a3 (pc: of this one, so 1 is the next); a jump
	 * taken costs fuel. a1: 0 ==, 1 !=, 2 <, 3 >= (signed)
	 */
	BLOB_JMP,
	BLOB_MOV,     /* slot = a0 */
	BLOB_ADD,     /* slot = a0 + a1 */
	BLOB_COPY,    /* copy a2 bytes from a1 to a0 */
	BLOB_BARRIER, /* arrive at stage a0 (1..BLOB_STAGES-1), wait until the engine releases it */
	BLOB_FORK,    /* clone3(a0, sizeof clone_args); the child, process or thread, runs struct blob_thread *a1; slot = pid.
		       * A pid that the kernel has not given back yet is waited for, three seconds */
	BLOB_PARK,    /* report done, wait to be taken over; never returns */
	BLOB_EXIT,    /* exit_group(a0) */
	BLOB_KILL,    /* die by signal a0, set to its default and unblocked first; fails when it does not kill */
	BLOB_FAIL,    /* report errno a0 */
	BLOB_LOAD,    /* slot = *(u64 *)a0 */
	BLOB_STORE,   /* *(u64 *)a0 = a1 */
	/* ((u32 *)a0)[1] = pid, [0] = BLOB_ASKED; tells the engine, waits until [0] is something else; slot = that */
	BLOB_ASK,
};

/* Values of the word of an ASK: the engine has done what was asked, or leaves it to the task. */
enum { BLOB_ASKED = 1, BLOB_DONE, BLOB_DO_IT };

enum blob_want {
	BLOB_ZERO = 0,	/* result == 0 */
	BLOB_NONNEG,	/* result >= 0 */
	BLOB_ANY,	/* anything */
	BLOB_EXPECT,	/* result == expect */
};

#define BLOB_SLOTS 16
#define BLOB_NO_SLOT 0xff
#define BLOB_STACK (16 * 1024)
#define BLOB_STAGES 32
#define BLOB_FIRST_STAGE 1 /* where the root waits until W traces it */

struct blob_op {
	uint16_t code;
	uint8_t want;
	uint8_t slot;	  /* where the result goes, BLOB_NO_SLOT: nowhere */
	uint16_t slotmask; /* bit i: a[i] is the number of a slot, not a value */
	uint16_t pad;
	uint32_t prov;	  /* index into the plan set's provenance table */
	uint32_t nr;	  /* system call number */
	uint64_t a[6];
	uint64_t expect;
};

/* One thread of a restored task; in the arena. */
struct blob_thread {
	uint64_t ops; /* address of struct blob_op[] */
	uint32_t nops;
	uint32_t index;	   /* of its plan in the plan set */
	uint64_t shared;   /* address of struct blob_shared */
	uint64_t stack;	   /* lowest address of its stack, BLOB_STACK bytes */
	uint32_t pc;	   /* operation being executed: progress for messages */
	uint32_t fuel;	   /* jumps left */
	int64_t slots[BLOB_SLOTS];
	uint32_t parked;   /* 1 once at PARK */
	uint32_t pad;
};

/* Synchronisation between E, W and all blobs; in the arena. */
struct blob_shared {
	uint32_t abort;	  /* set by E, W or a failing blob (after fail_*): everybody exits; futex of PARK */
	uint32_t released; /* highest stage that may be left; futex of the blobs */
	uint32_t event;	  /* incremented at each arrival, failure, death; futex of E */
	uint32_t parked;  /* threads at PARK */
	uint32_t arrived[BLOB_STAGES];
	uint32_t expected[BLOB_STAGES]; /* who comes last wakes E; 0: everyone does */
	uint32_t expected_parked;
	/* first failure; claimed by compare-and-swap of failed 0 -> 1 */
	uint32_t failed;
	uint32_t fail_thread; /* index of the plan */
	uint32_t fail_op;
	int32_t fail_errno; /* positive; EPROTO when a positive result was wrong */
	int64_t fail_result;
	uint32_t dead_tid; /* set by W: a task that died unexpectedly */
	int32_t dead_status;
};

/* Entry of the blob, at offset 0 of its image; arg: struct blob_thread *. Never returns. */
typedef void (*blob_entry_t)(void *thread);

/* The linked blob, embedded in the engine. */
extern const uint8_t blob_image[];
extern const uint32_t blob_image_size;

#endif
