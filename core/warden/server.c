/* SPDX-License-Identifier: MIT */
/*
 * Main of the warden: one request, one reply, until the end.
 *
 * The end is a commit, an abort, a release, or the death of E, which shows as end of
 * file or through E's pidfd (restored tasks inherit E's end of the socket before
 * their plans close it, so end of file alone would not do).  Requests that E had
 * sent before it died still count.
 */
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <poll.h>
#include <stdarg.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fault.h"
#include "log.h"

int wd_fail(struct server *sv, int err, const char *fmt, ...)
{
	va_list ap;

	if (sv->text[0])
		return err;
	va_start(ap, fmt);
	vsnprintf(sv->text, sizeof(sv->text), fmt, ap);
	va_end(ap);
	return err;
}

/* ---- requests ---- */

/* The box holds n items of size bytes? */
static bool fits(uint32_t n, size_t size)
{
	return n <= WD_BOX_BYTES / size;
}

static int do_inject(struct server *sv, const struct wd_request *rq)
{
	if (!fits(rq->n, sizeof(struct inject_call)))
		return -E2BIG;
	return wd_inject(sv, rq->a[0], rq->a[1], sv->box, rq->n);
}

static int do_look(struct server *sv, const struct wd_request *rq)
{
	struct wd_look *l;

	if (rq->a[0] >= LOOK_BOARDS)
		return -EINVAL;
	l = (struct wd_look *)((uint8_t *)sv->box + WD_BOX_BYTES + rq->a[0] * WD_BOARD_BYTES);
	if (rq->n > WD_BOARD_BYTES / sizeof(*l))
		return -E2BIG;
	for (uint32_t i = 0; i < rq->n; i++)
		if (l[i].calls > WD_BOARD_BYTES || l[i].ncalls > (WD_BOARD_BYTES - l[i].calls) / sizeof(struct inject_call))
			return -E2BIG;
	return wd_look(sv, l, rq->n);
}

static int do_undo(struct server *sv, const struct wd_request *rq, int *fd)
{
	char *text = sv->box;
	int own = *fd;

	*fd = -1; /* the journal keeps it */
	text[WD_BOX_BYTES - 1] = 0;
	return journal_add(sv, rq->n, own, text, rq->a[0]);
}

static int do_expect(struct server *sv, const struct wd_request *rq)
{
	return fits(rq->n, sizeof(pid_t)) ? wd_expect(sv, sv->box, rq->n) : -E2BIG;
}

static int do_abort(struct server *sv)
{
	adopt_abort(sv);
	return wd_end(sv, 0);
}

static int serve(struct server *sv, const struct wd_request *rq, int *fd)
{
	switch (rq->op) {
	case WD_HELLO:
		if (sv->start_err)
			return wd_fail(sv, sv->start_err, "the warden cannot start: %s", strerror(-sv->start_err));
		return journal_open(sv);
	case WD_FREEZE:
		((char *)sv->box)[WD_BOX_BYTES - 1] = 0;
		return wd_freeze(sv, rq->a[0], sv->box, rq->n);
	case WD_STATE:
		return wd_thread_state(sv, rq->a[0], sv->box);
	case WD_INJECT:
		return do_inject(sv, rq);
	case WD_LOOK:
		return do_look(sv, rq);
	case WD_UNDO:
		return do_undo(sv, rq, fd);
	case WD_COMMIT:
		return rq->n ? wd_end(sv, rq->n) : -EINVAL;
	case WD_ABORT:
		return do_abort(sv);
	case WD_ARENA:
		return wd_arena(sv, *fd, rq->a[0], rq->a[1], rq->a[2]);
	case WD_ADOPT:
		return wd_adopt(sv, rq->a[0]);
	case WD_EXPECT:
		return do_expect(sv, rq);
	case WD_FINALIZE:
		return wd_finalize(sv, rq->a[0], rq->n, rq->a[1]);
	case WD_RELEASE:
		return wd_release(sv);
	case WD_SECCOMP:
		return wd_seccomp(sv, rq->a[0], rq->a[1], sv->box);
	case WD_COPY:
		return wd_copy(sv, rq->a[0], sv->box);
	case WD_THAW:
		return wd_thaw(sv);
	case WD_READ:
		return fits(rq->n, 1) ? wd_read(sv, rq->a[0], rq->a[1], rq->n) : -E2BIG;
	default:
		return -ENOSYS;
	}
}

/* 1: a request (and perhaps a descriptor), 0: E has closed its end, -EAGAIN: nothing there. */
static int receive(struct server *sv, struct wd_request *rq, int *ret_fd)
{
	union {
		struct cmsghdr h;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { rq, sizeof(*rq) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	struct cmsghdr *c;
	ssize_t n = recvmsg(sv->sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	*ret_fd = -1;
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? -EAGAIN : 0;
	c = CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len >= CMSG_LEN(sizeof(int)))
		memcpy(ret_fd, CMSG_DATA(c), sizeof(int));
	return n == sizeof(*rq);
}

/* False at the end of E. */
static bool one_request(struct server *sv, bool engine_dead)
{
	struct wd_request rq;
	struct wd_reply rp = { 0 };
	int fd, r = receive(sv, &rq, &fd);

	if (r == -EAGAIN)
		return !engine_dead;
	if (r == 0)
		return false;
	sv->text[0] = 0;
	if (rq.op != WD_INJECT && rq.op != WD_STATE && rq.op != WD_LOOK && rq.op != WD_SECCOMP)
		leave_cpu(sv);
	rp.err = serve(sv, &rq, &fd);
	if (fd >= 0)
		close(fd);
	memcpy(rp.text, sv->text, sizeof(rp.text));
	send(sv->sock, &rp, sizeof(rp), MSG_NOSIGNAL); /* E is dead: seen next */
	return true;
}

static void loop(struct server *sv)
{
	while (!sv->finished) {
		struct pollfd p[] = {
			{ .fd = sv->sock, .events = POLLIN },
			{ .fd = sv->engine_fd, .events = POLLIN },
			{ .fd = sv->adopting ? sv->sigfd : -1, .events = POLLIN },
		};
		struct signalfd_siginfo si;

		if (poll(p, ARRAY_SIZE(p), -1) < 0 && errno != EINTR)
			break;
		if (p[2].revents && read(sv->sigfd, &si, sizeof(si)) > 0)
			adopt_pump(sv);
		if ((p[0].revents || p[1].revents) && !one_request(sv, p[1].revents != 0))
			break;
		if (sv->adopting)
			adopt_pump(sv); /* waiting for one task may have taken the signal of another */
	}
	if (!sv->finished) {
		log_warn("warden: the engine (pid %d) is gone: undoing everything", sv->engine);
		do_abort(sv);
	}
}

/* ---- start ---- */

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* Closes all but what W needs, above all what E has open; 0 to 2 lead nowhere, but for the log. */
static void keep_descriptors(struct server *sv, int log_fd)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), keep[] = { 2, null, sv->sock, sv->engine_fd, log_fd };

	for (int fd = 0; fd < 3 && null >= 0; fd++)
		if (fd != log_fd && fd != null && fd != sv->sock && fd != sv->engine_fd)
			dup2(null, fd);
	qsort(keep, ARRAY_SIZE(keep), sizeof(keep[0]), by_number);
	for (size_t i = 0; i < ARRAY_SIZE(keep); i++) {
		int from = MAX_OF(keep[i], 2) + 1, to = i + 1 < ARRAY_SIZE(keep) ? keep[i + 1] - 1 : INT_MAX;

		if (from <= to)
			close_range(from, to, 0);
	}
}

static void become_warden(struct server *sv, int log_fd)
{
	sigset_t set;

	setsid();
	prctl(PR_SET_NAME, "stasis-warden");
	prctl(PR_SET_PDEATHSIG, 0);
	signal(SIGCHLD, SIG_DFL); /* ignored, tracees would vanish unseen */
	sigfillset(&set);
	sigprocmask(SIG_SETMASK, &set, NULL);
	write_file(AT_FDCWD, "/proc/self/oom_score_adj", "-1000"); /* needs privilege; goes without */
	mallopt(M_MMAP_MAX, 0); /* the arena's place, free in E, must stay free here */
	if (chdir("/") < 0)
		log_debug("warden: chdir: %s", strerror(errno));
	keep_descriptors(sv, log_fd);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sv->sigfd = FAULTS("signalfd of the warden") ? -1 : signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (sv->sigfd < 0)
		sv->start_err = -errno;
	sched_getaffinity(0, sizeof(sv->cpus), &sv->cpus);
}

void warden_server(int sock, void *box, pid_t engine, int log_fd, struct plugins *plugins)
{
	struct server *sv = xcalloc(1, sizeof(*sv));

	fault_set_side(FAULT_WARDEN);
	sv->box = box;
	sv->engine = engine;
	sv->plugins = plugins;
	sv->engine_fd = syscall(SYS_pidfd_open, engine, 0);
	if (sv->engine_fd < 0)
		sv->start_err = -errno;
	sv->fz.dirfd = sv->j.fd = sv->j.dirfd = -1;
	sv->sock = sock;
	become_warden(sv, log_fd);
	loop(sv);
	_exit(0);
}
