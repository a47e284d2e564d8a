/* SPDX-License-Identifier: MIT */
/* Targets that talk to each other, and one in a restartable sequence. */
#include "target.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/rseq.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- rseq ---- */

static volatile uint64_t begun, aborted, done;

/*
 * A long loop as the critical section: begun is counted before it, done by its last instruction.  An abort starts it
 * again through the handler, so that no run of it is ever lost.
 */
static void section(void)
{
	struct rseq *rs = (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);

	__asm__ volatile(
		".pushsection __rseq_cs, \"aw\"\n\t"
		".balign 32\n\t"
		"3: .long 0, 0\n\t"
		".quad 1f, 2f - 1f, 4f\n\t"
		".popsection\n\t"
		"jmp 5f\n\t"
		".byte 0x0f, 0xb9, 0x3d\n\t"
		".long 0x53053053\n\t"
		"4: incq %[aborted]\n\t"
		"5: mov $100000, %%rcx\n\t"
		"lea 3b(%%rip), %%rax\n\t"
		"mov %%rax, %[cs]\n\t"
		"1: dec %%rcx\n\t"
		"jnz 1b\n\t"
		"incq %[done]\n\t"
		"2:\n\t"
		: [cs] "+m"(rs->rseq_cs), [aborted] "+m"(aborted), [done] "+m"(done)
		:
		: "rax", "rcx", "memory", "cc");
}

void be_rseq(void)
{
	uint64_t *beat = mover();

	if (__rseq_size == 0)
		exit(77);
	ready();
	for (;;) {
		begun++;
		section();
		if (begun != done)
			bad("%lu restartable sequences began, %lu ended", (unsigned long)begun, (unsigned long)done);
		__atomic_add_fetch(beat, 1, __ATOMIC_SEQ_CST);
	}
}

/* ---- pipes and sockets ---- */

#define CHANNELS 3

static void die(const char *what)
{
	bad("%s: %s", what, strerror(errno));
	exit(1);
}

static struct sockaddr_un address(const char *name)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%.80s/%s", dir, name);
	return sa;
}

/* Sends 1, 2, 3, … through each channel, and takes what comes back. */
static void ask(int in[CHANNELS], int out[CHANNELS])
{
	uint64_t sent[CHANNELS] = { 0 }, *beat = mover();
	int ep = epoll_create1(EPOLL_CLOEXEC);

	for (int i = 0; i < CHANNELS; i++) {
		struct epoll_event ev = { .events = EPOLLIN, .data.u32 = i };

		if (epoll_ctl(ep, EPOLL_CTL_ADD, in[i], &ev))
			die("epoll_ctl");
		sent[i] = 1;
		if (write(out[i], &sent[i], 8) != 8)
			die("the first number");
	}
	ready();
	for (;;) {
		struct epoll_event ev;
		uint64_t v = 0;
		int n = epoll_wait(ep, &ev, 1, 10000), i = ev.data.u32;

		if (n < 0 && errno == EINTR)
			continue; /* the kernel ends it when a thread is stopped */
		if (n != 1 || i >= CHANNELS)
			die("epoll_wait");
		if (read(in[i], &v, 8) != 8 || v != sent[i])
			bad("channel %d: %lu came back for %lu", i, (unsigned long)v, (unsigned long)sent[i]);
		sent[i]++;
		if (write(out[i], &sent[i], 8) != 8)
			die("a number");
		usleep(200);
		__atomic_add_fetch(beat, 1, __ATOMIC_SEQ_CST);
	}
}

static void *answer(int in, int out)
{
	uint64_t v, last = 0, *beat = mover();

	ready();
	for (;;) {
		if (read(in, &v, 8) != 8)
			die("reading a number");
		if (v != ++last)
			bad("%lu came after %lu", (unsigned long)v, (unsigned long)last - 1);
		if (write(out, &v, 8) != 8)
			die("sending a number back");
		__atomic_add_fetch(beat, 1, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

void be_pipes(void)
{
	int there[2], back[2], pair[2], listener, named, peer, in[CHANNELS], out[CHANNELS];
	struct sockaddr_un sa = address("sock");

	unlink(sa.sun_path);
	listener = socket(AF_UNIX, SOCK_STREAM, 0);
	named = socket(AF_UNIX, SOCK_STREAM, 0);
	if (pipe(there) || pipe(back) || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) || listener < 0 ||
	    bind(listener, (void *)&sa, sizeof(sa)) || listen(listener, 1) || connect(named, (void *)&sa, sizeof(sa)) ||
	    (peer = accept(listener, NULL, NULL)) < 0)
		die("making the channels");
	st->tasks = 1 + CHANNELS;
	if (fork() == 0)
		answer(there[0], back[1]);
	if (fork() == 0)
		answer(pair[1], pair[1]);
	if (fork() == 0)
		answer(peer, peer);
	in[0] = back[0];
	out[0] = there[1];
	in[1] = out[1] = pair[0];
	in[2] = out[2] = named;
	ask(in, out);
}

/* ---- restless ---- */

#define CHILDREN 12
#define LIVES 8
#define SLEEPERS 40

static void *short_life(void *arg)
{
	usleep((unsigned long)arg);
	return NULL;
}

/* Forks, makes threads, executes itself and exits, over and over, up to some depth. */
static void live(unsigned turn)
{
	char *argv[] = { (char *)"target", (char *)"restless", (char *)dir, NULL }, *envp[] = { (char *)"CHILD=1", NULL };
	pthread_t t;

	for (int i = 0; i < LIVES; i++)
		if (pthread_create(&t, NULL, short_life, (void *)(100l * (i + turn % 7))) == 0)
			pthread_detach(t);
	if (turn % 3 == 0 && fork() == 0)
		_exit(0);
	if (turn % 4 == 0)
		execve("/proc/self/exe", argv, envp);
	if (turn % 5 == 0 && vfork() == 0)
		_exit(0);
	usleep(turn % 11 * 100);
	_exit(0);
}

static void *execute(void *arg)
{
	char *argv[] = { (char *)"target", (char *)"restless", (char *)dir, NULL }, *envp[] = { (char *)"EXEC=1", NULL };

	usleep((unsigned long)arg);
	execve("/proc/self/exe", argv, envp);
	die("execve");
	return NULL;
}

static void *sleep_on(void *arg)
{
	for (;;)
		pause();
	return arg;
}

/* Many threads, the last of which executes the program again: all others have to die before, traced or not. */
static void execute_often(void)
{
	pthread_attr_t small;
	pthread_t t;

	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 65536);
	for (int i = 0; i < SLEEPERS; i++)
		if (pthread_create(&t, &small, sleep_on, NULL))
			die("pthread_create");
	if (pthread_create(&t, &small, execute, (void *)(1000 + (unsigned long)clock() % 20000)))
		die("pthread_create");
	sleep_on(NULL);
}

void be_restless(void)
{
	unsigned turn = 0, alive = 0;
	uint64_t *beat;

	if (getenv("EXEC"))
		execute_often();
	if (getenv("CHILD")) {
		usleep(500);
		_exit(0);
	}
	if (fork() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execute_often();
	}
	beat = mover();
	ready();
	for (;;) {
		pid_t pid = alive < CHILDREN ? fork() : 0;

		if (alive < CHILDREN && pid == 0)
			live(turn);
		if (alive < CHILDREN && pid < 0)
			die("fork");
		alive += alive < CHILDREN;
		turn++;
		while (alive && waitpid(-1, NULL, alive < CHILDREN ? WNOHANG : 0) > 0)
			alive--;
		__atomic_add_fetch(beat, 1, __ATOMIC_SEQ_CST);
	}
}

/* ---- redis ---- */

#define REDIS_PORT 7379 /* in a network namespace of its own (run.sh) */
#define BATCH 16

static void take(int fd, const char *want)
{
	char got[256];
	size_t have = 0, need = strlen(want);

	while (have < need) {
		ssize_t r = read(fd, got + have, need - have);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			die(r ? "reading from redis" : "redis has closed the connection");
		have += r;
	}
	if (memcmp(got, want, need))
		bad("redis answers %.*s instead of %s", (int)have, got, want);
}

static void value_of(unsigned i, char *ret, size_t size)
{
	snprintf(ret, size, "value-%u-%u", i, i * i);
}

/* BATCH writes and reads are sent at once, then the answers are compared: something is always under way. */
static void work(int fd, unsigned from)
{
	char text[BATCH * 128], value[64], answer[96];
	size_t n = 0;

	for (unsigned i = from; i < from + BATCH; i++) {
		value_of(i, value, sizeof(value));
		n += snprintf(text + n, sizeof(text) - n, "SET key:%u %s\r\nGET key:%u\r\n", i % 1000, value, i % 1000);
	}
	if (write(fd, text, n) != (ssize_t)n)
		die("writing to redis");
	for (unsigned i = from; i < from + BATCH; i++) {
		value_of(i, value, sizeof(value));
		snprintf(answer, sizeof(answer), "+OK\r\n$%zu\r\n%s\r\n", strlen(value), value);
		take(fd, answer);
	}
}

static void redis_client(void)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(REDIS_PORT), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	uint64_t *beat = mover();

	for (int i = 0; connect(fd, (void *)&sa, sizeof(sa)); i++) {
		if (i == 500)
			exit(77);
		usleep(10000);
		close(fd);
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	}
	if (write(fd, "PING\r\n", 6) != 6)
		die("writing to redis");
	take(fd, "+PONG\r\n");
	st->client = getpid();
	ready();
	for (unsigned i = 0;; i += BATCH) {
		work(fd, i);
		__atomic_add_fetch(beat, 1, __ATOMIC_SEQ_CST);
	}
}

void be_redis(void)
{
	char port[16];

	/* an orphan: it falls to the driver and is not of the tree */
	if (fork() == 0) {
		setsid();
		if (fork() == 0)
			redis_client();
		_exit(0);
	}
	wait(NULL);
	snprintf(port, sizeof(port), "%d", REDIS_PORT);
	execlp("redis-server", "redis-server", "--bind", "127.0.0.1", "--port", port, "--dir", dir, "--save", "", "--logfile",
	       "redis.log", (char *)NULL);
	_exit(77);
}
