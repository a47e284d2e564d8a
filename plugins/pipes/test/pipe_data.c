/* SPDX-License-Identifier: MIT */
/* Contents, capacity and flags of pipes; two descriptions of one end; ends that nobody has. */
#include <signal.h>

#include "prog.h"

#define BIG (300 * 1024)

static char data[BIG], got[BIG];

static void get(int fd, const char *text, size_t len)
{
	size_t n = 0;

	while (n < len) {
		ssize_t r = read(fd, got + n, len - n);

		CHECK(r > 0);
		n += r;
	}
	CHECK(!memcmp(got, text, len));
}

static int reopen(int fd, int flags)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, flags);
}

int main(int argc, char **argv)
{
	int small[2], big[2], full[2], no_writer[2], no_reader[2], only_writer, second, both, size;

	prog_init(argc, argv);
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = i * 31 + i / 4096;
	CHECK(pipe(small) == 0 && pipe2(big, O_CLOEXEC) == 0 && pipe2(full, O_NONBLOCK) == 0);
	CHECK(pipe2(no_writer, O_NONBLOCK) == 0 && pipe(no_reader) == 0);
	CHECK(write(small[1], "hello", 5) == 5);
	CHECK(fcntl(big[1], F_SETPIPE_SZ, 512 * 1024) == 512 * 1024);
	CHECK(write(big[1], data, BIG) == BIG);
	size = fcntl(full[1], F_GETPIPE_SZ);
	CHECK(write(full[1], data, size) == size);
	CHECK(write(no_writer[1], "end", 3) == 3 && close(no_writer[1]) == 0 && close(no_reader[0]) == 0);
	second = reopen(small[0], O_RDONLY | O_NONBLOCK);
	both = reopen(full[0], O_RDWR);
	CHECK(second >= 0 && both >= 0);
	/* a pipe whose read end is nowhere, but whose bytes can be read again through /proc */
	CHECK(close(full[0]) == 0 && close(full[1]) == 0);
	only_writer = reopen(both, O_WRONLY);
	CHECK(only_writer >= 0);
	prog_ready();

	CHECK(fcntl(small[0], F_GETFL) == O_RDONLY && fcntl(small[1], F_GETFL) == O_WRONLY);
	CHECK((fcntl(second, F_GETFL) & (O_ACCMODE | O_NONBLOCK)) == (O_RDONLY | O_NONBLOCK));
	CHECK((fcntl(both, F_GETFL) & (O_ACCMODE | O_NONBLOCK)) == O_RDWR);
	CHECK(fcntl(big[0], F_GETFD) == FD_CLOEXEC && fcntl(small[0], F_GETFD) == 0);
	get(small[0], "hello", 5);
	CHECK(read(second, got, 1) < 0 && errno == EAGAIN);
	CHECK(fcntl(big[0], F_GETPIPE_SZ) == 512 * 1024);
	get(big[0], data, BIG);
	CHECK(fcntl(both, F_GETPIPE_SZ) == size);
	get(both, data, size);
	CHECK(write(only_writer, "x", 1) == 1 && read(both, got, 9) == 1);
	get(no_writer[0], "end", 3);
	CHECK(read(no_writer[0], got, 1) == 0);
	CHECK(write(no_reader[1], "x", 1) < 0 && errno == EPIPE);
	/* the end of the last writer is seen */
	CHECK(close(small[1]) == 0 && read(small[0], got, 1) == 0 && read(second, got, 1) == 0);
	prog_ok();
}
