/* SPDX-License-Identifier: MIT */
/*
 * io_uring.c: rings of io_uring(7): claims, checks, messages.
 *
 * A ring can only be kept when nothing is under way in it: a request in flight is known to the
 * kernel alone.  With the tree frozen no request comes, so the plugin waits a moment until as many
 * completions as requests are counted and none waits for an event (quiesce.c); else it refuses.
 */
#include "uring.h"

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#define OPT_IDLE "io-uring-idle"
#define OPT_CANCEL "io-uring-cancel"
#define MAPPED_NAME "anon_inode:[io_uring]"

static int uring_match(const struct cr_file_info *info)
{
	return info->anon && !strcmp(info->anon, URING_KIND) && !(info->flags & O_PATH) ? CR_SPECIFIC : CR_NOT_MINE;
}

/* ---- is it idle? ---- */

static int said_idle(struct cr_session *s)
{
	return s->core->option_flag(s, OPT_IDLE) || s->core->option_flag(s, OPT_CANCEL);
}

static int refuse_busy(struct cr_session *s, const struct uring_facts *f)
{
	if (f->polls)
		return cr_refuse(s, "--" OPT_CANCEL ", if the program bears ECANCELED; or end what they wait for",
				 "%u requests of the ring wait for an event (the first: %s)", f->polls, f->first_poll);
	if (f->overflown)
		return cr_refuse(s, "let the program read its completions",
				 "%u completions have no room in the ring", f->overflown);
	if (s->core->mode(s) == CR_MODE_CHECK)
		return 0; /* it runs: that says nothing about later */
	if (f->poll_tid >= 0 && f->sq_head != f->sq_tail)
		return cr_refuse(s, NULL, "the polling thread of the ring does not take its requests");
	if (f->sq_count == f->cq_count || said_idle(s))
		return 0;
	return cr_refuse(s, "wait until they are done; --" OPT_CANCEL " if the program bears ECANCELED; or --" OPT_IDLE
			 " if it uses multishot requests or requests without completions, and nothing is under way",
			 "%u requests of the ring were taken, %u completions given: some are in flight (timeout, blocking call)",
			 f->sq_count, f->cq_count);
}

static int uring_check(struct cr_session *s, struct cr_file *file, int lfd, const struct cr_file_info *info)
{
	struct uring_facts f;
	int err = lfd < 0 ? uring_parse(info->fdinfo, &f) : uring_read(lfd, &f);

	if (err)
		return cr_refuse(s, "a kernel of 5.13 or later", "fdinfo of the ring does not tell its state");
	if (s->core->option_flag(s, OPT_CANCEL))
		return 0;
	if (s->core->mode(s) == CR_MODE_DUMP && lfd >= 0 && !s->core->option_flag(s, OPT_IDLE))
		err = uring_wait(s, file, lfd, &f);
	return err ? cr_fail(s, -err, "waiting for the ring: %s", strerror(-err)) : refuse_busy(s, &f);
}

/* Before anything is dumped, for what ends may change other objects: an eventfd, a pipe. */
static int uring_collect(struct cr_session *s)
{
	int r = 0;

	if (!s->core->option_flag(s, OPT_CANCEL))
		return 0;
	for (struct cr_file *f = s->core->file_next(s, NULL); f && !r; f = s->core->file_next(s, f)) {
		if (strcmp(s->core->file_kind(f), URING_KIND) || s->core->file_fd(f) < 0)
			continue;
		r = uring_cancel(s, f, s->core->file_fd(f));
		if (r > 0)
			return cr_refuse(s, "wait until they are done", "%s: requests in flight that cannot be cancelled",
					 s->core->file_info(f)->link);
	}
	return r;
}

/* ---- the polling thread ---- */

/* A polling thread of pid; tid is its number, when pid namespaces agree. 0: it has none. */
static pid_t find_poller(pid_t pid, pid_t tid)
{
	char path[80], comm[32];
	struct dirent *e;
	pid_t found = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%d/task/%d/comm", pid, atoi(e->d_name));
		f = fopen(path, "re");
		if (f && fgets(comm, sizeof(comm), f) && !strncmp(comm, "iou-sqp-", 8) && (!found || atoi(e->d_name) == tid))
			found = atoi(e->d_name);
		if (f)
			fclose(f);
	}
	if (d)
		closedir(d);
	return found;
}

static void take_cpu(uring_msg *msg, pid_t tid)
{
	cpu_set_t set;

	if (get_nprocs() < 2 || sched_getaffinity(tid, sizeof(set), &set) < 0 || CPU_COUNT(&set) != 1)
		return;
	for (uint32_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &set))
			msg->poll_cpu = cpu;
	msg->has_poll_cpu = 1;
}

/* An earlier ring with the same polling thread. */
static void take_attach(struct cr_session *s, struct cr_file *file, int32_t tid, uring_msg *msg)
{
	struct uring_facts f;

	for (struct cr_file *o = s->core->file_next(s, NULL); o && o != file; o = s->core->file_next(s, o)) {
		const struct cr_file_info *i = s->core->file_info(o);

		if (!i || !uring_match(i) || uring_parse(i->fdinfo, &f) || f.poll_tid != tid)
			continue;
		msg->has_attach = 1;
		msg->attach = s->core->file_id(o);
		return;
	}
}

static int take_poller(struct cr_session *s, struct cr_file *file, const struct uring_facts *f, uring_msg *msg)
{
	struct cr_task *t, *owner = NULL;
	pid_t tid;
	int fd;

	for (size_t i = 0; !s->core->file_slot(s, file, i, &t, &fd); i++) {
		if (owner && owner != t)
			return cr_refuse(s, "let the child close it, or make the ring after the fork",
					 "pid %d and pid %d share a ring with a polling thread (IORING_SETUP_SQPOLL)",
					 s->core->task_pid(owner), s->core->task_pid(t));
		owner = t;
	}
	tid = owner ? find_poller(s->core->task_pid(owner), f->poll_tid) : 0;
	if (!tid)
		return cr_refuse(s, NULL, "the polling thread of the ring is not in a process that has its descriptor");
	msg->has_poller = 1;
	msg->poller = (uint32_t)s->core->task_vpid(owner);
	take_cpu(msg, tid);
	take_attach(s, file, f->poll_tid, msg);
	return 0;
}

/* ---- dump ---- */

static void take_layout(const struct io_uring_params *p, XIoUringLayout *l)
{
	x_io_uring_layout__init(l);
	l->sq_head = p->sq_off.head;
	l->sq_tail = p->sq_off.tail;
	l->sq_array = p->sq_off.array;
	l->cq_head = p->cq_off.head;
	l->cq_tail = p->cq_off.tail;
	l->cq_flags = p->cq_off.flags;
	l->cqes = p->cq_off.cqes;
}

/* Offsets of a ring of this size: those of another one. */
static int shape(struct cr_session *s, const struct uring_facts *f, uint32_t setup, struct io_uring_params *ret)
{
	int fd;

	*ret = (struct io_uring_params){ .flags = IORING_SETUP_CQSIZE | (setup & URING_SHAPE), .cq_entries = f->cq_entries };
	fd = uring_setup(f->sq_entries, ret);
	if (fd < 0)
		return cr_fail(s, -fd, "io_uring_setup: %s", strerror(-fd));
	close(fd);
	return 0;
}

/* Once a dump. */
static void tell_unseen(struct cr_session *s)
{
	int *told = s->core->plugin_priv(s, sizeof(int));

	if (!*told && !s->core->option_item(s, URING_OPT_SETUP, 0))
		cr_lost(s, NULL, "io_uring: flags of rings that cannot be seen (submit-all, coop-taskrun, taskrun-flag, "
			"cqe-mixed), if they were set: --" URING_OPT_SETUP " says so, at dump or restore");
	*told = 1;
}

static int emit(struct cr_session *s, struct cr_file *file, int lfd, const struct cr_file_info *info,
		const struct uring_facts *f, uring_msg *msg)
{
	struct uring_map m = { 0 };
	int err = shape(s, f, msg->setup, &m.p);

	if (err)
		return err;
	err = uring_map(lfd, &m);
	if (err)
		return cr_fail(s, -err, "cannot map the ring: %s", strerror(-err));
	common_fown_dump(s, file, msg->fown);
	take_layout(&m.p, msg->layout);
	msg->id = s->core->file_id(file);
	msg->flags = info->flags;
	msg->sq_entries = f->sq_entries;
	msg->cq_entries = f->cq_entries;
	msg->sq_count = f->sq_count;
	msg->cq_count = f->cq_count;
	msg->ring = (ProtobufCBinaryData){ m.ring_bytes, (uint8_t *)m.ring };
	msg->sqes = (ProtobufCBinaryData){ m.sqes_bytes, (uint8_t *)m.sqes };
	err = common_emit_msg(s, file, msg);
	uring_unmap(&m);
	return err;
}

static int uring_dump(struct cr_session *s, struct cr_file *file, int lfd, const struct cr_file_info *info)
{
	uring_msg msg = X_IO_URING_ENTRY__INIT;
	XIoUringLayout layout;
	FownEntry fown;
	struct uring_issuer who;
	struct uring_facts f;
	int err = uring_read(lfd, &f);

	if (err)
		return cr_fail(s, -err, "fdinfo of the ring: %s", strerror(-err));
	tell_unseen(s);
	msg.fown = &fown;
	msg.layout = &layout;
	err = refuse_busy(s, &f);
	if (!err)
		err = uring_probe_setup(s, file, lfd, &f, &msg.setup);
	if (!err)
		err = uring_find_issuer(s, file, &f, msg.setup, &who);
	if (!err)
		err = uring_registered(s, lfd, &who, &msg);
	if (!err)
		err = uring_take_places(s, file, &msg);
	msg.setup |= uring_flags_said(s);
	if (!err)
		uring_take_issuer(s, file, &who, &msg);
	if (!err && f.poll_tid >= 0)
		err = take_poller(s, file, &f, &msg);
	return err ? err : emit(s, file, lfd, info, &f, &msg);
}

/* ---- mappings ---- */

int uring_vma_match(const struct cr_vma_info *info)
{
	return !strcmp(info->path, MAPPED_NAME) ? CR_SPECIFIC : CR_NOT_MINE;
}

/* The ring that is mapped: each has an inode of its own (Linux 5.13). */
static struct cr_file *ring_of(struct cr_session *s, const struct cr_vma_info *info)
{
	for (struct cr_file *f = s->core->file_next(s, NULL); f; f = s->core->file_next(s, f)) {
		const struct cr_file_info *i = s->core->file_info(f);

		if (i && uring_match(i) && i->st.st_ino == info->ino)
			return f;
	}
	return NULL;
}

static int vma_check(struct cr_session *s, struct cr_vma *v, const struct cr_vma_info *info)
{
	if (!ring_of(s, info))
		return cr_refuse(s, "let the program keep the descriptor of its ring open, or unmap the ring",
				 "this is an io_uring whose descriptor is closed (it may be a registered one)");
	return 0;
}

static int vma_dump(struct cr_session *s, struct cr_vma *v, const struct cr_vma_info *info)
{
	XIoUringMapping e = X_IO_URING_MAPPING__INIT;
	void *data;
	size_t len;
	int err;

	e.file = s->core->file_id(ring_of(s, info));
	data = common_pack(&e.base, &len);
	err = s->core->vma_message(s, v, data, len);
	free(data);
	return err;
}

static const struct cr_file_kind uring_kind = {
	.size = sizeof(struct cr_file_kind),
	.name = URING_KIND,
	.fd_type = 16,
	.field = URING_FIELD,
	.priv_size = sizeof(struct uring),
	.match = uring_match,
	.check = uring_check,
	.dump = uring_dump,
	.load = uring_load,
	.open = uring_open,
	.wire = uring_wire,
};
static const struct cr_file_kind *const uring_kinds[] = { &uring_kind, NULL };

static const struct cr_vma_kind uring_vma = {
	.size = sizeof(struct cr_vma_kind),
	.name = "io_uring-ring",
	.priv_size = sizeof(struct cr_file *),
	.match = uring_vma_match,
	.check = vma_check,
	.dump = vma_dump,
	.load = uring_vma_load,
	.plan = uring_vma_plan,
};
static const struct cr_vma_kind *const uring_vmas[] = { &uring_vma, NULL };

static const struct cr_option idle_option = {
	.size = sizeof(struct cr_option),
	.name = OPT_IDLE,
	.kind = CR_OPT_FLAG,
	.modes = 1u << CR_MODE_DUMP | 1u << CR_MODE_CHECK,
	.help = "Take rings of io_uring for idle whose counters do not say so.",
};
static const struct cr_option cancel_option = {
	.size = sizeof(struct cr_option),
	.name = OPT_CANCEL,
	.kind = CR_OPT_FLAG,
	.modes = 1u << CR_MODE_DUMP | 1u << CR_MODE_CHECK,
	.help = "Cancel requests of io_uring that are in flight: the program finds ECANCELED.",
};
static const struct cr_option setup_option = {
	.size = sizeof(struct cr_option),
	.name = URING_OPT_SETUP,
	.kind = CR_OPT_LIST,
	.modes = 1u << CR_MODE_DUMP | 1u << CR_MODE_RESTORE,
	.arg = "FLAG",
	.help = "Rings have this flag, which cannot be seen: submit-all, coop-taskrun, taskrun-flag, cqe-mixed, none.",
};
static const struct cr_option *const options[] = { &idle_option, &cancel_option, &setup_option, NULL };

static const struct cr_plugin io_uring_plugin = {
	.size = sizeof(struct cr_plugin),
	.abi = CR_ABI,
	.name = "io_uring",
	.version = "0.1",
	.summary = "Keeps idle rings of io_uring, with what is registered and unread.",
	.options = options,
	.files = uring_kinds,
	.vmas = uring_vmas,
	.collect = uring_collect,
	.prepare = uring_check_options,
	.stage = uring_check_options,
	.restored = uring_restored,
	.undo = uring_undo,
};
CR_PLUGIN_REGISTER(io_uring_plugin);
