/* SPDX-License-Identifier: MIT */
/*
 * Thread areas, the entries of the global descriptor table that set_thread_area(2) sets: thread by thread, and a child with
 * others.  A child sets them and looks at them as a tracer, for a kernel may have no 32-bit calls.
 */
#include "prog.h"

#include <asm/ldt.h>
#include <pthread.h>
#include <sys/ptrace.h>

#define GET_AREA 25 /* PTRACE_GET_THREAD_AREA */
#define SET_AREA 26

static int up, leave, *shared_up;

/* A child sets or gets an entry of the caller; 0 or an error number. */
static int area(int request, struct user_desc *d)
{
	struct user_desc *there = prog_shared(4096);
	pid_t tid = gettid(), pid;
	int st, err = 0;

	*there = *d;
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		if (ptrace(PTRACE_SEIZE, tid, 0, 0) < 0 || ptrace(PTRACE_INTERRUPT, tid, 0, 0) < 0 ||
		    waitpid(tid, &st, __WALL) != tid ||
		    ptrace((enum __ptrace_request)request, tid, d->entry_number, there) < 0)
			err = errno;
		ptrace(PTRACE_DETACH, tid, 0, 0);
		_exit(err);
	}
	while (waitpid(pid, &st, 0) < 0 && errno == EINTR)
		;
	*d = *there;
	munmap(there, 4096);
	return WEXITSTATUS(st);
}

static int set_area(int entry, unsigned base, unsigned limit)
{
	struct user_desc d = { .entry_number = entry, .base_addr = base, .limit = limit, .seg_32bit = 1, .limit_in_pages = 1,
			       .useable = 1 };

	return area(SET_AREA, &d);
}

/* Its base and limit, 0: there is no such entry. */
static unsigned long look(int entry)
{
	struct user_desc d = { .entry_number = entry };

	CHECK(area(GET_AREA, &d) == 0);
	if (d.seg_not_present)
		return 0;
	CHECK(d.seg_32bit && d.limit_in_pages && d.useable && !d.contents && !d.read_exec_only);
	return (unsigned long)d.limit << 32 | d.base_addr;
}

static void *thread(void *arg)
{
	CHECK(set_area(13, 0x1234000, 0x77) == 0);
	CHECK(look(13) == (0x77ul << 32 | 0x1234000) && !look(12));
	prog_count(&up);
	while (!__atomic_load_n(&leave, __ATOMIC_SEQ_CST))
		prog_nap(10);
	CHECK(look(13) == (0x77ul << 32 | 0x1234000) && !look(12));
	return NULL;
}

static void child(void *arg)
{
	unsigned long was[2];

	CHECK(set_area(12, 0x4321000, 0x55) == 0);
	was[0] = look(12);
	was[1] = look(14);
	CHECK(was[0] && was[1] && !look(13));
	prog_count(shared_up);
	prog_wait_go();
	CHECK(look(12) == was[0] && look(14) == was[1] && !look(13));
}

int main(int argc, char **argv)
{
	unsigned long was;
	pthread_t t;
	pid_t pid;
	int err;

	prog_init(argc, argv);
	err = set_area(14, 0x7654000, 0x33);
	if (err)
		prog_skip("thread areas cannot be set here: %s", strerror(err));
	was = look(14);
	CHECK(was && !look(12) && !look(13));
	shared_up = prog_shared(4096);
	CHECK(pthread_create(&t, NULL, thread, NULL) == 0);
	prog_wait_count(&up, 1);
	pid = prog_child(child, NULL);
	prog_wait_count(shared_up, 1);
	prog_ready();
	CHECK(look(14) == was && !look(12) && !look(13));
	__atomic_store_n(&leave, 1, __ATOMIC_SEQ_CST);
	CHECK(pthread_join(t, NULL) == 0);
	prog_reap(pid);
	prog_ok();
}
