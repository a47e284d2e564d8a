/* SPDX-License-Identifier: MIT */
/* rights.c: see rights.h. */
#include "rights.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "log.h"

bool rights_lent(void)
{
	return getauxval(AT_SECURE) && getuid() != 0;
}

/* Exactly these in the permitted and the effective set, none to hand on. */
static int set_caps(uint64_t want)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct d[2] = { 0 };

	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 || syscall(SYS_capget, &head, d) < 0)
		return -errno;
	for (int i = 0; i < 2; i++) {
		d[i].permitted &= want >> (32 * i);
		d[i].effective = d[i].permitted;
		d[i].inheritable = 0;
	}
	return syscall(SYS_capset, &head, d) < 0 ? -errno : 0;
}

/* The ids of the caller, as real, effective and saved ones. */
static int become_caller(void)
{
	uid_t uid = getuid();
	gid_t gid = getgid();

	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		return -errno;
	return prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0 ? -errno : 0;
}

int rights_settle(bool lends)
{
	uint64_t keep = lends ? 1ull << CAP_CHECKPOINT_RESTORE : 0;
	int err;

	if (!rights_lent())
		return 0;
	err = become_caller();
	if (!err)
		err = set_caps(keep);
	/* /proc/self belongs to the caller again; he cannot trace what has a capability that he lacks */
	if (!err && prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0)
		err = -errno;
	if (err)
		log_error("cannot give up the rights that the program file lends: %s", strerror(-err));
	return err;
}

bool rights_has(int cap)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct d[2] = { 0 };

	return cap >= 0 && cap < 64 && syscall(SYS_capget, &head, d) == 0 && d[cap / 32].effective >> (cap % 32) & 1;
}

const char *rights_name(int cap)
{
	static char name[64];
	char *text = cap >= 0 && cap <= CAP_LAST_CAP ? cap_to_name(cap) : NULL;
	size_t i;

	if (!text)
		return NULL;
	for (i = 0; i < sizeof(name) - 1 && text[i]; i++)
		name[i] = text[i] >= 'a' && text[i] <= 'z' ? text[i] - 'a' + 'A' : text[i];
	name[i] = 0;
	cap_free(text);
	return name;
}

int rights_check_task(struct session *s, pid_t pid, uint64_t permitted)
{
	if (!permitted || !rights_lent())
		return 0;
	return fail(s, EPERM, "pid %d has capabilities, and this program, which is setuid or has file capabilities, dumps only "
		    "what its caller may trace without that; run stasis as root", pid);
}
