/* SPDX-License-Identifier: MIT */
/*
 * Switches of prctl(2) and its like: huge pages, memory that is never writable and then executable, merging of pages,
 * the core dump filter, the time stamp counter, registrations for membarrier(2), the login uid.  Two children, one with
 * none of them.
 */
#include "prog.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define SET_MDWE 65
#define GET_MDWE 66
#define SET_MERGE 67
#define GET_MERGE 68
#define MEMBARRIER_REGS (1 << 9)

static int *up;

static long proc_number(const char *path, int base)
{
	char text[64] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0 && read(fd, text, sizeof(text) - 1) >= 0)
		close(fd);
	return fd < 0 ? -1 : strtol(text, NULL, base);
}

static int proc_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), ok;

	if (fd < 0)
		return 0;
	ok = write(fd, text, strlen(text)) > 0;
	close(fd);
	return ok;
}

struct seen {
	long thp, mdwe, merge, barrier, filter, login;
	int tsc;
};

static void look(struct seen *s)
{
	memset(s, 0, sizeof(*s));
	s->thp = prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0);
	s->mdwe = prctl(GET_MDWE, 0, 0, 0, 0);
	s->merge = prctl(GET_MERGE, 0, 0, 0, 0);
	s->barrier = syscall(SYS_membarrier, MEMBARRIER_REGS, 0, 0);
	s->filter = proc_number("/proc/self/coredump_filter", 16);
	s->login = proc_number("/proc/self/loginuid", 10);
	CHECK(prctl(PR_GET_TSC, &s->tsc) == 0);
}

static void compare(const struct seen *a, const struct seen *b)
{
	CHECK(a->thp == b->thp);
	CHECK(a->mdwe == b->mdwe);
	CHECK(a->merge == b->merge);
	CHECK(a->barrier == b->barrier);
	CHECK(a->filter == b->filter);
	CHECK(a->login == b->login);
	CHECK(a->tsc == b->tsc);
}

static void untouched(void *arg)
{
	struct seen a, b;

	look(&a);
	prog_count(up);
	prog_wait_go();
	look(&b);
	compare(&a, &b);
	CHECK(b.mdwe <= 0 && b.tsc == PR_TSC_ENABLE && b.barrier <= 0);
}

static void all(void *arg)
{
	struct seen a, b;
	void *p;

	/* kernels differ in what they have: whatever was taken must stay */
	if (prctl(PR_SET_THP_DISABLE, 1, 2, 0, 0) < 0) /* except where advised, 6.18 */
		CHECK(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0);
	prctl(SET_MERGE, 1, 0, 0, 0);
	syscall(SYS_membarrier, 1 << 4, 0, 0);
	syscall(SYS_membarrier, 1 << 2, 0, 0);
	proc_write("/proc/self/coredump_filter", "0x17");
	proc_write("/proc/self/loginuid", "1234");
	prctl(SET_MDWE, 1, 0, 0, 0);
	CHECK(prctl(PR_SET_TSC, PR_TSC_SIGSEGV) == 0);
	look(&a);
	prog_count(up);
	while (!prog_has("go")) /* prog_wait_go() asks for the time, which is read from the counter */
		usleep(20000);
	look(&b);
	compare(&a, &b);
	CHECK(b.filter == 0x17 && b.tsc == PR_TSC_SIGSEGV);
	if (b.mdwe != 1)
		return;
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(p == MAP_FAILED && errno == EACCES);
}

int main(int argc, char **argv)
{
	pid_t pid[2];

	prog_init(argc, argv);
	up = prog_shared(4096);
	pid[0] = prog_child(untouched, NULL);
	pid[1] = prog_child(all, NULL);
	prog_wait_count(up, 2);
	prog_ready();
	prog_reap(pid[0]);
	prog_reap(pid[1]);
	prog_ok();
}
