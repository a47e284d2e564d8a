/* SPDX-License-Identifier: MIT */
/*
 * Threads that wait at System V semaphores and message queues, which are the machine's and stay
 * when the tree does not exist: semop, semtimedop with and without a limit, waiting for zero,
 * msgrcv by type, msgsnd to a full queue.
 */
#include "blocked.h"
#include "sweeper.h"

#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>

enum { DOWN, TIMED, ENDLESS, ZERO, SEMS };
struct text {
	long type;
	char text[64];
};
static struct ids {
	int sem, in, full;
} *ids;

static void sweep(void)
{
	semctl(ids->sem, 0, IPC_RMID);
	msgctl(ids->in, IPC_RMID, NULL);
	msgctl(ids->full, IPC_RMID, NULL);
}

static int op(int n, int by, const struct timespec *limit)
{
	struct sembuf o = { n, by, 0 };
	int r;

	do {
		r = semtimedop(ids->sem, &o, 1, limit);
	} while (r < 0 && limit && blocked_again());
	return r;
}

static const struct timespec minutes = { 600, 0 };

static int do_down(void)
{
	struct sembuf o[2] = { { DOWN, -2, 0 }, { DOWN, -1, 0 } };

	return semop(ids->sem, o, 2);
}

static int do_timed(void) { return op(TIMED, -1, &minutes); }
static int do_endless(void) { return op(ENDLESS, -1, NULL); }
static int do_zero(void) { return op(ZERO, 0, NULL); }
static void free_down(void) { CHECK(op(DOWN, 3, NULL) == 0); }
static void free_timed(void) { CHECK(op(TIMED, 1, NULL) == 0); }
static void free_endless(void) { CHECK(op(ENDLESS, 1, NULL) == 0); }
static void free_zero(void) { CHECK(op(ZERO, -4, NULL) == 0); }

static int do_receive(void)
{
	struct text t = { 0 };

	return msgrcv(ids->in, &t, sizeof(t.text), 7, 0) == 5 && t.type == 7 && !memcmp(t.text, "seven", 5) ? 0 : -1;
}

static void free_receive(void)
{
	struct text other = { 6, "six" }, t = { 7, "seven" };

	CHECK(msgsnd(ids->in, &other, 3, 0) == 0);
	prog_nap(50);
	CHECK(msgsnd(ids->in, &t, 5, 0) == 0);
}

static int do_send(void)
{
	struct text t = { 9, "nine" };

	return msgsnd(ids->full, &t, 4, 0);
}

static void free_send(void)
{
	struct text t = { 0 };

	CHECK(msgrcv(ids->full, &t, sizeof(t.text), 1, IPC_NOWAIT) == (ssize_t)sizeof(t.text));
	CHECK(msgrcv(ids->full, &t, sizeof(t.text), 9, 0) == 4 && !memcmp(t.text, "nine", 4));
}

static const struct blocked calls[] = {
	BLOCKED("semop of two", down),	  BLOCKED("semtimedop", timed), BLOCKED("semtimedop without a limit", endless),
	BLOCKED("semop for zero", zero), BLOCKED("msgrcv", receive),   BLOCKED("msgsnd", send),
};

int main(int argc, char **argv)
{
	unsigned short all[SEMS] = { 0, 0, 0, 4 };
	struct text t = { 1, "" };

	prog_init(argc, argv);
	ids = prog_shared(sizeof(*ids));
	ids->sem = semget(IPC_PRIVATE, SEMS, 0600);
	ids->in = msgget(IPC_PRIVATE, 0600);
	ids->full = msgget(IPC_PRIVATE, 0600);
	sweep_after(sweep);
	if (ids->sem < 0 || ids->in < 0 || ids->full < 0)
		prog_skip("no semaphores or message queues here: %s", strerror(errno));
	CHECK(semctl(ids->sem, 0, SETALL, all) == 0);
	while (msgsnd(ids->full, &t, sizeof(t.text), IPC_NOWAIT) == 0)
		;
	CHECK(errno == EAGAIN);
	blocked_run(calls, sizeof(calls) / sizeof(calls[0]));
	sweep();
	prog_ok();
}
