/* SPDX-License-Identifier: MIT */
/*
 * pair.c: both ends of two pseudo-terminals, one canonical and one raw: settings,
 * size and unread data in both directions, in order.
 */
#include "pty.h"

int main(int argc, char **argv)
{
	struct winsize size = { .ws_row = 33, .ws_col = 77, .ws_xpixel = 5, .ws_ypixel = 6 }, now;
	int master, slave, raw_master, raw_slave;
	struct termios2 t, r, t2, r2;

	prog_init(argc, argv);
	master = pty_new(&slave);
	CHECK(ioctl(slave, TCGETS2, &t) == 0);
	t.c_lflag = ICANON | ISIG | IEXTEN | ECHOE;
	t.c_cc[VINTR] = 7;
	t.c_cc[VEOL] = '!';
	t.c_cflag = (t.c_cflag & ~(CBAUD | CBAUD << IBSHIFT)) | BOTHER;
	t.c_ospeed = t.c_ispeed = 12345;
	CHECK(ioctl(slave, TCSETS2, &t) == 0 && ioctl(slave, TCGETS2, &t) == 0);
	CHECK(ioctl(master, TIOCSWINSZ, &size) == 0);
	PTY_WRITE(slave, "out\tput\nZ");
	/* a line, one with a quoted newline, one ended by VEOL, one by EOF, EOF alone, one being typed */
	PTY_WRITE(master, "line\nq\x16\nq\nbang!noeol\x04\x04typing");

	raw_master = pty_new(&raw_slave);
	CHECK(ioctl(raw_slave, TCGETS2, &r) == 0);
	r.c_lflag = r.c_iflag = r.c_oflag = 0;
	r.c_cc[VMIN] = 3;
	CHECK(ioctl(raw_slave, TCSETS2, &r) == 0 && ioctl(raw_slave, TCGETS2, &r) == 0);
	PTY_WRITE(raw_slave, "up\0\r\n");
	PTY_WRITE(raw_master, "\x03\x04\0\x13\r\n\xff");
	prog_nap(100);
	prog_ready();

	CHECK(ioctl(slave, TCGETS2, &t2) == 0 && !memcmp(&t, &t2, sizeof(t)));
	CHECK(ioctl(raw_slave, TCGETS2, &r2) == 0 && !memcmp(&r, &r2, sizeof(r)));
	CHECK(ioctl(slave, TIOCGWINSZ, &now) == 0 && !memcmp(&size, &now, sizeof(now)));
	CHECK(PTY_GIVES(master, "out\tput\r\nZ"));
	CHECK(!pty_readable(master, 0));
	CHECK(PTY_GIVES(slave, "line\n"));
	CHECK(PTY_GIVES(slave, "q\nq\n"));
	CHECK(PTY_GIVES(slave, "bang!"));
	CHECK(PTY_GIVES(slave, "noeol"));
	CHECK(PTY_GIVES(slave, ""));
	CHECK(!pty_readable(slave, 50));
	PTY_WRITE(master, "\x7fX\n");
	CHECK(PTY_GIVES(slave, "typinX\n"));
	CHECK(PTY_GIVES(raw_master, "up\0\r\n"));
	CHECK(PTY_GIVES(raw_slave, "\x03\x04\0\x13\r\n\xff"));
	prog_ok();
}
