/* SPDX-License-Identifier: MIT */
/*
 * userfaultfd.c: descriptors of userfaultfd(2), when nobody waits for a page.
 *
 * A userfaultfd is about the memory of whoever made it: the task makes it itself, while a
 * stand-in, about the engine's memory, holds its place.  fdinfo tells the features, smaps which memory
 * is registered (range.c), but not with which userfaultfd: so a process can have one.
 */
#include "uffd.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util.h"

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1 /* Linux 5.11 */
#endif
#define INITIALIZED (1ull << 31) /* of the kernel itself: UFFDIO_API was called */

int uffd_match(const struct cr_file_info *info)
{
	return info->anon && !strcmp(info->anon, UFFD_KIND) && !(info->flags & O_PATH) ? CR_SPECIFIC : CR_NOT_MINE;
}

struct cr_file *uffd_of(struct cr_session *s, const struct cr_task *t, int *ret_many)
{
	struct cr_file *found = NULL;
	struct cr_task *holder;
	int fd;

	*ret_many = 0;
	for (struct cr_file *f = s->core->file_next(s, NULL); f; f = s->core->file_next(s, f)) {
		const struct cr_file_info *info = s->core->file_info(f);
		int here = 0;

		if (!info || !uffd_match(info))
			continue;
		for (size_t i = 0; !s->core->file_slot(s, f, i, &holder, &fd); i++)
			here |= holder == t;
		if (here && found)
			*ret_many = 1;
		if (here)
			found = f;
	}
	return *ret_many ? NULL : found;
}

/* The only process that has f; NULL: several, or none. */
static struct cr_task *holder_of(struct cr_session *s, const struct cr_file *f)
{
	struct cr_task *t, *found = NULL;
	int fd;

	for (size_t i = 0; !s->core->file_slot(s, f, i, &t, &fd); i++) {
		if (found && found != t)
			return NULL;
		found = t;
	}
	return found;
}

static int parse(const char *text, uint64_t *ret_waiting, uint64_t *ret_features)
{
	const char *total = strstr(text, "total:"), *api = strstr(text, "API:");

	if (!total || !api || sscanf(total, "total: %" SCNu64, ret_waiting) != 1 ||
	    sscanf(api, "API: %*x:%" SCNx64, ret_features) != 1)
		return -EPROTO;
	return 0;
}

static int uffd_check(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	uint64_t waiting, features;

	if (parse(info->fdinfo, &waiting, &features))
		return cr_refuse(s, "a kernel of 4.3 or later", "fdinfo of the userfaultfd does not tell its state");
	if (waiting)
		return cr_refuse(s, "let the program resolve them",
				 "%" PRIu64 " threads wait for pages that the userfaultfd is to bring", waiting);
	if (!holder_of(s, f))
		return cr_refuse(s, "let all but one process close it before the dump",
				 "a userfaultfd that several processes have: it cannot be told whose memory it is about");
	return 0;
}

static int uffd_dump(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	XUserfaultfdEntry e = X_USERFAULTFD_ENTRY__INIT;
	uint64_t waiting;
	FownEntry fown;

	if (parse(info->fdinfo, &waiting, &e.features))
		return cr_fail(s, EPROTO, "fdinfo of the userfaultfd makes no sense");
	common_fown_dump(s, f, &fown);
	e.id = s->core->file_id(f);
	e.flags = info->flags;
	e.fown = &fown;
	e.has_features = (e.features & INITIALIZED) != 0;
	e.features &= ~INITIALIZED;
	e.owner = (uint32_t)s->core->task_vpid(holder_of(s, f));
	return common_emit_msg(s, f, &e);
}

/* ---- restore ---- */

static int uffd_load(struct cr_session *s, struct cr_file *f, const void *data, size_t len)
{
	struct uffd *u = s->core->file_priv(f);

	u->msg = common_load(s, &x_userfaultfd_entry__descriptor, data, len);
	if (!u->msg)
		return -EPROTO;
	return s->core->file_set_own(s, f);
}

static int uffd_open(struct cr_session *s, struct cr_file *f, int *ret_fd)
{
	struct uffd *u = s->core->file_priv(f);
	int fd;

	u->flags = u->msg->flags & O_NONBLOCK;
	fd = syscall(SYS_userfaultfd, O_CLOEXEC | u->flags);
	if (fd < 0 && errno == EPERM) {
		/* page faults of the kernel itself are for the privileged */
		u->flags |= UFFD_USER_MODE_ONLY;
		fd = syscall(SYS_userfaultfd, O_CLOEXEC | u->flags);
	}
	if (fd < 0)
		return cr_fail(s, errno, "userfaultfd: %s; see /proc/sys/vm/unprivileged_userfaultfd", strerror(errno));
	*ret_fd = fd;
	return CR_OK;
}

#define IMM(v) ((struct cr_arg)CR_IMM(v))
#define CALL(s, t, want, nr, ...) \
	((s)->core->plan_syscall((s), (t), CR_STAGE_WIRE, (nr), (const struct cr_arg[6]){ __VA_ARGS__ }, (want)))

static int queue_api(struct cr_session *s, const struct uffd *u, uint64_t made)
{
	struct uffdio_api api = { .api = UFFD_API, .features = u->msg->features };
	uint64_t addr;
	int err = s->core->plan_data(s, u->owner, &api, sizeof(api), &addr);

	return err ? err : CALL(s, u->owner, CR_WANT_ZERO, SYS_ioctl, CR_LOAD(made), IMM(UFFDIO_API), IMM(addr));
}

static int uffd_wire(struct cr_session *s, struct cr_file *f)
{
	struct uffd *u = s->core->file_priv(f);
	const struct cr_arg args[6] = { IMM(O_CLOEXEC | u->flags) };
	struct cr_task *t;
	uint64_t made;
	int fd, err;

	u->owner = s->core->task_by_vpid(s, (pid_t)u->msg->owner);
	u->slot = -1;
	if (!u->owner)
		return cr_fail(s, EPROTO, "the image has a userfaultfd of pid %u, which it does not have", u->msg->owner);
	err = s->core->plan_call(s, u->owner, CR_STAGE_WIRE, SYS_userfaultfd, args, CR_WANT_NONNEG, &made);
	if (!err && u->msg->has_features)
		err = queue_api(s, u, made);
	for (size_t i = 0; !err && !s->core->file_slot(s, f, i, &t, &fd); i++) {
		if (t != u->owner)
			continue;
		err = common_queue_move(s, t, CR_STAGE_WIRE, made, fd);
		u->slot = u->slot < 0 ? fd : u->slot;
	}
	if (!err && u->slot < 0)
		err = cr_fail(s, EPROTO, "the image has a userfaultfd of pid %u, which has no descriptor of it", u->msg->owner);
	return err ? err : CALL(s, u->owner, CR_WANT_ZERO, SYS_close, CR_LOAD(made));
}

static const struct cr_file_kind uffd_kind = {
	.size = sizeof(struct cr_file_kind),
	.name = UFFD_KIND,
	.fd_type = 16,
	.field = 100140,
	.priv_size = sizeof(struct uffd),
	.match = uffd_match,
	.check = uffd_check,
	.dump = uffd_dump,
	.load = uffd_load,
	.open = uffd_open,
	.wire = uffd_wire,
};
static const struct cr_file_kind *const uffd_kinds[] = { &uffd_kind, NULL };
static const struct cr_vma_kind *const uffd_ranges[] = { &uffd_range_kind, NULL };

static const struct cr_plugin userfaultfd_plugin = {
	.size = sizeof(struct cr_plugin),
	.abi = CR_ABI,
	.name = "userfaultfd",
	.version = "0.1",
	.summary = "Keeps idle userfaultfds and the memory registered with them.",
	.files = uffd_kinds,
	.vmas = uffd_ranges,
};
CR_PLUGIN_REGISTER(userfaultfd_plugin);
