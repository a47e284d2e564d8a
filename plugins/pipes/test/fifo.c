/* SPDX-License-Identifier: MIT */
/* A FIFO with bytes in it, open for reading, for writing and for both; and one that only writers have. */
#include <signal.h>
#include <sys/stat.h>

#include "prog.h"

int main(int argc, char **argv)
{
	char name[4200], other[4200], got[16];
	int both, r, w, temp, only;
	struct stat a, b;

	prog_init(argc, argv);
	signal(SIGPIPE, SIG_IGN);
	snprintf(name, sizeof(name), "%s/fifo", prog_dir);
	snprintf(other, sizeof(other), "%s/fifo2", prog_dir);
	CHECK(mkfifo(name, 0600) == 0 && mkfifo(other, 0640) == 0);
	both = open(name, O_RDWR | O_CLOEXEC);
	r = open(name, O_RDONLY | O_NONBLOCK);
	w = open(name, O_WRONLY);
	CHECK(both >= 0 && r >= 0 && w >= 0 && write(w, "in the fifo", 11) == 11);
	temp = open(other, O_RDWR);
	only = open(other, O_WRONLY | O_NONBLOCK);
	CHECK(temp >= 0 && only >= 0 && close(temp) == 0);
	prog_ready();

	CHECK(fstat(r, &a) == 0 && stat(name, &b) == 0 && a.st_ino == b.st_ino);
	CHECK((fcntl(r, F_GETFL) & (O_ACCMODE | O_NONBLOCK)) == (O_RDONLY | O_NONBLOCK));
	CHECK((fcntl(w, F_GETFL) & (O_ACCMODE | O_NONBLOCK)) == O_WRONLY);
	CHECK((fcntl(both, F_GETFL) & O_ACCMODE) == O_RDWR && fcntl(both, F_GETFD) == FD_CLOEXEC);
	CHECK(read(r, got, sizeof(got)) == 11 && !memcmp(got, "in the fifo", 11));
	CHECK(read(r, got, 1) < 0 && errno == EAGAIN);
	CHECK(write(w, "x", 1) == 1 && read(both, got, sizeof(got)) == 1);
	CHECK(close(w) == 0 && close(both) == 0 && read(r, got, 1) == 0);
	CHECK(write(only, "x", 1) < 0 && errno == EPIPE);
	prog_ok();
}
