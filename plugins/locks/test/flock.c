/* SPDX-License-Identifier: MIT */
/* flock(2): one lock of several slots, shared locks, a taker that is gone. */
#include "prog.h"

#include <sys/file.h>

/* Whether a new description gets the lock; it is let go again. */
static int free_for(const char *name, int how)
{
	int fd = open(name, O_RDWR), r = flock(fd, how | LOCK_NB);

	CHECK(fd >= 0 && (r == 0 || errno == EWOULDBLOCK));
	close(fd);
	return r == 0;
}

static int *step, shared, excl, late;

static void child(void *arg)
{
	prog_wait_go();
	prog_wait_count(step, 1);
	CHECK(!free_for("excl", LOCK_SH));
	/* the lock belongs to the description: anyone who has it can let it go */
	CHECK(flock(excl, LOCK_UN) == 0);
}

static void taker(void *arg)
{
	CHECK(flock(late, LOCK_EX | LOCK_NB) == 0);
}

static void waiter(void *arg)
{
	int fd = open("shared", O_RDWR);

	CHECK(fd >= 0 && flock(fd, LOCK_EX) == 0);
	CHECK(__atomic_load_n(step, __ATOMIC_SEQ_CST) == 2);
}

int main(int argc, char **argv)
{
	pid_t pid, wait_pid;
	int again;

	prog_init(argc, argv);
	CHECK(chdir(prog_dir) == 0);
	step = prog_shared(sizeof(*step));
	excl = open("excl", O_RDWR | O_CREAT, 0600);
	shared = open("shared", O_RDONLY | O_CREAT, 0600);
	again = open("shared", O_RDWR);
	late = open("late", O_RDWR | O_CREAT, 0600);
	CHECK(flock(excl, LOCK_EX) == 0 && flock(shared, LOCK_SH) == 0 && flock(again, LOCK_SH) == 0);
	prog_reap(prog_child(taker, NULL));
	wait_pid = prog_child(waiter, NULL);
	prog_wait_state(wait_pid, wait_pid, 'S');
	pid = prog_child(child, NULL);

	prog_ready();

	CHECK(!free_for("excl", LOCK_SH) && !free_for("late", LOCK_SH));
	CHECK(free_for("shared", LOCK_SH) && !free_for("shared", LOCK_EX));
	prog_count(step);
	prog_reap(pid);
	CHECK(free_for("excl", LOCK_EX));
	CHECK(flock(late, LOCK_UN) == 0);
	CHECK(free_for("late", LOCK_EX));
	/* both holders have to go before the one who waits gets it */
	CHECK(flock(again, LOCK_UN) == 0 && !free_for("shared", LOCK_EX));
	prog_count(step);
	CHECK(flock(shared, LOCK_UN) == 0);
	prog_reap(wait_pid);
	prog_ok();
}
