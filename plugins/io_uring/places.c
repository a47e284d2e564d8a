/* SPDX-License-Identifier: MIT */
/*
 * places.c: registered ring descriptors, IORING_REGISTER_RING_FDS.
 *
 * Each thread has 16 places for rings, which it then names by their place.  The kernel shows them nowhere,
 * but io_uring_enter() with nothing to do succeeds for a place that is taken.  Which ring is there it does not
 * say, so a process may have one ring then; and calls can be queued for the leading thread only.
 */
#include "uring.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>

#define PLACES 16
#define ENTER_REGISTERED 16u /* IORING_ENTER_REGISTERED_RING, Linux 5.18 */
#define REGISTER_RING_FDS 20
#define THREADS_ASKED 4096

struct update {
	uint32_t place, resv;
	uint64_t fd;
};

/* How many rings t has. */
static int count_rings(struct cr_session *s, const struct cr_task *t)
{
	struct cr_task *holder;
	int n = 0, fd;

	for (struct cr_file *f = s->core->file_next(s, NULL); f; f = s->core->file_next(s, f)) {
		const struct cr_file_info *info = s->core->file_info(f);
		int here = 0;

		if (!info || !info->anon || strcmp(info->anon, URING_KIND))
			continue;
		for (size_t i = 0; !s->core->file_slot(s, f, i, &holder, &fd); i++)
			here |= holder == t;
		n += here;
	}
	return n;
}

static int add_place(struct cr_session *s, struct cr_task *t, size_t thread, uint32_t place, uring_msg *msg)
{
	if (thread || count_rings(s, t) > 1 || msg->n_pids == PLACES)
		return cr_refuse(s, "let the program do without io_uring_register_ring_fd()",
				 "pid %d has registered the descriptor of a ring %s", s->core->task_pid(t),
				 thread ? "in another thread than its first" : "and has several rings: it cannot be told which");
	msg->pids[msg->n_pids++] = (uint32_t)s->core->task_vpid(t);
	msg->places[msg->n_places++] = place;
	return 0;
}

static int ask_task(struct cr_session *s, struct cr_task *t, uring_msg *msg)
{
	for (size_t i = 0; i < THREADS_ASKED; i++)
		for (uint32_t place = 0; place < PLACES; place++) {
			const uint64_t args[6] = { place, 0, 0, ENTER_REGISTERED };
			int64_t r;
			int err = s->core->task_call(s, t, i, SYS_io_uring_enter, args, &r);

			if (err)
				return err == -ENOENT ? 0 : err;
			if (r == -EINVAL) /* this thread has no rings */
				break;
			if (r == 0)
				err = add_place(s, t, i, place, msg);
			if (err)
				return err;
		}
	return 0;
}

int uring_take_places(struct cr_session *s, struct cr_file *f, uring_msg *msg)
{
	struct cr_task *t, *last = NULL;
	int fd, err = 0;

	msg->pids = s->core->alloc(s, PLACES * sizeof(*msg->pids));
	msg->places = s->core->alloc(s, PLACES * sizeof(*msg->places));
	for (size_t i = 0; !err && !s->core->file_slot(s, f, i, &t, &fd); i++) {
		if (t != last)
			err = ask_task(s, t, msg);
		last = t;
	}
	return err;
}

static int queue_place(struct cr_session *s, struct cr_task *t, int fd, uint32_t place)
{
	struct update up = { .place = place, .fd = (uint64_t)fd };
	uint64_t addr;
	int err = s->core->plan_data(s, t, &up, sizeof(up), &addr);
	const struct cr_arg args[6] = { IMM(fd), IMM(REGISTER_RING_FDS), IMM(addr), IMM(1) };

	return err ? err : s->core->plan_syscall(s, t, CR_STAGE_OWN, SYS_io_uring_register, args, CR_WANT_NONNEG);
}

int uring_queue_places(struct cr_session *s, struct cr_file *f, const uring_msg *msg)
{
	struct cr_task *t;
	int fd, err = 0;

	for (size_t k = 0; k < msg->n_pids && !err; k++) {
		struct cr_task *want = s->core->task_by_vpid(s, (pid_t)msg->pids[k]);
		int found = -1;

		for (size_t i = 0; want && !s->core->file_slot(s, f, i, &t, &fd); i++)
			if (t == want)
				found = fd;
		if (found < 0)
			return cr_fail(s, EPROTO, "the image has a ring registered by pid %u, which has no descriptor of it",
				       msg->pids[k]);
		err = queue_place(s, want, found, msg->places[k]);
	}
	return err;
}
