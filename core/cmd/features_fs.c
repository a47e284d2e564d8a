/* SPDX-License-Identifier: MIT */
/* Probes: /proc, namespaces, mounts and the files that have no better place. */
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <sched.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "util.h"

#ifndef TFD_IOC_SET_TICKS
#define TFD_IOC_SET_TICKS _IOW('T', 0, uint64_t)
#endif
#define FLAG_MOVE_MOUNT_SET_GROUP 0x100 /* Linux 5.15 */
#define FLAG_MOVE_MOUNT_EMPTY_PATHS 0x44

#define PATH_PROBE(name, path) \
	PROBE(name) \
	{ \
		*ret_value = access(path, R_OK) == 0; \
		return 0; \
	}

PATH_PROBE(proc_children, "/proc/thread-self/children")
PATH_PROBE(userns, "/proc/self/ns/user")
PATH_PROBE(cgroupns, "/proc/self/ns/cgroup")
PATH_PROBE(netns, "/proc/self/ns/net")
PATH_PROBE(timens, "/proc/self/timens_offsets")

#define TEXT_PROBE(name, path, text) \
	PROBE(name) \
	{ \
		*ret_value = probe_text(path, text); \
		return 0; \
	}

TEXT_PROBE(ns_pid, "/proc/self/status", "\nNSpid:")
TEXT_PROBE(mnt_id, "/proc/self/fdinfo/0", "mnt_id:")
TEXT_PROBE(apparmor_stacking, "/sys/kernel/security/apparmor/features/domain/stack", "yes")

/* Without auditing in the kernel there is no such file. */
PROBE(loginuid)
{
	*ret_value = probe_text("/proc/self/loginuid", "");
	return 0;
}

PROBE(fdinfo_lock)
{
	_cleanup_fd_ int fd = memfd_create("probe", MFD_CLOEXEC);
	char path[64];

	*ret_value = 0;
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB))
		return 0;
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	*ret_value = probe_text(path, "lock:");
	return 0;
}

PROBE(timerfd)
{
	_cleanup_fd_ int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	uint64_t ticks = 3, back = 0;

	*ret_value = fd >= 0 && ioctl(fd, TFD_IOC_SET_TICKS, &ticks) == 0 &&
		     read(fd, &back, sizeof(back)) == sizeof(back) && back == ticks;
	return 0;
}

PROBE(openat2)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT };
	_cleanup_fd_ int fd = syscall(SYS_openat2, AT_FDCWD, ".", &how, sizeof(how));

	*ret_value = fd >= 0;
	return 0;
}

/* Unknown flags are refused (EINVAL) before descriptors are looked at (EBADF). */
PROBE(move_mount_set_group)
{
	unsigned int flags = FLAG_MOVE_MOUNT_SET_GROUP | FLAG_MOVE_MOUNT_EMPTY_PATHS;

	*ret_value = syscall(SYS_move_mount, -1, "", -1, "", flags) < 0 && errno == EBADF;
	return 0;
}

/* ---- in a mount namespace of a child ---- */

static bool private_mounts(void)
{
	return unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

/* The inode of the pipe to the daemon must be among the options that the kernel shows. */
static bool autofs_shows_pipe(void)
{
	char opts[96];
	int p[2];

	if (!private_mounts() || pipe(p))
		return false;
	snprintf(opts, sizeof(opts), "fd=%d,pgrp=%d,minproto=5,maxproto=5,direct", p[1], (int)getpgrp());
	if (mount("probe", "/sys", "autofs", 0, opts))
		return false;
	return probe_text("/proc/self/mountinfo", "pipe_ino=");
}

PROBE(autofs)
{
	*ret_value = probe_in_child(autofs_shows_pipe);
	return 0;
}

/* The line of /proc/self/maps that starts at addr shows device and inode. */
static bool map_is(const void *addr, const struct stat *st)
{
	_cleanup_buf_ struct buf b = { 0 };
	char start[32], *line;
	unsigned maj, min;
	unsigned long ino;

	snprintf(start, sizeof(start), "\n%" PRIxPTR "-", (uintptr_t)addr);
	if (read_file(AT_FDCWD, "/proc/self/maps", &b))
		return false;
	line = strstr(b.p, start);
	return line && sscanf(line + 1, "%*s %*s %*s %x:%x %lu", &maj, &min, &ino) == 3 && maj == major(st->st_dev) &&
	       min == minor(st->st_dev) && ino == st->st_ino;
}

/* A file mapped from an overlay must show the overlay's device and inode, not those of the layer. */
static bool overlay_maps_right(void)
{
	struct stat st;
	void *p;
	int fd;

	if (!private_mounts() || mount("probe", "/sys", "tmpfs", 0, NULL) || chdir("/sys"))
		return false;
	if (mkdir("lower", 0700) || mkdir("upper", 0700) || mkdir("work", 0700) || mkdir("all", 0700))
		return false;
	fd = open("lower/file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || write_full(fd, "probe", 5))
		return false;
	if (mount("probe", "all", "overlay", 0, "lowerdir=lower,upperdir=upper,workdir=work"))
		return false;
	fd = open("all/file", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		return false;
	p = mmap(NULL, PAGE_BYTES, PROT_READ, MAP_PRIVATE, fd, 0);
	return p != MAP_FAILED && map_is(p, &st);
}

PROBE(overlayfs_maps)
{
	*ret_value = probe_in_child(overlay_maps_right);
	return 0;
}
