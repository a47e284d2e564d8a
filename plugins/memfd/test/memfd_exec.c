/* SPDX-License-Identifier: MIT */
/* A program that runs from a memfd, unsealed or (as container runtimes do) sealed. */
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#include "prog.h"

extern char **environ;

static void run_from_memfd(char **argv)
{
	int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	int fd = memfd_create("program", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct stat st;

	CHECK(from >= 0 && fd >= 0 && fstat(from, &st) == 0);
	CHECK(sendfile(fd, from, NULL, st.st_size) == st.st_size);
	CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) == 0);
	CHECK(setenv("FROM_MEMFD", "1", 1) == 0);
	fexecve(fd, argv, environ);
	prog_fail("fexecve: %s", strerror(errno));
}

int main(int argc, char **argv)
{
	char path[64] = "";

	prog_init(argc, argv);
	if (!getenv("FROM_MEMFD"))
		run_from_memfd(argv);
	prog_ready();

	CHECK(readlink("/proc/self/exe", path, sizeof(path) - 1) > 0);
	CHECK(!strcmp(path, "/memfd:program (deleted)"));
	prog_ok();
}
