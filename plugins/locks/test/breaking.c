/* SPDX-License-Identifier: MIT */
/* Leases that somebody has asked for: what they are to become stays so, and the signal comes once. */
#include <signal.h>

#include "prog.h"

static volatile sig_atomic_t signals;

static void count(int sig)
{
	(void)sig;
	signals++;
}

/* A lease of that type, taken through a description opened with mode, asked for with an open of the mode ask. */
static int leased(const char *name, int mode, int type, int ask)
{
	char path[4200];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", prog_dir, name);
	fd = open(path, O_RDWR | O_CREAT, 0644);
	CHECK(fd >= 0 && close(fd) == 0);
	fd = open(path, mode);
	CHECK(fd >= 0 && fcntl(fd, F_SETLEASE, type) == 0);
	CHECK(open(path, ask | O_NONBLOCK) < 0 && errno == EWOULDBLOCK);
	return fd;
}

int main(int argc, char **argv)
{
	int shared, down, away, before, breaktime = 45;
	FILE *f = fopen("/proc/sys/fs/lease-break-time", "re");

	prog_init(argc, argv);
	CHECK(!f || (fscanf(f, "%d", &breaktime) == 1 && fclose(f) == 0));
	if (breaktime < 20)
		prog_skip("leases are taken away after %d s", breaktime);
	signal(SIGIO, count);
	shared = leased("shared", O_RDONLY, F_RDLCK, O_WRONLY);
	down = leased("down", O_RDWR, F_WRLCK, O_RDONLY);
	away = leased("away", O_RDWR, F_WRLCK, O_WRONLY);
	CHECK(signals == 3);
	before = signals;
	prog_ready();

	CHECK(signals == before);
	CHECK(fcntl(shared, F_GETLEASE) == F_UNLCK && fcntl(down, F_GETLEASE) == F_RDLCK && fcntl(away, F_GETLEASE) == F_UNLCK);
	CHECK(fcntl(down, F_SETLEASE, F_RDLCK) == 0 || errno == EAGAIN);
	CHECK(fcntl(away, F_SETLEASE, F_UNLCK) == 0 && fcntl(shared, F_SETLEASE, F_UNLCK) == 0);
	CHECK(signals == before);
	prog_ok();
}
