/* SPDX-License-Identifier: MIT */
/*
 * creds.c: credentials of a thread, as operations.  Only what differs from E's own
 * is changed, so that an ordinary user can restore what is his own.
 *
 * Order: with SECBIT_NO_SETUID_FIXUP set the user ids can change without the
 * capabilities going away; then the final securebits, which still need
 * CAP_SETPCAP; then the capability sets; ambient ones last.
 */
#include <errno.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proc.h"
#include "restore.h"

#include "core.pb-c.h"

struct kernel_caps {
	struct __user_cap_header_struct head;
	struct __user_cap_data_struct data[2];
};

static uint64_t join_caps(size_t n, const uint32_t *v)
{
	return (n > 0 ? v[0] : 0) | (uint64_t)(n > 1 ? v[1] : 0) << 32;
}

static bool same_groups(const CredsEntry *c, const struct proc_status *own)
{
	return c->n_groups == own->groups.n &&
	       (!c->n_groups || !memcmp(c->groups, own->groups.v, c->n_groups * sizeof(uint32_t)));
}

static void plan_ids(struct plan *p, const CredsEntry *c, const struct proc_status *own)
{
	if (!same_groups(c, own))
		plan_sys(p, BLOB_ZERO, SYS_setgroups, c->n_groups,
			 c->n_groups ? (uintptr_t)plan_put(p, c->groups, c->n_groups * sizeof(uint32_t)) : 0);
	if (c->gid != own->gid[0] || c->egid != own->gid[1] || c->sgid != own->gid[2])
		plan_sys(p, BLOB_ZERO, SYS_setresgid, c->gid, c->egid, c->sgid);
	if (c->fsgid != c->egid || own->gid[3] != own->gid[1])
		plan_sys(p, BLOB_ANY, SYS_setfsgid, c->fsgid);
	if (c->uid != own->uid[0] || c->euid != own->uid[1] || c->suid != own->uid[2])
		plan_sys(p, BLOB_ZERO, SYS_setresuid, c->uid, c->euid, c->suid);
	if (c->fsuid != c->euid || own->uid[3] != own->uid[1])
		plan_sys(p, BLOB_ANY, SYS_setfsuid, c->fsuid);
}

static void plan_caps(struct plan *p, const CredsEntry *c, const struct proc_status *own)
{
	uint64_t inh = join_caps(c->n_cap_inh, c->cap_inh), prm = join_caps(c->n_cap_prm, c->cap_prm);
	uint64_t eff = join_caps(c->n_cap_eff, c->cap_eff), amb = join_caps(c->n_cap_amb, c->cap_amb);
	struct kernel_caps k = { .head = { _LINUX_CAPABILITY_VERSION_3, 0 } };

	if (inh != own->cap_inh || prm != own->cap_prm || eff != own->cap_eff) {
		struct kernel_caps *at;

		for (int i = 0; i < 2; i++) {
			k.data[i].inheritable = inh >> (32 * i);
			k.data[i].permitted = prm >> (32 * i);
			k.data[i].effective = eff >> (32 * i);
		}
		at = plan_put(p, &k, sizeof(k));
		plan_sys(p, BLOB_ZERO, SYS_capset, (uintptr_t)&at->head, (uintptr_t)at->data);
	}
	if (own->cap_amb & ~amb)
		plan_sys(p, BLOB_ZERO, SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL);
	for (int cap = 0; cap < 64; cap++)
		if (amb >> cap & 1 && (!(own->cap_amb >> cap & 1) || own->cap_amb & ~amb))
			plan_sys(p, BLOB_ZERO, SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap);
}

int restore_plan_creds(struct session *s, struct thread *th, struct plan *p)
{
	const CredsEntry *c = th->core->thread_core->creds;
	struct proc_status own = { 0 };
	uint64_t bnd;
	int err, secbits = prctl(PR_GET_SECUREBITS, 0, 0, 0, 0);
	bool ids_differ;

	if (!c)
		return fail(s, EPROTO, "core-%d.img lacks credentials", thread_vtid(th));
	err = proc_read_status(getpid(), 0, &own);
	if (err < 0)
		return fail(s, -err, "cannot read the engine's own credentials");
	plan_origin(p->set, "pid %d tid %d: credentials", task_vpid(th->task), thread_vtid(th));
	ids_differ = c->uid != own.uid[0] || c->euid != own.uid[1] || c->suid != own.uid[2] || c->fsuid != own.uid[3];
	bnd = join_caps(c->n_cap_bnd, c->cap_bnd);
	for (int cap = 0; cap < 64; cap++)
		if (own.cap_bnd >> cap & 1 && !(bnd >> cap & 1))
			plan_sys(p, BLOB_ZERO, SYS_prctl, PR_CAPBSET_DROP, cap);
	if (ids_differ)
		plan_sys(p, BLOB_ZERO, SYS_prctl, PR_SET_SECUREBITS, secbits | SECBIT_NO_SETUID_FIXUP | SECBIT_KEEP_CAPS);
	plan_ids(p, c, &own);
	if (ids_differ || (int)c->secbits != secbits)
		plan_sys(p, BLOB_ZERO, SYS_prctl, PR_SET_SECUREBITS, c->secbits);
	plan_caps(p, c, &own);
	if (c->has_no_new_privs && c->no_new_privs)
		plan_sys(p, BLOB_ZERO, SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	proc_status_free(&own);
	return 0;
}
