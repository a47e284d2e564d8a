/* SPDX-License-Identifier: MIT */
/*
 * quiesce.c: waits until nothing is under way in a ring, or ends what is.
 *
 * A request that is done may still need its task, which is frozen, to run for a moment: for this each thread that has
 * the ring enters it without anything to do.
 *
 * With --io-uring-cancel what waits is cancelled by IORING_REGISTER_SYNC_CANCEL, whoever has submitted it.  The program
 * finds completions with ECANCELED.  What cannot be found that way is input and output of disks, which ends by itself.
 */
#include "uring.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

#define WAIT_MS 1000
#define NAP_MS 5
#define QUIET_NAPS 10
#define REGISTER_SYNC_CANCEL 24 /* Linux 6.0 */
#define CANCEL_ALL (1u << 0)
#define CANCEL_ANY (1u << 2)
#define THREADS_ASKED 4096

struct cancel {
	uint64_t addr;
	int32_t fd;
	uint32_t flags;
	int64_t sec, nsec; /* to wait at most */
	uint64_t pad[4];
};
_Static_assert(sizeof(struct cancel) == 64, "struct io_uring_sync_cancel_reg");

int uring_is_idle(const struct uring_facts *f)
{
	return !f->polls && !f->overflown && f->sq_count == f->cq_count &&
	       (f->poll_tid < 0 || f->sq_head == f->sq_tail);
}

/* Lets all threads of the tasks that have the ring run what is left to them. */
static int kick(struct cr_session *s, struct cr_file *file)
{
	struct cr_task *t, *last = NULL;
	int fd, err = 0;
	int64_t r;

	for (size_t k = 0; !s->core->file_slot(s, file, k, &t, &fd); k++) {
		const uint64_t args[6] = { (uint64_t)fd, 0, 0, IORING_ENTER_GETEVENTS };

		for (size_t i = 0; t != last && !err && i < THREADS_ASKED; i++)
			err = s->core->task_call(s, t, i, SYS_io_uring_enter, args, &r);
		if (err && err != -ENOENT)
			return err;
		last = t;
		err = 0;
	}
	return 0;
}

int uring_wait(struct cr_session *s, struct cr_file *file, int lfd, struct uring_facts *ret)
{
	const struct timespec nap = { 0, NAP_MS * 1000000 };
	int err;

	for (int ms = 0;; ms += NAP_MS) {
		err = uring_read(lfd, ret);
		if (err || uring_is_idle(ret) || ms >= WAIT_MS)
			return err;
		err = kick(s, file);
		if (err)
			return err;
		nanosleep(&nap, NULL);
	}
}

/* ---- cancelling ---- */

/* 1: something was found and may not have ended yet; 0: there is nothing. */
static int cancel_some(struct cr_session *s, int lfd, const struct uring_issuer *who)
{
	struct cancel c = { .fd = -1, .flags = CANCEL_ALL | CANCEL_ANY, .nsec = NAP_MS * 1000000 };
	int r = uring_ask(s, lfd, who, REGISTER_SYNC_CANCEL, &c, sizeof(c), 1);

	return r > 0 || r == -EALREADY || r == -ETIME;
}

/* The number of completions has not changed for a while. */
static int wait_quiet(struct cr_session *s, struct cr_file *file, int lfd)
{
	const struct timespec nap = { 0, NAP_MS * 1000000 };
	struct uring_facts f = { 0 };
	uint32_t last = 0;
	int err = 0;

	for (int i = 0, quiet = 0; !err && quiet < QUIET_NAPS && i < WAIT_MS / NAP_MS; i++) {
		err = kick(s, file);
		if (!err)
			err = uring_read(lfd, &f);
		quiet = i && f.cq_count == last ? quiet + 1 : 0;
		last = f.cq_count;
		nanosleep(&nap, NULL);
	}
	return err;
}

int uring_cancel(struct cr_session *s, struct cr_file *file, int lfd)
{
	struct uring_issuer who;
	struct uring_facts f;
	uint32_t setup;
	int err = uring_wait(s, file, lfd, &f), left = 1;

	if (err || uring_is_idle(&f))
		return err;
	err = uring_probe_setup(s, file, lfd, &f, &setup);
	if (!err)
		err = uring_find_issuer(s, file, &f, setup, &who);
	for (int ms = 0; !err && left && ms < WAIT_MS; ms += NAP_MS) {
		left = cancel_some(s, lfd, &who);
		err = kick(s, file);
	}
	if (!err)
		err = wait_quiet(s, file, lfd);
	cr_info(s, "io_uring: requests in flight cancelled%s", left ? ", but not all" : "");
	return err ? err : left;
}
