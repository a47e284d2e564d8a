/* SPDX-License-Identifier: MIT */
/*
 * signalfd.c: signalfd(2) descriptors.
 *
 * A signalfd is a mask and flags; the signals themselves are pending in tasks and
 * belong to whoever reads.  The mask is the "sigmask:" line of fdinfo.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common.h"
#include "signalfd.pb-c.h"
#include "util.h"

struct sfd {
	uint64_t mask;
	uint32_t flags;
	FownEntry fown;
};

static int sfd_match(const struct cr_file_info *info)
{
	if (!info->anon || strcmp(info->anon, "signalfd") || (info->flags & O_PATH))
		return CR_NOT_MINE;
	return CR_SPECIFIC;
}

static int sfd_parse(const char *fdinfo, uint64_t *ret_mask)
{
	const char *line = strstr(fdinfo, "sigmask:");

	return line && sscanf(line, "sigmask: %" SCNx64, ret_mask) == 1 ? 0 : -EPROTO;
}

static int sfd_check(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	uint64_t mask;

	if (sfd_parse(info->fdinfo, &mask))
		return cr_refuse(s, "a kernel with /proc", "fdinfo of the signalfd shows no mask");
	return 0;
}

static int sfd_dump(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	SignalfdEntry e = SIGNALFD_ENTRY__INIT;
	FownEntry fown;

	if (sfd_parse(info->fdinfo, &e.sigmask))
		return cr_fail(s, EPROTO, "fdinfo of the signalfd shows no mask");
	common_fown_dump(s, f, &fown);
	e.id = s->core->file_id(f);
	e.flags = info->flags;
	e.fown = &fown;
	return common_emit_msg(s, f, &e);
}

static int sfd_load(struct cr_session *s, struct cr_file *f, const void *data, size_t len)
{
	_cleanup_msg_ SignalfdEntry *e = common_unpack(s, &signalfd_entry__descriptor, data, len);
	struct sfd *sfd = s->core->file_priv(f);

	if (!e)
		return -EPROTO;
	sfd->mask = e->sigmask;
	sfd->flags = e->flags;
	sfd->fown = *e->fown;
	return 0;
}

static int sfd_open(struct cr_session *s, struct cr_file *f, int *ret_fd)
{
	const struct sfd *sfd = s->core->file_priv(f);
	/* the kernel's mask has 64 bits, libc's sigset_t is larger */
	_cleanup_fd_ int fd = syscall(SYS_signalfd4, -1, &sfd->mask, sizeof(sfd->mask), SFD_CLOEXEC);
	int err;

	if (fd < 0)
		return cr_fail(s, errno, "signalfd4 with mask %#" PRIx64 ": %s", sfd->mask, strerror(errno));
	err = common_set_flags(s, fd, sfd->flags);
	if (err < 0)
		return err;
	*ret_fd = fd;
	fd = -1;
	return CR_OK;
}

static int sfd_wire(struct cr_session *s, struct cr_file *f)
{
	const struct sfd *sfd = s->core->file_priv(f);

	return common_fown_restore(s, f, &sfd->fown);
}

static const struct cr_file_kind sfd_kind = {
	.size = sizeof(struct cr_file_kind),
	.name = "signalfd",
	.fd_type = 9,
	.field = 10,
	.priv_size = sizeof(struct sfd),
	.match = sfd_match,
	.check = sfd_check,
	.dump = sfd_dump,
	.load = sfd_load,
	.open = sfd_open,
	.wire = sfd_wire,
};
static const struct cr_file_kind *const sfd_kinds[] = { &sfd_kind, NULL };

static const struct cr_plugin signalfd_plugin = {
	.size = sizeof(struct cr_plugin),
	.abi = CR_ABI,
	.name = "signalfd",
	.version = "0.1",
	.summary = "Keeps signalfd descriptors.",
	.files = sfd_kinds,
};
CR_PLUGIN_REGISTER(signalfd_plugin);
