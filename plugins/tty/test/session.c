/* SPDX-License-Identifier: MIT */
/*
 * session.c: a session on a pseudo-terminal, as a shell has it: leader, a foreground
 * and a background group, descriptors shared by fork, /dev/tty open.  Afterwards ^C
 * typed at the master must reach the foreground group and nobody else.
 */
#include <signal.h>

#include "pty.h"

static volatile sig_atomic_t interrupted;

static void on_interrupt(int sig)
{
	interrupted = sig;
}

/* Lives until SIGINT (exit 3) or until the parent ends it. */
static pid_t member(void)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid) {
		setpgid(pid, pid);
		return pid;
	}
	setpgid(0, 0);
	signal(SIGINT, on_interrupt);
	while (!interrupted)
		prog_nap(10);
	_exit(3);
}

static void leader(int slave)
{
	pid_t front, back;
	int tty, group, status;
	struct stat st;

	CHECK(setsid() == getpid());
	CHECK(ioctl(slave, TIOCSCTTY, 0) == 0);
	for (int i = 0; i < 3; i++)
		CHECK(dup2(slave, i) == i);
	close(slave);
	tty = open("/dev/tty", O_RDWR);
	CHECK(tty > 2);
	signal(SIGTTOU, SIG_IGN);
	front = member();
	back = member();
	CHECK(ioctl(0, TIOCSPGRP, &front) == 0);
	prog_write("leader", "1");
	prog_wait_go();
	CHECK(ioctl(0, TIOCGPGRP, &group) == 0 && group == front);
	CHECK(ioctl(tty, TIOCGPGRP, &group) == 0 && group == front);
	CHECK(ioctl(0, TIOCGSID, &group) == 0 && group == getpid());
	CHECK(fstat(tty, &st) == 0 && st.st_rdev == 0x500);
	CHECK(close(open("/dev/tty", O_RDWR)) == 0);
	PTY_WRITE(tty, "ready");
	CHECK(waitpid(front, &status, 0) == front && WIFEXITED(status) && WEXITSTATUS(status) == 3);
	prog_nap(100);
	CHECK(waitpid(back, &status, WNOHANG) == 0);
	kill(back, SIGKILL);
	CHECK(waitpid(back, &status, 0) == back);
	_exit(0);
}

int main(int argc, char **argv)
{
	int master, slave, status;
	pid_t pid;

	prog_init(argc, argv);
	master = pty_new(&slave);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		close(master);
		leader(slave);
	}
	close(slave);
	while (!prog_has("leader"))
		prog_nap(10);
	prog_ready();
	CHECK(PTY_GIVES(master, "ready"));
	PTY_WRITE(master, "\x03");
	CHECK(waitpid(pid, &status, 0) == pid);
	if (status == 0)
		prog_ok();
	if (!prog_has("result"))
		prog_fail("the session leader ended with status %#x", status);
	return 1;
}
