/* SPDX-License-Identifier: MIT */
/*
 * Threads that wait at pseudo-terminals: for a line, for bytes at either end, for as many as VMIN
 * says, for output that was stopped (Ctrl-S).
 */
#include "blocked.h"
#include "pty.h"

enum { LINE, RAW, MIN, UP, STOPPED, N };
static int m[N], s[N];

static int gets(int fd, const char *want)
{
	char buf[64] = "";
	ssize_t n = read(fd, buf, sizeof(buf) - 1);

	return n == (ssize_t)strlen(want) && !strcmp(buf, want) ? 0 : -1;
}

/* One byte after the other. */
static void type(int fd, const char *text)
{
	for (; *text; text++) {
		pty_write(fd, text, 1);
		prog_nap(10);
	}
}

static void raw(int fd, int min)
{
	struct termios2 t;

	CHECK(ioctl(fd, TCGETS2, &t) == 0);
	t.c_lflag = t.c_iflag = t.c_oflag = 0;
	t.c_cc[VMIN] = min;
	t.c_cc[VTIME] = 0;
	CHECK(ioctl(fd, TCSETS2, &t) == 0);
}

static int do_line(void) { return gets(s[LINE], "a line\n"); }
static void free_line(void) { type(m[LINE], "a line\n"); }
static int do_raw(void) { return gets(s[RAW], "r"); }
static void free_raw(void) { type(m[RAW], "r"); }
static int do_min(void) { return gets(s[MIN], "four"); }
static void free_min(void) { type(m[MIN], "four"); }
static int do_up(void) { return gets(m[UP], "up"); }
static void free_up(void) { pty_write(s[UP], "up", 2); }
static int do_stopped(void) { return write(s[STOPPED], "late", 4) == 4 ? 0 : -1; }

static void free_stopped(void)
{
	CHECK(!pty_readable(m[STOPPED], 0));
	CHECK(ioctl(s[STOPPED], TCXONC, TCOON) == 0);
	CHECK(PTY_GIVES(m[STOPPED], "late"));
}

static const struct blocked calls[] = {
	BLOCKED("read of a line", line), BLOCKED("read", raw), BLOCKED("read of four", min), BLOCKED("read at the other end", up),
	BLOCKED("write to what is stopped", stopped),
};

int main(int argc, char **argv)
{
	prog_init(argc, argv);
	for (int i = 0; i < N; i++)
		m[i] = pty_new(&s[i]);
	raw(s[RAW], 1);
	raw(s[MIN], 4);
	raw(s[UP], 1);
	raw(s[STOPPED], 1);
	CHECK(ioctl(s[STOPPED], TCXONC, TCOOFF) == 0);
	blocked_run(calls, sizeof(calls) / sizeof(calls[0]));
	prog_ok();
}
