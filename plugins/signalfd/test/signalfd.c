/* SPDX-License-Identifier: MIT */
/* Mask and flags of a signalfd, a signal that is pending over the dump, and a change of the mask after it. */
#include <signal.h>
#include <sys/signalfd.h>

#include "prog.h"

static int next_signal(int fd)
{
	struct signalfd_siginfo si;
	ssize_t n = read(fd, &si, sizeof(si));

	if (n < 0 && errno == EAGAIN)
		return 0;
	CHECK(n == sizeof(si));
	return si.ssi_signo;
}

int main(int argc, char **argv)
{
	sigset_t all, some, other;
	int fd, second;

	prog_init(argc, argv);
	sigemptyset(&some);
	sigaddset(&some, SIGUSR1);
	sigaddset(&some, SIGRTMAX);
	sigemptyset(&other);
	sigaddset(&other, SIGUSR2);
	all = some;
	sigaddset(&all, SIGUSR2);
	CHECK(sigprocmask(SIG_BLOCK, &all, NULL) == 0);
	fd = signalfd(-1, &some, SFD_NONBLOCK);
	second = signalfd(-1, &other, SFD_CLOEXEC);
	CHECK(fd >= 0 && second >= 0);
	raise(SIGUSR1);
	raise(SIGUSR2);
	prog_ready();

	CHECK(fcntl(fd, F_GETFL) == (O_RDWR | O_NONBLOCK) && fcntl(second, F_GETFL) == O_RDWR);
	CHECK(fcntl(fd, F_GETFD) == 0 && fcntl(second, F_GETFD) == FD_CLOEXEC);
	CHECK(next_signal(fd) == SIGUSR1);
	CHECK(next_signal(fd) == 0);
	CHECK(next_signal(second) == SIGUSR2);
	raise(SIGRTMAX);
	CHECK(next_signal(fd) == SIGRTMAX);
	CHECK(signalfd(fd, &other, 0) == fd);
	raise(SIGUSR1);
	CHECK(next_signal(fd) == 0);
	prog_ok();
}
