/* SPDX-License-Identifier: MIT */
/* Mappings of deleted files: shared ones keep being one memory with the descriptor, private ones keep their pages. */
#include "prog.h"

#include <sys/mman.h>
#include <sys/stat.h>

#define SIZE (64 * 1024)

int main(int argc, char **argv)
{
	char *shared, *private, *closed, buf[8];
	int fd, other;

	prog_init(argc, argv);
	prog_needs_map_files();
	CHECK(chdir(prog_dir) == 0);
	fd = open("mapped", O_RDWR | O_CREAT, 0600);
	CHECK(ftruncate(fd, SIZE) == 0);
	shared = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	private = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	other = open("closed", O_RDWR | O_CREAT, 0600);
	CHECK(ftruncate(other, SIZE) == 0);
	closed = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, other, 0);
	CHECK(shared != MAP_FAILED && private != MAP_FAILED && closed != MAP_FAILED);
	close(other);
	strcpy(shared, "shared");
	strcpy(shared + 8192, "below");
	strcpy(private, "private");
	strcpy(closed + SIZE - 16, "only mapped");
	CHECK(unlink("mapped") == 0 && unlink("closed") == 0);

	prog_ready();

	CHECK(!strcmp(shared, "shared") && !strcmp(private, "private"));
	CHECK(!strcmp(closed + SIZE - 16, "only mapped") && closed[0] == 0);
	CHECK(pread(fd, buf, 7, 0) == 7 && !strcmp(buf, "shared"));
	CHECK(pwrite(fd, "file", 5, 100) == 5 && !strcmp(shared + 100, "file"));
	CHECK(!strcmp(private + 8192, "below"));
	strcpy(shared + 8192, "SHARED");
	CHECK(pread(fd, buf, 7, 8192) == 7 && !strcmp(buf, "SHARED") && !strcmp(private + 8192, "SHARED"));
	CHECK(access("mapped", F_OK) < 0 && access("closed", F_OK) < 0);
	prog_ok();
}
