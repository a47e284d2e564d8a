/* SPDX-License-Identifier: MIT */
/* A task without any open descriptor: needs no plugin. */
#include "prog.h"

int main(int argc, char **argv)
{
	prog_init(argc, argv);
	for (int i = 0; i < 1024; i++)
		close(i);
	prog_ready();
	for (int i = 0; i < 1024; i++)
		CHECK(fcntl(i, F_GETFD) < 0 && errno == EBADF);
	CHECK(open("/dev/null", O_RDONLY) == 0);
	prog_ok();
}
