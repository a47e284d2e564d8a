/* SPDX-License-Identifier: MIT */
/*
 * Sessions and process groups whose leaders are alive: a child that leads its own session with a child and a
 * grandchild in it, groups within a session, a child that joined its sibling's group, and one forked before its
 * parent called setsid().
 */
#include "prog.h"

enum { ROOT, LEADER, MEMBER, GRAND, GROUP, JOINED, MIDDLE, BEFORE, AFTER, COUNT };

static pid_t (*ids)[4]; /* of each: pid, ppid, pgid, sid */
static int *up;

static void note(int who)
{
	ids[who][0] = getpid();
	ids[who][1] = getppid();
	ids[who][2] = getpgid(0);
	ids[who][3] = getsid(0);
	prog_count(up);
}

static void verify(int who)
{
	CHECK(ids[who][0] == getpid());
	CHECK(ids[who][1] == getppid());
	CHECK(ids[who][2] == getpgid(0));
	CHECK(ids[who][3] == getsid(0));
}

static void leaf(void *arg)
{
	int who = (int)(long)arg;

	if (who == GROUP)
		CHECK(setpgid(0, 0) == 0);
	note(who);
	prog_wait_go();
	verify(who);
}

static void member(void *arg)
{
	pid_t grand;

	note(MEMBER);
	grand = prog_child(leaf, (void *)GRAND);
	prog_wait_go();
	verify(MEMBER);
	prog_reap(grand);
}

static void leader(void *arg)
{
	pid_t c;

	CHECK(setsid() == getpid());
	note(LEADER);
	c = prog_child(member, NULL);
	prog_wait_go();
	verify(LEADER);
	prog_reap(c);
}

/* Has a child in its old session and one in its new session. */
static void middle(void *arg)
{
	pid_t before, after;

	before = prog_child(leaf, (void *)BEFORE);
	CHECK(setsid() == getpid());
	after = prog_child(leaf, (void *)AFTER);
	note(MIDDLE);
	prog_wait_go();
	verify(MIDDLE);
	CHECK(ids[BEFORE][3] == getsid(before));
	CHECK(ids[BEFORE][3] != ids[MIDDLE][3]);
	CHECK(ids[AFTER][3] == getpid());
	prog_reap(before);
	prog_reap(after);
}

int main(int argc, char **argv)
{
	pid_t pid[4];

	prog_init(argc, argv);
	ids = prog_shared(4096);
	up = prog_shared(4096);
	note(ROOT);
	ids[ROOT][1] = 0;
	pid[0] = prog_child(leader, NULL);
	pid[1] = prog_child(leaf, (void *)GROUP);
	prog_wait_count(up, 5);
	pid[2] = fork();
	CHECK(pid[2] >= 0);
	if (pid[2] == 0) {
		CHECK(setpgid(0, pid[1]) == 0);
		note(JOINED);
		prog_wait_go();
		verify(JOINED);
		prog_child_ok();
	}
	pid[3] = prog_child(middle, NULL);
	prog_wait_count(up, COUNT);
	prog_ready();
	CHECK(ids[JOINED][2] == pid[1]);
	CHECK(getpid() == ids[ROOT][0] && getpgid(0) == ids[ROOT][2] && getsid(0) == ids[ROOT][3]);
	for (int i = 0; i < 4; i++)
		prog_reap(pid[i]);
	prog_ok();
}
