/* SPDX-License-Identifier: MIT */
/*
 * Threads that wait at pipes and FIFOs: for bytes, for room, in the middle of what they write, for
 * somebody to open the other end.
 */
#include "blocked.h"

#include <sys/stat.h>
#include <sys/uio.h>

#define FULL 65536

static int r[2], rv[2], w[2], big[2], sp_in[2], sp_out[2], tee_in[2], tee_out[2], vm[2];
static char fifo_r[4200], fifo_w[4200];
static char page[4096] __attribute__((aligned(4096)));

static void make(int *p, int full)
{
	CHECK(pipe(p) == 0);
	for (int i = 0; full && i < FULL; i += 4096)
		CHECK(write(p[1], page, 4096) == 4096);
}

/* Reads so many bytes, all of which are c. */
static void drain(int fd, size_t bytes, char c)
{
	char buf[4096];

	while (bytes) {
		ssize_t n = read(fd, buf, bytes < sizeof(buf) ? bytes : sizeof(buf));

		CHECK(n > 0);
		for (ssize_t i = 0; i < n; i++)
			CHECK(buf[i] == c);
		bytes -= n;
	}
}

static int do_read(void)
{
	char buf[10] = "";

	return read(r[0], buf, sizeof(buf)) == 3 && !memcmp(buf, "abc", 4) ? 0 : -1;
}

static void free_read(void)
{
	CHECK(write(r[1], "abc", 3) == 3);
}

static int do_readv(void)
{
	char a[2], b[10] = "";
	struct iovec iov[] = { { a, 2 }, { b, 10 } };

	return readv(rv[0], iov, 2) == 5 && !memcmp(a, "ab", 2) && !strcmp(b, "cde") ? 0 : -1;
}

static void free_readv(void)
{
	CHECK(write(rv[1], "abcde", 5) == 5);
}

static int do_write(void)
{
	return write(w[1], "tail", 4) == 4 ? 0 : -1;
}

static void free_write(void)
{
	char end[4];

	drain(w[0], FULL, 0);
	CHECK(read(w[0], end, 4) == 4 && !memcmp(end, "tail", 4));
}

/*
 * A part is in the pipe when it is interrupted: that part is its result, as after a handler with
 * SA_RESTART, too.
 */
static int do_big_write(void)
{
	static char much[4 * FULL];
	ssize_t n;
	size_t done = 0;

	memset(much, 'm', sizeof(much));
	while (done < sizeof(much) && (n = write(big[1], much + done, sizeof(much) - done)) > 0)
		done += n;
	return done == sizeof(much) ? 0 : -1;
}

static void free_big_write(void)
{
	drain(big[0], 4 * FULL, 'm');
}

static int do_splice(void)
{
	return splice(sp_in[0], NULL, sp_out[1], NULL, 100, 0) == 6 ? 0 : -1;
}

static void free_splice(void)
{
	char buf[10];

	CHECK(write(sp_in[1], "splice", 6) == 6);
	CHECK(read(sp_out[0], buf, 10) == 6 && !memcmp(buf, "splice", 6));
}

static int do_tee(void)
{
	return tee(tee_in[0], tee_out[1], 100, 0) == 3 ? 0 : -1;
}

static void free_tee(void)
{
	char buf[10];

	CHECK(write(tee_in[1], "tee", 3) == 3);
	CHECK(read(tee_out[0], buf, 10) == 3 && !memcmp(buf, "tee", 3));
	CHECK(read(tee_in[0], buf, 10) == 3 && !memcmp(buf, "tee", 3));
}

static int do_vmsplice(void)
{
	struct iovec iov = { page, 4096 };

	return vmsplice(vm[1], &iov, 1, 0) == 4096 ? 0 : -1;
}

static void free_vmsplice(void)
{
	drain(vm[0], 2 * 4096, 0);
}

static int do_open_read(void)
{
	char c = 0;
	int fd = open(fifo_r, O_RDONLY);

	return fd >= 0 && read(fd, &c, 1) == 1 && c == 'o' ? 0 : -1;
}

static void free_open_read(void)
{
	int fd = open(fifo_r, O_WRONLY);

	CHECK(fd >= 0 && write(fd, "o", 1) == 1 && close(fd) == 0);
}

static int do_open_write(void)
{
	int fd = open(fifo_w, O_WRONLY);

	return fd >= 0 && write(fd, "w", 1) == 1 ? close(fd) : -1;
}

static void free_open_write(void)
{
	char c;
	int fd = open(fifo_w, O_RDONLY);

	CHECK(fd >= 0 && read(fd, &c, 1) == 1 && c == 'w' && close(fd) == 0);
}

static const struct blocked calls[] = {
	BLOCKED("read", read),
	BLOCKED("readv", readv),
	BLOCKED("write", write),
	BLOCKED("write of much", big_write),
	BLOCKED("splice", splice),
	BLOCKED("tee", tee),
	BLOCKED("vmsplice", vmsplice),
	BLOCKED("open of a FIFO for reading", open_read),
	BLOCKED("open of a FIFO for writing", open_write),
};

int main(int argc, char **argv)
{
	prog_init(argc, argv);
	snprintf(fifo_r, sizeof(fifo_r), "%s/fifo-r", prog_dir);
	snprintf(fifo_w, sizeof(fifo_w), "%s/fifo-w", prog_dir);
	CHECK(mkfifo(fifo_r, 0600) == 0 && mkfifo(fifo_w, 0600) == 0);
	make(r, 0);
	make(rv, 0);
	make(w, 1);
	make(big, 0);
	make(sp_in, 0);
	make(sp_out, 0);
	make(tee_in, 0);
	make(tee_out, 0);
	make(vm, 1);
	blocked_run(calls, sizeof(calls) / sizeof(calls[0]));
	prog_ok();
}
