/* SPDX-License-Identifier: MIT */
/*
 * master.c: masters without a slave.  One whose slave was never open stays silent and
 * locked; one whose slave was closed gives its data, then the hang-up.
 */
#include "pty.h"

int main(int argc, char **argv)
{
	int fresh, closed, slave, locked = 0;
	struct pollfd p;
	char c;

	prog_init(argc, argv);
	fresh = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK);
	CHECK(fresh >= 0);
	closed = pty_new(&slave);
	PTY_WRITE(slave, "bye");
	close(slave);
	prog_nap(50);
	prog_ready();

	p = (struct pollfd){ .fd = fresh, .events = POLLIN };
	CHECK(poll(&p, 1, 0) == 0);
	CHECK(read(fresh, &c, 1) == -1 && errno == EAGAIN);
	CHECK(ioctl(fresh, TIOCGPTLCK, &locked) == 0 && locked);
	CHECK((fcntl(fresh, F_GETFL) & (O_NONBLOCK | O_ACCMODE)) == (O_NONBLOCK | O_RDWR));
	CHECK(PTY_GIVES(closed, "bye"));
	CHECK(read(closed, &c, 1) == -1 && errno == EIO);
	/* both are still terminals that a slave can be opened of */
	slave = ioctl(closed, TIOCGPTPEER, O_RDWR | O_NOCTTY);
	CHECK(slave >= 0);
	PTY_WRITE(slave, "again");
	CHECK(PTY_GIVES(closed, "again"));
	prog_ok();
}
