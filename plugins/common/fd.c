/* SPDX-License-Identifier: MIT */
/* fd.c: descriptors reopened and moved, flags, inodes compared, text for messages. See common.h. */
#include "common.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int common_reopen(int fd, int flags)
{
	char path[32];
	int ret;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ret = open(path, flags | O_CLOEXEC);
	return ret < 0 ? -errno : ret;
}

int common_set_flags(struct cr_session *s, int fd, uint32_t flags)
{
	int now = fcntl(fd, F_GETFL);

	if (now < 0)
		return cr_fail(s, errno, "reading the flags of a descriptor: %s", strerror(errno));
	if (!((now ^ (int)flags) & COMMON_SETFL))
		return 0;
	if (fcntl(fd, F_SETFL, (now & ~COMMON_SETFL) | ((int)flags & COMMON_SETFL)))
		return cr_fail(s, errno, "setting flags %#x of a descriptor: %s",
			       flags & COMMON_SETFL, strerror(errno));
	return 0;
}

int common_queue_move(struct cr_session *s, struct cr_task *t, uint32_t stage, uint64_t made, int slot)
{
	const struct cr_arg get[6] = { CR_IMM(slot), CR_IMM(F_GETFD) };
	const struct cr_arg dup[6] = { CR_LOAD(made), CR_IMM(slot) };
	struct cr_arg set[6] = { CR_IMM(slot), CR_IMM(F_SETFD), { .tag = CR_ARG_LOAD } };
	int err = s->core->plan_call(s, t, stage, SYS_fcntl, get, CR_WANT_NONNEG, &set[2].val);

	if (!err)
		err = s->core->plan_syscall(s, t, stage, SYS_dup2, dup, CR_WANT_NONNEG);
	return err ? err : s->core->plan_syscall(s, t, stage, SYS_fcntl, set, CR_WANT_ZERO);
}

const char *common_external_remedy(struct cr_session *s, const struct cr_file_info *info)
{
	char text[96];

	if (info->mnt_id < 0)
		return NULL;
	snprintf(text, sizeof(text), "--external file[%x:%lx]", info->mnt_id, (unsigned long)info->st.st_ino);
	return common_strdup(s, text);
}

int common_same_inode(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

const char *common_quote(struct cr_session *s, const char *text)
{
	char *out = s->core->alloc(s, 4 * strlen(text) + 1), *p = out;

	for (; *text; text++) {
		unsigned char c = *text;

		if (c < ' ' || c == 0x7f || c == '\\')
			p += sprintf(p, "\\%03o", c);
		else
			*p++ = c;
	}
	return out;
}

char *common_strdup(struct cr_session *s, const char *text)
{
	size_t len = strlen(text) + 1;

	return memcpy(s->core->alloc(s, len), text, len);
}
