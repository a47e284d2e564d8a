/* SPDX-License-Identifier: MIT */
/*
 * Threads in calls that end by themselves, each in two: one makes its call again and again, so that
 * some are always in the middle of their time, and none may see EINTR or come back early; one waits
 * once, some of it before the dump, and ends when its time is over and not later, with its
 * arguments as they were.  The times are those of the monotonic clock, which runs on while the tree
 * does not exist.
 *
 * What signal(7) says ends with EINTR at any stop (epoll_wait, sigtimedwait, semtimedop,
 * io_getevents, sockets) may do so only where the tree runs on.  The limits of sockets begin anew.
 */
#include "prog.h"
#include "sweeper.h"

#include <linux/aio_abi.h>
#include <linux/futex.h>
#include <mqueue.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/random.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>

#define SHORT_MS 1500  /* that is repeated */
#define BEFORE_MS 3000 /* so long the others have waited when the dump begins, */
#define MS 9000	       /* of so much, */
#define LATE_MS 1500   /* and so late they may be: less than what has passed before */
#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif
#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif

static int up, ended, go_seen, futex_word = 7;
static int *sem; /* shared: the set, for the sweeper */
static mqd_t queue;
static long long gap;

static long long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ll + ts.tv_nsec / 1000000;
}

static struct timespec span(long ms)
{
	return (struct timespec){ ms / 1000, ms % 1000 * 1000000 };
}

/* Less than no time is none. */
static struct timespec until(long long end)
{
	long long now = now_ms();

	return span(end > now ? end - now : 0);
}

static struct timespec date(clockid_t clock, long ms)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	ts.tv_sec += ms / 1000;
	ts.tv_nsec += ms % 1000 * 1000000;
	ts.tv_sec += ts.tv_nsec / 1000000000;
	ts.tv_nsec %= 1000000000;
	return ts;
}

/* The right end of a call that says so by an error. */
static int ends(long r, int error)
{
	return r < 0 && errno == error ? 0 : r ? (int)r : 99;
}

/* Ended by a stop, and this is the process that was stopped. */
static int stopped(long r)
{
	return r < 0 && errno == EINTR && !prog_restored();
}

static int do_nanosleep(long ms)
{
	struct timespec ts = span(ms);

	return syscall(SYS_nanosleep, &ts, NULL);
}

static int do_nanosleep_rem(long ms)
{
	struct timespec ts = span(ms), rem = { 77, 77 };

	return nanosleep(&ts, &rem) || ts.tv_sec != span(ms).tv_sec || ts.tv_nsec != span(ms).tv_nsec;
}

static int sleep_by(clockid_t clock, int flags, struct timespec ts, struct timespec *rem)
{
	return syscall(SYS_clock_nanosleep, clock, flags, &ts, rem);
}

static int do_mono(long ms) { return sleep_by(CLOCK_MONOTONIC, 0, span(ms), NULL); }
static int do_boot(long ms) { return sleep_by(CLOCK_BOOTTIME, 0, span(ms), NULL); }
static int do_tai(long ms) { return sleep_by(CLOCK_TAI, 0, span(ms), NULL); }
static int do_real(long ms) { return sleep_by(CLOCK_REALTIME, 0, span(ms), &(struct timespec){ 0 }); }
static int do_boot_alarm(long ms) { return sleep_by(CLOCK_BOOTTIME_ALARM, 0, span(ms), NULL); }
static int do_real_alarm(long ms) { return sleep_by(CLOCK_REALTIME_ALARM, 0, span(ms), NULL); }
static int do_abs(clockid_t clock, long ms) { return sleep_by(clock, TIMER_ABSTIME, date(clock, ms), NULL); }
static int do_abs_mono(long ms) { return do_abs(CLOCK_MONOTONIC, ms); }
static int do_abs_real(long ms) { return do_abs(CLOCK_REALTIME, ms); }
static int do_abs_boot(long ms) { return do_abs(CLOCK_BOOTTIME, ms); }
static int do_abs_tai(long ms) { return do_abs(CLOCK_TAI, ms); }
static int do_poll_none(long ms) { return poll(NULL, 0, ms); }
static int do_poll(long ms) { return poll(&(struct pollfd){ .fd = -1, .events = POLLIN }, 1, ms); }

static int do_ppoll(long ms)
{
	struct timespec ts = span(ms);
	sigset_t set;

	sigemptyset(&set);
	return ppoll(NULL, 0, &ts, &set);
}

static int do_select(long ms) { return select(0, NULL, NULL, NULL, &(struct timeval){ ms / 1000, ms % 1000 * 1000 }); }

static int do_pselect(long ms)
{
	struct timespec ts = span(ms);

	return pselect(0, NULL, NULL, NULL, &ts, NULL);
}

static int do_epoll(long ms)
{
	long long end = now_ms() + ms, now;
	struct epoll_event ev;
	int fd = epoll_create1(0), n;

	do {
		now = now_ms();
		n = epoll_wait(fd, &ev, 1, end > now ? end - now : 0);
	} while (stopped(n));
	close(fd);
	return n;
}

static int do_epoll2(long ms)
{
	long long end = now_ms() + ms;
	struct epoll_event ev;
	struct timespec ts;
	int fd = epoll_create1(0), n;

	do {
		ts = until(end);
		n = syscall(SYS_epoll_pwait2, fd, &ev, 1, &ts, NULL, 8);
	} while (stopped(n));
	close(fd);
	return n;
}

static long futex(int op, struct timespec ts)
{
	return syscall(SYS_futex, &futex_word, op, 7, &ts, NULL, ~0u);
}

static int do_futex(long ms) { return ends(futex(FUTEX_WAIT_PRIVATE, span(ms)), ETIMEDOUT); }
static int do_futex_shared(long ms) { return ends(futex(FUTEX_WAIT, span(ms)), ETIMEDOUT); }

static int do_futex_mono(long ms)
{
	return ends(futex(FUTEX_WAIT_BITSET_PRIVATE, date(CLOCK_MONOTONIC, ms)), ETIMEDOUT);
}

static int do_futex_real(long ms)
{
	return ends(futex(FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, date(CLOCK_REALTIME, ms)), ETIMEDOUT);
}

static int do_futex_waitv(long ms)
{
	struct {
		uint64_t val, uaddr;
		uint32_t flags, reserved;
	} v = { 7, (uintptr_t)&futex_word, 2 | 128, 0 };
	struct timespec ts = date(CLOCK_MONOTONIC, ms);

	return ends(syscall(SYS_futex_waitv, &v, 1, 0, &ts, CLOCK_MONOTONIC), ETIMEDOUT);
}

static int do_sigtimedwait(long ms)
{
	long long end = now_ms() + ms;
	struct timespec ts;
	sigset_t set;
	int r;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	do {
		ts = until(end);
		r = sigtimedwait(&set, NULL, &ts);
	} while (stopped(r));
	return ends(r, EAGAIN);
}

static int do_semtimedop(long ms)
{
	long long end = now_ms() + ms;
	struct sembuf o = { 0, -1, 0 };
	struct timespec ts;
	int r;

	do {
		ts = until(end);
		r = semtimedop(*sem, &o, 1, &ts);
	} while (stopped(r));
	return ends(r, EAGAIN);
}

static int do_io_getevents(long ms)
{
	long long end = now_ms() + ms;
	aio_context_t ctx = 0;
	struct io_event ev;
	struct timespec ts;
	int r;

	CHECK(syscall(SYS_io_setup, 1, &ctx) == 0);
	do {
		ts = until(end);
		r = syscall(SYS_io_getevents, ctx, 1l, 1l, &ev, &ts);
	} while (stopped(r));
	CHECK(syscall(SYS_io_destroy, ctx) == 0);
	return r;
}

static int do_mq(long ms)
{
	struct timespec ts = date(CLOCK_REALTIME, ms);
	char room[16];

	return ends(mq_timedreceive(queue, room, sizeof(room), NULL, &ts), ETIMEDOUT);
}

static int do_recv(long ms)
{
	struct timeval tv = { ms / 1000, ms % 1000 * 1000 };
	int fd[2], r;
	char c;

	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fd) == 0);
	CHECK(setsockopt(fd[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) == 0);
	do {
		r = recv(fd[0], &c, 1, 0);
	} while (stopped(r));
	r = ends(r, EAGAIN);
	close(fd[0]);
	close(fd[1]);
	return r;
}

static struct {
	const char *name;
	int (*call)(long ms); /* 0: it has waited so long, and all was right */
	int anew, lacking;
	char why[2][200];
} calls[] = {
	{ "nanosleep", do_nanosleep, 0, 0, { "" } },
	{ "nanosleep with a remainder", do_nanosleep_rem, 0, 0, { "" } },
	{ "clock_nanosleep monotonic", do_mono, 0, 0, { "" } },
	{ "clock_nanosleep boottime", do_boot, 0, 0, { "" } },
	{ "clock_nanosleep realtime with a remainder", do_real, 0, 0, { "" } },
	{ "clock_nanosleep TAI", do_tai, 0, 0, { "" } },
	{ "clock_nanosleep boottime alarm", do_boot_alarm, 0, 0, { "" } },
	{ "clock_nanosleep realtime alarm", do_real_alarm, 0, 0, { "" } },
	{ "clock_nanosleep absolute monotonic", do_abs_mono, 0, 0, { "" } },
	{ "clock_nanosleep absolute realtime", do_abs_real, 0, 0, { "" } },
	{ "clock_nanosleep absolute boottime", do_abs_boot, 0, 0, { "" } },
	{ "clock_nanosleep absolute TAI", do_abs_tai, 0, 0, { "" } },
	{ "poll of nothing", do_poll_none, 0, 0, { "" } },
	{ "poll", do_poll, 0, 0, { "" } },
	{ "ppoll", do_ppoll, 0, 0, { "" } },
	{ "select", do_select, 0, 0, { "" } },
	{ "pselect", do_pselect, 0, 0, { "" } },
	{ "epoll_wait", do_epoll, 0, 0, { "" } },
	{ "epoll_pwait2", do_epoll2, 0, 0, { "" } },
	{ "futex", do_futex, 0, 0, { "" } },
	{ "futex shared", do_futex_shared, 0, 0, { "" } },
	{ "futex bitset monotonic", do_futex_mono, 0, 0, { "" } },
	{ "futex bitset realtime", do_futex_real, 0, 0, { "" } },
	{ "futex_waitv", do_futex_waitv, 0, 0, { "" } },
	{ "sigtimedwait", do_sigtimedwait, 0, 0, { "" } },
	{ "semtimedop", do_semtimedop, 0, 0, { "" } },
	{ "io_getevents", do_io_getevents, 0, 0, { "" } },
	{ "mq_timedreceive", do_mq, 0, 0, { "" } },
	{ "recv with SO_RCVTIMEO", do_recv, 1, 0, { "" } },
};
enum { N = sizeof(calls) / sizeof(calls[0]) };

/* How long the tree did not exist: the times between two looks at the clock. */
static void *watcher(void *arg)
{
	long long last = now_ms(), now;

	while (__atomic_load_n(&ended, __ATOMIC_SEQ_CST) < 2 * N) {
		prog_nap(5);
		now = now_ms();
		if (now - last > 150)
			gap += now - last;
		last = now;
	}
	return NULL;
}

static int one(int n, int slot, long ms, int late)
{
	long long t = now_ms();
	int r;

	errno = 0;
	r = calls[n].call(ms);
	t = now_ms() - t;
	/* waiting it all again would be later by what had passed */
	if (r == 0 && t >= ms - 1 && (!late || calls[n].anew || t <= ms + gap + LATE_MS))
		return 0;
	snprintf(calls[n].why[slot], sizeof(calls[n].why[slot]), "%s, %ld ms: %d (%s) after %lld ms, %lld ms were not there",
		 calls[n].name, ms, r, strerror(errno), t, gap);
	return -1;
}

static void *once(void *arg)
{
	long n = (long)arg;

	prog_count(&up);
	if (!calls[n].lacking)
		one(n, 0, MS, 1);
	prog_count(&ended);
	return NULL;
}

static void *again(void *arg)
{
	long n = (long)arg;

	prog_count(&up);
	while (!calls[n].lacking && one(n, 1, SHORT_MS, 0) == 0 && !__atomic_load_n(&go_seen, __ATOMIC_SEQ_CST))
		;
	prog_count(&ended);
	return NULL;
}

static void sweep(void)
{
	semctl(*sem, 0, IPC_RMID);
}

static void make(void)
{
	struct mq_attr a = { .mq_maxmsg = 1, .mq_msgsize = 16 };
	uint64_t at_random;
	char name[64];

	sem = prog_shared(sizeof(*sem));
	*sem = semget(IPC_PRIVATE, 1, 0600);
	sweep_after(sweep);
	CHECK(getrandom(&at_random, sizeof(at_random), 0) == sizeof(at_random));
	snprintf(name, sizeof(name), "/stasis-test-%016llx", (unsigned long long)at_random);
	queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &a);
	CHECK(*sem >= 0 && queue >= 0 && mq_unlink(name) == 0);
}

/* What this kernel or machine has not. */
static void look(void)
{
	for (int n = 0; n < N; n++) {
		errno = 0;
		if (calls[n].call(1) == 0)
			continue;
		if (errno != EOPNOTSUPP && errno != ENOSYS && errno != EPERM && errno != EINVAL)
			prog_fail("%s: %s", calls[n].name, strerror(errno));
		printf("no %s here: %s\n", calls[n].name, strerror(errno));
		calls[n].lacking = 1;
	}
}

static void report(void)
{
	char all[1900] = "";
	size_t len = 0;

	for (int i = 0; i < 2 * N && len < sizeof(all) - 1; i++)
		if (calls[i / 2].why[i % 2][0])
			len += snprintf(all + len, sizeof(all) - len, "%s%s", len ? "; " : "", calls[i / 2].why[i % 2]);
	if (len)
		prog_fail("%s", all);
}

int main(int argc, char **argv)
{
	long long begun;
	sigset_t set;
	pthread_t t;

	prog_init(argc, argv);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	make();
	look();
	begun = now_ms();
	CHECK(pthread_create(&t, NULL, watcher, NULL) == 0);
	for (long i = 0; i < N; i++)
		CHECK(pthread_create(&t, NULL, once, (void *)i) == 0 && pthread_create(&t, NULL, again, (void *)i) == 0);
	prog_wait_count(&up, 2 * N);
	while (now_ms() - begun < BEFORE_MS)
		prog_nap(10);
	prog_ready();
	__atomic_store_n(&go_seen, 1, __ATOMIC_SEQ_CST);
	prog_wait_count(&ended, 2 * N);
	sweep();
	report();
	prog_ok();
}
