/* SPDX-License-Identifier: MIT */
/* fcntl(2) locks: ranges, one owner a descriptor table, tables that tasks share, one who waits. */
#include "prog.h"

#include <sched.h>
#include <signal.h>

static int fd, other, *step;

static int lock(int cmd, short type, off_t start, off_t len)
{
	struct flock fl = { .l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len };

	return fcntl(fd, cmd, &fl);
}

/* Who keeps me from writing to these bytes; *ret: what it has. */
static pid_t holder(off_t start, off_t len, struct flock *ret)
{
	*ret = (struct flock){ .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = start, .l_len = len };
	CHECK(fcntl(fd, F_GETLK, ret) == 0);
	return ret->l_type == F_UNLCK ? 0 : ret->l_pid;
}

static void look(void *arg)
{
	struct flock fl;
	pid_t parent = getppid();

	CHECK(holder(0, 5, &fl) == 0 && holder(15, 35, &fl) == 0 && holder(60, 40, &fl) == 0);
	CHECK(holder(0, 40, &fl) == parent && fl.l_type == F_WRLCK && fl.l_start == 5 && fl.l_len == 10);
	CHECK(holder(500, 10, &fl) == parent && fl.l_type == F_RDLCK && fl.l_start == 100 && fl.l_len == 900);
	CHECK(holder(200000, 0, &fl) == parent && fl.l_type == F_RDLCK && fl.l_start == 100000 && fl.l_len == 0);
	/* of another description, and of the sharer */
	CHECK(holder(70000, 1, &fl) == parent && fl.l_type == F_RDLCK && fl.l_start == 70000 && fl.l_len == 1);
	/* who took it may be gone: then no pid is told in a pid namespace */
	holder(80000, 10, &fl);
	CHECK(fl.l_type == F_WRLCK && fl.l_start == 80000 && fl.l_len == 10);
	CHECK(lock(F_SETLK, F_WRLCK, 9, 1) < 0 && (errno == EAGAIN || errno == EACCES));
}

/* Its lock is through the description that the parent has as well. */
static void child(void *arg)
{
	struct flock fl;

	CHECK(lock(F_SETLK, F_WRLCK, 50, 10) == 0);
	prog_count(step);
	prog_wait_go();
	CHECK(holder(50, 10, &fl) == 0 && holder(5, 1, &fl) == getppid());
	prog_wait_count(step, 4);
}

static void waiter(void *arg)
{
	prog_count(step);
	CHECK(lock(F_SETLKW, F_WRLCK, 8, 1) == 0);
	CHECK(__atomic_load_n(step, __ATOMIC_SEQ_CST) == 5);
}

static int sharer(void *arg)
{
	if (lock(F_SETLK, F_WRLCK, 80000, 10) < 0)
		_exit(1);
	prog_count(step);
	prog_wait_go();
	/* one table, one owner: the parent's locks are mine */
	_exit(lock(F_SETLK, F_WRLCK, 5, 10) == 0 && lock(F_SETLK, F_WRLCK, 80000, 10) == 0 ? PROG_CHILD_OK : 2);
}

int main(int argc, char **argv)
{
	static char stack[65536] __attribute__((aligned(16)));
	struct flock far = { .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 70000, .l_len = 1 }, fl;
	pid_t pid, wait_pid, share;

	prog_init(argc, argv);
	CHECK(chdir(prog_dir) == 0);
	step = prog_shared(sizeof(*step));
	fd = open("file", O_RDWR | O_CREAT, 0600);
	other = open("file", O_RDONLY);
	CHECK(dup(other) >= 0);
	CHECK(lock(F_SETLK, F_WRLCK, 5, 10) == 0 && lock(F_SETLK, F_RDLCK, 100, 900) == 0);
	CHECK(lock(F_SETLK, F_RDLCK, 100000, 0) == 0 && fcntl(other, F_SETLK, &far) == 0);
	pid = prog_child(child, NULL);
	wait_pid = prog_child(waiter, NULL);
	share = clone(sharer, stack + sizeof(stack), CLONE_FILES | SIGCHLD, NULL);
	CHECK(share > 0);
	prog_wait_count(step, 3);
	prog_wait_state(wait_pid, wait_pid, 'S');
	CHECK(lock(F_SETLK, F_RDLCK, 200, 100) == 0);

	prog_ready();

	prog_reap(share);
	CHECK(holder(0, 500, &fl) == pid && fl.l_type == F_WRLCK && fl.l_start == 50 && fl.l_len == 10);
	prog_reap(prog_child(look, NULL));
	prog_count(step);
	prog_reap(pid);
	CHECK(holder(50, 10, &fl) == 0);
	prog_count(step);
	/* any descriptor of the file that is closed takes all locks along */
	close(other);
	prog_reap(wait_pid);
	prog_ok();
}
