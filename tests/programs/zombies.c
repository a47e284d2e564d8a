/* SPDX-License-Identifier: MIT */
/*
 * Zombies by exit code and by signal, one in its own session and of another user, with a name;
 * the parent gets the right statuses afterwards, and its handler of SIGCHLD does not run because of the restore.
 */
#include "prog.h"

#include <signal.h>
#include <sys/prctl.h>

static volatile int handled;

static void on_chld(int sig)
{
	handled++;
}

static pid_t make(int code, int sig, int session)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		if (session) {
			CHECK(setsid() == getpid());
			CHECK(prctl(PR_SET_NAME, "gone") == 0);
			/* as another user, where that can be: the parent sees whose child it was */
			if (setresgid(321, 321, 321) == 0)
				(void)!setresuid(4321, 4321, 4321);
		}
		if (sig) {
			signal(sig, SIG_DFL);
			raise(sig);
		}
		_exit(code);
	}
	prog_wait_state(pid, pid, 'Z');
	return pid;
}

static uid_t uid_of(pid_t pid)
{
	siginfo_t si;

	memset(&si, 0, sizeof(si));
	CHECK(waitid(P_PID, pid, &si, WEXITED | WNOWAIT) == 0 && si.si_pid == pid);
	return si.si_uid;
}

int main(int argc, char **argv)
{
	long long gid;
	uid_t uid;
	pid_t by_code, by_signal, zero, leader;
	char name[64];
	int st, before, fd;
	siginfo_t si;

	prog_init(argc, argv);
	signal(SIGCHLD, on_chld);
	by_code = make(7, 0, 0);
	by_signal = make(0, SIGKILL, 0);
	zero = make(0, 0, 0);
	leader = make(200, 0, 1);
	before = handled;
	CHECK(before > 0);
	uid = uid_of(leader);
	gid = prog_status(leader, leader, "Gid", 10);
	prog_ready();
	CHECK(handled == before);
	memset(&si, 0, sizeof(si));
	CHECK(waitid(P_PID, by_signal, &si, WEXITED | WNOWAIT) == 0);
	CHECK(si.si_code == CLD_KILLED && si.si_status == SIGKILL && si.si_pid == by_signal);
	CHECK(waitpid(by_code, &st, 0) == by_code && WIFEXITED(st) && WEXITSTATUS(st) == 7);
	CHECK(waitpid(by_signal, &st, 0) == by_signal && WIFSIGNALED(st) && WTERMSIG(st) == SIGKILL);
	CHECK(waitpid(zero, &st, 0) == zero && WIFEXITED(st) && WEXITSTATUS(st) == 0);
	CHECK(getsid(leader) == leader);
	if (uid_of(leader) != uid || prog_status(leader, leader, "Gid", 10) != gid)
		prog_fail("the zombie belonged to %d:%lld, is of %d:%lld", uid, gid, uid_of(leader),
			  prog_status(leader, leader, "Gid", 10));
	CHECK(prog_status(leader, leader, "Uid", 10) == uid);
	snprintf(name, sizeof(name), "/proc/%d/comm", leader);
	fd = open(name, O_RDONLY);
	CHECK(fd >= 0 && read(fd, name, 5) == 5 && !memcmp(name, "gone\n", 5) && close(fd) == 0);
	CHECK(waitpid(leader, &st, 0) == leader && WIFEXITED(st) && WEXITSTATUS(st) == 200);
	CHECK(waitpid(-1, &st, 0) < 0 && errno == ECHILD);
	CHECK(handled == before);
	/* and it still works */
	by_code = fork();
	if (by_code == 0)
		_exit(3);
	prog_wait_state(by_code, by_code, 'Z');
	CHECK(handled == before + 1);
	prog_ok();
}
