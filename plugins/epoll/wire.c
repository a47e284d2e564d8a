/* SPDX-License-Identifier: MIT */
/*
 * wire.c: queues the epoll_ctl(2) calls that fill an interest list.
 *
 * The key of an entry is the file and the descriptor number of the caller, and a
 * watched signalfd looks at the signals of the caller.  So a task makes the call
 * that has the file at that very number, when its descriptor table is final; the
 * epoll itself is reached through the engine's descriptor.  Where no task has the
 * number any more, a holder of the epoll gets it for the moment of the call.
 */
#include "epoll.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/syscall.h>

#include "util.h"

/* Bits of an entry that stay when EPOLLONESHOT has disarmed it. */
#define PRIVATE_BITS (EPOLLWAKEUP | EPOLLONESHOT | EPOLLET | EPOLLEXCLUSIVE)

struct call {
	struct cr_task *task;
	struct watch *w;
	int lent; /* 1: the number is free in task; 2: it is taken, use the engine's */
};

static int is_disarmed(const struct watch *w)
{
	return (w->events & EPOLLONESHOT) && !(w->events & ~(uint32_t)PRIVATE_BITS);
}

/* A task that has target at number tfd, or NULL; holders of the epoll first. */
static struct cr_task *task_with(struct cr_session *s, struct cr_file *f, const struct watch *w)
{
	struct cr_task *t;
	int fd;

	for (size_t i = 0; !s->core->file_slot(s, f, i, &t, &fd); i++)
		if (s->core->task_file(s, t, w->tfd) == w->target)
			return t;
	for (size_t i = 0; !s->core->file_slot(s, w->target, i, &t, &fd); i++)
		if ((uint32_t)fd == w->tfd)
			return t;
	return NULL;
}

/* Below every descriptor of the engine that tasks inherit? */
static int is_low(struct cr_session *s, uint32_t tfd)
{
	for (struct cr_file *f = s->core->file_next(s, NULL); f; f = s->core->file_next(s, f)) {
		int fd = s->core->file_fd(f);

		if (fd >= 0 && (uint32_t)fd <= tfd)
			return 0;
	}
	return 1;
}

static int choose_task(struct cr_session *s, struct cr_file *f, struct call *c)
{
	struct cr_file *const holders[] = { f, c->w->target };
	struct cr_task *t = NULL;
	int fd;

	c->task = task_with(s, f, c->w);
	if (c->task)
		return 0;
	for (size_t k = 0; k < ARRAY_SIZE(holders); k++)
		for (size_t i = 0; !s->core->file_slot(s, holders[k], i, &t, &fd); i++) {
			c->task = c->task ? c->task : t;
			if (!s->core->task_file(s, t, c->w->tfd) && is_low(s, c->w->tfd)) {
				c->task = t;
				c->lent = 1;
				return 0;
			}
		}
	if (!c->task)
		return cr_fail(s, EPROTO, "the image has an epoll that no task holds, nor the file it watches");
	cr_info(s, "epoll %u: number %u, under which it watches file %u, is another file's: the number changes",
		s->core->file_id(f), c->w->tfd, s->core->file_id(c->w->target));
	c->lent = 2;
	return 0;
}

static int queue_at(struct cr_session *s, struct cr_task *t, uint32_t stage, long nr, uint32_t want, struct cr_arg a,
		    struct cr_arg b, struct cr_arg c, struct cr_arg d)
{
	const struct cr_arg args[6] = { a, b, c, d };

	return s->core->plan_syscall(s, t, stage, nr, args, want);
}

static int queue(struct cr_session *s, struct cr_task *t, long nr, uint32_t want, struct cr_arg a,
		 struct cr_arg b, struct cr_arg c, struct cr_arg d)
{
	return queue_at(s, t, CR_STAGE_WIRE, nr, want, a, b, c, d);
}

#define IMM(v) ((struct cr_arg)CR_IMM(v))
#define FILE_ARG(f) ((struct cr_arg)CR_FILE(f))

static int queue_add(struct cr_session *s, struct cr_file *f, const struct call *c, uint64_t event)
{
	struct cr_arg tfd = c->lent == 2 ? FILE_ARG(c->w->target) : IMM(c->w->tfd);
	int err = 0;

	if (c->lent == 1)
		err = queue(s, c->task, SYS_dup3, CR_WANT_NONNEG, FILE_ARG(c->w->target), tfd, IMM(O_CLOEXEC),
			    IMM(0));
	if (!err)
		err = queue(s, c->task, SYS_epoll_ctl, CR_WANT_ZERO, FILE_ARG(f), IMM(EPOLL_CTL_ADD), tfd,
			    IMM(event));
	if (!err && c->lent == 1)
		err = queue(s, c->task, SYS_close, CR_WANT_ZERO, tfd, IMM(0), IMM(0), IMM(0));
	return err;
}

/*
 * An entry that EPOLLONESHOT has disarmed: adding it arms it for errors and hang-ups.
 * Asking for events at once disarms it again when there is one now.  alone: nothing that
 * is armed is in the list yet, whose event would be taken instead.
 */
static int queue_disarm(struct cr_session *s, struct cr_file *f, const struct call *c, uint64_t event,
			int alone)
{
	if (!alone || !is_disarmed(c->w))
		return 0;
	return queue(s, c->task, SYS_epoll_wait, CR_WANT_ANY, FILE_ARG(f), IMM(event), IMM(1), IMM(0));
}

static int is_own(struct cr_session *s, const struct cr_file *f)
{
	return CR_HAS(s->core, file_own) && s->core->file_own(f);
}

/* The target comes into being at CR_STAGE_OWN, when the epoll has the task's own number only. */
static int queue_own(struct cr_session *s, struct cr_file *f, const struct call *c, uint64_t event)
{
	struct cr_task *t;
	int fd;

	for (size_t i = 0; !c->lent && !s->core->file_slot(s, f, i, &t, &fd); i++)
		if (t == c->task)
			return queue_at(s, t, CR_STAGE_OWN, SYS_epoll_ctl, CR_WANT_ZERO, IMM(fd), IMM(EPOLL_CTL_ADD),
					IMM(c->w->tfd), IMM(event));
	return cr_fail(s, EOPNOTSUPP, "epoll %u watches file %u, which only its own task can make, and that has no descriptor "
		       "of the epoll", s->core->file_id(f), s->core->file_id(c->w->target));
}

static int queue_call(struct cr_session *s, struct cr_file *f, const struct call *c, int alone)
{
	struct epoll_event ev = { .events = c->w->events, .data.u64 = c->w->data };
	uint64_t addr;
	int err = s->core->plan_data(s, c->task, &ev, sizeof(ev), &addr);

	if (!err && is_own(s, c->w->target))
		return queue_own(s, f, c, addr);
	if (!err)
		err = queue_add(s, f, c, addr);
	if (!err)
		err = queue_disarm(s, f, c, addr, alone);
	return err;
}

/* What is closed leaves every epoll, unless it is something that can still be watched. */
static int is_gone(struct cr_session *s, const struct watch *w)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int fd = s->core->file_fd(w->target), gone;
	_cleanup_fd_ int ep = -1;

	if (!CR_HAS(s->core, lost) || fd < 0 || s->core->file_policy(s, w->target) != CR_POLICY_CLOSE)
		return 0;
	ep = epoll_create1(EPOLL_CLOEXEC);
	gone = ep >= 0 && epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) < 0 && errno == EPERM;
	if (gone)
		cr_lost(s, w->target, "an epoll that watched it, as descriptor %u, does not any more", w->tfd);
	return gone;
}

static int queue_calls(struct cr_session *s, struct cr_file *f, const struct call *calls, size_t n)
{
	int alone = 1, err = 0;

	for (size_t i = 1; i < n; i++)
		alone &= calls[i].task == calls[0].task;
	for (size_t i = 0; i < n && !err; i++)
		if (is_disarmed(calls[i].w))
			err = queue_call(s, f, &calls[i], alone);
	for (size_t i = 0; i < n && !err; i++)
		if (!is_disarmed(calls[i].w))
			err = queue_call(s, f, &calls[i], 0);
	return err;
}

int epoll_plan(struct cr_session *s, struct cr_file *f)
{
	struct epoll *ep = s->core->file_priv(f);
	_cleanup_free_ struct call *calls = xcalloc(ep->n, sizeof(*calls));
	size_t n = 0;

	for (size_t i = 0; i < ep->n; i++) {
		struct watch *w = &ep->watches[i];
		int err;

		if (!w->target)
			w->target = epoll_plain_target(s, f, w->tfd);
		if (!w->target)
			return cr_fail(s, EPROTO,
				       "epoll %u watches descriptor %u, which none of its holders has",
				       s->core->file_id(f), w->tfd);
		if (is_gone(s, w))
			continue;
		calls[n].w = w;
		err = choose_task(s, f, &calls[n++]);
		if (err < 0)
			return err;
	}
	return queue_calls(s, f, calls, n);
}
