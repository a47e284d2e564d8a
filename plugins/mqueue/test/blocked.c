/* SPDX-License-Identifier: MIT */
/*
 * Threads that wait at POSIX message queues: for a message, for room, without a time limit and
 * until a date that is far away.
 */
#include <mqueue.h>
#include <stdint.h>
#include <sys/random.h>

#include "blocked.h"
#include "sweeper.h"

static mqd_t in, out, dated_in, dated_out;
static struct timespec date;

static char names[2][64];

static void sweep(void)
{
	for (int i = 0; i < 2; i++)
		mq_unlink(names[i]);
}

/* The full ones, which have to be kept by name, are the first. */
static mqd_t make(int i, int full)
{
	struct mq_attr a = { .mq_maxmsg = 2, .mq_msgsize = 16 };
	char other[80], *name = i < 2 ? names[i] : other;
	mqd_t q;

	if (i >= 2)
		snprintf(other, sizeof(other), "%s-%d", names[0], i);
	q = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &a);
	if (q < 0 && errno == ENOSYS)
		prog_skip("the kernel has no message queues");
	CHECK(q >= 0 && (i < 2 || mq_unlink(name) == 0));
	for (int i = 0; i < full; i++)
		CHECK(mq_send(q, "full", 4, 1) == 0);
	return q;
}

static int got(ssize_t n, const char *room, unsigned prio)
{
	return n == 4 && !memcmp(room, "here", 4) && prio == 3 ? 0 : -1;
}

static int do_in(void)
{
	char room[16];
	unsigned prio = 0;
	ssize_t n = mq_receive(in, room, sizeof(room), &prio);

	return got(n, room, prio);
}

static int do_dated_in(void)
{
	char room[16];
	unsigned prio = 0;
	ssize_t n = mq_timedreceive(dated_in, room, sizeof(room), &prio, &date);

	return got(n, room, prio);
}

static void drain(mqd_t q)
{
	char room[16];
	unsigned prio;
	int n[2] = { 0, 0 };

	for (int i = 0; i < 3; i++) {
		CHECK(mq_receive(q, room, sizeof(room), &prio) == 4);
		n[prio == 1]++;
	}
	CHECK(n[0] == 1 && n[1] == 2);
}

static int do_out(void) { return mq_send(out, "more", 4, 2); }
static int do_dated_out(void) { return mq_timedsend(dated_out, "more", 4, 2, &date); }
static void free_in(void) { CHECK(mq_send(in, "here", 4, 3) == 0); }
static void free_dated_in(void) { CHECK(mq_send(dated_in, "here", 4, 3) == 0); }
static void free_out(void) { drain(out); }
static void free_dated_out(void) { drain(dated_out); }

static const struct blocked calls[] = {
	BLOCKED("mq_receive", in), BLOCKED("mq_timedreceive", dated_in), BLOCKED("mq_send", out),
	BLOCKED("mq_timedsend", dated_out),
};

int main(int argc, char **argv)
{
	uint64_t at_random;

	prog_init(argc, argv);
	CHECK(getrandom(&at_random, sizeof(at_random), 0) == sizeof(at_random));
	for (int i = 0; i < 2; i++)
		snprintf(names[i], sizeof(names[i]), "/stasis-test-%016llx-%d", (unsigned long long)at_random, i);
	sweep_after(sweep);
	out = make(0, 2);
	dated_out = make(1, 2);
	in = make(2, 0);
	dated_in = make(3, 0);
	clock_gettime(CLOCK_REALTIME, &date);
	date.tv_sec += 600;
	blocked_run(calls, sizeof(calls) / sizeof(calls[0]));
	sweep();
	prog_ok();
}
