/* SPDX-License-Identifier: MIT */
/*
 * ask.c: io_uring_register() by the only task that may call it.
 *
 * A ring of IORING_SETUP_SINGLE_ISSUER refuses every other task, so that one is made to ask.  What a question has to
 * point to is put into the last page of the ring, behind its entries, where neither kernel nor program has anything.
 */
#include "uring.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define PAGE 4096u
#define UNREGISTER_IOWQ_AFF 18 /* Linux 5.14 */
#define THREADS_ASKED 4096
#define ROOM 64 /* bytes, more than any question has */

uint64_t uring_mapped(struct cr_session *s, const struct cr_task *t, struct cr_file *file, uint64_t off)
{
	uint64_t ino = s->core->file_info(file)->st.st_ino;

	for (struct cr_vma *v = s->core->vma_next(s, NULL); v; v = s->core->vma_next(s, v)) {
		const struct cr_vma_info *i = s->core->vma_info(v);

		if (i->task == t && i->ino == ino && i->pgoff == off && i->prot & PROT_WRITE && uring_vma_match(i))
			return i->start;
	}
	return 0;
}

/* Is thread i of t the one? The argument is wrong, so nothing comes of it. */
static int is_issuer(struct cr_session *s, struct cr_task *t, size_t i, int fd)
{
	const uint64_t args[6] = { (uint64_t)fd, UNREGISTER_IOWQ_AFF, 0, 1 };
	int64_t r;
	int err = s->core->task_call(s, t, i, SYS_io_uring_register, args, &r);

	return err ? err : r == -EINVAL; /* others: EEXIST */
}

static void find_room(struct cr_session *s, struct cr_file *file, const struct uring_facts *f, uint32_t setup,
		      struct uring_issuer *who)
{
	struct io_uring_params p = { .flags = IORING_SETUP_CQSIZE | (setup & URING_SHAPE), .cq_entries = f->cq_entries };
	_cleanup_fd_ int twin = uring_setup(f->sq_entries, &p);
	struct uring_map m = { .p = p };

	if (twin < 0 || uring_map(twin, &m) < 0)
		return;
	uring_unmap(&m);
	who->room_off = (m.ring_bytes + 7) / 8 * 8;
	if (who->room_off % PAGE && PAGE - who->room_off % PAGE >= ROOM)
		who->room = uring_mapped(s, who->task, file, IORING_OFF_SQ_RING);
	who->room += who->room ? who->room_off : 0;
}

int uring_find_issuer(struct cr_session *s, struct cr_file *file, const struct uring_facts *f, uint32_t setup,
		      struct uring_issuer *ret)
{
	struct cr_task *t, *last = NULL;
	int fd, r = 0;

	*ret = (struct uring_issuer){ .fd = -1 };
	if (!(setup & IORING_SETUP_SINGLE_ISSUER) || setup & IORING_SETUP_R_DISABLED)
		return 0;
	for (size_t k = 0; !s->core->file_slot(s, file, k, &t, &fd); k++) {
		ret->task = t;
		for (size_t i = 0; t != last && i < THREADS_ASKED; i++) {
			r = is_issuer(s, t, i, fd);
			if (r == -ENOENT)
				break;
			if (r < 0)
				return r;
			if (!r)
				continue;
			ret->thread = i;
			ret->fd = fd;
			find_room(s, file, f, setup, ret);
			return 0;
		}
		last = t;
	}
	return 0;
}

int uring_ask(struct cr_session *s, int lfd, const struct uring_issuer *who, uint32_t op, void *arg, size_t len, uint32_t n)
{
	const uint64_t args[6] = { (uint64_t)who->fd, op, arg ? who->room : 0, n };
	char *page = NULL, *at;
	int64_t r;
	int err;

	if (!who->task)
		return uring_register(lfd, op, arg, n);
	if (who->fd < 0 || (arg && !who->room) || len > ROOM)
		return -ENOTTY;
	if (arg) {
		size_t bytes = who->room_off / PAGE * PAGE + PAGE;

		page = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, lfd, IORING_OFF_SQ_RING);
		if (page == MAP_FAILED)
			return -ENOTTY;
		at = page + who->room_off;
		memcpy(at, arg, len);
	}
	err = s->core->task_call(s, who->task, who->thread, SYS_io_uring_register, args, &r);
	if (arg) {
		memcpy(arg, at, len);
		memset(at, 0, len);
		munmap(page, who->room_off / PAGE * PAGE + PAGE);
	}
	return err < 0 ? -ENOTTY : (int)r;
}
