/* SPDX-License-Identifier: MIT */
/* Working directory and umask of a parent and its child; relative names work. */
#include "prog.h"

#include <sys/stat.h>

static int *up;

static void look(const char *sub, int mask, mode_t want)
{
	char cwd[5000], path[4200];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", prog_dir, sub);
	CHECK(getcwd(cwd, sizeof(cwd)) && !strcmp(cwd, path));
	fd = open("made", O_CREAT | O_EXCL | O_WRONLY, 0777);
	CHECK(fd >= 0 && fstat(fd, &st) == 0);
	CHECK((st.st_mode & 07777) == want);
	close(fd);
	CHECK(umask(mask) == (mode_t)mask);
	CHECK(unlink("made") == 0);
}

static void child(void *arg)
{
	CHECK(chdir("../y") == 0);
	umask(0);
	prog_count(up);
	prog_wait_go();
	look("y", 0, 0777);
}

int main(int argc, char **argv)
{
	char path[4200];
	pid_t pid;

	prog_init(argc, argv);
	up = prog_shared(4096);
	CHECK(chdir(prog_dir) == 0 && mkdir("x", 0777) == 0 && mkdir("y", 0777) == 0);
	snprintf(path, sizeof(path), "%s/x", prog_dir);
	CHECK(chdir(path) == 0);
	umask(0137);
	pid = prog_child(child, NULL);
	prog_wait_count(up, 1);
	prog_ready();
	prog_reap(pid);
	look("x", 0137, 0640);
	prog_ok();
}
