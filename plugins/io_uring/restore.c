/* SPDX-License-Identifier: MIT */
/*
 * restore.c: rings that the engine makes and the tasks inherit: all that every task may use and that have no polling
 * thread; and those that are not enabled yet, for whoever enables them.
 */
#include "uring.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define POLLER_IDLE_MS 50

/* Flags that cannot be seen, and that the user names. */
static const struct { const char *name; uint32_t flags; } unseen[] = {
	{ "submit-all", IORING_SETUP_SUBMIT_ALL },
	{ "coop-taskrun", IORING_SETUP_COOP_TASKRUN },
	{ "taskrun-flag", IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG },
	{ "cqe-mixed", IORING_SETUP_CQE_MIXED },
	{ "none", 0 },
};

/* 0 or -EINVAL: there is no flag of that name. */
static int flag_of(const char *name, uint32_t *flags)
{
	for (size_t i = 0; i < ARRAY_SIZE(unseen); i++)
		if (!strcmp(name, unseen[i].name)) {
			*flags |= unseen[i].flags;
			return 0;
		}
	return -EINVAL;
}

uint32_t uring_flags_said(struct cr_session *s)
{
	const char *name;
	uint32_t flags = 0;

	for (size_t i = 0; (name = s->core->option_item(s, URING_OPT_SETUP, i)); i++)
		flag_of(name, &flags);
	return flags;
}

int uring_check_options(struct cr_session *s)
{
	const char *name;
	uint32_t flags = 0;

	for (size_t i = 0; (name = s->core->option_item(s, URING_OPT_SETUP, i)); i++)
		if (flag_of(name, &flags))
			return cr_fail(s, EINVAL, "--" URING_OPT_SETUP " %s: there are submit-all, coop-taskrun, taskrun-flag, "
				       "cqe-mixed, none", name);
	return 0;
}

void uring_params(struct cr_session *s, const uring_msg *msg, int own, struct io_uring_params *ret)
{
	uint32_t one = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, flags = uring_flags_said(s);

	*ret = (struct io_uring_params){ .flags = IORING_SETUP_CQSIZE, .cq_entries = msg->cq_entries };
	flags |= msg->setup & (IORING_SETUP_R_DISABLED | IORING_SETUP_IOPOLL | URING_SHAPE | URING_UNSEEN);
	if (msg->has_issuer ? own : (msg->setup & IORING_SETUP_R_DISABLED) != 0)
		flags |= msg->setup & one;
	if (flags & IORING_SETUP_CQE32)
		flags &= ~IORING_SETUP_CQE_MIXED;
	/* its maker may or may not have asked for that, and to whoever did not it does not matter */
	if (flags & IORING_SETUP_DEFER_TASKRUN)
		flags |= IORING_SETUP_TASKRUN_FLAG;
	if (own && msg->has_poller) {
		flags |= IORING_SETUP_SQPOLL;
		flags &= ~(uint32_t)(IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_DEFER_TASKRUN);
		ret->sq_thread_idle = POLLER_IDLE_MS;
	}
	if (own && msg->has_poll_cpu) {
		flags |= IORING_SETUP_SQ_AFF;
		ret->sq_thread_cpu = msg->poll_cpu;
	}
	ret->flags |= flags;
}

static int is_power(uint32_t n)
{
	return n && !(n & (n - 1));
}

static int check_msg(struct cr_session *s, const uring_msg *m)
{
	if (!is_power(m->sq_entries) || !is_power(m->cq_entries) || m->sq_entries > URING_MAX_ENTRIES ||
	    m->cq_entries > 2 * URING_MAX_ENTRIES)
		return cr_fail(s, EPROTO, "the image has a ring of %u requests, %u completions", m->sq_entries, m->cq_entries);
	if (m->n_files > 1 << 20 || m->n_buffers > 1 << 16 || m->n_pids != m->n_places)
		return cr_fail(s, EPROTO, "the image has a ring with %zu files, %zu buffers", m->n_files, m->n_buffers);
	if (m->has_issuer && m->has_poller && m->issuer != m->poller)
		return cr_fail(s, EPROTO, "the image has a ring of pid %u with a polling thread of pid %u", m->issuer, m->poller);
	if (m->ring.len < m->layout->cqes || m->sqes.len < m->sq_entries * sizeof(struct io_uring_sqe))
		return cr_fail(s, EPROTO, "the image lacks contents of a ring");
	return 0;
}

/* Registered files must be there first. */
static int need_files(struct cr_session *s, struct cr_file *f, const uring_msg *m)
{
	for (size_t i = 0; i <= m->n_files; i++) {
		uint32_t id = i < m->n_files ? m->files[i] : m->has_eventfd ? m->eventfd : 0;
		struct cr_file *dep = id ? s->core->file_by_id(s, id) : NULL;
		int err = 0;

		if (id && !dep)
			return cr_fail(s, EPROTO, "the image has a ring with file %u, which it does not have", id);
		/* a ring in its own table, or in that of the ring that is in its, is refused by the kernel */
		if (dep)
			err = s->core->file_need(s, f, dep);
		if (err)
			return err;
	}
	return 0;
}

int uring_load(struct cr_session *s, struct cr_file *f, const void *data, size_t len)
{
	struct uring *u = s->core->file_priv(f);
	int err;

	u->msg = common_load(s, &x_io_uring_entry__descriptor, data, len);
	if (!u->msg)
		return -EPROTO;
	err = check_msg(s, u->msg);
	if (!err)
		err = need_files(s, f, u->msg);
	if (!err)
		uring_own_load(s, f, u->msg);
	return !err && uring_is_own(u->msg) ? s->core->file_set_own(s, f) : err;
}

int uring_open(struct cr_session *s, struct cr_file *f, int *ret_fd)
{
	struct uring *u = s->core->file_priv(f);
	struct uring_map m = { 0 };
	_cleanup_fd_ int fd = -1;
	int err;

	uring_params(s, u->msg, 0, &u->p);
	fd = uring_setup(u->msg->sq_entries, &u->p);
	if (fd < 0)
		return cr_fail(s, -fd, "io_uring_setup: %s%s", strerror(-fd),
			       fd == -EPERM ? ": see /proc/sys/kernel/io_uring_disabled" : "");
	if (!uring_same_layout(&u->p, u->msg->layout))
		return cr_fail(s, EOPNOTSUPP, "this kernel arranges rings otherwise than the one of the dump");
	m.p = u->p;
	err = uring_is_own(u->msg) ? 0 : uring_map(fd, &m);
	if (!err && m.ring) {
		if (!(u->msg->setup & IORING_SETUP_R_DISABLED))
			err = uring_feed(fd, &m, u->msg);
		uring_fill(&m, u->msg);
		uring_unmap(&m);
	}
	if (err)
		return cr_fail(s, -err, "giving a ring its state: %s", strerror(-err));
	err = common_set_flags(s, fd, u->msg->flags);
	if (err)
		return err;
	*ret_fd = fd;
	fd = -1;
	return CR_OK;
}

static int register_files(struct cr_session *s, struct cr_file *f, const uring_msg *m)
{
	_cleanup_free_ int *fds = xcalloc(m->n_files, sizeof(*fds));
	int r;

	for (size_t i = 0; i < m->n_files; i++) {
		fds[i] = m->files[i] ? s->core->file_fd(s->core->file_by_id(s, m->files[i])) : -1;
		if (m->files[i] && fds[i] < 0)
			return cr_fail(s, EBADF, "file %u, registered with the ring, is not open yet", m->files[i]);
	}
	r = uring_register(s->core->file_fd(f), IORING_REGISTER_FILES, fds, m->n_files);
	return r < 0 ? cr_fail(s, -r, "registering %zu files with a ring: %s", m->n_files, strerror(-r)) : 0;
}

static int register_eventfd(struct cr_session *s, struct cr_file *f, const uring_msg *m)
{
	int efd = s->core->file_fd(s->core->file_by_id(s, m->eventfd));
	int r = uring_register(s->core->file_fd(f), IORING_REGISTER_EVENTFD, &efd, 1);

	return r < 0 ? cr_fail(s, -r, "registering an eventfd with a ring: %s", strerror(-r)) : 0;
}

/* The pages are the task's: it registers them itself. */
static int queue_buffers(struct cr_session *s, struct cr_file *f, const uring_msg *m)
{
	_cleanup_free_ struct iovec *iov = xcalloc(m->n_buffers, sizeof(*iov));
	struct cr_task *t;
	uint64_t addr;
	int fd, err;

	if (s->core->file_slot(s, f, 0, &t, &fd))
		return 0;
	for (size_t i = 0; i < m->n_buffers; i++)
		iov[i] = (struct iovec){ (void *)m->buffers[i]->addr, m->buffers[i]->len };
	err = s->core->plan_data(s, t, iov, m->n_buffers * sizeof(*iov), &addr);
	if (!err) {
		const struct cr_arg args[6] = { CR_FILE(f), IMM(IORING_REGISTER_BUFFERS), IMM(addr), IMM(m->n_buffers) };

		err = s->core->plan_syscall(s, t, CR_STAGE_WIRE, SYS_io_uring_register, args, CR_WANT_NONNEG);
	}
	return err;
}

int uring_wire(struct cr_session *s, struct cr_file *f)
{
	const struct uring *u = s->core->file_priv(f);
	int err = common_fown_restore(s, f, u->msg->fown);

	if (!err && uring_is_own(u->msg)) {
		err = uring_own_wire(s, f);
		return err ? err : uring_queue_places(s, f, u->msg);
	}
	if (!err)
		err = uring_queue_places(s, f, u->msg);
	if (err)
		return err;
	if (u->msg->n_files)
		err = register_files(s, f, u->msg);
	if (!err && u->msg->has_eventfd)
		err = register_eventfd(s, f, u->msg);
	return !err && u->msg->n_buffers ? queue_buffers(s, f, u->msg) : err;
}

/* ---- mappings ---- */

int uring_vma_load(struct cr_session *s, struct cr_vma *v, const void *data, size_t len)
{
	_cleanup_msg_ XIoUringMapping *e = common_unpack(s, &x_io_uring_mapping__descriptor, data, len);
	struct cr_file **f = s->core->vma_priv(v);

	if (!e)
		return -EPROTO;
	*f = s->core->file_by_id(s, e->file);
	if (!*f || strcmp(s->core->file_kind(*f), URING_KIND))
		return cr_fail(s, EPROTO, "the image has a mapping of file %u, which is no ring", e->file);
	return 0;
}

int uring_vma_plan(struct cr_session *s, struct cr_vma *v)
{
	const struct cr_vma_info *info = s->core->vma_info(v);
	struct cr_file *f = *(struct cr_file **)s->core->vma_priv(v);
	const struct uring *u = s->core->file_priv(f);
	int own = uring_is_own(u->msg) && info->task == u->owner, err;
	const struct cr_arg args[6] = {
		IMM(0), IMM(info->end - info->start), IMM(info->prot), IMM(MAP_SHARED | MAP_POPULATE),
		own ? IMM(u->slot) : (struct cr_arg)CR_FILE(f), IMM(info->pgoff),
	};

	if (s->core->file_fd(f) < 0)
		return cr_fail(s, EPROTO, "the image has a mapping of a ring that no task has open");
	/* the kernel refuses every address that is asked for */
	err = s->core->plan_place(s, v, own ? CR_STAGE_OWN : CR_STAGE_WIRE, SYS_mmap, args);
	return !err && own ? uring_own_mapped(s, f, info) : err;
}
