/* SPDX-License-Identifier: MIT */
/* Tasks that share root, working directory and umask (CLONE_FS) without being threads, and one that has its own. */
#include "prog.h"

#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static int *step;

static int in(const char *dir)
{
	char cwd[5000];

	return getcwd(cwd, sizeof(cwd)) && !strcmp(cwd, dir);
}

static int mask(void)
{
	int m = umask(0);

	umask(m);
	return m;
}

int main(int argc, char **argv)
{
	char a[4200], b[4200];
	pid_t sharer, copy;

	prog_init(argc, argv);
	step = prog_shared(4096);
	snprintf(a, sizeof(a), "%s/a", prog_dir);
	snprintf(b, sizeof(b), "%s/b", prog_dir);
	umask(022);
	CHECK(mkdir(a, 0777) == 0 && mkdir(b, 0777) == 0);
	CHECK(chdir(a) == 0);
	umask(027);
	sharer = syscall(SYS_clone, CLONE_FS | SIGCHLD, NULL, NULL, NULL, 0);
	CHECK(sharer >= 0);
	if (sharer == 0) {
		prog_wait_go();
		prog_wait_count(step, 1);
		CHECK(in(a) && mask() == 027);
		umask(031);
		CHECK(chdir(b) == 0);
		prog_count(step);
		prog_child_ok();
	}
	copy = fork();
	CHECK(copy >= 0);
	if (copy == 0) {
		umask(077);
		CHECK(chdir(b) == 0);
		prog_count(&step[1]);
		prog_wait_go();
		prog_wait_count(step, 2);
		CHECK(in(b) && mask() == 077);
		CHECK(chdir("/") == 0);
		umask(0);
		prog_child_ok();
	}
	prog_wait_count(&step[1], 1);
	prog_ready();
	CHECK(in(a) && mask() == 027);
	prog_count(step);
	prog_wait_count(step, 2);
	CHECK(in(b) && mask() == 031);
	prog_reap(sharer);
	prog_reap(copy);
	CHECK(in(b) && mask() == 031);
	prog_ok();
}
