/* SPDX-License-Identifier: MIT */
/*
 * Private mappings with changed pages of files that are deleted, replaced by another of the same name, cut off, or that end
 * within the mapping; pages that nobody has changed come from the file.
 */
#include "prog.h"
#include "faults.h"

#include <signal.h>

#define PAGE 4096
#define PAGES 6

static int make(const char *name, char fill, size_t bytes)
{
	char path[4200], page[PAGE];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", prog_dir, name);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	CHECK(fd >= 0);
	memset(page, fill, sizeof(page));
	for (size_t at = 0; at < bytes; at += PAGE)
		CHECK(write(fd, page, bytes - at < PAGE ? bytes - at : PAGE) > 0);
	return fd;
}

/* Its second page is changed, its third one has been looked at only. */
static char *map(const char *name, char fill, size_t bytes)
{
	int fd = make(name, fill, bytes);
	char *p = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);

	CHECK(p != MAP_FAILED && close(fd) == 0);
	p[PAGE + 1] = 'c';
	CHECK(try_read(p + 2 * PAGE) == 0);
	return p;
}

static void at(const char *name, char *path)
{
	snprintf(path, 4200, "%s/%s", prog_dir, name);
}

int main(int argc, char **argv)
{
	char a[4200], b[4200], *deleted, *replaced, *cut, *beyond;

	prog_init(argc, argv);
	faults_caught();
	prog_needs_map_files();
	deleted = map("deleted", 'd', PAGES * PAGE);
	replaced = map("replaced", 'r', PAGES * PAGE);
	cut = map("cut", 't', PAGES * PAGE);
	beyond = map("beyond", 'b', 3 * PAGE + 10);
	cut[4 * PAGE] = 'x'; /* lost with the cut: the kernel takes private pages too */
	at("deleted", a);
	CHECK(unlink(a) == 0);
	CHECK(close(make("other", 'o', PAGES * PAGE)) == 0);
	at("other", a);
	at("replaced", b);
	CHECK(rename(a, b) == 0);
	at("cut", a);
	CHECK(truncate(a, 3 * PAGE) == 0);
	prog_ready();
	CHECK(deleted[PAGE + 1] == 'c' && deleted[PAGE] == 'd' && deleted[0] == 'd' && deleted[5 * PAGE] == 'd');
	CHECK(replaced[PAGE + 1] == 'c' && replaced[0] == 'r' && replaced[5 * PAGE] == 'r');
	CHECK(cut[PAGE + 1] == 'c' && cut[0] == 't' && try_read(cut + 4 * PAGE) == SIGBUS);
	CHECK(beyond[PAGE + 1] == 'c' && beyond[3 * PAGE + 9] == 'b' && beyond[3 * PAGE + 10] == 0);
	CHECK(try_read(beyond + 4 * PAGE) == SIGBUS);
	prog_ok();
}
