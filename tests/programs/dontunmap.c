/* SPDX-License-Identifier: MIT */
/*
 * What mremap(MREMAP_DONTUNMAP) leaves: pages of private, shared and file memory at another
 * address, and the old mapping there still, empty, with its flags; a child that shares the moved
 * pages, one that has moved them itself.
 */
#include "prog.h"

#include <signal.h>

#define PAGE 4096ul
#define PAGES 24
#define DONTUNMAP 4

static int *up;

static struct moved {
	const char *name;
	char *old, *now;
	char first;
} m[4];
enum { PRIVATE, SHARED, FILE_COPY, TO_PLACE, N };

static char *map(void)
{
	return mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void fill(struct moved *x, const char *name, char *p, char first)
{
	CHECK(p != MAP_FAILED);
	*x = (struct moved){ .name = name, .old = p, .first = first };
	for (int i = 0; i < PAGES; i++)
		memset(p + i * PAGE, first + i, PAGE);
}

static void move(struct moved *x, void *where)
{
	x->now = mremap(x->old, PAGES * PAGE, PAGES * PAGE, MREMAP_MAYMOVE | DONTUNMAP | (where ? MREMAP_FIXED : 0), where);
	if (x->now == MAP_FAILED)
		prog_skip("no MREMAP_DONTUNMAP for %s memory (Linux 5.7; 5.13): %s", x->name, strerror(errno));
}

/* same: the old place shows the same (shared memory, unchanged files); else it is empty. */
static void look(const struct moved *x, int same)
{
	for (int i = 0; i < PAGES; i++)
		for (unsigned long k = 0; k < PAGE; k += 1365) {
			char want = x->first + i, old = same ? want : 0;

			if (x->now[i * PAGE + k] != want || x->old[i * PAGE + k] != old)
				prog_fail("pid %d, %s, page %d: %d and %d, not %d and %d", (int)getpid(), x->name, i,
					  x->now[i * PAGE + k], x->old[i * PAGE + k], want, old);
		}
}

/* Pages that the old place has: none for private memory. */
static int resident(const char *p)
{
	unsigned char vec[PAGES];
	int n = 0;

	CHECK(mincore((void *)p, PAGES * PAGE, vec) == 0);
	for (int i = 0; i < PAGES; i++)
		n += vec[i] & 1;
	return n;
}

static void sharer(void *arg)
{
	prog_count(up);
	prog_wait_go();
	CHECK(resident(m[PRIVATE].old) == 0);
	look(&m[PRIVATE], 0);
	look(&m[SHARED], 1);
	look(&m[TO_PLACE], 0);
}

static void mover(void *arg)
{
	struct moved again = m[PRIVATE];

	again.old = again.now;
	again.name = "moved twice";
	move(&again, NULL);
	prog_count(up);
	prog_wait_go();
	look(&again, 0);
	CHECK(m[PRIVATE].old[0] == 0 && m[PRIVATE].old[5 * PAGE] == 0);
}

static char *file(void)
{
	char path[4200], page[PAGE], *p;
	int fd;

	snprintf(path, sizeof(path), "%s/file", prog_dir);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	CHECK(fd >= 0);
	for (int i = 0; i < PAGES; i++) {
		memset(page, 'f' + i, PAGE);
		CHECK(write(fd, page, PAGE) == (ssize_t)PAGE);
	}
	p = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	CHECK(p != MAP_FAILED && close(fd) == 0);
	return p;
}

int main(int argc, char **argv)
{
	char *place;
	pid_t pid[2];

	prog_init(argc, argv);
	up = prog_shared(PAGE);
	fill(&m[PRIVATE], "private", map(), 'a');
	fill(&m[SHARED], "shared", prog_shared(PAGES * PAGE), 'h');
	m[FILE_COPY] = (struct moved){ .name = "file", .old = file(), .first = 'f' };
	m[FILE_COPY].old[3 * PAGE] = 'X';
	fill(&m[TO_PLACE], "placed", map(), 'p');
	place = mmap(NULL, PAGES * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); /* gives way */
	CHECK(place != MAP_FAILED);
	for (int i = 0; i < N; i++)
		move(&m[i], i == TO_PLACE ? place : NULL);
	CHECK(resident(m[PRIVATE].old) == 0 && m[FILE_COPY].now[3 * PAGE] == 'X' && m[FILE_COPY].old[3 * PAGE] == 'f' + 3);
	pid[0] = prog_child(sharer, NULL);
	pid[1] = prog_child(mover, NULL);
	prog_wait_count(up, 2);
	prog_ready();
	CHECK(resident(m[PRIVATE].old) == 0);
	look(&m[PRIVATE], 0);
	look(&m[SHARED], 1);
	look(&m[TO_PLACE], 0);
	CHECK(m[TO_PLACE].now == place);
	CHECK(m[FILE_COPY].now[3 * PAGE] == 'X' && m[FILE_COPY].old[3 * PAGE] == 'f' + 3);
	m[FILE_COPY].now[3 * PAGE] = 'f' + 3;
	look(&m[FILE_COPY], 1);
	/* two mappings, each on its own */
	memset(m[PRIVATE].old, 'z', PAGE);
	CHECK(m[PRIVATE].now[0] == 'a' && munmap(m[PRIVATE].old, PAGES * PAGE) == 0 && m[PRIVATE].now[PAGE] == 'b');
	m[SHARED].old[PAGE] = 's';
	CHECK(m[SHARED].now[PAGE] == 's');
	m[SHARED].now[PAGE] = m[SHARED].first + 1;
	prog_reap(pid[0]);
	prog_reap(pid[1]);
	prog_ok();
}
