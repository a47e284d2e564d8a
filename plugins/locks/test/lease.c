/* SPDX-License-Identifier: MIT */
/* Leases: the type, the signal, its number and the descriptor in it; one whose taker is gone. */
#include "prog.h"

#include <signal.h>

static volatile int got_fd, got_signal;

static void on_signal(int sig, siginfo_t *si, void *uc)
{
	got_signal = sig;
	got_fd = si->si_fd;
}

static int make(const char *name, int flags)
{
	int fd = open(name, O_RDWR | O_CREAT, 0600);

	CHECK(fd >= 0);
	close(fd);
	fd = open(name, flags);
	CHECK(fd >= 0);
	return fd;
}

/* Opens name while its lease is in force: as long as the holder does not give it up this must not succeed. */
static void breaker(void *arg)
{
	int fd = open(arg, O_RDWR | O_NONBLOCK);

	CHECK(fd < 0 && errno == EWOULDBLOCK);
}

static int gone;

static void taker(void *arg)
{
	CHECK(fcntl(gone, F_SETLEASE, F_RDLCK) == 0);
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };
	struct f_owner_ex ex;
	int r, w;

	prog_init(argc, argv);
	CHECK(chdir(prog_dir) == 0);
	sigaction(SIGRTMIN + 3, &sa, NULL);
	sigaction(SIGIO, &sa, NULL);
	r = make("read", O_RDONLY);
	w = make("write", O_RDWR);
	gone = make("gone", O_RDONLY);
	CHECK(fcntl(r, F_SETLEASE, F_RDLCK) == 0 && fcntl(w, F_SETLEASE, F_WRLCK) == 0);
	CHECK(fcntl(w, F_SETSIG, SIGRTMIN + 3) == 0);
	prog_reap(prog_child(taker, NULL));

	prog_ready();

	CHECK(fcntl(r, F_GETLEASE) == F_RDLCK && fcntl(w, F_GETLEASE) == F_WRLCK);
	CHECK(fcntl(w, F_GETSIG) == SIGRTMIN + 3 && fcntl(r, F_GETSIG) == 0);
	CHECK(fcntl(w, F_GETOWN_EX, &ex) == 0 && ex.pid == getpid());
	CHECK(fcntl(r, F_GETOWN) == getpid() && fcntl(gone, F_GETOWN) == 0);
	CHECK(got_signal == 0);
	prog_reap(prog_child(breaker, "write"));
	CHECK(got_signal == SIGRTMIN + 3 && got_fd == w);
	CHECK(fcntl(w, F_SETLEASE, F_UNLCK) == 0);
	got_signal = 0;
	prog_reap(prog_child(breaker, "read"));
	CHECK(got_signal == SIGIO);
	CHECK(fcntl(r, F_SETLEASE, F_UNLCK) == 0);
	got_signal = 0;
	prog_reap(prog_child(breaker, "gone"));
	CHECK(got_signal == 0 && fcntl(gone, F_SETLEASE, F_UNLCK) == 0);
	prog_ok();
}
