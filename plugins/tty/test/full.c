/* SPDX-License-Identifier: MIT */
/*
 * full.c: terminals filled to the brim in both directions, by writes of many sizes: as much as the
 * kernel took comes out again, also after several rounds, in which the engine has to put in again
 * what it once put in itself.
 */
#include "pty.h"

#define MOST 100000

static const int sizes[] = { 1, 100, 255, 256, 257, 1000, 1024, 1792, 2000, 4096 };
#define TERMINALS (sizeof(sizes) / sizeof(*sizes))

static char data[MOST];

static void make_raw(int slave)
{
	struct termios2 t;

	CHECK(ioctl(slave, TCGETS2, &t) == 0);
	t.c_lflag = t.c_iflag = t.c_oflag = 0;
	t.c_cc[VMIN] = 1;
	CHECK(ioctl(slave, TCSETS2, &t) == 0);
}

/* Until nothing more gets in, also after the kernel's worker has run. */
static int fill(int fd, int size)
{
	int sum = 0;
	ssize_t n;

	CHECK(fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK) == 0);
	for (int i = 0; i < 20; i++) {
		while ((n = write(fd, data + sum, size)) > 0)
			sum += n;
		prog_nap(2);
	}
	return sum;
}

static void check_all(int fd, int size, int want)
{
	static char got[MOST];
	int sum = 0;
	ssize_t n;

	while (pty_readable(fd, 200) && (n = read(fd, got + sum, sizeof(got) - sum)) > 0)
		sum += n;
	if (sum != want || memcmp(got, data, sum))
		prog_fail("writes of %d bytes: %d bytes come, of %d", size, sum, want);
}

int main(int argc, char **argv)
{
	int master[TERMINALS], slave[TERMINALS], in[TERMINALS], out[TERMINALS];

	prog_init(argc, argv);
	for (int i = 0; i < MOST; i++)
		data[i] = i % 251;
	for (size_t i = 0; i < TERMINALS; i++) {
		master[i] = pty_new(&slave[i]);
		make_raw(slave[i]);
		in[i] = fill(master[i], sizes[i]);
		out[i] = fill(slave[i], sizes[i]);
	}
	prog_ready();
	for (size_t i = 0; i < TERMINALS; i++) {
		check_all(slave[i], sizes[i], in[i]);
		check_all(master[i], sizes[i], out[i]);
	}
	prog_ok();
}
