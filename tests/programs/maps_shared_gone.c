/* SPDX-License-Identifier: MIT */
/*
 * Shared mappings, writable and read-only, of files that are deleted, replaced by another of the
 * same name, or cut off; two of the same deleted file, in parent and child, stay one.  What is
 * written goes to the file that is mapped and to no other.
 */
#include "prog.h"
#include "faults.h"

#include <signal.h>

#define PAGE 4096
#define PAGES 6

static int *step;

static void at(const char *name, char *path)
{
	snprintf(path, 4200, "%s/%s", prog_dir, name);
}

static int make(const char *name, char fill)
{
	char path[4200], page[PAGE];
	int fd;

	at(name, path);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	CHECK(fd >= 0);
	memset(page, fill, sizeof(page));
	for (int i = 0; i < PAGES; i++)
		CHECK(write(fd, page, PAGE) == PAGE);
	return fd;
}

/* The second page is written to. ro: a second mapping, of a descriptor that may only read. */
static char *map(const char *name, char fill, char **ret_ro)
{
	char path[4200], *p;
	int fd = make(name, fill), ro;

	at(name, path);
	ro = open(path, O_RDONLY);
	p = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	*ret_ro = mmap(NULL, PAGES * PAGE, PROT_READ, MAP_SHARED, ro, 0);
	CHECK(p != MAP_FAILED && *ret_ro != MAP_FAILED && close(fd) == 0 && close(ro) == 0);
	p[PAGE + 1] = 'c';
	return p;
}

static char *deleted, *deleted_ro, *replaced, *replaced_ro, *cut, *cut_ro;

static void child(void *arg)
{
	prog_count(step);
	prog_wait_go();
	prog_wait_count(step, 2);
	CHECK(deleted[3 * PAGE] == 'p');
	deleted[3 * PAGE + 1] = 'k';
	prog_count(step);
}

static char byte_of(const char *name, off_t pos)
{
	char path[4200], c = 0;
	int fd;

	at(name, path);
	fd = open(path, O_RDONLY);
	CHECK(fd >= 0 && pread(fd, &c, 1, pos) == 1 && close(fd) == 0);
	return c;
}

int main(int argc, char **argv)
{
	char a[4200], b[4200];
	pid_t pid;

	prog_init(argc, argv);
	faults_caught();
	prog_needs_map_files();
	step = prog_shared(PAGE);
	deleted = map("deleted", 'd', &deleted_ro);
	replaced = map("replaced", 'r', &replaced_ro);
	cut = map("cut", 't', &cut_ro);
	at("deleted", a);
	CHECK(unlink(a) == 0);
	CHECK(close(make("other", 'o')) == 0);
	at("other", a);
	at("replaced", b);
	CHECK(rename(a, b) == 0);
	at("cut", a);
	CHECK(truncate(a, 3 * PAGE + 5) == 0);
	pid = prog_child(child, NULL);
	prog_wait_count(step, 1);
	prog_ready();
	CHECK(deleted[PAGE + 1] == 'c' && deleted[0] == 'd' && deleted_ro[PAGE + 1] == 'c' && deleted_ro[5 * PAGE] == 'd');
	CHECK(replaced[PAGE + 1] == 'c' && replaced[5 * PAGE] == 'r' && replaced_ro[PAGE + 1] == 'c');
	CHECK(cut[PAGE + 1] == 'c' && cut[3 * PAGE + 4] == 't' && cut[3 * PAGE + 5] == 0 && cut_ro[0] == 't');
	CHECK(try_read(cut + 4 * PAGE) == SIGBUS && try_read(cut_ro + 5 * PAGE) == SIGBUS);
	/* still one file each, and not the one that has its name now */
	replaced[2 * PAGE] = 'n';
	cut[2 * PAGE] = 'n';
	CHECK(replaced_ro[2 * PAGE] == 'n' && byte_of("replaced", 2 * PAGE) == 'o' && byte_of("replaced", PAGE + 1) == 'o');
	CHECK(cut_ro[2 * PAGE] == 'n' && byte_of("cut", 2 * PAGE) == 'n');
	CHECK(mprotect(deleted_ro, PAGE, PROT_READ | PROT_WRITE) < 0 && errno == EACCES);
	at("deleted", a);
	CHECK(access(a, F_OK) < 0 && errno == ENOENT);
	deleted[3 * PAGE] = 'p';
	prog_count(step);
	prog_wait_count(step, 3);
	CHECK(deleted[3 * PAGE + 1] == 'k' && deleted_ro[3 * PAGE + 1] == 'k');
	prog_reap(pid);
	prog_ok();
}
