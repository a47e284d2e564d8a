/* SPDX-License-Identifier: MIT */
/*
 * What a parent has not been told yet by wait(2): that a child was stopped, that it goes on; told once, and not again where it
 * had asked before.  No SIGCHLD but those that there were.
 */
#include "prog.h"

#include <signal.h>

enum { TOLD_STOP, NEW_STOP, NEW_CONT, TOLD_CONT, N };
static pid_t pid[N];
static int *up;
static volatile int chld, last_code, last_pid;

static void on_chld(int sig, siginfo_t *si, void *ctx)
{
	chld++;
	last_code = si->si_code;
	last_pid = si->si_pid;
}

static void child(void *arg)
{
	prog_count(up);
	while (!prog_has("go2"))
		prog_nap(10);
}

static int news(pid_t p, int what, int keep, siginfo_t *si)
{
	memset(si, 0, sizeof(*si));
	CHECK(waitid(P_PID, p, si, what | WNOHANG | keep) == 0);
	return si->si_pid == p;
}

static void send_and_wait(pid_t p, int sig, int what)
{
	siginfo_t si;

	CHECK(kill(p, sig) == 0);
	for (int i = 0; i < 500 && !news(p, what, WNOWAIT, &si); i++)
		prog_nap(10);
	CHECK(news(p, what, WNOWAIT, &si));
}

static void make_state(void)
{
	siginfo_t si;

	for (int i = 0; i < N; i++)
		send_and_wait(pid[i], SIGSTOP, WSTOPPED);
	CHECK(news(pid[TOLD_STOP], WSTOPPED, 0, &si));
	send_and_wait(pid[NEW_CONT], SIGCONT, WCONTINUED);
	CHECK(news(pid[TOLD_CONT], WSTOPPED, 0, &si));
	send_and_wait(pid[TOLD_CONT], SIGCONT, WCONTINUED);
	CHECK(news(pid[TOLD_CONT], WCONTINUED, 0, &si));
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_sigaction = on_chld, .sa_flags = SA_SIGINFO | SA_RESTART };
	siginfo_t si;
	int was;

	prog_init(argc, argv);
	CHECK(sigaction(SIGCHLD, &sa, NULL) == 0);
	up = prog_shared(4096);
	for (int i = 0; i < N; i++)
		pid[i] = prog_child(child, NULL);
	prog_wait_count(up, N);
	make_state();
	prog_nap(100); /* the signal comes after the news */
	was = chld;
	CHECK(was > 0);
	prog_ready();
	prog_nap(50);
	if (chld != was)
		prog_fail("%d SIGCHLD came from nowhere, the last of pid %d with code %d", chld - was, last_pid, last_code);
	CHECK(prog_state(pid[TOLD_STOP], pid[TOLD_STOP]) == 'T' && prog_state(pid[NEW_STOP], pid[NEW_STOP]) == 'T');
	CHECK(prog_state(pid[NEW_CONT], pid[NEW_CONT]) != 'T' && prog_state(pid[TOLD_CONT], pid[TOLD_CONT]) != 'T');
	for (int i = 0; i < N; i++) {
		int stop = news(pid[i], WSTOPPED, 0, &si);

		if (stop != (i == NEW_STOP) || (stop && (si.si_code != CLD_STOPPED || si.si_status != SIGSTOP)))
			prog_fail("child %d: news of a stop: %d", i, stop);
		stop = news(pid[i], WCONTINUED, 0, &si);
		if (stop != (i == NEW_CONT) || (stop && si.si_code != CLD_CONTINUED))
			prog_fail("child %d: news that it goes on: %d", i, stop);
		CHECK(!news(pid[i], WSTOPPED | WCONTINUED, 0, &si));
	}
	prog_write("go2", "1");
	CHECK(kill(pid[TOLD_STOP], SIGCONT) == 0 && kill(pid[NEW_STOP], SIGCONT) == 0);
	for (int i = 0; i < N; i++)
		prog_reap(pid[i]);
	prog_ok();
}
