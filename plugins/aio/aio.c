/* SPDX-License-Identifier: MIT */
/*
 * aio.c: contexts of asynchronous I/O, io_setup(2), with the events that nobody has read.
 *
 * A context is its ring: the id that a program uses is the ring's address, and what the
 * kernel alone knows besides is where the next event goes (the tail) and what is in flight.
 * So the task makes a context with a ring of the same size, moves the ring to the old
 * address, which moves the id too, and brings the tail where it was with as many reads of
 * /dev/null, each of which is one event.  Then the old events are written over the new ones.
 *
 * Requests in flight cannot be seen from outside.  With the tree frozen nothing new comes,
 * so what a disk still does is waited for: until no tail has moved for a while.
 */
#include <errno.h>
#include <linux/aio_abi.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "aio-ring.pb-c.h"
#include "common.h"
#include "util.h"

#define RING_NAME "/[aio]"
#define RING_MAGIC 0xa10a10a1u
#define QUIET_MS 20
#define WAIT_ROUNDS 100
#define PAGE 4096u
#define RING_MAX_PAGES 65536u
/*
 * What tells a fork's copy from a context in an image: it asks for one request more than the ring needs.  Other
 * readers, which know no copies, make a context of the same size of it.
 */
#define COPY 1

/* The head of a ring, as the kernel lays it out for all to see. */
struct ring_head {
	uint32_t id, nr, head, tail;
	uint32_t magic, compat_features, incompat_features, header_length;
};

struct ring {
	uint32_t tail;	/* dump: when the contents were read */
	uint32_t owned; /* 0: a fork's copy, whose context is the parent's */
};

static int ring_match(const struct cr_vma_info *info)
{
	return strncmp(info->path, RING_NAME, strlen(RING_NAME)) == 0 && info->dev >> 8 == 0 && info->ino ? CR_SPECIFIC :
													   CR_NOT_MINE;
}

static uint64_t ring_bytes(const struct cr_vma_info *info)
{
	return info->end - info->start;
}

/* The first task that has the ring made the context; its children have inherited no more than the pages. */
static int is_owner(struct cr_session *s, struct cr_vma *v)
{
	const struct cr_vma_info *info = s->core->vma_info(v);

	for (struct cr_vma *o = s->core->vma_next(s, NULL); o && o != v; o = s->core->vma_next(s, o)) {
		const struct cr_vma_info *other = s->core->vma_info(o);

		if (ring_match(other) && other->ino == info->ino && other->task != info->task)
			return 0;
	}
	return 1;
}

static int is_sane(const struct ring_head *h, uint64_t bytes)
{
	return h->magic == RING_MAGIC && h->header_length == sizeof(*h) &&
	       h->nr == (bytes - sizeof(*h)) / sizeof(struct io_event) && h->head < h->nr && h->tail < h->nr;
}

static int ring_check(struct cr_session *s, struct cr_vma *v, const struct cr_vma_info *info)
{
	struct ring_head h;

	if (s->core->task_read(s, info->task, info->start, &h, sizeof(h)) < 0 || info->pgoff || !is_sane(&h, ring_bytes(info)))
		return cr_refuse(s, "let the program call io_destroy()",
				 "the ring of this asynchronous I/O context is damaged, or only a part of it is mapped");
	return 0;
}

/* Tails of all rings; 1 when one differs from the last time. */
static int look(struct cr_session *s)
{
	int moved = 0;

	for (struct cr_vma *v = s->core->vma_next(s, NULL); v; v = s->core->vma_next(s, v)) {
		const struct cr_vma_info *info = s->core->vma_info(v);
		struct ring *r = s->core->vma_priv(v);
		struct ring_head h;

		if (!ring_match(info) || s->core->task_read(s, info->task, info->start, &h, sizeof(h)) < 0)
			continue;
		moved |= h.tail != r->tail;
		r->tail = h.tail;
	}
	return moved;
}

static int has_rings(struct cr_session *s)
{
	for (struct cr_vma *v = s->core->vma_next(s, NULL); v; v = s->core->vma_next(s, v))
		if (ring_match(s->core->vma_info(v)))
			return 1;
	return 0;
}

static int aio_collect(struct cr_session *s)
{
	const struct timespec quiet = { 0, QUIET_MS * 1000000l };

	if (!has_rings(s))
		return 0;
	look(s);
	for (int i = 0; i < WAIT_ROUNDS; i++) {
		nanosleep(&quiet, NULL);
		if (!look(s))
			return 0;
	}
	return cr_refuse(s, "dump when there is less to do",
			 "asynchronous I/O requests of the tree still end after %d ms", QUIET_MS * WAIT_ROUNDS);
}

/* A request that ended since the contents were read would be lost. */
static int aio_dump_late(struct cr_session *s)
{
	if (has_rings(s) && look(s))
		return cr_fail(s, EBUSY, "an asynchronous I/O request ended while the tree was dumped: try again");
	return 0;
}

/* The smallest argument of io_setup() that gives a ring of so many pages, where few CPUs don't ask for more. */
static uint32_t requests_for(uint32_t pages)
{
	return pages > 1 ? 64 * (pages - 1) - 1 : 1;
}

/*
 * Has the program polled?  A poll that waits cannot be seen, but the events of those that have ended name their requests, also
 * events that were read: they stay in the ring until newer ones come.
 */
static int has_polled(struct cr_session *s, const struct cr_vma_info *info)
{
	uint64_t n = (ring_bytes(info) - sizeof(struct ring_head)) / sizeof(struct io_event), last = 0;
	_cleanup_free_ struct io_event *events = xcalloc(n, sizeof(*events));
	struct iocb request;

	if (s->core->task_read(s, info->task, info->start + sizeof(struct ring_head), events, n * sizeof(*events)) < 0)
		return 0;
	for (uint64_t i = 0; i < n; i++) {
		uint64_t at = events[i].obj;

		if (at && at != last && s->core->task_read(s, info->task, at, &request, sizeof(request)) == 0 &&
		    request.aio_lio_opcode == IOCB_CMD_POLL)
			return 1;
		last = at;
	}
	return 0;
}

static int ring_dump(struct cr_session *s, struct cr_vma *v, const struct cr_vma_info *info)
{
	AioRingEntry e = AIO_RING_ENTRY__INIT;
	void *data;
	size_t len;
	int err;

	e.id = info->start;
	e.ring_len = (uint32_t)ring_bytes(info);
	e.nr_req = requests_for(e.ring_len / PAGE);
	if (!is_owner(s, v))
		e.nr_req += COPY;
	else if (has_polled(s, info))
		cr_lost(s, NULL, "pid %d: polls of asynchronous I/O (IOCB_CMD_POLL) that wait, if any do: it makes such",
			s->core->task_pid(info->task));
	data = common_pack(&e.base, &len);
	err = s->core->vma_message(s, v, data, len);
	free(data);
	return err;
}

static int ring_load(struct cr_session *s, struct cr_vma *v, const void *data, size_t len)
{
	_cleanup_msg_ AioRingEntry *e = common_unpack(s, &aio_ring_entry__descriptor, data, len);
	const struct cr_vma_info *info = s->core->vma_info(v);
	struct ring *r = s->core->vma_priv(v);

	if (!e)
		return -EPROTO;
	if ((e->id && e->id != info->start) || e->ring_len != ring_bytes(info) || e->ring_len < PAGE ||
	    e->ring_len / PAGE > RING_MAX_PAGES)
		return cr_fail(s, EPROTO, "the image has another ring (%#lx, %u bytes) for this context", (unsigned long)e->id,
			       e->ring_len);
	r->owned = e->id && e->nr_req != requests_for(e->ring_len / PAGE) + COPY;
	return 0;
}

/* ---- restore ---- */

#define IMM(v) ((struct cr_arg)CR_IMM(v))

/* Queues a call of the ring's task. */
#define CALL(s, v, want, nr, ...) \
	((s)->core->plan_syscall((s), (s)->core->vma_info(v)->task, CR_STAGE_WIRE, (nr), \
				 (const struct cr_arg[6]){ __VA_ARGS__ }, (want)))

/* Number of pages that the kernel gives a ring for nr requests on a machine with so many possible CPUs. */
static uint64_t pages_for(uint64_t nr, uint64_t cpus)
{
	uint64_t events = MAX_OF(nr, cpus * 4) * 2 + 2;

	return (sizeof(struct ring_head) + events * sizeof(struct io_event) + PAGE - 1) / PAGE;
}

static int check_size(struct cr_session *s, uint32_t pages)
{
	long cpus = sysconf(_SC_NPROCESSORS_CONF);

	if (pages_for(requests_for(pages), cpus > 0 ? cpus : 1) == pages)
		return 0;
	return cr_fail(s, EOPNOTSUPP, "an asynchronous I/O ring of %u pages cannot be made on a machine with %ld CPUs: restore "
		       "on one with fewer", pages, cpus);
}

/* A request that ends at once, with one event; where the task can read it, *ret is the array for io_submit(). */
static int put_request(struct cr_session *s, struct cr_task *t, uint64_t *ret)
{
	struct iocb cb = { .aio_lio_opcode = IOCB_CMD_PREAD };
	uint64_t addr = 0;
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), err;

	if (fd < 0)
		return cr_fail(s, errno, "/dev/null: %s", strerror(errno));
	fd = s->core->high_fd(s, fd);
	if (fd < 0)
		return fd;
	cb.aio_fildes = fd;
	err = s->core->plan_data(s, t, &cb, sizeof(cb), &addr);
	return err ? err : s->core->plan_data(s, t, &addr, sizeof(addr), ret);
}

/* n events; drop: read at once, so that the ring does not fill up. */
static int queue_events(struct cr_session *s, struct cr_vma *v, uint64_t request, uint32_t nr, uint32_t n, int drop)
{
	const struct cr_vma_info *info = s->core->vma_info(v);
	uint32_t step = MAX_OF(nr / 4, 1u);
	int err = 0;

	for (uint32_t i = 1; i <= n && !err; i++) {
		err = CALL(s, v, CR_WANT_NONNEG, SYS_io_submit, IMM(info->start), IMM(1), IMM(request));
		if (!err && drop && (i % step == 0 || i == n))
			err = s->core->plan_write(s, info->task, CR_STAGE_WIRE,
						  info->start + offsetof(struct ring_head, head), &i, sizeof(i));
	}
	return err;
}

/* The events and the head as they were; the kernel's own fields stay as they are. */
static int queue_contents(struct cr_session *s, struct cr_vma *v, const struct ring_head *h)
{
	const struct cr_vma_info *info = s->core->vma_info(v);
	uint64_t bytes = ring_bytes(info) - sizeof(*h);
	_cleanup_free_ char *events = malloc(bytes);
	int err;

	if (!events)
		return cr_fail(s, ENOMEM, "out of memory");
	err = s->core->vma_stored(s, v, sizeof(*h), events, bytes);
	if (!err)
		err = s->core->plan_write(s, info->task, CR_STAGE_WIRE, info->start + sizeof(*h), events, bytes);
	if (!err)
		err = s->core->plan_write(s, info->task, CR_STAGE_WIRE, info->start + offsetof(struct ring_head, head),
					  &h->head, sizeof(h->head));
	return err;
}

static int queue_context(struct cr_session *s, struct cr_vma *v)
{
	const struct cr_vma_info *info = s->core->vma_info(v);
	uint64_t bytes = ring_bytes(info), none = 0, ctx;
	int err = s->core->plan_data(s, info->task, &none, sizeof(none), &ctx);

	if (!err)
		err = CALL(s, v, CR_WANT_ZERO, SYS_io_setup, IMM(requests_for(bytes / PAGE)), IMM(ctx));
	if (!err)
		err = CALL(s, v, CR_WANT_NONNEG, SYS_mremap, CR_LOAD(ctx), IMM(bytes), IMM(bytes),
			   IMM(MREMAP_MAYMOVE | MREMAP_FIXED), IMM(info->start));
	return err;
}

/* What a fork has left: pages without a context. */
static int queue_copy(struct cr_session *s, struct cr_vma *v, const struct ring_head *h)
{
	const struct cr_vma_info *info = s->core->vma_info(v);
	int err = CALL(s, v, CR_WANT_NONNEG, SYS_mmap, IMM(info->start), IMM(ring_bytes(info)), IMM(PROT_READ | PROT_WRITE),
		       IMM(MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED), IMM(-1), IMM(0));

	if (!err)
		err = s->core->plan_write(s, info->task, CR_STAGE_WIRE, info->start, h, sizeof(*h));
	return err ? err : queue_contents(s, v, h);
}

static int ring_plan(struct cr_session *s, struct cr_vma *v)
{
	const struct cr_vma_info *info = s->core->vma_info(v);
	const struct ring *r = s->core->vma_priv(v);
	struct ring_head h;
	uint64_t request = 0;
	uint32_t unread;
	int err = s->core->vma_stored(s, v, 0, &h, sizeof(h));

	if (!err && !is_sane(&h, ring_bytes(info)))
		err = cr_fail(s, EPROTO, "the image has a damaged ring of an asynchronous I/O context");
	if (!err && !r->owned)
		return queue_copy(s, v, &h);
	if (!err)
		err = check_size(s, ring_bytes(info) / PAGE);
	if (err)
		return err;
	unread = (h.tail + h.nr - h.head) % h.nr;
	err = queue_context(s, v);
	if (!err && (h.head || unread))
		err = put_request(s, info->task, &request);
	if (!err)
		err = queue_events(s, v, request, h.nr, h.head, 1);
	if (!err)
		err = queue_events(s, v, request, h.nr, unread, 0);
	if (!err)
		err = queue_contents(s, v, &h);
	if (!err && info->prot != (PROT_READ | PROT_WRITE))
		err = CALL(s, v, CR_WANT_ZERO, SYS_mprotect, IMM(info->start), IMM(ring_bytes(info)), IMM(info->prot));
	return err;
}

static const struct cr_vma_kind ring_kind = {
	.size = sizeof(struct cr_vma_kind),
	.name = "aio-ring",
	.status = 0x2000,
	.field = 16,
	.flags = CR_VMA_CONTENTS,
	.priv_size = sizeof(struct ring),
	.match = ring_match,
	.check = ring_check,
	.dump = ring_dump,
	.load = ring_load,
	.plan = ring_plan,
};
static const struct cr_vma_kind *const ring_kinds[] = { &ring_kind, NULL };

static const struct cr_plugin aio_plugin = {
	.size = sizeof(struct cr_plugin),
	.abi = CR_ABI,
	.name = "aio",
	.version = "0.1",
	.summary = "Keeps contexts of asynchronous I/O (io_setup) and their unread events.",
	.collect = aio_collect,
	.dump_late = aio_dump_late,
	.vmas = ring_kinds,
};
CR_PLUGIN_REGISTER(aio_plugin);
