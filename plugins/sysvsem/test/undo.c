/* SPDX-License-Identifier: MIT */
/* A semaphore taken with SEM_UNDO is still taken, and given back when the process ends; those of others are left alone. */
#include <sys/ipc.h>
#include <sys/sem.h>

#include "prog.h"

static int *ids; /* shared: the set */

static void op(int id, int i, int n, int flags)
{
	struct sembuf o = { i, n, flags };

	CHECK(semop(id, &o, 1) == 0);
}

static int value(int i)
{
	return semctl(*ids, i, GETVAL);
}

/* Takes 3 of 5, gives 2, for as long as it lives. */
static void holder(void *arg)
{
	op(*ids, 0, -3, SEM_UNDO);
	op(*ids, 1, 2, SEM_UNDO);
	op(*ids, 2, 4, 0);
	prog_count(&ids[1]);
	while (!prog_has("go"))
		prog_nap(10);
	CHECK(value(0) == 2 && value(1) == 3 && value(2) == 5);
}

int main(int argc, char **argv)
{
	unsigned short all[3] = { 5, 1, 1 };
	pid_t pid;

	prog_init(argc, argv);
	ids = prog_shared(4096);
	*ids = semget(IPC_PRIVATE, 3, 0600);
	if (*ids < 0)
		prog_skip("no semaphores: %s", strerror(errno));
	CHECK(semctl(*ids, 0, SETALL, all) == 0);
	pid = prog_child(holder, NULL);
	prog_wait_count(&ids[1], 1);
	prog_ready();

	prog_reap(pid);
	CHECK(value(0) == 5 && value(1) == 1 && value(2) == 5);
	CHECK(semctl(*ids, 0, IPC_RMID) == 0);
	prog_ok();
}
