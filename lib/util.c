/* SPDX-License-Identifier: MIT */
#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

void cleanup_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

void cleanup_free(void *p)
{
	free(*(void **)p);
}

void cleanup_file(FILE **f)
{
	if (*f)
		fclose(*f);
}

void cleanup_dir(DIR **d)
{
	if (*d)
		closedir(*d);
}

static void *out_of_memory(void)
{
	static const char text[] = "Error (core): out of memory; see ulimit -v, and memory.max of the cgroup\n";

	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		_exit(EXIT_FAILURE);
	_exit(EXIT_FAILURE);
}

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

void prefault(void *p, size_t bytes)
{
	uint64_t from = PAGE_UP((uintptr_t)p), to = PAGE_DOWN((uintptr_t)p + bytes);
	int saved = errno;

	if (to > from)
		madvise((void *)(uintptr_t)from, to - from, MADV_POPULATE_WRITE);
	errno = saved;
}

#define AHEAD_LEAST (64u << 10)
#define AHEAD_MOST (1u << 20)
#define AHEAD_LARGE (256u << 10) /* such an allocation is not in the heap */

/* Only hints: two threads that both look are no harm. A plugin has its own, which nobody switches on. */
static uintptr_t heap_first, heap_made = UINTPTR_MAX; /* the pages of the heap between are there */
static size_t heap_step;

void heap_ahead(void)
{
	char *p = xrealloc(NULL, 1);
	uintptr_t end = (uintptr_t)sbrk(0);

	if (heap_made == UINTPTR_MAX && (uintptr_t)p < end)
		heap_made = heap_first = PAGE_DOWN((uintptr_t)p);
	else if (heap_made != UINTPTR_MAX && heap_made - heap_first <= AHEAD_MOST)
		prefault((void *)heap_first, heap_made - heap_first);
	free(p);
}

/* An allocation lies there: if it is the first beyond what is there, the next ones will follow it. */
static void look_ahead(uintptr_t from, size_t bytes)
{
	uintptr_t to = PAGE_UP(from + bytes), end;

	if (from + bytes <= heap_made || heap_made == UINTPTR_MAX)
		return;
	end = (uintptr_t)sbrk(0);
	if (from + bytes > end)
		return; /* not in the heap */
	from = MAX_OF(heap_made, PAGE_DOWN(from));
	heap_step = MIN_OF(MAX_OF(heap_step * 2, AHEAD_LEAST), AHEAD_MOST);
	heap_made = MIN_OF(MAX_OF(from, to) + heap_step, end);
	prefault((void *)from, heap_made - from);
}

void *xcalloc(size_t n, size_t size)
{
	void *p = calloc(n ? n : 1, size ? size : 1);

	if (!p)
		return out_of_memory();
	look_ahead((uintptr_t)p, n * size);
	return p;
}

void *xrealloc(void *p, size_t bytes)
{
	void *q = realloc(p, bytes ? bytes : 1);

	if (!q)
		return out_of_memory();
	look_ahead((uintptr_t)q, bytes);
	return q;
}

char *xstrdup(const char *s)
{
	char *p = strdup(s);

	return p ? p : out_of_memory();
}

char *xasprintf(const char *fmt, ...)
{
	va_list ap;
	char *p = NULL;

	va_start(ap, fmt);
	if (vasprintf(&p, fmt, ap) < 0)
		out_of_memory();
	va_end(ap);
	return p;
}

void *vec_grow(void *v, size_t *cap, size_t elem_bytes)
{
	size_t n = *cap ? *cap * 2 : 8;

	v = xrealloc(v, n * elem_bytes);
	if (n * elem_bytes >= AHEAD_LARGE)
		prefault((char *)v + *cap * elem_bytes, (n - *cap) * elem_bytes);
	memset((char *)v + *cap * elem_bytes, 0, (n - *cap) * elem_bytes);
	*cap = n;
	return v;
}

static void buf_reserve(struct buf *b, size_t more)
{
	if (b->len + more + 1 <= b->cap)
		return;
	b->cap = MAX_OF(b->cap * 2, b->len + more + 1);
	b->p = xrealloc(b->p, b->cap);
}

void buf_add(struct buf *b, const void *data, size_t len)
{
	buf_reserve(b, len);
	if (len)
		memcpy(b->p + b->len, data, len);
	b->len += len;
	b->p[b->len] = 0;
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap, ap2;
	int n;

	va_start(ap, fmt);
	va_copy(ap2, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	if (n >= 0) {
		buf_reserve(b, n);
		vsnprintf(b->p + b->len, n + 1, fmt, ap2);
		b->len += n;
	}
	va_end(ap2);
	va_end(ap);
}

void buf_free(struct buf *b)
{
	free(b->p);
	memset(b, 0, sizeof(*b));
}

int read_full(int fd, void *buf, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = read(fd, (char *)buf + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ENODATA;
		done += n;
	}
	return 0;
}

int write_full(int fd, const void *buf, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = write(fd, (const char *)buf + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		done += n;
	}
	return 0;
}

int pread_full(int fd, void *buf, size_t len, off_t off)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = pread(fd, (char *)buf + done, len - done, off + done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ENODATA;
		done += n;
	}
	return 0;
}

int pwrite_full(int fd, const void *buf, size_t len, off_t off)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = pwrite(fd, (const char *)buf + done, len - done, off + done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		done += n;
	}
	return 0;
}

/* piece: a read that gives less than it could was the last one. */
static int read_text(int dirfd, const char *path, struct buf *b, bool piece)
{
	_cleanup_fd_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
	char some[8192]; /* most are smaller, and many are kept: no room for more than there is */
	ssize_t n;

	if (fd < 0)
		return -errno;
	buf_add(b, some, 0);
	do {
		n = read(fd, some, sizeof(some));
		if (n > 0)
			buf_add(b, some, n);
	} while (n > 0 ? !piece || n == (ssize_t)sizeof(some) : n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

int read_file(int dirfd, const char *path, struct buf *b)
{
	return read_text(dirfd, path, b, false);
}

int read_piece(int dirfd, const char *path, struct buf *b)
{
	return read_text(dirfd, path, b, true);
}

int write_file(int dirfd, const char *path, const char *text)
{
	_cleanup_fd_ int fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = write(fd, text, strlen(text));
	return n < 0 ? -errno : 0;
}

int readlink_alloc(int dirfd, const char *path, char **ret)
{
	size_t cap = 256;
	char *p = xrealloc(NULL, cap);

	for (;;) {
		ssize_t n = readlinkat(dirfd, path, p, cap);

		if (n < 0) {
			int err = -errno;

			free(p);
			return err;
		}
		if ((size_t)n < cap) {
			p[n] = 0;
			*ret = p;
			return 0;
		}
		cap *= 2;
		p = xrealloc(p, cap);
	}
}

uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}
