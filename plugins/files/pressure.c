/* SPDX-License-Identifier: MIT */
/*
 * pressure.c: triggers on /proc/pressure/memory, memory.pressure of a cgroup and the like (PSI), and other things that a
 * program has asked for on a descriptor and nobody can read back.
 *
 * Whether there is a trigger poll(2) tells: a file without one is in error.  What it asks for the kernel does not tell.
 * A program that waits for it must not find the file in error, which would wake it for ever: it gets a trigger of the usual
 * kind, and the log says so.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "reg.h"
#include "x-files-pressure.pb-c.h"

#define USUAL "some 150000 2000000" /* 150 ms of 2 s: everybody may ask for that */

const struct cr_img_type reg_img_pressure = { sizeof(reg_img_pressure), "x-files-pressure", 0x46505231, 0 };

static int is_pressure(const char *name)
{
	size_t len = strlen(name);

	return !strncmp(name, "/proc/pressure/", 15) || (len > 9 && !strcmp(name + len - 9, ".pressure"));
}

static int has_trigger(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLPRI };

	return poll(&p, 1, 0) >= 0 && !(p.revents & POLLERR);
}

int asked_dump(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	FilesPressureEntry e = FILES_PRESSURE_ENTRY__INIT;
	struct cr_fown fown;

	if (info->flags & O_PATH)
		return 0;
	s->core->file_fown(s, f, &fown);
	if (S_ISDIR(info->st.st_mode) && fown.pid && !strstr(info->fdinfo, "LEASE"))
		cr_lost(s, f, "signals about changes of this directory, if the program has asked for them (F_NOTIFY)");
	if ((info->flags & O_ACCMODE) == O_RDONLY || !is_pressure(info->link) || !has_trigger(lfd))
		return 0;
	cr_lost(s, f, "what its trigger asks for, which cannot be read: it will be \"" USUAL "\"");
	e.id = s->core->file_id(f);
	return common_append(s, &reg_img_pressure, CR_IMG_NO_ID, &e.base);
}

int pressure_restored(struct cr_session *s)
{
	FilesPressureEntry *all;
	size_t n = 0;
	int err = common_read_list(s, &reg_img_pressure, &files_pressure_entry__descriptor, (void **)&all, &n);

	for (size_t i = 0; i < n && !err; i++) {
		struct cr_file *f = s->core->file_by_id(s, all[i].id);
		int fd = f && reg_entry(s, f) ? s->core->file_fd(f) : -1;

		if (fd >= 0 && is_pressure(reg_entry(s, f)->name) && write(fd, USUAL, sizeof(USUAL)) < 0)
			cr_lost(s, f, "its trigger: %s", strerror(errno));
	}
	return err;
}
