/* SPDX-License-Identifier: MIT */
/*
 * modes.c: packet mode, exclusive mode, owner and permissions of the slave's node,
 * stopped output; and a descriptor whose master is gone.
 */
#include "pty.h"

int main(int argc, char **argv)
{
	int master, slave, tcoff_master, tcoff, gone, hung, on = 1, value;
	struct stat before, after;
	char c;

	prog_init(argc, argv);
	master = pty_new(&slave);
	PTY_WRITE(slave, "abc\n");
	PTY_WRITE(master, "\x13");
	prog_nap(50);
	CHECK(!pty_writable(slave));
	CHECK(ioctl(master, TIOCPKT, &on) == 0);
	CHECK(fchmod(slave, 0622) == 0);
	CHECK(fstat(slave, &before) == 0);
	tcoff_master = pty_new(&tcoff);
	CHECK(ioctl(tcoff, TIOCEXCL) == 0 || errno == EPERM);
	CHECK(ioctl(tcoff, TCXONC, TCOOFF) == 0);
	gone = pty_new(&hung);
	close(gone);
	prog_ready();

	CHECK(ioctl(master, TIOCGPKT, &value) == 0 && value == 1);
	CHECK(PTY_GIVES(master, "\0abc\r\n"));
	CHECK(fstat(slave, &after) == 0 && after.st_mode == before.st_mode && after.st_uid == before.st_uid &&
	      after.st_gid == before.st_gid);
	CHECK(!pty_writable(slave));
	PTY_WRITE(master, "\x11");
	prog_nap(50);
	CHECK(pty_writable(slave));

	CHECK(ioctl(tcoff, TIOCGEXCL, &value) == 0 && value == 1);
	CHECK(!pty_writable(tcoff));
	PTY_WRITE(tcoff_master, "\x11"); /* START does not undo it */
	prog_nap(50);
	CHECK(!pty_writable(tcoff));
	CHECK(ioctl(tcoff, TCXONC, TCOON) == 0 && pty_writable(tcoff));

	CHECK(read(hung, &c, 1) == 0);
	CHECK(write(hung, "x", 1) == -1 && errno == EIO);
	CHECK(ioctl(hung, TIOCGEXCL, &value) == -1 && errno == EIO);
	prog_ok();
}
