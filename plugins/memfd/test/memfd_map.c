/* SPDX-License-Identifier: MIT */
/* Mappings of memfds: shared between processes with the descriptor closed, private with own pages, read-only.
 */
#include <sys/mman.h>
#include <sys/wait.h>

#include "prog.h"

int main(int argc, char **argv)
{
	char *shared, *private, *view;
	int fd, kept, status;
	pid_t child;

	prog_init(argc, argv);
	prog_needs_map_files();
	fd = memfd_create("mapped", 0);
	kept = memfd_create("kept", 0);
	CHECK(fd >= 0 && kept >= 0 && ftruncate(fd, 65536) == 0 && ftruncate(kept, 8192) == 0);
	shared = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	private = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, kept, 0);
	view = mmap(NULL, 8192, PROT_READ, MAP_SHARED, kept, 0);
	CHECK(shared != MAP_FAILED && private != MAP_FAILED && view != MAP_FAILED && close(fd) == 0);
	memcpy(shared + 4096, "shared", 6);
	CHECK(pwrite(kept, "under", 5, 0) == 5 && pwrite(kept, "below", 5, 4096) == 5);
	memcpy(private, "over", 4);
	child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		prog_wait_go();
		memcpy(shared + 8192, "child", 5);
		_exit(!memcmp(shared + 4096, "shared", 6) ? 0 : 1);
	}
	prog_ready();

	CHECK(waitpid(child, &status, 0) == child && status == 0);
	CHECK(!memcmp(shared + 4096, "shared", 6) && !memcmp(shared + 8192, "child", 5) && !shared[0]);
	CHECK(!memcmp(private, "overr", 5) && !memcmp(private + 4096, "below", 5));
	CHECK(!memcmp(view, "under", 5));
	CHECK(pwrite(kept, "BELOW", 5, 4096) == 5);
	CHECK(!memcmp(view + 4096, "BELOW", 5) && !memcmp(private + 4096, "BELOW", 5));
	private[0] = 'O';
	CHECK(view[0] == 'u');
	prog_ok();
}
