/* SPDX-License-Identifier: MIT */
/*
 * eventfd.c: eventfd(2) counters.
 *
 * Everything is in the text of fdinfo: "eventfd-count:" (hexadecimal) and, since
 * Linux 6.5, "eventfd-semaphore:".  Older kernels show the mode only by what a read
 * gives: there, with the tree frozen, the counter is read and put back.  The message
 * has no field for the semaphore mode: it is bit 0 of flags, EFD_SEMAPHORE itself,
 * where the access mode (always O_RDWR) leaves room.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common.h"
#include "eventfd.pb-c.h"
#include "util.h"

struct efd {
	uint64_t counter;
	uint32_t flags;
	FownEntry fown;
};

static int efd_match(const struct cr_file_info *info)
{
	if (!info->anon || strcmp(info->anon, "eventfd") || (info->flags & O_PATH))
		return CR_NOT_MINE;
	return CR_SPECIFIC;
}

#define UNTOLD UINT32_MAX /* the kernel does not say whether it is a semaphore */

/* 0 with the counter and EFD_SEMAPHORE, 0 or UNTOLD, -EPROTO when the text lacks the counter. */
static int efd_parse(const char *fdinfo, uint64_t *ret_counter, uint32_t *ret_semaphore)
{
	const char *count = strstr(fdinfo, "eventfd-count:");
	const char *mode = strstr(fdinfo, "eventfd-semaphore:");
	int semaphore = 0;

	if (!count || sscanf(count, "eventfd-count: %" SCNx64, ret_counter) != 1)
		return -EPROTO;
	if (mode && sscanf(mode, "eventfd-semaphore: %d", &semaphore) != 1)
		return -EPROTO;
	*ret_semaphore = !mode ? UNTOLD : semaphore ? EFD_SEMAPHORE : 0;
	return 0;
}

/* Takes what a read gives, never waiting for it: somebody outside may have been faster. */
static int take(int fd, uint64_t *ret)
{
	struct iovec iov = { ret, sizeof(*ret) };

	return preadv2(fd, &iov, 1, -1, RWF_NOWAIT) == sizeof(*ret) ? 0 : -errno;
}

static int put(int fd, uint64_t n)
{
	return n == 0 || write(fd, &n, sizeof(n)) == sizeof(n) ? 0 : -errno;
}

/*
 * EFD_SEMAPHORE or 0: a read of a semaphore gives 1 and takes 1, any other gives and takes all.  With a
 * counter of at least 2 that differs; a smaller one is raised for the moment.  Negative: cannot be told.
 */
static int efd_probe(int fd, uint64_t counter)
{
	uint64_t added = counter < 2 ? 2 - counter : 0, got, rest;
	int err = put(fd, added);

	if (err == 0)
		err = take(fd, &got);
	if (err < 0)
		return err;
	if (got > 1) {
		err = put(fd, got - MIN_OF(added, got));
		return err < 0 ? err : 0;
	}
	/* one has been taken: none must be missing and none too many */
	err = added == 0 ? put(fd, 1) : added == 2 ? take(fd, &rest) : 0;
	return err < 0 ? err : EFD_SEMAPHORE;
}

static int efd_check(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	uint32_t semaphore;
	uint64_t counter;

	if (efd_parse(info->fdinfo, &counter, &semaphore))
		return cr_refuse(s, "a kernel of 5.2 or later, with /proc",
				 "fdinfo of the eventfd shows no counter");
	/* the kernel itself can overflow a counter, write(2) cannot repeat that */
	if (counter == UINT64_MAX)
		return cr_refuse(s, NULL,
				 "the counter of the eventfd has overflowed, which cannot be set again");
	return 0;
}

static int efd_dump(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	EventfdFileEntry e = EVENTFD_FILE_ENTRY__INIT;
	FownEntry fown;
	uint32_t semaphore;

	if (efd_parse(info->fdinfo, &e.counter, &semaphore))
		return cr_fail(s, EPROTO, "fdinfo of the eventfd shows no counter");
	if (semaphore == UNTOLD) {
		int r = efd_probe(lfd, e.counter);

		if (r < 0)
			cr_lost(s, NULL, "this kernel does not tell whether the eventfd is a semaphore: it is taken for none");
		semaphore = r > 0 ? EFD_SEMAPHORE : 0;
	}
	common_fown_dump(s, f, &fown);
	e.id = s->core->file_id(f);
	e.flags = info->flags | semaphore;
	e.fown = &fown;
	return common_emit_msg(s, f, &e);
}

static int efd_load(struct cr_session *s, struct cr_file *f, const void *data, size_t len)
{
	_cleanup_msg_ EventfdFileEntry *e = common_unpack(s, &eventfd_file_entry__descriptor, data, len);
	struct efd *efd = s->core->file_priv(f);

	if (!e)
		return -EPROTO;
	if (e->counter == UINT64_MAX)
		return cr_fail(s, EPROTO, "the image has an eventfd counter that cannot be set");
	efd->counter = e->counter;
	efd->flags = e->flags;
	efd->fown = *e->fown;
	return 0;
}

static int efd_open(struct cr_session *s, struct cr_file *f, int *ret_fd)
{
	const struct efd *efd = s->core->file_priv(f);
	_cleanup_fd_ int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | (efd->flags & EFD_SEMAPHORE));
	int err;

	if (fd < 0)
		return cr_fail(s, errno, "eventfd: %s", strerror(errno));
	if (efd->counter && write(fd, &efd->counter, sizeof(efd->counter)) != sizeof(efd->counter))
		return cr_fail(s, errno, "setting the counter of an eventfd to %" PRIu64 ": %s", efd->counter,
			       strerror(errno));
	err = common_set_flags(s, fd, efd->flags);
	if (err < 0)
		return err;
	*ret_fd = fd;
	fd = -1;
	return CR_OK;
}

static int efd_wire(struct cr_session *s, struct cr_file *f)
{
	const struct efd *efd = s->core->file_priv(f);

	return common_fown_restore(s, f, &efd->fown);
}

static const struct cr_file_kind efd_kind = {
	.size = sizeof(struct cr_file_kind),
	.name = "eventfd",
	.fd_type = 6,
	.field = 8,
	.priv_size = sizeof(struct efd),
	.match = efd_match,
	.check = efd_check,
	.dump = efd_dump,
	.load = efd_load,
	.open = efd_open,
	.wire = efd_wire,
};
static const struct cr_file_kind *const efd_kinds[] = { &efd_kind, NULL };

static const struct cr_plugin eventfd_plugin = {
	.size = sizeof(struct cr_plugin),
	.abi = CR_ABI,
	.name = "eventfd",
	.version = "0.1",
	.summary = "Keeps eventfd counters.",
	.files = efd_kinds,
};
CR_PLUGIN_REGISTER(eventfd_plugin);
