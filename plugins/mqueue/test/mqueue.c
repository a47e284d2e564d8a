/* SPDX-License-Identifier: MIT */
/*
 * POSIX message queues: one with a name, one that was unlinked with messages of several priorities in it, opened twice with
 * other flags, shared with a child; a notification.
 */
#include <mqueue.h>
#include <signal.h>
#include <stdint.h>
#include <sys/random.h>

#include "prog.h"

static char names[3][64];

static mqd_t make(int i, int flags, long max)
{
	struct mq_attr a = { .mq_maxmsg = max, .mq_msgsize = 64 };
	uint64_t at_random; /* other pid namespaces share the names */
	mqd_t q;

	CHECK(getrandom(&at_random, sizeof(at_random), 0) == sizeof(at_random));
	snprintf(names[i], sizeof(names[i]), "/stasis-test-%016llx-%d", (unsigned long long)at_random, i);
	q = mq_open(names[i], flags | O_CREAT | O_EXCL, 0640, &a);
	if (q < 0 && errno == ENOSYS)
		prog_skip("the kernel has no message queues");
	CHECK(q >= 0);
	return q;
}

static void expect(mqd_t q, const char *text, unsigned int prio)
{
	char room[64];
	unsigned int got;
	ssize_t n = mq_receive(q, room, sizeof(room), &got);

	CHECK(n == (ssize_t)strlen(text) && !memcmp(room, text, n) && got == prio);
}

static void wait_and_send(void *arg)
{
	while (!prog_has("child"))
		prog_nap(10);
	CHECK(mq_send(*(mqd_t *)arg, "from the child", 14, 1) == 0);
}

int main(int argc, char **argv)
{
	const struct timespec soon = { 5, 0 };
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	mqd_t named, reader, gone, quiet;
	struct mq_attr a;
	siginfo_t si;
	sigset_t set;
	pid_t pid;

	prog_init(argc, argv);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	named = make(0, O_WRONLY, 5);
	reader = mq_open(names[0], O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	gone = make(1, O_RDWR | O_NONBLOCK, 7);
	quiet = make(2, O_RDWR, 3);
	CHECK(reader >= 0 && mq_send(named, "named", 5, 2) == 0);
	CHECK(mq_send(gone, "low", 3, 1) == 0 && mq_send(gone, "high 1", 6, 9) == 0 && mq_send(gone, "", 0, 9) == 0 &&
	      mq_send(gone, "high 2", 6, 9) == 0);
	CHECK(mq_unlink(names[1]) == 0);
	CHECK(mq_notify(quiet, &ev) == 0);
	pid = prog_child(wait_and_send, &gone);
	prog_ready();

	expect(reader, "named", 2);
	expect(gone, "high 1", 9);
	expect(gone, "", 9);
	expect(gone, "high 2", 9);
	expect(gone, "low", 1);
	CHECK(mq_receive(gone, (char[64]){ 0 }, 64, NULL) == -1 && errno == EAGAIN);
	prog_write("child", "");
	prog_reap(pid);
	expect(gone, "from the child", 1);
	CHECK(mq_getattr(gone, &a) == 0 && a.mq_maxmsg == 7 && a.mq_msgsize == 64 && (a.mq_flags & O_NONBLOCK));
	CHECK(mq_getattr(named, &a) == 0 && a.mq_maxmsg == 5 && !(a.mq_flags & O_NONBLOCK));
	CHECK(mq_open(names[1], O_RDONLY) == -1 && errno == ENOENT);
	CHECK(mq_send(quiet, "x", 1, 0) == 0 && sigtimedwait(&set, &si, &soon) == SIGUSR1);
	CHECK(mq_unlink(names[0]) == 0 && mq_unlink(names[2]) == 0);
	prog_ok();
}
