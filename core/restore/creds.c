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
#include "own.h"
#include "restore_priv.h"
#include "rights.h"

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

static bool one_of(uint32_t id, const uint32_t own[4])
{
	return id == own[0] || id == own[1] || id == own[2];
}

static int lacks(struct session *s, const struct thread *th, int cap, const char *what)
{
	return fail(s, EPERM, "pid %d tid %d: %s needs %s, which this program does not have", task_vpid(th->task),
		    thread_vtid(th), what, rights_name(cap));
}

/* Capabilities that only who has them can give; what the program file lends is not for tasks at all. */
static int check_caps(struct session *s, const struct thread *th, const CredsEntry *c, const struct proc_status *own)
{
	uint64_t prm = join_caps(c->n_cap_prm, c->cap_prm), bnd = join_caps(c->n_cap_bnd, c->cap_bnd);
	uint64_t all = prm | join_caps(c->n_cap_eff, c->cap_eff) | join_caps(c->n_cap_inh, c->cap_inh);
	uint64_t lacking = prm & ~own->cap_prm;

	if (all && rights_lent())
		return fail(s, EPERM, "pid %d tid %d has capabilities in the images; a program that is setuid or has file "
			    "capabilities gives none to what its caller restores: run stasis as root", task_vpid(th->task),
			    thread_vtid(th));
	for (int cap = 0; cap < 64; cap++)
		if (lacking >> cap & 1)
			return fail(s, EPERM, "pid %d tid %d: it had %s, which this program lacks and cannot give",
				    task_vpid(th->task), thread_vtid(th), rights_name(cap) ? rights_name(cap) : "a capability");
	if (own->cap_bnd & ~bnd && !rights_has(CAP_SETPCAP))
		return lacks(s, th, CAP_SETPCAP, "its bounding set, which is smaller than here,");
	return 0;
}

/* What of the credentials the kernel would not allow, named before there is any task. */
static int check_rights(struct session *s, const struct thread *th, const struct proc_status *own, int secbits,
			bool *ret_ids_differ)
{
	const CredsEntry *c = th->core->thread_core->creds;

	*ret_ids_differ = c->uid != own->uid[0] || c->euid != own->uid[1] || c->suid != own->uid[2] || c->fsuid != own->uid[3];
	if (!same_groups(c, own) && !rights_has(CAP_SETGID))
		return lacks(s, th, CAP_SETGID, "its list of groups");
	if ((!one_of(c->gid, own->gid) || !one_of(c->egid, own->gid) || !one_of(c->sgid, own->gid)) && !rights_has(CAP_SETGID))
		return lacks(s, th, CAP_SETGID, "becoming its group");
	if ((!one_of(c->uid, own->uid) || !one_of(c->euid, own->uid) || !one_of(c->suid, own->uid)) && !rights_has(CAP_SETUID))
		return lacks(s, th, CAP_SETUID, "becoming its user");
	if ((*ret_ids_differ || (int)c->secbits != secbits) && !rights_has(CAP_SETPCAP))
		return lacks(s, th, CAP_SETPCAP, *ret_ids_differ ? "becoming another user" : "its securebits");
	return check_caps(s, th, c, own);
}

int restore_check_creds(struct session *s, const struct thread *th)
{
	const struct own *own = restore_own(s);
	bool ids_differ;

	if (!th->core->thread_core->creds)
		return fail(s, EPROTO, "core-%d.img lacks credentials", thread_vtid(th));
	return own->status_err < 0 ? 0 : check_rights(s, th, &own->status, own->secbits, &ids_differ);
}

int restore_plan_creds(struct session *s, struct thread *th, struct plan *p)
{
	const CredsEntry *c = th->core->thread_core->creds;
	const struct proc_status *own = &restore_own(s)->status;
	int err = restore_own(s)->status_err, secbits = restore_own(s)->secbits;
	bool ids_differ;
	uint64_t bnd;

	if (!c)
		return fail(s, EPROTO, "core-%d.img lacks credentials", thread_vtid(th));
	if (err < 0)
		return fail(s, -err, "cannot read the engine's own credentials");
	err = check_rights(s, th, own, secbits, &ids_differ);
	if (err < 0)
		return err;
	plan_origin(p->set, "pid %d tid %d: credentials", task_vpid(th->task), thread_vtid(th));
	bnd = join_caps(c->n_cap_bnd, c->cap_bnd);
	for (int cap = 0; cap < 64; cap++)
		if (own->cap_bnd >> cap & 1 && !(bnd >> cap & 1))
			plan_sys(p, BLOB_ZERO, SYS_prctl, PR_CAPBSET_DROP, cap);
	if (ids_differ)
		plan_sys(p, BLOB_ZERO, SYS_prctl, PR_SET_SECUREBITS, secbits | SECBIT_NO_SETUID_FIXUP | SECBIT_KEEP_CAPS);
	plan_ids(p, c, own);
	if (ids_differ || (int)c->secbits != secbits)
		plan_sys(p, BLOB_ZERO, SYS_prctl, PR_SET_SECUREBITS, c->secbits);
	plan_caps(p, c, own);
	if (c->has_no_new_privs && c->no_new_privs)
		plan_sys(p, BLOB_ZERO, SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	return 0;
}
