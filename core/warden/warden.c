/* SPDX-License-Identifier: MIT */
/*
 * The warden as E sees it: forking W, and one request and one reply for each call.
 */
#include "warden.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fault.h"
#include "plan.h"
#include "server.h"
#include "signals.h"

#define LOOKS_MAX 128
#define LOOK_CALLS_BYTES (THREAD_LOOK_CALLS * sizeof(struct inject_call))
_Static_assert(LOOKS_MAX * sizeof(struct wd_look) + LOOK_CALLS_BYTES + sizeof(struct thread_state) + 256 <= WD_BOARD_BYTES,
	       "one look always fits");

struct warden {
	pid_t pid;
	int sock;
	void *box;
	struct board {
		enum { LOOK_NONE, LOOK_SENT, LOOK_ANSWERED } state;
		uint32_t n;	/* looks on it */
		uint32_t order; /* W answers in the order in which it was asked */
		size_t touched; /* bytes whose pages are there */
		int err;	/* of the answer */
		struct wd_reply reply;
	} board[LOOK_BOARDS];
	uint32_t looks; /* sent so far */
};

/* W is gone, or going: forget it. */
static void forget(struct session *s)
{
	struct warden *w = s->warden;

	close(w->sock);
	while (waitpid(w->pid, NULL, 0) < 0 && errno == EINTR)
		;
	munmap(w->box, WD_BOX_BYTES + WD_BOARDS_BYTES);
	free(w);
	s->warden = NULL;
	if (s->tree_is == TREE_FROZEN)
		s->tree_is = TREE_RUNNING; /* or dead */
}

pid_t warden_pid(const struct session *s)
{
	return s->warden->pid;
}

static int died(struct session *s)
{
	pid_t pid = s->warden->pid;

	forget(s);
	return fail(s, ECHILD, "the warden (pid %d) died; run `stasis recover`", pid);
}

static int receive_reply(struct warden *w, struct wd_reply *rp)
{
	ssize_t n;

	do
		n = recv(w->sock, rp, sizeof(*rp), 0);
	while (n < 0 && errno == EINTR);
	return n == sizeof(*rp) ? 0 : -ECHILD;
}

/* The one whose answer comes next; NULL: none is under way. */
static struct board *next_answered(struct warden *w)
{
	struct board *first = NULL;

	for (struct board *b = w->board; b < w->board + LOOK_BOARDS; b++)
		if (b->state == LOOK_SENT && (!first || b->order < first->order))
			first = b;
	return first;
}

/* Until b (NULL: each) has its answer. */
static void await_looks(struct warden *w, const struct board *b)
{
	struct board *next;

	while ((!b || b->state == LOOK_SENT) && (next = next_answered(w))) {
		next->err = receive_reply(w, &next->reply);
		next->state = LOOK_ANSWERED;
	}
}

static int send_request(struct warden *w, const struct wd_request *rq, int fd)
{
	union {
		struct cmsghdr h;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { (void *)rq, sizeof(*rq) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	/* its answer comes behind those of the looks that are under way */
	if (rq->op != WD_LOOK)
		await_looks(w, NULL);
	if (fd >= 0) {
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		control.h.cmsg_level = SOL_SOCKET;
		control.h.cmsg_type = SCM_RIGHTS;
		control.h.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.h), &fd, sizeof(int));
	}
	do
		n = sendmsg(w->sock, &msg, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

static int begin(struct session *s, const struct wd_request *rq, int fd, const char *what)
{
	int err;

	if (!s->warden)
		return fail(s, ECHILD, "there is no warden any more (%s)", what);
	err = signals_check(s);
	if (err)
		return err;
	err = FAULT("request to the warden: %s", what);
	if (!err)
		err = send_request(s->warden, rq, fd);
	if (err && err != -EPIPE && err != -ECONNRESET)
		return fail(s, -err, "%s: cannot reach the warden", what);
	return err ? died(s) : 0;
}

static int outcome(struct session *s, struct wd_reply *rp, const char *what)
{
	if (!rp->err)
		return 0;
	rp->text[sizeof(rp->text) - 1] = 0;
	return rp->text[0] ? fail(s, -rp->err, "%s", rp->text) : fail(s, -rp->err, "%s failed", what);
}

/* what: for the message when W gives no reason. */
static int ask(struct session *s, const struct wd_request *rq, int fd, const char *what)
{
	struct wd_reply rp;
	int err = begin(s, rq, fd, what);

	if (err)
		return err;
	return receive_reply(s->warden, &rp) ? died(s) : outcome(s, &rp, what);
}

int warden_start(struct session *s)
{
	struct wd_request rq = { .op = WD_HELLO };
	struct warden *w;
	int pair[2];

	if (s->warden)
		return fail(s, EALREADY, "the warden has been started already");
	if (FAULTS("socket of the warden") || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return fail(s, errno, "cannot make a socket for the warden");
	w = xcalloc(1, sizeof(*w));
	w->box = FAULTS("memory of the warden") ? MAP_FAILED :
		 mmap(NULL, WD_BOX_BYTES + WD_BOARDS_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	w->pid = w->box == MAP_FAILED || FAULTS("fork of the warden") ? -1 : fork();
	if (w->pid == 0) {
		close(pair[0]);
		warden_server(pair[1], w->box, getppid(), log_fd(), s->plugins);
	}
	close(pair[1]);
	w->sock = pair[0];
	if (w->pid < 0) {
		int err = errno;

		close(pair[0]);
		if (w->box != MAP_FAILED)
			munmap(w->box, WD_BOX_BYTES + WD_BOARDS_BYTES);
		free(w);
		return fail(s, err, "cannot start the warden");
	}
	heap_ahead();
	s->warden = w;
	log_debug("warden: pid %d", w->pid);
	return ask(s, &rq, -1, "starting the warden");
}

int warden_check(struct session *s)
{
	char c;

	if (!s->warden)
		return fail(s, ECHILD, "there is no warden any more");
	if (recv(s->warden->sock, &c, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	return died(s);
}

/* ---- dump ---- */

/* Text for W into the box; false when it is too long. */
static bool put_text(struct session *s, const char *text)
{
	size_t len = strlen(text);

	if (!s->warden || len >= WD_BOX_BYTES)
		return !s->warden;
	memcpy(s->warden->box, text, len + 1);
	return true;
}

int warden_freeze(struct session *s, pid_t root, const char *freeze_cgroup, unsigned timeout)
{
	struct wd_request rq = { .op = WD_FREEZE, .n = timeout, .a = { root } };
	int err;

	if (!put_text(s, freeze_cgroup ? freeze_cgroup : ""))
		return fail(s, ENAMETOOLONG, "path of the freezer cgroup");
	err = ask(s, &rq, -1, "freezing the tree");
	if (!err)
		s->tree_is = TREE_FROZEN;
	return err;
}

int warden_read(struct session *s, pid_t tgid, uint64_t addr, void *buf, size_t len)
{
	struct wd_request rq = { .op = WD_READ, .n = len, .a = { tgid, addr } };
	int err = len > WD_BOX_BYTES ? fail(s, E2BIG, "reading memory") : ask(s, &rq, -1, "reading memory");

	if (!err)
		memcpy(buf, s->warden->box, len);
	return err;
}

int warden_thread_state(struct session *s, pid_t tid, struct thread_state *ret)
{
	struct wd_request rq = { .op = WD_STATE, .a = { tid } };
	int err = ask(s, &rq, -1, "reading a thread");
	const struct thread_state *st = s->warden ? s->warden->box : NULL;

	if (!err)
		memcpy(ret, st, offsetof(struct thread_state, sig) +
		       (st->nsig_private + st->nsig_shared) * sizeof(st->sig[0]));
	return err;
}

int warden_seccomp(struct session *s, pid_t tid, uint32_t nth, struct seccomp_prog *ret)
{
	struct wd_request rq = { .op = WD_SECCOMP, .a = { tid, nth } };
	int err = ask(s, &rq, -1, "reading a seccomp filter");
	const struct seccomp_prog *prog = s->warden ? s->warden->box : NULL;

	if (!err)
		memcpy(ret, prog, offsetof(struct seccomp_prog, insn) + prog->n * sizeof(prog->insn[0]));
	return err;
}

int warden_inject(struct session *s, pid_t tgid, pid_t tid, struct inject_call *calls, size_t n)
{
	struct wd_request rq = { .op = WD_INJECT, .n = n, .a = { tgid, tid } };
	int err;

	if (n > WD_BOX_BYTES / sizeof(*calls))
		return fail(s, E2BIG, "%zu calls are too many for one batch", n);
	if (s->warden)
		memcpy(s->warden->box, calls, n * sizeof(*calls));
	err = ask(s, &rq, -1, "an injected call");
	if (!err)
		memcpy(calls, s->warden->box, n * sizeof(*calls));
	return err;
}

int warden_copy(struct session *s, pid_t tgid, pid_t *ret_pid)
{
	struct wd_request rq = { .op = WD_COPY, .a = { tgid } };
	struct wd_reply rp;

	if (!s->warden || send_request(s->warden, &rq, -1) || receive_reply(s->warden, &rp))
		return ask(s, &rq, -1, "copying the memory of a process"); /* it is dead: says so */
	if (rp.err) {
		rp.text[sizeof(rp.text) - 1] = 0;
		log_info("pid %d: no copy of its memory can be made: %s", tgid, rp.text[0] ? rp.text : strerror(-rp.err));
		return rp.err;
	}
	memcpy(ret_pid, s->warden->box, sizeof(*ret_pid));
	return 0;
}

int warden_thaw(struct session *s)
{
	struct wd_request rq = { .op = WD_THAW };

	return ask(s, &rq, -1, "letting the tree run");
}

static uint8_t *board_memory(const struct warden *w, unsigned board)
{
	return (uint8_t *)w->box + WD_BOX_BYTES + board * (size_t)WD_BOARD_BYTES;
}

/* Puts as many looks onto the board as fit: their number. */
static size_t put_looks(struct warden *w, unsigned board, const struct thread_look *looks, size_t n)
{
	uint8_t *mem = board_memory(w, board);
	struct wd_look *l = (struct wd_look *)mem;
	struct board *b = &w->board[board];
	size_t at = 0, done;

	for (done = 0; done < n && done < LOOKS_MAX; done++) {
		size_t more = looks[done].n * sizeof(struct inject_call);

		if (done && at + more > LOOK_CALLS_BYTES)
			break;
		at += more;
	}
	if (at > b->touched)
		prefault(mem + b->touched, at - b->touched);
	b->touched = MAX_OF(b->touched, at);
	at = (done * sizeof(*l) + 63) & ~63ul;
	for (size_t i = 0; i < done; i++) {
		l[i] = (struct wd_look){ .tgid = looks[i].tgid, .tid = looks[i].tid, .caught = looks[i].caught, .calls = at,
					 .ncalls = looks[i].n };
		if (looks[i].n)
			memcpy(mem + at, looks[i].calls, looks[i].n * sizeof(struct inject_call));
		at += looks[i].n * sizeof(struct inject_call);
	}
	return done;
}

int warden_look_begin(struct session *s, unsigned board, const struct thread_look *looks, size_t n)
{
	struct wd_request rq = { .op = WD_LOOK, .a = { board } };
	int err;

	for (size_t i = 0; i < n; i++)
		if (looks[i].n > THREAD_LOOK_CALLS)
			return fail(s, E2BIG, "%zu calls are too many for one thread", looks[i].n);
	if (s->warden)
		rq.n = put_looks(s->warden, board, looks, n);
	err = begin(s, &rq, -1, "looking at threads");
	if (err)
		return err;
	s->warden->board[board].state = LOOK_SENT;
	s->warden->board[board].n = rq.n;
	s->warden->board[board].order = s->warden->looks++;
	return 0;
}

bool warden_look_ready(const struct session *s, unsigned board)
{
	struct warden *w = s->warden;
	struct pollfd p = { .events = POLLIN };

	if (!w || w->board[board].state != LOOK_SENT || next_answered(w) != &w->board[board])
		return true; /* or will be soon, or never */
	p.fd = w->sock;
	return poll(&p, 1, 0) != 0;
}

int warden_look_end(struct session *s, unsigned board, struct thread_look *looks, size_t *ret_done)
{
	struct board *b = s->warden ? &s->warden->board[board] : NULL;
	const struct wd_look *l;
	size_t done = 0;
	uint8_t *mem;
	int err;

	*ret_done = 0;
	if (!b || b->state == LOOK_NONE)
		return fail(s, ECHILD, "there is no warden any more (looking at threads)");
	await_looks(s->warden, b);
	b->state = LOOK_NONE;
	err = b->err ? died(s) : outcome(s, &b->reply, "looking at threads");
	if (err)
		return err;
	mem = board_memory(s->warden, board);
	l = (const struct wd_look *)mem;
	for (; done < b->n && l[done].state; done++) {
		looks[done].state = (const struct thread_state *)(mem + l[done].state);
		looks[done].answers = (const struct inject_call *)(mem + l[done].calls);
	}
	*ret_done = done;
	return 0;
}

int warden_look(struct session *s, struct thread_look *looks, size_t n, size_t *ret_done)
{
	int err = warden_look_begin(s, 0, looks, n);

	return err ? err : warden_look_end(s, 0, looks, ret_done);
}

int warden_undo(struct session *s, uint32_t op, int fd, const char *text, int always)
{
	struct wd_request rq = { .op = WD_UNDO, .n = op, .a = { always != 0 } };

	if (!put_text(s, text))
		return fail(s, ENAMETOOLONG, "text of an undo record");
	return ask(s, &rq, fd, "an undo record");
}

int warden_commit(struct session *s, enum warden_end how)
{
	struct wd_request rq = { .op = WD_COMMIT, .n = how };
	int err = ask(s, &rq, -1, "committing");

	if (s->warden)
		forget(s);
	return err;
}

void warden_abort(struct session *s)
{
	struct wd_request rq = { .op = WD_ABORT };
	struct wd_reply rp;

	if (!s->warden)
		return;
	if (send_request(s->warden, &rq, -1) || receive_reply(s->warden, &rp))
		log_error("the warden (pid %d) died; run `stasis recover`", s->warden->pid);
	forget(s);
}

/* ---- restore ---- */

int warden_arena(struct session *s, const struct arena *a)
{
	struct wd_request rq = { .op = WD_ARENA, .a = { a->base, a->size, (uintptr_t)a->shared } };

	return ask(s, &rq, a->fd, "sharing the arena");
}

int warden_adopt(struct session *s, pid_t root)
{
	struct wd_request rq = { .op = WD_ADOPT, .a = { root } };

	return ask(s, &rq, -1, "adopting the root task");
}

int warden_expect_exit(struct session *s, const pid_t *tids, size_t n)
{
	int err = 0;

	while (n && !err) {
		size_t some = MIN_OF(n, WD_BOX_BYTES / sizeof(*tids));
		struct wd_request rq = { .op = WD_EXPECT, .n = some };

		if (s->warden)
			memcpy(s->warden->box, tids, some * sizeof(*tids));
		err = ask(s, &rq, -1, "announcing exits");
		tids += some;
		n -= some;
	}
	return err;
}

int warden_finalize(struct session *s, const struct warden_final *table, size_t n, bool stop_all)
{
	struct wd_request rq = { .op = WD_FINALIZE, .n = n, .a = { (uintptr_t)table, stop_all } };

	return n > UINT32_MAX ? fail(s, E2BIG, "%zu threads", n) : ask(s, &rq, -1, "finishing the tasks");
}

int warden_release(struct session *s)
{
	struct wd_request rq = { .op = WD_RELEASE };
	int err = ask(s, &rq, -1, "letting the tasks go");

	if (!err)
		forget(s);
	return err;
}
