/* SPDX-License-Identifier: MIT */
/*
 * File mappings: private with and without changes, read-only, at an offset, beyond the end of the file (SIGBUS),
 * shared: writes go to the file and come from it; a shared mapping whose descriptor could only read.
 */
#include "prog.h"
#include "faults.h"

#include <signal.h>
#include <sys/stat.h>

#define PAGE 4096

static char *map(const char *name, int mode, int prot, int flags, size_t pages, size_t first)
{
	int fd = open(name, mode);
	char *p;

	CHECK(fd >= 0);
	p = mmap(NULL, pages * PAGE, prot, flags, fd, first * PAGE);
	CHECK(p != MAP_FAILED);
	close(fd);
	return p;
}

/* A file of n pages, each full of one letter. */
static void make(const char *name, int pages)
{
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
	char page[PAGE];

	CHECK(fd >= 0);
	for (int i = 0; i < pages; i++) {
		memset(page, 'A' + i, PAGE);
		CHECK(write(fd, page, PAGE) == PAGE);
	}
	close(fd);
}

static char byte_at(int fd, off_t pos)
{
	char c = 0;

	CHECK(pread(fd, &c, 1, pos) == 1);
	return c;
}

int main(int argc, char **argv)
{
	char *changed, *clean, *ro, *beyond, *shared, *shared_ro, *seen;
	int fd;

	prog_init(argc, argv);
	CHECK(chdir(prog_dir) == 0);
	make("private", 8);
	make("shared", 8);
	make("short", 2);
	changed = map("private", O_RDONLY, PROT_READ | PROT_WRITE, MAP_PRIVATE, 8, 0);
	clean = map("private", O_RDONLY, PROT_READ | PROT_WRITE, MAP_PRIVATE, 4, 2);
	ro = map("private", O_RDONLY, PROT_READ, MAP_PRIVATE, 8, 0);
	beyond = map("short", O_RDONLY, PROT_READ | PROT_WRITE, MAP_PRIVATE, 4, 0);
	shared = map("shared", O_RDWR, PROT_READ | PROT_WRITE, MAP_SHARED, 8, 0);
	seen = map("shared", O_RDWR, PROT_READ, MAP_SHARED, 2, 3);
	shared_ro = map("shared", O_RDONLY, PROT_READ, MAP_SHARED, 8, 0);
	changed[3 * PAGE + 5] = 'x';
	changed[5 * PAGE] = 'y';
	beyond[0] = 'z';
	shared[3 * PAGE] = '3';
	prog_ready();
	faults_caught();
	for (int i = 0; i < 8 * PAGE; i++) {
		CHECK(changed[i] == (i == 3 * PAGE + 5 ? 'x' : i == 5 * PAGE ? 'y' : 'A' + i / PAGE));
		CHECK(ro[i] == 'A' + i / PAGE);
		CHECK(i >= 4 * PAGE || clean[i] == 'C' + i / PAGE);
		CHECK(shared[i] == (i == 3 * PAGE ? '3' : 'A' + i / PAGE));
	}
	CHECK(beyond[0] == 'z' && beyond[1] == 'A' && beyond[PAGE] == 'B' && try_read(beyond + 2 * PAGE) == SIGBUS);
	/* what was never touched still follows the file */
	fd = open("private", O_RDWR);
	CHECK(fd >= 0 && pwrite(fd, "!", 1, 7 * PAGE) == 1);
	CHECK(ro[7 * PAGE] == '!' && clean[PAGE] == 'D');
	CHECK(byte_at(fd, 3 * PAGE + 5) == 'D' && byte_at(fd, 5 * PAGE) == 'F');
	close(fd);
	fd = open("shared", O_RDWR);
	CHECK(fd >= 0 && byte_at(fd, 3 * PAGE) == '3');
	shared[4 * PAGE + 1] = '4';
	CHECK(byte_at(fd, 4 * PAGE + 1) == '4' && seen[PAGE + 1] == '4' && shared_ro[4 * PAGE + 1] == '4');
	CHECK(pwrite(fd, "7", 1, 7 * PAGE) == 1 && shared[7 * PAGE] == '7');
	CHECK(mprotect(shared_ro, PAGE, PROT_READ | PROT_WRITE) < 0 && errno == EACCES);
	CHECK(mprotect(seen, PAGE, PROT_READ | PROT_WRITE) == 0);
	prog_ok();
}
