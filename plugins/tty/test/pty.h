/* SPDX-License-Identifier: MIT */
/* pty.h: small helpers of the terminal tests. */
#ifndef TTY_TEST_PTY_H
#define TTY_TEST_PTY_H

#include <asm/termbits.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "prog.h"

/* A pseudo-terminal, unlocked; *ret_slave may be NULL: then it is not opened. */
static inline int pty_new(int *ret_slave)
{
	int off = 0, master = open("/dev/ptmx", O_RDWR | O_NOCTTY);

	CHECK(master >= 0);
	CHECK(ioctl(master, TIOCSPTLCK, &off) == 0);
	if (ret_slave) {
		*ret_slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY);
		CHECK(*ret_slave >= 0);
	}
	return master;
}

static inline bool pty_readable(int fd, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, timeout_ms) == 1 && (p.revents & POLLIN);
}

static inline bool pty_writable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	return poll(&p, 1, 0) == 1 && (p.revents & POLLOUT);
}

/* One read gives exactly these bytes. */
static inline bool pty_gives(int fd, const char *data, size_t len)
{
	char buf[4096];

	return pty_readable(fd, 1000) && read(fd, buf, sizeof(buf)) == (ssize_t)len && !memcmp(buf, data, len);
}
#define PTY_GIVES(fd, text) pty_gives((fd), (text), sizeof(text) - 1)

static inline void pty_write(int fd, const char *data, size_t len)
{
	CHECK(write(fd, data, len) == (ssize_t)len);
}
#define PTY_WRITE(fd, text) pty_write((fd), (text), sizeof(text) - 1)

#endif
