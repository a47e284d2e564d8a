/* SPDX-License-Identifier: MIT */
/* util.h: cleanup attributes, growable arrays and buffers, whole-file reads. Leaf: knows no core type. */
#ifndef LIB_UTIL_H
#define LIB_UTIL_H

#include <dirent.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN_OF(a, b) ((a) < (b) ? (a) : (b))
#define MAX_OF(a, b) ((a) > (b) ? (a) : (b))
#define CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))

#define PAGE_BYTES 4096ul
#define PAGE_DOWN(x) ((uint64_t)(x) & ~(uint64_t)(PAGE_BYTES - 1))
#define PAGE_UP(x) PAGE_DOWN((uint64_t)(x) + PAGE_BYTES - 1)

/* Cleanup attributes: _cleanup_fd_ int fd = -1; and so on. */
void cleanup_fd(int *fd);
void cleanup_free(void *p);
void cleanup_file(FILE **f);
void cleanup_dir(DIR **d);
#define _cleanup_fd_ __attribute__((cleanup(cleanup_fd)))
#define _cleanup_free_ __attribute__((cleanup(cleanup_free)))
#define _cleanup_file_ __attribute__((cleanup(cleanup_file)))
#define _cleanup_dir_ __attribute__((cleanup(cleanup_dir)))

/* Allocation that cannot fail: prints a line and ends the process when memory is out; the warden then undoes everything. */
__attribute__((returns_nonnull)) void *xcalloc(size_t n, size_t size);
__attribute__((returns_nonnull)) void *xrealloc(void *p, size_t bytes);
__attribute__((returns_nonnull)) char *xstrdup(const char *s);
__attribute__((returns_nonnull)) char *xasprintf(const char *fmt, ...) PRINTF_LIKE(1, 2);

/*
 * Growable array:   VEC(struct vma) vmas = {0};  *vec_push(&vmas) = v;
 *                   for (size_t i = 0; i < vmas.n; i++) use(&vmas.v[i]);  vec_free(&vmas);
 * Pointers into it are invalid after a push.
 */
#define VEC(type) struct { type *v; size_t n, cap; }
#define vec_push(a) \
	(((a)->n == (a)->cap ? (void)((a)->v = vec_grow((a)->v, &(a)->cap, sizeof(*(a)->v))) : (void)0), \
	 &(a)->v[(a)->n++])
#define vec_free(a) (free((a)->v), (a)->v = NULL, (a)->n = (a)->cap = 0)
__attribute__((returns_nonnull)) void *vec_grow(void *v, size_t *cap, size_t elem_bytes); /* new room is zeroed */

/* Growable byte buffer, always NUL-terminated behind len. */
struct buf {
	char *p;
	size_t len, cap;
};
void buf_add(struct buf *b, const void *data, size_t len);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_free(struct buf *b);
#define _cleanup_buf_ __attribute__((cleanup(buf_free)))

/* All bytes or an error: 0 or -errno; -ENODATA when the file ends early (read). EINTR is retried. */
int read_full(int fd, void *buf, size_t len);
int write_full(int fd, const void *buf, size_t len);
int pread_full(int fd, void *buf, size_t len, off_t off);
int pwrite_full(int fd, const void *buf, size_t len, off_t off);
/* Whole small file (a /proc text) into b, appended. dirfd as in openat(2). 0 or -errno. */
int read_file(int dirfd, const char *path, struct buf *b);
/* The same for a text that the kernel makes in one piece, not line by line: a short read has all of it. */
int read_piece(int dirfd, const char *path, struct buf *b);
/* Writes text to an existing file (a /proc or cgroup file) in one write. 0 or -errno. */
int write_file(int dirfd, const char *path, const char *text);
/* readlinkat(2) into allocated memory; 0 or -errno. */
int readlink_alloc(int dirfd, const char *path, char **ret);

/* Makes the pages of fresh memory, those that lie wholly within, in one step instead of a fault for each; only faster. */
void prefault(void *p, size_t bytes);
/*
 * From now on the same is done for the heap, ahead of what xcalloc() and xrealloc() take from it.  Once more after a fork:
 * no page of it is shared then any more; of a large one, most of which is not written again, all stay so.
 */
void heap_ahead(void);

/* Monotonic clock in microseconds. */
uint64_t now_us(void);

#endif
